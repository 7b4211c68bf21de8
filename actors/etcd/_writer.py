"""The two actors that block on the disk, each on a thread of its own: one appends to the log, one
writes snapshots meanwhile. They share a `DataDir`, which keeps them apart."""

from __future__ import annotations

from actors.etcd._data_dir import DataDir
from actors.etcd._records import Record
from actors.etcd._recovery import Captured, State, recover
from actors.kernel import ThreadActor, handles
from protocol.message import Message

__all__ = ["Append", "LogWriter", "Open", "Rotate", "SnapshotWriter", "WriteSnapshot"]


class Open(Message, frozen=True):
    """Lock and read the directory. Answered by its `State`, which is the asker's from then on.

    `cluster_id` and `member_id` are for a new directory.
    """

    cluster_id: int
    member_id: int


class Append(Message, frozen=True):
    """Put records on the disk. Answered by the length of the segment in bytes."""

    records: list[Record]


class Rotate(Message, frozen=True):
    """Begin a new segment. Answered by its number."""


class WriteSnapshot(Message, frozen=True):
    """Write what happened before segment `sequence`; answered when it is on the disk."""

    sequence: int
    captured: Captured


class LogWriter(ThreadActor):
    """Appends to the log of one directory."""

    def __init__(self, data_dir: DataDir) -> None:
        super().__init__()
        self._data_dir = data_dir

    @handles(Open)
    def open(self, message: Open) -> State:
        """Lock, read and prepare the directory. Raises `DataDirError`."""
        self._data_dir.lock()
        ids = (message.cluster_id, message.member_id)
        return recover(self._data_dir, self.clock.monotonic(), ids)

    @handles(Append)
    def append(self, message: Append) -> int:
        """Write one frame. Raises `OSError`."""
        return self._data_dir.append(message.records)

    @handles(Rotate)
    def rotate(self, _: Rotate) -> int:
        """Begin a new segment. Raises `OSError`."""
        return self._data_dir.rotate()


class SnapshotWriter(ThreadActor):
    """Writes snapshots of one directory."""

    def __init__(self, data_dir: DataDir) -> None:
        super().__init__()
        self._data_dir = data_dir

    @handles(WriteSnapshot)
    def write(self, message: WriteSnapshot) -> None:
        """Write one snapshot and drop what it replaces. Raises `OSError`."""
        self._data_dir.write_snapshot(message.sequence, message.captured.batches())
