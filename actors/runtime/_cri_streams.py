"""Part of the CRI runtime: commands, attached streams, logs, ports, by the runtime's streaming URLs.

Owns how bytes get from a runtime's streaming server to whoever asked for them.
https://github.com/kubernetes/kubernetes/tree/master/staging/src/k8s.io/kubelet/pkg/cri/streaming
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson

from actors.kernel import Child, Future, Restart, ThreadActor, handles
from actors.runtime._cri_machine import CriMachine
from actors.runtime._port_probes import probe_port
from actors.runtime._process_io import Deliver, tell
from actors.runtime._real import RealRuntime
from actors.runtime._sessions import Session, internal_error, later
from actors.runtime._spdy_client import SpdyConnection
from protocol import cri
from protocol.message import Address
from protocol.node import STDERR, STDOUT, StreamClosed, StreamData, StreamOpened

__all__ = ["CriStreams"]

EXITED = 2
COMMAND_MARGIN_S = 10.0
FOREVER_S = 86_400.0


class CriStreams(RealRuntime):
    """See the module."""

    machine: CriMachine

    def _status(self, ident: str) -> Any:
        return self.machine.call("ContainerStatus", container_id=ident).status

    def _running(self, ident: str) -> Any:
        status = self._status(ident)
        if status.state != 1:
            raise cri.CriError("Unknown", f"container not running ({ident})")
        return status

    def _pid(self, answer: Any) -> int:
        try:
            return int(json.loads(answer.info.get("info", "{}")).get("pid") or 0)
        except ValueError:
            return 0

    def pause_pid(self, ident: str) -> int:
        """The process of a sandbox, where the runtime tells it; else 0."""
        with contextlib.suppress(cri.CriError):
            return self._pid(self.machine.call("PodSandboxStatus", pod_sandbox_id=ident, verbose=True))
        return 0

    def container_pid(self, ident: str) -> int:
        """The process of a container, where the runtime tells it; else 0."""
        with contextlib.suppress(cri.CriError):
            return self._pid(self.machine.call("ContainerStatus", container_id=ident, verbose=True))
        return 0

    @handles(cri.ExecSync)
    def exec_sync(self, message: cri.ExecSync) -> Future[cri.ExecSyncResponse]:
        self._running(message.container_id)
        seconds = int(message.timeout_s + 0.999)
        limit = seconds + COMMAND_MARGIN_S if seconds else FOREVER_S

        def work() -> cri.ExecSyncResponse:
            answer = self.machine.call(
                "ExecSync", limit, container_id=message.container_id, cmd=message.command, timeout=seconds
            )
            return cri.ExecSyncResponse(answer.exit_code, answer.stdout, answer.stderr)

        return later(Future(), work)

    @handles(cri.Exec)
    def exec(self, message: cri.Exec) -> StreamOpened:
        self._running(message.container_id)
        url = self.machine.call(
            "Exec", container_id=message.container_id, cmd=message.command, tty=message.tty, stdin=message.stdin,
            stdout=True, stderr=not message.tty,
        ).url  # fmt: skip
        self._serve(url, message.peer, message.stream_id, message.stdin, message.tty)
        return StreamOpened(message.stream_id, self.ref)

    @handles(cri.Attach)
    def attach(self, message: cri.Attach) -> StreamOpened:
        self._running(message.container_id)
        url = self.machine.call(
            "Attach", container_id=message.container_id, stdin=message.stdin, tty=message.tty, stdout=True,
            stderr=not message.tty,
        ).url  # fmt: skip
        self._serve(url, message.peer, message.stream_id, message.stdin, message.tty)
        return StreamOpened(message.stream_id, self.ref)

    def _serve(self, url: str, peer: Address, stream_id: int, stdin: bool, tty: bool) -> None:
        """Carry bytes between a remote command and a peer until it ends."""
        try:
            connection = SpdyConnection(url, "v4.channel.k8s.io")
        except OSError as error:
            raise cri.CriError("Unavailable", str(error)) from error
        errors = connection.open(streamtype="error", finished=True)
        given = connection.open(streamtype="stdin") if stdin else 0
        channels = {connection.open(streamtype="stdout", finished=True): STDOUT}
        if not tty:
            channels[connection.open(streamtype="stderr", finished=True)] = STDERR
        sizes = connection.open(streamtype="resize") if tty else 0

        def write(data: bytes, eof: bool) -> None:
            if given:
                connection.send(given, data, eof)

        def resize(width: int, height: int) -> None:
            connection.send(sizes, orjson.dumps({"Width": width, "Height": height}) + b"\n")

        def read() -> None:
            said, open_streams = bytearray(), {errors, *channels}
            with contextlib.suppress(OSError, ValueError):
                for stream, data, last in connection.frames():
                    if stream == errors:
                        said.extend(data)
                    elif data and stream in channels:
                        self._deliver(peer, StreamData(stream_id, channels[stream], data))
                    if last:
                        open_streams.discard(stream)
                        if not open_streams:
                            break
            connection.close()
            self._deliver(peer, StreamClosed(stream_id, _status(bytes(said))))

        self.sessions[stream_id] = Session(write, connection.close, resize if tty else None)
        threading.Thread(target=read, name="cri-stream", daemon=True).start()

    @handles(cri.PortForward)
    def port_forward(self, message: cri.PortForward) -> StreamOpened:
        url = self.machine.call("PortForward", pod_sandbox_id=message.pod_sandbox_id, port=message.ports).url
        child = Child(
            f"forward-{message.stream_id}", lambda: _Forward(message, url, self.relay), restart=Restart.TEMPORARY
        )
        return StreamOpened(message.stream_id, self.spawn(child))

    @handles(cri.Probe)
    def probe(self, message: cri.Probe) -> Future[cri.ProbeResponse]:
        status = self._running(message.container_id)
        sandbox = status.annotations.get("kubekka.dev/key", "").partition("-")[0]
        host = message.host or self.machine.call("PodSandboxStatus", pod_sandbox_id=sandbox).status.network.ip
        return probe_port(msgspec.structs.replace(message, host=host))

    @handles(cri.ReadLog)
    def read_log(self, message: cri.ReadLog) -> cri.ReadLogResponse:
        path = Path(self._status(message.container_id).log_path)
        return self.read_log_file(message, path, self._ended(message.container_id))

    def _ended(self, ident: str) -> Callable[[], bool]:
        """Whether a container has ended, asked not too often."""
        asked = [0]

        def ended() -> bool:
            asked[0] += 1
            if asked[0] % 4 != 1:
                return False
            try:
                return bool(self._status(ident).state == EXITED)
            except cri.CriError as error:
                return error.code == "NotFound"

        return ended


def _status(said: bytes) -> dict[str, Any] | None:
    """The Status at the end of a remote command."""
    if not said:
        return None
    try:
        status = orjson.loads(said)
        return status if isinstance(status, dict) else None
    except orjson.JSONDecodeError:
        return internal_error(said.decode(errors="replace"))


class _Forward(ThreadActor):
    """Carries bytes between a stream and the runtime's port-forward."""

    def __init__(self, message: cri.PortForward, url: str, relay: Address) -> None:
        super().__init__()
        self.message, self.relay = message, relay
        self.connection = SpdyConnection(url, "portforward.k8s.io")
        self.streams: dict[int, int] = {}
        self.known: dict[int, int] = {}
        """Stream -> channel."""

    def on_start(self) -> None:
        threading.Thread(target=self._read, name="cri-forward", daemon=True).start()

    def _open(self, index: int) -> int:
        port = str(self.message.ports[index])
        errors = self.connection.open(streamtype="error", port=port, requestID=str(index), finished=True)
        self.known[errors] = 2 * index + 1
        data = self.streams[index] = self.connection.open(streamtype="data", port=port, requestID=str(index))
        self.known[data] = 2 * index
        return data

    def _read(self) -> None:
        peer, stream_id = self.message.peer, self.message.stream_id
        with contextlib.suppress(OSError, ValueError):
            for stream, data, last in self.connection.frames():
                channel = self.known.get(stream)
                if channel is not None and (data or channel % 2 == 0):
                    tell(self.relay, Deliver(peer, StreamData(stream_id, channel, data, eof=last)))

    @handles(StreamData)
    def data(self, message: StreamData) -> None:
        index = message.channel // 2
        if message.channel % 2 or index >= len(self.message.ports):
            return
        with contextlib.suppress(OSError):
            self.connection.send(self.streams.get(index) or self._open(index), message.data, message.eof)

    @handles(StreamClosed)
    def closed(self, message: StreamClosed) -> None:
        self.connection.close()
        self.stop()
