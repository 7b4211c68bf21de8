"""The types of built-in kinds, as expressions see them when policies are checked against them.

Owns the way from a kind's published schema to a type. What has no type there (quantities, any JSON)
expressions do not see.

Source: k8s.io/apiserver/pkg/cel/common/schemas.go, on the OpenAPI definitions
"""

from __future__ import annotations

from protocol.cel._identifiers import escape
from protocol.cel._types import BOOL, BYTES, DOUBLE, DYN, INT, STRING, TIMESTAMP, Type, list_of, map_of
from protocol.schema import Type as Declared

__all__ = ["type_of_kind"]

_SCALARS = {
    "string": STRING, "integer": INT, "number": DOUBLE, "boolean": BOOL, "int-or-string": DYN, "time": TIMESTAMP,
    "micro-time": TIMESTAMP, "bytes": BYTES,
}  # fmt: skip


def type_of_kind(declared: Declared, name: str) -> Type | None:
    """The type of values of a declared type; None when expressions do not see them."""
    if declared.kind == "object":
        return _struct(declared, name)
    if declared.kind in ("list", "map"):
        item = type_of_kind(declared.elem, f"{name}.@elem") if declared.elem is not None else None
        if item is None:
            return None
        return list_of(item) if declared.kind == "list" else map_of(STRING, item)
    return _SCALARS.get(declared.kind)


def _struct(declared: Declared, name: str) -> Type:
    known: dict[str, Type | None] = {}
    names: dict[str, str] = {}

    def fields(field: str) -> Type | None:
        if not names:
            names.update((escape(prop), prop) for prop in declared.fields if escape(prop))
            names.setdefault("", "")
        if field not in known:
            found = declared.fields.get(names.get(field, ""))
            known[field] = type_of_kind(found.type, f"{name}.{field}") if found is not None else None
        return known[field]

    return Type("struct", name, (), fields)
