"""The little protobuf that the store itself needs: stored key-values and leases.

The service's messages are encoded in `server/`; this module must not import them.
"""

from __future__ import annotations

from protocol.etcd import KeyValue

__all__ = ["encode_key_value", "encode_lease", "field_bytes", "field_int", "varint"]

_SMALL = tuple(bytes((n,)) for n in range(128))


def varint(value: int) -> bytes:
    """A protobuf varint; negative numbers as 64-bit two's complement."""
    if 0 <= value < 128:
        return _SMALL[value]
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field_int(number: int, value: int) -> bytes:
    """An integer field; nothing for 0, the default."""
    return varint(number << 3) + varint(value) if value else b""


def field_bytes(number: int, value: bytes) -> bytes:
    """A bytes field; nothing for b"", the default."""
    return varint(number << 3 | 2) + varint(len(value)) + value if value else b""


def encode_key_value(record: KeyValue) -> bytes:
    """`mvccpb.KeyValue`."""
    return (
        field_bytes(1, record.key)
        + field_int(2, record.create_revision)
        + field_int(3, record.mod_revision)
        + field_int(4, record.version)
        + field_bytes(5, record.value)
        + field_int(6, record.lease)
    )


def encode_lease(lease_id: int, ttl: int, remaining_ttl: int = 0) -> bytes:
    """`leasepb.Lease`."""
    return field_int(1, lease_id) + field_int(2, ttl) + field_int(3, remaining_ttl)
