"""What a request must satisfy before the store sees it.

Pure functions over messages; they know no keys that exist. Rules and their order are those of
etcd 3.6's `server/etcdserver/api/v3rpc/key.go`.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.etcd import _errors as errors
from protocol.etcd import DeleteRange, Op, Put, Range, Txn

__all__ = ["MAX_TXN_OPS", "check_delete", "check_put", "check_range", "check_txn"]

MAX_TXN_OPS = 128

SORT_ORDERS = frozenset(("NONE", "ASCEND", "DESCEND"))
SORT_TARGETS = frozenset(("KEY", "VERSION", "CREATE", "MOD", "VALUE"))

Interval = tuple[bytes, bytes]


def check_range(request: Range) -> None:
    """Refuse an empty key and sort settings that do not exist."""
    if not request.key:
        raise errors.empty_key()
    if request.sort_order not in SORT_ORDERS or request.sort_target not in SORT_TARGETS:
        raise errors.invalid_sort_option()


def check_put(request: Put) -> None:
    """Refuse an empty key, and a value or lease that the request asks to ignore."""
    if not request.key:
        raise errors.empty_key()
    if request.ignore_value and request.value:
        raise errors.value_provided()
    if request.ignore_lease and request.lease:
        raise errors.lease_provided()


def check_delete(request: DeleteRange) -> None:
    """Refuse an empty key."""
    if not request.key:
        raise errors.empty_key()


def check_txn(request: Txn, max_ops: int = MAX_TXN_OPS) -> None:
    """Refuse malformed operations, too many of them, and keys written twice on one path."""
    _check_shape(request, max_ops)
    if len(request.success) > 1 or _has_txn(request.success):
        _check_overlaps(request.success)
    if len(request.failure) > 1 or _has_txn(request.failure):
        _check_overlaps(request.failure)


def _has_txn(ops: Sequence[Op]) -> bool:
    return bool(ops) and type(ops[0]) is Txn


def _check_shape(request: Txn, max_ops: int) -> None:
    count = max(len(request.compare), len(request.success), len(request.failure))
    if count > max_ops:
        raise errors.too_many_ops()
    for compare in request.compare:
        if not compare.key:
            raise errors.empty_key()
    for op in request.success:
        _check_op(op, max_ops - count)
    for op in request.failure:
        _check_op(op, max_ops - count)


def _check_op(op: Op, max_ops: int) -> None:
    match op:
        case Put():
            check_put(op)
        case Range():
            check_range(op)
        case DeleteRange():
            check_delete(op)
        case Txn():
            _check_shape(op, max_ops)
        case _:
            raise errors.key_not_found()


def _check_overlaps(ops: Sequence[Op]) -> tuple[set[bytes], list[Interval]]:
    """Refuse a key that could be put twice, or put and deleted, when `ops` run.

    Returns the keys put and the intervals deleted by any path, for the level above. Intervals
    keep etcd's literal range end, so one that ends in b"\\0" ("from key on") overlaps nothing.
    """
    deletes = [(op.key, op.range_end or op.key + b"\0") for op in ops if isinstance(op, DeleteRange)]
    puts: set[bytes] = set()
    for op in ops:
        if isinstance(op, Txn):
            _merge_branches(op, puts, deletes)
    for op in ops:
        if isinstance(op, Put):
            if op.key in puts or _covered(op.key, deletes):
                raise errors.duplicate_key()
            puts.add(op.key)
    return puts, deletes


def _merge_branches(txn: Txn, puts: set[bytes], deletes: list[Interval]) -> None:
    """Add what a nested transaction may write. Its two branches exclude each other, so both may
    put one key."""
    then_puts, then_deletes = _check_overlaps(txn.success)
    else_puts, else_deletes = _check_overlaps(txn.failure)
    both = then_puts | else_puts
    if not puts.isdisjoint(both) or any(_covered(key, deletes) for key in both):
        raise errors.duplicate_key()
    puts |= both
    deletes += then_deletes
    deletes += else_deletes


def _covered(key: bytes, intervals: Sequence[Interval]) -> bool:
    return any(start <= key < end for start, end in intervals)
