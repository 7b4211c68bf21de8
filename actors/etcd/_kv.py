"""The KV service: ranges, puts, deletes and transactions over a store and its leases.

Everything here runs to its end at once and commits at most one revision. It checks what depends
on the state; what a request must look like was checked by `_validate` before. Order of checks and
results follow etcd 3.6's `server/etcdserver/txn`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, cast

import msgspec

from actors.etcd import _errors as errors
from actors.etcd._leases import Leases
from actors.etcd._store import Changes, Store
from actors.etcd._validate import check_delete, check_put, check_range, check_txn
from protocol.etcd import (
    Compare,
    DeleteRange,
    DeleteRangeResponse,
    KeyValue,
    Op,
    OpResponse,
    Put,
    PutResponse,
    Range,
    RangeResponse,
    Txn,
    TxnResponse,
)

__all__ = ["KeyValues", "is_read_only"]

SORT_KEYS: dict[str, Callable[[KeyValue], Any]] = {
    "KEY": attrgetter("key"),
    "VERSION": attrgetter("version"),
    "CREATE": attrgetter("create_revision"),
    "MOD": attrgetter("mod_revision"),
    "VALUE": attrgetter("value"),
}
COMPARE_FIELDS = {
    "VERSION": "version",
    "CREATE": "create_revision",
    "MOD": "mod_revision",
    "VALUE": "value",
    "LEASE": "lease",
}
NOTHING = KeyValue(b"")


def is_read_only(request: Txn) -> bool:
    """Whether a transaction cannot write, whatever its compares say."""
    return all(isinstance(op, Range) for op in (*request.success, *request.failure))


class KeyValues:
    """What clients may do with keys.

    `on_commit` is called with the changes of each new revision, right after it was made.
    """

    def __init__(self, store: Store, leases: Leases, on_commit: Callable[[Changes], None], max_ops: int) -> None:
        self._store = store
        self._leases = leases
        self._on_commit = on_commit
        self._max_ops = max_ops

    def range(self, request: Range) -> RangeResponse:
        """Read. Raises `EtcdError` for a malformed request or an unreadable revision."""
        check_range(request)
        return self._range(request)

    def put(self, request: Put) -> PutResponse:
        """Write one key. Raises `EtcdError`; then nothing has changed."""
        check_put(request)
        self._check_put(request, lease_first=True)
        response = self._put(request)
        self._on_commit(self._store.commit())
        return response

    def delete_range(self, request: DeleteRange) -> DeleteRangeResponse:
        """Delete keys; takes no revision when there is none."""
        check_delete(request)
        response = self._delete_range(request)
        changes = self._store.commit()
        if changes:
            self._on_commit(changes)
        return response

    def txn(self, request: Txn) -> TxnResponse:
        """Compare, then run one branch; all writes share one revision. Raises `EtcdError`; then
        nothing has changed."""
        check_txn(request, self._max_ops)
        path: list[bool] = []
        self._decide(request, path)
        self._check(request, iter(path), [])
        revision, succeeded, responses = self._run(request, iter(path))
        changes = self._store.commit()
        if changes:
            self._on_commit(changes)
        return TxnResponse(revision, succeeded, responses)

    def revoke(self, lease: int) -> Changes:
        """Drop a lease and delete its keys, in key order under one revision."""
        for key in sorted(self._leases.revoke(lease)):
            record = self._store.get(key)
            if record is not None:
                self._store.delete(record)
        changes = self._store.commit()
        if changes:
            self._on_commit(changes)
        return changes

    # Single operations, inside a transaction or alone

    def _range(self, request: Range) -> RangeResponse:
        store = self._store
        revision = store.resolve(request.revision)
        if request.count_only:
            count = store.count(request.key, request.range_end, revision)
            return RangeResponse(store.read_revision, (), False, count)
        filtered = (
            request.min_mod_revision
            or request.max_mod_revision
            or request.min_create_revision
            or request.max_create_revision
        )
        limit = request.limit
        # One more than asked for tells whether there is more.
        fetch = 0 if request.sort_order != "NONE" or filtered or limit <= 0 else limit + 1
        records, count = store.scan(request.key, request.range_end, revision, fetch)
        if filtered:
            records = _filter(records, request)
        if request.sort_target != "KEY" or request.sort_order == "DESCEND":
            # Without an order, a target other than KEY sorts ascending.
            records.sort(key=SORT_KEYS[request.sort_target], reverse=request.sort_order == "DESCEND")
        more = 0 < limit < len(records)
        if more:
            del records[limit:]
        if request.keys_only:
            records = [msgspec.structs.replace(record, value=b"") for record in records]
        return RangeResponse(store.read_revision, tuple(records), more, count)

    def _put(self, request: Put) -> PutResponse:
        old = self._store.get(request.key)
        value, lease = request.value, request.lease
        if old is not None:
            if request.ignore_value:
                value = old.value
            if request.ignore_lease:
                lease = old.lease
            if old.lease != lease and old.lease:
                self._leases.detach(old.lease, request.key)
        record = self._store.put(request.key, value, lease)
        if lease:
            self._leases.attach(lease, request.key)
        return PutResponse(record.mod_revision, old if request.prev_kv else None)

    def _delete_range(self, request: DeleteRange) -> DeleteRangeResponse:
        store = self._store
        records, count = store.scan(request.key, request.range_end, store.read_revision)
        for record in records:
            if record.lease:
                self._leases.detach(record.lease, record.key)
            store.delete(record)
        previous = tuple(records) if request.prev_kv else ()
        return DeleteRangeResponse(store.read_revision, count, previous)

    def _check_put(self, request: Put, lease_first: bool = False) -> None:
        if lease_first and request.lease and request.lease not in self._leases:
            raise errors.lease_not_found()
        if (request.ignore_value or request.ignore_lease) and self._store.get(request.key) is None:
            raise errors.key_not_found()
        if request.lease and request.lease not in self._leases:
            raise errors.lease_not_found()

    # Transactions

    def _decide(self, request: Txn, path: list[bool]) -> None:
        """Append which branch each transaction takes, outer before inner, in order. All of it
        before anything is written."""
        succeeded = all(map(self._holds, request.compare))
        path.append(succeeded)
        for op in request.success if succeeded else request.failure:
            if isinstance(op, Txn):
                self._decide(op, path)

    def _check(self, request: Txn, path: Iterable[bool], gone: list[bytes]) -> None:
        """Refuse what the chosen branches could not do, before anything is written.

        `gone`: where deletions "from this key on" began, the only ones that may cover a key that
        is put later. A put that wants the old value of such a key makes a real etcd panic.
        """
        path = iter(path)
        for op in request.success if next(path) else request.failure:
            if isinstance(op, Put):
                self._check_put(op)
                if (op.ignore_value or op.ignore_lease) and any(start <= op.key for start in gone):
                    raise errors.key_not_found()
            elif isinstance(op, Range):
                if op.revision > self._store.revision:
                    raise errors.future_revision()
                if op.revision and op.revision < self._store.compact_revision:
                    raise errors.compacted()
            elif isinstance(op, DeleteRange):
                if op.range_end == b"\0":
                    gone.append(op.key)
            elif isinstance(op, Txn):
                self._check(op, path, gone)

    def _run(self, request: Txn, path: Iterable[bool]) -> tuple[int, bool, tuple[OpResponse, ...]]:
        path = iter(path)
        succeeded = next(path)
        responses: list[OpResponse] = []
        for op in cast("Sequence[Op]", request.success if succeeded else request.failure):
            if isinstance(op, Put):
                responses.append(self._put(op))
            elif isinstance(op, Range):
                responses.append(self._range(op))
            elif isinstance(op, DeleteRange):
                responses.append(self._delete_range(op))
            elif isinstance(op, Txn):
                # The header of a nested reply is empty in etcd.
                _, inner, nested = self._run(op, path)
                responses.append(TxnResponse(0, inner, nested))
        return self._store.read_revision, succeeded, tuple(responses)

    def _holds(self, compare: Compare) -> bool:
        store = self._store
        if compare.range_end:
            records, _ = store.scan(compare.key, compare.range_end, store.revision)
        else:
            record = store.get(compare.key)
            records = [] if record is None else [record]
        if not records:
            # A missing key has no value, not even an empty one.
            return compare.target != "VALUE" and _compare(compare, NOTHING)
        return all(_compare(compare, record) for record in records)


def _filter(records: list[KeyValue], request: Range) -> list[KeyValue]:
    min_mod, max_mod = request.min_mod_revision, request.max_mod_revision
    min_create, max_create = request.min_create_revision, request.max_create_revision
    return [
        record
        for record in records
        if (not max_mod or record.mod_revision <= max_mod)
        and (not min_mod or record.mod_revision >= min_mod)
        and (not max_create or record.create_revision <= max_create)
        and (not min_create or record.create_revision >= min_create)
    ]


def _compare(compare: Compare, record: KeyValue) -> bool:
    """One comparison. As in etcd, a target that does not exist compares as equal, and a result
    that does not exist holds."""
    field = COMPARE_FIELDS.get(compare.target)
    actual: Any = getattr(record, field) if field else 0
    operand: Any = compare.operand if field else 0
    match compare.result:
        case "EQUAL":
            return bool(actual == operand)
        case "NOT_EQUAL":
            return bool(actual != operand)
        case "GREATER":
            return bool(actual > operand)
        case "LESS":
            return bool(actual < operand)
        case _:
            return True
