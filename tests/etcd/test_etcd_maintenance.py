"""Alarms, quota, status: what concerns the server itself."""

from __future__ import annotations

from typing import Any

import pytest

from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Child, Simulation
from protocol.etcd import (
    Alarm,
    AlarmMember,
    Compact,
    Defragment,
    DeleteRange,
    Hash,
    HashKV,
    LeaseGrant,
    LeaseRevoke,
    MemberList,
    Put,
    Range,
    Snapshot,
    Status,
    Txn,
)


class World:
    def __init__(self, sim: Simulation, **config: Any) -> None:
        self.sim = sim
        self.etcd = sim.spawn(Child("etcd", lambda: Etcd(EtcdConfig(**config))))

    def ask(self, message: Any) -> Any:
        return self.sim.ask(self.etcd, message)


@pytest.fixture
def world(sim: Simulation) -> World:
    return World(sim)


def test_an_alarm_is_about_whatever_member_is_named(world: World) -> None:
    assert world.ask(Alarm("ACTIVATE", 0, "NOSPACE")).alarms == (AlarmMember(0, "NOSPACE"),)
    assert world.ask(Alarm("ACTIVATE", 7, "CORRUPT")).alarms == (AlarmMember(7, "CORRUPT"),)
    assert world.ask(Alarm("ACTIVATE", 7, "NONE")).alarms == ()
    assert world.ask(Alarm("GET")).alarms == (AlarmMember(0, "NOSPACE"), AlarmMember(7, "CORRUPT"))
    assert world.ask(Alarm("GET", 0, "CORRUPT")).alarms == (AlarmMember(7, "CORRUPT"),)
    assert world.ask(Alarm("DEACTIVATE", 0, "CORRUPT")).alarms == ()
    assert world.ask(Alarm("DEACTIVATE", 7, "CORRUPT")).alarms == (AlarmMember(7, "CORRUPT"),)
    assert world.ask(Alarm("DEACTIVATE", 0, "NOSPACE")).alarms == (AlarmMember(0, "NOSPACE"),)
    assert world.ask(Alarm("GET")).alarms == ()


def test_without_space_what_adds_is_refused_and_what_frees_is_not(world: World, refusal: Any) -> None:
    world.ask(Put(b"a", b"1"))
    world.ask(LeaseGrant(60, 5))
    world.ask(Alarm("ACTIVATE", 1, "NOSPACE"))
    no_space = (8, "etcdserver: mvcc: database space exceeded")
    assert refusal(world.ask, Put(b"b")) == no_space
    assert refusal(world.ask, Txn(success=(Put(b"b"),))) == no_space
    assert refusal(world.ask, Txn(failure=(Put(b"b"),))) == no_space
    assert refusal(world.ask, LeaseGrant(60)) == no_space
    assert refusal(world.ask, Put(b"")) == (3, "etcdserver: key is not provided")
    assert world.ask(Range(b"a")).count == 1
    assert world.ask(Txn(success=(DeleteRange(b"a"),))).succeeded
    assert world.ask(DeleteRange(b"a")).deleted == 0
    world.ask(LeaseRevoke(5))
    world.ask(Compact(2))


def test_a_corrupt_store_takes_no_changes_at_all(world: World, refusal: Any) -> None:
    world.ask(Put(b"a", b"1"))
    world.ask(LeaseGrant(60, 5))
    world.ask(Alarm("ACTIVATE", 1, "CORRUPT"))
    for change in (
        Put(b"b"), DeleteRange(b"a"), Txn(success=(DeleteRange(b"a"),)), LeaseGrant(60), LeaseRevoke(5), Compact(2),
    ):  # fmt: skip
        assert refusal(world.ask, change) == (15, "etcdserver: corrupt cluster")
    assert world.ask(Range(b"a")).count == 1
    assert world.ask(Txn(success=(Range(b"a"),))).succeeded


def test_status_names_the_alarms_and_the_sizes(world: World) -> None:
    fresh = world.ask(Status())
    assert fresh.db_size >= fresh.db_size_in_use > 0
    assert fresh.leader == fresh.member_id
    assert fresh.errors == ()
    for n in range(100):
        world.ask(Put(b"a", b"x" * 1000))
    full = world.ask(Status())
    assert full.db_size - fresh.db_size > 100_000
    world.ask(Compact(101, physical=True))
    compacted = world.ask(Status())
    assert compacted.db_size == full.db_size
    assert compacted.db_size_in_use - fresh.db_size_in_use < 2_000
    world.ask(Defragment())
    assert world.ask(Status()).db_size == compacted.db_size_in_use
    world.ask(Alarm("ACTIVATE", 3, "NOSPACE"))
    assert world.ask(Status()).errors == ("memberID:3 alarm:NOSPACE ",)


def test_a_quota_below_zero_is_none(sim: Simulation) -> None:
    world = World(sim, quota_bytes=-1)
    world.ask(Put(b"a", b"x" * 1_000_000))
    assert world.ask(Alarm()).alarms == ()


def test_hashes_tell_histories_apart(sim: Simulation) -> None:
    one, other = World(sim), World(Simulation(seed=9))
    for world in (one, other):
        world.ask(Put(b"a", b"1"))
    assert one.ask(HashKV()) == other.ask(HashKV())
    assert one.ask(Hash()) == other.ask(Hash())
    one.ask(Put(b"b", b"1"))
    other.ask(Put(b"b", b"2"))
    assert one.ask(HashKV()).hash != other.ask(HashKV()).hash
    assert one.ask(HashKV(2)).hash == other.ask(HashKV(2)).hash
    one.ask(LeaseGrant(60, 1))
    assert one.ask(Hash()).hash != other.ask(Hash()).hash


def test_old_history_is_compacted_by_itself_if_wanted(sim: Simulation, refusal: Any) -> None:
    world = World(sim, auto_compaction_revisions=10)
    for n in range(30):
        world.ask(Put(b"a", b"%d" % n))
    sim.advance(61)
    assert refusal(world.ask, Range(b"a", revision=20))[0] == 11
    assert world.ask(Range(b"a", revision=21)).count == 1


def test_the_member_and_the_snapshot(world: World) -> None:
    (member,) = world.ask(MemberList()).members
    assert (member.id, member.name) == (world.ask(Status()).member_id, "default")
    world.ask(Put(b"a", b"find me in the snapshot"))
    blob = world.ask(Snapshot()).blob
    assert b"find me in the snapshot" in blob
    assert len(blob) % 4096 == 0
