"""The work queue: keys that want reconciling, each once, never two of one key at a time.

Owns deduplication, delays and back-off, as client-go's `util/workqueue` has them. It runs nothing
and has no clock of its own; its owner asks for the next key and says when it is done with one.

    add(a) add(b) add(a)        queue: a b
    get() -> a; add(a)          queue: b        a is being processed, and dirty
    done(a)                     queue: b a
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Backoff", "WorkQueue"]

BASE_DELAY_S = 0.005
MAX_DELAY_S = 1000.0
HANDED_OUT_MAX = 4096


class Backoff:
    """Delays that double from `base_s` to `max_s`, each with up to as much again at random."""

    def __init__(self, base_s: float, max_s: float) -> None:
        self.base_s = base_s
        self.max_s = max_s
        self._failures = 0

    def next_s(self, source: random.Random) -> float:
        """The next delay in seconds."""
        delay_s = min(self.base_s * 2**self._failures, self.max_s)
        self._failures = min(self._failures + 1, 60)
        return delay_s * (1.0 + source.random())

    def reset(self) -> None:
        """Begin at `base_s` again."""
        self._failures = 0


class _Timer(Protocol):
    def cancel(self) -> Any: ...


class WorkQueue:
    """Keys waiting to be processed.

    `start_timer(delay_s, key)` is the owner's: after that time it calls `due(key)`. `wake()` is
    called when a key can be got. With `interval`, a key is not handed out again before
    `interval(key)` seconds have passed since it last was: bursts of changes of one object then
    cost one look at it.
    """

    def __init__(
        self,
        start_timer: Callable[[float, str], _Timer],
        now: Callable[[], float],
        wake: Callable[[], None],
        *,
        base_delay_s: float = BASE_DELAY_S,
        max_delay_s: float = MAX_DELAY_S,
        interval: Callable[[str], float] | None = None,
    ) -> None:
        self._start_timer = start_timer
        self._now = now
        self._wake = wake
        self._base_delay_s = base_delay_s
        self._max_delay_s = max_delay_s
        self._interval = interval
        self._queue: deque[str] = deque()
        self._dirty: set[str] = set()
        self._processing: set[str] = set()
        self._waiting: dict[str, tuple[float, _Timer]] = {}
        self._failures: dict[str, int] = {}
        self._handed_out: dict[str, float] = {}
        self._urgent: set[str] = set()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Whether nothing is queued, processed or dirty (delayed keys do not count)."""
        return not (self._queue or self._processing or self._dirty)

    def add(self, key: str, *, urgent: bool = False) -> None:
        """Want `key` processed, at once or after what is being done to it now; `urgent`: without
        the pause of `interval`."""
        if urgent and self._interval is not None:
            self._urgent.add(key)
        if key in self._dirty:
            return
        if self._interval is not None and key not in self._processing and key not in self._urgent:
            at = self._handed_out.get(key)
            if at is not None:
                rest_s = at + self._interval(key) - self._now()
                if rest_s > 0.0:
                    self.add_after(key, rest_s)
                    return
        self._admit(key)

    def add_after(self, key: str, delay_s: float) -> None:
        """Want `key` processed in `delay_s` seconds; of several delays the shortest counts."""
        if delay_s <= 0:
            self._admit(key)
            return
        ready_at = self._now() + delay_s
        waiting = self._waiting.get(key)
        if waiting is not None:
            if waiting[0] <= ready_at:
                return
            waiting[1].cancel()
        self._waiting[key] = (ready_at, self._start_timer(delay_s, key))

    def add_rate_limited(self, key: str) -> None:
        """Want `key` processed again after a failure: in 5 ms, then 10 ms, ... up to 1000 s."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(self._base_delay_s * 2 ** min(failures, 40), self._max_delay_s))

    def failures(self, key: str) -> int:
        """How often `key` was added after a failure since it was last forgotten."""
        return self._failures.get(key, 0)

    def forget(self, key: str) -> None:
        """`key` was processed well: its next failure counts as the first."""
        self._failures.pop(key, None)

    def due(self, key: str) -> None:
        """The timer of a delayed key has run out."""
        if self._waiting.pop(key, None) is not None:
            self._admit(key)

    def get(self) -> str | None:
        """The next key to process, or None. Say `done` afterwards."""
        if not self._queue:
            return None
        key = self._queue.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        if self._interval is not None:
            self._urgent.discard(key)
            self._note_handed_out(key)
        return key

    def done(self, key: str) -> None:
        """`key` has been processed; if it was added meanwhile it is queued again."""
        self._processing.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)

    def _admit(self, key: str) -> None:
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._queue.append(key)
            self._wake()

    def _note_handed_out(self, key: str) -> None:
        now = self._now()
        if len(self._handed_out) > HANDED_OUT_MAX:
            # What was handed out longest ago (dicts keep order) has had its pause.
            for old in list(self._handed_out)[: HANDED_OUT_MAX // 2]:
                del self._handed_out[old]
        self._handed_out.pop(key, None)
        self._handed_out[key] = now

    def statistics(self) -> dict[str, int]:
        """How many keys are queued, being processed, delayed and failing."""
        return {
            "queued": len(self._queue),
            "processing": len(self._processing),
            "delayed": len(self._waiting),
            "failing": len(self._failures),
        }
