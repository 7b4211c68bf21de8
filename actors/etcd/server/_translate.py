"""Between etcd's protobuf messages and the messages that the etcd actor takes.

Pure functions, one per message, in both directions' sense of a server: requests come in, replies
go out. `_to_remote` holds the opposite directions for the client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from actors.etcd.server._stubs import rpc
from protocol import etcd as m

__all__ = ["UNARY", "Identity", "Method", "watch_request", "watch_response"]

SORT_ORDERS = {0: "NONE", 1: "ASCEND", 2: "DESCEND"}
SORT_TARGETS = {0: "KEY", 1: "VERSION", 2: "CREATE", 3: "MOD", 4: "VALUE"}
COMPARE_TARGETS = {0: "VERSION", 1: "CREATE", 2: "MOD", 3: "VALUE", 4: "LEASE"}
COMPARE_OPERANDS = {0: "version", 1: "create_revision", 2: "mod_revision", 3: "value", 4: "lease"}
COMPARE_RESULTS = {0: "EQUAL", 1: "GREATER", 2: "LESS", 3: "NOT_EQUAL"}
FILTERS = {0: "NOPUT", 1: "NODELETE"}
ALARM_ACTIONS = {0: "GET", 1: "ACTIVATE", 2: "DEACTIVATE"}
ALARMS = {0: "NONE", 1: "NOSPACE", 2: "CORRUPT"}
DELETE = 1
ALARM_NUMBERS = {name: number for number, name in ALARMS.items()}

_Header = rpc.ResponseHeader


class Identity(NamedTuple):
    """What every reply's header says of the server."""

    cluster_id: int
    member_id: int
    raft_term: int

    def header(self, revision: int) -> Any:
        """A reply's header."""
        return _Header(
            cluster_id=self.cluster_id,
            member_id=self.member_id,
            revision=revision,
            raft_term=self.raft_term,
        )


class Method(NamedTuple):
    """One unary method: the class of its request, and how request and reply are translated."""

    request: Any
    to_message: Callable[[Any], Any]
    to_reply: Callable[[Any, Identity], Any]


# Requests


def range_request(r: Any) -> m.Range:
    return m.Range(
        r.key,
        r.range_end,
        r.limit,
        r.revision,
        SORT_ORDERS.get(r.sort_order, "?"),
        SORT_TARGETS.get(r.sort_target, "?"),
        r.serializable,
        r.keys_only,
        r.count_only,
        r.min_mod_revision,
        r.max_mod_revision,
        r.min_create_revision,
        r.max_create_revision,
    )


def put_request(r: Any) -> m.Put:
    return m.Put(r.key, r.value, r.lease, r.prev_kv, r.ignore_value, r.ignore_lease)


def delete_request(r: Any) -> m.DeleteRange:
    return m.DeleteRange(r.key, r.range_end, r.prev_kv)


def txn_request(r: Any) -> m.Txn:
    return m.Txn(tuple(map(_compare, r.compare)), tuple(map(_op, r.success)), tuple(map(_op, r.failure)))


def _compare(c: Any) -> m.Compare:
    # An operand of another target than the one named counts as none at all.
    operand = getattr(c, COMPARE_OPERANDS.get(c.target, "version"))
    return m.Compare(
        c.key,
        COMPARE_TARGETS.get(c.target, "?"),
        COMPARE_RESULTS.get(c.result, "?"),
        operand,
        c.range_end,
    )


def _op(op: Any) -> m.Op:
    match op.WhichOneof("request"):
        case "request_put":
            return put_request(op.request_put)
        case "request_range":
            return range_request(op.request_range)
        case "request_delete_range":
            return delete_request(op.request_delete_range)
        case "request_txn":
            return txn_request(op.request_txn)
        case _:
            return None


def watch_request(r: Any, watcher: Any, watch_id: int) -> m.Watch:
    """A create request; the id is the stream's choice."""
    return m.Watch(
        watcher,
        watch_id,
        r.key,
        r.range_end,
        r.start_revision,
        r.prev_kv,
        r.progress_notify,
        tuple(FILTERS[f] for f in r.filters if f in FILTERS),
        r.fragment,
    )


