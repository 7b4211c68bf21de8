"""JSONPath as printer columns and selectable fields use it: `.spec.a`, `['x.y/z']`, `[0]`, `[*]` and
`[?(@.type=="Ready")]`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

__all__ = ["find"]

_STEP = re.compile(
    r"\.?(?P<name>[A-Za-z0-9_\\][^.\[\]]*)"
    r"|\.?\[(?P<index>-?\d+|\*)\]"
    r"|\.?\[['\"](?P<quoted>[^'\"]*)['\"]\]"
    r"|\.?\[\?\((?P<filter>.*?)\)\]"
    r"|\.(?P<star>\*)"
)
_FILTER = re.compile(r"\s*@\.?(?P<path>[\w.\[\]'-]*)\s*(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>.+?)\s*\Z")

Step = Callable[[Any], list[Any]]


def _name(key: str) -> Step:
    return lambda value: [value[key]] if isinstance(value, dict) and key in value else []


def _index(text: str) -> Step:
    if text == "*":
        return lambda value: list(value.values() if isinstance(value, dict) else value or ())
    at = int(text)
    return lambda value: [value[at]] if isinstance(value, list) and -len(value) <= at < len(value) else []


def _filter(text: str) -> Step:
    match = _FILTER.match(text)
    if match is None:
        exists = text.strip().removeprefix("@")
        return lambda value: [item for item in value or () if find(exists, item)]
    path, operator, wanted = match["path"], match["op"], _literal(match["value"])

    def test(item: Any) -> bool:
        found = find("." + path, item) if path else [item]
        return bool(found) and _compare(found[0], operator, wanted)

    return lambda value: [item for item in value if test(item)] if isinstance(value, list) else []


def _literal(text: str) -> Any:
    if text[:1] in "'\"":
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        return text


def _compare(left: Any, operator: str, right: Any) -> bool:
    try:
        return bool(
            {
                "==": lambda: left == right,
                "!=": lambda: left != right,
                "<": lambda: left < right,
                "<=": lambda: left <= right,
                ">": lambda: left > right,
                ">=": lambda: left >= right,
            }[operator]()
        )
    except TypeError:
        return False


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    at = 0
    path = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None or match.end() == at:
            break
        at = match.end()
        if match["name"] is not None:
            steps.append(_name(match["name"].replace("\\", "")))
        elif match["quoted"] is not None:
            steps.append(_name(match["quoted"].replace("\\", "")))
        elif match["filter"] is not None:
            steps.append(_filter(match["filter"]))
        else:
            steps.append(_index(match["index"] or "*"))
    return tuple(steps)


def find(path: str, value: Any) -> list[Any]:
    """All values at a path."""
    found = [value]
    for step in _steps(path):
        found = [item for one in found for item in step(one)]
    return found
