"""The listening socket and the connections behind it, as an actor.

The actor's only work is to notice when the API server ends or starts anew, and then to end the
streams that it fed, so that clients watch again. Connections are plain objects on the same loop.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from actors.apiserver.http._connection import Connection
from actors.kernel import Actor, Child, LiveSystem, Ref
from protocol.api import Hold

__all__ = ["HttpFront", "bind", "start"]

_BACKLOG = 1024
_RETRY_S = 0.1


class HttpFront(Actor):
    """Keeps the open connections of one listening socket."""

    def __init__(self, apiserver: Ref) -> None:
        super().__init__()
        self.apiserver = apiserver
        self.connections: set[Connection] = set()

    def on_start(self) -> None:
        """Begin to listen for the API server's end."""
        self.background(self._guard())

    async def _guard(self) -> None:
        while True:
            try:
                await self.ask(self.apiserver, Hold())
            except Exception:
                for connection in list(self.connections):
                    connection.end_stream()
            await self.sleep(_RETRY_S)

    def on_stop(self) -> None:
        """Close what is open."""
        for connection in list(self.connections):
            connection.close()


def bind(host: str) -> socket.socket:
    """A socket on a free port, not listening yet: for who must know the port before the API server starts.

    Raises `OSError`.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def start(
    system: LiveSystem,
    apiserver: Ref,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    max_body_bytes: int = 3 * 1024 * 1024,
    listener: socket.socket | None = None,
) -> tuple[int, Callable[[], None]]:
    """Listen on `host`:`port` (0 picks one), or on a socket that is bound already; answers the port and a
    function that stops listening.

    The system must be running. Raises `OSError` when the port cannot be had. May be called from any
    thread but the loop's own.
    """
    connections: set[Connection] = set()
    loop = system.loop

    async def listen() -> asyncio.Server:
        return await loop.create_server(
            lambda: Connection(loop, apiserver, connections, max_body_bytes),
            ssl=tls,
            backlog=_BACKLOG,
            **({"sock": listener} if listener is not None else {"host": host, "port": port, "reuse_address": True}),
        )

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    bound: int = server.sockets[0].getsockname()[1]

    def make_front() -> HttpFront:
        made = HttpFront(apiserver)
        made.connections = connections
        return made

    ref = system.spawn(Child(f"http-{bound}", make_front))

    def close() -> None:
        async def shut() -> None:
            server.close()
            for connection in list(connections):
                connection.close()

        ref.stop()
        try:
            asyncio.run_coroutine_threadsafe(shut(), loop).result(5)
        except (RuntimeError, TimeoutError):
            pass  # the loop has ended already, and the sockets with it

    return bound, close

