"""The ports on which a kube-proxy answers HTTP: its own health and metrics, and Services' health checks.

Owns the sockets, in a network namespace if one is named, and the few lines of HTTP that a GET needs. What
is answered the proxy says. A port that cannot be had is tried again, and told to whoever wants it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import httptools

from actors.kernel import Actor, LiveSystem, handles
from actors.network._health import HealthGet, Listen, NotListening, Place
from protocol.http import HttpReply
from protocol.message import Message

__all__ = ["HealthPorts"]

RETRY_S = 5.0
HEADER_BYTES_MAX = 16 * 1024
CLONE_NEWNET = 0x40000000


class Where(Message, frozen=True):
    """Which places are served? Answered by a dict of purposes to what was bound (tests use port 0)."""


class _Retry(Message, frozen=True):
    """Try again what could not be bound."""


class HealthPorts(Actor):
    """`netns`: a path to the network namespace of the ports; empty for this process's. Only on a live
    system."""

    def __init__(self, netns: str = "") -> None:
        super().__init__()
        self.netns = netns
        self._wanted: dict[Place, str] = {}
        self._servers: dict[Place, tuple[str, socket.socket, asyncio.Task[asyncio.Server]]] = {}
        self._told: set[Place] = set()
        self._connections: set[_Connection] = set()
        self._proxy: Any = None

    @property
    def loop(self) -> Any:
        system = self.system
        assert isinstance(system, LiveSystem), "ports are real: they need a live system"
        return system.loop

    @handles(Listen)
    def listen(self, message: Listen) -> None:
        self._proxy, self._wanted = message.proxy, dict(message.places)
        for place in [p for p, (purpose, _, _) in self._servers.items() if self._wanted.get(p) != purpose]:
            self._close(place)
        self._told &= set(self._wanted)
        self._open()

    @handles(_Retry)
    def retry(self, message: _Retry) -> None:
        self._open()

    @handles(Where)
    def where(self, message: Where) -> dict[str, Place]:
        return {purpose: made.getsockname()[:2] for purpose, made, _ in self._servers.values()}

    def _open(self) -> None:
        missing = [place for place in self._wanted if place not in self._servers]
        for place in missing:
            purpose = self._wanted[place]
            try:
                made = _bound(place, self.netns)
            except OSError as error:
                if place not in self._told:
                    self._told.add(place)
                    self.log.warning("health_port_taken", address=place[0], port=place[1], error=str(error))
                    self._proxy.tell(NotListening(place, purpose, str(error)))
                continue
            self._told.discard(place)
            serving = self.loop.create_server(lambda p=purpose: _Connection(self, p), sock=made)
            self._servers[place] = (purpose, made, self.loop.create_task(serving))
        if any(place not in self._servers for place in missing):
            self.after(RETRY_S, _Retry())

    def _close(self, place: Place) -> None:
        _, _, task = self._servers.pop(place)
        task.add_done_callback(lambda done: done.result().close())

    def on_stop(self) -> None:
        for place in list(self._servers):
            self._close(place)
        for connection in list(self._connections):
            connection.close()

    def answer(self, purpose: str, path: str, give: Callable[[HttpReply], None]) -> None:
        """Ask the proxy on behalf of a connection."""

        def done(future: Any) -> None:
            try:
                give(future.result())
            except Exception:
                give(HttpReply(503, "text/plain; charset=utf-8", b"the proxy is away\n"))

        self._proxy.ask(HealthGet(purpose, path), block=False).add_callback(done)


class _Connection(asyncio.Protocol):
    """One client: its GETs are answered in order, one at a time."""

    def __init__(self, ports: HealthPorts, purpose: str) -> None:
        self.ports, self.purpose = ports, purpose
        self.transport: Any = None
        self._parser = httptools.HttpRequestParser(self)
        self._url, self._size = b"", 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ports._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ports._connections.discard(self)

    def close(self) -> None:
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        try:
            if self._size > HEADER_BYTES_MAX:
                raise httptools.HttpParserError("too large")
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.transport.close()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_message_complete(self) -> None:
        path = self._url.partition(b"?")[0].decode("latin-1")
        head = self._parser.get_method() == b"HEAD"
        keep = self._parser.should_keep_alive()
        self._url, self._size = b"", 0
        self.transport.pause_reading()
        self.ports.answer(self.purpose, path, lambda reply: self._give(reply, keep, head))

    def _give(self, reply: HttpReply, keep: bool, head: bool) -> None:
        if self.transport.is_closing():
            return
        lines = [
            f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
            f"Content-Type: {reply.content_type}",
            *(f"{name}: {value}" for name, value in reply.headers),
            f"Date: {formatdate(self.ports.clock.now(), usegmt=True)}",
            f"Content-Length: {len(reply.body)}",
            *(() if keep else ("Connection: close",)),
        ]
        self.transport.write("\r\n".join((*lines, "", "")).encode() + (b"" if head else reply.body))
        if keep:
            self.transport.resume_reading()
        else:
            self.transport.close()


def _bound(place: Place, netns: str) -> socket.socket:
    """A listening socket at an address and port. Raises OSError."""
    if not netns:
        return _listening(place)
    found: list[socket.socket | OSError] = []

    def enter() -> None:
        try:
            with open(netns, "rb") as file:
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            found.append(_listening(place))
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=enter)  # its namespace ends with it; the socket stays where it is
    thread.start()
    thread.join()
    result = found[0]
    if isinstance(result, OSError):
        raise result
    return result


def _listening(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "::" is every address of both families, as elsewhere
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(place[0] != "::"))
        made.bind(place)
        made.listen(128)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made
