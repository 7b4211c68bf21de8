"""Messages between actors: ours against Pykka's threads (and thespian or xoscar where installed).

Both sides run the same Pykka idiom: `tell`, `ask`, and actors that answer each other. Ours share
one dispatcher, Pykka's `ThreadingActor` has a thread and a queue per actor.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import pykka

from actors.kernel import Actor, Child, Future, LiveSystem, Ref, handles
from bench._report import Comparison, Series, arguments, finish
from protocol.message import Message

PEER = "pykka.ThreadingActor"


class Tick(Message, frozen=True):
    """One message of the benchmark."""

    left: int


class Ask(Message, frozen=True):
    """Answered with its number plus one."""

    number: int


class Run(Message, frozen=True):
    """Start: send `count` messages and answer when the last has come back."""

    count: int


class Meet(Message, frozen=True):
    """Tell a player who the other one is."""

    peer: Any


class Sink(Actor):
    """Counts ticks; answers the asker of `Run` when all have come."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        self.done: Future[None] = Future()

    @handles(Run)
    async def run(self, message: Run) -> None:
        self.left = message.count
        self.done = Future()
        await self.done

    @handles(Tick)
    def tick(self, message: Tick) -> None:
        self.left -= 1
        if self.left == 0:
            self.done.resolve(None)

    @handles(Ask)
    def answer(self, message: Ask) -> int:
        return message.number + 1


