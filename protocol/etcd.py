"""Messages that the etcd actor receives, and what it answers.

Names, fields and meaning follow etcd 3.6's `rpc.proto`; keys and values are bytes, revisions and
lease ids are ints. A failed request raises `EtcdError` at the asker, with etcd's own gRPC code
and text.
"""

from __future__ import annotations

from typing import Union

from protocol.message import Address, Message

__all__ = [
    "Alarm",
    "AlarmMember",
    "AlarmResponse",
    "CancelWatch",
    "Compact",
    "CompactResponse",
    "Compare",
    "Defragment",
    "DefragmentResponse",
    "DeleteRange",
    "DeleteRangeResponse",
    "EtcdError",
    "Event",
    "Hash",
    "HashKV",
    "HashKVResponse",
    "HashResponse",
    "KeyValue",
    "LeaseGrant",
    "LeaseGrantResponse",
    "LeaseKeepAlive",
    "LeaseKeepAliveResponse",
    "LeaseLeases",
    "LeaseLeasesResponse",
    "LeaseRevoke",
    "LeaseRevokeResponse",
    "LeaseTimeToLive",
    "LeaseTimeToLiveResponse",
    "Member",
    "MemberList",
    "MemberListResponse",
    "Op",
    "OpResponse",
    "Put",
    "PutResponse",
    "Range",
    "RangeResponse",
    "RemoveWatcher",
    "Snapshot",
    "SnapshotResponse",
    "Status",
    "StatusResponse",
    "Txn",
    "TxnResponse",
    "Watch",
    "WatchProgress",
    "WatchResponse",
]


class EtcdError(Exception):
    """A refusal by etcd. `code` is the gRPC status code (3 INVALID_ARGUMENT, 5 NOT_FOUND,
    9 FAILED_PRECONDITION, 11 OUT_OF_RANGE, 8 RESOURCE_EXHAUSTED ...), `message` etcd's text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class KeyValue(Message, frozen=True, gc=False):
    key: bytes
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0


class Range(Message, frozen=True, gc=False):
    """Answered by `RangeResponse`. `range_end` as in etcd: empty = one key, b"\\0" = from key on.

    `sort_order`: "NONE" | "ASCEND" | "DESCEND"; `sort_target`: "KEY" | "VERSION" | "CREATE" |
    "MOD" | "VALUE".
    """

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    sort_order: str = "NONE"
    sort_target: str = "KEY"
    serializable: bool = False
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


class RangeResponse(Message, frozen=True):
    revision: int  # the header's revision: the store's current one
    kvs: tuple[KeyValue, ...] = ()
    more: bool = False
    count: int = 0


class Put(Message, frozen=True, gc=False):
    """Answered by `PutResponse`."""

    key: bytes
    value: bytes = b""
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


class PutResponse(Message, frozen=True, gc=False):
    revision: int
    prev_kv: KeyValue | None = None


class DeleteRange(Message, frozen=True, gc=False):
    """Answered by `DeleteRangeResponse`."""

    key: bytes
    range_end: bytes = b""
    prev_kv: bool = False


class DeleteRangeResponse(Message, frozen=True):
    revision: int
    deleted: int = 0
    prev_kvs: tuple[KeyValue, ...] = ()


class Compare(Message, frozen=True, gc=False):
    """`target`: "VERSION" | "CREATE" | "MOD" | "VALUE" | "LEASE"; `result`: "EQUAL" | "GREATER" |
    "LESS" | "NOT_EQUAL"; `operand` is bytes for VALUE and an int otherwise."""

    key: bytes
    target: str = "VERSION"
    result: str = "EQUAL"
    operand: Union[int, bytes] = 0
    range_end: bytes = b""


class Txn(Message, frozen=True):
    """Answered by `TxnResponse`. An operation of None is one with no content (etcd refuses it)."""

    compare: tuple[Compare, ...] = ()
    success: tuple[Op, ...] = ()
    failure: tuple[Op, ...] = ()


class TxnResponse(Message, frozen=True):
    revision: int
    succeeded: bool = False
    responses: tuple[OpResponse, ...] = ()


Op = Union[Range, Put, DeleteRange, Txn, None]
OpResponse = Union[RangeResponse, PutResponse, DeleteRangeResponse, TxnResponse]


class Compact(Message, frozen=True, gc=False):
    """Answered by `CompactResponse`; forgets history below `revision`."""

    revision: int
    physical: bool = False


class CompactResponse(Message, frozen=True, gc=False):
    revision: int


class LeaseGrant(Message, frozen=True, gc=False):
    """`ttl` in seconds; `id` 0 lets the server choose. Answered by `LeaseGrantResponse`."""

    ttl: int
    id: int = 0


class LeaseGrantResponse(Message, frozen=True, gc=False):
    revision: int
    id: int
    ttl: int


class LeaseRevoke(Message, frozen=True, gc=False):
    """Answered by `LeaseRevokeResponse`; deletes the attached keys in one revision."""

    id: int


class LeaseRevokeResponse(Message, frozen=True, gc=False):
    revision: int


class LeaseKeepAlive(Message, frozen=True, gc=False):
    """Answered by `LeaseKeepAliveResponse`; `ttl` 0 there means: no such lease."""

    id: int


class LeaseKeepAliveResponse(Message, frozen=True, gc=False):
    revision: int
    id: int
    ttl: int


class LeaseTimeToLive(Message, frozen=True, gc=False):
    """Answered by `LeaseTimeToLiveResponse`; `ttl` -1 there means: no such lease."""

    id: int
    keys: bool = False


class LeaseTimeToLiveResponse(Message, frozen=True):
    revision: int
    id: int
    ttl: int
    granted_ttl: int = 0
    keys: tuple[bytes, ...] = ()


class LeaseLeases(Message, frozen=True):
    """Answered by `LeaseLeasesResponse`."""


class LeaseLeasesResponse(Message, frozen=True):
    revision: int
    leases: tuple[int, ...] = ()


class Event(Message, frozen=True, gc=False):
    """One change of one key. `type`: "PUT" | "DELETE"; a DELETE's `kv` has key and mod_revision."""

    type: str
    kv: KeyValue
    prev_kv: KeyValue | None = None