# Replies


def _fill(target: Any, record: m.KeyValue) -> None:
    """Set the fields of a key-value that is part of a reply already: several times faster than
    making one and having it copied."""
    target.key = record.key
    target.create_revision = record.create_revision
    target.mod_revision = record.mod_revision
    target.version = record.version
    target.value = record.value
    if record.lease:
        target.lease = record.lease


def _range_reply(r: m.RangeResponse, header: Any) -> Any:
    reply = rpc.RangeResponse(header=header, more=r.more, count=r.count)
    add = reply.kvs.add
    for record in r.kvs:
        _fill(add(), record)
    return reply


def _put_reply(r: m.PutResponse, header: Any) -> Any:
    reply = rpc.PutResponse(header=header)
    if r.prev_kv is not None:
        _fill(reply.prev_kv, r.prev_kv)
    return reply


def _delete_reply(r: m.DeleteRangeResponse, header: Any) -> Any:
    reply = rpc.DeleteRangeResponse(header=header, deleted=r.deleted)
    for record in r.prev_kvs:
        _fill(reply.prev_kvs.add(), record)
    return reply


def _txn_reply(r: m.TxnResponse, header: Any) -> Any:
    return rpc.TxnResponse(header=header, succeeded=r.succeeded, responses=[_op_reply(each) for each in r.responses])


def _op_reply(r: m.OpResponse) -> Any:
    """A reply inside a transaction's: its header has a revision and nothing else."""
    header = _Header(revision=r.revision)
    match r:
        case m.PutResponse():
            return rpc.ResponseOp(response_put=_put_reply(r, header))
        case m.RangeResponse():
            return rpc.ResponseOp(response_range=_range_reply(r, header))
        case m.DeleteRangeResponse():
            return rpc.ResponseOp(response_delete_range=_delete_reply(r, header))
        case _:
            return rpc.ResponseOp(response_txn=_txn_reply(r, header))


def watch_response(r: m.WatchResponse, watch_id: int, identity: Identity) -> Any:
    """What a stream sends; a watch that ends for compaction says so with an empty header."""
    reply = rpc.WatchResponse(
        header=identity.header(r.revision) if r.revision else _Header(),
        watch_id=watch_id,
        created=r.created,
        canceled=r.canceled,
        compact_revision=r.compact_revision,
        cancel_reason=r.cancel_reason,
        fragment=r.fragment,
    )
    add = reply.events.add
    for event in r.events:
        target = add()
        if event.type != "PUT":
            target.type = DELETE
        _fill(target.kv, event.kv)
        if event.prev_kv is not None:
            _fill(target.prev_kv, event.prev_kv)
    return reply


def _status_reply(r: m.StatusResponse, identity: Identity) -> Any:
    return rpc.StatusResponse(
        header=identity.header(r.revision),
        version=r.version,
        dbSize=r.db_size,
        leader=r.leader,
        raftIndex=r.raft_index,
        raftTerm=r.raft_term,
        raftAppliedIndex=r.raft_index,
        errors=r.errors,
        dbSizeInUse=r.db_size_in_use,
        isLearner=r.is_learner,
        storageVersion=r.storage_version,
        dbSizeQuota=r.db_size_quota,
        downgradeInfo=rpc.DowngradeInfo(),
    )


def _members(members: Iterable[m.Member]) -> list[Any]:
    return [
        rpc.Member(
            ID=each.id,
            name=each.name,
            peerURLs=each.peer_urls,
            clientURLs=each.client_urls,
            isLearner=each.is_learner,
        )
        for each in members
    ]


def _alarms(alarms: Iterable[m.AlarmMember]) -> list[Any]:
    return [rpc.AlarmMember(memberID=each.member_id, alarm=ALARM_NUMBERS.get(each.alarm, 0)) for each in alarms]


def _header_only(cls: Any) -> Callable[[Any, Identity], Any]:
    return lambda r, identity: cls(header=identity.header(r.revision))


