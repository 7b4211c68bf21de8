"""Reading a data directory back: the newest snapshot, then the log after it.

A last write that was cut off is dropped, for nobody was told of it. Any other damage is refused
with the file and the place, never skipped: what would follow it was acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from actors.etcd._data_dir import DataDir, segment_name, snapshot_name
from actors.etcd._errors import DataDirError
from actors.etcd._frames import DamagedFrame, read_frames, torn_at
from actors.etcd._leases import Lease, Leases
from actors.etcd._records import (
    FORMAT,
    Alarms,
    Alive,
    Base,
    Changed,
    Compacted,
    End,
    Head,
    LeaseEnded,
    LeaseSet,
    Record,
    decode,
    pack,
    unpack,
)
from actors.etcd._store import Changes, Store, as_changes
from protocol.etcd import KeyValue

__all__ = ["Captured", "State", "recover"]

FRAME_BYTES = 4 * 1024 * 1024
T = TypeVar("T")


@dataclass
class State:
    """What a data directory holds. `dropped_bytes`: how much of an unfinished write was cut."""

    cluster_id: int
    member_id: int
    store: Store = field(default_factory=Store)
    leases: Leases = field(default_factory=Leases)
    alarms: set[tuple[int, str]] = field(default_factory=set)
    dropped_bytes: int = 0


@dataclass
class _LeaseRecord:
    ttl: int
    left_s: float
    at: float


class _Replay:
    """Applies records in their order."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.last_alive = 0.0
        self.leases: dict[int, _LeaseRecord] = {}
        self.ended = False

    def apply(self, record: Record) -> None:
        """Apply one record. Raises `ValueError` for one that cannot be here."""
        store = self.state.store
        match record:
            case Changed():
                self._changes(record.revision, unpack(record.revision, record.changes))
            case LeaseSet():
                self.leases[record.id] = _LeaseRecord(record.ttl, record.left_s, record.now)
                self.last_alive = max(self.last_alive, record.now)
            case LeaseEnded():
                self.leases.pop(record.id, None)
                if record.revision:
                    self._changes(record.revision, unpack(record.revision, record.changes))
            case Compacted():
                if record.revision > store.compact_revision:
                    store.compact(record.revision)
            case Alarms():
                self.state.alarms = set(record.alarms)
            case Alive():
                self.last_alive = max(self.last_alive, record.now)
            case Base():
                store.restore_base(
                    (KeyValue(k, v, c, m, n, lease) for k, v, c, n, lease, m in record.records),
                    record.start,
                    record.compact_revision,
                )
            case End():
                self.ended = record.revision == store.revision

    def _changes(self, revision: int, changes: Changes) -> None:
        store = self.state.store
        if revision <= store.revision:
            return  # the snapshot has it
        if revision != store.revision + 1:
            raise ValueError(f"revision {revision} follows {store.revision}")
        store.restore(changes)

    def finish(self, now: float) -> None:
        """Attach keys to leases and give each the time that it had left when the server last
        ran; the time in between does not count."""
        leases = self.state.leases
        for lease_id, record in self.leases.items():
            used = max(0.0, self.last_alive - record.at)
            leases.grant(lease_id, record.ttl, now, max(0.0, record.left_s - used))
        for kv in self.state.store.records():
            if kv.lease and kv.lease in leases:
                leases.attach(kv.lease, kv.key)
        self.state.store.trim()


def recover(data_dir: DataDir, now: float, new_ids: tuple[int, int]) -> State:
    """Read everything and make the directory ready for writing.

    `now` is the time of the clock that leases are kept by; `new_ids` are the cluster's and the
    member's id should the directory be new. Raises `DataDirError`.
    """
    files = data_dir.files()
    for name in files.unfinished:
        data_dir.disk.remove(data_dir.path / name)
    state = State(*new_ids)
    replay = _Replay(state)
    first = files.snapshots[-1] if files.snapshots else 1
    if files.snapshots:
        _read_snapshot(data_dir, first, replay)
    segments = [number for number in files.segments if number >= first]
    _check_complete(data_dir, first, segments, bool(files.snapshots))
    length = 0
    for number in segments:
        length = _read_segment(data_dir, number, replay, last=number == segments[-1])
    try:
        data_dir.resume(segments[-1] if segments else 1, length, state.cluster_id, state.member_id)
        data_dir.prune(first)
    except OSError as error:
        raise DataDirError(f"cannot write to {data_dir.path}: {error.strerror or error}") from error
    replay.finish(now)
    return state


