"""The waits between restarts of what keeps failing.

Owns the arithmetic of upstream's `flowcontrol.Backoff`: the first failure starts at once, then
10 s, doubled each time up to 300 s; after twice the maximum without a failure it starts anew.
"""

from __future__ import annotations

__all__ = ["Backoff"]


class Backoff:
    """One per pod; keys are containers or images. All times are seconds of one clock."""

    __slots__ = ("entries", "initial_s", "max_s")

    def __init__(self, initial_s: float = 10.0, max_s: float = 300.0) -> None:
        self.initial_s = initial_s
        self.max_s = max_s
        self.entries: dict[str, tuple[float, float]] = {}

    def wait_s(self, key: str, since: float, now: float) -> float:
        """The seconds that are left at `now` of the wait that began at `since`; 0 if none."""
        entry = self.entries.get(key)
        if entry is None or since - entry[1] > 2 * self.max_s:
            return 0.0
        return max(0.0, since + entry[0] - now)

    def current_s(self, key: str) -> float:
        """The wait as it stands."""
        return self.entries.get(key, (0.0, 0.0))[0]

    def advance(self, key: str, at: float) -> None:
        """It is tried again at `at`: the next wait is longer."""
        entry = self.entries.get(key)
        if entry is None or at - entry[1] > 2 * self.max_s:
            self.entries[key] = (self.initial_s, at)
        else:
            self.entries[key] = (min(entry[0] * 2, self.max_s), at)
