"""What an expression costs at most, in CEL's cost units, before it runs.

Owns the walk over a checked expression and the arithmetic of ranges. What calls of functions cost is
`_callcosts`'; how large the variables are is told by whoever asks.

Source: github.com/google/cel-go/checker/cost.go
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from protocol.cel._ast import Expr
from protocol.cel._checker import Checked
from protocol.cel._sizes import Bounds
from protocol.cel._types import DYN, STRING, Type, list_of, map_of

__all__ = ["MAX", "Coster", "Node", "Range", "cost"]

MAX = 2**64 - 1
_SELECT, _LIST, _MAP, _STRUCT = 1, 10, 30, 40
_ACCUMULATORS = ("__result__", "@result")
_SCALARS = frozenset(("bool", "double", "duration", "int", "timestamp", "uint"))


class Range(NamedTuple):
    """A least and a greatest value; sums and products stay within 64 bits."""

    low: int
    high: int

    def plus(self, other: Range) -> Range:
        """The sum."""
        return Range(min(self.low + other.low, MAX), min(self.high + other.high, MAX))

    def times(self, other: Range) -> Range:
        """The product."""
        return Range(min(self.low * other.low, MAX), min(self.high * other.high, MAX))

    def scaled(self, factor: float) -> Range:
        """Times a factor, rounded up."""
        return Range(min(math.ceil(self.low * factor), MAX), min(math.ceil(self.high * factor), MAX))

    def union(self, other: Range) -> Range:
        """What covers both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


NOTHING, ONE, UNKNOWN = Range(0, 0), Range(1, 1), Range(0, MAX)
Places = Callable[[list[str]], "Bounds | None"]


class Entries(NamedTuple):
    """Sizes of the keys and values of a container."""

    kind: str
    key: Range
    value: Range


class Node(NamedTuple):
    """An argument as the costs of functions see it."""

    path: list[str]
    type: Type
    expr: Any
    size: Range | None


class _Local(NamedTuple):
    path: list[str]
    size: Range | None
    entries: Entries | None


