"""How busy a dispatcher is: the share of time in which somebody has mail.

Owns the measure only. It is told when work begins and ends; times are seconds of a monotonic clock.
"""

from __future__ import annotations

__all__ = ["Load"]

WINDOW_S = 0.1


class Load:
    """See the module. Idle at first."""

    def __init__(self, now: float) -> None:
        self._idle_s = 0.0
        self._idle_since: float | None = now
        self._window_at = now
        self._window_idle_s = 0.0
        self._share = 0.0

    def began(self, now: float) -> None:
        """Somebody has mail."""
        if self._idle_since is not None:
            self._idle_s += now - self._idle_since
            self._idle_since = None

    def ended(self, now: float) -> None:
        """Nobody has."""
        self._idle_since = now

    def share(self, now: float) -> float:
        """From 0 to 1, of the time since somebody asked a tenth of a second or longer ago."""
        passed_s = now - self._window_at
        if passed_s >= WINDOW_S:
            idle_s = self._idle_s + (0.0 if self._idle_since is None else now - self._idle_since)
            self._share = min(max(1.0 - (idle_s - self._window_idle_s) / passed_s, 0.0), 1.0)
            self._window_at, self._window_idle_s = now, idle_s
        return self._share
