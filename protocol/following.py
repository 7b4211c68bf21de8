"""A node's stream as the body of a streaming HTTP answer, for whoever answers over HTTP.

An address and nothing more: what is told to it is passed on in the other protocol's words.
"""

from __future__ import annotations

from typing import Any

from protocol.http import Frames, FramesClosed
from protocol.message import Address
from protocol.node import StreamClosed, StreamData

__all__ = ["StreamFollower"]


class StreamFollower:
    """Turns a node's stream into the parts of a streaming HTTP answer."""

    __slots__ = ("actor_urn", "stream", "stream_id")

    def __init__(self, stream: Address, stream_id: int) -> None:
        self.stream = stream
        self.stream_id = stream_id
        self.actor_urn = f"{stream.actor_urn}/log-{stream_id}"

    def tell(self, message: Any) -> None:
        """A part, or the end."""
        if isinstance(message, StreamData):
            self.stream.tell(Frames(self.stream_id, message.data))
        elif isinstance(message, StreamClosed):
            self.stream.tell(FramesClosed(self.stream_id))
