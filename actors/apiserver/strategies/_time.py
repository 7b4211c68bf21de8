"""Times and durations as `kubectl get` shows them.

Owns parsing of RFC 3339 times and Kubernetes' short durations
(`k8s.io/apimachinery/pkg/util/duration`). Reads no clock.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

__all__ = ["age", "parse_time", "since"]


@lru_cache(maxsize=4096)
def parse_time(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time."""
    return datetime.fromisoformat(text).timestamp()


def since(text: str | None, now: float) -> str:
    """How long ago a time was, or `<unknown>` without one."""
    return age(now - parse_time(text)) if text else "<unknown>"


def _two(value: int, unit: str, rest: int, lesser: str) -> str:
    return f"{value}{unit}{rest}{lesser}" if rest else f"{value}{unit}"


def age(seconds: float) -> str:
    """A duration in at most two units: `45s`, `5m30s`, `3h20m`, `2d4h`, `400d`, `3y34d`.

    Up to two seconds in the future count as now; later times are `<invalid>`.
    """
    whole = int(seconds)
    if seconds <= -2:
        return "<invalid>"
    if whole < 0 or seconds < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = whole // 3600
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(hours // 24, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{hours // 24}d"
    if hours < 24 * 365 * 8:
        return _two(hours // 24 // 365, "y", (hours // 24) % 365, "d")
    return f"{hours // 24 // 365}y"
