"""How large messages are in etcd's protobuf form, without encoding them.

Limits of etcd are limits on encoded bytes; here they are computed from the fields.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.etcd import DeleteRange, Event, KeyValue, Message, Put, Range, Txn

__all__ = ["event_bytes", "request_bytes"]

RAFT_HEADER_BYTES = 14
"""What etcd adds to a request before it compares the size: an id and the field's tag."""


def _varint(value: int) -> int:
    if value < 0:
        return 10
    return max(1, (value.bit_length() + 6) // 7)


def _int(value: int) -> int:
    return 1 + _varint(value) if value else 0


def _bytes(length: int) -> int:
    return 1 + _varint(length) + length if length else 0


def _message(length: int) -> int:
    return 1 + _varint(length) + length


def _key_value(record: KeyValue) -> int:
    return (
        _bytes(len(record.key))
        + _int(record.create_revision)
        + _int(record.mod_revision)
        + _int(record.version)
        + _bytes(len(record.value))
        + _int(record.lease)
    )


def event_bytes(event: Event) -> int:
    """Of one event inside a watch response."""
    size = _message(_key_value(event.kv)) + (0 if event.type == "PUT" else 2)
    if event.prev_kv is not None:
        size += _message(_key_value(event.prev_kv))
    return _message(size)


def _put(request: Put) -> int:
    return (
        _bytes(len(request.key))
        + _bytes(len(request.value))
        + _int(request.lease)
        + 2 * (request.prev_kv + request.ignore_value + request.ignore_lease)
    )


def _txn(request: Txn) -> int:
    size = 0
    for compare in request.compare:
        operand = compare.operand
        operand_bytes = len(operand) + 4 if isinstance(operand, bytes) else 10
        size += _message(4 + _bytes(len(compare.key)) + operand_bytes + len(compare.range_end))
    return size + _ops(request.success) + _ops(request.failure)


def _ops(ops: Iterable[object]) -> int:
    return sum(_message(_message(_request(op))) for op in ops)


def _request(request: object) -> int:
    match request:
        case Put():
            return _put(request)
        case Txn():
            return _txn(request)
        case DeleteRange() | Range():
            return _bytes(len(request.key)) + _bytes(len(request.range_end)) + 4
        case _:
            return 0


def request_bytes(request: Message) -> int:
    """Of a request, as etcd counts it against its limit of 1.5 MiB."""
    return RAFT_HEADER_BYTES + _message(_request(request))
