"""JSONPath as printer columns, scale and selectable fields use it: `.spec.a`, `['x.y/z']`, `[0]`, `[1:3]`,
`[*]`, `..name`, `['a','b']` and `[?(@.type=="Ready")]`.

Source: k8s.io/client-go/util/jsonpath; templates' `range` and `end` mean nothing here.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = ["PathProblem", "find", "parse"]


class PathProblem(ValueError):
    """A path that is none, or that asks of a value what it cannot give."""


Found = list[Any]
Step = Callable[[Found], Found]
_DELIMITERS = " .,[]$@{}\r\n"
_FILTER = re.compile(r"([^!<>=]+)([!<>=]+)(.+?)\Z", re.DOTALL)
_KEY = re.compile(r"'([^']*)'\Z")
_SLICE = re.compile(r"(-?\d*)(:-?\d*)?(:-?\d*)?\Z")
_NUMBER = re.compile(r"[+-]?[\d.]*")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def find(path: str, value: Any) -> Found:
    """All values at a path. Raises: PathProblem."""
    found = [value]
    for step in parse(path):
        found = step(found)
    return found


@lru_cache(maxsize=4096)
def parse(path: str) -> tuple[Step, ...]:
    """The steps of a path, with or without braces around it. Raises: PathProblem."""
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    return tuple(_Parser(text).steps())


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.descends = False
        """Whether the step before this place is `..`."""

    def steps(self) -> Iterator[Step]:
        while self.at < len(self.text):
            descended, self.descends = self.descends, False
            rest = self.text[self.at :]
            if rest.startswith("[?("):
                yield self.filter()
            elif rest.startswith(".."):
                if descended:
                    raise PathProblem("invalid multiple recursive descent")
                self.at += 2
                self.descends = True
                yield _descend
                if self.at < len(self.text) and _is_word(self.text[self.at]):
                    self.descends = False
                    yield self.field()
            elif rest[0] in " @$":
                self.at += 1
                self.descends = descended
            elif rest[0] == "[":
                yield from self.brackets()
            elif rest[0] in "\"'":
                yield _constant(self.quoted(rest[0]), once=True)
            elif rest[0] == ".":
                self.at += 1
                yield self.field()
            elif rest[0] in "+-" or rest[0].isdigit():
                yield _constant(self.number())
            elif _is_word(rest[0]):
                yield _word(self.word())
            else:
                raise PathProblem(f"unrecognized character in action: {rest[0]!r}")

    def word(self) -> str:
        """Up to the next delimiter; a backslash takes the next character along."""
        out = []
        while self.at < len(self.text) and self.text[self.at] not in _DELIMITERS:
            if self.text[self.at] == "\\" and self.at + 1 < len(self.text):
                self.at += 1
            out.append(self.text[self.at])
            self.at += 1
        return "".join(out)

    def field(self) -> Step:
        name = self.word()
        return _wildcard if name == "*" else _field(name)

    def number(self) -> int | float:
        match = _NUMBER.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        try:
            return int(match[0]) if "." not in match[0] else float(match[0])
        except ValueError:
            raise PathProblem(f"cannot parse number {match[0]}") from None

    def quoted(self, quote: str) -> str:
        end = self.at + 1
        while end < len(self.text) and (self.text[end] != quote or self.text[end - 1] == "\\"):
            end += 1
        if end >= len(self.text):
            raise PathProblem("unterminated quoted string")
        inner, self.at = self.text[self.at + 1 : end], end + 1
        return re.sub(r"\\(.)", lambda found: _ESCAPED.get(found[1], found[1]), inner)

    def brackets(self) -> Iterator[Step]:
        end = self.text.find("]", self.at)
        if end < 0:
            raise PathProblem("unterminated array")
        inner, self.at = self.text[self.at + 1 : end], end + 1
        parts = inner.split(",")
        if len(parts) > 1:
            yield _union([tuple(_Parser(f"[{part.strip(' ')}]").steps()) for part in parts])
            return
        key = _KEY.match(inner)
        if key is not None:
            yield from _Parser(f".{key[1]}").steps()
        else:
            yield _slice(":" if inner == "*" else inner)

    def filter(self) -> Step:
        start = self.at + 3
        end, quote = start, ""
        while end < len(self.text) and (quote or self.text[end] != ")"):
            char = self.text[end]
            if char in "\"'" and self.text[end - 1] != "\\":
                quote = "" if char == quote else quote or char
            end += 1
        if end >= len(self.text):
            raise PathProblem("unterminated filter")
        if self.text[end + 1 : end + 2] != "]":
            raise PathProblem("unclosed array expect ]")
        inner, self.at = self.text[start:end], end + 2
        match = _FILTER.match(inner)
        if match is None:
            return _filter(tuple(_Parser(inner).steps()), "", ())
        return _filter(tuple(_Parser(match[1]).steps()), match[2], tuple(_Parser(match[3]).steps()))


def _is_word(char: str) -> bool:
    return char == "_" or char.isalnum()


def _word(name: str) -> Step:
    if name in ("true", "false"):
        return _constant(name == "true")

    def refuse(values: Found) -> Found:
        raise PathProblem(f"unrecognized identifier {name}")

    return refuse


def _constant(value: Any, *, once: bool = False) -> Step:
    return lambda values: [value] if once else [value] * len(values)


def _field(name: str) -> Step:
    return lambda values: [value[name] for value in values if isinstance(value, dict) and name in value]


def _children(value: Any) -> Found:
    if isinstance(value, dict):
        return [value[key] for key in sorted(value)]
    return list(value) if isinstance(value, (list, str)) else []


def _wildcard(values: Found) -> Found:
    return [child for value in values for child in _children(value)]


def _descend(values: Found) -> Found:
    out: Found = []
    for value in values:
        children = _children(value) if not isinstance(value, str) else []
        if children:
            out += [value, *_descend(children)]
    return out


def _union(branches: list[tuple[Step, ...]]) -> Step:
    return lambda values: [found for branch in branches for found in _walk(branch, values)]


def _walk(steps: tuple[Step, ...], values: Found) -> Found:
    for step in steps:
        values = step(values)
    return values


class _Bounds(NamedTuple):
    start: int
    stop: int | None
    step: int
    single: bool
    """One index, not a slice."""


def _slice(text: str) -> Step:
    match = _SLICE.match(text)
    if match is None:
        raise PathProblem(f"invalid array index {text}")
    first, second, third = (part or "" for part in match.groups())
    for part in (first, second[1:], third[1:]):
        if part == "-":
            raise PathProblem(f"array index {part} is not a number")
    start = int(first) if first else 0
    stop = int(second[1:]) if second[1:] else None if second else start + 1
    bounds = _Bounds(start, stop, int(third[1:]) if third[1:] else 1, not second)

    def pick(values: Found) -> Found:
        out: Found = []
        for value in values:
            if value is None:
                continue
            part = _part(value, bounds)
            if part is None:  # upstream looks no further
                return out
            out += part
        return out

    return pick


def _part(value: Any, bounds: _Bounds) -> Found | None:
    if not isinstance(value, list):
        raise PathProblem(f"{type(value).__name__} is not array or slice")
    start, stop, length = bounds.start, bounds.stop, len(value)
    start += length if start < 0 else 0
    stop = length if stop is None else stop
    stop += length if stop < 0 or (stop == 0 and bounds.single) else 0
    if start == stop:
        return None
    for index, most in ((start, length - 1), (stop, length)):
        if not 0 <= index <= most:
            raise PathProblem(f"array index out of bounds: index {index}, length {length}")
    if start > stop:
        raise PathProblem(f"starting index {start} is greater than ending index {stop}")
    if bounds.step <= 0:
        raise PathProblem("step must be > 0")
    return value[start : stop : bounds.step]


def _filter(left: tuple[Step, ...], sign: str, right: tuple[Step, ...]) -> Step:
    def holds(item: Any) -> bool:
        if not sign:
            try:
                return bool(_walk(left, [item]))
            except PathProblem:
                return False
        sides = [_walk(left, [item]), _walk(right, [item])]
        if not all(sides):
            return False
        if any(len(side) > 1 for side in sides):
            raise PathProblem("can only compare one element at a time")
        return _compare(sides[0][0], sign, sides[1][0])

    def pick(values: Found) -> Found:
        out: Found = []
        for value in values:
            if not isinstance(value, list):
                raise PathProblem(f"{value} is not array or slice and cannot be filtered")
            out += [item for item in value if holds(item)]
        return out

    return pick


def _compare(left: Any, sign: str, right: Any) -> bool:
    compare = _OPERATORS.get(sign)
    if compare is None:
        raise PathProblem(f"unrecognized filter operator {sign}")
    if type(left) is not type(right) or not isinstance(left, (bool, int, float, str)):
        raise PathProblem("incompatible types for comparison")
    if isinstance(left, bool) and sign not in ("==", "!="):
        raise PathProblem("invalid type for comparison")
    return compare(left, right)
