"""The KV service of an etcd: limits first, then the store."""

from __future__ import annotations

from typing import Any

from actors.etcd import _errors as errors
from actors.etcd._core import Core
from actors.etcd._kv import is_read_only
from actors.etcd._proto_size import request_bytes
from actors.etcd._validate import check_delete, check_put, check_txn
from actors.kernel import handles
from protocol.etcd import (
    Compact,
    CompactResponse,
    DeleteRange,
    DeleteRangeResponse,
    Op,
    Put,
    PutResponse,
    Range,
    RangeResponse,
    Txn,
    TxnResponse,
)
from protocol.message import Message

__all__ = ["KeyRequests"]

KEY_VALUE_OVERHEAD_BYTES = 256
"""What a key is taken to cost besides its bytes, when the quota is checked."""
SURELY_SMALL_BYTES = 1_000_000
"""A request whose keys and values are below this is not measured exactly."""
TRIM_REVISIONS = 5_000
"""History is freed in slices of so many revisions, so that others get their turn."""
AUTO_COMPACTION_INTERVAL_S = 60.0


class _Trim(Message, frozen=True):
    """To itself: free compacted history."""


class _AutoCompact(Message, frozen=True):
    """To itself: look whether there is more history than wanted."""


class KeyRequests(Core):
    """Handles what concerns keys."""

    def begin(self) -> None:
        super().begin()
        if self.config.auto_compaction_revisions > 0:
            self.every(AUTO_COMPACTION_INTERVAL_S, _AutoCompact())

    @handles(Range)
    def range(self, message: Range) -> RangeResponse | Any:
        """Read keys; see `protocol.etcd.Range`."""
        return self.serve(self._kv.range, message)

    @handles(Put)
    def put(self, message: Put) -> PutResponse | Any:
        """Write one key."""
        size = len(message.key) + len(message.value)
        self.check_quota(KEY_VALUE_OVERHEAD_BYTES + size)
        if self._alarms or size > SURELY_SMALL_BYTES:
            check_put(message)
            self._check_size(message)
            self.check_alarms(takes_space=True)
        return self.serve(self._kv.put, message)

    @handles(DeleteRange)
    def delete_range(self, message: DeleteRange) -> DeleteRangeResponse | Any:
        """Delete keys."""
        if self._alarms or len(message.key) + len(message.range_end) > SURELY_SMALL_BYTES:
            check_delete(message)
            self._check_size(message)
            self.check_alarms(takes_space=False)
        return self.serve(self._kv.delete_range, message)

    @handles(Txn)
    def txn(self, message: Txn) -> TxnResponse | Any:
        """Run a transaction."""
        cost = max(_cost(message.success), _cost(message.failure))
        if cost:
            self.check_quota(cost)
        if (self._alarms or _bytes(message) > SURELY_SMALL_BYTES) and not is_read_only(message):
            check_txn(message, self.config.max_txn_ops)
            self._check_size(message)
            self.check_alarms(takes_space=cost > 0)
        return self.serve(self._kv.txn, message)

    @handles(Compact)
    def compact(self, message: Compact) -> CompactResponse | Any:
        """Forget history below a revision; a physical compaction is answered when it is gone."""
        return self.serve(self._compact, message)

    def _compact(self, message: Compact) -> CompactResponse:
        self.check_alarms(takes_space=False)
        self._store.compact(message.revision)
        if self._journal is not None:
            self._journal.compacted(message.revision)
        if message.physical:
            self._store.trim()
        elif not self._trimming:
            self._trim(_Trim())
        self.wake_watchers()
        return CompactResponse(self._store.revision)

    @handles(_Trim)
    def _trim(self, _: _Trim) -> None:
        self._trimming = not self._store.trim(TRIM_REVISIONS)
        if self._trimming:
            self.ref.tell(_Trim())

    @handles(_AutoCompact)
    def _auto_compact(self, _: _AutoCompact) -> None:
        revision = self._store.revision - self.config.auto_compaction_revisions
        if revision > self._store.compact_revision and revision > 1:
            self._compact(Compact(revision))

    def _check_size(self, message: Put | DeleteRange | Txn) -> None:
        if request_bytes(message) > self.config.max_request_bytes:
            raise errors.request_too_large()


def _cost(ops: tuple[Op, ...]) -> int:
    """What the puts of a branch may add to the store, in bytes; nested ones are not counted."""
    return sum(KEY_VALUE_OVERHEAD_BYTES + len(op.key) + len(op.value) for op in ops if isinstance(op, Put))


def _bytes(message: Txn) -> int:
    """Roughly how large a transaction is: its keys and values."""
    size = 0
    for compare in message.compare:
        size += len(compare.key) + (len(compare.operand) if type(compare.operand) is bytes else 0)
    for op in (*message.success, *message.failure):
        if isinstance(op, Put):
            size += len(op.key) + len(op.value)
        elif isinstance(op, Txn):
            size += _bytes(op)
    return size
