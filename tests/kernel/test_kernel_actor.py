"""What an actor is promised, on the loop and in the simulation alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pykka
import pytest

from actors.kernel import (
    Actor,
    ActorDead,
    ActorSystem,
    AskTimeout,
    BlockingCall,
    Bounded,
    Child,
    Future,
    LiveSystem,
    MailboxFull,
    Ref,
    Restart,
    Simulation,
    Terminated,
    ThreadActor,
    handles,
)
from protocol.message import Message


class Add(Message, frozen=True):
    amount: int


class Total(Message, frozen=True):
    pass


class Fail(Message, frozen=True):
    pass


class Nap(Message, frozen=True):
    key: str
    seconds: float = 0.01


class Journal(Message, frozen=True):
    pass


class Watch(Message, frozen=True):
    ref: Any


class Forward(Message, frozen=True):
    ref: Any
    message: Any


class Counter(Actor):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.journal: list[Any] = []

    @handles(Add)
    def add(self, message: Add) -> int:
        self.total += message.amount
        return self.total

    @handles(Total)
    def get_total(self, message: Total) -> int:
        return self.total

    @handles(Fail)
    def fail(self, message: Fail) -> None:
        raise ValueError("on request")

    @handles(Nap, serial=lambda m: m.key)
    async def nap(self, message: Nap) -> None:
        self.journal.append(("begin", message.key))
        await self.sleep(message.seconds)
        self.journal.append(("end", message.key))

    @handles(Journal)
    def get_journal(self, message: Journal) -> list[Any]:
        return list(self.journal)

    @handles(Watch)
    def watch(self, message: Watch) -> None:
        self.monitor(message.ref)

    @handles(Terminated)
    def terminated(self, message: Terminated) -> None:
        self.journal.append(message)

    @handles(Forward)
    async def forward(self, message: Forward) -> Any:
        return await self.ask(message.ref, message.message, timeout=1.0)


class Parent(Actor):
    def __init__(self, child: Child) -> None:
        super().__init__()
        self.child = child
        self.child_ref: Ref | None = None

    def on_start(self) -> None:
        self.child_ref = self.spawn(self.child)

    @handles(Total)
    def child_of(self, message: Total) -> Any:
        return self.child_ref


@pytest.fixture(params=["live", "simulation"])
def system(request: pytest.FixtureRequest) -> Iterator[ActorSystem]:
    if request.param == "simulation":
        yield Simulation(seed=5)
        return
    live = LiveSystem("kernel-test", seed=5).start_thread()
    yield live
    live.shutdown()


def counter(system: ActorSystem, name: str = "counter", factory: Callable[[], Actor] = Counter, **spec: Any) -> Ref:
    return system.spawn(Child(name, factory, **spec))


def test_an_ask_is_answered_with_what_the_handler_returns(system: ActorSystem) -> None:
    ref = counter(system)
    assert ref.ask(Add(2)) == 2
    assert ref.ask(Add(3)) == 5


def test_a_told_message_is_handled_before_a_later_ask_of_the_same_sender(system: ActorSystem) -> None:
    ref = counter(system)
    for _ in range(500):
        ref.tell(Add(1))
    assert ref.ask(Total()) == 500


def test_an_exception_in_an_asked_handler_reaches_the_asker_and_leaves_the_actor_alone(system: ActorSystem) -> None:
    ref = counter(system)
    ref.tell(Add(7))
    with pytest.raises(ValueError, match="on request"):
        ref.ask(Fail())
    assert ref.ask(Total()) == 7


def test_an_exception_in_a_told_handler_restarts_the_actor_with_fresh_state(system: ActorSystem) -> None:
    ref = counter(system)
    ref.tell(Add(7))
    ref.tell(Fail())
    assert ref.ask(Total(), timeout=5) == 0
    assert ref.is_alive()


def test_mail_behind_the_message_that_crashed_is_handled_by_the_next_incarnation(system: ActorSystem) -> None:
    ref = counter(system)
    ref.tell(Fail())
    ref.tell(Add(4))
    assert ref.ask(Total(), timeout=5) == 4


def test_a_temporary_actor_stays_dead_after_a_crash(system: ActorSystem) -> None:
    ref = counter(system, restart=Restart.TEMPORARY)
    ref.tell(Fail())
    with pytest.raises(ActorDead):
        ref.ask(Total(), timeout=5)
    assert not ref.is_alive()


def test_too_many_crashes_of_a_child_crash_its_parent(system: ActorSystem) -> None:
    spec = Child("inner", Counter, intensity=2, period_s=100.0, backoff_s=0.001)
    parent = system.spawn(Child("outer", lambda: Parent(spec)))
    first = parent.ask(Total())
    for _ in range(3):
        first.tell(Fail())
        try:
            first.ask(Total(), timeout=5)
        except ActorDead:
            break
    second = parent.ask(Total(), timeout=5)
    assert second is not first
    assert second.ask(Add(1), timeout=5) == 1


def test_a_failure_at_the_top_that_repeats_fails_the_system(system: ActorSystem) -> None:
    failed: Future[BaseException] = Future()
    system.on_failed = failed.resolve
    ref = counter(system, intensity=1, period_s=100.0)
    ref.tell(Fail())
    ref.tell(Fail())
    system.wait_for(failed, 5)
    assert isinstance(system.failure, Exception)
    assert not ref.is_alive()


def test_asks_pending_at_a_stop_fail_at_once(system: ActorSystem) -> None:
    ref = counter(system)
    pending = ref.ask(Nap("a", 1000.0), block=False)
    assert ref.ask(Total()) == 0
    ref.stop()
    with pytest.raises(ActorDead):
        system.wait_for(pending, 5)


def test_messages_sent_before_a_stop_are_handled_and_those_after_are_refused(system: ActorSystem) -> None:
    ref = counter(system)
    before = ref.ask(Add(1), block=False)
    stopped = ref.stop(block=False)
    assert system.wait_for(before, 5) == 1
    assert system.wait_for(stopped, 5) is True
    with pytest.raises(ActorDead):
        ref.ask(Total())
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(Total())
    assert ref.stop() is False


def test_an_ask_to_an_actor_that_never_answers_times_out(system: ActorSystem) -> None:
    slow, asker = counter(system, "slow"), counter(system, "asker")
    with pytest.raises(AskTimeout):
        asker.ask(Forward(slow, Nap("k", 50.0)), timeout=20)


def test_messages_of_one_serial_key_never_overlap_and_other_keys_do(system: ActorSystem) -> None:
    ref = counter(system)
    naps = [ref.ask(Nap(key), block=False) for key in ("a", "b", "a", "a", "b")]
    for nap in naps:
        system.wait_for(nap, 10)
    journal = ref.ask(Journal())
    for key in ("a", "b"):
        mine = [what for what, whose in journal if whose == key]
        assert mine == ["begin", "end"] * (len(mine) // 2)
    assert journal[:2] == [("begin", "a"), ("begin", "b")]


def test_an_actor_handles_messages_while_a_handler_is_suspended(system: ActorSystem) -> None:
    ref = counter(system)
    nap = ref.ask(Nap("a", 0.2), block=False)
    assert ref.ask(Add(1)) == 1
    assert not nap.done
    system.wait_for(nap, 5)


def test_a_monitor_is_told_when_the_other_dies(system: ActorSystem) -> None:
    watcher, watched = counter(system, "watcher"), counter(system, "watched")
    watcher.ask(Watch(watched))
    watched.stop()
    assert watcher.ask(Journal()) == [Terminated("watched")]
    watcher.ask(Watch(watched))
    assert watcher.ask(Journal())[-1] == Terminated("watched")


def test_a_stop_reaches_children_before_their_parent(system: ActorSystem) -> None:
    order: list[str] = []

    class Noting(Counter):
        def on_stop(self) -> None:
            order.append(self.actor_urn)

    class NotingParent(Parent):
        def on_stop(self) -> None:
            order.append(self.actor_urn)

    parent = system.spawn(Child("p", lambda: NotingParent(Child("c", Noting))))
    child = parent.ask(Total())
    assert child.ask(Total()) == 0
    parent.stop()
    assert order == ["p/c", "p"]
    assert not child.is_alive()
    assert system.lookup("p/c") is None


def test_a_name_can_be_taken_again_after_its_actor_died(system: ActorSystem) -> None:
    first = counter(system, "same")
    with pytest.raises(ValueError, match="exists already"):
        counter(system, "same")
    first.stop()
    assert counter(system, "same").ask(Add(1)) == 1


def test_a_full_bounded_mailbox_rejects_and_hands_the_message_back() -> None:
    class Small(Counter):
        mailbox = Bounded(2, on_full="reject")

    sim = Simulation()
    ref = counter(sim, factory=Small)
    sim.run_until_idle()
    asked = [ref.ask(Add(n), block=False) for n in range(4)]
    sim.run_until_idle()
    refused = [f for f in asked if isinstance(f.exception(), MailboxFull)]
    assert len(refused) == 2
    error = refused[0].exception()
    assert isinstance(error, MailboxFull)
    assert error.message == Add(2)


@pytest.mark.parametrize(("policy", "kept"), [("drop_oldest", [2, 3]), ("drop_newest", [0, 1])])
def test_a_full_bounded_mailbox_drops_as_its_policy_says(policy: str, kept: list[int]) -> None:
    seen: list[int] = []

    class Small(Actor):
        mailbox = Bounded(2, on_full=policy)

        @handles(Add)
        def add(self, message: Add) -> None:
            seen.append(message.amount)

    sim = Simulation()
    ref = counter(sim, factory=Small)
    sim.run_until_idle()
    for n in range(4):
        ref.tell(Add(n))
    sim.run_until_idle()
    assert seen == kept
    assert sim.dead_letter_count == 2


def test_a_message_without_a_handler_is_a_dead_letter_and_an_error_for_its_asker(system: ActorSystem) -> None:
    class Deaf(Actor):
        pass

    ref = system.spawn(Child("deaf", Deaf))
    with pytest.raises(TypeError, match="does not handle Total"):
        ref.ask(Total())
    assert system.dead_letters[-1].message == Total()


def test_a_pykka_proxy_reads_and_calls_the_actor(system: ActorSystem) -> None:
    ref = counter(system)
    ref.ask(Add(3))
    proxy = ref.proxy()
    assert system.wait_for(proxy.total, 5) == 3
    assert system.wait_for(proxy.get_total(Total()), 5) == 3


def test_an_actor_is_made_by_a_system_only() -> None:
    with pytest.raises(TypeError, match=r"system\.spawn"):
        Counter()
    with pytest.raises(TypeError, match=r"system\.spawn"):
        Counter.start()


def test_a_handler_may_answer_with_a_future_of_another_actor(system: ActorSystem) -> None:
    target = counter(system, "target")

    class Relay(Actor):
        @handles(Add)
        def add(self, message: Add) -> Any:
            return self.ask(target, message)

    relay = system.spawn(Child("relay", Relay))
    assert relay.ask(Add(9)) == 9


def test_messages_wait_until_an_async_on_start_has_finished(system: ActorSystem) -> None:
    class Late(Counter):
        async def on_start(self) -> None:
            await self.sleep(0.05)
            self.total = 100

    ref = counter(system, factory=Late)
    ref.tell(Add(1))
    assert ref.ask(Add(1), timeout=5) == 102


def test_timers_of_a_dead_incarnation_do_not_fire_in_the_next(system: ActorSystem) -> None:
    class Timed(Counter):
        @handles(Nap)
        def arm(self, message: Nap) -> None:
            self.after(0.05, Add(1))

    ref = counter(system, factory=Timed)
    ref.tell(Nap("x"))
    ref.tell(Fail())
    ref.tell(Nap("x"))
    waiter = counter(system, "waiter")
    waiter.ask(Nap("wait", 0.2), timeout=5)
    assert ref.ask(Total()) == 1


def test_periodic_ticks_keep_their_rhythm() -> None:
    sim = Simulation()
    times: list[float] = []

    class Ticking(Actor):
        def on_start(self) -> None:
            self.ticks = self.every(10.0, Add(1))

        @handles(Add)
        def tick(self, message: Add) -> None:
            times.append(self.clock.monotonic())
            if len(times) == 3:
                self.ticks.cancel()

    sim.spawn(Child("ticking", Ticking))
    sim.advance(100)
    assert times == [10.0, 20.0, 30.0]


def test_gather_waits_for_all_and_then_raises(system: ActorSystem) -> None:
    target = counter(system, "target")

    class Gathering(Actor):
        @handles(Total)
        async def both(self, message: Total) -> Any:
            return await self.gather(self.ask(target, Add(1)), self.ask(target, Add(1)))

        @handles(Fail)
        async def one_fails(self, message: Fail) -> Any:
            return await self.gather(self.ask(target, Fail()), self.ask(target, Add(1)))

    ref = system.spawn(Child("gathering", Gathering))
    assert ref.ask(Total()) == [1, 2]
    with pytest.raises(ValueError, match="on request"):
        ref.ask(Fail())
    assert target.ask(Total()) == 3


def test_blocking_for_an_answer_inside_a_handler_is_refused(system: ActorSystem) -> None:
    target = counter(system, "target")

    class Blocking(Actor):
        @handles(Total)
        def ask_and_block(self, message: Total) -> Any:
            return target.ask(Total(), block=True)

        @handles(Journal)
        def get_and_block(self, message: Journal) -> Any:
            return target.ask(Nap("k"), block=False).get()

    ref = system.spawn(Child("blocking", Blocking))
    with pytest.raises(BlockingCall):
        ref.ask(Total())
    with pytest.raises(BlockingCall):
        ref.ask(Journal())


def test_a_thread_actor_may_block_without_holding_up_others(live: LiveSystem) -> None:
    import threading

    gate = threading.Event()

    class Blocker(ThreadActor):
        @handles(Total)
        def wait(self, message: Total) -> str:
            gate.wait(10)
            return threading.current_thread().name

    blocker, other = live.spawn(Child("blocker", Blocker)), counter(live)
    answer = blocker.ask(Total(), block=False)
    assert other.ask(Add(1)) == 1
    assert not answer.done
    gate.set()
    assert answer.get(timeout=5) == "blocker"


def test_a_thread_actor_that_crashes_is_restarted_on_a_thread(live: LiveSystem) -> None:
    class Threaded(ThreadActor):
        @handles(Fail)
        def fail(self, message: Fail) -> None:
            raise ValueError("on request")

        @handles(Total)
        def where(self, message: Total) -> bool:
            import threading

            return threading.current_thread().name == self.actor_urn

    ref = live.spawn(Child("threaded", Threaded))
    ref.tell(Fail())
    assert ref.ask(Total(), timeout=5) is True


def test_a_turn_that_blocks_the_loop_thread_is_reported(live: LiveSystem) -> None:
    import time

    class Rude(Actor):
        @handles(Total)
        def block(self, message: Total) -> None:
            time.sleep(0.3)  # the offence itself

    live.spawn(Child("rude", Rude)).ask(Total())
    assert [name for name, _ in live.slow_turns] == ["rude"]
    live.slow_turns.clear()


def test_an_awaited_thing_that_is_no_future_is_refused_by_name(system: ActorSystem) -> None:
    import asyncio

    class Confused(Actor):
        @handles(Total)
        async def wrong(self, message: Total) -> None:
            await asyncio.sleep(0)

    ref = system.spawn(Child("confused", Confused))
    with pytest.raises(TypeError, match="kernel futures"):
        ref.ask(Total())


def test_statistics_count_what_an_actor_did(system: ActorSystem) -> None:
    ref = counter(system)
    ref.ask(Add(1))
    ref.ask(Add(1))
    stats = next(s for s in system.statistics() if s.actor_urn == "counter")
    assert (stats.kind, stats.state, stats.restarts) == ("Counter", "running", 0)
    assert stats.handled >= 2
