"""Part of the Docker runtime: commands, attached streams, logs, ports.

Owns how bytes get from the daemon's connections to whoever asked for them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from actors.kernel import Future, handles
from actors.runtime import _streams
from actors.runtime._docker_machine import DockerMachine, docker_error
from actors.runtime._linux import connect_inside
from actors.runtime._port_probes import probe_port
from actors.runtime._process_io import forward_ports
from actors.runtime._real import RealRuntime
from actors.runtime._sessions import Session, internal_error, later
from protocol import cri
from protocol.message import Address
from protocol.node import STDERR, STDOUT, StreamClosed, StreamData, StreamOpened

__all__ = ["DockerStreams"]

HEAD = struct.Struct(">BxxxL")
CHUNK = 1 << 16
COMMAND_NOT_STARTED = (126, 127)


def frames(connection: socket.socket, tty: bool) -> Iterator[tuple[int, bytes]]:
    """(channel, bytes) of a hijacked connection: with a terminal as it comes, else in frames."""
    with contextlib.suppress(OSError, ValueError):
        if tty:
            while data := connection.recv(CHUNK):
                yield STDOUT, data
            return
        file = connection.makefile("rb")
        while len(head := file.read(HEAD.size)) == HEAD.size:
            stream, length = HEAD.unpack(head)
            yield STDERR if stream == 2 else STDOUT, file.read(length)


class DockerStreams(RealRuntime):
    """See the module."""

    machine: DockerMachine

    def _running(self, ident: str) -> dict[str, Any]:
        info = self.machine.inspect(ident, "container")
        if not info["State"]["Running"]:
            raise cri.CriError("Unknown", f"container not running ({ident})")
        return info

    def _exec(self, ident: str, command: tuple[str, ...], stdin: bool, tty: bool) -> str:
        with self.machine.asked():
            made = self.machine.api.exec_create(ident, list(command), stdin=stdin, tty=tty)
        return str(made["Id"])

    @handles(cri.ExecSync)
    def exec_sync(self, message: cri.ExecSync) -> Future[cri.ExecSyncResponse]:
        self._running(message.container_id)
        api = self.machine.api
        ident = self._exec(message.container_id, message.command, False, False)

        def work() -> cri.ExecSyncResponse:
            late = threading.Event()

            def give_up() -> None:
                late.set()
                with contextlib.suppress(Exception):
                    os.kill(int(api.exec_inspect(ident)["Pid"]), signal.SIGKILL)

            timer = threading.Timer(message.timeout_s, give_up) if message.timeout_s else None
            if timer is not None:
                timer.daemon = True
                timer.start()
            try:
                out, err = api.exec_start(ident, demux=True)
            except self.machine.errors as error:
                raise docker_error(error) from error
            finally:
                if timer is not None:
                    timer.cancel()
            if late.is_set():
                raise cri.CriError("DeadlineExceeded", f"command {list(message.command)} timed out")
            code = int(api.exec_inspect(ident)["ExitCode"] or 0)
            if code in COMMAND_NOT_STARTED and b"OCI runtime exec failed" in (out or b""):
                raise cri.CriError("Unknown", (out or b"").decode(errors="replace").strip())
            return cri.ExecSyncResponse(code, out or b"", err or b"")

        return later(Future(), work)

    @handles(cri.Exec)
    def exec(self, message: cri.Exec) -> StreamOpened:
        self._running(message.container_id)
        api, tty = self.machine.api, message.tty
        ident = self._exec(message.container_id, message.command, message.stdin, tty)
        with self.machine.asked():
            reader = api.exec_start(ident, socket=True, tty=tty)

        def status() -> dict[str, Any] | None:
            code = int(api.exec_inspect(ident)["ExitCode"] or 0)
            return _streams.exit_status(code)

        def resize(width: int, height: int) -> None:
            with contextlib.suppress(*self.machine.errors):
                api.exec_resize(ident, height=height, width=width)

        self._serve(message.peer, message.stream_id, reader, tty, resize, status)
        return StreamOpened(message.stream_id, self.ref)

    @handles(cri.Attach)
    def attach(self, message: cri.Attach) -> StreamOpened:
        info = self._running(message.container_id)
        tty, ident = bool(info["Config"]["Tty"]), message.container_id
        params = {"stdin": int(message.stdin), "stdout": 1, "stderr": 1, "stream": 1}
        with self.machine.asked():
            reader = self.machine.api.attach_socket(ident, params=params)

        def resize(width: int, height: int) -> None:
            with contextlib.suppress(*self.machine.errors):
                self.machine.api.resize(ident, height=height, width=width)

        self._serve(message.peer, message.stream_id, reader, tty, resize, lambda: None)
        return StreamOpened(message.stream_id, self.ref)

    def _serve(
        self,
        peer: Address,
        stream_id: int,
        reader: Any,
        tty: bool,
        resize: Callable[[int, int], None],
        status: Callable[[], dict[str, Any] | None],
    ) -> None:
        """Carry bytes between a hijacked connection and a peer, until the daemon ends it."""
        connection: socket.socket = getattr(reader, "_sock", reader)
        connection.settimeout(None)

        def write(data: bytes, eof: bool) -> None:
            if data:
                connection.sendall(data)
            if eof:
                connection.shutdown(socket.SHUT_WR)

        def close() -> None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

        def read() -> None:
            started = True
            for channel, data in frames(connection, tty):
                if data.startswith(b"OCI runtime exec failed"):
                    started = False
                    failure = internal_error(data.decode(errors="replace").strip())
                    self._deliver(peer, StreamClosed(stream_id, failure))
                    break
                self._deliver(peer, StreamData(stream_id, channel, data))
            if started:
                self._deliver(peer, StreamClosed(stream_id, status()))
            reader.close()

        self.sessions[stream_id] = Session(write, close, resize if tty else None)
        threading.Thread(target=read, name="docker-stream", daemon=True).start()

    @handles(cri.PortForward)
    def port_forward(self, message: cri.PortForward) -> StreamOpened:
        pid = self.machine.process_of(self.machine.inspect(message.pod_sandbox_id, "sandbox"))
        child = forward_ports(message, self.relay, lambda port: connect_inside(pid, port))
        return StreamOpened(message.stream_id, self.spawn(child))

    @handles(cri.Probe)
    def probe(self, message: cri.Probe) -> Future[cri.ProbeResponse]:
        info = self._running(message.container_id)
        addresses = self.machine.addresses(info["Config"]["Labels"]["io.kubernetes.sandbox.id"])
        return probe_port(msgspec.structs.replace(message, host=message.host or (addresses[0] if addresses else "")))

    @handles(cri.ReadLog)
    def read_log(self, message: cri.ReadLog) -> cri.ReadLogResponse:
        self.machine.inspect(message.container_id, "container")
        cut: dict[str, Any] = {
            "timestamps": message.timestamps,
            "tail": "all" if message.tail_lines is None else message.tail_lines,
            "since": message.since or None,
        }
        if message.peer is not None:
            self._follow(message, cut)
            return cri.ReadLogResponse(b"")
        with self.machine.asked():
            data: bytes = self.machine.api.logs(message.container_id, stdout=True, stderr=True, **cut)
        return cri.ReadLogResponse(data if message.limit_bytes is None else data[: message.limit_bytes])

    def _follow(self, message: cri.ReadLog, cut: dict[str, Any]) -> None:
        peer, stream_id = message.peer, message.stream_id
        assert peer is not None
        stream = self.machine.api.logs(message.container_id, stdout=True, stderr=True, stream=True, follow=True, **cut)

        over = threading.Event()

        def read() -> None:
            with contextlib.suppress(Exception):  # the connection is closed under us when the reader goes
                for data in stream:
                    self._deliver(peer, StreamData(stream_id, STDOUT, data))
            over.set()
            self._deliver(peer, StreamClosed(stream_id))

        def close() -> None:
            if not over.is_set():  # a stream that is over has given its connection back, to be used by others
                stream.close()

        self.sessions[stream_id] = Session(lambda data, eof: None, close)
        threading.Thread(target=read, name="docker-log", daemon=True).start()
