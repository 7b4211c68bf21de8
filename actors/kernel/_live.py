"""A system on an asyncio loop: real clock, real sockets.

One thread runs the loop, and on it the dispatcher: whenever a mailbox has mail, cells take turns
for a slice of time, then the loop does its input and output. Sockets and asyncio code of the
components live on the same loop and reach actors by `ref.ask(...)`.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from actors.kernel import _gc
from actors.kernel._activity import Activity
from actors.kernel._cell import Cell
from actors.kernel._clock import Clock, LiveClock, Timer
from actors.kernel._errors import BlockingCall
from actors.kernel._faults import HeldCell, subtree
from actors.kernel._future import Future, on_dispatcher, set_dispatching
from actors.kernel._life import Life
from actors.kernel._links import Links
from actors.kernel._load import Load
from actors.kernel._observed import ObservedCell
from actors.kernel._ref import Ref
from actors.kernel._system import ActorSystem
from actors.kernel._thread import run_on_thread
from actors.kernel._trace import Tracer

__all__ = ["LiveSystem"]

SLICE_S = 0.002  # how long cells may run before the loop looks at its sockets
BLOCKED_S = 0.25  # one turn of one cell that takes longer is reported
TIDY_S = 0.25  # how long after the last mail garbage is looked for


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not built for this platform
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class LiveSystem(ActorSystem):
    """Actors on one loop thread. `start_thread()` runs it in the background, `run()` right here.

    With a `VirtualClock` time stands still until an `actors.kernel.TimeKeeper` moves it.
    """

    def __init__(
        self,
        name: str = "kubekka",
        *,
        seed: int | None = None,
        tracer: Tracer | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._runnable: deque[Cell] = deque()
        self._awake = False
        self._tidying = False
        self._load = Load(time.perf_counter())
        self._thread_id: int | None = None
        self._thread: threading.Thread | None = None
        self._armed: tuple[float, asyncio.TimerHandle] | None = None
        self.threads: list[threading.Thread] = []
        self._threaded: list[Cell] = []
        self.slow_turns: deque[tuple[str, float]] = deque(maxlen=100)
        self.activity = Activity()
        self.links: Links | None = None
        if tracer is not None:
            self.cell_class = ObservedCell
        self.loop = _new_loop()
        super().__init__(name, clock or LiveClock(), os.urandom(16).hex() if seed is None else seed, tracer)
        self._stopped = False

    # -- The loop ------------------------------------------------------------------------------

    def start_thread(self) -> LiveSystem:
        """Run the loop on a thread of its own; answers when it runs."""
        running = threading.Event()
        self._thread = threading.Thread(target=self._main, args=(running.set,), name=self.name, daemon=True)
        self._thread.start()
        running.wait()
        return self

    def run(self, until: Future[Any] | None = None) -> None:
        """Run the loop on the calling thread until `shutdown` or until the future is done."""
        if until is not None:
            until.add_callback(lambda _: self.loop.call_soon_threadsafe(self.loop.stop))
        self._main(lambda: None)

    def _main(self, running: Callable[[], Any]) -> None:
        self._thread_id = threading.get_ident()
        _gc.relax()
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(running)
        self._wake()
        try:
            self.loop.run_forever()
        finally:
            _gc.restore()
            self._thread_id = None

    def ready(self, cell: Cell) -> None:
        self._runnable.append(cell)
        if not self._awake:
            self._wake()

    def _wake(self) -> None:
        self._awake = True
        self._load.began(time.perf_counter())
        if threading.get_ident() == self._thread_id:
            self.loop.call_soon(self._drain)
        elif not self._stopped_or_closed():
            self.loop.call_soon_threadsafe(self._drain)

    def _stopped_or_closed(self) -> bool:
        return self.loop.is_closed()

    def _drain(self) -> None:
        """Give cells their turns until none has mail or the slice is used up."""
        runnable = self._runnable
        clock = time.perf_counter
        turn_start = clock()
        slice_end = turn_start + SLICE_S
        set_dispatching(True)
        try:
            while runnable:
                cell = runnable.popleft()
                cell.run()
                now = clock()
                if now - turn_start > BLOCKED_S:
                    self._slow(cell, now - turn_start)
                turn_start = now
                if now > slice_end:
                    break
        finally:
            set_dispatching(False)
        if runnable:
            self.loop.call_soon(self._drain)
        else:
            self._load.ended(clock())
            self._awake = False
            if runnable:  # mail from another thread between the check and the flag
                self._wake()
            elif not self._tidying and _gc.due():
                self._tidying = True
                self.loop.call_later(TIDY_S, self._tidy)
        self._arm()

    def load(self) -> float:
        return self._load.share(time.perf_counter())

    def _tidy(self) -> None:
        """Collect garbage if nobody has mail; otherwise see again later."""
        if self._awake:
            self.loop.call_later(TIDY_S, self._tidy)
            return
        self._tidying = False
        _gc.tidy()

    def _slow(self, cell: Cell, seconds: float) -> None:
        self.slow_turns.append((cell.actor_urn, seconds))
        self.log.warning("loop_blocked", actor=cell.actor_urn, seconds=round(seconds, 3))

    # -- Timers --------------------------------------------------------------------------------

    def after(self, delay_s: float, callback: Callable[[], Any]) -> Timer:
        timer = self.timers.after(delay_s, callback)
        if threading.get_ident() == self._thread_id:
            armed = self._armed
            if armed is None or timer.deadline < armed[0]:
                self._arm()
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._arm)
        return timer

    def _arm(self) -> None:
        """Have the loop call back when the earliest timer is due."""
        deadline = self.timers.next_deadline()
        if deadline is None:
            return
        if self._armed is not None:
            if self._armed[0] <= deadline:
                return
            self._armed[1].cancel()
        delay = max(deadline - self.clock.monotonic(), 0.0)
        real_s = self.clock.real_s(delay)
        if real_s is None:  # somebody moves the clock, and fires what is then due
            if delay > 0.0:
                return
            real_s = 0.0
        self._armed = (deadline, self.loop.call_later(real_s, self._fire))

    def fire(self) -> None:
        """Call the timers that are due. On the loop's thread."""
        if self._armed is not None:
            self._armed[1].cancel()
        self._fire()

    def is_busy(self) -> bool:
        """Whether an actor has mail to handle, here or on a thread of its own."""
        return self._awake or bool(self._runnable) or any(c.scheduled for c in self._threaded if c.is_alive())

    def observe(self) -> Links:
        """From now on messages pass links between hosts, as in a simulation: what faults need.
        Nothing is paid for it before. On the loop's thread."""
        if self.links is None:
            self.links = Links(random.Random(self.random.getrandbits(64)))
            self.cell_class = ObservedCell
            for cell in [self._guardian, *self.actors.values()]:
                if type(cell) is Cell:
                    cell.__class__ = ObservedCell  # adds methods alone
        return self.links

    def pause(self, ref: Ref) -> None:
        """The actor and its children handle no mail until resumed (a stopped process)."""
        self.observe()
        assert isinstance(ref, Cell)
        for cell in subtree(ref):
            cell.__class__ = HeldCell

    def resume(self, ref: Ref) -> None:
        """End a pause."""
        assert isinstance(ref, Cell)
        for cell in subtree(ref):
            if isinstance(cell, HeldCell):
                cell.__class__ = ObservedCell  # type: ignore[assignment]
                cell._reschedule()

    def _fire(self) -> None:
        self._armed = None
        set_dispatching(True)
        try:
            self.timers.fire_due(limit=1000)
        finally:
            set_dispatching(False)
        self._arm()

    # -- From outside --------------------------------------------------------------------------

    def call(self, function: Callable[[], Any]) -> Any:
        """Run `function()` on the loop thread as an actor would, and wait for what it returns (a
        kernel future or coroutine included). For code outside: the command line and tests."""
        outcome: Future[Any] = Future()

        def run() -> None:
            set_dispatching(True)
            try:
                result = function()
            except BaseException as error:
                outcome.fail(error)
                return
            finally:
                set_dispatching(False)
            if asyncio.iscoroutine(result):
                result = self.start(result)
            if isinstance(result, Future):
                result.add_callback(lambda f: outcome.fail(e) if (e := f.exception()) else outcome.resolve(f.result()))
            else:
                outcome.resolve(result)

        self.loop.call_soon_threadsafe(run)
        return outcome.get()

    def wait_for(self, future: Future[Any], timeout: float | None = None) -> Any:
        if threading.get_ident() == self._thread_id or on_dispatcher():
            raise BlockingCall("the loop's thread cannot wait for what only it can do")
        return future.get(timeout=timeout)

    def move_to_thread(self, cell: Life) -> bool:
        assert isinstance(cell, Cell)
        self._threaded = [c for c in self._threaded if c.is_alive() and c is not cell] + [cell]
        self.threads.append(run_on_thread(self, cell))
        return True

    def stop_actors(self) -> Future[None]:
        """Stop all components, last started first; done when the last has stopped."""
        return self.start(self._stop_components())

    async def _stop_components(self) -> None:
        components = [c for c in self.actors.values() if c.parent is None and c is not self._guardian]
        for cell in reversed(components):
            done = cell.request_stop()
            expiry = self.after(cell.spec.shutdown_s, partial(done.resolve, "late"))
            if await done == "late":
                cell.terminate()
            expiry.cancel()

    def failed(self, error: BaseException) -> None:
        """The system has failed: everything in it dies, so that whoever waits hears of it."""
        super().failed(error)
        self.after(0.0, self._kill_all)

    def _kill_all(self) -> None:
        for cell in list(self.actors.values()):
            if cell.parent is None and cell is not self._guardian:
                cell.terminate()

    def shutdown(self, timeout_s: float = 10.0) -> None:
        """Stop the actors, then the loop, then the threads. From outside the loop's thread."""
        if self._stopped:
            return
        self._stopped = True
        if self._thread_id is not None:
            done = self.stop_actors()
            try:
                done.get(timeout=timeout_s)
            finally:
                self.loop.call_soon_threadsafe(self.loop.stop)
        if self._thread is not None:
            self._thread.join(timeout_s)
        for thread in self.threads:
            thread.join(timeout_s)
        if not self.loop.is_running() and not self.loop.is_closed():
            self._close_loop()

    def _close_loop(self) -> None:
        pending = asyncio.all_tasks(self.loop)
        for task in pending:
            task.cancel()
        if pending:
            self.loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
