"""Timestamps and durations: reading, writing, and their parts.

Both count nanoseconds. Owns RFC 3339 and Go's forms of a duration. It must never read a clock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from protocol.cel._values import Duration, Failure, Timestamp

__all__ = [
    "duration_text", "moment", "parse_duration", "parse_timestamp", "timestamp_text",
]  # fmt: skip

SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)\Z")
_OFFSET = re.compile(r"([+-])?(\d{1,2}):(\d\d)\Z")
_LEAST, _MOST = -62135596800 * SECOND, 253402300799 * SECOND + SECOND - 1


def parse_duration(text: str) -> Duration:
    """A duration in Go's form, like `1h30m`. Raises `ValueError`."""
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return Duration(0)
    at, total = 0, 0
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None:
            break
        whole, _, fraction = part[1].partition(".")
        unit = _UNITS[part[2]]
        total += int(whole or 0) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
        at = part.end()
    if not rest or at < len(rest):
        raise ValueError(f'time: invalid duration "{text}"')
    total = -total if text.startswith("-") else total
    if not -(2**63) <= total < 2**63:
        raise ValueError(f'time: invalid duration "{text}"')
    return Duration(total)


def duration_text(value: int) -> str:
    """A duration as CEL writes it: seconds, with a fraction if there is one."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    seconds, nanos = divmod(value, SECOND)
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"{sign}{seconds}{fraction}s"


def parse_timestamp(text: str) -> Timestamp:
    """A moment in RFC 3339. Raises `ValueError`."""
    found = _RFC3339.match(text)
    if found is None:
        raise ValueError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"')
    day, clock, fraction, zone = found.groups()
    offset = "+00:00" if zone in ("Z", "z") else zone
    whole = datetime.fromisoformat(f"{day}T{clock}{offset}")
    delta = whole - _EPOCH
    nanos = int((fraction or "0").ljust(9, "0")[:9])
    ahead = whole.utcoffset() or timedelta()
    return Timestamp((delta.days * 86400 + delta.seconds) * SECOND + nanos, ahead.days * 86400 + ahead.seconds)


def checked(value: int, offset_s: int = 0) -> Timestamp:
    """A moment within the years 1 to 9999. Raises `Failure`."""
    if not _LEAST <= value <= _MOST:
        raise Failure("timestamp overflow")
    return Timestamp(value, offset_s)


def timestamp_text(value: Timestamp) -> str:
    """A moment in RFC 3339, by the clock that told it."""
    seconds, nanos = divmod(int(value), SECOND)
    whole = (_EPOCH + timedelta(seconds=seconds + value.offset_s)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    if not value.offset_s:
        return f"{whole}{fraction}Z"
    hours, minutes = divmod(abs(value.offset_s) // 60, 60)
    return f"{whole}{fraction}{'-' if value.offset_s < 0 else '+'}{hours:02d}:{minutes:02d}"


def moment(value: int, zone: str = "UTC") -> datetime:
    """A moment on the clocks of a zone: a name, or an offset like `-08:00`. Raises `Failure`."""
    return (_EPOCH + timedelta(seconds=value // SECOND)).astimezone(_zone(zone))


def _zone(name: str) -> tzinfo:
    offset = _OFFSET.match(name)
    if offset is not None:
        minutes = int(offset[2]) * 60 + int(offset[3])
        return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    if name in ("UTC", ""):
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Failure(f"unknown time zone {name}") from None
