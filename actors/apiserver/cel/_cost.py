"""What an expression costs at most, in CEL's cost units, before it runs.

Owns the walk over a checked expression and the arithmetic of ranges. What calls of functions cost is
`_callcosts`'; how large the variables are is told by whoever asks.

Source: github.com/google/cel-go/checker/cost.go
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from actors.apiserver.cel._ast import DYN, Ast, Type
from actors.apiserver.cel._sizes import Bounds

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

    def __init__(self, ast: Ast, places: Places) -> None:
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
        if expr.HasField("ident_expr"):
            stack = self._locals.get(expr.ident_expr.name)
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
        kind = _kind(expr)
        if kind == "ident_expr":
            local = self._local(expr)
            self._paths[expr.id] = local.path if local is not None else [expr.ident_expr.name]
            return Range(_SELECT, _SELECT)
        if kind == "select_expr":
            return self._select(expr)
        if kind == "call_expr":
            return self._call(expr)
        if kind == "list_expr":
            return self._list(expr)
        if kind == "struct_expr":
            return self._struct(expr)
        if kind == "comprehension_expr":
            fold = expr.comprehension_expr
            return self._bind(expr, fold) if _is_bind(fold) else self._fold(expr, fold)
        return NOTHING

    def _select(self, expr: Any) -> Range:
        select = expr.select_expr
        total = self.cost(select.operand)
        if select.test_only:
            return total  # Kubernetes asks nothing for a test of presence
        if self.type(select.operand).kind in ("map", "struct", "param"):
            total = total.plus(Range(_SELECT, _SELECT))
        self._paths[expr.id] = [*self.path(select.operand), select.field]
        return total

    def _call(self, expr: Any) -> Range:
        from actors.apiserver.cel._callcosts import call_cost

        call = expr.call_expr
        if call.function == "dyn" and call.args:
            total = self.cost(call.args[0]).plus(ONE)
            self._copy(expr, call.args[0])
            return total
        costs = [self.cost(arg) for arg in call.args]
        nodes = [self.node(arg) for arg in call.args]
        overloads = self.ast.overloads.get(expr.id)
        if not overloads:
            return NOTHING
        total, target = NOTHING, None
        if call.HasField("target"):
            total = self.cost(call.target)
            target = self.node(call.target)
        best: Range | None = None
        size: Range | None = None
        for overload in overloads:
            asked, made = call_cost(self, expr, call.function, overload, target, nodes, costs)
            best = asked if best is None else best.union(asked)
            if made is not None:
                size = made if size is None else size.union(made)
            if overload in ("index_list", "index_map") and call.args:
                entries = self.entries(call.args[0])
                size = entries.value if entries is not None else None
                step = "@items" if overload == "index_list" else "@values"
                self._paths[expr.id] = [*self.path(call.args[0]), step]
            if size is None:
                size = self.size(expr)
        if size is not None:
            self._sizes[expr.id] = size
        return total.plus(best or NOTHING)

    def _list(self, expr: Any) -> Range:
        total, items = NOTHING, None
        for element in expr.list_expr.elements:
            total = total.plus(self.cost(element))
            size = self.size_or_unknown(element)
            items = size if items is None else items.union(size)
        self._entries[expr.id] = Entries("list", ONE, items or NOTHING)
        return total.plus(Range(_LIST, _LIST))

    def _struct(self, expr: Any) -> Range:
        struct = expr.struct_expr
        total, keys, values = NOTHING, None, None
        for entry in struct.entries:
            if not struct.message_name:
                total = total.plus(self.cost(entry.map_key))
                size = self.size_or_unknown(entry.map_key)
                keys = size if keys is None else keys.union(size)
            total = total.plus(self.cost(entry.value))
            size = self.size_or_unknown(entry.value)
            values = size if values is None else values.union(size)
        if struct.message_name:
            return total.plus(Range(_STRUCT, _STRUCT))
        self._entries[expr.id] = Entries("map", keys or NOTHING, values or NOTHING)
        return total.plus(Range(_MAP, _MAP))

    def _fold(self, expr: Any, fold: Any) -> Range:
        total = self.cost(fold.iter_range).plus(self.cost(fold.accu_init))
        self._push(fold.accu_var, self._variable(fold.accu_init))
        self._push(fold.iter_var, self._iterated(fold.iter_range, bool(fold.iter_var2)))
        if fold.iter_var2:
            self._push(fold.iter_var2, self._iterated(fold.iter_range, False, second=True))
        loop = self.cost(fold.loop_condition)
        step = self.cost(fold.loop_step)
        self._locals[fold.iter_var].pop()
        if fold.iter_var2:
            self._locals[fold.iter_var2].pop()
        total = total.plus(self.cost(fold.result))
        self._locals[fold.accu_var].pop()
        count = self.size_or_unknown(fold.iter_range)
        total = total.plus(count.times(step.plus(loop)))
        kind = _kind(fold.accu_init)
        if kind == "const_expr":
            size = self.size(fold.accu_init)
            if size is not None:
                self._sizes[expr.id] = size
        elif kind in ("list_expr", "struct_expr"):
            self._sizes[expr.id] = count
            made = self.entries(fold.loop_step)
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
        total = self.cost(fold.iter_range).plus(self.cost(fold.accu_init))
        self._push(fold.accu_var, self._variable(fold.accu_init))
        total = total.plus(self.cost(fold.result))
        self._locals[fold.accu_var].pop()
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
    below = (Type(place.items.kind or "dyn"),) if place.items is not None else ()
    return Type(place.kind, (Type("string"), *below) if place.kind == "map" else below)


_KINDS = ("const_expr", "ident_expr", "select_expr", "call_expr", "list_expr", "struct_expr", "comprehension_expr")


def _kind(expr: Any) -> str:
    for kind in _KINDS:
        if expr.HasField(kind):
            return kind
    return ""


def _is_bind(fold: Any) -> bool:
    condition = fold.loop_condition
    return (
        fold.iter_range.HasField("list_expr")
        and not fold.iter_range.list_expr.elements
        and condition.HasField("const_expr")
        and condition.const_expr.HasField("bool_value")
        and not condition.const_expr.bool_value
        and fold.accu_var not in _ACCUMULATORS
    )


def _literal_size(expr: Any) -> Range | None:
    if expr.HasField("const_expr"):
        constant = expr.const_expr
        if constant.HasField("string_value"):
            length = len(constant.string_value)
        elif constant.HasField("bytes_value"):
            length = len(constant.bytes_value)
        else:
            length = 1
        return Range(length, length)
    if expr.HasField("list_expr"):
        length = len(expr.list_expr.elements)
        return Range(length, length)
    if expr.HasField("struct_expr") and not expr.struct_expr.message_name:
        length = len(expr.struct_expr.entries)
        return Range(length, length)
    return None


def _scalar(found: Type) -> bool:
    if found.kind == "optional":
        return bool(found.parameters) and _scalar(found.parameters[0])
    return found.kind in _SCALARS


def cost(ast: Ast, places: Places) -> int:
    """What an expression costs at most."""
    return Coster(ast, places).cost(ast.expr).high
