"""The OCI runtime: containers from images of the local store, by Debian's runc or crun. Root, Linux.

Owns what a low-level runtime does not: the pod's sandbox (a pause container that holds the
namespaces), root file systems as overlays of image layers, the bundles, and who is told when a
container has ended. Each container has a shim (`_shim`) beside it, so that stopping or killing
this runtime, the kubelet or the whole program ends no container; `on_start` takes up what runs.

It runs on a thread of its own, where it may block; what takes long is done on helper threads.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import orjson

from actors.kernel import Child, Future, handles
from actors.runtime._linux import LinuxError, started_ticks
from actors.runtime._log_files import tail_text
from actors.runtime._oci_spec import pause_spec, resources_spec
from actors.runtime._pod_files import etc_files
from actors.runtime._pod_mounts import termination_message
from actors.runtime._process_io import tell
from actors.runtime._runc_bundle import RuncBundles
from actors.runtime._runc_machine import OciContainer, OciSandbox, RuncMachine
from actors.runtime._runc_streams import connect_shim
from protocol import cri
from protocol.message import Message

__all__ = ["RuncRuntime"]

SHIM = Path(__file__).with_name("_shim.py")
SHIM_TIMEOUT_S = 60.0
SHIM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class _ShimEnded(Message, frozen=True):
    """A container's shim has gone."""

    container_id: str


