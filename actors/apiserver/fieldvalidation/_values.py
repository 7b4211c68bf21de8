"""Canonical forms of typed scalars: times, quantities, base64, integers.

Each function takes a value of the right Python class, returns its canonical form and raises
`DecodeFailure` with Go's text. Owns no knowledge of fields.
"""

from __future__ import annotations

import binascii
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from actors.apiserver.fieldvalidation._errors import DecodeFailure
from protocol.quantity import QuantityError, canonical

__all__ = ["INTEGER_RANGES", "base64_text", "micro_time_text", "quantity_text", "time_text"]

INTEGER_RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
    "int": (-(2**63), 2**63 - 1),
}

_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)\Z")


@lru_cache(maxsize=4096)
def quantity_text(text: str) -> str:
    """`1000m` becomes `1`."""
    try:
        return canonical(text)
    except QuantityError as error:
        raise DecodeFailure(str(error)) from None


def _moment(text: str) -> datetime:
    match = _RFC3339.match(text)
    if match is None:
        raise DecodeFailure(_time_problem(text))
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    micro = int((match[7] or "")[:6].ljust(6, "0")) if match[7] else 0
    zone = match[8]
    offset = "+00:00" if zone == "Z" else zone
    for name, value, low, high in (
        ("month", month, 1, 12),
        ("hour", hour, 0, 23),
        ("minute", minute, 0, 59),
        ("second", second, 0, 59),
    ):
        if not low <= value <= high:
            raise DecodeFailure(f'parsing time "{text}": {name} out of range')
    try:
        local = datetime.fromisoformat(
            f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}{offset}"
        )
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        raise DecodeFailure(f'parsing time "{text}": day out of range') from None


_LAYOUT = (
    ("2006", r"\d{4}"),
    ("-", "-"),
    ("01", r"\d\d"),
    ("-", "-"),
    ("02", r"\d\d"),
    ("T", "T"),
    ("15", r"\d\d"),
    (":", ":"),
    ("04", r"\d\d"),
    (":", ":"),
    ("05", r"\d\d"),
    ("Z07:00", r"Z|[+-]\d\d:\d\d"),
)


def _time_problem(text: str, layout: str = "2006-01-02T15:04:05Z07:00") -> str:
    """What Go's `time.Parse` says of a text that does not follow RFC 3339."""
    rest = text
    for word, pattern in _LAYOUT:
        match = re.match(pattern, rest)
        if match is None:
            return f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{word}"'
        rest = rest[match.end() :]
        if word == "05":
            fraction = re.match(r"[.,]\d+", rest)
            if fraction is not None:
                rest = rest[fraction.end() :]
    return f'parsing time "{text}": extra text: "{rest}"'


@lru_cache(maxsize=4096)
def time_text(text: str) -> str:
    """An RFC 3339 time in UTC with whole seconds."""
    return _moment(text).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)


@lru_cache(maxsize=4096)
def micro_time_text(text: str) -> str:
    """An RFC 3339 time in UTC with six digits of a second."""
    try:
        moment = _moment(text)
    except DecodeFailure as failure:
        words = str(failure).replace('"2006-01-02T15:04:05Z07:00"', '"2006-01-02T15:04:05.000000Z07:00"')
        raise DecodeFailure(words) from None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)


_BASE64 = re.compile(r"[A-Za-z0-9+/]")


def base64_text(text: str) -> str:
    """Standard base64; line breaks are dropped as Go drops them."""
    try:
        binascii.a2b_base64(text, strict_mode=True)
        if len(text) % 4 == 0:
            return text
    except (binascii.Error, ValueError):
        pass
    if not text:
        return text
    joined = text.replace("\r", "").replace("\n", "")
    offset = _base64_problem(text)
    if offset is not None:
        raise DecodeFailure(f"illegal base64 data at input byte {offset}")
    return joined


def _base64_problem(text: str) -> int | None:
    """The offset that Go's `CorruptInputError` carries, or None."""
    quantum = 0
    size = len(text)
    i = 0
    while i < size:
        char = text[i]
        if char in "\r\n":
            i += 1
            continue
        if _BASE64.match(char):
            quantum = (quantum + 1) % 4
            i += 1
            continue
        if char != "=" or quantum < 2:
            return i
        # Padding: after two characters another "=" must follow; then nothing but line breaks.
        i += 1
        if quantum == 2:
            while i < size and text[i] in "\r\n":
                i += 1
            if i >= size:
                return size
            if text[i] != "=":
                return i
            i += 1
        while i < size and text[i] in "\r\n":
            i += 1
        return None if i >= size else i
    # Without its padding the last group is incomplete.
    return None if quantum == 0 else size - quantum


def integer_problem(value: Any, form: str) -> bool:
    """Whether an int does not fit the Go type of this name."""
    low, high = INTEGER_RANGES.get(form, INTEGER_RANGES["int64"])
    return not low <= value <= high