class Watch(Message, frozen=True):
    """Open a watch; from then on `watcher` is told `WatchResponse`s that carry `watch_id`.

    `watch_id` is chosen by the watcher, unique for it. `start_revision` 0 means: from now on. The
    ask is answered by the first `WatchResponse` (`created`); when the start is compacted, a second
    one follows with `canceled` and `compact_revision`.
    """

    watcher: Address
    watch_id: int
    key: bytes
    range_end: bytes = b""
    start_revision: int = 0
    prev_kv: bool = False
    progress_notify: bool = False
    filters: tuple[str, ...] = ()  # "NOPUT", "NODELETE"
    fragment: bool = False


class CancelWatch(Message, frozen=True):
    """End a watch; the watcher is told a `WatchResponse` with `canceled`."""

    watcher: Address
    watch_id: int


class WatchProgress(Message, frozen=True):
    """Ask that `watcher` be told, after all earlier events of its watches, an empty
    `WatchResponse` with `watch_id` -1 and the current revision."""

    watcher: Address


class WatchResponse(Message, frozen=True):
    """Told to a watcher. All events of one revision come in one response (unless `fragment`);
    `seq` counts the responses of one watch from 0 without gaps, so that a lost one is noticed."""

    watch_id: int
    revision: int
    events: tuple[Event, ...] = ()
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    fragment: bool = False
    seq: int = 0


class RemoveWatcher(Message, frozen=True):
    """Close all watches of a watcher that is gone. Nothing is told to it, nobody is answered."""

    watcher: Address


class Status(Message, frozen=True):
    """Answered by `StatusResponse`."""


class StatusResponse(Message, frozen=True):
    """Sizes are bytes; `errors` names the alarms that stand."""

    revision: int
    version: str
    cluster_id: int
    member_id: int
    leader: int
    raft_term: int
    raft_index: int
    db_size: int
    db_size_in_use: int
    db_size_quota: int
    storage_version: str = ""
    errors: tuple[str, ...] = ()
    is_learner: bool = False


class Hash(Message, frozen=True):
    """Answered by `HashResponse`: a checksum over everything that is stored."""


class HashResponse(Message, frozen=True):
    revision: int
    hash: int


class HashKV(Message, frozen=True):
    """Answered by `HashKVResponse`: a checksum of all keys' history up to `revision` (0: now)."""

    revision: int = 0


class HashKVResponse(Message, frozen=True):
    revision: int
    hash: int
    compact_revision: int
    hash_revision: int


class Defragment(Message, frozen=True):
    """Give unused space back. Answered by `DefragmentResponse`."""


class DefragmentResponse(Message, frozen=True):
    revision: int


class Alarm(Message, frozen=True):
    """`action`: "GET" | "ACTIVATE" | "DEACTIVATE"; `alarm`: "NONE" | "NOSPACE" | "CORRUPT".

    Answered by `AlarmResponse`: GET answers the alarms that stand (NONE: all sorts), the others
    what they changed. An alarm is about the member that is named, 0 included.
    """

    action: str = "GET"
    member_id: int = 0
    alarm: str = "NONE"


class AlarmMember(Message, frozen=True):
    member_id: int
    alarm: str


class AlarmResponse(Message, frozen=True):
    revision: int
    alarms: tuple[AlarmMember, ...] = ()


class Snapshot(Message, frozen=True):
    """Answered by `SnapshotResponse`: everything that is stored, as one file's content."""


class SnapshotResponse(Message, frozen=True):
    revision: int
    blob: bytes


class Member(Message, frozen=True):
    id: int
    name: str
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False


class MemberList(Message, frozen=True):
    """Answered by `MemberListResponse`."""

    linearizable: bool = True


class MemberListResponse(Message, frozen=True):
    revision: int
    members: tuple[Member, ...] = ()
