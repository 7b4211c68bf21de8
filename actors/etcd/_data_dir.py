"""A data directory: the lock on it, the log that grows in it, the snapshots that shorten the log.

    lock                        held while a process uses the directory
    wal-0000000000000003.log    a segment of the log, by its sequence number
    snap-0000000000000003.snap  everything that happened before segment 3

A snapshot is written beside the log and renamed when it is whole and on the disk; then the
segments before it go. Blocks on the disk, so it is used from thread actors; a mutex lets two of
them, and the crash of their owner, get along. What the files say is `_recovery`'s affair.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from weakref import WeakValueDictionary

from actors.etcd._disk import DirectoryLock, Disk
from actors.etcd._errors import DataDirError
from actors.etcd._frames import frame
from actors.etcd._records import FORMAT, Head, Record, encode

__all__ = ["DataDir", "Files", "segment_name", "snapshot_name"]


def segment_name(sequence: int) -> str:
    """The file of a log segment."""
    return f"wal-{sequence:016d}.log"


def snapshot_name(sequence: int) -> str:
    """The file of the snapshot before a segment."""
    return f"snap-{sequence:016d}.snap"


class Files:
    """Which sequence numbers of segments and snapshots a directory has, in order."""

    def __init__(self, names: Iterable[str]) -> None:
        self.segments: list[int] = []
        self.snapshots: list[int] = []
        self.unfinished: list[str] = []
        for name in sorted(names):
            stem, _, suffix = name.partition(".")
            kind, _, number = stem.partition("-")
            if suffix.endswith("tmp"):
                self.unfinished.append(name)
            elif number.isdigit() and (kind, suffix) == ("wal", "log"):
                self.segments.append(int(number))
            elif number.isdigit() and (kind, suffix) == ("snap", "snap"):
                self.snapshots.append(int(number))


_held: WeakValueDictionary[str, DataDir] = WeakValueDictionary()
"""The directories that this process has locked."""


class DataDir:
    """One opened directory. `owner` names who uses it, across restarts within this process: a
    crashed owner's directory is taken from its former self. After a failed write it is `broken`: what is on the disk is unknown
    until it is read again, so every later use raises `OSError`."""

    def __init__(self, path: Path, disk: Disk, fsync: bool, owner: object = None) -> None:
        self.path = path
        self._owner = owner
        self.disk = disk
        self._fsync = fsync
        self._mutex = threading.Lock()
        self._lock: DirectoryLock | None = None
        self._fd: int | None = None
        self._sequence = 0
        self._length = 0
        self._identity = (0, 0)
        self._broken = ""

    @property
    def sequence(self) -> int:
        """The number of the segment that is being written."""
        return self._sequence

    def lock(self) -> None:
        """Make the directory and take it for this process. Raises `DataDirError`."""
        held = _held.get(str(self.path.absolute()))
        if held is not None and held._owner is not None and held._owner == self._owner:
            held.close()
        try:
            self.disk.make_directory(self.path)
            self._lock = DirectoryLock(self.path)
        except BlockingIOError as error:
            text = f"data directory {self.path} is in use by {error}"
            raise DataDirError(text) from None
        except OSError as error:
            text = f"cannot use data directory {self.path}: {error.strerror or error}"
            raise DataDirError(text) from error
        _held[str(self.path.absolute())] = self

    def files(self) -> Files:
        """What is there."""
        return Files(self.disk.list(self.path))

    def resume(self, sequence: int, length: int, cluster_id: int, member_id: int) -> None:
        """Go on writing a segment after `length` good bytes; what follows them is cut off."""
        self._identity = (cluster_id, member_id)
        self._fd = self.disk.create_append(self.path / segment_name(sequence))
        self._sequence = sequence
        self._length = length
        self.disk.truncate(self._fd, length)
        if length == 0:
            self._write(frame(encode([self._head(sequence)])), sync=True)
            self.disk.sync_directory(self.path)
        else:
            self.disk.sync(self._fd)

    def _head(self, sequence: int) -> Head:
        return Head(FORMAT, sequence, *self._identity)

    def append(self, records: list[Record]) -> int:
        """Write records as one frame; they are on the disk when this returns (unless fsync is
        off). Returns the length of the segment. Raises `OSError`; then nothing was written that
        counts."""
        with self._mutex:
            self._check()
            self._write(frame(encode(records)), self._fsync)
            return self._length

    def _check(self) -> None:
        if self._broken or self._fd is None:
            raise OSError(f"the log is closed{': ' + self._broken if self._broken else ''}")

    def _write(self, data: bytes, sync: bool) -> None:
        assert self._fd is not None
        try:
            self.disk.write(self._fd, data)
            if sync:
                self.disk.sync(self._fd)
        except OSError as error:
            self._broken = str(error)
            self._cut_back()
            raise
        self._length += len(data)

    def _cut_back(self) -> None:
        """After a failed write, take its bytes away; if that fails too, recovery will."""
        assert self._fd is not None
        try:
            self.disk.truncate(self._fd, self._length)
            self.disk.sync(self._fd)
        except OSError:
            pass

    def rotate(self) -> int:
        """Begin a new segment. Returns its number."""
        with self._mutex:
            self._check()
            assert self._fd is not None
            self.disk.sync(self._fd)
            self.disk.close(self._fd)
            self._fd = None
            sequence = self._sequence + 1
            self._fd = self.disk.create_append(self.path / segment_name(sequence))
            self._sequence, self._length = sequence, 0
            self._write(frame(encode([self._head(sequence)])), sync=True)
            self.disk.sync_directory(self.path)
            return sequence

    def write_snapshot(self, sequence: int, batches: Iterable[list[Record]]) -> None:
        """Write what happened before segment `sequence`, then drop the files that it replaces.

        Does not hold the mutex while it writes: the log goes on meanwhile.
        """
        target = self.path / snapshot_name(sequence)
        unfinished = target.with_suffix(".tmp")
        self.disk.remove(unfinished)
        fd = self.disk.create_append(unfinished)
        try:
            self.disk.write(fd, frame(encode([self._head(sequence)])))
            for batch in batches:
                self.disk.write(fd, frame(encode(batch)))
            self.disk.sync(fd)
        finally:
            self.disk.close(fd)
        with self._mutex:
            self._check()
            self.disk.rename(unfinished, target)
            self.disk.sync_directory(self.path)
            self.prune(sequence)

    def prune(self, sequence: int) -> None:
        """Delete what a snapshot before segment `sequence` replaces, and leftovers."""
        files = self.files()
        for old in files.segments:
            if old < sequence:
                self.disk.remove(self.path / segment_name(old))
        for old in files.snapshots:
            if old < sequence:
                self.disk.remove(self.path / snapshot_name(old))

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Stop using the directory; waits for a write that is under way. Safe to repeat."""
        with self._mutex:
            fd, self._fd = self._fd, None
            if fd is not None:
                self.disk.close(fd)
            if self._lock is not None:
                self._lock.release()
                self._lock = None
