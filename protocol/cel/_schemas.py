"""Expressions about values of a schema: the types that a schema gives, and what rules cost at most.

Owns the types of structural and OpenAPI schemas, as expressions see them. What a schema does not
declare, expressions do not see. It must never look at objects.

Source: k8s.io/apiserver/pkg/cel/common/schemas.go
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.cel._cost import cost
from protocol.cel._environment import Environment, Program
from protocol.cel._identifiers import escape
from protocol.cel._sizes import MAX_REQUEST_BYTES, Bounds, bounds_of
from protocol.cel._types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Type,
    list_of,
    map_of,
    optional_of,
)  # fmt: skip

__all__ = ["Checker", "type_of_schema"]

Schema = Mapping[str, Any]
_TEXT = {"type": "string"}
_META = {"type": "object", "properties": {"name": _TEXT, "generateName": _TEXT}}
_SCALARS = {"boolean": BOOL, "number": DOUBLE, "integer": INT}
_TEXT_FORMATS = {"byte": BYTES, "duration": DURATION, "date": TIMESTAMP, "date-time": TIMESTAMP}


def type_of_schema(
    schema: Schema | None, root: bool = False, name: str = "object", meta: Type | None = None
) -> Type | None:
    """The type of a schema's values; None when expressions do not see them.

    `root`: the schema of a resource, where `apiVersion`, `kind` and `metadata` are always known. `meta`: the
    type of that metadata; without it, it has a name and a generateName.
    """
    if schema is None:
        return None
    if schema.get("x-kubernetes-int-or-string"):
        return DYN
    word = schema.get("type")
    if root:
        word = "object"
    if word == "array":
        items = _below(schema.get("items"), f"{name}.@idx")
        return list_of(items) if items is not None else None
    if word == "object":
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            value = _below(extra, f"{name}.@elem")
            return map_of(STRING, value) if value is not None else None
        return _struct(schema, root, name, meta)
    if word == "string":
        return _TEXT_FORMATS.get(schema.get("format") or "", STRING)
    return _SCALARS.get(word or "")


def _below(schema: Any, name: str) -> Type | None:
    if not isinstance(schema, dict):
        return None
    return type_of_schema(schema, bool(schema.get("x-kubernetes-embedded-resource")), name)


def _struct(schema: Schema, root: bool, name: str, meta: Type | None) -> Type:
    """An object, whose fields are looked at when they are asked for."""
    declared: dict[str, Any] = {}
    known: dict[str, Type | None] = {"metadata": meta} if root and meta is not None else {}

    def fields(field: str) -> Type | None:
        if not declared:
            properties = dict(schema.get("properties") or {})
            if root:
                properties |= {"kind": _TEXT, "apiVersion": _TEXT, "metadata": _META}
            declared.update((escape(prop), sub) for prop, sub in properties.items() if escape(prop))
            declared[""] = None
        if field not in known:
            known[field] = _below(declared.get(field), f"{name}.{field}")
        return known[field]

    return Type("struct", name, (), fields)


class Checker:
    """Compiles expressions about `self` and `oldSelf`, values of one schema."""

    def __init__(self, schema: Schema, root: bool = False) -> None:
        self.type = type_of_schema(schema, root, "selfType")
        found = self.type if self.type is not None else DYN
        self._plain = Environment({"self": found, "oldSelf": found})
        self._optional = Environment({"self": found, "oldSelf": optional_of(found)})
        self.bounds = bounds_of(schema, root)

    def compile(self, source: str, optional_old: bool = False) -> Program:
        """A program; with `optional_old`, `oldSelf` is an optional value. Raises `CelError`."""
        return (self._optional if optional_old else self._plain).compile(source)

    def cost(self, program: Program) -> int:
        """What an expression costs at most, for the largest values that the schema allows."""
        return cost(program.checked, self._place)

    @property
    def most_occurrences(self) -> int:
        """How many such values a request has room for."""
        return MAX_REQUEST_BYTES // ((self.bounds.least_bytes if self.bounds is not None else 0) + 1)

    def _place(self, path: list[str]) -> Bounds | None:
        return self.bounds.at(path[1:]) if self.bounds is not None else None
