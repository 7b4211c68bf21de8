"""What the log and the snapshots are made of: small msgpack arrays, each with a tag in front.

A record says what happened, not what was asked, so that reading one back needs no rules. Reading
the same record twice does no harm: `_recovery` skips what a snapshot has already.
"""

from __future__ import annotations

from typing import Union

import msgspec

from actors.etcd._store import Changes
from protocol.etcd import KeyValue

__all__ = [
    "FORMAT", "Alarms", "Alive", "Base", "Changed", "Compacted", "End", "Head", "LeaseEnded",
    "LeaseSet", "Record", "decode", "encode", "pack", "unpack",
]  # fmt: skip

FORMAT = 1


class Packed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A change without its revision; version 0 is a deletion."""

    key: bytes
    value: bytes
    create_revision: int
    version: int
    lease: int


class Head(msgspec.Struct, frozen=True, array_like=True, tag="head"):
    """The first record of every file. `sequence` counts the segments of the log; a snapshot
    carries the one of the first segment that comes after it."""

    format: int
    sequence: int
    cluster_id: int
    member_id: int


class Changed(msgspec.Struct, frozen=True, array_like=True, tag="rev"):
    """A revision was made."""

    revision: int
    changes: list[Packed]


class LeaseSet(msgspec.Struct, frozen=True, array_like=True, tag="lease"):
    """A lease was granted or renewed; `left_s` seconds remained at wall time `now`."""

    id: int
    ttl: int
    left_s: float
    now: float


class LeaseEnded(msgspec.Struct, frozen=True, array_like=True, tag="unlease"):
    """A lease was revoked or is over; its keys went with it in revision `revision` (0: none)."""

    id: int
    revision: int
    changes: list[Packed]


class Compacted(msgspec.Struct, frozen=True, array_like=True, tag="compact"):
    """History below a revision was given up."""

    revision: int


class Alarms(msgspec.Struct, frozen=True, array_like=True, tag="alarms"):
    """The alarms that stand from now on."""

    alarms: list[tuple[int, str]]


class Alive(msgspec.Struct, frozen=True, array_like=True, tag="alive"):
    """The server ran at wall time `now`: leases have used up their time until then."""

    now: float


class Base(msgspec.Struct, frozen=True, array_like=True, tag="base"):
    """In a snapshot: records older than its first revision, with their own revisions (last)."""

    start: int
    compact_revision: int
    records: list[tuple[bytes, bytes, int, int, int, int]]


class End(msgspec.Struct, frozen=True, array_like=True, tag="end"):
    """The last record of a snapshot: it is whole."""

    revision: int


Record = Union[Head, Changed, LeaseSet, LeaseEnded, Compacted, Alarms, Alive, Base, End]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Record])


def encode(records: list[Record]) -> bytes:
    """Records as msgpack."""
    return _encoder.encode(records)


def decode(data: bytes) -> list[Record]:
    """Records from msgpack. Raises `msgspec.MsgspecError`."""
    return _decoder.decode(data)


def pack(changes: Changes) -> list[Packed]:
    """Changes of one revision in their stored form."""
    return [Packed(r.key, r.value, r.create_revision, r.version, r.lease) for r in changes]


def unpack(revision: int, changes: list[Packed]) -> Changes:
    """The reverse of `pack`."""
    return tuple(KeyValue(c.key, c.value, c.create_revision, revision, c.version, c.lease) for c in changes)
