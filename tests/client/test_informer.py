"""The informer against a scripted API server that breaks in every way a watch can break."""

from __future__ import annotations

from typing import Any

import pytest

from actors.client import Client, ClientActor, Informer, by_controller
from actors.kernel import Actor, Child, Future, Ref, Simulation, handles
from protocol import status
from protocol.api import (
    ApiRequest,
    CancelWatch,
    Hold,
    WatchClosed,
    WatchEvent,
    WatchEvents,
)


class World:
    """What the scripted server serves; it outlives the server's crashes, as etcd does."""

    def __init__(self) -> None:
        self.version = 10
        self.objects: dict[str, dict[str, Any]] = {}
        self.history: list[tuple[int, str, dict[str, Any]]] = []
        self.oldest = 0
        self.lists = 0
        self.watches = 0
        self.refuse: list[Exception] = []

    def put(self, name: str, **fields: Any) -> None:
        self.version += 1
        old = self.objects.get(name)
        uid = old["metadata"]["uid"] if old else f"uid-{self.version}"
        meta = {"name": name, "namespace": "a", "uid": uid, "resourceVersion": str(self.version)}
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, **fields}
        self.objects[name] = obj
        self.history.append((self.version, "MODIFIED" if old else "ADDED", obj))

    def delete(self, name: str) -> None:
        self.version += 1
        obj = self.objects.pop(name)
        meta = {**obj["metadata"], "resourceVersion": str(self.version)}
        self.history.append((self.version, "DELETED", {**obj, "metadata": meta}))

    def compact(self) -> None:
        self.oldest = self.version


class Flush:
    """Send watchers what is new."""


class LoseNext:
    """Drop the next message to each watcher, as a broken link would."""


class CloseAll:
    """End all watches politely."""


class Boom:
    """Crash."""


class Server(Actor):
    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.watchers: dict[tuple[str, int], list[Any]] = {}
        self.lose = False

    @handles(ApiRequest)
    def request(self, message: ApiRequest) -> Any:
        world = self.world
        if world.refuse:
            raise world.refuse.pop(0)
        if message.verb == "list":
            world.lists += 1
            items = [{k: v for k, v in o.items() if k != "kind"} for o in world.objects.values()]
            return {
                "kind": "ConfigMapList",
                "apiVersion": "v1",
                "metadata": {"resourceVersion": str(world.version)},
                "items": items,
            }
        world.watches += 1
        since = int(message.options["resourceVersion"])
        if since < world.oldest:
            raise status.expired("too old resource version")
        assert message.watcher is not None
        self.watchers[message.watcher.actor_urn, message.watch_id] = [message.watcher, since, 0]
        self.flush(Flush())
        return None

    @handles(Hold)
    async def hold(self, message: Hold) -> None:
        await Future()

    @handles(CancelWatch)
    def cancel(self, message: CancelWatch) -> None:
        self.watchers.pop((message.watcher.actor_urn, message.watch_id), None)

    @handles(Flush)
    def flush(self, _: Flush) -> None:
        for (_urn, watch_id), entry in self.watchers.items():
            watcher, since, seq = entry
            events = tuple(
                WatchEvent(kind, obj) for v, kind, obj in self.world.history if v > since
            )
            if not events:
                continue
            if not self.lose:
                watcher.tell(WatchEvents(watch_id, seq, events))
            entry[1], entry[2] = self.world.version, seq + 1
        self.lose = False

    @handles(LoseNext)
    def lose_next(self, _: LoseNext) -> None:
        self.lose = True

    @handles(CloseAll)
    def close_all(self, _: CloseAll) -> None:
        watchers, self.watchers = self.watchers, {}
        for (_urn, watch_id), entry in watchers.items():
            entry[0].tell(WatchClosed(watch_id, "timeout"))

    @handles(Boom)
    def boom(self, _: Boom) -> None:
        raise RuntimeError("boom")


class Watcher(ClientActor):
    def __init__(self, server: Ref, log: list[tuple[str, str]], seen: list[Informer]) -> None:
        super().__init__()
        self.client = Client(self, server)
        self.informer = Informer(
            self.client,
            "configmaps",
            indexes={"owner": by_controller},
            on_add=lambda o: log.append(("add", o["metadata"]["name"])),
            on_update=lambda _, o: log.append(("update", o["metadata"]["name"])),
            on_delete=lambda o: log.append(("delete", o["metadata"]["name"])),
        )
        seen.append(self.informer)

    def on_start(self) -> None:
        self.informer.start()


class Bench:
    """A simulation with one server and one watcher."""

    def __init__(self, seed: int = 0) -> None:
        self.sim = Simulation(seed=seed)
        self.world = World()
        self.log: list[tuple[str, str]] = []
        self.seen: list[Informer] = []
        self.server = self.sim.spawn(Child("server", lambda: Server(self.world)), host="server")

    def start(self) -> Informer:
        self.sim.spawn(
            Child("watcher", lambda: Watcher(self.server, self.log, self.seen)), host="client"
        )
        self.sim.run(until=lambda: bool(self.seen) and self.seen[-1].has_synced)
        self.sim.run_until_idle()  # the watch stands
        return self.seen[-1]

    def flush(self) -> None:
        self.server.tell(Flush())

    def agrees(self) -> bool:
        store = self.seen[-1].store
        return {k.removeprefix("a/"): strip(v) for k, v in store.objects.items()} == {
            k: strip(v) for k, v in self.world.objects.items()
        }


