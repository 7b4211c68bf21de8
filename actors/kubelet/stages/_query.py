"""Queries over objects: the part of jq that stages select by.

    .metadata.annotations["example.com/x"]
    .status.conditions.[] | select( .type == "Ready" ) | .status

Owns parsing and evaluation. What is not of that part is refused at parse time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["Query", "QueryError"]

_STEP = re.compile(
    r"""\s*\.?(?:(?P<name>[A-Za-z_][\w]*)|\[\s*(?:(?P<all>)\]|"(?P<key>[^"]*)"\s*\]|(?P<index>-?\d+)\s*\])|(?P<quoted>"[^"]*"))\??"""
)
_SELECT = re.compile(r"\s*select\((?P<body>.*)\)\s*$", re.DOTALL)
_TEST = re.compile(r"""\s*(?P<path>\.[^=!<>]*?)\s*(?:(?P<op>==|!=)\s*(?P<value>"[^"]*"|-?\d+|true|false|null))?\s*$""")


class QueryError(ValueError):
    """Not a query, or not one of the part that is understood."""


class Query:
    """A parsed query. Raises `QueryError`."""

    def __init__(self, text: str) -> None:
        self._stages = [_stage(part) for part in _pipes(text)]

    def values(self, obj: Any) -> list[Any]:
        """What it finds, without nulls; nothing where the object has no such place."""
        found = [obj]
        for kind, what in self._stages:
            if kind == "path":
                found = [value for one in found for value in _walk(one, what)]
            else:
                found = [one for one in found if any(all(test(one) for test in group) for group in what)]
        return [value for value in found if value is not None]


def _pipes(text: str) -> list[str]:
    parts, depth, quoted, begun = [], 0, False, 0
    for at, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif not quoted and char in "([":
            depth += 1
        elif not quoted and char in ")]":
            depth -= 1
        elif not quoted and depth == 0 and char == "|":
            parts.append(text[begun:at])
            begun = at + 1
    return [*parts, text[begun:]]


def _stage(text: str) -> tuple[str, Any]:
    match = _SELECT.match(text)
    if match is None:
        return "path", _path(text)
    groups = re.split(r"\bor\b", match["body"])
    return "select", [[_test(part) for part in re.split(r"\band\b", group)] for group in groups]


def _test(text: str) -> Any:
    match = _TEST.match(text)
    if match is None:
        raise QueryError(f"select({text.strip()}) is not supported")
    path = _path(match["path"])
    if match["op"] is None:
        return lambda one: any(v not in (None, False) for v in _walk(one, path))
    literal = match["value"]
    wanted: Any = {"true": True, "false": False, "null": None}.get(literal, literal)
    if literal.startswith('"'):
        wanted = literal[1:-1]
    elif wanted is literal:
        wanted = int(literal)
    equal = match["op"] == "=="
    return lambda one: any((v == wanted) == equal for v in _walk(one, path))


def _path(text: str) -> list[Any]:
    text = text.strip()
    if not text.startswith("."):
        raise QueryError(f"{text!r} is not supported: a path begins with a dot")
    steps: list[Any] = []
    at = 1 if text == "." else 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or match.end() == at:
            raise QueryError(f"{text[at:]!r} is not supported")
        if match["all"] is not None:
            steps.append(None)
        elif match["index"] is not None:
            steps.append(int(match["index"]))
        else:
            steps.append(match["name"] or match["key"] or (match["quoted"] or "")[1:-1])
        at = match.end()
    return steps


def _walk(value: Any, steps: list[Any]) -> list[Any]:
    found = [value]
    for step in steps:
        following: list[Any] = []
        for one in found:
            if step is None:
                following += (
                    list(one.values())
                    if isinstance(one, Mapping)
                    else list(one)
                    if isinstance(one, (list, tuple))
                    else []
                )
            elif isinstance(step, int):
                inside = isinstance(one, (list, tuple)) and -len(one) <= step < len(one)
                following.append(one[step] if inside else None)
            else:
                following.append(one.get(step) if isinstance(one, Mapping) else None)
        found = following
    return found
