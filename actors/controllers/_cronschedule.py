"""Cron schedules: parsing one, and the next time it is due.

The five fields and descriptors of robfig/cron's standard parser, which Kubernetes uses: minute,
hour, day of month, month, day of week; `*` or `?`, lists, ranges, steps, names; `@hourly` and the
like, `@every 90s`; a leading `TZ=Zone` or `CRON_TZ=Zone`. Pure; times are seconds since the epoch.
https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["CronError", "Schedule", "parse", "zone"]

YEARS_MAX = 5
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: i + 1 for i, name in enumerate(_MONTHS)}),
    ("day of week", 0, 6, {name: i for i, name in enumerate(_DAYS)}),
)
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(h|ms|us|µs|ns|m|s)")


class CronError(ValueError):
    """Not a schedule, or no such time zone."""


def zone(name: str | None) -> tzinfo:
    """The time zone of this name; None or empty is UTC. Raises `CronError`."""
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CronError(f"unknown time zone {name}") from None


class Schedule:
    """When something is due. `every_s` for a constant interval, else the sets of its fields."""

    def __init__(
        self,
        fields: tuple[frozenset[int], ...],
        any_day: bool,
        any_weekday: bool,
        where: tzinfo,
        every_s: float = 0.0,
    ) -> None:
        self.fields = fields
        self.any_day = any_day
        self.any_weekday = any_weekday
        self.where = where
        self.every_s = every_s

    def next(self, after: float) -> float | None:
        """The first time later than `after`; None if there is none within five years."""
        if self.every_s:
            return float(int(after) + max(1.0, float(int(self.every_s))))
        start = datetime.fromtimestamp(after, self.where)
        for day in self._days(start.date()):
            times = [t for t in self._times(day) if t > after]
            if times:
                return min(times)
        return None

    def _days(self, first: date) -> Iterator[date]:
        _, _, days, months, weekdays = self.fields
        day = first
        for _ in range(366 * YEARS_MAX):
            if day.month in months:
                of_month = day.day in days
                of_week = (day.weekday() + 1) % 7 in weekdays
                both = self.any_day or self.any_weekday
                if (of_month and of_week) if both else (of_month or of_week):
                    yield day
            day += timedelta(days=1)

    def _times(self, day: date) -> Iterator[float]:
        """The times due on one day: hours that a change of clocks skips never come, hours that it
        repeats come twice."""
        minutes, hours = self.fields[0], self.fields[1]
        for hour in hours:
            for minute in minutes:
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.where)
                for fold in (0, 1):
                    time = local.replace(fold=fold).timestamp()
                    back = datetime.fromtimestamp(time, self.where)
                    if (back.hour, back.minute, back.day) == (hour, minute, day.day):
                        yield time


def parse(text: str, default_zone: tzinfo = UTC) -> Schedule:
    """Parse a schedule. Raises `CronError`."""
    text = text.strip()
    where = default_zone
    if text.startswith(("TZ=", "CRON_TZ=")):
        prefix, _, text = text.partition(" ")
        where = zone(prefix.partition("=")[2])
        text = text.strip()
    if text.startswith("@every "):
        every_s = _duration_s(text.removeprefix("@every ").strip())
        return Schedule((), True, True, where, every_s)
    if text.startswith("@"):
        if text not in _DESCRIPTORS:
            raise CronError(f"unrecognized descriptor: {text}")
        text = _DESCRIPTORS[text]
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise CronError(f"expected exactly 5 fields, found {len(parts)}: {parts}")
    fields = tuple(
        frozenset(_field(part, low, high, names))
        for part, (_, low, high, names) in zip(parts, _FIELDS, strict=True)
    )
    return Schedule(fields, parts[2][0] in "*?", parts[4][0] in "*?", where)


def _duration_s(text: str) -> float:
    if not text or _DURATION.sub("", text):
        raise CronError(f"failed to parse duration @every {text}")
    return sum(float(n) * _UNITS[unit] for n, unit in _DURATION.findall(text))


def _field(text: str, low: int, high: int, names: dict[str, int]) -> Iterator[int]:
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        first, dash, last = span.partition("-")
        if first in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first, names)
            end = _number(last, names) if dash else start
        step = 1
        if slash:
            step = _number(step_text, {})
            if not dash:
                end = high
            if step == 0:
                raise CronError(f"step of range should be a positive number: {part}")
        if start < low:
            raise CronError(f"beginning of range ({start}) below minimum ({low}): {part}")
        if end > high:
            raise CronError(f"end of range ({end}) above maximum ({high}): {part}")
        if start > end:
            raise CronError(f"beginning of range ({start}) beyond end of range ({end}): {part}")
        yield from range(start, end + 1, step)


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not text.isdigit():
        raise CronError(f"failed to parse int from {text}")
    return int(text)