def strip(obj: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in obj.items() if k not in ("kind", "apiVersion")}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_is_there_is_added_and_changes_follow(bench: Bench) -> None:
    bench.world.put("x")
    informer = bench.start()
    assert bench.log == [("add", "x")]
    bench.world.put("y")
    bench.world.put("x", data={"k": "v"})
    bench.world.delete("y")
    bench.flush()
    bench.sim.run(until=bench.agrees)
    assert bench.log == [("add", "x"), ("add", "y"), ("update", "x"), ("delete", "y")]
    assert informer.lists == 1
    assert informer.get("x", "a")["data"] == {"k": "v"}  # type: ignore[index]


def test_list_items_without_a_kind_get_the_kind_of_their_list(bench: Bench) -> None:
    bench.world.put("x")
    informer = bench.start()
    assert informer.get("x", "a")["kind"] == "ConfigMap"  # type: ignore[index]


def test_a_gap_in_the_numbering_leads_to_a_new_watch_and_nothing_is_missed(bench: Bench) -> None:
    informer = bench.start()
    bench.server.tell(LoseNext())
    bench.world.put("lost")
    bench.flush()
    bench.sim.run_until_idle()
    assert not bench.agrees()
    bench.world.put("next")
    bench.flush()
    bench.sim.run(until=bench.agrees, timeout_s=5)
    assert informer.lists == 1
    assert bench.log == [("add", "lost"), ("add", "next")]


def test_a_watch_that_the_server_ends_is_opened_again_where_it_stopped(bench: Bench) -> None:
    informer = bench.start()
    bench.server.tell(CloseAll())
    bench.world.put("x")
    bench.sim.run(until=bench.agrees, timeout_s=5)
    assert informer.lists == 1
    assert informer.watches == 2


def test_a_crash_of_the_server_is_noticed_at_once(bench: Bench) -> None:
    bench.world.put("x")
    informer = bench.start()
    bench.sim.run_until_idle()
    bench.server.tell(Boom())
    bench.world.put("y")
    bench.sim.run(until=bench.agrees, timeout_s=5)
    assert informer.lists == 1


def test_a_version_too_old_leads_to_a_list_told_as_differences(bench: Bench) -> None:
    bench.world.put("stays")
    bench.world.put("goes")
    bench.world.put("changes")
    informer = bench.start()
    bench.sim.run_until_idle()
    del bench.log[:]
    bench.server.tell(Boom())
    bench.world.delete("goes")
    bench.world.put("comes")
    bench.world.put("changes", data={"a": "b"})
    bench.world.compact()
    bench.world.oldest += 1  # even the newest version is refused once
    bench.sim.run(until=lambda: bench.world.watches > 1, timeout_s=10)
    bench.world.oldest = 0
    bench.sim.run(until=bench.agrees, timeout_s=10)
    assert informer.lists == 2
    assert sorted(bench.log) == [("add", "comes"), ("delete", "goes"), ("update", "changes")]


def test_an_object_made_anew_under_its_name_is_a_delete_and_an_add(bench: Bench) -> None:
    bench.world.put("x")
    bench.start()
    bench.sim.run_until_idle()
    del bench.log[:]
    bench.server.tell(Boom())
    bench.world.delete("x")
    bench.world.put("x")
    bench.world.oldest = bench.world.version + 1
    bench.sim.run(until=lambda: bench.world.watches > 1, timeout_s=10)
    bench.world.oldest = 0
    bench.sim.run(until=bench.agrees, timeout_s=10)
    assert bench.log == [("delete", "x"), ("add", "x")]


def test_silence_ends_a_watch(bench: Bench) -> None:
    informer = bench.start()
    bench.sim.run_until_idle()
    watches = informer.watches
    bench.sim.advance(130)
    assert informer.watches > watches


def test_reads_are_repeated_while_the_server_is_unavailable(bench: Bench) -> None:
    bench.world.refuse = [status.service_unavailable("starting"), status.timeout("slow")]
    bench.world.put("x")
    bench.start()
    bench.sim.run(until=bench.agrees, timeout_s=5)
    assert bench.world.lists == 1


def test_a_throttled_request_waits_as_long_as_it_is_told(bench: Bench) -> None:
    bench.world.refuse = [status.too_many_requests("slow down", 7)]
    started = bench.sim.clock.monotonic()
    bench.start()
    assert bench.sim.clock.monotonic() - started >= 7


def test_a_partition_that_swallowed_changes_is_made_good_after_it_heals(bench: Bench) -> None:
    bench.start()
    bench.sim.run_until_idle()
    bench.sim.partition("server", "client")
    bench.world.put("x")
    bench.flush()
    bench.sim.advance(5)
    bench.sim.heal()
    bench.world.put("y")
    bench.flush()
    bench.sim.run(until=bench.agrees, timeout_s=200)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_breaks_the_store_ends_up_equal(seed: int) -> None:
    bench = Bench(seed)
    bench.start()
    source = bench.sim.random
    for step in range(60):
        action = source.randrange(8)
        name = f"n{source.randrange(5)}"
        if action < 3:
            bench.world.put(name, step=step)
        elif action == 3 and name in bench.world.objects:
            bench.world.delete(name)
        elif action == 4:
            bench.server.tell(LoseNext())
        elif action == 5:
            bench.server.tell(CloseAll())
        elif action == 6 and step % 3 == 0:
            bench.server.tell(Boom())
        elif action == 7:
            bench.world.oldest = bench.world.version - 2
        bench.flush()
        bench.sim.advance(source.random())
    bench.world.oldest = 0
    bench.sim.advance(60)
    bench.world.put("last")
    bench.flush()
    bench.sim.run(until=bench.agrees, timeout_s=200)
