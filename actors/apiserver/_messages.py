"""Messages inside this room: between the HTTP front and the API server actor, and to itself."""

from __future__ import annotations

from typing import Any

from protocol.api import UserInfo
from protocol.message import Address, Message

__all__ = [
    "BookmarkTick",
    "CompactTick",
    "FeedOverdue",
    "Frames",
    "FramesClosed",
    "HttpCall",
    "HttpReply",
    "StopFrames",
    "StorageTick",
    "Tunnel",
    "WatchExpired",
]


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
    """What an upgraded connection is for: the request message for the node, without the peer."""

    node: Address
    request: Any
    kind: str
    """`exec`, `attach`, `portforward`"""


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


class BookmarkTick(Message, frozen=True):
    """Time for bookmarks."""


class CompactTick(Message, frozen=True):
    """Time to let etcd forget old revisions."""


class StorageTick(Message, frozen=True):
    """Time to see whether etcd is still the one that was read."""


class WatchExpired(Message, frozen=True):
    """A watch's timeoutSeconds have passed. `serial` is the API server's own number of the watch."""

    serial: int


class FeedOverdue(Message, frozen=True):
    """A writer waits for a revision that the watch cache should have seen by now."""

    revision: int
