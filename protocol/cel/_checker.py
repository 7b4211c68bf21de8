"""Type checking: every node's type, the overloads of every call, and what is wrong.

Owns the walk and the words of errors (cel-go's, with their places). What types are and how they unify is
`_types`'; what functions there are, `_library`'s. It must never run anything.

Source: cel-spec doc/langdef.md "Gradual Type Checking"; words of github.com/google/cel-go/checker/errors.go
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from protocol.cel._ast import Expr, Source
from protocol.cel._ast import Uint as UintValue
from protocol.cel._library import TYPE_NAMES, Overload, functions
from protocol.cel._operators import convert
from protocol.cel._regex import compile_pattern
from protocol.cel._types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    ERROR,
    INT,
    NULL,
    STRING,
    UINT,
    Bindings,
    Type,
    is_dynamic,
    list_of,
    map_of,
    more_general,
    optional_of,
    type_of_type,
    words,
)  # fmt: skip
from protocol.cel._values import Failure

__all__ = ["Checked", "Structs", "check"]

Structs = Callable[[str], "Type | None"]
"""Finds the message types that expressions may build, by name."""


class Checked(NamedTuple):
    """A checked expression."""

    expr: Expr
    source: Source
    type: Type
    types: dict[int, Type]
    overloads: dict[int, tuple[Overload, ...]]
    constants: dict[int, str]
    """Nodes that name a type, and which."""
    used: frozenset[str]
    """Variables that are used."""
    errors: tuple[str, ...]


def check(expr: Expr, source: Source, variables: Mapping[str, Type], structs: Structs | None = None) -> Checked:
    """Check an expression over variables."""
    return _Checker(source, variables, structs).run(expr)


class _Checker:
    def __init__(self, source: Source, variables: Mapping[str, Type], structs: Structs | None) -> None:
        self.source = source
        self.variables = variables
        self.structs = structs
        self.scopes: list[dict[str, Type]] = []
        self.bound = Bindings()
        self.types: dict[int, Type] = {}
        self.overloads: dict[int, tuple[Overload, ...]] = {}
        self.constants: dict[int, str] = {}
        self.used: set[str] = set()
        self.errors: list[tuple[int, int, str]] = []
        self.functions = functions()

    def run(self, expr: Expr) -> Checked:
        """Check all of an expression."""
        self.check(expr)
        types = {node: self.bound.resolved(found, True) for node, found in self.types.items()}
        if not self.errors:
            _Literals(self, types).walk(expr)
        order = sorted(range(len(self.errors)), key=lambda i: (*self._place(self.errors[i][0]), i))
        texts = tuple(self.source.error(self.errors[i][0], self.errors[i][2]) for i in order)
        return Checked(
            expr, self.source, types[expr.id], types, self.overloads, self.constants, frozenset(self.used), texts
        )

    def _place(self, node: int) -> tuple[int, int]:
        return self.source.place(node)

    def error(self, node: int, message: str) -> None:
        """Note what is wrong with a node."""
        self.errors.append((node, len(self.errors), message))

    # --- nodes ------------------------------------------------------------------------------

    def check(self, expr: Expr) -> Type:
        """The type of a node, after all below it."""
        found = getattr(self, f"_{expr.kind}")(expr)
        self.types[expr.id] = found
        return found  # type: ignore[no-any-return]

    def _const(self, expr: Expr) -> Type:
        value = expr.value
        if value is None:
            return NULL
        if isinstance(value, UintValue):
            return UINT
        return {bool: BOOL, int: INT, float: DOUBLE, str: STRING, bytes: BYTES}[type(value)]

    def _lookup(self, name: str) -> Type | None:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return self._global(name)

    def _global(self, name: str) -> Type | None:
        found = self.variables.get(name)
        if found is not None:
            self.used.add(name)
            return found
        named = TYPE_NAMES.get(name)
        if named is None and self.structs is not None:
            named = self.structs(name)
        return type_of_type(named) if named is not None else None

    def _is_local(self, name: str) -> bool:
        return any(name in scope for scope in self.scopes)

    def _ident(self, expr: Expr) -> Type:
        absolute = expr.name.startswith(".")
        name = expr.name.removeprefix(".")
        found = self._global(name) if absolute else self._lookup(name)
        if found is None:
            self.error(expr.id, f"undeclared reference to '{expr.name}' (in container '')")
            return ERROR
        if found.kind == "type" and name not in self.variables and not self._is_local(name):
            self.constants[expr.id] = name
        return found

    def _select(self, expr: Expr) -> Type:
        assert expr.target is not None
        dotted = _dotted(expr)
        if dotted is not None and not self._is_local(dotted.split(".", 1)[0]):
            found = self._global(dotted.removeprefix("."))
            if found is not None:
                if dotted not in self.variables:
                    self.constants[expr.id] = dotted
                expr.kind, expr.name, expr.target = "ident", dotted, None
                return found
        held = self._field(expr, expr.target, expr.name, False)
        return BOOL if expr.test else self.bound.resolved(held)

    def _field(self, expr: Expr, operand: Expr, name: str, optional: bool) -> Type:
        holder = self.bound.resolved(self.check(operand))
        inner, was_optional = (holder.parameters[0], True) if holder.kind == "optional" else (holder, False)
        found = ERROR
        if inner.kind == "map":
            found = inner.parameters[1]
        elif inner.kind == "struct":
            field = inner.fields(name) if inner.fields is not None else None
            if field is not None:
                found = field
            else:
                known = inner.fields is not None
                self.error(
                    expr.id, f"undefined field '{name}'" if known else f"unexpected failed resolution of '{inner.name}'"
                )
        elif inner.kind == "param":
            self.bound.fits(DYN, inner)
            found = DYN
        else:
            if not is_dynamic(inner) and inner.kind != "error":
                self.error(expr.id, f"type '{words(inner)}' does not support field selection")
            found = DYN
        return optional_of(found) if was_optional or optional else found

    def _call(self, expr: Expr) -> Type:
        if expr.name == "_?._":
            return self._optional_select(expr)
        if expr.target is None:
            types = [self.check(arg) for arg in expr.args]
            return self._resolve(expr, expr.name, None, types)
        types = [self.check(arg) for arg in expr.args]
        dotted = _dotted(expr.target)
        if dotted is not None and f"{dotted}.{expr.name}" in self.functions:
            expr.name, expr.target = f"{dotted}.{expr.name}", None
            return self._resolve(expr, expr.name, None, types)
        return self._resolve(expr, expr.name, self.check(expr.target), types)

    def _optional_select(self, expr: Expr) -> Type:
        operand, field = expr.args
        if not isinstance(field.value, str):
            self.error(field.id, f"unsupported optional field selection: {field.value}")
            return ERROR
        self.types[field.id] = STRING
        self.overloads[expr.id] = self.functions["_?._"]
        return self.bound.resolved(self._field(expr, operand, field.value, True))

    def _resolve(self, expr: Expr, name: str, target: Type | None, args: list[Type]) -> Type:
        candidates = self.functions.get(name)
        if candidates is None:
            self.error(expr.id, f"undeclared reference to '{name}' (in container '')")
            return ERROR
        given = [*([target] if target is not None else []), *args]
        if name in ("_&&_", "_||_"):
            return self._logic(expr, candidates, given)
        result: Type | None = None
        matching: list[Overload] = []
        for overload in candidates:
            if overload.method != (target is not None) or len(overload.parameters) != len(given):
                continue
            made, *parameters = self.bound.instance(overload.signature)
            if not self.bound.all_fit(given, parameters):
                continue
            matching.append(overload)
            made = self.bound.resolved(made)
            if result is None:
                result = made
            elif not is_dynamic(result) and not made.same(result):
                result = DYN
        if result is None:
            shown = [words(self.bound.resolved(one, True)) for one in given]
            head = f"{shown.pop(0)}." if target is not None else ""
            self.error(expr.id, f"found no matching overload for '{name}' applied to '{head}({', '.join(shown)})'")
            return ERROR
        self.overloads[expr.id] = tuple(matching)
        return result

    def _logic(self, expr: Expr, candidates: tuple[Overload, ...], given: list[Type]) -> Type:
        wrong = False
        for arg, found in zip(expr.args, given, strict=True):
            if not self.bound.fits(found, BOOL):
                self._mismatch(arg, BOOL, found)
                wrong = True
        self.overloads[expr.id] = candidates
        return ERROR if wrong else BOOL

    def _mismatch(self, expr: Expr, wanted: Type, found: Type) -> None:
        self.error(expr.id, f"expected type '{words(self._shown(wanted))}' but found '{words(self._shown(found))}'")

    def _shown(self, found: Type) -> Type:
        return self.bound.resolved(found)

    def _join(self, previous: Type | None, found: Type) -> Type:
        if previous is None:
            return found
        return more_general(previous, found) if self.bound.fits(previous, found) else DYN

    def _unwrapped(self, expr: Expr, found: Type) -> Type:
        """What an optional item or entry holds."""
        if found.kind == "optional":
            return found.parameters[0]
        if not is_dynamic(found):
            self._mismatch(expr, optional_of(found), found)
        return found

    def _list(self, expr: Expr) -> Type:
        items: Type | None = None
        for place, element in enumerate(expr.args):
            found = self.check(element)
            if place in expr.optional:
                found = self._unwrapped(element, found)
            items = self._join(items, found)
        return list_of(items if items is not None else self.bound.fresh())

    def _struct(self, expr: Expr) -> Type:
        if expr.name:
            return self._message(expr)
        keys: Type | None = None
        values: Type | None = None
        for key, value, optional, _ in expr.entries:
            keys = self._join(keys, self.check(key))
            found = self.check(value)
            values = self._join(values, self._unwrapped(value, found) if optional else found)
        if keys is None or values is None:
            return map_of(self.bound.fresh(), self.bound.fresh())
        return map_of(keys, values)

    def _message(self, expr: Expr) -> Type:
        name = expr.name.removeprefix(".")
        made = self.structs(name) if self.structs is not None else None
        if made is None:
            known = TYPE_NAMES.get(name)
            self.error(
                expr.id,
                f"'{words(known)}' is not a message type" if known is not None
                else f"undeclared reference to '{expr.name}' (in container '')",
            )  # fmt: skip
        for field, value, optional, place in expr.entries:
            found = self.check(value)
            if optional:
                found = self._unwrapped(value, found)
            if made is None or made.fields is None:
                continue
            wanted = made.fields(field)
            if wanted is None:
                self.error(place, f"undefined field '{field}'")
            elif not self.bound.fits(wanted, found):
                self.error(
                    place,
                    f"expected type of field '{field}' is '{words(wanted)}' but provided type is"
                    f" '{words(self._shown(found))}'",
                )
        return made if made is not None else ERROR

    def _fold(self, expr: Expr) -> Type:
        fold = expr.fold
        assert fold is not None
        over = self.bound.resolved(self.check(fold.over))
        accumulated = self.check(fold.start)
        first, second = self._iterated(fold.over, over, bool(fold.variable2))
        self.scopes.append({fold.accumulator: accumulated})
        inner = {fold.variable: first}
        if fold.variable2:
            inner[fold.variable2] = second
        self.scopes.append(inner)
        self._assert(fold.condition, BOOL, self.check(fold.condition))
        self._assert(fold.step, accumulated, self.check(fold.step))
        self.scopes.pop()
        result = self.check(fold.result)
        self.scopes.pop()
        return self.bound.resolved(result)

    def _assert(self, expr: Expr, wanted: Type, found: Type) -> None:
        if not self.bound.fits(wanted, found):
            self._mismatch(expr, wanted, found)

    def _iterated(self, expr: Expr, over: Type, two: bool) -> tuple[Type, Type]:
        """The types of the variables of a comprehension."""
        if over.kind == "list":
            return (INT, over.parameters[0]) if two else (over.parameters[0], DYN)
        if over.kind == "map":
            return over.parameters[0], over.parameters[1]
        if is_dynamic(over) or over.kind in ("error", "param"):
            if over.kind == "param":
                self.bound.fits(DYN, over)
            return DYN, DYN
        self.error(
            expr.id,
            f"expression of type '{words(over)}' cannot be range of a comprehension (must be list, map, or dynamic)",
        )
        return ERROR, ERROR


def _dotted(expr: Expr) -> str | None:
    """`a.b.c` as a text; None for anything else."""
    names: list[str] = []
    while expr.kind == "select" and not expr.test and expr.target is not None:
        names.append(expr.name)
        expr = expr.target
    if expr.kind != "ident":
        return None
    return ".".join([expr.name, *reversed(names)])




class _Literals:
    """What can be told of literals: durations, timestamps and patterns that are none; lists and maps of
    several types, which only `format` takes."""

    def __init__(self, checker: _Checker, types: dict[int, Type]) -> None:
        self.checker = checker
        self.types = types
        self.formats = False
        """Whether this is somewhere in a call of `format`."""

    def walk(self, expr: Expr) -> None:
        """Look at a node and all below it."""
        if expr.kind == "call":
            self._look(expr)
        if expr.kind in ("list", "struct") and not self.formats:
            self._look_at_members(expr)
        outer, self.formats = self.formats, self.formats or (expr.kind == "call" and expr.name == "format")
        self._walk_parts(expr)
        self.formats = outer

    def _walk_parts(self, expr: Expr) -> None:
        parts = [expr.target, *expr.args]
        for key, value, _, _ in expr.entries:
            parts += [key if isinstance(key, Expr) else None, value]
        if expr.fold is not None:
            fold = expr.fold
            parts += [fold.over, fold.start, fold.condition, fold.step, fold.result]
        for part in parts:
            if part is not None:
                self.walk(part)

    def _look_at_members(self, expr: Expr) -> None:
        """Say which are of another type than the first: in a list only the first of them."""
        if expr.kind == "list":
            self._alike([(arg, place in expr.optional) for place, arg in enumerate(expr.args)], once=True)
        elif not expr.name:
            self._alike([(key, False) for key, _, _, _ in expr.entries if isinstance(key, Expr)])
            self._alike([(value, optional) for _, value, optional, _ in expr.entries])

    def _alike(self, members: list[tuple[Expr, bool]], *, once: bool = False) -> None:
        first: Type | None = None
        for member, optional in members:
            found = self.types[member.id]
            if optional and found.parameters:
                found = found.parameters[0]
            if first is None:
                first = found
            elif not first.same(found):
                self.checker.error(member.id, f"expected type '{words(first)}' but found '{words(found)}'")
                if once:
                    return

    def _look(self, expr: Expr) -> None:
        if expr.name in ("duration", "timestamp") and len(expr.args) == 1:
            value = expr.args[0].value if expr.args[0].kind == "const" else None
            if isinstance(value, str):
                try:
                    convert[expr.name](value)
                except Failure:
                    self.checker.error(expr.args[0].id, f"invalid {expr.name} argument")
        elif expr.name == "matches" and expr.args and isinstance(expr.args[0].value, str):
            try:
                compile_pattern(expr.args[0].value)
            except ValueError:
                self.checker.error(expr.args[0].id, "invalid matches argument")