UNARY: dict[str, Method] = {
    "/etcdserverpb.KV/Range": Method(
        rpc.RangeRequest, range_request, lambda r, i: _range_reply(r, i.header(r.revision))
    ),
    "/etcdserverpb.KV/Put": Method(rpc.PutRequest, put_request, lambda r, i: _put_reply(r, i.header(r.revision))),
    "/etcdserverpb.KV/DeleteRange": Method(
        rpc.DeleteRangeRequest, delete_request, lambda r, i: _delete_reply(r, i.header(r.revision))
    ),
    "/etcdserverpb.KV/Txn": Method(rpc.TxnRequest, txn_request, lambda r, i: _txn_reply(r, i.header(r.revision))),
    "/etcdserverpb.KV/Compact": Method(
        rpc.CompactionRequest,
        lambda r: m.Compact(r.revision, r.physical),
        _header_only(rpc.CompactionResponse),
    ),
    "/etcdserverpb.Lease/LeaseGrant": Method(
        rpc.LeaseGrantRequest,
        lambda r: m.LeaseGrant(r.TTL, r.ID),
        lambda r, i: rpc.LeaseGrantResponse(header=i.header(r.revision), ID=r.id, TTL=r.ttl),
    ),
    "/etcdserverpb.Lease/LeaseRevoke": Method(
        rpc.LeaseRevokeRequest,
        lambda r: m.LeaseRevoke(r.ID),
        _header_only(rpc.LeaseRevokeResponse),
    ),
    "/etcdserverpb.Lease/LeaseTimeToLive": Method(
        rpc.LeaseTimeToLiveRequest,
        lambda r: m.LeaseTimeToLive(r.ID, r.keys),
        lambda r, i: rpc.LeaseTimeToLiveResponse(
            header=i.header(r.revision), ID=r.id, TTL=r.ttl, grantedTTL=r.granted_ttl, keys=r.keys
        ),
    ),
    "/etcdserverpb.Lease/LeaseLeases": Method(
        rpc.LeaseLeasesRequest,
        lambda _: m.LeaseLeases(),
        lambda r, i: rpc.LeaseLeasesResponse(
            header=i.header(r.revision), leases=[rpc.LeaseStatus(ID=each) for each in r.leases]
        ),
    ),
    "/etcdserverpb.Maintenance/Status": Method(rpc.StatusRequest, lambda _: m.Status(), _status_reply),
    "/etcdserverpb.Maintenance/Alarm": Method(
        rpc.AlarmRequest,
        lambda r: m.Alarm(ALARM_ACTIONS.get(r.action, "GET"), r.memberID, ALARMS.get(r.alarm, "NONE")),
        lambda r, i: rpc.AlarmResponse(header=i.header(r.revision), alarms=_alarms(r.alarms)),
    ),
    "/etcdserverpb.Maintenance/Defragment": Method(
        rpc.DefragmentRequest,
        lambda _: m.Defragment(),
        lambda _, i: rpc.DefragmentResponse(),
    ),
    "/etcdserverpb.Maintenance/Hash": Method(
        rpc.HashRequest,
        lambda _: m.Hash(),
        lambda r, i: rpc.HashResponse(header=i.header(r.revision), hash=r.hash),
    ),
    "/etcdserverpb.Maintenance/HashKV": Method(
        rpc.HashKVRequest,
        lambda r: m.HashKV(r.revision),
        lambda r, i: rpc.HashKVResponse(
            header=i.header(r.revision),
            hash=r.hash,
            compact_revision=r.compact_revision,
            hash_revision=r.hash_revision,
        ),
    ),
    "/etcdserverpb.Cluster/MemberList": Method(
        rpc.MemberListRequest,
        lambda r: m.MemberList(r.linearizable),
        lambda r, i: rpc.MemberListResponse(header=i.header(0), members=_members(r.members)),
    ),
    "/etcdserverpb.Auth/AuthStatus": Method(
        rpc.AuthStatusRequest,
        lambda _: m.Status(),
        lambda r, i: rpc.AuthStatusResponse(header=i.header(r.revision), enabled=False, authRevision=1),
    ),
}
