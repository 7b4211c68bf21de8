"""How the simulated runtime presents itself: as Docker, rkt, containerd, runc, or as what it is.

Owns names, versions and the process tree that each of them builds around a pod on a real machine.
https://github.com/containerd/containerd/blob/main/core/runtime/v2/README.md (one shim per pod),
https://github.com/rkt/rkt/blob/master/Documentation/devel/architecture.md (stage0, stage1, stage2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from protocol.cri import ProcessEntry

__all__ = ["GUISES", "Guise", "Process", "process_tree"]


class Guise(NamedTuple):
    """`prefix` is the scheme of container ids in the API, `version` what the node reports."""

    prefix: str
    version: str


GUISES = {
    "sim": Guise("sim", "1"),
    "containerd": Guise("containerd", "2.1.4"),
    "docker": Guise("docker", "28.3.3"),
    "runc": Guise("runc", "1.3.0"),
    "rkt": Guise("rkt", "1.30.0"),
}


class Process(NamedTuple):
    """The main process of a container of the pod: node pid, name of the container, its command."""

    pid: int
    container: str
    command: str


def process_tree(
    guise: str, pod: str, pause: Process, containers: Sequence[Process], shared_pid: bool, host_network: bool
) -> tuple[ProcessEntry, ...]:
    """The node's processes of one pod, parents first; shims take pids above a million.

    With a pause container, every container joins its network, IPC and UTS namespaces, and its PID
    namespace when the pod asks for that. rkt has no pause: the pod's init (systemd) holds them.
    """
    base = pause.pid
    held = dict.fromkeys(("net", "ipc", "uts"), base)
    if host_network:
        held["net"] = 1

    def spaces(pid: int) -> dict[str, int]:
        return {**held, "pid": base if shared_pid else pid, "mnt": pid}

    if guise == "rkt":
        top = ProcessEntry(
            1_000_000 + base, 1, f"stage1/rootfs/usr/lib/ld-linux-x86-64.so.2 systemd-nspawn --register=true {pod}"
        )
        init = ProcessEntry(base, top.pid, "/usr/lib/systemd/systemd", "", {**held, "pid": base, "mnt": base})
        apps = [
            ProcessEntry(p.pid, base, p.command, p.container, {**held, "pid": base, "mnt": p.pid}) for p in containers
        ]
        return (top, init, *apps)
    if guise == "docker":
        found: list[ProcessEntry] = []
        for process in (pause, *containers):
            shim = ProcessEntry(
                1_000_000 + process.pid,
                1,
                f"/usr/bin/containerd-shim-runc-v2 -namespace moby ({process.container or 'POD'})",
            )
            found += [
                shim,
                ProcessEntry(process.pid, shim.pid, process.command, process.container, spaces(process.pid)),
            ]
        return tuple(found)
    if guise in ("runc", "sim"):
        return tuple(ProcessEntry(p.pid, 1, p.command, p.container, spaces(p.pid)) for p in (pause, *containers))
    shim = ProcessEntry(1_000_000 + base, 1, f"/usr/bin/containerd-shim-runc-v2 -namespace k8s.io ({pod})")
    members = [ProcessEntry(p.pid, shim.pid, p.command, p.container, spaces(p.pid)) for p in (pause, *containers)]
    return (shim, *members)
