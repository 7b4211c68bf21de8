"""The process runtime: each container is a plain subprocess of the user's. For laptops.

Owns subprocesses, their logs and their directories below `root`. There is no isolation: no
namespaces, no images, no limits; a pod's address is the machine's loopback. A container starts in
a directory of its own, below which its volumes appear at their mount paths (`/conf` is `./conf`;
the directory is `$KUBEKKA_ROOT`). It needs a command, as there is no image that has one.

It runs on a thread of its own, where it may block; what waits for a process or a pipe does so on
helper threads, which only tell this actor what happened.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import Any

from actors.kernel import Child, Future, handles
from actors.runtime._images import normal_reference
from actors.runtime._logs import rfc3339_nano, shown
from actors.runtime._process_io import (
    Ended,
    Relay,
    Wrote,
    pump,
    resident_and_cpu,
    tell,
)
from actors.runtime._process_machine import ProcessContainer, ProcessMachine, ProcessSandbox, kill_group
from actors.runtime._process_streams import ProcessStreams
from actors.runtime._volume_mounts import VOLUME_REFRESH_S, Refresh
from protocol import cri
from protocol.node import STDERR, STDOUT, StreamClosed, StreamData

__all__ = ["ProcessMachine", "ProcessRuntime"]


class _Deadline:
    """A container that was asked to stop must end now."""

    def __init__(self, container_id: str) -> None:
        self.container_id = container_id


class ProcessRuntime(ProcessStreams):
    """See the module."""

    def __init__(self, machine: ProcessMachine) -> None:
        super().__init__()
        self.machine = machine

    def on_start(self) -> None:
        self.relay = self.spawn(Child("relay", Relay))
        self.every(VOLUME_REFRESH_S, Refresh())

    def on_stop(self) -> None:
        self.machine.kill_all()

    def _identifier(self) -> str:
        return f"{self.random.getrandbits(256):064x}"

    # -- sandboxes

    @handles(cri.RunPodSandbox)
    def run_pod_sandbox(self, message: cri.RunPodSandbox) -> cri.RunPodSandboxResponse:
        sandbox = ProcessSandbox(self._identifier(), message.config, self.clock.now())
        self.machine.sandboxes[sandbox.id] = sandbox
        return cri.RunPodSandboxResponse(sandbox.id, ("127.0.0.1",))

    @handles(cri.StopPodSandbox)
    def stop_pod_sandbox(self, message: cri.StopPodSandbox) -> None:
        sandbox = self.machine.sandboxes.get(message.pod_sandbox_id)
        if sandbox is not None:
            sandbox.ready = False
            for container in self.machine.containers.values():
                if container.sandbox is sandbox:
                    kill_group(container.process, signal.SIGKILL)

    @handles(cri.RemovePodSandbox)
    def remove_pod_sandbox(self, message: cri.RemovePodSandbox) -> None:
        self.stop_pod_sandbox(cri.StopPodSandbox(message.pod_sandbox_id))
        sandbox = self.machine.sandboxes.pop(message.pod_sandbox_id, None)
        if sandbox and not any(s.config.uid == sandbox.config.uid for s in self.machine.sandboxes.values()):
            self.machine.volumes.remove(sandbox.config.uid)
        for ident in [i for i, c in self.machine.containers.items() if c.sandbox.id == message.pod_sandbox_id]:
            del self.machine.containers[ident]

    @handles(cri.GetPodSandboxStatus)
    def pod_sandbox_status(self, message: cri.GetPodSandboxStatus) -> cri.PodSandboxStatus:
        sandbox = self._sandbox(message.pod_sandbox_id)
        return sandbox.status(self.addresses(sandbox))

    @handles(cri.ListPodSandbox)
    def list_pod_sandbox(self, message: cri.ListPodSandbox) -> tuple[cri.PodSandboxStatus, ...]:
        return tuple(
            s.status(self.addresses(s))
            for s in self.machine.sandboxes.values()
            if message.pod_uid in ("", s.config.uid)
        )

    @handles(cri.UpdatePodSandbox)
    @handles(cri.UpdateRuntimeConfig)
    @handles(cri.UpdateContainerResources)
    def nothing(self, message: Any) -> None:
        """Addresses, annotations and limits mean nothing here."""

    # -- containers

    @handles(cri.CreateContainer)
    def create_container(self, message: cri.CreateContainer) -> cri.CreateContainerResponse:
        sandbox, config = self._sandbox(message.pod_sandbox_id), message.config
        if not config.command + config.args:
            raise cri.CriError("InvalidArgument", "no command specified: the process runtime has no images")
        ident = self._identifier()
        home = self.machine.root / "containers" / ident[:16]
        home.mkdir(parents=True, exist_ok=True)
        container = ProcessContainer(ident, config, sandbox, home, self.clock.now())
        for mount in sorted(config.mounts, key=lambda m: len(m.container_path)):
            self._mount(container, mount)
        self.machine.containers[ident] = container
        return cri.CreateContainerResponse(ident)

    def _mount(self, container: ProcessContainer, mount: cri.Mount) -> None:
        """Make a volume appear below the container's directory."""
        source = self.machine.volumes.linked(container.sandbox.config.uid, mount)
        place = container.home / mount.container_path.strip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to(source)

    @handles(cri.ReadFile)
    def read_file(self, message: cri.ReadFile) -> bytes | None:
        return self.machine.volumes.read(message.host_path, message.path)

    @handles(Refresh)
    def refresh(self, message: Refresh) -> None:
        self.machine.volumes.refresh(self.log)

    @handles(cri.StartContainer)
    def start_container(self, message: cri.StartContainer) -> cri.StartContainerResponse:
        container = self._find(message.container_id)
        config = container.config
        argv = [*config.command, *config.args]
        try:
            process = subprocess.Popen(
                self.command_line(container, argv),
                cwd=container.home,
                env=self.environment(container),
                start_new_session=True,
                stdin=subprocess.PIPE if config.stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            text = (
                f'exec: "{argv[0]}": executable file not found in $PATH'
                if isinstance(error, FileNotFoundError)
                else str(error)
            )
            raise cri.CriError("Unknown", f"failed to start container: {text}") from error
        container.process = process
        container.state = cri.CONTAINER_RUNNING
        container.started_at = self.clock.now()
        assert process.stdout is not None
        assert process.stderr is not None
        pumps = [
            pump(process.stdout, lambda data: tell(self.ref, Wrote(container.id, 1, data))),
            pump(process.stderr, lambda data: tell(self.ref, Wrote(container.id, 2, data))),
        ]
        self._await_end(process, pumps, container.id)
        return cri.StartContainerResponse(container.started_at)

    def _await_end(self, process: subprocess.Popen[bytes], pumps: list[threading.Thread], ident: str) -> None:
        def wait() -> None:
            code = process.wait()
            for thread in pumps:
                thread.join(timeout=2.0)
            tell(self.ref, Ended(ident, code))

        threading.Thread(target=wait, name=f"wait-{ident[:8]}", daemon=True).start()

    @handles(Wrote)
    def wrote(self, message: Wrote) -> None:
        container = self.machine.containers.get(message.container_id)
        if container is None:
            return
        now = self.clock.now()
        before = container.log.lines[-1] if container.log.lines else None
        container.log.write(now, message.stream, message.data)
        self._publish(container, before)

    def _publish(self, container: ProcessContainer, before: Any) -> None:
        """New lines go to the log file, in CRI's format, and to who follows."""
        fresh = []
        for line in reversed(container.log.lines):
            if line is before:
                break
            fresh.append(line)
        fresh.reverse()
        directory = (
            self.machine.root
            / "logs"
            / container.sandbox.config.log_directory.rsplit("/", 1)[-1]
            / container.config.name
        )
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / f"{container.config.attempt}.log").open("ab") as file:
            for at, stream, data in fresh:
                file.write(
                    b"%s %s F %s\n"
                    % (rfc3339_nano(at).encode(), b"stdout" if stream == 1 else b"stderr", data.rstrip(b"\n"))
                )
        for peer, stream_id, timestamps in container.followers:
            for line in fresh:
                self._deliver(peer, StreamData(stream_id, STDOUT if line[1] == 1 else STDERR, shown(line, timestamps)))

    @handles(Ended)
    def ended(self, message: Ended) -> None:
        container = self.machine.containers.get(message.container_id)
        if container is None or container.state == cri.CONTAINER_EXITED:
            return
        before = container.log.lines[-1] if container.log.lines else None
        container.log.close()
        self._publish(container, before)
        container.state = cri.CONTAINER_EXITED
        container.finished_at = self.clock.now()
        container.exit_code = message.code if message.code >= 0 else 128 - message.code
        for future in container.stopping:
            future.resolve(None)
        for peer, stream_id, _ in container.followers:
            self._deliver(peer, StreamClosed(stream_id))
        container.followers.clear()
        if self.machine.watcher is not None:
            self.machine.watcher.tell(cri.ContainerEvent(container.status()))

    @handles(cri.StopContainer)
    def stop_container(self, message: cri.StopContainer) -> Future[None] | None:
        container = self._find(message.container_id)
        if container.state != cri.CONTAINER_RUNNING:
            return None
        future: Future[None] = Future()
        container.stopping.append(future)
        kill_group(container.process, signal.SIGTERM if message.timeout_s > 0 else signal.SIGKILL)
        if message.timeout_s > 0:
            self.after(message.timeout_s, _Deadline(container.id))
        return future

    @handles(_Deadline)
    def deadline(self, message: _Deadline) -> None:
        container = self.machine.containers.get(message.container_id)
        if container is not None:
            kill_group(container.process, signal.SIGKILL)

    @handles(cri.RemoveContainer)
    def remove_container(self, message: cri.RemoveContainer) -> None:
        container = self.machine.containers.pop(message.container_id, None)
        if container is not None:
            kill_group(container.process, signal.SIGKILL)

    @handles(cri.GetContainerStatus)
    def container_status(self, message: cri.GetContainerStatus) -> cri.ContainerStatus:
        return self._find(message.container_id).status()

    @handles(cri.ListContainers)
    def list_containers(self, message: cri.ListContainers) -> tuple[cri.ContainerStatus, ...]:
        return tuple(
            c.status() for c in self.machine.containers.values() if message.pod_uid in ("", c.sandbox.config.uid)
        )

    @handles(cri.GetContainerEvents)
    def container_events(self, message: cri.GetContainerEvents) -> None:
        self.machine.watcher = message.watcher

    # -- figures and images

    @handles(cri.GetContainerStats)
    def container_stats(self, message: cri.GetContainerStats) -> cri.ContainerStats:
        return self._stats(self._find(message.container_id))

    @handles(cri.ListContainerStats)
    def list_container_stats(self, message: cri.ListContainerStats) -> tuple[cri.ContainerStats, ...]:
        return tuple(
            self._stats(c)
            for c in self.machine.containers.values()
            if c.state == cri.CONTAINER_RUNNING and message.pod_uid in ("", c.sandbox.config.uid)
        )

    def _stats(self, container: ProcessContainer) -> cri.ContainerStats:
        now = self.clock.now()
        memory, cpu_s = resident_and_cpu(container.process.pid) if container.process is not None else (0, 0.0)
        age = max(now - container.started_at, 1e-3)
        return cri.ContainerStats(
            container.id,
            container.config.name,
            container.sandbox.config.uid,
            now,
            int(cpu_s * 1e9),
            int(cpu_s / age * 1e9),
            memory,
            memory,
        )

    @handles(cri.ProcessTree)
    def process_tree(self, message: cri.ProcessTree) -> tuple[cri.ProcessEntry, ...]:
        return tuple(
            cri.ProcessEntry(c.process.pid, os.getpid(), " ".join(c.config.command + c.config.args), c.config.name)
            for c in self.machine.containers.values()
            if c.process is not None
            and c.state == cri.CONTAINER_RUNNING
            and message.pod_uid in ("", c.sandbox.config.uid)
        )

    @handles(cri.PullImage)
    def pull_image(self, message: cri.PullImage) -> cri.PullImageResponse:
        return cri.PullImageResponse(normal_reference(message.image), 0, 0.0)

    @handles(cri.ImageStatus)
    def image_status(self, message: cri.ImageStatus) -> cri.Image:
        """Every image is there, as none is needed."""
        reference = normal_reference(message.image)
        return cri.Image(reference, (reference,), (), 0)

    @handles(cri.ListImages)
    def list_images(self, message: cri.ListImages) -> tuple[cri.Image, ...]:
        return ()

    @handles(cri.RemoveImage)
    def remove_image(self, message: cri.RemoveImage) -> None:
        """There is none."""

    @handles(cri.ImageFsInfo)
    def image_fs_info(self, message: cri.ImageFsInfo) -> cri.ImageFsInfoResponse:
        return cri.ImageFsInfoResponse(0, 0)

    @handles(cri.Version)
    def version(self, message: cri.Version) -> cri.VersionResponse:
        return cri.VersionResponse("0.1.0", "process", "1", "v1")
