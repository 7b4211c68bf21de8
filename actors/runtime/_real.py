"""What every runtime of real containers does alike: how it begins and ends, volumes, stopping with a grace, rates.

Owns no container: which there are, and how they are made, the runtimes say (`_runc`, `_docker`, `_cri`). It runs on
a thread of its own, where it may block.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.kernel import Child, Future, handles
from actors.runtime._log_files import Position, follow, read_file
from actors.runtime._process_io import Relay, tell
from actors.runtime._real_machine import RealMachine
from actors.runtime._sessions import Session, Sessions, later
from actors.runtime._volume_mounts import VOLUME_REFRESH_S, Refresh
from protocol import cri
from protocol.message import Message
from protocol.node import STDERR, STDOUT, StreamClosed, StreamData

__all__ = ["RealRuntime"]

RATE_S = 1.0
"""Over at least so long a use of CPU is averaged."""


class Deadline(Message, frozen=True):
    """A container that was asked to stop must end now."""

    container_id: str


class RealRuntime(Sessions):
    """See the module. `network`: the node's network actor, spawned below this one; without it, pods
    are on a bridge of the runtime's own."""

    machine: RealMachine

    def __init__(self, machine: Any, network: Child | None = None) -> None:
        super().__init__()
        self.machine = machine
        self.network = network
        self.sessions = {}
        self.stop_waiters: dict[str, list[Future[None]]] = {}
        self.samples: dict[str, tuple[float, int, int]] = {}

    def on_start(self) -> None:
        self.relay = self.spawn(Child("relay", Relay))
        if self.network is not None:
            self.machine.network.actor = self.spawn(self.network)
        self.listen()
        self.every(VOLUME_REFRESH_S, Refresh())

    def on_stop(self) -> None:
        self.deafen()
        self.close_sessions()
        if not self.machine.keep:
            if self.network is not None:  # our children have stopped before us; interfaces go with their pods
                self.machine.network.actor = None
            self.machine.remove_all()

    def listen(self) -> None:
        """Begin to hear of containers that end."""
        raise NotImplementedError

    def deafen(self) -> None:
        """End that."""

    @handles(cri.GetContainerEvents)
    def container_events(self, message: cri.GetContainerEvents) -> None:
        self.machine.watcher = message.watcher

    def announce(self, status: cri.ContainerStatus) -> None:
        """A container has ended: who waits for that is answered, the kubelet is told."""
        self.release_waiters(status.id)
        if self.machine.watcher is not None and status.state == cri.CONTAINER_EXITED:
            tell(self.machine.watcher, cri.ContainerEvent(status))

    def release_waiters(self, ident: str) -> None:
        """Answer those who asked the container to stop."""
        for future in self.stop_waiters.pop(ident, ()):
            future.resolve(None)

    # -- sandboxes

    @handles(cri.SetUpVolume)
    def set_up_volume(self, message: cri.SetUpVolume) -> None:
        self.machine.volumes.set_up(message.pod_uid, message.volume)

    @handles(cri.ReadFile)
    def read_file(self, message: cri.ReadFile) -> bytes | None:
        return self.machine.volumes.read(message.host_path, message.path)

    @handles(cri.ListVolumeUsage)
    def list_volume_usage(self, message: cri.ListVolumeUsage) -> Future[dict[str, cri.FilesystemUsage]]:
        return later(Future(), lambda: self.machine.volumes.usage(message.pod_uid))

    @handles(Refresh)
    def refresh(self, message: Refresh) -> None:
        self.machine.volumes.refresh(self.log)

    @handles(cri.UpdatePodSandbox)
    def update_pod_sandbox(self, message: cri.UpdatePodSandbox) -> None:
        """Annotations mean nothing here."""

    @handles(cri.UpdateRuntimeConfig)
    def update_runtime_config(self, message: cri.UpdateRuntimeConfig) -> None:
        self.machine.log_max_bytes, self.machine.log_max_files = message.log_max_bytes, message.log_max_files
        if self.machine.network is not None:
            self.machine.network.set_cidr(message.pod_cidr)

    # -- containers

    def end_container(self, ident: str, timeout_s: float, signal: str) -> Future[None]:
        """Ask a container to end, and kill it when its time is over; answered when it has ended."""
        future: Future[None] = Future()
        self.stop_waiters.setdefault(ident, []).append(future)
        if timeout_s > 0:
            self.kill(ident, signal)
            self.after(timeout_s, Deadline(ident))
        else:
            self.kill(ident, "SIGKILL")
        return future

    @handles(Deadline)
    def deadline(self, message: Deadline) -> None:
        if message.container_id in self.stop_waiters:
            self.kill(message.container_id, "SIGKILL")

    def kill(self, ident: str, signal: str) -> None:
        """Signal a container; one that has gone is no error."""
        raise NotImplementedError

    # -- logs

    def read_log_file(self, message: cri.ReadLog, path: Path, ended: Callable[[], bool]) -> cri.ReadLogResponse:
        """A log in the CRI's format, and what is written to it from now on, until the container has `ended`."""
        position = Position() if message.peer is not None else None
        data = read_file(path, message, position)
        if message.peer is not None and position is not None:
            peer, stream_id, stopped = message.peer, message.stream_id, threading.Event()
            self.sessions[stream_id] = Session(lambda data, eof: None, stopped.set)

            def tell_more(stream: int, text: bytes) -> None:
                self._deliver(peer, StreamData(stream_id, STDOUT if stream == 1 else STDERR, text))

            follow(path, position, tell_more, ended, stopped, lambda: self._deliver(peer, StreamClosed(stream_id)))
        return cri.ReadLogResponse(data)

    # -- figures

    def cpu_rate(self, ident: str, cpu_ns: int, since: float) -> int:
        """Billionths of a core that a container uses, from what it has used by now; `since`: when it began."""
        now = self.clock.now()
        before = self.samples.get(ident, (since, 0, 0))
        if now - before[0] < RATE_S:
            return before[2]
        rate = int(max(0, cpu_ns - before[1]) / (now - before[0]))
        self.samples[ident] = (now, cpu_ns, rate)
        return rate

    # -- images

    def pulled(
        self, message: cri.PullImage, find: Callable[[], cri.Image | None], failures: tuple[type[Exception], ...]
    ) -> cri.Image | None:
        """The image, which is handed to the daemon from the local store where it is only there.

        Raises: CriError, if that fails."""
        try:
            present = find()
            if present is None and self.machine.load_image(message.image):
                present = find()
        except failures as error:
            raise cri.CriError("Unknown", f"failed to load image {message.image}: {error}", "ErrImagePull") from error
        return present
