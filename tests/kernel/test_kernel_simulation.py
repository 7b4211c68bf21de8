"""Virtual time, seeds, links and faults."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest

from actors.kernel import Actor, AskTimeout, Child, Ref, Simulation, Stuck, Tracer, TraceRecord, handles
from protocol.message import Message


class Bump(Message, frozen=True):
    hops: int


class Read(Message, frozen=True):
    pass


class Chatter(Actor):
    """Passes bumps on to random others."""

    def __init__(self, others: list[Ref]) -> None:
        super().__init__()
        self.others = others
        self.bumps = 0

    @handles(Bump)
    def bump(self, message: Bump) -> None:
        self.bumps += 1
        if message.hops:
            self.random.choice(self.others).tell(Bump(message.hops - 1))

    @handles(Read)
    def read(self, message: Read) -> int:
        return self.bumps


def chatter(seed: int, hosts: int = 3) -> Simulation:
    sim = Simulation(seed)
    refs: list[Ref] = []
    for n in range(8):
        refs.append(sim.spawn(Child(f"chatter-{n}", lambda: Chatter(refs)), host=f"host-{n % hosts}"))
    sim.link("host-0", "host-1", (0.01, 0.2), drop=0.1)
    for ref in refs:
        ref.tell(Bump(20))
    sim.advance(30)
    return sim


def test_one_seed_gives_one_run() -> None:
    assert len({chatter(3).digest() for _ in range(10)}) == 1


def test_different_seeds_give_different_runs() -> None:
    assert len({chatter(seed).digest() for seed in range(10)}) == 10


def test_a_run_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "import sys; sys.path[:0] = ['.']\n"
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('t', {__file__!r})\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "print(module.chatter(3).digest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": str(n)}, capture_output=True, text=True, check=True
        ).stdout
        for n in (1, 2)
    }
    assert digests == {chatter(3).digest() + "\n"}


def test_time_passes_only_when_it_is_moved(sim: Simulation) -> None:
    start = sim.clock.now()
    sim.advance(3600)
    assert sim.clock.now() - start == 3600
    assert sim.clock.rfc3339() == "2026-01-01T01:00:00Z"


def test_a_condition_that_never_holds_names_the_seed() -> None:
    with pytest.raises(Stuck, match="seed 41"):
        Simulation(41).run(until=lambda: False, timeout_s=10)


def test_a_cut_host_hears_nothing_until_healed(sim: Simulation) -> None:
    refs: list[Ref] = []
    a = sim.spawn(Child("a", lambda: Chatter(refs)), host="one")
    b = sim.spawn(Child("b", lambda: Chatter([a])), host="two")
    refs.append(b)
    sim.partition("one", "two")
    a.tell(Bump(1))
    sim.advance(10)
    assert sim.ask(b, Read()) == 0
    assert sim.dead_letters[-1].why == "cut"
    sim.heal()
    a.tell(Bump(1))
    sim.advance(10)
    assert sim.ask(b, Read()) == 1


def test_an_ask_over_a_cut_link_times_out(sim: Simulation) -> None:
    target = sim.spawn(Child("target", lambda: Chatter([])), host="two")

    class Asker(Actor):
        @handles(Read)
        async def relay(self, message: Read) -> Any:
            return await self.ask(target, Read(), timeout=5.0)

    asker = sim.spawn(Child("asker", Asker), host="one")
    assert sim.ask(asker, Read()) == 0
    sim.partition("two")
    before = sim.clock.monotonic()
    with pytest.raises(AskTimeout):
        sim.ask(asker, Read())
    assert sim.clock.monotonic() - before == 5.0


def test_a_crashed_actor_loses_its_mail_and_its_state(sim: Simulation) -> None:
    ref = sim.spawn(Child("x", lambda: Chatter([])))
    ref.tell(Bump(0))
    sim.run_until_idle()
    ref.tell(Bump(0))
    sim.crash(ref, restart_after_s=5.0)
    assert sim.ask(ref, Read()) == 0


def test_a_paused_actor_keeps_its_mail(sim: Simulation) -> None:
    ref = sim.spawn(Child("x", lambda: Chatter([])))
    sim.run_until_idle()
    sim.pause(ref)
    ref.tell(Bump(0))
    sim.advance(10)
    sim.resume(ref)
    assert sim.ask(ref, Read()) == 1


def test_a_delayed_link_keeps_order_and_takes_its_time(sim: Simulation) -> None:
    seen: list[tuple[float, int]] = []

    class Noting(Actor):
        @handles(Bump)
        def note(self, message: Bump) -> None:
            seen.append((self.clock.monotonic(), message.hops))

    receiver = sim.spawn(Child("receiver", Noting), host="b")

    class Burst(Actor):
        @handles(Read)
        def burst(self, message: Read) -> None:
            for n in range(20):
                receiver.tell(Bump(n))

    sim.link("a", "b", (0.5, 1.5))
    sim.spawn(Child("burst", Burst), host="a").tell(Read())
    sim.advance(10)
    assert [n for _, n in seen] == list(range(20))
    assert 0.5 <= seen[0][0] <= seen[-1][0] <= 1.5


def test_a_trace_is_the_causal_tree_of_a_message() -> None:
    tracer = Tracer()
    sim = Simulation(1, tracer=tracer)
    refs: list[Ref] = []
    a = sim.spawn(Child("a", lambda: Chatter(refs)))
    refs.append(a)
    a.tell(Bump(3))
    sim.run_until_idle()
    tree = list(tracer.tree(1))
    assert [(depth, record.message) for depth, record in tree] == [(n, Bump(3 - n)) for n in range(4)]
    assert [record.sender for _, record in tree] == ["outside", "a", "a", "a"]


def test_a_trace_subscriber_that_raises_is_dropped() -> None:
    tracer = Tracer()
    seen: list[TraceRecord] = []

    def bad(record: TraceRecord) -> None:
        raise RuntimeError("no")

    tracer.subscribe(bad)
    tracer.subscribe(seen.append)
    sim = Simulation(1, tracer=tracer)
    ref = sim.spawn(Child("a", lambda: Chatter([])))
    ref.tell(Bump(0))
    ref.tell(Bump(0))
    sim.run_until_idle()
    assert len(seen) == 2


def test_chance_comes_from_the_systems_seed() -> None:
    draws = [Simulation(9).random.random() for _ in range(2)]
    assert draws[0] == draws[1] == random.Random("system 9").random()
