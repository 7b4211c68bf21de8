"""Questions to the cluster's DNS and its answers, as values.

Owns the messages between whoever looks up names and the DNS actor. Names are in lower case, with their
final dot. Must never know how names come about.
"""

from __future__ import annotations

import msgspec

from protocol.message import Message

__all__ = ["DEFAULT_TTL_S", "Answer", "Query", "Record"]

DEFAULT_TTL_S = 30


class Record(msgspec.Struct, frozen=True):
    """One resource record. `data` as zone files write it."""

    name: str
    type: str
    data: str
    ttl_s: int = DEFAULT_TTL_S


class Answer(msgspec.Struct, frozen=True):
    """`code`: NOERROR, NXDOMAIN, SERVFAIL or REFUSED. Without records and NOERROR: the name is
    there, but has no such record; `authority` then has the zone's SOA, which says how long that holds."""

    code: str
    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()


class Query(Message, frozen=True):
    """Answered by an `Answer`, once the zone is filled. `type`: A, AAAA, SRV, PTR, ..."""

    name: str
    type: str = "A"
