"""Checksums over a store, equal to those of a real etcd with the same history.

etcd hashes its database bucket by bucket: the keys are revisions, the values protobuf messages.
The same bytes are produced here. https://etcd.io/docs/v3.6/op-guide/data_corruption/ and
`server/storage/mvcc/hash.go`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import google_crc32c

from actors.etcd._leases import Leases
from actors.etcd._pb import encode_key_value
from actors.etcd._store import Changes, Store, is_tombstone
from protocol.etcd import KeyValue

__all__ = ["hash_all", "hash_kv", "history_pairs", "revision_key"]


def revision_key(main: int, sub: int, tombstone: bool) -> bytes:
    """The database key of one change: big-endian revision, "_", sub-revision, "t" for deletes."""
    key = struct.pack(">Q", main) + b"_" + struct.pack(">Q", sub)
    return key + b"t" if tombstone else key


def stored_value(record: KeyValue) -> bytes:
    """The database value of one change; of a deletion only the key."""
    return encode_key_value(KeyValue(record.key) if is_tombstone(record) else record)


def history_pairs(base: Iterable[KeyValue], history: Iterable[Changes], start: int) -> list[tuple[bytes, bytes]]:
    """Database keys and values of records older than revision `start` and of the changes from
    there on, in order of their revisions. The older ones' sub-revisions are taken as 0."""
    pairs = [(revision_key(r.mod_revision, 0, False), stored_value(r)) for r in base]
    pairs.sort()
    for main, changes in enumerate(history, start):
        for sub, record in enumerate(changes):
            pairs.append((revision_key(main, sub, is_tombstone(record)), stored_value(record)))
    return pairs


def _pairs(store: Store, revision: int) -> list[tuple[bytes, bytes]]:
    store.trim()
    start = store.log_start
    return history_pairs(store.base(), store.history(start, revision), start)


def hash_kv(store: Store, revision: int) -> int:
    """Checksum of all keys' history up to `revision`.

    Of what lies at or below the compacted revision only the records still living at `revision`
    count (all, if no key lives), and no deletion, since older etcds have dropped those.
    """
    store.trim()
    start, compacted = store.log_start, store.compact_revision
    any_living = store.count(b"\0", b"\0", revision) > 0

    def counts(record: KeyValue) -> bool:
        if record.mod_revision > compacted:
            return True
        if is_tombstone(record):
            return record.mod_revision != compacted
        return not any_living or store.get_at(record.key, revision) is record

    checksum = google_crc32c.Checksum(b"key")
    for record in sorted(store.base(), key=lambda each: each.mod_revision):
        if counts(record):
            checksum.update(revision_key(record.mod_revision, 0, False))
            checksum.update(stored_value(record))
    for main, changes in enumerate(store.history(start, revision), start):
        for sub, record in enumerate(changes):
            if counts(record):
                checksum.update(revision_key(main, sub, is_tombstone(record)))
                checksum.update(stored_value(record))
    return int.from_bytes(checksum.digest(), "big")


def hash_all(store: Store, leases: Leases) -> int:
    """Checksum of the history and the leases."""
    checksum = google_crc32c.Checksum(b"key")
    for key, value in _pairs(store, store.revision):
        checksum.update(key)
        checksum.update(value)
    for lease in sorted(leases, key=lambda each: each.id):
        checksum.update(struct.pack(">qq", lease.id, lease.ttl))
    return int.from_bytes(checksum.digest(), "big")
