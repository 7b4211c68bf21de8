"""The clock of a cluster, as a test moves it: one interface for live and simulated clusters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from actors.kernel import AcceleratedClock, ActorSystem, Clock, LiveSystem, Simulation, TimeKeeper, VirtualClock

__all__ = ["ClusterClock", "make_clock"]


def make_clock(choice: str | float, now: float) -> Clock | None:
    """The clock that is meant by `real` (None), `virtual` (standing at `now`) or a factor.

    Raises: ValueError.
    """
    if choice == "real":
        return None
    if choice == "virtual":
        return VirtualClock(now)
    try:
        return AcceleratedClock(float(choice))
    except ValueError:
        raise ValueError(f"a clock is real, virtual, or how many times faster it runs, not {choice!r}") from None


class ClusterClock:
    """`now()` tells the time; `advance` and `auto_advance` move it where it is virtual."""

    def __init__(self, system: ActorSystem) -> None:
        self._system = system
        self._keeper: TimeKeeper | None = None
        if isinstance(system, LiveSystem) and isinstance(system.clock, VirtualClock):
            self._keeper = TimeKeeper(system)

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._system.clock.now()

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._system.clock.monotonic()

    def advance(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0) -> None:
        """Let time pass, with all that happens in it; returns when everything is quiet.

        Raises: TypeError for a clock that cannot be moved.
        """
        total = seconds + 60.0 * minutes + 3600.0 * hours + 86400.0 * days
        if isinstance(self._system, Simulation):
            self._system.advance(total)
        else:
            self._mover().advance(total)

    def auto_advance(self, on: bool = True) -> None:
        """Let time jump to what is due next whenever everything is quiet, until told otherwise. A
        simulation does so by itself, whenever something is waited for."""
        if not isinstance(self._system, Simulation):
            self._mover().auto_advance(on)

    def _mover(self) -> TimeKeeper:
        if self._keeper is None:
            raise TypeError('this cluster has no clock that can be moved: make it with Cluster(clock="virtual")')
        return self._keeper

    @contextmanager
    def waiting(self, seconds: float, after_s: float = 0.0) -> Iterator[None]:
        """While somebody waits (more than `after_s` real seconds), a clock that stands still moves
        by up to so many seconds."""
        keeper = self._keeper
        if keeper is None or keeper.is_auto:
            yield
            return
        task = keeper.patiently(seconds, seconds, after_s)
        try:
            yield
        finally:
            keeper.end(task)
