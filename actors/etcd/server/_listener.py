"""The sockets that an etcd server listens on. What a connection speaks is told by its first
bytes: the preface of HTTP/2 means gRPC, anything else is HTTP/1.1 and the JSON gateway."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Protocol, cast

from actors.etcd.server._calls import Services
from actors.etcd.server._grpc import grpc_connection
from actors.etcd.server._http1 import HttpConnection
from actors.etcd.server._http2 import PREFACE

__all__ = ["Listener"]

WRITE_HIGH_WATER_BYTES = 1024 * 1024
GRACE_S = 2.0
"""How long requests that are under way may take when the server stops."""
LINGER_S = 0.5
"""How long clients then have to close their side."""


class Connection(Protocol):
    """What speaks one of the two protocols."""

    def data_received(self, data: bytes) -> None: ...
    def connection_lost(self) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def shut_down(self) -> None: ...
    def flush(self) -> None: ...


class _Sniffer(asyncio.Protocol):
    """One accepted connection: waits for the first bytes, then hands everything on."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._connection: Connection | None = None
        self._first = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        self._listener.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.data_received(data)
            return
        self._first += data
        if len(self._first) < len(PREFACE) and PREFACE.startswith(self._first):
            return
        services = self._listener.services
        if self._first.startswith(PREFACE):
            self._connection = grpc_connection(services, self._transport)
        else:
            self._connection = HttpConnection(services, self._transport)
        self._connection.data_received(self._first)
        self._first = b""

    def connection_lost(self, _: Exception | None) -> None:
        self._listener.lost(self)
        if self._connection is not None:
            self._connection.connection_lost()

    def pause_writing(self) -> None:
        if self._connection is not None:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        if self._connection is not None:
            self._connection.resume_writing()

    def say_goodbye(self) -> None:
        """Have the client begin nothing more, in its protocol's own way."""
        if self._connection is not None:
            self._connection.shut_down()

    def end_writing(self) -> None:
        """Write what is left and say that this is all. Bytes that the client is still sending are
        taken, for closing on them would make the system drop what the client has yet to read."""
        if self._connection is not None:
            self._connection.flush()
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def close(self) -> None:
        """End the connection."""
        self._transport.close()


class Listener:
    """Serves one etcd actor on any number of addresses. Lives on the loop's thread."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.connections: set[_Sniffer] = set()
        self._servers: list[asyncio.Server] = []
        self._all_lost = asyncio.Event()

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Accept connections; returns the port, which the system chooses for 0. Raises
        `OSError`."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Sniffer(self), host, port, ssl=tls, backlog=512)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def lost(self, connection: _Sniffer) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        if not self.connections:
            self._all_lost.set()

    async def close(self) -> None:
        """Accept nothing more, let requests that are under way be answered, then end every
        connection; streams are cut."""
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.say_goodbye()
        if self.services.pending:
            idle = asyncio.Event()
            self.services.on_idle = idle.set
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(idle.wait(), GRACE_S)
        for connection in list(self.connections):
            connection.end_writing()
        if self.connections:
            self._all_lost.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._all_lost.wait(), LINGER_S)
        for connection in list(self.connections):
            connection.close()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()
