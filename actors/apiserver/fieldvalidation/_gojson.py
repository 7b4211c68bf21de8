"""JSON as Go reads it: duplicates noticed, number literals kept, errors in Go's words.

Owns text to values and back. It must never know types.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from actors.apiserver.fieldvalidation._errors import DecodeFailure

__all__ = ["GoFloat", "Pairs", "has_duplicates", "parse_json", "parse_pairs", "syntax_problem", "to_json"]

MAX_DEPTH = 10_000


class GoFloat(float):
    """A number that is not an integer literal, with the text it was written as."""

    text: str

    def __new__(cls, text: str) -> GoFloat:
        self = super().__new__(cls, text)
        self.text = text
        return self


class Pairs(dict[str, Any]):
    """An object that repeats keys; `pairs` are its members in order."""

    pairs: list[tuple[str, Any]]


def to_json(obj: Any) -> bytes:
    """Compact JSON."""
    return orjson.dumps(obj)


_SHELLS = 50
"""Levels that answers put around an object (lists, tables, events), with room to spare."""


def measured(value: Any) -> int:
    """The length of a value's compact JSON. Raises `DecodeFailure` when it is nested so deeply that it
    could not be written inside an answer."""
    for _ in range(_SHELLS):
        value = [value]
    try:
        return len(orjson.dumps(value)) - 2 * _SHELLS
    except TypeError as error:
        if "Recursion" not in str(error):
            raise
        raise DecodeFailure("exceeded max depth") from None


def parse_json(raw: bytes) -> tuple[Any, bool]:
    """The value of a JSON text and whether any object in it repeats a key.

    Raises `DecodeFailure` with the words of Go's `encoding/json`.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _parse_doubtful(raw)
    text = raw.strip()
    if measured(value) == len(text):
        return value, False
    return value, has_duplicates(text)


def _parse_doubtful(raw: bytes) -> tuple[Any, bool]:
    """What orjson refuses may still be JSON to Go: bad UTF-8, lone surrogates, deep nesting."""
    problem = syntax_problem(raw)
    if problem:
        raise DecodeFailure(problem)
    try:
        value = json.loads(raw.decode("utf-8", "replace"))
        value = _scrub(value)
        measured(value)
    except RecursionError:
        raise DecodeFailure("exceeded max depth") from None
    except ValueError as error:
        raise DecodeFailure(str(error)) from None
    return value, has_duplicates(raw)