class Coster:
    """One estimate. `places` knows what a path (a variable, then fields, `@items`, `@keys`, `@values`)
    leads to, and how large that is."""

    def __init__(self, ast: Checked, places: Places) -> None:
        self.ast = ast
        self.places = places
        self._paths: dict[int, list[str]] = {}
        self._locals: dict[str, list[_Local]] = {}
        self._sizes: dict[int, Range] = {}
        self._entries: dict[int, Entries] = {}

    # --- sizes ------------------------------------------------------------------------------

    def type(self, expr: Any) -> Type:
        """The static type of an expression; by the schema where the engine was not told."""
        found = self.ast.types.get(expr.id, DYN)
        if found.kind == "dyn":
            path = self.path(expr)
            place = self.places(path) if path else None
            if place is not None and place.kind:
                return _type_of(place)
        return found

    def _local(self, expr: Any) -> _Local | None:
        if expr.kind == "ident":
            stack = self._locals.get(expr.name)
            if stack:
                return stack[-1]
        return None

    def path(self, expr: Any) -> list[str]:
        """How an expression is reached from a variable; empty when it is not."""
        local = self._local(expr)
        return local.path if local is not None else self._paths.get(expr.id, [])

    def size(self, expr: Any) -> Range | None:
        """The size of an expression's value; None when nothing is known."""
        known = self._sizes.get(expr.id)
        if known is not None:
            return known
        known = _literal_size(expr)
        if known is not None:
            return known
        path = self.path(expr)
        if path:
            place = self.places(path)
            if place is not None:
                known = self._sizes[expr.id] = Range(0, place.most)
                return known
        if _scalar(self.type(expr)):
            return ONE
        local = self._local(expr)
        return local.size if local is not None else None

    def size_or_unknown(self, expr: Any) -> Range:
        """The size, or a range of all sizes."""
        found = self.size(expr)
        return UNKNOWN if found is None else found

    def entries(self, expr: Any) -> Entries | None:
        """The sizes of a container's entries, where an expression made it."""
        known = self._entries.get(expr.id)
        if known is not None:
            return known
        local = self._local(expr)
        return local.entries if local is not None else None

    def node(self, expr: Any) -> Node:
        """An expression as an argument."""
        path = self.path(expr)
        return Node([] if path and path[0] in _ACCUMULATORS else path, self.type(expr), expr, self.size(expr))

    def _push(self, name: str, local: _Local) -> None:
        self._locals.setdefault(name, []).append(local)

    # --- costs ------------------------------------------------------------------------------

    def cost(self, expr: Any) -> Range:
        """The cost of an expression and all below it."""
        kind = expr.kind
        if kind == "ident":
            local = self._local(expr)
            self._paths[expr.id] = local.path if local is not None else [expr.name]
            return Range(_SELECT, _SELECT)
        if kind == "select":
            return self._select(expr)
        if kind == "call":
            return self._call(expr)
        if kind == "list":
            return self._list(expr)
        if kind == "struct":
            return self._struct(expr)
        if kind == "fold":
            return self._bind(expr, expr.fold) if _is_bind(expr.fold) else self._fold(expr, expr.fold)
        return NOTHING

    def _select(self, expr: Any) -> Range:
        total = self.cost(expr.target)
        if expr.test:
            return total  # Kubernetes asks nothing for a test of presence
        if self.type(expr.target).kind in ("map", "struct", "param"):
            total = total.plus(Range(_SELECT, _SELECT))
        self._paths[expr.id] = [*self.path(expr.target), expr.name]
        return total

    def _call(self, expr: Any) -> Range:
        from protocol.cel._callcosts import call_cost

        if expr.name == "dyn" and expr.args:
            total = self.cost(expr.args[0]).plus(ONE)
            self._copy(expr, expr.args[0])
            return total
        costs = [self.cost(arg) for arg in expr.args]
        nodes = [self.node(arg) for arg in expr.args]
        overloads = self.ast.overloads.get(expr.id)
        if not overloads:
            return NOTHING
        total, target = NOTHING, None
        if expr.target is not None:
            total = self.cost(expr.target)
            target = self.node(expr.target)
        best: Range | None = None
        size: Range | None = None
        for overload in (one.id for one in overloads):
            asked, made = call_cost(self, expr, expr.name, overload, target, nodes, costs)
            best = asked if best is None else best.union(asked)
            if made is not None:
                size = made if size is None else size.union(made)
            if overload in ("index_list", "index_map") and expr.args:
                entries = self.entries(expr.args[0])
                size = entries.value if entries is not None else None
                step = "@items" if overload == "index_list" else "@values"
                self._paths[expr.id] = [*self.path(expr.args[0]), step]
            if size is None:
                size = self.size(expr)
        if size is not None:
            self._sizes[expr.id] = size
        return total.plus(best or NOTHING)

    def _list(self, expr: Any) -> Range:
        total, items = NOTHING, None
        for element in expr.args:
            total = total.plus(self.cost(element))
            size = self.size_or_unknown(element)
            items = size if items is None else items.union(size)
        self._entries[expr.id] = Entries("list", ONE, items or NOTHING)
        return total.plus(Range(_LIST, _LIST))

    def _struct(self, expr: Any) -> Range:
        total, keys, values = NOTHING, None, None
        for key, value, _, _ in expr.entries:
            if isinstance(key, Expr):
                total = total.plus(self.cost(key))
                size = self.size_or_unknown(key)
                keys = size if keys is None else keys.union(size)
            total = total.plus(self.cost(value))
            size = self.size_or_unknown(value)
            values = size if values is None else values.union(size)
        if expr.name:
            return total.plus(Range(_STRUCT, _STRUCT))
        self._entries[expr.id] = Entries("map", keys or NOTHING, values or NOTHING)
        return total.plus(Range(_MAP, _MAP))

    def _fold(self, expr: Any, fold: Any) -> Range:
        total = self.cost(fold.over).plus(self.cost(fold.start))
        self._push(fold.accumulator, self._variable(fold.start))
        self._push(fold.variable, self._iterated(fold.over, bool(fold.variable2)))
        if fold.variable2:
            self._push(fold.variable2, self._iterated(fold.over, False, second=True))
        loop = self.cost(fold.condition)
        step = self.cost(fold.step)
        self._locals[fold.variable].pop()
        if fold.variable2:
            self._locals[fold.variable2].pop()
        total = total.plus(self.cost(fold.result))
        self._locals[fold.accumulator].pop()
        count = self.size_or_unknown(fold.over)
        total = total.plus(count.times(step.plus(loop)))
        kind = fold.start.kind
        if kind == "const":
            size = self.size(fold.start)
            if size is not None:
                self._sizes[expr.id] = size
        elif kind in ("list", "struct"):
            self._sizes[expr.id] = count
            made = self.entries(fold.step)
            if made is not None:
                self._entries[expr.id] = made
        return total

    def _variable(self, expr: Any) -> _Local:
        return _Local(self.path(expr), self.size(expr), self.entries(expr))

    def _iterated(self, over: Any, key: bool, second: bool = False) -> _Local:
        """The variable of a loop: an item of a list, a key of a map; with two, first the key or index."""
        entries = self.entries(over)
        kind = entries.kind if entries is not None else self.type(over).kind
        listed = kind == "list"
        if second or (listed and not key):
            step, size = ("@items" if listed else "@values"), entries.value if entries is not None else None
        else:
            step, size = ("@indices" if listed else "@keys"), entries.key if entries is not None else None
        return _Local([*self.path(over), step], size, None)

    def _bind(self, expr: Any, fold: Any) -> Range:
        total = self.cost(fold.over).plus(self.cost(fold.start))
        self._push(fold.accumulator, self._variable(fold.start))
        total = total.plus(self.cost(fold.result))
        self._locals[fold.accumulator].pop()
        self._copy(expr, fold.result)
        return total

    def _copy(self, to: Any, source: Any) -> None:
        size, entries = self.size(source), self.entries(source)
        if size is not None:
            self._sizes[to.id] = size
        if entries is not None:
            self._entries[to.id] = entries

    def set_entries(self, expr: Any, entries: Entries) -> None:
        """Remember what a call's result holds."""
        self._entries[expr.id] = entries


def _type_of(place: Bounds) -> Type:
    if place.kind in ("list", "map"):
        item = Type(place.items.kind, place.items.kind) if place.items is not None and place.items.kind else DYN
        return list_of(item) if place.kind == "list" else map_of(STRING, item)
    return Type(place.kind, place.kind)


def _is_bind(fold: Any) -> bool:
    return (
        fold.over.kind == "list"
        and not fold.over.args
        and fold.condition.kind == "const"
        and fold.condition.value is False
        and fold.accumulator not in _ACCUMULATORS
    )


def _literal_size(expr: Any) -> Range | None:
    if expr.kind == "const":
        length = len(expr.value) if isinstance(expr.value, (str, bytes)) else 1
    elif expr.kind == "list":
        length = len(expr.args)
    elif expr.kind == "struct" and not expr.name:
        length = len(expr.entries)
    else:
        return None
    return Range(length, length)


def _scalar(found: Type) -> bool:
    if found.kind == "optional":
        return bool(found.parameters) and _scalar(found.parameters[0])
    return found.kind in _SCALARS


def cost(ast: Checked, places: Places) -> int:
    """What an expression costs at most."""
    return Coster(ast, places).cost(ast.expr).high
