"""The kernel's guarantees as properties: order, at most once, no lost wake-up, no starvation."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.kernel import Actor, ActorDead, AskTimeout, Child, LiveSystem, Ref, Simulation, handles
from protocol.message import Message


class Item(Message, frozen=True):
    sender: int
    number: int


class Send(Message, frozen=True):
    count: int


class Question(Message, frozen=True):
    sender: int
    number: int


class Receiver(Actor):
    def __init__(self, seen: list[tuple[int, int]]) -> None:
        super().__init__()
        self.seen = seen
        self.handling = False

    @handles(Item)
    def item(self, message: Item) -> None:
        assert not self.handling
        self.handling = True
        self.seen.append((message.sender, message.number))
        self.handling = False

    @handles(Question)
    async def question(self, message: Question) -> int:
        self.seen.append((message.sender, message.number))
        await self.sleep(0.001 * (message.number % 3))
        return message.number


class Sender(Actor):
    """Sends its numbered messages; told and asked ones alternate."""

    def __init__(self, number: int, receiver: Ref, answers: list[Any]) -> None:
        super().__init__()
        self.number = number
        self.receiver = receiver
        self.answers = answers

    @handles(Send)
    async def send(self, message: Send) -> None:
        for n in range(message.count):
            if n % 4 == 3:
                try:
                    answer = await self.ask(self.receiver, Question(self.number, n), timeout=1.0)
                    self.answers.append((self.number, answer))
                except (AskTimeout, ActorDead) as error:
                    self.answers.append((self.number, type(error).__name__))
            else:
                self.receiver.tell(Item(self.number, n))


def in_order(seen: list[tuple[int, int]], sender: int) -> bool:
    mine = [number for who, number in seen if who == sender]
    return mine == sorted(set(mine))


@given(
    seed=st.integers(0, 2**32),
    senders=st.integers(1, 5),
    count=st.integers(1, 30),
    delay=st.floats(0, 0.5),
    drop=st.sampled_from([0.0, 0.0, 0.3]),
)
@settings(max_examples=60)
def test_messages_arrive_in_order_and_at_most_once(
    seed: int, senders: int, count: int, delay: float, drop: float
) -> None:
    sim = Simulation(seed)
    seen: list[tuple[int, int]] = []
    answers: list[Any] = []
    receiver = sim.spawn(Child("receiver", lambda: Receiver(seen)), host="b")
    sim.link("a", "b", (0.0, delay), drop)
    for n in range(senders):
        sender = sim.spawn(Child(f"sender-{n}", lambda n=n: Sender(n, receiver, answers)), host="a")  # type: ignore[misc]
        sender.tell(Send(count))
    sim.advance(300)
    for n in range(senders):
        assert in_order(seen, n)
    if not drop:
        assert len(seen) == senders * count
    assert len(answers) == senders * (count // 4)


@given(seed=st.integers(0, 2**32), order=st.lists(st.integers(0, 2**16), max_size=40))
@settings(max_examples=30)
def test_any_choice_of_the_next_mailbox_keeps_the_order(seed: int, order: list[int]) -> None:
    choices = iter(order)
    sim = Simulation(seed, choose=lambda count: next(choices, 0) % count)
    seen: list[tuple[int, int]] = []
    receiver = sim.spawn(Child("receiver", lambda: Receiver(seen)))
    senders = [sim.spawn(Child(f"sender-{n}", lambda n=n: Sender(n, receiver, []))) for n in range(3)]  # type: ignore[misc]
    for sender in senders:
        sender.tell(Send(10))
    sim.advance(60)
    assert len(seen) == 30
    assert all(in_order(seen, n) for n in range(3))


@given(seed=st.integers(0, 2**32), crashes=st.lists(st.floats(0.0, 2.0), max_size=5))
@settings(max_examples=40)
def test_every_ask_ends_whatever_crashes(seed: int, crashes: list[float]) -> None:
    sim = Simulation(seed)
    answers: list[Any] = []
    receiver = sim.spawn(Child("receiver", lambda: Receiver([])), host="b")
    sim.link("a", "b", (0.0, 0.05))
    sender = sim.spawn(Child("sender", lambda: Sender(0, receiver, answers)), host="a")
    sender.tell(Send(40))
    for wait in crashes:
        sim.advance(wait)
        sim.crash(receiver, restart_after_s=0.1)
    sim.advance(300)
    assert len(answers) == 10


def test_no_wake_up_is_lost_when_many_threads_tell(live: LiveSystem) -> None:
    seen: list[tuple[int, int]] = []
    receiver = live.spawn(Child("receiver", lambda: Receiver(seen)))

    def tell(sender: int) -> None:
        for n in range(2_000):
            receiver.tell(Item(sender, n))

    threads = [threading.Thread(target=tell, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    receiver.ask(Question(99, 0), timeout=10)
    assert len(seen) == 12_001
    assert all(in_order(seen, n) for n in range(6))


def test_a_flooded_actor_does_not_starve_another(live: LiveSystem) -> None:
    class Endless(Actor):
        @handles(Item)
        def again(self, message: Item) -> None:
            if message.number < 200_000:
                self.ref.tell(Item(0, message.number + 1))

    seen: list[tuple[int, int]] = []
    endless = live.spawn(Child("endless", Endless))
    endless.tell(Item(0, 0))
    receiver = live.spawn(Child("receiver", lambda: Receiver(seen)))
    assert receiver.ask(Question(1, 0), timeout=5) == 0
    assert endless.is_alive()


def test_many_systems_live_side_by_side() -> None:
    systems = [LiveSystem(f"s{n}").start_thread() for n in range(5)]
    try:
        seen: list[list[tuple[int, int]]] = [[] for _ in systems]
        refs = [s.spawn(Child("same-name", lambda log=log: Receiver(log))) for s, log in zip(systems, seen)]  # type: ignore[misc]
        for n, ref in enumerate(refs):
            ref.tell(Item(n, n))
            ref.ask(Question(n, n + 1), timeout=5)
        systems[0].shutdown()
        assert refs[1].ask(Question(7, 7), timeout=5) == 7
        assert [log[0] for log in seen] == [(n, n) for n in range(5)]
    finally:
        for system in systems:
            system.shutdown()


def test_what_survived_the_collector_is_walked_over_again_only_when_the_last_system_has_gone() -> None:
    import gc

    class Knot:
        pass

    system = LiveSystem("tidy").start_thread()
    frozen = gc.get_freeze_count()
    knot = Knot()
    knot.itself = knot  # type: ignore[attr-defined]
    gone = weakref.ref(knot)
    gc.collect(0)
    assert gc.get_freeze_count() > frozen
    del knot
    gc.collect()
    assert gone() is not None
    system.shutdown()
    gc.collect()
    assert gone() is None


def test_the_collectors_thresholds_return_with_the_last_system() -> None:
    import gc

    before = gc.get_threshold()
    first, second = LiveSystem("one").start_thread(), LiveSystem("two").start_thread()
    assert gc.get_threshold() != before
    first.shutdown()
    assert gc.get_threshold() != before
    second.shutdown()
    assert gc.get_threshold() == before


def test_a_failed_live_system_lets_nobody_wait_in_vain() -> None:
    system = LiveSystem("failing").start_thread()
    try:
        receiver = system.spawn(Child("receiver", lambda: Receiver([])))
        waiting = receiver.ask(Question(0, 2), block=False)
        system.failed(RuntimeError("on request"))
        try:
            waiting.get(timeout=5)
        except ActorDead:
            pass
        assert not receiver.is_alive() or waiting.done
    finally:
        system.shutdown()
