"""Static types of expressions, and when a value of one may stand where another is wanted.

Owns types, their words in messages, and unification. It knows neither expressions nor functions.

Source: cel-spec doc/langdef.md "Gradual Type Checking"; the words are cel-go's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = [
    "ANY", "BOOL", "BYTES", "DOUBLE", "DURATION", "DYN", "ERROR", "INT", "NULL", "STRING", "TIMESTAMP", "TYPE", "UINT",
    "Bindings", "Type", "full_name", "is_dynamic", "list_of", "map_of", "opaque", "optional_of", "parameter", "struct", "type_of_type",
    "words",
]  # fmt: skip

Fields = Callable[[str], "Type | None"]


class Type:
    """A static type. `kind` is one of the words below, `name` tells apart those of one kind.

    `bool int uint double string bytes null timestamp duration dyn any error type list map optional
    opaque struct param`. A struct's `fields` finds the type of a field by its name.
    """

    __slots__ = ("fields", "kind", "name", "parameters")

    def __init__(self, kind: str, name: str, parameters: tuple[Type, ...] = (), fields: Fields | None = None) -> None:
        self.kind = kind
        self.name = name
        self.parameters = parameters
        self.fields = fields

    def same(self, other: Type) -> bool:
        """Whether both are exactly one type."""
        return self is other or (
            self.kind == other.kind
            and self.name == other.name
            and len(self.parameters) == len(other.parameters)
            and all(a.same(b) for a, b in zip(self.parameters, other.parameters, strict=True))
        )

    def __repr__(self) -> str:
        return words(self)


BOOL, INT, UINT, DOUBLE = (Type(word, word) for word in ("bool", "int", "uint", "double"))
STRING, BYTES, DYN, ANY = (Type(word, word) for word in ("string", "bytes", "dyn", "any"))
NULL = Type("null", "null_type")
TIMESTAMP = Type("timestamp", "google.protobuf.Timestamp")
DURATION = Type("duration", "google.protobuf.Duration")
ERROR = Type("error", "!error!")
TYPE = Type("type", "type")

_SHOWN = {"null": "null", "timestamp": "timestamp", "duration": "duration", "any": "any", "error": "!error!"}
_NULLABLE = frozenset(("opaque", "optional", "struct", "any", "duration", "timestamp"))


def list_of(item: Type) -> Type:
    """A list of items of one type."""
    return Type("list", "list", (item,))


def map_of(key: Type, value: Type) -> Type:
    """A map."""
    return Type("map", "map", (key, value))


def optional_of(held: Type) -> Type:
    """An optional value."""
    return Type("optional", "optional_type", (held,))


def opaque(name: str) -> Type:
    """A type that only functions know."""
    return Type("opaque", name)


def parameter(name: str) -> Type:
    """A variable over types, in the signature of a function or made while checking."""
    return Type("param", name)


def type_of_type(held: Type) -> Type:
    """The type of a type's name."""
    return Type("type", "type", (held,))


def is_dynamic(found: Type) -> bool:
    """Whether only the run tells what a value is."""
    return found.kind in ("dyn", "any")


def words(found: Type) -> str:
    """The type as messages show it."""
    shown = _SHOWN.get(found.kind)
    if shown is not None:
        return shown
    if not found.parameters:
        return found.name
    return f"{found.name}({', '.join(words(part) for part in found.parameters)})"


def full_name(found: Type) -> str:
    """The type by its full names, as some messages have it."""
    if not found.parameters:
        return found.name
    return f"{found.name}({', '.join(full_name(part) for part in found.parameters)})"


def _less_specific(a: Type, b: Type) -> bool:
    """Whether the first is the same as the second, or leaves more open."""
    if is_dynamic(a) or a.kind == "param":
        return True
    if is_dynamic(b) or b.kind == "param" or a.kind != b.kind:
        return False
    if a.kind == "type":
        return True
    if a.parameters or b.parameters:
        return (
            a.name == b.name
            and len(a.parameters) == len(b.parameters)
            and all(_less_specific(x, y) for x, y in zip(a.parameters, b.parameters, strict=True))
        )
    return a.same(b)


