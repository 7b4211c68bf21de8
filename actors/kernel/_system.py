"""The world that actors live in: names, the tree, time, chance and dead letters.

`ActorSystem` is what `LiveSystem` and `Simulation` share. There is one per cluster, and no state
outside of it, so that many clusters live side by side in one process.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from actors.kernel._actor import Actor
from actors.kernel._cell import Cell
from actors.kernel._clock import Clock, HostClock, Timer, Timers
from actors.kernel._future import Future
from actors.kernel._letters import Stats
from actors.kernel._life import Life
from actors.kernel._log import get_logger
from actors.kernel._ref import Ref
from actors.kernel._speaker import Speaker
from actors.kernel._supervision import Child, Restart
from actors.kernel._task import Task
from actors.kernel._trace import DeadLetter, Tracer

__all__ = ["ActorSystem"]

KEPT_DEAD_LETTERS = 100


class _Guardian(Actor):
    """The actor at the root: it hosts coroutines that belong to no component."""


class ActorSystem:
    """A tree of actors with one clock, one seeded random source and one registry of names."""

    cell_class: type[Cell] = Cell

    def __init__(self, name: str, clock: Clock, seed: int | str | None, tracer: Tracer | None = None) -> None:
        self.name = name
        self.clock = clock
        self.world: dict[str, Any] = {}
        """What the simulated world is like (`protocol.conditions`); empty when all is well."""
        self.host_clocks: dict[str, HostClock] = {}
        self.random = random.Random(seed)
        self.timers = Timers(clock)
        self.tracer = tracer
        if tracer is not None:
            tracer.bind(clock.now)
        self.actors: dict[str, Cell] = {}
        self.log = get_logger(system=name)
        self.dead_letters: deque[DeadLetter] = deque(maxlen=KEPT_DEAD_LETTERS)
        self.dead_letter_count = 0
        self.speaker = Speaker()
        self.failure: BaseException | None = None
        self.on_failed: Callable[[BaseException], None] | None = None
        self._guardian = self._make_cell(Child("root", _Guardian, restart=Restart.TEMPORARY), None, "local")

    def load(self) -> float:
        """The share of the last tenth of a second or so in which somebody had mail, from 0 to 1; in virtual
        time nobody is ever busy."""
        return 0.0

    # -- The tree ------------------------------------------------------------------------------

    def spawn(self, child: Child, parent: Cell | None = None, host: str | None = None) -> Ref:
        """Start an actor under `parent` (a component of the system itself by default).

        Raises: ValueError when the parent has a living child of that name.
        """
        cell = self._make_cell(child, parent, host)
        cell.start()
        return cell

    def _make_cell(self, child: Child, parent: Cell | None, host: str | None) -> Cell:
        if parent is None and child.name != "root":
            path = child.name
        else:
            path = child.name if parent is None else f"{parent.actor_urn}/{child.name}"
        if path in self.actors:
            raise ValueError(f"an actor named {path!r} exists already")
        if host is None:
            host = parent.host if parent is not None else "local"
        cell = self.cell_class(self, path, child, parent, host)
        if parent is not None:
            if parent.children is None:
                parent.children = {}
            parent.children[child.name] = cell
        self.actors[path] = cell
        return cell

    def clock_of(self, host: str) -> Clock:
        """The clock on a host: that of the system until it is skewed."""
        clock = self.host_clocks.get(host)
        if clock is None:
            clock = self.host_clocks[host] = HostClock(self.clock)
        return clock

    def skew(self, host: str, seconds: float) -> None:
        """The wall clock of `host` is `seconds` ahead of all others (below 0: behind). Timers go on
        as they are: it is the reading that is wrong, not its speed."""
        self.clock_of(host)
        self.host_clocks[host].skew_s = seconds

    def forget(self, cell: Life) -> None:
        """The kernel's own call: `cell` is dead, its name is free."""
        if self.actors.get(cell.actor_urn) is cell:
            del self.actors[cell.actor_urn]

    def kill(self, ref: Ref) -> None:
        """The actor and its children die at once and for good, without clean-up. On the
        dispatcher's thread only."""
        assert isinstance(ref, Cell)
        ref.terminate()

    def lookup(self, path: str) -> Ref | None:
        """The actor with this path, if it lives."""
        return self.actors.get(path)

    def statistics(self) -> list[Stats]:
        """What every actor is doing, in the order in which they were started."""
        return [cell.statistics() for cell in list(self.actors.values())]

    # -- Running -------------------------------------------------------------------------------

    def ready(self, cell: Cell) -> None:
        """`cell` has mail: give it a turn. Any thread may call this."""
        raise NotImplementedError

    def wait_for(self, future: Future[Any], timeout: float | None = None) -> Any:
        """From outside the system: wait (seconds of its clock) for a future's value."""
        raise NotImplementedError

    def after(self, delay_s: float, callback: Callable[[], Any]) -> Timer:
        """Call `callback()` on the dispatcher in `delay_s` seconds."""
        return self.timers.after(delay_s, callback)

    def start(self, coro: Any) -> Future[Any]:
        """Run a coroutine that belongs to no component, on the dispatcher's thread."""
        future: Future[Any] = Future()
        self._guardian.deliver(Task(self._guardian, coro, future.resolve, future.fail))
        return future

    def move_to_thread(self, cell: Life) -> bool:
        """Give a blocking actor a thread of its own; answers whether this system has threads."""
        return False

    def failed(self, error: BaseException) -> None:
        """A component at the top crashed more often than allowed: the system has failed."""
        if self.failure is None:
            self.failure = error
            self.log.critical("system_failed", error=str(error), exc_info=error)
            if self.on_failed is not None:
                self.on_failed(error)

    def dead_letter(self, receiver: Ref, message: Any, why: str = "dead") -> None:
        """Note a message that nobody will handle."""
        self.dead_letter_count += 1
        self.dead_letters.append(DeadLetter(receiver.actor_urn, message, why))
        if self.tracer is not None:
            self.tracer.dead_letter(receiver.actor_urn, message, why)
