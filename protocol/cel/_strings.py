"""Functions of texts: cel-go's strings library at the version that Kubernetes has, and Kubernetes' own.

Owns `charAt` to `upperAscii`, `format`, `strings.quote`, `matches`, `find`. Words of failures are Go's.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from protocol.cel._operators import to_text
from protocol.cel._regex import compile_pattern
from protocol.cel._times import duration_text, timestamp_text
from protocol.cel._values import Duration, Failure, Optional, Timestamp, TypeName, Uint, type_name

__all__ = [
    "char_at", "find", "find_all", "format_text", "index_of", "join", "last_index_of", "lower", "matches", "quote",
    "replace", "split", "substring", "trim", "upper",
]  # fmt: skip


def _out_of_range(place: int) -> Failure:
    return Failure(f"index out of range: {place}")


def char_at(text: str, place: int) -> str:
    """The character at a place; empty just behind the end."""
    if not 0 <= place <= len(text):
        raise _out_of_range(place)
    return text[place : place + 1]


def index_of(text: str, part: str, offset: int = 0) -> int:
    """Where a part first begins, from `offset`; -1 when nowhere."""
    if offset < 0:
        raise _out_of_range(offset)
    if not part:
        return min(offset, len(text))
    return text.find(part, offset)


def last_index_of(text: str, part: str, offset: int | None = None) -> int:
    """Where a part last begins, at `offset` or before; -1 when nowhere."""
    if offset is None:
        return text.rfind(part)
    if offset < 0:
        raise _out_of_range(offset)
    if not part:
        return min(offset, len(text))
    return -1 if offset >= len(text) else text.rfind(part, 0, offset + len(part))


def lower(text: str) -> str:
    """ASCII letters in lower case."""
    return text.lower() if text.isascii() else "".join(c.lower() if c.isascii() else c for c in text)


def upper(text: str) -> str:
    """ASCII letters in upper case."""
    return text.upper() if text.isascii() else "".join(c.upper() if c.isascii() else c for c in text)


def replace(text: str, old: str, new: str, most: int = -1) -> str:
    """A text with a part replaced, `most` times if that is not negative."""
    return text.replace(old, new, most)


def split(text: str, separator: str, most: int = -1) -> list[str]:
    """The parts between separators, `most` of them if that is not negative."""
    if most == 0:
        return []
    if not separator:
        characters = list(text)
        if 0 < most < len(characters):
            return [*characters[: most - 1], "".join(characters[most - 1 :])]
        return characters
    return text.split(separator, -1 if most < 0 else most - 1)


def substring(text: str, start: int, end: int | None = None) -> str:
    """Part of a text."""
    if end is not None and start > end:
        raise Failure(f"invalid substring range. start: {start}, end: {end}")
    if not 0 <= start <= len(text):
        raise _out_of_range(start)
    if end is not None and end > len(text):
        raise _out_of_range(end)
    return text[start:end]


def trim(text: str) -> str:
    """A text without white space around it."""
    return text.strip()


def join(parts: list[Any], separator: str = "") -> str:
    """Texts after each other."""
    for part in parts:
        if not isinstance(part, str):
            raise Failure(f"join: invalid input: {part}")
    return separator.join(parts)


def matches(text: str, pattern: str) -> bool:
    """Whether a pattern matches anywhere."""
    return _compiled(pattern, "").search(text) is not None


def find(text: str, pattern: str) -> str:
    """The first match of a pattern; empty when there is none."""
    found = _compiled(pattern, "Illegal regex: ").search(text)
    return found[0] if found is not None else ""


def find_all(text: str, pattern: str, most: int = -1) -> list[str]:
    """All matches of a pattern, at most `most` when that is not negative."""
    found: list[str] = []
    for match in _compiled(pattern, "Illegal regex: ").finditer(text):
        if 0 <= most <= len(found):
            break
        found.append(match[0])
    return found


def _compiled(pattern: str, words: str) -> Any:
    try:
        return compile_pattern(pattern)
    except ValueError as error:
        raise Failure(f"{words}{error}") from None


_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
}  # fmt: skip


def quote(text: str) -> str:
    """A text as a literal."""
    return '"' + "".join(_ESCAPES.get(character, character) for character in text) + '"'


# --- format -----------------------------------------------------------------------------------

_CLAUSE = re.compile(r"%(?:\.(\d*))?(.)?", re.DOTALL)
_WANTED = {
    "s": "strings, bools, integers, unsigned integers, doubles, durations, timestamps, types, maps, lists, or null",
    "d": "integers",
    "f": "doubles",
    "e": "doubles",
    "b": "integers and bools",
    "x": "integers, byte buffers, and strings",
    "X": "integers, byte buffers, and strings",
    "o": "integers",
}
_NAMED = {
    "d": "decimal", "f": "fixed-point", "e": "scientific", "b": "binary", "x": "hex", "X": "hex", "o": "octal", "s": "string",
}  # fmt: skip


def format_text(pattern: str, args: list[Any]) -> str:
    """`pattern.format(args)`: `%s %d %f %e %b %x %X %o`, precision as in `%.3f`."""
    out: list[str] = []
    at = used = 0
    while True:
        start = pattern.find("%", at)
        if start < 0:
            return "".join([*out, pattern[at:]])
        out.append(pattern[at:start])
        if pattern.startswith("%%", start):
            out.append("%")
            at = start + 2
            continue
        if used >= len(args):
            raise Failure(f"index {used} out of range")
        clause = _CLAUSE.match(pattern, start)
        assert clause is not None
        if start + 1 >= len(pattern):
            raise Failure("unexpected end of string")
        out.append(_formatted(clause, args[used]))
        used += 1
        at = clause.end()


def _formatted(clause: re.Match[str], value: Any) -> str:
    letter = clause[2]
    if letter is None:
        raise Failure("could not parse formatting clause: error while parsing precision: could not find end of precision specifier")
    if letter not in _WANTED:
        raise Failure(f'could not parse formatting clause: unrecognized formatting clause "{letter}"')
    if clause[1] == "":
        raise Failure(
            "could not parse formatting clause: error while parsing precision: error while converting precision to"
            ' integer: strconv.Atoi: parsing "": invalid syntax'
        )
    text = _clause(letter, value, 6 if clause[1] is None else min(int(clause[1]), 1000))
    if text is None:
        name = type_name(value)
        raise Failure(
            f"error during formatting: {_NAMED[letter]} clause can only be used on {_WANTED[letter]}, was given {name}"
        )
    return text


def _clause(letter: str, value: Any, precision: int) -> str | None:
    """The text of a value; None when the clause does not take such values."""
    name = type_name(value)
    if letter == "s":
        return None if isinstance(value, Optional) else _text(value)
    if letter in "fe":
        if name == "string" and value in ("NaN", "Infinity", "-Infinity"):
            value = float(value)
        elif name != "double":
            return None
        if math.isnan(value) or math.isinf(value):
            return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
        return format(value, f".{precision}{letter}") if letter == "f" else _scientific(value, precision)
    if letter == "b" and name == "bool":
        return "1" if value else "0"
    if letter in "xX" and name in ("string", "bytes"):
        digits = (value.encode() if isinstance(value, str) else value).hex()
        return digits.upper() if letter == "X" else digits
    if name not in ("int", "uint"):
        return None
    return format(int(value), letter)


def _scientific(value: float, precision: int) -> str:
    mantissa, _, power = format(value, f".{precision}e").partition("e")
    exponent = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(d)] if d.isdigit() else "⁻" if d == "-" else "⁺" for d in f"{int(power):+03d}")
    return f"{mantissa} × 10{exponent.lstrip('⁺')}"


def _text(value: Any) -> str | None:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "[" + ", ".join(_quoted(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{_quoted(key)}:{_quoted(item)}" for key, item in value.items())) + "}"
    if type_name(value) not in (
        "int", "uint", "double", "bool", "string", "bytes", "type", "google.protobuf.Timestamp", "google.protobuf.Duration",
    ):  # fmt: skip
        return None
    return to_text(value)


def _quoted(value: Any) -> str:
    if isinstance(value, Timestamp):
        return f"timestamp({json.dumps(timestamp_text(value))})"
    if isinstance(value, Duration):
        return f"duration({json.dumps(duration_text(value))})"
    if isinstance(value, TypeName):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bytes):
        return "b" + json.dumps(value.decode(errors="replace"), ensure_ascii=False)
    if isinstance(value, float):
        if math.isnan(value) or math.isinf(value):
            return json.dumps(str(value))
        return f"{value:.6f}"
    if isinstance(value, (bool, Uint, int, list, dict)) or value is None:
        text = _text(value)
        assert text is not None
        return text
    raise Failure(f"error during formatting: no formatting function for {type_name(value)}")
