"""What a call costs when it runs, by the sizes of its arguments, in CEL's cost units.

Owns the rules for CEL's functions and Kubernetes'. A rule is asked before the call where it does not
depend on the result, so that a dear call is never made.

Source: github.com/google/cel-go/interpreter/runtimecost.go, ext/lists.go, ext/sets.go;
k8s.io/apiserver/pkg/cel/library/cost.go (CallCost)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from protocol.cel._opaque import Format
from protocol.cel._values import Opaque, size_of

__all__ = ["call_cost"]

Rule = Callable[[list[Any]], int]
_TRAVERSAL, _REGEX = 0.1, 0.25
_AUTHORIZER_CHECK = 350_000
_LIST, _STRUCT = 10, 40


def _scaled(size: float, factor: float) -> int:
    return math.ceil(size * factor)


def _first(args: list[Any]) -> int:
    return _scaled(size_of(args[0]), _TRAVERSAL)


def _twice(args: list[Any]) -> int:
    return _scaled(size_of(args[0]), 2 * _TRAVERSAL)


def _shorter(args: list[Any]) -> int:
    if args and isinstance(args[0], Opaque):
        return 1
    return _scaled(min(size_of(args[0]), size_of(args[1])), _TRAVERSAL)


def _both(args: list[Any]) -> int:
    return _scaled(size_of(args[0]) + size_of(args[1]), _TRAVERSAL)


def _pattern(args: list[Any]) -> int:
    return _scaled(1 + size_of(args[0]), _TRAVERSAL) * _scaled(size_of(args[1]), _REGEX)


def _part(args: list[Any]) -> int:
    return _scaled(size_of(args[0]), _TRAVERSAL) * _scaled(size_of(args[1]), _TRAVERSAL)


def _traversal(args: list[Any]) -> int:
    """Every item of a list once; texts by their length."""
    value = args[0]
    if not isinstance(value, list):
        return _scaled(size_of(value), _TRAVERSAL)
    if value and isinstance(value[0], (str, bytes)):
        return len(value) + sum(_scaled(size_of(item), _TRAVERSAL) for item in value)
    return len(value)


def _made(factor: Callable[[list[Any]], float]) -> Rule:
    return lambda args: 1 + _LIST + int(factor(args))


def _each_with_each(place: int) -> Rule:
    def rule(args: list[Any]) -> int:
        items = args[place]
        factor = 2.0 + (_TRAVERSAL if items and isinstance(items[0], (str, bytes)) else 0)
        return 1 + _LIST + int(len(items) ** 2 * factor)

    return rule


def _range(args: list[Any]) -> int:
    return 1 + _LIST + max(int(args[0]), 0)


def _slice(args: list[Any]) -> int:
    return 1 + _LIST + max(min(int(args[2]), len(args[0])) - int(args[1]), 0)


def _flatten(args: list[Any]) -> int:
    return 1 + _LIST + int(len(args[0]) * (args[1] if len(args) == 2 else 1))


def _sets(factor: int) -> Rule:
    return lambda args: 1 + len(args[0]) * len(args[1]) * factor


def _selector(args: list[Any]) -> int:
    size = size_of(args[1])
    return _LIST + _scaled(size, _TRAVERSAL) + _scaled(_scaled(size, 0.5), _LIST + _STRUCT)


def _joined(args: list[Any]) -> int:
    """Twice the length of the result, which is told without making it."""
    items = args[0]
    separator = len(args[1]) if len(args) == 2 else 0
    length = sum(len(item) for item in items if isinstance(item, str)) + separator * max(len(items) - 1, 0)
    return _scaled(length, 2 * _TRAVERSAL)


def _contains_ip(args: list[Any]) -> int:
    size = size_of(args[0])
    return _scaled(2 * size, _TRAVERSAL) + _parsed(args[1])


def _contains_cidr(args: list[Any]) -> int:
    size = size_of(args[0])
    return _scaled(2 * size, _TRAVERSAL) + _scaled(size, _TRAVERSAL) + 1 + _parsed(args[1])


def _parsed(other: Any) -> int:
    return _scaled(size_of(other), _TRAVERSAL) if isinstance(other, str) else 0


def _ip(args: list[Any]) -> int:
    return _first(args) if isinstance(args[0], str) else 1


def _validate(args: list[Any]) -> int:
    if not isinstance(args[0], Format):
        return 1
    return _scaled(1 + size_of(args[1]), _TRAVERSAL) * _scaled(args[0].length, _REGEX)


def _one(args: list[Any]) -> int:
    return 1


_BY_FUNCTION: dict[str, Rule] = {
    "check": lambda args: _AUTHORIZER_CHECK,
    **dict.fromkeys(("fieldSelector", "labelSelector"), _selector),
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf", "includes"), _traversal),
    **dict.fromkeys(("url", "lowerAscii", "upperAscii", "substring", "trim", "jsonpatch.escapeKey"), _first),
    **dict.fromkeys(("cidr", "isIP", "isCIDR", "quantity", "isQuantity", "semver", "isSemver"), _first),
    **dict.fromkeys(("replace", "split", "ip.isCanonical"), _twice),
    "join": _joined,
    **dict.fromkeys(("find", "findAll"), _pattern),
    "ip": _ip,
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "validate": _validate,
    "_==_": _shorter,
    "_!=_": _shorter,
}
_SORTS = ("bool", "int", "uint", "double", "string", "bytes", "google.protobuf.Timestamp", "google.protobuf.Duration")
_BY_OVERLOAD: dict[str, Rule] = {
    **dict.fromkeys(
        ("starts_with_string", "ends_with_string", "string_to_bytes", "bytes_to_string", "strings_quote", "string_format"),
        _first,
    ),
    "in_list": lambda args: size_of(args[1]),
    **dict.fromkeys(
        (f"{word}_{kind}" for word in ("less", "less_equals", "greater", "greater_equals") for kind in ("string", "bytes")),
        _shorter,
    ),
    **dict.fromkeys(("add_string", "add_bytes"), _both),
    "matches_string": _pattern,
    "contains_string": _part,
    "list_slice": _slice,
    "list_flatten": _flatten,
    "list_flatten_int": _flatten,
    "lists_range": _range,
    "list_reverse": _made(lambda args: len(args[0])),
    "list_distinct": _each_with_each(0),
    **{f"list_{kind}_sort": _each_with_each(0) for kind in _SORTS},
    **{f"list_{kind}_sortByAssociatedKeys": _each_with_each(1) for kind in _SORTS},
    **dict.fromkeys(("list_sets_contains_list", "list_sets_intersects_list"), _sets(1)),
    "list_sets_equivalent_list": _sets(2),
}


def call_cost(function: str, overload: str) -> Rule | None:
    """How a call's cost is found; None when it is one unit whatever the arguments.

    `overload` is empty when only the run tells which one it is.
    """
    rule = _BY_OVERLOAD.get(overload) or _BY_FUNCTION.get(function)
    return None if rule is _one else rule
