"""The event recorder and the leader elector, against a real API server in a simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.apiserver import ApiServer, ApiServerConfig
from actors.client import Client, ClientActor, EventRecorder, LeaderElector, OutsideClient
from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Child, Ref, Simulation, handles

Object = dict[str, Any]
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default", "uid": "u1"}}


class Do:
    """Have the actor call a function on itself."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function


class Speaker(ClientActor):
    def __init__(self, api: Ref) -> None:
        super().__init__()
        self.client = Client(self, api)
        self.recorder = EventRecorder(self.client, "tester", "host-1")

    @handles(Do)
    def do(self, message: Do) -> None:
        message.function(self)


class World:
    def __init__(self) -> None:
        self.sim = Simulation(seed=3)
        self.etcd = self.sim.spawn(Child("etcd", lambda: Etcd(EtcdConfig())), host="api")
        self.api = self.sim.spawn(Child("api", lambda: ApiServer(ApiServerConfig(debug=True), self.etcd)), host="api")
        self.client = OutsideClient(self.sim, self.api)
        self.speaker = self.sim.spawn(Child("speaker", lambda: Speaker(self.api)))

    def say(self, *messages: str, reason: str = "Reason") -> None:
        for message in messages:
            self.speaker.tell(Do(lambda a, m=message: a.recorder.event(POD, "Warning", reason, m)))
        self.sim.advance(1)

    def events(self) -> list[Object]:
        return sorted(self.client.list("events", "default"), key=lambda e: e["metadata"]["name"])


@pytest.fixture
def world() -> World:
    return World()


def test_an_event_names_its_object_source_and_times(world: World) -> None:
    world.say("it happened")
    (event,) = world.events()
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "p",
        "namespace": "default",
        "uid": "u1",
    }
    assert event["source"] == {"component": "tester", "host": "host-1"}
    assert event["reportingComponent"] == "tester"
    assert (event["type"], event["reason"], event["message"], event["count"]) == (
        "Warning",
        "Reason",
        "it happened",
        1,
    )
    assert event["firstTimestamp"] == event["lastTimestamp"]
    prefix, dot, stamp = event["metadata"]["name"].partition(".")
    assert (prefix, dot) == ("p", ".")
    assert int(stamp, 16) > 1_600_000_000 * 10**9


def test_what_is_said_again_is_counted(world: World) -> None:
    world.say("again")
    world.sim.advance(60)
    world.say("again", "again")
    (event,) = world.events()
    assert event["count"] == 3
    assert event["lastTimestamp"] > event["firstTimestamp"]


def test_many_similar_events_become_one(world: World) -> None:
    world.say(*(f"pod {i} failed" for i in range(15)))
    events = world.events()
    assert len(events) == 10
    combined = [e for e in events if e["message"].startswith("(combined from similar events): ")]
    assert [e["count"] for e in combined] == [6]
    assert combined[0]["message"].endswith("pod 14 failed")


def test_an_object_that_is_talked_of_too_much_is_passed_over_for_a_while(world: World) -> None:
    for i in range(40):
        world.speaker.tell(Do(lambda a, i=i: a.recorder.event(POD, "Normal", f"R{i}", "x")))
    world.sim.advance(1)
    assert len(world.events()) == 25
    world.sim.advance(301)
    world.say("later")
    assert len(world.events()) == 26


def test_an_event_that_is_gone_is_told_anew(world: World) -> None:
    world.say("again")
    (event,) = world.events()
    world.client.delete("events", event["metadata"]["name"], "default")
    world.say("again")
    (event,) = world.events()
    assert event["count"] == 2


def test_events_survive_a_crash_of_the_api_server(world: World) -> None:
    world.sim.crash(world.api)
    world.say("while it was away")
    world.sim.advance(30)
    assert [e["message"] for e in world.events()] == ["while it was away"]


def test_events_of_a_busy_system_come_little_by_little_and_all_in_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.sim, "load", lambda: 1.0)
    for number in range(300):
        about = {**POD, "metadata": {**POD["metadata"], "uid": str(number)}}
        world.speaker.tell(Do(lambda a, about=about: a.recorder.event(about, "Normal", "Reason", "said")))
    world.sim.advance(0.4)
    assert len(world.events()) == 50
    world.sim.advance(0.4)
    assert len(world.events()) == 100
    monkeypatch.setattr(world.sim, "load", lambda: 0.0)
    world.sim.advance(1.0)
    assert len(world.events()) == 300


def test_the_new_form_counts_repetition_as_a_series(world: World) -> None:
    for _ in range(2):
        world.speaker.tell(
            Do(lambda a: a.recorder.regarding(POD, "Normal", "Scheduled", "Binding", "to node-1"))
        )
        world.sim.advance(5)
    (event,) = world.client.list("events.events.k8s.io", "default")
    assert (event["reportingController"], event["action"], event["note"]) == ("tester", "Binding", "to node-1")
    assert event["series"]["count"] == 2


# --- leader election ----------------------------------------------------------------------------


class Candidate(ClientActor):
    def __init__(self, api: Ref, name: str, log: list[str]) -> None:
        super().__init__()
        self.client = Client(self, api, timeout_s=5.0)
        self.elector = LeaderElector(
            self.client,
            "job",
            name,
            on_started=lambda: log.append(f"+{name}"),
            on_stopped=lambda: log.append(f"-{name}"),
        )

    def on_start(self) -> None:
        self.elector.start()

    async def on_stop(self) -> None:  # type: ignore[override]
        await self.elector.release()


class Election(World):
    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []
        self.refs: dict[str, Ref] = {}
        self.sim.advance(1)

    def join(self, name: str) -> None:
        self.refs[name] = self.sim.spawn(Child(name, lambda: Candidate(self.api, name, self.log)), host=name)
        self.sim.advance(3)

    @property
    def leaders(self) -> list[str]:
        """Who believes to lead."""
        found: list[str] = []
        for entry in self.log:
            if entry[0] == "+":
                found.append(entry[1:])
            else:
                found.remove(entry[1:])
        return found


@pytest.fixture
def election() -> Election:
    return Election()


def test_the_first_one_leads_and_the_lease_says_so(election: Election) -> None:
    election.join("a")
    election.join("b")
    assert election.leaders == ["a"]
    spec = election.client.get("leases", "job", "kube-system")["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("a", 15, 0)
    election.sim.advance(60)
    assert election.leaders == ["a"]


def test_a_leader_that_steps_down_is_followed_at_once(election: Election) -> None:
    election.join("a")
    election.join("b")
    election.refs["a"].stop(block=False)
    election.sim.advance(6)
    assert election.leaders == ["b"]
    assert election.client.get("leases", "job", "kube-system")["spec"]["leaseTransitions"] == 1


def test_a_leader_that_is_cut_off_stops_before_another_one_starts(election: Election) -> None:
    election.join("a")
    election.join("b")
    election.sim.partition("a", "api")
    at_most = 0
    for _ in range(200):
        election.sim.advance(0.25)
        at_most = max(at_most, len(election.leaders))
    assert at_most == 1
    assert election.leaders == ["b"]
    assert election.log == ["+a", "-a", "+b"]
    election.sim.heal()
    election.sim.advance(60)
    assert election.leaders == ["b"]
