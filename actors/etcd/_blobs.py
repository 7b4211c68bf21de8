"""Encodes snapshots for clients on a thread of its own, since a large one takes seconds."""

from __future__ import annotations

from actors.etcd._bolt import snapshot_file
from actors.etcd._recovery import Captured
from actors.kernel import ThreadActor, handles
from protocol.etcd import Member
from protocol.message import Message

__all__ = ["BlobWriter", "EncodeSnapshot"]


class EncodeSnapshot(Message, frozen=True):
    """Answered by the content of a snapshot file."""

    captured: Captured
    member: Member
    cluster_id: int


class BlobWriter(ThreadActor):
    """Turns captured states into files' contents."""

    @handles(EncodeSnapshot)
    def encode(self, message: EncodeSnapshot) -> bytes:
        """The whole file as bytes."""
        return snapshot_file(message.captured, message.member, message.cluster_id)
