"""How long a client that was sent away should stay away.

Doubles while many are sent away, and shrinks second by second when few are.

Source: k8s.io/apiserver/pkg/util/flowcontrol/dropped_requests_tracker.go
"""

from __future__ import annotations

__all__ = ["RetryAfter"]

_MOST_S = 32


class _Level:
    __slots__ = ("after_s", "changed", "history")

    def __init__(self) -> None:
        self.after_s = 1
        self.changed = 0
        self.history: dict[int, int] = {}


class RetryAfter:
    """Seconds to wait, by priority level."""

    def __init__(self) -> None:
        self._levels: dict[str, _Level] = {}

    def dropped(self, level: str, now_s: int) -> int:
        """One more request was sent away; answers the seconds to tell its client."""
        state = self._levels.setdefault(level, _Level())
        if now_s not in state.history:
            self._new_second(state, now_s)
        state.history[now_s] = state.history.get(now_s, 0) + 1
        return state.after_s

    def _new_second(self, state: _Level, now_s: int) -> None:
        after = state.after_s
        kept = min(2 * after, _MOST_S)
        state.history = {second: count for second, count in state.history.items() if now_s - second <= kept}
        recent = sum(count for second, count in state.history.items() if now_s - second <= after)
        if now_s - state.changed >= after and recent >= 3 * after:
            state.after_s, state.changed = min(2 * after, _MOST_S), now_s
        elif recent < after and after > 1:
            state.after_s = after - 1