class Source(Actor):
    """Tells a sink all its messages in one go."""

    def __init__(self, *sinks: Ref) -> None:
        super().__init__()
        self.sinks = sinks

    @handles(Run)
    def run(self, message: Run) -> None:
        tick = Tick(0)
        for sink in self.sinks:
            tell = sink.tell
            for _ in range(message.count // len(self.sinks)):
                tell(tick)


class Asker(Actor):
    """Asks one question after the other."""

    def __init__(self, sink: Ref) -> None:
        super().__init__()
        self.sink = sink

    @handles(Run)
    async def run(self, message: Run) -> None:
        for number in range(message.count):
            await self.ask(self.sink, Ask(number))


class Pinger(Actor):
    """Plays one ball back and forth with its peer."""

    def __init__(self) -> None:
        super().__init__()
        self.peer: Ref | None = None
        self.done: Future[None] = Future()

    @handles(Run)
    async def run(self, message: Run) -> None:
        self.done = Future()
        assert self.peer is not None
        self.peer.tell(Tick(message.count))
        await self.done

    @handles(Meet)
    def meet(self, message: Meet) -> None:
        self.peer = message.peer

    @handles(Tick)
    def tick(self, message: Tick) -> None:
        if message.left:
            assert self.peer is not None
            self.peer.tell(Tick(message.left - 1))
        else:
            self.done.resolve(None)


def rate(count: int, action: Callable[[], Any]) -> float:
    """`count` per second of `action()`; garbage is collected before, not during."""
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    action()
    elapsed = time.perf_counter() - start
    gc.enable()
    return count / elapsed


def best(times: int, measure: Callable[[], float]) -> float:
    """The best of some samples: noise only ever slows down."""
    return max(measure() for _ in range(times))


class Ours:
    """The measurements on a LiveSystem."""

    def __init__(self) -> None:
        self.system = LiveSystem("bench").start_thread()
        self.made = 0

    def close(self) -> None:
        self.system.shutdown()

    def spawn(self, factory: Callable[[], Actor]) -> Ref:
        self.made += 1
        return self.system.spawn(Child(f"actor-{self.made}", factory))

    def tell(self, count: int) -> float:
        sink = self.spawn(Sink)
        source = self.spawn(lambda: Source(sink))

        def action() -> None:
            done = sink.ask(Run(count), block=False)
            source.tell(Run(count))
            done.get(timeout=60)

        return rate(count, action)

    def fan_in(self, count: int, senders: int) -> float:
        sink = self.spawn(Sink)
        sources = [self.spawn(lambda: Source(sink)) for _ in range(senders)]

        def action() -> None:
            done = sink.ask(Run(count), block=False)
            for source in sources:
                source.tell(Run(count // senders))
            done.get(timeout=60)

        return rate(count, action)

    def fan_out(self, count: int, receivers: int) -> float:
        sinks = [self.spawn(Sink) for _ in range(receivers)]
        source = self.spawn(lambda: Source(*sinks))

        def action() -> None:
            done = [sink.ask(Run(count // receivers), block=False) for sink in sinks]
            source.tell(Run(count))
            for future in done:
                future.get(timeout=60)

        return rate(count, action)

    def ask(self, count: int) -> float:
        sink = self.spawn(Sink)
        asker = self.spawn(lambda: Asker(sink))
        return rate(count, lambda: asker.ask(Run(count), timeout=60))

    def ping_pong(self, count: int) -> float:
        left, right = self.spawn(Pinger), self.spawn(Pinger)
        for ref, peer in ((left, right), (right, left)):
            ref.ask(Meet(peer))
        # Odd, so that the ball comes to rest where it started.
        return rate(count, lambda: left.ask(Run(count | 1), timeout=60))

    def create(self, count: int) -> float:
        refs: list[Ref] = []

        def action() -> None:
            self.system.call(lambda: refs.extend(self.spawn(Sink) for _ in range(count)))
            refs[-1].ask(Ask(0))

        result = rate(count, action)
        for ref in refs:
            ref.stop(block=False)
        self.system.call(lambda: None)
        return result

    def bytes_per_actor(self, count: int) -> float:
        """Resident bytes that one more live actor costs, and its first message with it."""
        gc.collect()
        before = resident_bytes()
        refs: list[Ref] = []
        self.system.call(lambda: refs.extend(self.spawn(Sink) for _ in range(count)))
        for ref in refs:
            ref.tell(Tick(0))
        refs[-1].ask(Ask(0))
        return (resident_bytes() - before) / count


def resident_bytes() -> int:
    """The process's resident memory."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class ThreadSink(pykka.ThreadingActor):
    """`Sink` on Pykka's threads."""

    use_daemon_thread = True

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        self.done: Any = None
        self.peer: Any = None

    def on_receive(self, message: Any) -> Any:
        if type(message) is Tick:
            if self.peer is not None:
                if message.left:
                    self.peer.tell(Tick(message.left - 1))
                else:
                    self.done.set(None)
                return None
            self.left -= 1
            if self.left == 0:
                self.done.set(None)
            return None
        if type(message) is Ask:
            return message.number + 1
        self.left, self.done, self.peer = message
        return None


class ThreadSource(pykka.ThreadingActor):
    """`Source` and `Asker` on Pykka's threads."""

    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        kind, sinks, count = message
        if kind == "tell":
            tick = Tick(0)
            for sink in sinks:
                for _ in range(count // len(sinks)):
                    sink.tell(tick)
        else:
            for number in range(count):
                sinks[0].ask(Ask(number))


class Theirs:
    """The same on Pykka's own threads."""

    def close(self) -> None:
        pykka.ActorRegistry.stop_all(timeout=10)

    @staticmethod
    def _prepared(sink: Any, count: int, done: Any, peer: Any = None) -> Any:
        sink.ask((count, done, peer))
        return done

    def _flood(self, sources: list[Any], sinks: list[Any], count: int) -> float:
        per_sink = count // len(sinks)
        futures = [self._prepared(sink, per_sink, pykka.ThreadingFuture()) for sink in sinks]

        def action() -> None:
            for source in sources:
                source.tell(("tell", sinks, count // len(sources)))
            for future in futures:
                future.get(timeout=120)

        return rate(count, action)

    def tell(self, count: int) -> float:
        return self._flood([ThreadSource.start()], [ThreadSink.start()], count)

    def fan_in(self, count: int, senders: int) -> float:
        return self._flood([ThreadSource.start() for _ in range(senders)], [ThreadSink.start()], count)

    def fan_out(self, count: int, receivers: int) -> float:
        return self._flood([ThreadSource.start()], [ThreadSink.start() for _ in range(receivers)], count)

    def ask(self, count: int) -> float:
        sink, source = ThreadSink.start(), ThreadSource.start()
        return rate(count, lambda: source.ask(("ask", [sink], count), timeout=120))

    def ping_pong(self, count: int) -> float:
        left, right = ThreadSink.start(), ThreadSink.start()
        done: Any = pykka.ThreadingFuture()
        self._prepared(left, 0, done, right)
        self._prepared(right, 0, done, left)

        def action() -> None:
            right.tell(Tick(count))
            done.get(timeout=120)

        return rate(count, action)

    def create(self, count: int) -> float:
        refs: list[Any] = []

        def action() -> None:
            refs.extend(ThreadSink.start() for _ in range(count))
            refs[-1].ask(Ask(0))

        result = rate(count, action)
        for ref in reversed(refs):
            ref.stop(block=False)
        return result


def thespian_asks(count: int) -> float | None:
    """Asks per second of thespian's in-process base, where installed."""
    try:
        from thespian.actors import Actor as ThespianActor
        from thespian.actors import ActorSystem as ThespianSystem
    except ImportError:
        return None

    class Echo(ThespianActor):  # type: ignore[misc]
        def receiveMessage(self, message: Any, sender: Any) -> None:
            if isinstance(message, int):
                self.send(sender, message + 1)

    system = ThespianSystem("simpleSystemBase")
    try:
        echo = system.createActor(Echo)

        def action() -> None:
            for number in range(count):
                system.ask(echo, number, 5)

        return rate(count, action)
    finally:
        system.shutdown()


def main(argv: Sequence[str]) -> int:
    """Run the benchmark; answers the exit status."""
    options = arguments("messages", argv)
    scale = 1 if options.quick else 4
    rounds = 2 if options.quick else 4
    n, m = 100_000 * scale, 5_000 * scale
    ours, theirs = Ours(), Theirs()
    try:
        results = [
            Comparison(
                "tell", "messages/s", best(rounds, lambda: ours.tell(n)), best(rounds, lambda: theirs.tell(m * 4)), PEER
            ),
            Comparison(
                "ping-pong",
                "messages/s",
                best(rounds, lambda: ours.ping_pong(n)),
                best(rounds, lambda: theirs.ping_pong(m)),
                PEER,
            ),
            Comparison("ask", "asks/s", best(rounds, lambda: ours.ask(n)), best(rounds, lambda: theirs.ask(m)), PEER),
            Comparison(
                "fan-in, 100 to 1",
                "messages/s",
                best(rounds, lambda: ours.fan_in(n, 100)),
                best(rounds, lambda: theirs.fan_in(m * 4, 100)),
                PEER,
            ),
            Comparison(
                "fan-out, 1 to 100",
                "messages/s",
                best(rounds, lambda: ours.fan_out(n, 100)),
                best(rounds, lambda: theirs.fan_out(m * 4, 100)),
                PEER,
            ),
            Comparison(
                "creation",
                "actors/s",
                best(2, lambda: ours.create(5_000 * scale)),
                best(2, lambda: theirs.create(1_000)),
                PEER,
            ),
        ]
        asks = thespian_asks(m)
        if asks is not None:
            results.append(Comparison("ask", "asks/s", results[2].ours, asks, "thespian simpleSystemBase"))
        memory = Ours()
        live = 20_000 if options.quick else 100_000
        results.append(
            Comparison(
                f"memory, {live:,} live actors", "bytes/actor", memory.bytes_per_actor(live), lower_is_better=True
            )
        )
        memory.close()
        sizes = [1, 10, 100, 1_000]
        growth = Series(
            "fan-out", "messages/s", "receivers", [float(s) for s in sizes], [ours.fan_out(n, s) for s in sizes]
        )
    finally:
        ours.close()
        theirs.close()
    return finish("messages", results, options, [growth])
