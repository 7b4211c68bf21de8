"""The machines behind nodes: what makes each one's container runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from actors.kernel import Actor, Child
from assembly.config import CLUSTER_CIDR, ClusterConfig, default_data_dir
from protocol.resolv import ResolvConf

__all__ = ["CONTROL_PLANE_IP", "machine_facts", "make_machine", "node_resolver"]

CONTROL_PLANE_IP = "172.18.0.1"  # where the cluster's DNS is, and what simulated nodes ask about other names
RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def node_resolver(runtime: str) -> ResolvConf:
    """A node's own resolver, for pods with the dnsPolicy Default: this machine's where containers are
    real. A stub on the loopback is nothing to a pod, so what stands behind it is taken."""
    if runtime == "simulated":
        return ResolvConf((CONTROL_PLANE_IP,))
    found = ResolvConf()
    for path in RESOLVERS:
        try:
            found = ResolvConf.parse(path.read_text())
        except OSError:
            continue
        if any(not server.startswith("127.") and server != "::1" for server in found.nameservers):
            return found
    return found


def machine_facts() -> dict[str, Any]:
    """This machine as fields of `KubeletConfig`, for a node with real containers."""
    import os
    import platform

    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        name = platform.system()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = os.statvfs("/")
    capacity = {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{memory >> 10}Ki",
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize >> 10}Ki",
        "pods": "110",
        **_huge_pages(),
    }
    return {
        "os_image": name,
        "kernel_version": platform.release(),
        "capacity": capacity,
        "resolv_conf": node_resolver("real"),
    }


def _huge_pages() -> dict[str, str]:
    """Huge pages by size, as the kernel has set them aside."""
    found = {}
    for place in sorted(Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB")):
        kibi = int(place.name.removeprefix("hugepages-").removesuffix("kB"))
        size = f"{kibi >> 20}Gi" if kibi >= 1 << 20 else f"{kibi >> 10}Mi" if kibi >= 1 << 10 else f"{kibi}Ki"
        try:
            pages = int((place / "nr_hugepages").read_text())
        except (OSError, ValueError):
            continue
        found[f"hugepages-{size}"] = f"{pages * kibi >> 10}Mi" if pages else "0"
    return found


def make_machine(config: ClusterConfig, name: str = "node") -> Callable[[], Actor]:
    """A new machine; what this answers makes the runtime on it, again after each crash."""
    if config.runtime == "process":
        from actors.runtime import ProcessMachine, ProcessRuntime

        return partial(ProcessRuntime, ProcessMachine())
    if config.runtime != "simulated":
        return _real_machine(config, name)
    from actors.runtime import Machine, SimulatedRuntime

    return partial(SimulatedRuntime, Machine(), config.guise)


def _real_machine(config: ClusterConfig, name: str) -> Callable[[], Actor]:
    """The machine `name` with real containers; what this answers makes the runtime on it, again after each crash."""
    import actors.runtime as runtimes
    from actors.network.cni import Bridge, Cni
    from actors.runtime.images import LocalImages

    root = config.data_dir / "nodes" / name if config.data_dir is not None else None
    if config.runtime == "namespaces":
        return partial(runtimes.NamespaceRuntime, runtimes.NamespaceMachine())
    images = LocalImages(config.image_store or default_data_dir() / "images")
    if config.runtime == "cri":
        return partial(
            runtimes.CriRuntime, runtimes.CriMachine(config.runtime_endpoint, images, root, config.keep_containers)
        )
    if config.runtime == "docker":
        machine: Any = runtimes.DockerMachine(config.runtime_endpoint, images, root, config.keep_containers)
        make: Any = runtimes.DockerRuntime
    else:
        machine = runtimes.RuncMachine(images, root, config.oci_runtime, config.keep_containers)
        make = runtimes.RuncRuntime
    key = hashlib.sha256(str(machine.root).encode()).hexdigest()[:8]
    bridge = Bridge(f"kb{key}", cluster_cidr=CLUSTER_CIDR, folder=machine.root / "addresses")
    machine.network.direct = bridge
    machine.cleanups.append(bridge.remove)
    return partial(make, machine, Child("network", partial(Cni, bridge)))
