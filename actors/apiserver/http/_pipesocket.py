"""An upgraded connection whose other end is a pod: bytes pass both ways, unread.

Owns the client's side; the way to the pod is a `Pipe` (`actors.apiserver._backend`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.apiserver._messages import HttpCall, Tunnel

if TYPE_CHECKING:
    from actors.apiserver.http._connection import Connection

__all__ = ["PipeSocket"]


class PipeSocket:
    """One client's connection."""

    def __init__(self, connection: Connection, address: Any, tunnel: Tunnel, call: HttpCall) -> None:
        self.connection = connection
        self.pipe: Any = tunnel.request
        self.closed = False

    def open(self) -> None:
        """Write what the pod has answered to the upgrade, and all that follows."""
        self.pipe.attach(self.connection.push, self._end)

    def received(self, data: bytes) -> None:
        """Bytes of the client."""
        if not self.closed:
            self.pipe.send(data)

    def _end(self) -> None:
        self.closed = True
        self.connection.transport.close()

    def told(self, message: Any) -> None:
        """No actor feeds this connection."""

    def lost(self) -> None:
        """The client is gone."""
        if not self.closed:
            self.closed = True
            self.pipe.close()
