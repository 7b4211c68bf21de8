"""Who moves the clock of a live system that has a virtual one.

Time moves from one timer to the next, and only when everything is quiet: no actor has mail, no
exchange with the outside is under way, and since bytes last moved the outside has had `grace_s`
real seconds to answer. So an operator in another process sees each moment in its turn, as it would
on a fast machine. An exchange that itself waits for time to pass (a slow answer) holds the clock
for `PATIENCE_S` real seconds at most.

After trio's MockClock (`autojump_threshold`). It must never run on a thread but the loop's.
"""

from __future__ import annotations

import asyncio
import time

from actors.kernel._clock import VirtualClock
from actors.kernel._live import LiveSystem

__all__ = ["TimeKeeper"]

GRACE_S = 0.02
PATIENCE_S = 0.2
THREAD_POLL_S = 0.0002


class TimeKeeper:
    """Moves the `VirtualClock` of `system`. Raises: TypeError for a system with another clock."""

    def __init__(self, system: LiveSystem, grace_s: float = GRACE_S) -> None:
        if not isinstance(system.clock, VirtualClock):
            raise TypeError("only a virtual clock can be moved")
        self.system = system
        self.clock = system.clock
        self.grace_s = grace_s
        self._excused = 0  # exchanges that wait for time to pass, and end with it
        self._auto: asyncio.Task[None] | None = None
        self._moving = asyncio.Lock()
        self._seen_moves = 0

    @property
    def is_auto(self) -> bool:
        """Whether time moves by itself."""
        return self._auto is not None

    # -- For other threads ---------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, with all that happens in them."""
        if seconds < 0:
            raise ValueError("time moves forwards only")
        self._run(self.pass_time(seconds))

    def auto_advance(self, on: bool) -> None:
        """Move to the next timer whenever everything is quiet, until told otherwise."""
        self._run(self.set_auto(on))

    def patiently(self, virtual_s: float, real_s: float, after_s: float = 0.0) -> asyncio.Task[None]:
        """Let up to `virtual_s` seconds pass while somebody waits, and the last moment of them
        only when `real_s` real seconds have passed too: others may not be that fast. Begins after
        `after_s` real seconds, ends when cancelled (`end`)."""

        async def begin() -> asyncio.Task[None]:
            return asyncio.get_running_loop().create_task(self._patiently(virtual_s, real_s, after_s))

        task: asyncio.Task[None] = asyncio.run_coroutine_threadsafe(begin(), self.system.loop).result()
        return task

    def end(self, task: asyncio.Task[None]) -> None:
        """Whoever waited has what he waited for."""
        self.system.loop.call_soon_threadsafe(task.cancel)

    def _run(self, coro: object) -> None:
        asyncio.run_coroutine_threadsafe(coro, self.system.loop).result()  # type: ignore[arg-type]

    # -- On the loop ---------------------------------------------------------------------------

    async def set_auto(self, on: bool) -> None:
        """As `auto_advance`, on the loop."""
        if on and self._auto is None:
            self._auto = asyncio.get_running_loop().create_task(self._automatically())
        elif not on and self._auto is not None:
            auto, self._auto = self._auto, None
            auto.cancel()
            await asyncio.gather(auto, return_exceptions=True)

    async def _automatically(self) -> None:
        while True:
            async with self._moving:
                await self.quiet(always_grace=self.system.activity.connections > 0)
                moved = self._jump(float("inf"))
            await asyncio.sleep(0.0 if moved else self.grace_s)

    async def pass_time(self, seconds: float, *, excused: int = 0) -> None:
        """As `advance`, on the loop. `excused` exchanges under way are answered when this returns, so
        that time does not wait for them."""
        self._excused += excused
        try:
            async with self._moving:
                end = self.clock.monotonic() + seconds
                await self._move_until(end)
                self.clock.jump_to(end)
        finally:
            self._excused -= excused

    async def _move_until(self, end: float) -> None:
        await self.quiet()
        while self._jump(end):
            await self.quiet()

    async def _patiently(self, virtual_s: float, real_s: float, after_s: float) -> None:
        started = time.monotonic()
        await asyncio.sleep(after_s)
        async with self._moving:
            end = self.clock.monotonic() + virtual_s
            await self._move_until(end - 0.001)
            left = real_s - (time.monotonic() - started)
            await asyncio.sleep(max(0.0, left))
            await self._move_until(end + 0.001)

    def _jump(self, limit: float) -> bool:
        """Move to the next timer if it is due by `limit`, and fire it."""
        deadline = self.system.timers.next_deadline()
        if deadline is None or deadline > limit:
            return False
        self.clock.jump_to(max(deadline, self.clock.monotonic()))
        self.system.fire()
        return True

    async def quiet(self, *, always_grace: bool = False) -> None:
        """Return when nothing moves, inside or between here and the outside."""
        system, activity = self.system, self.system.activity
        pending_since: float | None = None
        while True:
            if system.is_busy():
                await asyncio.sleep(0.0 if system._awake else THREAD_POLL_S)
                continue
            seen = activity.moves
            await asyncio.sleep(0.0)  # the loop looks at its sockets
            await asyncio.sleep(0.0)
            if system.is_busy() or activity.moves != seen:
                pending_since = None
                continue
            if activity.pending > self._excused:
                now = time.monotonic()
                pending_since = pending_since or now
                if now - pending_since < PATIENCE_S:
                    await asyncio.sleep(0.001)
                    continue
            if always_grace or self._seen_moves != seen:
                await asyncio.sleep(self.grace_s)
                if system.is_busy() or activity.moves != seen:
                    pending_since = None
                    continue
                self._seen_moves = seen
            return
