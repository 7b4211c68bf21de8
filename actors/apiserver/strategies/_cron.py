"""Schedules of cron jobs: whether a text is one.

Owns the grammar of five fields and descriptors with the error texts of the parser that Kubernetes
uses (github.com/robfig/cron). When a schedule is due is the controller's matter.
"""

from __future__ import annotations

import re

__all__ = ["CronError", "check_schedule"]

_MONTHS = {n: i for i, n in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)}
_DAYS = {n: i for i, n in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
_DESCRIPTORS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_DURATION = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*\Z")


class CronError(ValueError):
    """Not a schedule; the message is the parser's."""


def check_schedule(text: str) -> None:
    """Raise `CronError` unless `text` is a schedule."""
    if not text:
        raise CronError("empty spec string")
    if text.startswith(("TZ=", "CRON_TZ=")):
        text = text.partition(" ")[2].strip()
    if text.startswith("@"):
        _check_descriptor(text)
        return
    fields = text.split()
    if len(fields) != 5:
        raise CronError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    for field, (low, high, names) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            if part:
                _check_range(part, low, high, names)


def _check_descriptor(text: str) -> None:
    if text in _DESCRIPTORS:
        return
    every = "@every "
    if text.startswith(every):
        duration = text[len(every) :]
        if duration != "0" and not _DURATION.match(duration):
            raise CronError(f'failed to parse duration {text}: time: invalid duration "{duration}"')
        return
    raise CronError(f"unrecognized descriptor: {text}")


def _number(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        words = f'strconv.Atoi: parsing "{text}": invalid syntax'
        raise CronError(f"failed to parse int from {text}: {words}")
    value = int(text)
    if value < 0:
        raise CronError(f"negative number ({value}) not allowed: {text}")
    return value


def _check_range(part: str, lowest: int, highest: int, names: dict[str, int]) -> None:
    spans = part.split("/")
    ends = spans[0].split("-")

    def value(text: str) -> int:
        return names[text.lower()] if text.lower() in names else _number(text)

    if ends[0] in ("*", "?"):
        start, end = lowest, highest
    else:
        start = value(ends[0])
        if len(ends) > 2:
            raise CronError(f"too many hyphens: {part}")
        end = value(ends[1]) if len(ends) == 2 else start
    step = 1
    if len(spans) == 2:
        step = _number(spans[1])
        if len(ends) == 1:
            end = highest
    elif len(spans) > 2:
        raise CronError(f"too many slashes: {part}")
    if start < lowest:
        raise CronError(f"beginning of range ({start}) below minimum ({lowest}): {part}")
    if end > highest:
        raise CronError(f"end of range ({end}) above maximum ({highest}): {part}")
    if start > end:
        raise CronError(f"beginning of range ({start}) beyond end of range ({end}): {part}")
    if step == 0:
        raise CronError(f"step of range should be a positive number: {part}")