def more_general(a: Type, b: Type) -> Type:
    """Of two types that go together, the one that leaves more open."""
    return a if _less_specific(a, b) else b


class Bindings:
    """What the type variables of one expression stand for."""

    def __init__(self) -> None:
        self._bound: dict[str, Type] = {}
        self._count = 0

    def fresh(self) -> Type:
        """A new variable."""
        self._count += 1
        return parameter(f"_var{self._count - 1}")

    def instance(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        """A signature with variables of its own."""
        made: dict[str, Type] = {}

        def renew(found: Type) -> Type:
            if found.kind == "param":
                if found.name not in made:
                    made[found.name] = self.fresh()
                return made[found.name]
            if not found.parameters:
                return found
            return Type(found.kind, found.name, tuple(renew(part) for part in found.parameters), found.fields)

        return tuple(renew(found) for found in types)

    def fits(self, a: Type, b: Type) -> bool:
        """Whether values of the first type may stand for the second; binds variables only if so."""
        return self.all_fit((a,), (b,))

    def all_fit(self, first: tuple[Type, ...] | list[Type], second: tuple[Type, ...] | list[Type]) -> bool:
        """`fits` for every pair, or for none."""
        if len(first) != len(second):
            return False
        before = dict(self._bound)
        if all(self._fits(a, b) for a, b in zip(first, second, strict=True)):
            return True
        self._bound = before
        return False

    def _fits(self, a: Type, b: Type) -> bool:
        if b.kind == "param":
            valid, bound = self._stands_for(a, b)
            if valid or bound:
                return valid
        if a.kind == "param":
            return self._stands_for(b, a)[0]
        if is_dynamic(a) or is_dynamic(b) or a.kind == "error" or b.kind == "error":
            return True
        if a.kind == "null" or b.kind == "null":
            other = b if a.kind == "null" else a
            return other.kind in _NULLABLE or other.kind == "null"
        if a.kind != b.kind:
            return False
        if a.kind == "type":
            return True
        if a.name != b.name or len(a.parameters) != len(b.parameters):
            return False
        return all(self._fits(x, y) for x, y in zip(a.parameters, b.parameters, strict=True))

    def _stands_for(self, found: Type, variable: Type) -> tuple[bool, bool]:
        """Whether a type can be a variable's, and whether the variable had one."""
        if found.kind == "param" and found.name == variable.name:
            return True, True
        known = self._bound.get(variable.name)
        if known is None:
            if self._occurs(variable, found):
                return False, False
            self._bound[variable.name] = found
            return True, False
        if found.same(known):
            return True, True
        if not self._fits(found, known):
            return False, True
        wider = more_general(found, known)
        if not self._occurs(variable, wider):
            self._bound[variable.name] = wider
        return True, True

    def _occurs(self, variable: Type, within: Type) -> bool:
        if within.kind == "param":
            if within.name == variable.name:
                return True
            known = self._bound.get(within.name)
            return known is not None and self._occurs(variable, known)
        return any(self._occurs(variable, part) for part in within.parameters)

    def resolved(self, found: Type, final: bool = False) -> Type:
        """A type with its variables replaced; `final`: those that stand for nothing become `dyn`."""
        while found.kind == "param":
            known = self._bound.get(found.name)
            if known is None:
                return DYN if final else found
            found = known
        if not found.parameters:
            return found
        parts = tuple(self.resolved(part, final) for part in found.parameters)
        if all(new is old for new, old in zip(parts, found.parameters, strict=True)):
            return found
        return Type(found.kind, found.name, parts, found.fields)


def struct(name: str, fields: Mapping[str, Type] | Fields) -> Type:
    """An object with known fields."""
    found: Any = fields if callable(fields) else fields.get
    return Type("struct", name, (), found)
