"""Time as a service: clocks and timers.

Components read `self.clock` and set timers; no component asks `time`. A live system reads the
machine's clock; a simulation owns a virtual one that only moves when somebody moves it, and never
backwards (after trio's MockClock).
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

__all__ = ["AcceleratedClock", "Clock", "HostClock", "LiveClock", "Timer", "Timers", "VirtualClock"]

SIMULATION_EPOCH_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z: where every simulation starts


class Clock:
    """What the time is. `now` is in seconds since the Unix epoch, `monotonic` in seconds since
    an arbitrary start and never steps back."""

    def now(self) -> float:
        raise NotImplementedError

    def monotonic(self) -> float:
        raise NotImplementedError

    def real_s(self, seconds: float) -> float | None:
        """How many seconds of the machine pass while `seconds` of this clock do; None when it
        moves only by being moved."""
        return seconds

    def rfc3339(self) -> str:
        """Now, to the second, as Kubernetes writes a metav1.Time: `2026-01-02T03:04:05Z`."""
        return rfc3339(self.now())

    def rfc3339_micro(self) -> str:
        """Now as a metav1.MicroTime: `2026-01-02T03:04:05.000006Z`."""
        return rfc3339_micro(self.now())


_last_second = (-1, "")


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as a metav1.Time."""
    global _last_second
    whole = int(seconds)
    cached = _last_second
    if cached[0] == whole:  # most objects of a burst share their second
        return cached[1]
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    _last_second = (whole, text)
    return text


def rfc3339_micro(seconds: float) -> str:
    """Seconds since the epoch as a metav1.MicroTime."""
    micros = round(seconds * 1_000_000)
    return f"{rfc3339(micros // 1_000_000)[:-1]}.{micros % 1_000_000:06d}Z"


class LiveClock(Clock):
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class AcceleratedClock(Clock):
    """The machine's clock, `factor` times as fast from the moment at which it is made."""

    def __init__(self, factor: float) -> None:
        if not 0.0 < factor <= 100_000.0:
            raise ValueError("a clock runs between 0 and 100,000 times as fast as the machine's")
        self.factor = factor
        self._epoch_s = time.time()
        self._start_s = time.monotonic()

    def now(self) -> float:
        return self._epoch_s + (time.monotonic() - self._start_s) * self.factor

    def monotonic(self) -> float:
        return (time.monotonic() - self._start_s) * self.factor

    def real_s(self, seconds: float) -> float | None:
        return seconds / self.factor


class HostClock(Clock):
    """The clock on one host: the system's, with a wall time that may be `skew_s` seconds ahead."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.skew_s = 0.0

    def now(self) -> float:
        return self._clock.now() + self.skew_s

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def real_s(self, seconds: float) -> float | None:
        return self._clock.real_s(seconds)


class VirtualClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self, epoch_s: float = SIMULATION_EPOCH_S) -> None:
        self._epoch_s = epoch_s
        self._elapsed_s = 0.0

    def now(self) -> float:
        return self._epoch_s + self._elapsed_s

    def monotonic(self) -> float:
        return self._elapsed_s

    def real_s(self, seconds: float) -> float | None:
        return None

    def jump_to(self, monotonic_s: float) -> None:
        """Move to `monotonic_s`. Raises ValueError for a time that has passed."""
        if monotonic_s < self._elapsed_s:
            raise ValueError("time moves forwards only")
        self._elapsed_s = monotonic_s


class Timer:
    """One callback due at `deadline` (seconds of the clock's `monotonic`)."""

    __slots__ = ("_timers", "callback", "deadline")

    def __init__(self, timers: Timers, deadline: float, callback: Callable[[], Any]) -> None:
        self._timers = timers
        self.deadline = deadline
        self.callback: Callable[[], Any] | None = callback

    def cancel(self) -> None:
        """Never fire. Harmless when fired or cancelled already."""
        if self.callback is not None:
            self.callback = None
            self._timers.forget()


class Timers:
    """The pending timers of one system, earliest first; equal deadlines fire in order of their
    making. Cancelled ones stay in the heap until they are half of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Timer]] = []
        self._made = 0
        self._cancelled = 0
        self._lock = threading.Lock()  # actors on threads of their own set timers too

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def after(self, delay_s: float, callback: Callable[[], Any]) -> Timer:
        """Call `callback()` in `delay_s` seconds."""
        timer = Timer(self, self._clock.monotonic() + max(delay_s, 0.0), callback)
        with self._lock:
            self._made += 1
            heapq.heappush(self._heap, (timer.deadline, self._made, timer))
        return timer

    def forget(self) -> None:
        """A timer was cancelled: rebuild the heap when most of it is dead."""
        with self._lock:
            self._cancelled += 1
            if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
                self._heap[:] = [entry for entry in self._heap if entry[2].callback is not None]
                heapq.heapify(self._heap)
                self._cancelled = 0

    def next_deadline(self) -> float | None:
        """When the earliest timer is due, in `monotonic` seconds, or None."""
        heap = self._heap
        with self._lock:
            while heap and heap[0][2].callback is None:
                heapq.heappop(heap)
                self._cancelled -= 1
            return heap[0][0] if heap else None

    def fire_due(self, limit: int | None = None) -> int:
        """Call what is due by now (at most `limit`); answers how many were called."""
        now = self._clock.monotonic()
        heap = self._heap
        fired = 0
        while limit is None or fired < limit:
            with self._lock:
                if not heap or heap[0][0] > now:
                    break
                timer = heapq.heappop(heap)[2]
                callback = timer.callback
                if callback is None:
                    self._cancelled -= 1
                    continue
                timer.callback = None
            fired += 1
            callback()
        return fired
