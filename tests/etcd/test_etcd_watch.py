"""Watches and leases of the etcd actor, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.etcd import Etcd, EtcdConfig
from actors.etcd._store import Store
from actors.etcd._watch import Watchers, prefix_end
from actors.kernel import Actor, Bounded, Child, MailboxFull, Ref, Simulation, handles
from protocol.etcd import (
    CancelWatch,
    Compact,
    DeleteRange,
    Event,
    KeyValue,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseLeases,
    LeaseRevoke,
    LeaseTimeToLive,
    Put,
    Range,
    RemoveWatcher,
    Txn,
    Watch,
    WatchProgress,
    WatchResponse,
)


class World:
    """One etcd and one watcher in a simulation."""

    def __init__(self, sim: Simulation, watching: type[Any], config: EtcdConfig | None = None) -> None:
        self.sim = sim
        self.etcd: Ref = sim.spawn(Child("etcd", lambda: Etcd(config)))
        self.heard: list[WatchResponse] = []
        self.watcher: Ref = sim.spawn(Child("watcher", lambda: watching(self.heard)))

    def ask(self, message: Any) -> Any:
        return self.sim.ask(self.etcd, message)

    def watch(self, watch_id: int = 1, key: bytes = b"a", range_end: bytes = b"", **more: Any) -> WatchResponse:
        return self.ask(Watch(self.watcher, watch_id, key, range_end, **more))

    def events(self, watch_id: int = 1) -> list[tuple[str, bytes, int]]:
        self.sim.run_until_idle()
        found = [r for r in self.heard if r.watch_id == watch_id]
        return [(e.type, e.kv.key, e.kv.mod_revision) for r in found for e in r.events]

    def take(self) -> list[WatchResponse]:
        self.sim.run_until_idle()
        heard, self.heard[:] = list(self.heard), []
        return heard


@pytest.fixture
def world(sim: Simulation, watching: type[Any]) -> World:
    return World(sim, watching)


# Past, present, future


def test_a_watch_hears_of_what_happens_after_it_was_made(world: World) -> None:
    world.ask(Put(b"a", b"before"))
    created = world.watch()
    assert (created.created, created.revision, created.seq) == (True, 2, 0)
    world.ask(Put(b"a", b"1"))
    world.ask(Put(b"b", b"other"))
    world.ask(DeleteRange(b"a"))
    assert world.events() == [("PUT", b"a", 3), ("DELETE", b"a", 5)]


def test_a_watch_from_the_past_hears_history_and_then_the_present(world: World) -> None:
    for n in range(5):
        world.ask(Put(b"a", b"%d" % n))
    world.watch(start_revision=3)
    world.ask(Put(b"a", b"new"))
    assert world.events() == [("PUT", b"a", n) for n in (3, 4, 5, 6, 7)]


def test_a_watch_from_the_future_hears_nothing_before(world: World) -> None:
    world.watch(start_revision=4)
    for n in range(4):
        world.ask(Put(b"a", b"%d" % n))
    assert world.events() == [("PUT", b"a", 4), ("PUT", b"a", 5)]


def test_a_start_below_the_compacted_revision_is_told_so_and_ended(world: World) -> None:
    for n in range(5):
        world.ask(Put(b"a", b"%d" % n))
    world.ask(Compact(4))
    assert world.watch(start_revision=3).created
    (response,) = world.take()
    assert (response.canceled, response.compact_revision, response.revision) == (True, 4, 0)
    world.watch(2, start_revision=4)
    assert world.events(2) == [("PUT", b"a", 4), ("PUT", b"a", 5), ("PUT", b"a", 6)]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"key": b"b", "range_end": b"a"}, "mvcc: watcher range is empty"),
        ({"start_revision": -1}, "etcdserver: mvcc: required revision has been compacted"),
    ],
)
def test_a_watch_that_makes_no_sense_is_refused(world: World, request_: dict[str, Any], reason: str) -> None:
    response = world.watch(**request_)
    assert (response.created, response.canceled, response.watch_id) == (True, True, -1)
    assert response.cancel_reason == reason


def test_an_id_that_is_taken_is_refused(world: World) -> None:
    world.watch()
    assert world.watch().cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"


# What is told


def test_the_events_of_a_transaction_come_together_and_in_its_order(world: World) -> None:
    world.watch(range_end=b"z")
    world.ask(Txn(success=(Put(b"c", b"1"), Put(b"a", b"1"), Put(b"b", b"1"))))
    (response,) = world.take()
    assert [e.kv.key for e in response.events] == [b"c", b"a", b"b"]


def test_a_delete_event_has_only_key_and_revision(world: World) -> None:
    world.ask(Put(b"a", b"1"))
    world.watch()
    world.ask(DeleteRange(b"a"))
    (response,) = world.take()
    assert response.events == (Event("DELETE", KeyValue(b"a", b"", 0, 3)),)


def test_previous_values_come_when_asked_for_and_still_known(world: World) -> None:
    world.ask(Put(b"a", b"1"))
    world.ask(Put(b"a", b"2"))
    world.ask(Put(b"a", b"3"))
    world.ask(Compact(3))
    world.watch(start_revision=3, prev_kv=True)
    world.ask(DeleteRange(b"a"))
    events = [e for r in world.take() for e in r.events]
    assert [e.prev_kv and e.prev_kv.value for e in events] == [None, b"2", b"3"]


def test_filters_leave_out_one_kind_of_event(world: World) -> None:
    world.watch(1, filters=("NOPUT",))
    world.watch(2, filters=("NODELETE",))
    world.ask(Put(b"a", b"1"))
    world.ask(DeleteRange(b"a"))
    assert world.events(1) == [("DELETE", b"a", 3)]
    assert world.events(2) == [("PUT", b"a", 2)]


def test_responses_are_numbered_without_gaps(world: World) -> None:
    world.ask(Put(b"a", b"0"))
    world.watch(start_revision=1)
    for n in range(5):
        world.ask(Put(b"a", b"%d" % n))
    world.sim.run_until_idle()
    assert [r.seq for r in world.heard] == list(range(1, len(world.heard) + 1))


def test_large_history_is_cut_into_fragments_on_request(world: World) -> None:
    for n in range(4):
        world.ask(Put(b"a%d" % n, bytes([n]) * 700_000))
    world.watch(1, range_end=b"b", start_revision=1, fragment=True)
    world.watch(2, range_end=b"b", start_revision=1)
    responses = world.take()
    assert [(len(r.events), r.fragment) for r in responses if r.watch_id == 1] == [(2, True), (2, False)]
    assert [(len(r.events), r.fragment) for r in responses if r.watch_id == 2] == [(4, False)]


def test_a_cancelled_watch_is_told_so_and_hears_no_more(world: World) -> None:
    world.watch()
    world.etcd.tell(CancelWatch(world.watcher, 1))
    world.etcd.tell(CancelWatch(world.watcher, 55))
    world.ask(Put(b"a", b"1"))
    assert [(r.watch_id, r.canceled) for r in world.take()] == [(1, True)]


def test_a_dead_watcher_is_forgotten(world: World) -> None:
    world.watch()
    world.watcher.stop()
    world.sim.run_until_idle()
    world.ask(Put(b"a", b"1"))
    assert not world.sim.dead_letters


def test_removing_a_watcher_closes_all_its_watches_silently(world: World) -> None:
    world.watch(1)
    world.watch(2)
    world.ask(Put(b"c", b"1"))
    world.etcd.tell(RemoveWatcher(world.watcher))
    world.ask(Put(b"a", b"1"))
    assert world.take() == []
    assert world.watch(1).created


# Progress


def test_progress_comes_after_all_earlier_events(world: World) -> None:
    for n in range(3):
        world.ask(Put(b"a", b"%d" % n))
    world.watch(start_revision=1)
    world.etcd.tell(WatchProgress(world.watcher))
    responses = world.take()
    assert [(r.watch_id, r.revision, len(r.events)) for r in responses] == [(1, 4, 3), (-1, 4, 0)]


def test_no_progress_without_a_watch_or_with_one_from_the_future(world: World) -> None:
    world.etcd.tell(WatchProgress(world.watcher))
    assert world.take() == []
    world.watch(start_revision=9)
    world.etcd.tell(WatchProgress(world.watcher))
    assert world.take() == []


def test_quiet_watchers_that_want_progress_hear_of_it_now_and_then(world: World) -> None:
    world.watch(1, progress_notify=True)
    world.watch(2, key=b"b")
    world.ask(Put(b"c", b"1"))
    world.sim.advance(605)
    assert [(r.watch_id, r.revision, r.events) for r in world.take()] == [(1, 2, ())]
    world.ask(Put(b"a", b"1"))
    world.take()
    world.sim.advance(600)
    assert world.take() == []  # it heard of something meanwhile
    world.sim.advance(600)
    assert [r.watch_id for r in world.take()] == [1]


# Slow watchers


class Slow:
    """An address with room for a few responses."""

    def __init__(self, room: int) -> None:
        self.actor_urn = f"slow-{id(self)}"
        self.room = room
        self.got: list[WatchResponse] = []

    def tell(self, message: WatchResponse) -> None:
        if len(self.got) >= self.room:
            raise MailboxFull(message, self.actor_urn)
        self.got.append(message)


def test_a_slow_watcher_holds_nobody_back_and_misses_nothing(world: World) -> None:
    slow = Slow(room=2)
    world.ask(Watch(slow, 1, b"a"))
    world.watch()
    for n in range(50):
        world.ask(Put(b"a", b"%d" % n))
    assert len(world.events()) == 50
    assert len(slow.got) == 2
    slow.room = 1000
    world.sim.advance(1)
    events = [e.kv.mod_revision for r in slow.got for e in r.events]
    assert events == list(range(2, 52))
    assert len(slow.got) <= 5  # it caught up in bulk
    assert [r.seq for r in slow.got] == list(range(1, len(slow.got) + 1))


def test_a_slow_watcher_keeps_at_most_one_response_waiting() -> None:
    store = Store()
    slow = Slow(room=0)

    def send(address: Any, response: WatchResponse) -> bool:
        try:
            address.tell(response)
        except MailboxFull:
            return False
        return True

    watchers = Watchers(store, send)
    watchers.add(Watch(slow, 1, b"a"))
    for _ in range(1000):
        store.put(b"a", b"x", 0)
        watchers.publish(store.commit())
        watchers.catch_up()
    (watcher,) = watchers._victims.values()
    assert len(watcher.pending) == 1
    assert watchers.statistics() == {"watchers": 1, "unsynced": 0, "victims": 1}


def test_a_slow_watcher_whose_history_was_compacted_is_ended(world: World) -> None:
    slow = Slow(room=1)
    world.ask(Watch(slow, 1, b"a"))
    for n in range(10):
        world.ask(Put(b"a", b"%d" % n))
    world.ask(Compact(9))
    slow.room = 100
    world.sim.advance(1)
    assert slow.got[-1].canceled
    assert slow.got[-1].compact_revision == 9


class Small(Actor):
    """A watcher with a bounded mailbox that handles one message a second."""

    mailbox = Bounded(2, on_full="reject")

    def __init__(self, heard: list[WatchResponse]) -> None:
        super().__init__()
        self.heard = heard

    @handles(WatchResponse, serial=lambda _: 0)
    async def told(self, message: WatchResponse) -> None:
        self.heard.append(message)


def test_a_bounded_mailbox_slows_its_own_watch_only(world: World, sim: Simulation) -> None:
    heard: list[WatchResponse] = []
    small = sim.spawn(Child("small", lambda: Small(heard)))
    world.ask(Watch(small, 1, b"a"))
    sim.pause(small)
    for n in range(20):
        world.ask(Put(b"a", b"%d" % n))
    assert heard == []
    sim.resume(small)
    sim.advance(1)
    assert [e.kv.mod_revision for r in heard for e in r.events] == list(range(2, 22))


def test_catching_up_with_long_history_gives_others_their_turn(world: World) -> None:
    for n in range(2500):
        world.etcd.tell(Put(b"a", b"%d" % n))
    world.sim.run_until_idle()
    world.watch(start_revision=1)
    responses = world.take()
    assert [len(r.events) for r in responses] == [1000, 1000, 500]
    assert [e.kv.mod_revision for r in responses for e in r.events] == list(range(2, 2502))


# Which keys


@pytest.mark.parametrize(
    ("key", "end", "hears"),
    [
        (b"a", b"", {b"a"}),
        (b"a", b"b", {b"a", b"a/1", b"a/2"}),
        (b"a/", b"a0", {b"a/1", b"a/2"}),
        (b"a/2", b"\0", {b"a/2", b"b", b"\xff\xff"}),
        (b"\0", b"\0", {b"a", b"a/1", b"a/2", b"b", b"\xff\xff"}),
        (b"\xff", b"\0", {b"\xff\xff"}),
        (b"a/1", b"b", {b"a/1", b"a/2"}),
    ],
)
def test_a_watch_hears_of_the_keys_of_its_range(world: World, key: bytes, end: bytes, hears: set[bytes]) -> None:
    world.watch(1, key, end)
    names = (b"a", b"a/1", b"a/2", b"b", b"\xff\xff")
    for name in names:
        world.ask(Put(name, b"1"))
    live = {name for _, name, _ in world.events(1)}
    world.watch(2, key, end, start_revision=1)
    history = {name for _, name, _ in world.events(2)}
    assert live == history == hears


@pytest.mark.parametrize(
    ("prefix", "end"), [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0"), (b"/r/", b"/r0")]
)
def test_the_end_of_a_prefix(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end


# Leases


def test_a_lease_ends_with_its_time_and_takes_its_keys(world: World) -> None:
    lease = world.ask(LeaseGrant(5))
    world.ask(Put(b"a", b"1", lease=lease.id))
    world.watch()
    world.sim.advance(4.9)
    assert world.ask(Range(b"a")).count == 1
    world.sim.advance(0.2)
    assert world.ask(Range(b"a")).count == 0
    assert world.events() == [("DELETE", b"a", 3)]
    assert world.ask(LeaseTimeToLive(lease.id)).ttl == -1


def test_keeping_alive_starts_the_time_anew(world: World) -> None:
    lease = world.ask(LeaseGrant(5))
    world.sim.advance(4)
    assert world.ask(LeaseKeepAlive(lease.id)).ttl == 5
    world.sim.advance(4)
    assert world.ask(LeaseTimeToLive(lease.id)).ttl in (0, 1)
    world.sim.advance(2)
    assert world.ask(LeaseKeepAlive(lease.id)).ttl == 0


@pytest.mark.parametrize(
    ("asked", "granted"), [(0, 2), (-5, 2), (1, 2), (2, 2), (60, 60), (9_000_000_000, 9_000_000_000)]
)
def test_times_to_live_below_two_seconds_become_two(world: World, asked: int, granted: int) -> None:
    assert world.ask(LeaseGrant(asked, 7)).ttl == granted


@pytest.mark.parametrize(
    ("grant", "code", "message"),
    [
        (LeaseGrant(9_000_000_001), 11, "etcdserver: too large lease TTL"),
        (LeaseGrant(60, 7), 9, "etcdserver: lease already exists"),
    ],
)
def test_leases_that_are_refused(
    world: World, refusal: Callable[..., Any], grant: LeaseGrant, code: int, message: str
) -> None:
    world.ask(LeaseGrant(60, 7))
    assert refusal(world.ask, grant) == (code, message)


def test_the_keys_and_the_list_of_leases(world: World) -> None:
    world.ask(LeaseGrant(60, 7))
    world.ask(LeaseGrant(30, 8))
    world.ask(Put(b"b", b"1", lease=7))
    world.ask(Put(b"a", b"1", lease=7))
    assert world.ask(LeaseTimeToLive(7, keys=True)).keys == (b"a", b"b")
    assert world.ask(LeaseTimeToLive(7)).keys == ()
    assert world.ask(LeaseLeases()).leases == (8, 7)
    world.ask(LeaseRevoke(7))
    assert world.ask(Range(b"a", b"c")).count == 0
    assert world.ask(LeaseLeases()).leases == (8,)


def test_revoking_a_lease_without_keys_takes_no_revision(world: World) -> None:
    world.ask(LeaseGrant(60, 7))
    assert world.ask(LeaseRevoke(7)).revision == 1
