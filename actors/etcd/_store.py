"""The multi-version key-value store.

Owns keys, values and revisions, and nothing else: it knows no time, no disk, no watcher and no
Kubernetes kind. Every change is made between `begin` and `commit`, gets the next revision and is
kept in a log that watchers catch up from.

A worked example. Put a, put b, put a, delete a (revisions 2 to 5), put a (6):

    current   a: 6 (version 1)                  b: 3 (version 1)
    older     a: 2 (version 1), 4 (version 2), 5 (tombstone)
    log       2: a   3: b   4: a   5: a (tombstone)   6: a

After `compact(4)` nobody may read below revision 4:

    older     a: 4, 5 (tombstone)
    log       4: a   5: a (tombstone)   6: a

and after `compact(5)` only the tombstone made exactly at 5 remains of a's past, because a watch
that starts at 5 must still see it.

Semantics: https://etcd.io/docs/v3.6/learning/api/ and `server/storage/mvcc` of etcd 3.6.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import cast

from sortedcontainers import SortedList

from actors.etcd import _errors as errors
from protocol.etcd import KeyValue

__all__ = ["RECORD_OVERHEAD_BYTES", "Changes", "Store", "as_changes", "is_tombstone"]

RECORD_OVERHEAD_BYTES = 64
"""What one record is taken to cost besides its key and value, when sizes are reported."""

Changes = tuple[KeyValue, ...]
"""The records of one revision, in the order they were made. A tombstone is a record of version 0
that carries only key and mod_revision."""

LogEntry = Changes | KeyValue
"""What the log has of one revision; a lone change stands there without its tuple."""
FIRST_REVISION = 2
"""The revision of the first write."""

_mod_revision = attrgetter("mod_revision")


def is_tombstone(record: KeyValue) -> bool:
    """Whether the record says that the key was deleted."""
    return record.version == 0


def as_changes(entry: LogEntry) -> Changes:
    """The changes of an entry of the log."""
    return entry if type(entry) is tuple else (cast("KeyValue", entry),)


class Store:
    """All versions of all keys since the last compaction.

    `revision`: that of the last committed change; a fresh store is at 1.
    `compact_revision`: reads and watches below it are refused; -1 before any compaction.
    `size_in_use`: bytes of the records that are kept.
    `size`: the most that `size_in_use` has been since `defragment`.
    """

    __slots__ = (
        "_changes", "_current", "_dead", "_keys", "_log", "_log_start", "_older", "_trimmed",
        "compact_revision", "revision", "size", "size_in_use",
    )  # fmt: skip

    def __init__(self) -> None:
        self.revision = 1
        self.compact_revision = -1
        self.size_in_use = 0
        self.size = 0
        self._current: dict[bytes, KeyValue] = {}
        self._keys: SortedList[bytes] = SortedList()  # of _current
        self._older: dict[bytes, list[KeyValue]] = {}  # superseded records and tombstones
        self._dead: SortedList[bytes] = SortedList()  # keys with only older records
        self._log: list[LogEntry] = []
        self._log_start = FIRST_REVISION  # the revision of _log[0]
        self._trimmed = FIRST_REVISION  # history below this revision has been thrown away
        self._changes: list[KeyValue] = []

    # Reading

    @property
    def read_revision(self) -> int:
        """What an unfinished transaction reads at: the next revision once it has written."""
        return self.revision + 1 if self._changes else self.revision

    def get(self, key: bytes) -> KeyValue | None:
        """The record of a key that exists now."""
        return self._current.get(key)

    def get_at(self, key: bytes, revision: int) -> KeyValue | None:
        """The record that a key had at `revision`; None when it had none or that is compacted."""
        if revision < self.compact_revision:
            return None
        record = self._current.get(key)
        if record is not None and record.mod_revision <= revision:
            return record
        older = self._older.get(key)
        if older is None:
            return None
        index = bisect_right(older, revision, key=_mod_revision)
        if index == 0:
            return None
        record = older[index - 1]
        return record if record.version else None

    def resolve(self, revision: int) -> int:
        """The revision that a read for `revision` reads at; 0 and below mean the newest.

        Raises `EtcdError` for a future or a compacted revision.
        """
        newest = self.read_revision
        if revision > newest:
            raise errors.future_revision()
        if revision <= 0:
            revision = newest
        if revision < self.compact_revision:
            raise errors.compacted()
        return revision

    def count(self, key: bytes, range_end: bytes, revision: int) -> int:
        """How many keys of a range exist at a resolved revision."""
        if not range_end:
            return 0 if self.get_at(key, revision) is None else 1
        if revision == self.read_revision:
            low, high = self._bounds(key, range_end)
            return max(0, high - low)
        return sum(1 for _ in self._scan_at(key, range_end, revision))

    def scan(self, key: bytes, range_end: bytes, revision: int, limit: int = 0) -> tuple[list[KeyValue], int]:
        """The records of a range at a resolved revision in key order, at most `limit` of them
        (0: all), and how many there are without the limit."""
        if not range_end:
            if revision == self.read_revision:
                record = self._current.get(key)
            else:
                record = self.get_at(key, revision)
            return ([], 0) if record is None else ([record], 1)
        if revision == self.read_revision:
            low, high = self._bounds(key, range_end)
            if high <= low:
                return [], 0
            stop = min(high, low + limit) if limit > 0 else high
            lookup = self._current.__getitem__
            return list(map(lookup, self._keys.islice(low, stop))), high - low
        records = list(self._scan_at(key, range_end, revision))
        return (records[:limit] if limit > 0 else records), len(records)

    def _bounds(self, key: bytes, range_end: bytes) -> tuple[int, int]:
        """Positions among the living keys of `[key, range_end)`; b"\\0" is no end at all."""
        keys = self._keys
        high = len(keys) if range_end == b"\0" else keys.bisect_left(range_end)
        return keys.bisect_left(key), high

    def _scan_at(self, key: bytes, range_end: bytes, revision: int) -> Iterator[KeyValue]:
        end = None if range_end == b"\0" else range_end
        if end is not None and end <= key:
            return
        keys = list(self._keys.irange(key, end, inclusive=(True, False)))
        keys += self._dead.irange(key, end, inclusive=(True, False))
        keys.sort()
        for each in keys:
            record = self.get_at(each, revision)
            if record is not None:
                yield record

    # Writing

    def put(self, key: bytes, value: bytes, lease: int) -> KeyValue:
        """Write one key in the current transaction; `commit` makes it seen."""
        revision = self.revision + 1
        old = self._current.get(key)
        if old is None:
            record = KeyValue(key, value, revision, revision, 1, lease)
        else:
            record = KeyValue(key, value, old.create_revision, revision, old.version + 1, lease)
        self._place(record, old)
        self._changes.append(record)
        return record

    def delete(self, old: KeyValue) -> None:
        """Delete a key that exists, given its newest record, in the current transaction."""
        tombstone = KeyValue(old.key, b"", 0, self.revision + 1)
        self._bury(tombstone, old)
        self._changes.append(tombstone)

    def commit(self) -> Changes:
        """End the transaction: its changes, if any, become the next revision. Returns them."""
        if not self._changes:
            return ()
        changes = tuple(self._changes)
        self._changes.clear()
        self.revision += 1
        self._log.append(changes if len(changes) > 1 else changes[0])
        if self.size_in_use > self.size:
            self.size = self.size_in_use
        return changes

    def _place(self, record: KeyValue, old: KeyValue | None) -> None:
        """Make `record` the newest of its key, whose newest was `old`."""
        key = record.key
        if old is not None:
            self._supersede(old)
        else:
            self._keys.add(key)
            if key in self._older:
                self._dead.remove(key)
        self._current[key] = record
        self.size_in_use += RECORD_OVERHEAD_BYTES + len(key) + len(record.value)

    def _bury(self, tombstone: KeyValue, old: KeyValue | None) -> None:
        """Make `tombstone` the newest record of its key; `old` is None if that was compacted."""
        key = tombstone.key
        if old is not None:
            del self._current[key]
            self._keys.remove(key)
            self._supersede(old)
        self._supersede(tombstone)
        self._dead.add(key)
        self.size_in_use += RECORD_OVERHEAD_BYTES + len(key)

    def _supersede(self, old: KeyValue) -> None:
        older = self._older.get(old.key)
        if older is None:
            self._older[old.key] = [old]
        else:
            older.append(old)

    # Recovery

    def restore(self, changes: Changes) -> None:
        """Take the changes of the next revision as they were when they were made."""
        for record in changes:
            old = self._current.get(record.key)
            if is_tombstone(record):
                self._bury(record, old)
            else:
                self._place(record, old)
        self._changes.extend(changes)
        self.commit()

    def restore_base(self, records: Iterable[KeyValue], start: int, compact_revision: int) -> None:
        """Fill a fresh store with what existed just before revision `start`, the first of its
        log; may be called again with more of it. `restore` adds the rest."""
        assert self.revision in (1, start - 1)
        added = list(records)
        for record in added:
            self._current[record.key] = record
            self.size_in_use += RECORD_OVERHEAD_BYTES + len(record.key) + len(record.value)
        self._keys.update([record.key for record in added])
        self.size = max(self.size, self.size_in_use)
        self.revision = start - 1
        self._log_start = start
        self._trimmed = max(FIRST_REVISION, start)
        self.compact_revision = compact_revision

    @property
    def log_start(self) -> int:
        """The first revision whose changes are kept."""
        return self._log_start

    def base(self) -> Iterator[KeyValue]:
        """What existed just before `log_start` and still matters, in no order."""
        start, older = self._log_start, self._older
        if start == FIRST_REVISION:
            return
        for key, record in self._current.items():
            if key not in older and record.mod_revision < start:
                yield record
        for records in older.values():
            if records[0].mod_revision < start and records[0].version:
                yield records[0]

    # History

    def changes(self, revision: int) -> Changes:
        """The changes of one revision; empty when they are compacted or not made yet."""
        index = revision - self._log_start
        return as_changes(self._log[index]) if 0 <= index < len(self._log) else ()

    def copy_log(self) -> list[LogEntry]:
        """The log from `log_start` on; cheap, for it copies references only."""
        return self._log.copy()

    def history(self, low: int, high: int) -> Iterator[Changes]:
        """The changes of the revisions `low` to `high`, both included, oldest first."""
        for revision in range(max(low, self._log_start), min(high, self.revision) + 1):
            yield self.changes(revision)

    # Compaction

    def compact(self, revision: int) -> None:
        """Refuse reads below `revision` from now on. `trim` then frees what nobody can read.

        Raises `EtcdError` for a revision that is compacted already or in the future.
        """
        if revision <= self.compact_revision:
            raise errors.compacted()
        if revision > self.revision:
            raise errors.future_revision()
        self.compact_revision = revision

    def trim(self, revisions: int | None = None) -> bool:
        """Throw away records that compaction made unreadable, at most those of so many revisions
        (None: all of them). Returns whether nothing is left to do."""
        last = self.compact_revision
        stop = last if revisions is None else min(last, self._trimmed + revisions)
        for revision in range(self._trimmed, stop + 1):
            for record in self.changes(revision):
                self._trim_key(record.key, revision)
        dropped = stop - self._log_start
        if dropped > 0:
            del self._log[:dropped]
            self._log_start = stop
        self._trimmed = max(self._trimmed, stop)
        return stop >= last

    def _trim_key(self, key: bytes, revision: int) -> None:
        """Forget what `key` was before `revision`, at which it changed."""
        older = self._older.get(key)
        if older is None:
            return
        current = self._current.get(key)
        if current is not None and current.mod_revision <= revision:
            keep = len(older)
        else:
            keep = bisect_right(older, revision, key=_mod_revision) - 1
            if keep < 0:
                return
            newest = older[keep]
            if newest.version == 0 and newest.mod_revision < self.compact_revision:
                keep += 1
        for record in older[:keep]:
            self.size_in_use -= RECORD_OVERHEAD_BYTES + len(key) + len(record.value)
        if keep < len(older):
            del older[:keep]
        else:
            del self._older[key]
            if current is None:
                self._dead.remove(key)

    def defragment(self) -> None:
        """Let `size` fall to what is in use."""
        self.size = self.size_in_use

    def records(self) -> Iterator[KeyValue]:
        """Every living record in key order."""
        return map(self._current.__getitem__, self._keys)

    def __len__(self) -> int:
        return len(self._current)
