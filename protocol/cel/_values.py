"""Values while an expression runs: what Python has no type for, equality, order, size, type names.

JSON values are themselves: dict, list, str, bool, int (64 bits, signed), float, None. Bytes are bytes.
Owns `Uint`, `Timestamp`, `Duration`, `Optional`, `TypeName`, the lists whose order means nothing, and the
base of Kubernetes' opaque values. It must never know functions.

Source: cel-spec doc/langdef.md "Values", "Equality", "Ordering"; github.com/google/cel-go/common/types
"""

from __future__ import annotations

import math
from typing import Any

from protocol.cel._ast import Uint

__all__ = [
    "NONE", "Duration", "Failure", "MapList", "Message", "Opaque", "Optional", "SetList", "Timestamp", "TypeName", "Uint",
    "compare", "equal", "no_overload", "shown", "size_of", "type_name",
]  # fmt: skip

INT_MIN, INT_MAX, UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1


class Failure(Exception):
    """An expression failed; the words are cel-go's."""


def no_overload() -> Failure:
    """Operands of types that an operator does not take."""
    return Failure("no such overload")


class Timestamp(int):
    """A moment, as nanoseconds since the epoch. `offset_s`: of the clock by which it was told."""

    offset_s: int

    def __new__(cls, nanoseconds: int, offset_s: int = 0) -> Timestamp:
        """A moment, told by a clock that is so many seconds ahead of UTC."""
        made = super().__new__(cls, nanoseconds)
        made.offset_s = offset_s
        return made


class Duration(int):
    """A span of time, as nanoseconds."""

    __slots__ = ()


class TypeName(str):
    """A type as a value: what `type(x)` yields."""

    __slots__ = ()


class Optional:
    """A value that may be missing."""

    __slots__ = ("held", "value")

    def __init__(self, held: bool, value: Any = None) -> None:
        self.held = held
        self.value = value


NONE = Optional(False)


class Opaque:
    """A value that only functions understand. `key` decides what it equals."""

    __slots__ = ()
    kind = ""

    @property
    def key(self) -> Any:
        """What two equal values have in common."""
        return id(self)


class Message(dict[str, Any]):
    """An object that an expression built, of a named type."""

    name = ""


class SetList(list[Any]):
    """A list whose items are unique and whose order means nothing."""


class MapList(list[Any]):
    """A list whose items are told apart by some of their fields; the order means nothing."""

    fields: tuple[str, ...] = ()


_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "bool"), (Uint, "uint"), (Timestamp, "google.protobuf.Timestamp"), (Duration, "google.protobuf.Duration"),
    (int, "int"), (float, "double"), (TypeName, "type"), (str, "string"), (bytes, "bytes"), (list, "list"),
    (tuple, "list"), (dict, "map"), (Optional, "optional_type"), (type(None), "null_type"),
)  # fmt: skip
_EXACT = dict(_NAMES)


def type_name(value: Any) -> str:
    """The name of a value's type, as `type()` and messages have it."""
    name = _EXACT.get(type(value))
    if name is not None:
        return name
    if isinstance(value, Opaque):
        return value.kind
    if isinstance(value, Message):
        return value.name
    return next((name for kind, name in _NAMES if isinstance(value, kind)), "dyn")


def size_of(value: Any) -> int:
    """How much a value counts in costs: characters, bytes, items, entries; 1 for all else."""
    if isinstance(value, (str, bytes, list, dict, tuple)) and not isinstance(value, TypeName):
        return len(value)
    if isinstance(value, Opaque):
        return getattr(value, "size", 1)
    if isinstance(value, Optional) and value.held:
        return size_of(value.value)
    return 1


_NUMBERS = (int, float)


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, (bool, Timestamp, Duration))


def equal(a: Any, b: Any) -> bool:
    """Whether two values are equal; those of different types are not, but numbers compare as numbers."""
    kind = type(a)
    if kind is str and type(b) is str:
        return bool(a == b)
    if isinstance(a, dict):
        return isinstance(b, dict) and _equal_maps(a, b)
    if isinstance(a, list):
        return isinstance(b, list) and _equal_lists(a, b)
    if _is_number(a):
        return _is_number(b) and bool(a == b)
    if isinstance(a, Opaque):
        return isinstance(b, Opaque) and a.kind == b.kind and bool(a.key == b.key)
    if isinstance(a, Optional):
        return isinstance(b, Optional) and a.held == b.held and (not a.held or equal(a.value, b.value))
    return type_name(a) == type_name(b) and bool(a == b)


def _equal_maps(a: dict[Any, Any], b: dict[Any, Any]) -> bool:
    if len(a) != len(b):
        return False
    missing = object()
    for key, value in a.items():
        other = b.get(key, missing)
        if other is missing or not equal(value, other):
            return False
    return True


def _equal_lists(a: list[Any], b: list[Any]) -> bool:
    if len(a) != len(b):
        return False
    if isinstance(a, SetList):
        return {_hashable(item) for item in a} == {_hashable(item) for item in b}
    if isinstance(a, MapList):
        known = {a_key(item, a.fields): item for item in a}
        return all((k := a_key(item, a.fields)) in known and equal(known[k], item) for item in b)
    return all(equal(x, y) for x, y in zip(a, b, strict=True))


def _hashable(item: Any) -> Any:
    return (type_name(item), item) if not isinstance(item, (dict, list)) else repr(item)


def a_key(item: Any, fields: tuple[str, ...]) -> Any:
    """What tells an item of a `MapList` apart."""
    return tuple(_hashable(item.get(field)) for field in fields) if isinstance(item, dict) else repr(item)


_ORDERED = ("bool", "string", "bytes", "google.protobuf.Timestamp", "google.protobuf.Duration")


def compare(a: Any, b: Any) -> int:
    """-1, 0 or 1. Raises `Failure` for values that have no order."""
    if _is_number(a) and _is_number(b):
        if math.isnan(a) or math.isnan(b):
            raise Failure("NaN values cannot be ordered")
        return (a > b) - (a < b)
    name = type_name(a)
    if name not in _ORDERED or name != type_name(b):
        if isinstance(a, Opaque) and isinstance(b, Opaque) and a.kind == b.kind:
            return (a.key > b.key) - (a.key < b.key)
        raise no_overload()
    return (a > b) - (a < b)


def shown(value: Any) -> str:
    """A value in a message, as Go prints it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return str(value)
