"""The messages of `protocol.etcd` as requests to a real etcd, and its replies as ours: the
reverse of `server._translate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from actors.etcd.server._stubs import rpc
from actors.etcd.server._translate import ALARM_NUMBERS, ALARMS
from protocol import etcd as m

__all__ = ["CALLS", "RemoteCall", "watch_create", "watch_events"]

SORT_ORDERS = {"NONE": 0, "ASCEND": 1, "DESCEND": 2}
SORT_TARGETS = {"KEY": 0, "VERSION": 1, "CREATE": 2, "MOD": 3, "VALUE": 4}
COMPARE_TARGETS = {"VERSION": 0, "CREATE": 1, "MOD": 2, "VALUE": 3, "LEASE": 4}
COMPARE_OPERANDS = {
    "VERSION": "version",
    "CREATE": "create_revision",
    "MOD": "mod_revision",
    "VALUE": "value",
    "LEASE": "lease",
}
COMPARE_RESULTS = {"EQUAL": 0, "GREATER": 1, "LESS": 2, "NOT_EQUAL": 3}
FILTERS = {"NOPUT": 0, "NODELETE": 1}
ALARM_ACTIONS = {"GET": 0, "ACTIVATE": 1, "DEACTIVATE": 2}
NO_SUCH_ENUM = 99


class RemoteCall(NamedTuple):
    """How one message is asked of a real etcd. `reads`: it changes nothing, whoever carries it
    out twice."""

    path: str
    to_request: Callable[[Any], Any]
    reply: Any
    to_response: Callable[[Any], Any]
    reads: bool


def _range(r: m.Range) -> Any:
    return rpc.RangeRequest(
        key=r.key,
        range_end=r.range_end,
        limit=r.limit,
        revision=r.revision,
        sort_order=SORT_ORDERS.get(r.sort_order, NO_SUCH_ENUM),
        sort_target=SORT_TARGETS.get(r.sort_target, NO_SUCH_ENUM),
        serializable=r.serializable,
        keys_only=r.keys_only,
        count_only=r.count_only,
        min_mod_revision=r.min_mod_revision,
        max_mod_revision=r.max_mod_revision,
        min_create_revision=r.min_create_revision,
        max_create_revision=r.max_create_revision,
    )


def _put(r: m.Put) -> Any:
    return rpc.PutRequest(
        key=r.key,
        value=r.value,
        lease=r.lease,
        prev_kv=r.prev_kv,
        ignore_value=r.ignore_value,
        ignore_lease=r.ignore_lease,
    )


def _delete(r: m.DeleteRange) -> Any:
    return rpc.DeleteRangeRequest(key=r.key, range_end=r.range_end, prev_kv=r.prev_kv)


def _txn(r: m.Txn) -> Any:
    return rpc.TxnRequest(
        compare=list(map(_compare, r.compare)),
        success=list(map(_op, r.success)),
        failure=list(map(_op, r.failure)),
    )


def _compare(c: m.Compare) -> Any:
    fields = {COMPARE_OPERANDS.get(c.target, "version"): c.operand}
    return rpc.Compare(
        key=c.key,
        target=COMPARE_TARGETS.get(c.target, NO_SUCH_ENUM),
        result=COMPARE_RESULTS.get(c.result, NO_SUCH_ENUM),
        range_end=c.range_end,
        **fields,
    )


def _op(op: m.Op) -> Any:
    match op:
        case m.Put():
            return rpc.RequestOp(request_put=_put(op))
        case m.Range():
            return rpc.RequestOp(request_range=_range(op))
        case m.DeleteRange():
            return rpc.RequestOp(request_delete_range=_delete(op))
        case m.Txn():
            return rpc.RequestOp(request_txn=_txn(op))
        case _:
            return rpc.RequestOp()


def _key_value(kv: Any) -> m.KeyValue:
    return m.KeyValue(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def _optional(reply: Any, name: str) -> m.KeyValue | None:
    return _key_value(getattr(reply, name)) if reply.HasField(name) else None


def _range_response(r: Any) -> m.RangeResponse:
    return m.RangeResponse(r.header.revision, tuple(map(_key_value, r.kvs)), r.more, r.count)


def _put_response(r: Any) -> m.PutResponse:
    return m.PutResponse(r.header.revision, _optional(r, "prev_kv"))


def _delete_response(r: Any) -> m.DeleteRangeResponse:
    return m.DeleteRangeResponse(r.header.revision, r.deleted, tuple(map(_key_value, r.prev_kvs)))


def _txn_response(r: Any) -> m.TxnResponse:
    return m.TxnResponse(r.header.revision, r.succeeded, tuple(map(_op_response, r.responses)))


def _op_response(r: Any) -> m.OpResponse:
    match r.WhichOneof("response"):
        case "response_put":
            return _put_response(r.response_put)
        case "response_range":
            return _range_response(r.response_range)
        case "response_delete_range":
            return _delete_response(r.response_delete_range)
        case _:
            return _txn_response(r.response_txn)


def _status_response(r: Any) -> m.StatusResponse:
    return m.StatusResponse(
        r.header.revision,
        r.version,
        r.header.cluster_id,
        r.header.member_id,
        r.leader,
        r.raftTerm,
        r.raftIndex,
        r.dbSize,
        r.dbSizeInUse,
        r.dbSizeQuota,
        r.storageVersion,
        tuple(r.errors),
        r.isLearner,
    )


def _members(r: Any) -> tuple[m.Member, ...]:
    return tuple(
        m.Member(each.ID, each.name, tuple(each.peerURLs), tuple(each.clientURLs), each.isLearner) for each in r.members
    )


def _alarm_response(r: Any) -> m.AlarmResponse:
    alarms = tuple(m.AlarmMember(each.memberID, ALARMS.get(each.alarm, "?")) for each in r.alarms)
    return m.AlarmResponse(r.header.revision, alarms)


def _lease_response(r: Any) -> m.LeaseTimeToLiveResponse:
    keys = tuple(sorted(r.keys))
    return m.LeaseTimeToLiveResponse(r.header.revision, r.ID, r.TTL, r.grantedTTL, keys)


def watch_create(r: m.Watch, watch_id: int, start_revision: int) -> Any:
    """The request that opens a watch, or opens it again."""
    return rpc.WatchRequest(
        create_request=rpc.WatchCreateRequest(
            key=r.key,
            range_end=r.range_end,
            start_revision=start_revision,
            progress_notify=r.progress_notify,
            prev_kv=r.prev_kv,
            watch_id=watch_id,
            fragment=r.fragment,
            filters=[FILTERS[name] for name in r.filters],
        )
    )


def watch_events(r: Any) -> tuple[m.Event, ...]:
    """The events of a watch response."""
    return tuple(m.Event("DELETE" if e.type else "PUT", _key_value(e.kv), _optional(e, "prev_kv")) for e in r.events)


CALLS: dict[type, RemoteCall] = {
    m.Range: RemoteCall("/etcdserverpb.KV/Range", _range, rpc.RangeResponse, _range_response, True),
    m.Put: RemoteCall("/etcdserverpb.KV/Put", _put, rpc.PutResponse, _put_response, False),
    m.DeleteRange: RemoteCall(
        "/etcdserverpb.KV/DeleteRange", _delete, rpc.DeleteRangeResponse, _delete_response, False
    ),
    m.Txn: RemoteCall("/etcdserverpb.KV/Txn", _txn, rpc.TxnResponse, _txn_response, False),
    m.Compact: RemoteCall(
        "/etcdserverpb.KV/Compact",
        lambda r: rpc.CompactionRequest(revision=r.revision, physical=r.physical),
        rpc.CompactionResponse,
        lambda r: m.CompactResponse(r.header.revision),
        False,
    ),
    m.LeaseGrant: RemoteCall(
        "/etcdserverpb.Lease/LeaseGrant",
        lambda r: rpc.LeaseGrantRequest(TTL=r.ttl, ID=r.id),
        rpc.LeaseGrantResponse,
        lambda r: m.LeaseGrantResponse(r.header.revision, r.ID, r.TTL),
        False,
    ),
    m.LeaseRevoke: RemoteCall(
        "/etcdserverpb.Lease/LeaseRevoke",
        lambda r: rpc.LeaseRevokeRequest(ID=r.id),
        rpc.LeaseRevokeResponse,
        lambda r: m.LeaseRevokeResponse(r.header.revision),
        False,
    ),
    m.LeaseTimeToLive: RemoteCall(
        "/etcdserverpb.Lease/LeaseTimeToLive",
        lambda r: rpc.LeaseTimeToLiveRequest(ID=r.id, keys=r.keys),
        rpc.LeaseTimeToLiveResponse,
        _lease_response,
        True,
    ),
    m.LeaseLeases: RemoteCall(
        "/etcdserverpb.Lease/LeaseLeases",
        lambda _: rpc.LeaseLeasesRequest(),
        rpc.LeaseLeasesResponse,
        lambda r: m.LeaseLeasesResponse(r.header.revision, tuple(each.ID for each in r.leases)),
        True,
    ),
    m.Status: RemoteCall(
        "/etcdserverpb.Maintenance/Status",
        lambda _: rpc.StatusRequest(),
        rpc.StatusResponse,
        _status_response,
        True,
    ),
    m.Alarm: RemoteCall(
        "/etcdserverpb.Maintenance/Alarm",
        lambda r: rpc.AlarmRequest(action=ALARM_ACTIONS[r.action], memberID=r.member_id, alarm=ALARM_NUMBERS[r.alarm]),
        rpc.AlarmResponse,
        _alarm_response,
        False,
    ),
    m.Defragment: RemoteCall(
        "/etcdserverpb.Maintenance/Defragment",
        lambda _: rpc.DefragmentRequest(),
        rpc.DefragmentResponse,
        lambda r: m.DefragmentResponse(r.header.revision),
        True,
    ),
    m.Hash: RemoteCall(
        "/etcdserverpb.Maintenance/Hash",
        lambda _: rpc.HashRequest(),
        rpc.HashResponse,
        lambda r: m.HashResponse(r.header.revision, r.hash),
        True,
    ),
    m.HashKV: RemoteCall(
        "/etcdserverpb.Maintenance/HashKV",
        lambda r: rpc.HashKVRequest(revision=r.revision),
        rpc.HashKVResponse,
        lambda r: m.HashKVResponse(r.header.revision, r.hash, r.compact_revision, r.hash_revision),
        True,
    ),
    m.MemberList: RemoteCall(
        "/etcdserverpb.Cluster/MemberList",
        lambda r: rpc.MemberListRequest(linearizable=r.linearizable),
        rpc.MemberListResponse,
        lambda r: m.MemberListResponse(r.header.revision, _members(r)),
        True,
    ),
}