def _scrub(value: Any) -> Any:
    """Lone surrogates become U+FFFD, as in Go."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_scrub(item) for item in value]
    if isinstance(value, dict):
        return {_scrub(key): _scrub(item) for key, item in value.items()}
    return value


def has_duplicates(raw: bytes) -> bool:
    """Whether an object in this valid JSON text has the same key twice."""
    found = False

    def members(pairs: list[tuple[str, Any]]) -> int:
        nonlocal found
        if len(pairs) > 1 and len({key for key, _ in pairs}) != len(pairs):
            found = True
        return 0

    json.loads(raw.decode("utf-8", "replace"), object_pairs_hook=members)
    return found


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        repeated = Pairs(value)
        repeated.pairs = pairs
        return repeated
    return value


def parse_pairs(raw: bytes) -> Any:
    """The value of a valid JSON text with `Pairs` and `GoFloat` where there is something to say."""
    return json.loads(raw.decode("utf-8", "replace"), object_pairs_hook=_members, parse_float=GoFloat)


_SPACE = b" \t\r\n"
_ESCAPES = b'"\\/bfnrt'
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')


def _quote(char: int) -> str:
    if char == 0x27:
        return "'\\''"
    if char == 0x22:
        return "'\"'"
    if char < 0x20 or 0x7F <= char <= 0x9F:
        named = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}
        if char in named:
            return f"'{named[char]}'"
        return f"'\\x{char:02x}'" if char < 0x80 else f"'\\u{char:04x}'"
    if char == 0x5C:
        return "'\\\\'"
    return f"'{chr(char)}'"


class _Problem(Exception):
    pass


class _Scanner:
    """Walks a JSON text as Go's scanner does and stops at the first byte that does not fit."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0

    def bad(self, context: str) -> _Problem:
        return _Problem(f"invalid character {_quote(self.raw[self.at])} {context}")

    def space(self) -> int:
        """Skip blanks; the next byte. Raises at the end of the text."""
        raw, size = self.raw, len(self.raw)
        while self.at < size and raw[self.at] in _SPACE:
            self.at += 1
        return self.peek()

    def peek(self) -> int:
        if self.at >= len(self.raw):
            raise _Problem("unexpected end of JSON input")
        return self.raw[self.at]

    def document(self) -> None:
        self.value()
        while self.at < len(self.raw):
            if self.raw[self.at] not in _SPACE:
                raise self.bad("after top-level value")
            self.at += 1

    def value(self) -> None:
        stack: list[bytes] = []
        while True:
            if self.open(stack):
                continue
            if self.close(stack):
                return

    def open(self, stack: list[bytes]) -> bool:
        """Scan one value's beginning; True when another value must be opened next."""
        char = self.space()
        if char in b"{[":
            if len(stack) >= MAX_DEPTH:
                raise _Problem("exceeded max depth")
            self.at += 1
            nxt = self.space()
            if char == 0x7B:
                if nxt == 0x7D:
                    self.at += 1
                    return False
                stack.append(b"{")
                self.key()
                return True
            if nxt == 0x5D:
                self.at += 1
                return False
            stack.append(b"[")
            return True
        self.scalar(char)
        return False

    def close(self, stack: list[bytes]) -> bool:
        """After a value: True when the outermost one is complete."""
        while stack:
            char = self.space()
            if stack[-1] == b"{":
                if char == 0x2C:
                    self.at += 1
                    self.space()
                    self.key()
                    return False
                if char != 0x7D:
                    raise self.bad("after object key:value pair")
            else:
                if char == 0x2C:
                    self.at += 1
                    return False
                if char != 0x5D:
                    raise self.bad("after array element")
            self.at += 1
            stack.pop()
        return True

    def key(self) -> None:
        if self.peek() != 0x22:
            raise self.bad("looking for beginning of object key string")
        self.string()
        if self.space() != 0x3A:
            raise self.bad("after object key")
        self.at += 1

    def scalar(self, char: int) -> None:
        if char == 0x22:
            self.string()
        elif char in b"-0123456789":
            self.number(char)
        elif char in b"tfn":
            self.literal({0x74: b"true", 0x66: b"false", 0x6E: b"null"}[char])
        else:
            raise self.bad("looking for beginning of value")

    def literal(self, word: bytes) -> None:
        for i in range(len(word)):
            if self.peek() != word[i]:
                raise self.bad(f"in literal {word.decode()} (expecting {_quote(word[i])})")
            self.at += 1

    def string(self) -> None:
        self.at += 1
        while True:
            match = _PLAIN.match(self.raw, self.at)
            if match is not None:
                self.at = match.end()
            char = self.peek()
            if char == 0x22:
                self.at += 1
                return
            if char < 0x20:
                raise self.bad("in string literal")
            self.at += 1
            char = self.peek()
            if char == 0x75:
                for _ in range(4):
                    self.at += 1
                    if self.peek() not in b"0123456789abcdefABCDEF":
                        raise self.bad("in \\u hexadecimal character escape")
            elif char not in _ESCAPES:
                raise self.bad("in string escape code")
            self.at += 1

    def number(self, char: int) -> None:
        if char == 0x2D:
            self.at += 1
            char = self.peek()
            if char not in b"0123456789":
                raise self.bad("in numeric literal")
        self.at += 1
        if char != 0x30:
            self.digits()
        if self.at < len(self.raw) and self.raw[self.at] == 0x2E:
            self.at += 1
            if self.peek() not in b"0123456789":
                raise self.bad("after decimal point in numeric literal")
            self.digits()
        if self.at < len(self.raw) and self.raw[self.at] in b"eE":
            self.at += 1
            if self.peek() in b"+-":
                self.at += 1
            if self.peek() not in b"0123456789":
                raise self.bad("in exponent of numeric literal")
            self.digits()

    def digits(self) -> None:
        while self.at < len(self.raw) and self.raw[self.at] in b"0123456789":
            self.at += 1


def syntax_problem(raw: bytes) -> str:
    """What Go says of a text that is not JSON; empty when it is JSON to Go."""
    try:
        _Scanner(raw).document()
    except _Problem as problem:
        return str(problem)
    return ""
