"""Durations as Go and the Kubernetes API write them. Pure."""

from __future__ import annotations

import re

__all__ = ["duration_s", "duration_text"]

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def duration_s(text: str) -> float | None:
    """`1m30s` in seconds; None for what is no duration."""
    if not re.fullmatch(r"-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+|0", text):
        return None
    total = sum(float(n) * _UNITS[u] for n, _, u in re.findall(r"(\d+(\.\d+)?)(ns|us|µs|ms|s|m|h)", text))
    return -total if text.startswith("-") else total


def duration_text(seconds: float) -> str:
    """The reverse, in whole milliseconds: `1m30s`, `10s`, `200ms`, `0s`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    whole, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(whole, 60)
    text = f"{rest / 1000:g}s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text
