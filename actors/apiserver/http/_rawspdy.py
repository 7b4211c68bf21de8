"""SPDY right on an upgraded connection, as clients before the WebSocket tunnels speak it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from actors.apiserver._messages import HttpCall, HttpReply, Tunnel
from actors.apiserver.http._spdy import SpdyError
from actors.apiserver.http._spdystreams import SpdyStreams
from protocol import status

if TYPE_CHECKING:
    from actors.apiserver.http._connection import Connection

__all__ = ["RawSpdy"]
_COMMAND, _FORWARD = "v4.channel.k8s.io", "portforward.k8s.io"


class RawSpdy:
    """One connection that was upgraded to SPDY/3.1."""

    def __init__(self, connection: Connection, address: Any, tunnel: Tunnel, call: HttpCall) -> None:
        self.connection = connection
        self.call = call
        self.protocol = _FORWARD if tunnel.kind == "portforward" else _COMMAND
        self.streams = SpdyStreams(address, tunnel, call.stream_id, self._write, self._close)

    def open(self) -> None:
        """Answer the upgrade, if the client speaks the protocol."""
        offered = (self.call.lists or {}).get("x-stream-protocol-version") or []
        words = [word.strip() for line in offered for word in line.split(",")]
        if words and self.protocol not in words:
            refused = status.forbidden("", "", "", f"unable to upgrade: only {self.protocol} is spoken")
            reply = HttpReply(403, "application/json", orjson.dumps(refused.status))
            self.connection._write(reply, False, "GET")
            return
        lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: SPDY/3.1",
                 f"X-Stream-Protocol-Version: {self.protocol}"]
        self._write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def received(self, data: bytes) -> None:
        """Bytes from the client."""
        try:
            self.streams.feed(data)
        except SpdyError:
            self._close()

    def told(self, message: Any) -> None:
        """A message of one of the node's streams."""
        self.streams.told(message)

    def _write(self, data: bytes) -> None:
        self.connection.push(data)

    def _close(self) -> None:
        self.connection.transport.close()

    def lost(self) -> None:
        """The connection is gone."""
        self.streams.lost()
