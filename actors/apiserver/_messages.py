"""Messages inside this room: between the HTTP front and the API server actor, and to itself."""

from __future__ import annotations

from protocol.http import Frames, FramesClosed, HttpCall, HttpReply, Relay, StopFrames, Tunnel
from protocol.message import Message

__all__ = [
    "BookmarkTick",
    "CompactTick",
    "FeedOverdue",
    "Frames",
    "FramesClosed",
    "HttpCall",
    "HttpReply",
    "Relay",
    "StopFrames",
    "StorageTick",
    "Tunnel",
    "WatchExpired",
]


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