def _check_complete(data_dir: DataDir, first: int, segments: list[int], snapshot: bool) -> None:
    """Refuse a log with a hole."""
    expected = list(range(first, first + len(segments)))
    if segments != expected or (snapshot and not segments):
        missing = next((n for n in [*expected, first] if n not in segments), first)
        path = data_dir.path / segment_name(missing)
        raise DataDirError(f"{path} is missing: the log has a hole")


def _read_snapshot(data_dir: DataDir, sequence: int, replay: _Replay) -> None:
    path = data_dir.path / snapshot_name(sequence)
    data = data_dir.disk.read(path)
    try:
        records = _records(data)
        _check_head(next(records, None), sequence, replay.state)
        for record in records:
            replay.apply(record)
    except (ValueError, msgspec.MsgspecError) as error:
        raise DataDirError(f"{path} is damaged: {error}") from error
    if not replay.ended:
        raise DataDirError(f"{path} is damaged: it is not whole")


def _records(data: bytes) -> Iterator[Record]:
    for _, payload in read_frames(data):
        yield from decode(payload)


def _read_segment(data_dir: DataDir, sequence: int, replay: _Replay, last: bool) -> int:
    """Apply one segment. Returns how many of its bytes are good."""
    path = data_dir.path / segment_name(sequence)
    data = data_dir.disk.read(path)
    good = 0
    try:
        for end, payload in read_frames(data):
            records = decode(payload)
            if good == 0:
                _check_head(records[0] if records else None, sequence, replay.state)
            for record in records:
                replay.apply(record)
            good = end
    except DamagedFrame as error:
        if not last or not torn_at(data, error.offset):
            raise DataDirError(f"{path} is damaged: {error}") from error
        replay.state.dropped_bytes = len(data) - good
    except (ValueError, msgspec.MsgspecError) as error:
        raise DataDirError(f"{path} is damaged: {error}") from error
    if not last and good == 0:
        raise DataDirError(f"{path} is damaged: it is empty")
    return good


def _check_head(record: Record | None, sequence: int, state: State) -> None:
    if not isinstance(record, Head):
        raise ValueError("it does not begin as such a file does")
    if record.format != FORMAT:
        raise ValueError(f"its format is {record.format}, and only {FORMAT} is known here")
    if record.sequence != sequence:
        raise ValueError(f"it says that it is number {record.sequence}")
    state.cluster_id, state.member_id = record.cluster_id, record.member_id


class Captured:
    """What goes into a snapshot: a picture of the state that later changes leave alone. Taking
    it copies references only; encoding it is left to another thread."""

    def __init__(
        self, store: Store, leases: Iterable[Lease], alarms: Iterable[tuple[int, str]], now: float, wall: float
    ) -> None:
        self.start = store.log_start
        self.revision = store.revision
        self.compact_revision = store.compact_revision
        self.base = list(store.base())
        self._log = store.copy_log()
        self.leases: list[Record] = [LeaseSet(lease.id, lease.ttl, lease.expires - now, wall) for lease in leases]
        self.alarms = sorted(alarms)

    @property
    def history(self) -> Iterator[Changes]:
        """The changes from revision `start` on."""
        return map(as_changes, self._log)

    def batches(self) -> Iterator[list[Record]]:
        """The records of the snapshot, in frames of a bounded size."""
        rows = ((r.key, r.value, r.create_revision, r.version, r.lease, r.mod_revision) for r in self.base)
        for piece in _pieces(rows, lambda row: len(row[0]) + len(row[1])):
            yield [Base(self.start, self.compact_revision, piece)]
        if not self.base:
            yield [Base(self.start, self.compact_revision, [])]
        changed: Iterator[Record] = (Changed(n, pack(c)) for n, c in enumerate(self.history, self.start))
        yield from _pieces(changed, _size)
        yield [*self.leases, Alarms(self.alarms), End(self.revision)]


def _size(record: Record) -> int:
    assert isinstance(record, Changed)
    return sum(len(c.key) + len(c.value) for c in record.changes)


def _pieces(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Cut a long row into lists of about `FRAME_BYTES`."""
    piece: list[T] = []
    used = 0
    for item in items:
        piece.append(item)
        used += 64 + size(item)
        if used >= FRAME_BYTES:
            yield piece
            piece, used = [], 0
    if piece:
        yield piece
