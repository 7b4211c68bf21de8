"""Messages between an HTTP front (which owns sockets) and the actor that answers: the API server, or a
kubelet's own server. Either may be served by the same front, and neither knows of sockets.
"""

from __future__ import annotations

from typing import Any

from protocol.api import UserInfo
from protocol.message import Address, Message

__all__ = ["Frames", "FramesClosed", "HttpCall", "HttpReply", "Relay", "StopFrames", "Tunnel"]


class HttpCall(Message, frozen=True):
    """One HTTP request. Answered by `HttpReply`; after a streaming reply `stream` is told `Frames`
    and finally `FramesClosed`.

    Header names are in lower case; `headers` holds the last value of each, `lists` all values of
    those that may repeat (impersonation). `path` and `query` are as they came, still escaped.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    peer: UserInfo | None = None
    """Whom the client's TLS certificate names."""
    peer_address: str = ""
    stream: Address | None = None
    stream_id: int = 0
    lists: dict[str, list[str]] | None = None


class Tunnel(Message, frozen=True):
    """What an upgraded connection is for: the request message for the node, without the peer; or a
    `Relay`, which needs no node."""

    node: Address | None
    request: Any
    kind: str
    """`exec`, `attach`, `portforward`, `relay`"""


class HttpReply(Message, frozen=True):
    """An HTTP response. `streaming`: the body comes as `Frames`. `tunnel`: switch protocols."""

    status: int
    content_type: str = "application/json"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    more: tuple[bytes, ...] = ()
    """The rest of a large body, in pieces."""
    streaming: bool = False
    tunnel: Tunnel | None = None
    flow: bytes = b""
    """Header lines that name the request (`Audit-Id`) and say whose it was (priority and fairness), ready to send."""


class Frames(Message, frozen=True):
    """Bytes of a streaming response, in order."""

    stream_id: int
    data: bytes


class FramesClosed(Message, frozen=True):
    """A streaming response is complete."""

    stream_id: int


class StopFrames(Message, frozen=True):
    """The HTTP front's client is gone or too slow: send no more."""

    stream: Address
    stream_id: int


class Relay(Message, frozen=True):
    """A `Tunnel.request` for a server that is elsewhere: connect there over TLS, send `head` (a whole
    HTTP request), and pass bytes on in both directions. `identity`: certificate and key (PEM) to
    show. The other side's certificate is verified against `ca` (PEM), unless that is empty."""

    host: str
    port: int
    head: bytes
    identity: bytes = b""
    ca: bytes = b""
