"""Functions of lists, sets and maps: cel-go's and Kubernetes'.

Owns what they yield and the words of their failures.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

from protocol.cel._operators import add
from protocol.cel._values import Duration, Failure, Uint, compare, equal, shown, type_name

__all__ = [
    "distinct", "extreme", "flat", "includes", "index_of", "insert", "is_sorted", "last_index_of", "numbers", "set_contains",
    "set_intersects", "slice_of", "sort", "sort_by_keys", "total",
]  # fmt: skip

MAX_RANGE = 1_000_000
"""More numbers than this no budget of an expression has room for."""


def is_sorted(items: list[Any]) -> bool:
    """Whether no item is less than the one before it."""
    return all(compare(items[i], items[i + 1]) <= 0 for i in range(len(items) - 1))


_ZEROS = {"int": 0, "uint": Uint(0), "double": 0.0, "duration": Duration(0)}


def total(kind: str) -> Callable[[list[Any]], Any]:
    """The sum of items of a type; zero of nothing."""

    def run(items: list[Any]) -> Any:
        found = _ZEROS[kind]
        for item in items:
            found = add(found, item)
        return found

    return run


def extreme(sign: int, name: str) -> Callable[[list[Any]], Any]:
    """`max` (sign 1) or `min` (-1) of a list."""

    def run(items: list[Any]) -> Any:
        if not items:
            raise Failure(f"{name} called on empty list")
        found = items[0]
        for item in items[1:]:
            if compare(item, found) == sign:
                found = item
        return found

    return run


def index_of(items: list[Any], item: Any) -> int:
    """The first place of an item; -1 when it is missing."""
    return next((i for i, other in enumerate(items) if equal(other, item)), -1)


def last_index_of(items: list[Any], item: Any) -> int:
    """The last place of an item; -1 when it is missing."""
    return next((i for i in range(len(items) - 1, -1, -1) if equal(items[i], item)), -1)


def includes(held: Any, item: Any) -> bool:
    """Whether a list has an item; whether another value is that item."""
    return any(equal(other, item) for other in held) if isinstance(held, list) else equal(held, item)


def slice_of(items: list[Any], start: int, end: int) -> list[Any]:
    """Part of a list."""
    if start < 0 or end < 0:
        raise Failure(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise Failure(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if end > len(items):
        raise Failure(f"cannot slice({start}, {end}), list is length {len(items)}")
    return items[start:end]


def flat(items: list[Any], depth: int = 1) -> list[Any]:
    """A list without its nesting, `depth` levels deep."""
    if depth < 0:
        raise Failure("level must be non-negative")
    out: list[Any] = []
    for item in items:
        if isinstance(item, list) and depth:
            out += flat(item, depth - 1)
        else:
            out.append(item)
    return out


def distinct(items: list[Any]) -> list[Any]:
    """Every item once, in the order of first appearance."""
    if all(type(item) is str for item in items):
        return list(dict.fromkeys(items))
    out: list[Any] = []
    for item in items:
        if not any(equal(item, other) for other in out):
            out.append(item)
    return out


def numbers(count: int) -> list[int]:
    """0 to one less than `count`."""
    if count > MAX_RANGE:
        raise Failure("operation cancelled: actual cost limit exceeded")
    return list(range(count))


_COMPARABLE = ("bool", "int", "uint", "double", "string", "bytes", "google.protobuf.Timestamp", "google.protobuf.Duration")


def sort(items: list[Any]) -> list[Any]:
    """A list in order."""
    return sort_by_keys(items, items)


def sort_by_keys(items: list[Any], keys: list[Any]) -> list[Any]:
    """A list in the order of keys, one per item."""
    if len(items) != len(keys):
        raise Failure(
            f"@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {len(items)}"
            f" and {len(keys)} elements respectively"
        )
    if keys:
        first = type_name(keys[0])
        if first not in _COMPARABLE:
            raise Failure("list elements must be comparable")
        if any(type_name(key) != first for key in keys):
            raise Failure("list elements must have the same type")
    order = cmp_to_key(compare)
    return [items[i] for i in sorted(range(len(items)), key=lambda i: order(keys[i]))]


def set_contains(items: list[Any], wanted: list[Any]) -> bool:
    """Whether a list has every wanted item."""
    return all(any(equal(other, item) for other in items) for item in wanted)


def set_intersects(items: list[Any], others: list[Any]) -> bool:
    """Whether two lists share an item."""
    return any(any(equal(item, other) for other in others) for item in items)


def insert(held: dict[Any, Any], *what: Any) -> dict[Any, Any]:
    """A map with one more entry (a key and a value, or a map)."""
    entries = what[0] if len(what) == 1 else {what[0]: what[1]}
    for key in entries:
        if key in held:
            raise Failure(f"insert failed: key {shown(key)} already exists")
    return {**held, **entries}
