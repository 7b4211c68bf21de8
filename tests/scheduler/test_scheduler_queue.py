"""The queue: who is tried next, who waits, and what brings a pod back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.scheduler._cache import Cache
from actors.scheduler._events import ClusterEvent, EventHint
from actors.scheduler._pods import PodInfo
from actors.scheduler._queue import QueuedPod, SchedulingQueue
from actors.scheduler._status import SUCCESS, Code, Status

classes = Cache().classes


def pod(name: str, priority: int = 0) -> PodInfo:
    return classes.info({"metadata": {"name": name, "namespace": "d", "uid": name}, "spec": {"priority": priority, "containers": []}})


def event(resource: str = "Node", action: str = "add", new: Any = None) -> ClusterEvent:
    return ClusterEvent(resource, frozenset({action}), None, new)


HINTS: dict[str, tuple[EventHint, ...]] = {
    "Fit": (EventHint("Node", frozenset({"add"})), EventHint("AssignedPod", frozenset({"delete"}), lambda p, e: p.name != "huge")),
    "Gate": (EventHint("UnscheduledPod", frozenset({"gates"})),),
    "Claims": (EventHint("ResourceClaim", frozenset({"update"})),),
}


def queue(gate: Callable[[PodInfo], Status] = lambda p: SUCCESS) -> SchedulingQueue:
    return SchedulingQueue(lambda p, at: (-p.priority, at), gate, lambda p: HINTS)


def popped(made: SchedulingQueue, now: float) -> QueuedPod:
    found = made.pop(now)
    assert found is not None
    return found


def test_higher_priority_goes_first_and_then_who_came_first() -> None:
    made = queue()
    for i, (name, priority) in enumerate([("a", 0), ("b", 5), ("c", 0), ("d", 5)]):
        made.add(pod(name, priority), float(i))
    assert [popped(made, 9.0).pod.name for _ in range(4)] == ["b", "d", "a", "c"]
    assert made.pop(9.0) is None


def test_a_rejected_pod_waits_for_an_event_that_its_rejector_asked_for() -> None:
    made = queue()
    made.add(pod("a"), 0.0)
    made.requeue(popped(made, 0.0), 0.0, rejected_by={"Fit"})
    assert made.pop(0.0) is None
    assert made.move(event("PersistentVolume"), 1.0) == 0
    assert made.move(event("Node", "labels"), 1.0) == 0
    assert made.pop(1.0) is None
    made.move(event(), 5.0)
    assert popped(made, 5.0).pod.name == "a"


def test_a_plugin_may_look_at_the_event_itself() -> None:
    made = queue()
    for name in ("huge", "small"):
        made.add(pod(name), 0.0)
        made.requeue(popped(made, 0.0), 0.0, rejected_by={"Fit"})
    made.move(event("AssignedPod", "delete"), 20.0)
    assert popped(made, 20.0).pod.name == "small"
    assert made.pop(20.0) is None


def test_an_answer_that_is_the_same_for_a_class_is_asked_for_once() -> None:
    asked: list[str] = []

    def helps(waiting: PodInfo, _: ClusterEvent) -> bool:
        asked.append(waiting.name)
        return False

    made = queue()
    made.hints = lambda p: {"Fit": (EventHint("Node", frozenset({"add"}), helps, by_class=True),)}
    for i in range(50):
        made.add(pod(f"p{i}"), 0.0)
        made.requeue(popped(made, 0.0), 0.0, rejected_by={"Fit"})
    made.move(event(), 1.0)
    assert len(asked) == 1


def test_an_event_during_the_attempt_is_not_missed() -> None:
    made = queue()
    made.add(pod("a"), 0.0)
    flight = popped(made, 0.0)
    made.move(event(), 0.0)
    made.requeue(flight, 0.0, rejected_by={"Fit"})
    assert made.lengths["unschedulable"] == 0
    assert popped(made, 2.0).pod.name == "a"


def test_an_event_before_the_attempt_does_not_bring_the_pod_back() -> None:
    made = queue()
    made.add(pod("a"), 0.0)
    made.add(pod("b"), 1.0)
    first = popped(made, 1.0)
    made.move(event(), 1.0)
    second = popped(made, 1.0)
    made.requeue(second, 1.0, rejected_by={"Fit"})
    assert made.lengths["unschedulable"] == 1
    made.requeue(first, 1.0, rejected_by={"Fit"})
    assert made.lengths["unschedulable"] == 1


def test_errors_wait_out_a_backoff_that_doubles_to_a_limit() -> None:
    made = queue()
    made.add(pod("a"), 0.0)
    now, waits = 0.0, []
    for _ in range(6):
        made.requeue(popped(made, now), now)
        started = now
        while made.pop(now) is None:
            now += 0.5
            made.flush_backoff(now)
            assert now - started < 20
        waits.append(now - started)
        made.add(pod("a"), now)
        now += 0.0
        made.delete("a")
        flight = QueuedPod(pod("a"), 0.0, errors=len(waits))
        made.pods["a"] = flight
        made._put_active(flight)
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_pod_in_backoff_is_tried_early_when_nothing_else_is_there_unless_it_failed_with_an_error() -> None:
    made = queue()
    made.add(pod("a"), 0.0)
    made.requeue(popped(made, 0.0), 0.0, rejected_by={"Fit"})
    made.move(event(), 0.1)
    assert made.lengths["backoff"] == 1
    made.add(pod("b"), 0.1)
    assert [popped(made, 0.2).pod.name for _ in range(2)] == ["b", "a"]
    made.add(pod("c"), 0.2)
    made.requeue(popped(made, 0.2), 0.2)
    assert made.pop(0.3) is None


def test_who_waits_for_something_under_way_goes_straight_back() -> None:
    made = queue()
    made.add(pod("a"), 0.0)
    made.requeue(popped(made, 0.0), 0.0, pending_on={"Claims"})
    made.move(event("ResourceClaim", "update"), 0.1)
    assert made.lengths["active"] == 1


def test_a_gated_pod_enters_when_its_gate_opens() -> None:
    open_ = [False]
    made = queue(lambda p: SUCCESS if open_[0] else Status(Code.UNRESOLVABLE, ("shut",), "Gate"))
    made.add(pod("a"), 0.0)
    assert made.lengths["gated"] == 1
    made.move(event(), 1.0)
    assert made.pop(1.0) is None
    open_[0] = True
    made.update(pod("a"), event("UnscheduledPod", "gates"), 2.0)
    assert popped(made, 2.0).pod.name == "a"


def test_a_pod_that_no_event_moves_is_tried_again_after_five_minutes() -> None:
    made = queue()
    made.add(pod("a"), 0.0)
    made.requeue(popped(made, 0.0), 0.0, rejected_by={"Fit"})
    assert made.flush_unschedulable(299.0) == 0
    assert made.flush_unschedulable(300.0) == 1


class Queue(RuleBasedStateMachine):
    """Whatever happens, each pod is in exactly one place and none is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.shut: set[str] = set()
        self.queue = queue(lambda p: Status(Code.UNRESOLVABLE, (), "Gate") if p.name in self.shut else SUCCESS)
        self.known: set[str] = set()
        self.flying: dict[str, QueuedPod] = {}
        self.now = 0.0

    names = st.sampled_from("abcdef")

    @rule(name=names, priority=st.integers(0, 2), shut=st.booleans())
    def add(self, name: str, priority: int, shut: bool) -> None:
        if name in self.flying:
            return
        (self.shut.add if shut else self.shut.discard)(name)
        self.known.add(name)
        self.queue.add(pod(name, priority), self.now)

    @rule()
    def pop(self) -> None:
        found = self.queue.pop(self.now)
        if found is not None:
            assert found.pod.name not in self.shut
            self.flying[found.pod.name] = found

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), plugins=st.sets(st.sampled_from(["Fit", "Claims"])), placed=st.booleans())
    def land(self, data: st.DataObject, plugins: set[str], placed: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.flying)))
        flight = self.flying.pop(name)
        if placed:
            self.queue.done(name)
            self.known.discard(name)
        else:
            self.queue.requeue(flight, self.now, rejected_by=plugins)

    @rule(name=names)
    def delete(self, name: str) -> None:
        self.queue.delete(name)
        self.flying.pop(name, None)
        self.known.discard(name)

    @rule(resource=st.sampled_from(["Node", "AssignedPod", "ResourceClaim"]), action=st.sampled_from(["add", "delete", "update"]))
    def happen(self, resource: str, action: str) -> None:
        self.queue.move(event(resource, action), self.now)

    @rule(seconds=st.sampled_from([0.1, 1.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.queue.flush_backoff(self.now)
        self.queue.flush_unschedulable(self.now)

    @invariant()
    def every_pod_is_in_one_place(self) -> None:
        assert set(self.queue.pods) | set(self.flying) == self.known
        assert not set(self.queue.pods) & set(self.flying)
        assert sum(self.queue.lengths.values()) == len(self.queue.pods)
        assert all(q.place for q in self.queue.pods.values())
        assert min(self.queue.lengths.values()) >= 0

    def teardown(self) -> None:
        # In the end every pod that nothing holds can be tried.
        for name, flight in list(self.flying.items()):
            self.queue.requeue(flight, self.now, rejected_by={"Fit"})
        self.now += 1000
        self.queue.flush_unschedulable(self.now)
        self.queue.flush_backoff(self.now)
        tried = set()
        while (found := self.queue.pop(self.now)) is not None:
            tried.add(found.pod.name)
        gated = {q.pod.name for q in self.queue.pods.values() if q.place == "gated"}
        assert tried | gated == self.known


TestQueue = Queue.TestCase
