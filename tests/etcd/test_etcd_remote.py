"""A real etcd behind our messages: one member, three members, members that die."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.etcd.remote import RemoteConfig, RemoteEtcd, parse_servers
from actors.kernel import Actor, ActorDead, Child, LiveSystem, Ref, handles
from protocol.etcd import (
    Alarm,
    CancelWatch,
    Compact,
    EtcdError,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseLeases,
    LeaseRevoke,
    LeaseTimeToLive,
    MemberList,
    Put,
    Range,
    Snapshot,
    Status,
    Txn,
    Watch,
    WatchProgress,
    WatchResponse,
)


@pytest.fixture
def connect(live: LiveSystem) -> Callable[..., Ref]:
    def start(*urls: str, name: str = "remote") -> Ref:
        return live.spawn(Child(name, lambda: RemoteEtcd(RemoteConfig(servers=urls, request_timeout_s=8.0))))

    return start


def test_servers_are_urls_separated_by_commas() -> None:
    assert parse_servers("http://a:1, https://b:2") == ("http://a:1", "https://b:2")
    for wrong in ("", "a:1", "ftp://a:1", "http://"):
        with pytest.raises(ValueError):
            parse_servers(wrong)


def test_errors_are_those_of_our_own_store(connect: Any, real_etcd: Any, refusal: Any) -> None:
    remote = connect(*real_etcd().urls)

    def ask(message: Any) -> Any:
        return remote.ask(message, timeout=10)

    assert refusal(ask, Put(b"")) == (3, "etcdserver: key is not provided")
    assert refusal(ask, Put(b"a", lease=9)) == (5, "etcdserver: requested lease not found")
    assert refusal(ask, Range(b"a", revision=99)) == (11, "etcdserver: mvcc: required revision is a future revision")
    assert refusal(ask, Txn(success=(Put(b"a"), Put(b"a")))) == (3, "etcdserver: duplicate key given in txn request")
    assert refusal(ask, Txn(success=(None,)))[0] == 3


def test_leases_and_maintenance(connect: Any, real_etcd: Any) -> None:
    remote = connect(*real_etcd().urls)

    def ask(message: Any) -> Any:
        return remote.ask(message, timeout=10)

    lease = ask(LeaseGrant(60))
    ask(Put(b"a", b"1", lease=lease.id))
    assert ask(LeaseKeepAlive(lease.id)).ttl == 60
    assert ask(LeaseKeepAlive(404)).ttl == 0
    assert ask(LeaseTimeToLive(lease.id, keys=True)).keys == (b"a",)
    assert ask(LeaseLeases()).leases == (lease.id,)
    ask(LeaseRevoke(lease.id))
    assert ask(Range(b"a")).count == 0
    assert len(ask(MemberList()).members) == 1
    assert ask(Alarm()).alarms == ()
    assert ask(Status()).revision == 3
    assert ask(Snapshot()).blob[16:20] == (0xED0CDAED).to_bytes(4, "little")  # a bbolt file


def test_watches_of_one_watcher_keep_their_ids_and_numbers(
    connect: Any, real_etcd: Any, live: LiveSystem, watching: Any, until: Any
) -> None:
    remote = connect(*real_etcd().urls)
    heard: list[WatchResponse] = []
    watcher = live.spawn(Child("watcher", lambda: watching(heard)))

    def ask(message: Any) -> Any:
        return remote.ask(message, timeout=10)

    assert ask(Watch(watcher, 0, b"a")).created
    assert ask(Watch(watcher, 7, b"b", prev_kv=True)).created
    refused = ask(Watch(watcher, 8, b"b", b"a"))
    assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)
    assert ask(Watch(watcher, 7, b"b")).cancel_reason.startswith("mvcc: duplicate watch ID")
    for value in (b"1", b"2"):
        ask(Put(b"b", value))
    until(lambda: len([r for r in heard if r.watch_id == 7]) == 2, "two events")
    assert [r.seq for r in heard if r.watch_id == 7] == [1, 2]
    assert [e.prev_kv and e.prev_kv.value for r in heard for e in r.events] == [None, b"1"]
    remote.tell(WatchProgress(watcher))
    until(lambda: any(r.watch_id == -1 for r in heard), "progress")
    remote.tell(CancelWatch(watcher, 0))
    until(lambda: any(r.watch_id == 0 and r.canceled for r in heard), "the end of watch 0")


def test_a_compacted_start_is_told(connect: Any, real_etcd: Any, live: LiveSystem, watching: Any, until: Any) -> None:
    remote = connect(*real_etcd().urls)
    heard: list[WatchResponse] = []
    watcher = live.spawn(Child("watcher", lambda: watching(heard)))
    for _ in range(4):
        remote.ask(Put(b"a"), timeout=10)
    remote.ask(Compact(4), timeout=10)
    assert remote.ask(Watch(watcher, 1, b"a", start_revision=2), timeout=10).created
    until(lambda: heard, "the end")
    assert (heard[0].canceled, heard[0].compact_revision, heard[0].watch_id) == (True, 4, 1)


def test_nobody_answers_in_time(connect: Any, live: LiveSystem) -> None:
    config = RemoteConfig(servers=("http://127.0.0.1:9",), request_timeout_s=0.3)
    remote = live.spawn(Child("nobody", lambda: RemoteEtcd(config)))
    with pytest.raises(EtcdError) as refusal:
        remote.ask(Put(b"a"), timeout=10)
    assert refusal.value.code in (4, 14)


# Three members


class Go:
    pass


class Writer(Actor):
    """Writes one key after another and notes which writes were acknowledged."""

    def __init__(self, etcd: Ref, acknowledged: list[bytes], total: int, name: bytes) -> None:
        super().__init__()
        self.etcd = etcd
        self.acknowledged = acknowledged
        self.total = total
        self.name = name

    @handles(Go)
    async def go(self, _: Go) -> None:
        for n in range(self.total):
            key = b"%s/%04d" % (self.name, n)
            try:
                await self.ask(self.etcd, Put(key, b"v"))
            except (EtcdError, ActorDead):
                continue
            self.acknowledged.append(key)


def test_killing_members_under_load_loses_no_write_and_no_event(
    connect: Any, real_etcd: Any, live: LiveSystem, watching: Any, until: Any
) -> None:
    real = real_etcd(3)
    # Two users share the cluster, as two API servers would.
    first, second = connect(*real.urls, name="first"), connect(*reversed(real.urls), name="second")
    heard: list[WatchResponse] = []
    watcher = live.spawn(Child("watcher", lambda: watching(heard)))
    assert second.ask(Watch(watcher, 1, b"w", b"x"), timeout=10).created
    acknowledged: list[bytes] = []
    running = []
    for n, etcd in enumerate((first, second, first, second)):
        name = b"w%d" % n
        writer = live.spawn(Child(f"writer-{n}", lambda e=etcd, name=name: Writer(e, acknowledged, 150, name)))
        running.append(writer.ask(Go(), block=False))
    until(lambda: len(acknowledged) > 60, "some writes")
    real.kill(0)
    until(lambda: len(acknowledged) > 200, "writes without the first member")
    real.start(0)
    until(lambda: len(acknowledged) > 300 and first.ask(Range(b"w"), timeout=20) is not None, "more writes")
    real.kill(2)
    until(lambda: all(future.done for future in running), "all writers", seconds=60)
    stored = {kv.key: kv.mod_revision for kv in first.ask(Range(b"w", b"x"), timeout=20).kvs}
    assert set(acknowledged) <= set(stored)
    assert len(acknowledged) > 400
    until(lambda: len({e.kv.key for r in heard for e in r.events}) == len(stored), "all events")
    revisions = [e.kv.mod_revision for r in heard for e in r.events]
    assert revisions == sorted(stored.values())  # each once and in order
    assert [r.seq for r in heard] == list(range(1, len(heard) + 1))
