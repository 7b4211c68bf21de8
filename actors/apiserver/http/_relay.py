"""An upgraded connection whose other end is another server: bytes pass both ways, unread.

Owns the second connection. What travels on it (SPDY, WebSockets) and whether the upgrade is granted is
between the client and that server; its answer, a refusal too, reaches the client as it came.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from actors.apiserver._messages import HttpCall, HttpReply, Relay, Tunnel
from protocol import status

if TYPE_CHECKING:
    from actors.apiserver.http._connection import Connection

__all__ = ["RelaySocket"]

_CONNECT_S = 10.0
_MAX_BUFFER_BYTES = 8 * 1024 * 1024


class RelaySocket:
    """One client's connection and the one to the other server."""

    def __init__(self, connection: Connection, address: Any, tunnel: Tunnel, call: HttpCall) -> None:
        self.connection = connection
        self.relay: Relay = tunnel.request
        self.closed = False
        self._far: Any = None
        self._early = bytearray()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Connect to the other server, and ask it."""
        self._task = self.connection.loop.create_task(self._connect())

    async def _connect(self) -> None:
        relay, loop = self.relay, self.connection.loop
        try:
            wait = loop.create_connection(
                lambda: _Far(self), relay.host, relay.port, ssl=tls_context(relay), server_hostname=relay.host
            )
            transport, _ = await asyncio.wait_for(wait, _CONNECT_S)
        except (OSError, ValueError, TimeoutError) as error:
            self._refuse(f"error dialing backend: dial tcp {relay.host}:{relay.port}: {error or 'i/o timeout'}")
            return
        if self.closed:
            transport.close()
            return
        self._far = transport
        transport.write(relay.head + bytes(self._early))
        self._early.clear()

    def _refuse(self, text: str) -> None:
        if not self.closed:
            self.closed = True
            body = orjson.dumps(status.internal_error(text).status)
            self.connection._write(HttpReply(500, "application/json", body), False, "GET")

    def received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._far is None:
            self._early += data
        else:
            self._far.write(data)
        if len(self._early) > _MAX_BUFFER_BYTES or (
            self._far is not None and self._far.get_write_buffer_size() > _MAX_BUFFER_BYTES
        ):
            self.lost()
            self.connection.transport.abort()

    def answered(self, data: bytes) -> None:
        """Bytes from the other server."""
        self.connection.push(data)

    def ended(self) -> None:
        """The other server has closed."""
        if not self.closed:
            self.closed = True
            self.connection.transport.close()

    def told(self, message: Any) -> None:
        """No actor feeds this connection."""

    def lost(self) -> None:
        """The client is gone."""
        self.closed = True
        if self._far is not None:
            self._far.close()


class _Far(asyncio.Protocol):
    """The connection to the other server."""

    def __init__(self, relay: RelaySocket) -> None:
        self.relay = relay

    def data_received(self, data: bytes) -> None:
        """Bytes from there."""
        self.relay.answered(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has closed."""
        self.relay.ended()


def tls_context(relay: Relay) -> ssl.SSLContext:
    """The client's side of TLS towards the other server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if relay.ca:
        context.load_verify_locations(cadata=relay.ca.decode("ascii"))
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if relay.identity:
        with tempfile.NamedTemporaryFile() as file:  # for its owner's eyes; the ssl module loads keys only from files
            file.write(relay.identity)
            file.flush()
            context.load_cert_chain(Path(file.name))
    return context
