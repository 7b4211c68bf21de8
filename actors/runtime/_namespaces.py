"""The namespace runtime: containers as processes of this machine, isolated as a pod is. Root, Linux.

Owns what turns a subprocess into a container: a real pause process per pod (`pause/pause.c`) that
holds its network, IPC and UTS namespaces, and its PID namespace when the pod shares one; an address
on the node's bridge; control groups with the limits of the manifest. The containers join by
`nsenter`. They see the machine's root file system: there are no images.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

from actors.kernel import Future, handles
from actors.runtime._control_groups import ControlGroups, pod_resources
from actors.runtime._linux import Bridge, LinuxError, build_pause, connect_inside, first_child, why_not
from actors.runtime._port_probes import probe_port
from actors.runtime._process import ProcessRuntime
from actors.runtime._process_io import forward_ports
from actors.runtime._process_machine import ProcessMachine, kill_group
from protocol import cri
from protocol.node import StreamOpened

__all__ = ["NamespaceMachine", "NamespaceRuntime"]

ENTER_GROUPS = 'for g in $KUBEKKA_GROUPS; do echo $$ > "$g/cgroup.procs"; done; unset KUBEKKA_GROUPS; exec "$@"'


class NamespaceMachine(ProcessMachine):
    """What outlives the runtime's actor: pause processes, bridge, groups.

    Raises: LinuxError, with what the machine lacks.
    """

    def __init__(self, root: Path | None = None) -> None:
        missing = why_not()
        if missing:
            raise LinuxError(f"containers cannot be isolated here: {missing}")
        super().__init__(root)
        self.pause = build_pause(self.root / "bin")
        self.bridge = Bridge(str(self.root))
        self.groups = ControlGroups()
        self.pauses: dict[str, subprocess.Popen[bytes]] = {}
        self.pause_pids: dict[str, int] = {}
        self.addresses: dict[str, str] = {}
        self.free: list[str] = []
        self.next_host = 1
        self.pod_cidr = ""

    def set_pod_cidr(self, cidr: str) -> None:
        """Make the bridge for these addresses."""
        if cidr != self.pod_cidr:
            self.bridge.up(cidr)
            self.pod_cidr = cidr

    def allocate(self) -> str:
        """A free address of the node."""
        if not self.pod_cidr:
            self.set_pod_cidr("10.245.0.0/24")
        if self.free and self.next_host > 253:
            return self.free.pop(0)
        self.next_host += 1
        if self.next_host > 254:
            raise cri.CriError("Unknown", f"no IP addresses available in range set: {self.pod_cidr}")
        return self.pod_cidr.rsplit(".", 1)[0] + f".{self.next_host}"

    def kill_all(self) -> None:
        """Leave no process, no interface and no group behind."""
        super().kill_all()
        for process in self.pauses.values():
            kill_group(process, signal.SIGKILL)
            process.wait(2.0)
        for container in self.containers.values():
            self.groups.remove(f"{container.sandbox.config.cgroup_parent}/{container.config.name}")
        for sandbox in self.sandboxes.values():
            self.groups.remove(sandbox.config.cgroup_parent)
        self.groups.remove_top()
        self.bridge.down()


class NamespaceRuntime(ProcessRuntime):
    """See the module."""

    machine: NamespaceMachine

    def __init__(self, machine: NamespaceMachine) -> None:
        super().__init__(machine)

    @handles(cri.RunPodSandbox)
    def run_pod_sandbox(self, message: cri.RunPodSandbox) -> cri.RunPodSandboxResponse:
        answer = super().run_pod_sandbox(message)
        config, machine = message.config, self.machine
        kinds = ["--ipc", "--uts"] if config.host_network else ["--net", "--ipc", "--uts"]
        pid_space = ["--pid", "--fork", "--kill-child"] if config.shared_pid else []
        process = subprocess.Popen(
            ["unshare", *kinds, *pid_space, str(machine.pause), config.hostname or config.name],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        machine.pauses[answer.pod_sandbox_id] = process
        try:
            self._wait_for_pause(process)
            pid = first_child(process.pid) if config.shared_pid else process.pid
            machine.pause_pids[answer.pod_sandbox_id] = pid
            if config.host_network:
                return cri.RunPodSandboxResponse(answer.pod_sandbox_id, ())
            address = machine.allocate()
            machine.addresses[answer.pod_sandbox_id] = address
            machine.bridge.attach(pid, address)
        except (LinuxError, OSError) as error:
            self.remove_pod_sandbox(cri.RemovePodSandbox(answer.pod_sandbox_id))
            raise cri.CriError("Unknown", f"failed to setup network for sandbox: {error}") from error
        return cri.RunPodSandboxResponse(answer.pod_sandbox_id, (address,))

    def _wait_for_pause(self, process: subprocess.Popen[bytes]) -> None:
        """Until `unshare` has become pause (or forked it), its namespaces are not made."""
        name = Path(f"/proc/{process.pid}/comm")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        for _ in range(400):
            if process.poll() is not None:
                raise LinuxError("pause ended at once")
            if name.read_text().strip() == "pause" or children.read_text().strip():
                return
            subprocess.run(["sleep", "0.005"], check=False)
        raise LinuxError("pause did not start")

    @handles(cri.UpdateRuntimeConfig)
    def update_runtime_config(self, message: cri.UpdateRuntimeConfig) -> None:
        self.machine.set_pod_cidr(message.pod_cidr)

    @handles(cri.UpdateContainerResources)
    def update_container_resources(self, message: cri.UpdateContainerResources) -> None:
        self.machine.groups.limit(self._group(self._find(message.container_id)), message.resources)

    @handles(cri.StopPodSandbox)
    def stop_pod_sandbox(self, message: cri.StopPodSandbox) -> None:
        super().stop_pod_sandbox(message)
        process = self.machine.pauses.pop(message.pod_sandbox_id, None)
        self.machine.pause_pids.pop(message.pod_sandbox_id, None)
        if process is not None:
            kill_group(process, signal.SIGKILL)
            process.wait(2.0)
        address = self.machine.addresses.pop(message.pod_sandbox_id, None)
        if address is not None:
            self.machine.free.append(address)

    @handles(cri.RemovePodSandbox)
    def remove_pod_sandbox(self, message: cri.RemovePodSandbox) -> None:
        sandbox = self.machine.sandboxes.get(message.pod_sandbox_id)
        containers = [c for c in self.machine.containers.values() if c.sandbox is sandbox]
        super().remove_pod_sandbox(message)
        for container in containers:
            if container.process is not None:
                container.process.wait(2.0)
            self.machine.groups.remove(self._group(container))
        if sandbox is not None:
            self.machine.groups.remove(sandbox.config.cgroup_parent)

    def addresses(self, sandbox: Any) -> tuple[str, ...]:
        """The pod's own address."""
        address = self.machine.addresses.get(sandbox.id)
        return (address,) if address else ()

    @staticmethod
    def _group(container: Any) -> str:
        return f"{container.sandbox.config.cgroup_parent}/{container.config.name}"

    def command_line(self, container: Any, argv: list[str]) -> list[str]:
        """`argv` run inside the pod's namespaces and the container's groups."""
        pid = self.machine.pause_pids.get(container.sandbox.id)
        if pid is None:
            raise cri.CriError("FailedPrecondition", f'sandbox container "{container.sandbox.id}" is not running')
        config = container.sandbox.config
        kinds = ["-i", "-u"] + ([] if config.host_network else ["-n"]) + (["-p"] if config.shared_pid else [])
        return ["sh", "-c", ENTER_GROUPS, "sh", "nsenter", "-t", str(pid), *kinds, "--", *argv]

    def environment(self, container: Any) -> dict[str, str]:
        """The container's variables, and where its groups are."""
        parent = container.sandbox.config.cgroup_parent
        pods = [c.config.resources for c in self.machine.containers.values() if c.sandbox is container.sandbox]
        self.machine.groups.make(parent, pod_resources(pods))
        places = self.machine.groups.make(self._group(container), container.config.resources)
        return {**super().environment(container), "KUBEKKA_GROUPS": " ".join(str(p) for p in places)}

    @handles(cri.Probe)
    def probe(self, message: cri.Probe) -> Future[cri.ProbeResponse]:
        container = self._running(message.container_id)
        addresses = self.addresses(container.sandbox)
        host = message.host or (addresses[0] if addresses else "")
        return probe_port(
            cri.Probe(
                message.container_id,
                message.kind,
                message.port,
                message.scheme,
                host,
                message.detail,
                message.headers,
                message.timeout_s,
            )
        )

    @handles(cri.PortForward)
    def port_forward(self, message: cri.PortForward) -> StreamOpened:
        self._sandbox(message.pod_sandbox_id)
        pid = self.machine.pause_pids[message.pod_sandbox_id]
        child = forward_ports(message, self.relay, lambda port: connect_inside(pid, port))
        return StreamOpened(message.stream_id, self.spawn(child))

    @handles(cri.ProcessTree)
    def process_tree(self, message: cri.ProcessTree) -> tuple[cri.ProcessEntry, ...]:
        found: list[cri.ProcessEntry] = []
        for sandbox in self.machine.sandboxes.values():
            pid = self.machine.pause_pids.get(sandbox.id)
            if pid is not None and message.pod_uid in ("", sandbox.config.uid):
                found.append(cri.ProcessEntry(pid, 1, "/pause", "", dict.fromkeys(("net", "ipc", "uts"), pid)))
        return (*found, *super().process_tree(message))

    def _stats(self, container: Any) -> cri.ContainerStats:
        now = self.clock.now()
        figures = self.machine.groups.statistics(self._group(container))
        age = max(now - container.started_at, 1e-3)
        return cri.ContainerStats(
            container.id,
            container.config.name,
            container.sandbox.config.uid,
            now,
            figures["cpu_ns"],
            int(figures["cpu_ns"] / age),
            figures["memory"],
            figures["memory"],
            figures["throttled"],
            figures["throttled_ns"],
            figures["periods"],
        )

    @handles(cri.Version)
    def version(self, message: cri.Version) -> cri.VersionResponse:
        return cri.VersionResponse("0.1.0", "namespaces", "1", "v1")
