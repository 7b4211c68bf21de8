"""Pipes, sockets and /proc for the process runtime. Everything here may block, on threads of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from actors.kernel import Actor, ActorDead, Child, Restart, ThreadActor, handles
from protocol.cri import PortForward
from protocol.message import Address, Message
from protocol.node import StreamClosed, StreamData

__all__ = ["Deliver", "Ended", "Relay", "Wrote", "forward_ports", "pump", "resident_and_cpu", "tell"]

CHUNK = 65_536


class Wrote(Message, frozen=True):
    """A container's process wrote on stream 1 or 2."""

    container_id: str
    stream: int
    data: bytes


class Ended(Message, frozen=True):
    """A container's process has ended; negative codes are signals."""

    container_id: str
    code: int


class Deliver(Message, frozen=True):
    """Tell `peer` this."""

    peer: Address
    message: Any


class Relay(Actor):
    """Tells peers what helper threads have to say: who serves a stream may write to a socket of the
    loop at once, which is for the loop's thread alone."""

    @handles(Deliver)
    def deliver(self, message: Deliver) -> None:
        message.peer.tell(message.message)


def tell(ref: Address, message: Any) -> None:
    """Tell from a helper thread; the receiver may have gone meanwhile."""
    with contextlib.suppress(ActorDead):
        ref.tell(message)


def pump(pipe: IO[bytes], sink: Callable[[bytes], None]) -> threading.Thread:
    """Hand what comes from a pipe to `sink`, on a thread that ends with it."""

    def run() -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := os.read(pipe.fileno(), CHUNK):
                sink(data)

    thread = threading.Thread(target=run, name="pump", daemon=True)
    thread.start()
    return thread


def resident_and_cpu(pid: int) -> tuple[int, float]:
    """(resident bytes, CPU seconds) of a process; zeros where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks = os.sysconf("SC_CLK_TCK")
        return int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), (int(fields[11]) + int(fields[12])) / ticks
    except (OSError, IndexError, ValueError):
        return 0, 0.0


def _on_loopback(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10)


def forward_ports(
    message: PortForward, relay: Address, connect: Callable[[int], socket.socket] = _on_loopback
) -> Child:
    """The specification of the actor that serves one port-forward; `connect` reaches a port of the pod."""
    return Child(f"forward-{message.stream_id}", lambda: _Forward(message, relay, connect), restart=Restart.TEMPORARY)


class _Forward(ThreadActor):
    """Carries bytes between a stream and sockets of the pod."""

    def __init__(self, message: PortForward, relay: Address, connect: Callable[[int], socket.socket]) -> None:
        super().__init__()
        self.message = message
        self.connect = connect
        self.relay = relay
        self.sockets: dict[int, socket.socket] = {}

    @handles(StreamData)
    def data(self, message: StreamData) -> None:
        index = message.channel // 2
        if message.channel % 2 or index >= len(self.message.ports):
            return
        peer, stream_id = self.message.peer, self.message.stream_id
        try:
            connection = self.sockets.get(index) or self._connect(index)
            if message.data:
                connection.sendall(message.data)
            if message.eof:
                connection.shutdown(socket.SHUT_WR)
        except OSError as error:
            text = f"error forwarding port {self.message.ports[index]}: {error}"
            tell(self.relay, Deliver(peer, StreamData(stream_id, message.channel + 1, text.encode(), eof=True)))

    def _connect(self, index: int) -> socket.socket:
        connection = self.sockets[index] = self.connect(self.message.ports[index])
        connection.settimeout(None)
        peer, stream_id, relay = self.message.peer, self.message.stream_id, self.relay

        def run() -> None:
            with contextlib.suppress(OSError):
                while data := connection.recv(CHUNK):
                    tell(relay, Deliver(peer, StreamData(stream_id, 2 * index, data)))
            tell(relay, Deliver(peer, StreamData(stream_id, 2 * index, b"", eof=True)))

        threading.Thread(target=run, name="forward", daemon=True).start()
        return connection

    @handles(StreamClosed)
    def closed(self, message: StreamClosed) -> None:
        for connection in self.sockets.values():
            connection.close()
        self.stop()