class RuncRuntime(RuncBundles):
    """See the module."""

    def __init__(self, machine: RuncMachine, network: Child | None = None) -> None:
        super().__init__(machine, network)

    def listen(self) -> None:
        """Take up what runs."""
        for container in list(self.machine.containers.values()):
            if container.state != cri.CONTAINER_EXITED:
                self._watch(container)
        for sandbox in self.machine.sandboxes.values():
            if sandbox.ready:
                self.limit_pod(sandbox)

    # -- sandboxes

    @handles(cri.RunPodSandbox)
    def run_pod_sandbox(self, message: cri.RunPodSandbox) -> cri.RunPodSandboxResponse:
        config, machine = message.config, self.machine
        name = f"{config.name}_{config.namespace}_{config.uid}_{config.attempt}"
        for other in machine.sandboxes.values():
            if (other.config.uid, other.config.attempt) == (config.uid, config.attempt) and not other.stopped:
                raise cri.CriError("AlreadyExists", f'sandbox name "{name}" is reserved for "{other.id}"')
        sandbox = OciSandbox(self.identifier(), config, self.clock.now())
        machine.sandboxes[sandbox.id] = sandbox
        place = machine.place(sandbox)
        place.mkdir(parents=True)
        try:
            if not config.host_users:
                machine.take_ids(sandbox)
            if not config.host_ipc:
                machine.make_shm(sandbox)
            self._start_pause(sandbox, place)
            if not config.host_network:
                sandbox.ips = machine.network.attach(sandbox.id, sandbox.pid, config)
            for file, text in etc_files(config, sandbox.ips).items():
                (place / file).write_text(text)
            machine.save(sandbox)
        except (LinuxError, LookupError, OSError) as error:
            machine.delete_sandbox(sandbox.id)
            raise cri.CriError("Unknown", f"failed to create containerd task: {error}") from error
        except cri.CriError:
            machine.delete_sandbox(sandbox.id)
            raise
        return cri.RunPodSandboxResponse(sandbox.id, sandbox.ips)

    def _start_pause(self, sandbox: OciSandbox, place: Path) -> None:
        machine = self.machine
        group = machine.pause_group(sandbox.config)
        machine.limit_pod(sandbox.config, sandbox.config.resources)
        spec = pause_spec(sandbox.config, str(machine.pause_root(sandbox)), group, sandbox.id_base)
        (place / "config.json").write_bytes(orjson.dumps(spec))
        pid_file = place / "pid"
        command = machine.command("--log", str(place / "runtime.log"), "--log-format", "json", "run", "--detach")
        done = subprocess.run(
            [*command, "--bundle", str(place), "--pid-file", str(pid_file), sandbox.id],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if done.returncode:
            raise LinuxError(_complaint(place / "runtime.log") or f"exit status {done.returncode}")
        sandbox.pid = int(pid_file.read_text())
        sandbox.began = started_ticks(sandbox.pid)

    @handles(cri.StopPodSandbox)
    def stop_pod_sandbox(self, message: cri.StopPodSandbox) -> None:
        for container in self.machine.containers.values():
            if container.sandbox_id == message.pod_sandbox_id and container.state == cri.CONTAINER_RUNNING:
                self.machine.kill(container, "KILL", everyone=True)
        self.machine.stop_sandbox(message.pod_sandbox_id)

    @handles(cri.RemovePodSandbox)
    def remove_pod_sandbox(self, message: cri.RemovePodSandbox) -> None:
        for container in [c for c in self.machine.containers.values() if c.sandbox_id == message.pod_sandbox_id]:
            self._forget(container.id)
        self.machine.delete_sandbox(message.pod_sandbox_id)

    def _forget(self, ident: str) -> None:
        self.machine.delete_container(ident)
        self.samples.pop(ident, None)
        self.release_waiters(ident)

    @handles(cri.GetPodSandboxStatus)
    def pod_sandbox_status(self, message: cri.GetPodSandboxStatus) -> cri.PodSandboxStatus:
        return self._sandbox(message.pod_sandbox_id).status()

    @handles(cri.ListPodSandbox)
    def list_pod_sandbox(self, message: cri.ListPodSandbox) -> tuple[cri.PodSandboxStatus, ...]:
        return tuple(s.status() for s in self.machine.sandboxes.values() if message.pod_uid in ("", s.config.uid))

    @handles(cri.UpdatePodSandboxResources)
    def update_pod_sandbox_resources(self, message: cri.UpdatePodSandboxResources) -> None:
        sandbox = self._sandbox(message.pod_sandbox_id)
        sandbox.config = msgspec.structs.replace(sandbox.config, resources=message.resources)
        self.machine.save(sandbox)
        self.limit_pod(sandbox)

    # -- containers

    @handles(cri.StartContainer)
    def start_container(self, message: cri.StartContainer) -> cri.StartContainerResponse:
        container = self._find(message.container_id)
        machine = self.machine
        if container.state != cri.CONTAINER_CREATED:
            raise cri.CriError("FailedPrecondition", f"container is in {container.state} state")
        place = machine.place(container)
        shim = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SHIM), str(place)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, cwd="/", env={"PATH": SHIM_PATH},
        )  # fmt: skip
        assert shim.stdout is not None
        with shim.stdout:
            line = shim.stdout.readline()
        shim.wait(SHIM_TIMEOUT_S)
        answer = orjson.loads(line) if line else {"error": "the shim ended at once"}
        try:
            if "error" in answer:
                raise LinuxError(answer["error"])
            container.pid = int(answer["pid"])
            machine.oci("start", container.id)
        except LinuxError as error:
            with contextlib.suppress(LinuxError):
                machine.oci("delete", "--force", container.id)
            container.state, container.exit_code, container.reason = cri.CONTAINER_EXITED, 128, "StartError"
            container.finished_at = self.clock.now()
            container.message = f"failed to create containerd task: failed to create shim task: {error}"
            machine.save(container)
            raise cri.CriError("Unknown", f"failed to start container: {error}") from error
        container.state, container.started_at = cri.CONTAINER_RUNNING, self.clock.now()
        machine.save(container)
        self._watch(container)
        return cri.StartContainerResponse(container.started_at)

    def _watch(self, container: OciContainer) -> None:
        """Be told when the container's shim ends, which it does with the container."""
        ident, place = container.id, self.machine.place(container)

        def run() -> None:
            with contextlib.suppress(OSError), connect_shim(place, b"W") as connection:
                while connection.recv(1 << 12):
                    pass
            tell(self.ref, _ShimEnded(ident))

        if container.state == cri.CONTAINER_RUNNING:
            threading.Thread(target=run, name=f"watch-{ident[:8]}", daemon=True).start()

    @handles(_ShimEnded)
    def shim_ended(self, message: _ShimEnded) -> None:
        container = self.machine.containers.get(message.container_id)
        if container is None or container.state != cri.CONTAINER_RUNNING:
            return
        machine = self.machine
        record = machine.exit_record(container)
        if record is None:  # the shim was killed: nobody reads the container's output any more
            record = {"code": 137, "signal": 9, "finished_at": self.clock.now()}
        container.exit_code, container.signal = int(record["code"]), int(record["signal"])
        container.finished_at = max(float(record["finished_at"]), container.started_at)
        group = machine.group_of(container)
        killed = machine.groups.statistics(group)["oom_kills"]
        with contextlib.suppress(LinuxError):
            machine.oci("delete", "--force", container.id)
        machine.groups.remove(group)
        container.state = cri.CONTAINER_EXITED
        container.reason = "Completed" if container.exit_code == 0 else "OOMKilled" if killed else "Error"
        log = Path(container.log_file)
        container.message = termination_message(
            machine.place(container), container.config.termination_message_policy, container.exit_code,
            lambda lines: tail_text(log, lines),
        )  # fmt: skip
        machine.save(container)
        self.announce(container.status())

    @handles(cri.StopContainer)
    def stop_container(self, message: cri.StopContainer) -> Future[None] | None:
        container = self._find(message.container_id)
        if container.state != cri.CONTAINER_RUNNING:
            return None
        return self.end_container(container.id, message.timeout_s, container.stop_signal)

    def kill(self, ident: str, signal: str) -> None:
        """Signal a container; SIGKILL goes to all of its processes."""
        container = self.machine.containers.get(ident)
        if container is not None and container.state == cri.CONTAINER_RUNNING:
            self.machine.kill(container, signal, everyone=signal == "SIGKILL")

    @handles(cri.RemoveContainer)
    def remove_container(self, message: cri.RemoveContainer) -> None:
        self._forget(message.container_id)

    @handles(cri.GetContainerStatus)
    def container_status(self, message: cri.GetContainerStatus) -> cri.ContainerStatus:
        return self._find(message.container_id).status()

    @handles(cri.ListContainers)
    def list_containers(self, message: cri.ListContainers) -> tuple[cri.ContainerStatus, ...]:
        found = [c for c in self.machine.containers.values() if message.pod_uid in ("", c.pod_uid)]
        return tuple(c.status() for c in sorted(found, key=lambda c: c.created_at))

    @handles(cri.UpdateContainerResources)
    def update_container_resources(self, message: cri.UpdateContainerResources) -> None:
        container, machine = self._running(message.container_id), self.machine
        resources = resources_spec(machine.groups.known(message.resources), machine.groups.unified)
        resources["cpu"].setdefault("quota", -1)
        resources.setdefault("memory", {"limit": -1})
        container.config = msgspec.structs.replace(container.config, resources=message.resources)
        sandbox = machine.sandboxes.get(container.sandbox_id)
        try:
            if sandbox is not None:  # a pod's group must hold what its containers get
                machine.groups.loosen(machine.group_of_pod(sandbox.config))
            machine.oci("update", "--resources", "-", container.id, given=orjson.dumps(resources))
        except LinuxError as error:
            raise cri.CriError("Unknown", f"failed to update resources: {error}") from error
        if sandbox is not None and sandbox.config.resources is None:  # else the kubelet says what the pod has now
            self.limit_pod(sandbox)
        machine.save(container)


def _complaint(log: Path) -> str:
    """The last error in an OCI runtime's log."""
    with contextlib.suppress(OSError, ValueError):
        for line in reversed(log.read_text().splitlines()):
            entry = json.loads(line)
            if entry.get("level") == "error":
                return str(entry["msg"])
    return ""
