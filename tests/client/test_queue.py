"""The work queue and the expectations, without any actor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.client import Backoff, Expectations, UidExpectations, WorkQueue


class Clock:
    """A clock and timers that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[list[object]] = []
        self.queue: WorkQueue
        self.woken = 0

    def monotonic(self) -> float:
        return self.now

    def start(self, delay_s: float, key: str) -> Timer:
        entry: list[object] = [self.now + delay_s, key]
        self.timers.append(entry)
        return Timer(self, entry)

    def wake(self) -> None:
        self.woken += 1

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [t for t in self.timers if float(t[0]) <= self.now]  # type: ignore[arg-type]
        self.timers = [t for t in self.timers if t not in due]
        for _, key in sorted(due, key=lambda t: float(t[0])):  # type: ignore[arg-type]
            self.queue.due(str(key))


class Timer:
    def __init__(self, clock: Clock, entry: list[object]) -> None:
        self.clock = clock
        self.entry = entry

    def cancel(self) -> None:
        if self.entry in self.clock.timers:
            self.clock.timers.remove(self.entry)


def make(interval: Callable[[str], float] | None = None) -> tuple[WorkQueue, Clock]:
    clock = Clock()
    queue = WorkQueue(clock.start, clock.monotonic, clock.wake, interval=interval)
    clock.queue = queue
    return queue, clock


def test_a_key_that_is_added_often_is_handed_out_once() -> None:
    queue, _ = make()
    for key in "abab":
        queue.add(key)
    assert [queue.get(), queue.get(), queue.get()] == ["a", "b", None]


def test_a_key_added_while_it_is_processed_comes_again_when_that_is_done() -> None:
    queue, _ = make()
    queue.add("a")
    assert queue.get() == "a"
    queue.add("a")
    assert queue.get() is None
    queue.done("a")
    assert queue.get() == "a"
    queue.done("a")
    assert queue.get() is None
    assert queue.idle


def test_failures_are_retried_ever_later_up_to_a_limit() -> None:
    queue, clock = make()
    delays = []
    for _ in range(22):
        queue.add_rate_limited("a")
        delays.append(float(clock.timers[-1][0]) - clock.now)  # type: ignore[arg-type]
        clock.advance(delays[-1])
        assert queue.get() == "a"
        queue.done("a")
    assert delays[:4] == pytest.approx([0.005, 0.01, 0.02, 0.04])
    assert delays[-1] == pytest.approx(1000.0)
    queue.forget("a")
    assert queue.failures("a") == 0


def test_of_several_delays_the_shortest_counts() -> None:
    queue, clock = make()
    queue.add_after("a", 10)
    queue.add_after("a", 3)
    queue.add_after("a", 7)
    clock.advance(3)
    assert queue.get() == "a"
    queue.done("a")
    clock.advance(20)
    assert queue.get() is None


def test_an_interval_makes_bursts_cost_one_look_and_urgency_overrides_it() -> None:
    queue, clock = make(lambda _: 1.0)
    queue.add("a")
    assert queue.get() == "a"
    queue.done("a")
    queue.add("a")
    queue.add("a")
    assert queue.get() is None
    clock.advance(1.0)
    assert queue.get() == "a"
    queue.done("a")
    queue.add("a", urgent=True)
    assert queue.get() == "a"


@given(st.lists(st.tuples(st.sampled_from(["add", "get", "done", "later", "fail", "time"]), st.sampled_from("abc"))))
def test_no_key_is_lost_and_none_is_processed_twice_at_once(steps: list[tuple[str, str]]) -> None:
    queue, clock = make()
    processing: set[str] = set()
    wanted: set[str] = set()  # added since it was last handed out
    for action, key in steps:
        if action == "add":
            queue.add(key)
            wanted.add(key)
        elif action == "later":
            queue.add_after(key, 0.5)
            wanted.add(key)
        elif action == "fail":
            queue.add_rate_limited(key)
            wanted.add(key)
        elif action == "time":
            clock.advance(1.0)
        elif action == "get":
            got = queue.get()
            if got is not None:
                assert got not in processing
                assert got in wanted
                processing.add(got)
                wanted.discard(got)
                # A delay that is still running will hand it out once more.
                wanted |= {str(k) for _, k in clock.timers}
        elif processing and key in processing:
            queue.done(key)
            processing.discard(key)
    for key in sorted(processing):
        queue.done(key)
    clock.advance(10_000.0)
    rest = set()
    while (got := queue.get()) is not None:
        rest.add(got)
        queue.done(got)
    assert rest == wanted


def test_expectations_hold_until_seen_or_too_old() -> None:
    clock = Clock()
    expectations = Expectations(clock.monotonic)
    assert expectations.satisfied("a")
    expectations.expect("a", creations=2)
    expectations.creation_observed("a")
    assert not expectations.satisfied("a")
    expectations.creation_observed("a")
    assert expectations.satisfied("a")
    expectations.expect("a", deletions=1)
    clock.now += 299
    assert not expectations.satisfied("a")
    clock.now += 2
    assert expectations.satisfied("a")


def test_a_deletion_that_is_seen_twice_counts_once() -> None:
    expectations = UidExpectations(Clock().monotonic)
    expectations.expect_deletions("a", ["u1", "u2"])
    expectations.uid_deletion_observed("a", "u1")
    expectations.uid_deletion_observed("a", "u1")
    expectations.uid_deletion_observed("a", "other")
    assert not expectations.satisfied("a")
    expectations.uid_deletion_observed("a", "u2")
    assert expectations.satisfied("a")


def test_back_off_doubles_with_some_chance_and_starts_over() -> None:
    import random

    source = random.Random(1)
    backoff = Backoff(1.0, 8.0)
    delays = [backoff.next_s(source) for _ in range(6)]
    for delay, base in zip(delays, [1, 2, 4, 8, 8, 8], strict=True):
        assert base <= delay <= 2 * base
    backoff.reset()
    assert backoff.next_s(source) <= 2.0
