"""A system in virtual time whose every choice comes from a seed.

    sim = Simulation(seed=7)
    web = sim.spawn(Child("web", Web), host="node-1")
    sim.partition("node-1", "control-plane")
    sim.advance(40.0)                       # forty virtual seconds, as fast as the code runs
    sim.heal()
    sim.run(until=lambda: converged(), timeout_s=60)

One message is handled at a time. Which of the actors that have mail is next is drawn from the
seed (or from `choose`, so that Hypothesis can draw and shrink it). When nobody has mail, the
clock jumps to the next timer. The same seed gives the same run; `digest()` is its fingerprint.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

import pykka

from actors.kernel._cell import Cell
from actors.kernel._clock import SIMULATION_EPOCH_S, VirtualClock
from actors.kernel._future import Future, set_dispatching
from actors.kernel._life import Life
from actors.kernel._links import Link, Links
from actors.kernel._observed import ObservedCell
from actors.kernel._ref import Ref
from actors.kernel._supervision import Child
from actors.kernel._system import ActorSystem
from actors.kernel._trace import Tracer

__all__ = ["Simulation", "Stuck"]


class Stuck(AssertionError):
    """A condition did not come true within its virtual time; the text names the seed."""


class Simulation(ActorSystem):
    """See the module."""

    cell_class = ObservedCell

    def __init__(
        self,
        seed: int = 0,
        *,
        name: str = "simulation",
        choose: Callable[[int], int] | None = None,
        tracer: Tracer | None = None,
        epoch_s: float = SIMULATION_EPOCH_S,
    ) -> None:
        self.seed = seed
        self._runnable: list[Cell] = []
        self._paused: dict[Life, None] = {}
        self._order = random.Random(f"order {seed}")
        self._choose = choose or self._order.randrange
        self.links = Links(random.Random(f"links {seed}"))
        self.steps = 0
        self._digest = hashlib.blake2b(digest_size=16)
        super().__init__(name, VirtualClock(epoch_s), f"system {seed}", tracer)

    # -- Steps ---------------------------------------------------------------------------------

    def ready(self, cell: Cell) -> None:
        self._runnable.append(cell)

    def step(self) -> bool:
        """Let one actor handle one message; False when nobody has mail."""
        runnable = self._runnable
        while runnable:
            count = len(runnable)
            index = self._choose(count) if count > 1 else 0
            cell = runnable[index]
            runnable[index] = runnable[-1]
            runnable.pop()
            if cell in self._paused:
                self._paused[cell] = None
                cell.scheduled = False
                continue
            self.steps += 1
            self._digest.update(f"{self.clock.monotonic():.6f} {cell.actor_urn}\n".encode())
            set_dispatching(True)
            try:
                cell.run(1)
            finally:
                set_dispatching(False)
            return True
        return False

    def run_until_idle(self, max_steps: int = 10_000_000) -> None:
        """Handle all mail; time stands still."""
        for _ in range(max_steps):
            if not self.step():
                return
        raise Stuck(f"still busy after {max_steps} messages at one instant (seed {self.seed})")

    def _jump(self, limit: float) -> bool:
        """Move to the next timer if it is due by `limit`, and fire it."""
        deadline = self.timers.next_deadline()
        if deadline is None or deadline > limit:
            return False
        assert isinstance(self.clock, VirtualClock)
        self.clock.jump_to(max(deadline, self.clock.monotonic()))
        set_dispatching(True)
        try:
            self.timers.fire_due()
        finally:
            set_dispatching(False)
        return True

    def advance(self, seconds: float) -> None:
        """Let `seconds` of virtual time pass, with all that happens in them."""
        assert isinstance(self.clock, VirtualClock)
        end = self.clock.monotonic() + seconds
        self.run_until_idle()
        while self._jump(end):
            self.run_until_idle()
        self.clock.jump_to(end)

    def run(self, until: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Go on until the condition holds; it is looked at after every message.

        Raises: `Stuck` when `timeout_s` virtual seconds pass first.
        """
        end = self.clock.monotonic() + timeout_s
        while not until():
            if self.step():
                continue
            if not self._jump(end):
                raise Stuck(f"not within {timeout_s} virtual seconds (seed {self.seed}, step {self.steps})")

    def wait_for(self, future: Future[Any], timeout: float | None = None) -> Any:
        """Go on until the future is done; Raises `pykka.Timeout` after `timeout` virtual
        seconds (an hour by default)."""
        end = self.clock.monotonic() + (3600.0 if timeout is None else timeout)
        while not future.done:
            if not self.step() and not self._jump(end):
                raise pykka.Timeout(f"{timeout} virtual seconds (seed {self.seed})")
        return future.result()

    def ask(self, ref: Ref, message: Any, timeout: float | None = None) -> Any:
        """Ask from outside and go on until answered."""
        return ref.ask(message, timeout=timeout)

    def do(self, coro: Any, timeout: float | None = None) -> Any:
        """Run a coroutine that belongs to no component and go on until it returns."""
        return self.wait_for(self.start(coro), timeout)

    def digest(self) -> str:
        """A fingerprint of the run so far: which actor handled mail when."""
        return self._digest.hexdigest()

    # -- Faults --------------------------------------------------------------------------------

    def crash(self, ref: Ref, restart_after_s: float | None = 0.0) -> None:
        """Kill an actor and its children as if its process died: no clean-up, mail lost, asks
        failed. It is restarted in `restart_after_s` virtual seconds; None: never."""
        cell = self._cell(ref)
        if restart_after_s is None:
            cell.terminate()
            return
        cell._unwind(keep_mail=False)
        cell.restart_after(restart_after_s)

    def pause(self, ref: Ref) -> None:
        """The actor and its children handle no mail until resumed (a stopped process)."""
        for cell in self._subtree(self._cell(ref)):
            self._paused[cell] = None

    def resume(self, ref: Ref) -> None:
        """End a pause."""
        for cell in self._subtree(self._cell(ref)):
            if self._paused.pop(cell, self) is None:
                cell._reschedule()

    def link(self, a: str, b: str, delay: tuple[float, float] = (0.0, 0.0), drop: float = 0.0) -> None:
        """Messages between hosts `a` and `b` take `delay` seconds (least, most) and are lost with
        probability `drop`."""
        self.links.set(a, b, Link(delay[0], delay[1], drop))

    def partition(self, a: str, b: str | None = None) -> None:
        """Nothing passes between `a` and `b`; with `a` alone, between `a` and everyone."""
        if b is None:
            self.links.isolate(a)
        else:
            self.links.set(a, b, Link(cut=True))

    def heal(self) -> None:
        """All links are perfect again."""
        self.links.heal()

    def _cell(self, ref: Ref) -> Cell:
        assert isinstance(ref, Cell)
        return ref

    def _subtree(self, cell: Life) -> list[Life]:
        cells = [cell]
        for child in (cell.children or {}).values():
            cells.extend(self._subtree(child))
        return cells

    def spawn(self, child: Child, parent: Cell | None = None, host: str | None = None) -> Ref:
        return super().spawn(child, parent, host)
