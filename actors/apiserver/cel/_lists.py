"""Functions of lists and texts.

Owns what Kubernetes and cel-go add to lists and strings; the engine brings the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

__all__ = [
    "distinct",
    "extreme",
    "find",
    "find_all",
    "flat",
    "index_of",
    "is_sorted",
    "last_index_of",
    "slice_of",
    "total",
]


def is_sorted(items: list[Any]) -> bool:
    """Whether no item is less than the one before it."""
    return all(not b < a for a, b in pairwise(items))


def total(items: list[Any]) -> Any:
    """The sum; 0 of nothing."""
    return sum(items) if items else 0


def extreme(choose: Callable[[list[Any]], Any], name: str) -> Callable[[list[Any]], Any]:
    """`min` or `max` of a list."""
    def run(items: list[Any]) -> Any:
        if not items:
            raise ValueError(f"{name} called on empty list")
        return choose(items)

    return run


def slice_of(items: list[Any], start: int, end: int) -> list[Any]:
    """Part of a list. Raises `ValueError` beyond its ends."""
    if not 0 <= start <= end <= len(items):
        raise ValueError(f"cannot slice({start}, {end}), list is of length {len(items)}")
    return items[start:end]


def flat(items: list[Any], depth: int) -> list[Any]:
    """A list without its nesting, `depth` levels deep."""
    if depth < 0:
        raise ValueError("level must be non-negative")
    out: list[Any] = []
    for item in items:
        if isinstance(item, list) and depth:
            out += flat(item, depth - 1)
        else:
            out.append(item)
    return out


def distinct(items: list[Any]) -> list[Any]:
    """Every item once, in the order of first appearance."""
    out: list[Any] = []
    for item in items:
        if item not in out:
            out.append(item)
    return out


def index_of(items: list[Any], item: Any) -> int:
    """The first place of an item; -1 when it is missing."""
    return items.index(item) if item in items else -1


def last_index_of(items: list[Any], item: Any) -> int:
    """The last place of an item; -1 when it is missing."""
    return len(items) - 1 - items[::-1].index(item) if item in items else -1


def find(text: str, pattern: str) -> str:
    """The first match of a pattern; empty when there is none."""
    match = re.search(pattern, text)
    return match[0] if match is not None else ""


def find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    """All matches of a pattern, at most `limit` when that is not negative."""
    found = [match[0] for match in re.finditer(pattern, text)]
    return found if limit < 0 else found[:limit]
