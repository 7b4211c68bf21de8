"""Checked expressions as data: what the engine's compiler found out about an expression.

Owns the reading of a serialized `cel.expr.CheckedExpr` (its field numbers are those of cel-spec's
proto/cel/expr/checked.proto and syntax.proto). It must never run anything.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

__all__ = ["Ast", "Type", "read"]

_TEXT, _INT, _BOOL, _BYTES, _DOUBLE, _UINT, _MESSAGE = 9, 3, 8, 12, 1, 4, 11
_ONE, _MANY = 1, 3
_MESSAGES: dict[str, tuple[tuple[str, int, int, int, str], ...]] = {
    # name, number, type, label, type name
    "Empty": (),
    "Constant": (
        ("null_value", 1, _INT, _ONE, ""), ("bool_value", 2, _BOOL, _ONE, ""), ("int64_value", 3, _INT, _ONE, ""),
        ("uint64_value", 4, _UINT, _ONE, ""), ("double_value", 5, _DOUBLE, _ONE, ""),
        ("string_value", 6, _TEXT, _ONE, ""), ("bytes_value", 7, _BYTES, _ONE, ""),
    ),
    "Ident": (("name", 1, _TEXT, _ONE, ""),),
    "Select": (
        ("operand", 1, _MESSAGE, _ONE, "Expr"), ("field", 2, _TEXT, _ONE, ""), ("test_only", 3, _BOOL, _ONE, ""),
    ),
    "Call": (
        ("target", 1, _MESSAGE, _ONE, "Expr"), ("function", 2, _TEXT, _ONE, ""), ("args", 3, _MESSAGE, _MANY, "Expr"),
    ),
    "List": (("elements", 1, _MESSAGE, _MANY, "Expr"),),
    "Entry": (
        ("id", 1, _INT, _ONE, ""), ("field_key", 2, _TEXT, _ONE, ""), ("map_key", 3, _MESSAGE, _ONE, "Expr"),
        ("value", 4, _MESSAGE, _ONE, "Expr"),
    ),
    "Struct": (("message_name", 1, _TEXT, _ONE, ""), ("entries", 2, _MESSAGE, _MANY, "Entry")),
    "Comprehension": (
        ("iter_var", 1, _TEXT, _ONE, ""), ("iter_range", 2, _MESSAGE, _ONE, "Expr"), ("accu_var", 3, _TEXT, _ONE, ""),
        ("accu_init", 4, _MESSAGE, _ONE, "Expr"), ("loop_condition", 5, _MESSAGE, _ONE, "Expr"),
        ("loop_step", 6, _MESSAGE, _ONE, "Expr"), ("result", 7, _MESSAGE, _ONE, "Expr"),
        ("iter_var2", 8, _TEXT, _ONE, ""),
    ),
    "Expr": (
        ("id", 2, _INT, _ONE, ""), ("const_expr", 3, _MESSAGE, _ONE, "Constant"),
        ("ident_expr", 4, _MESSAGE, _ONE, "Ident"), ("select_expr", 5, _MESSAGE, _ONE, "Select"),
        ("call_expr", 6, _MESSAGE, _ONE, "Call"), ("list_expr", 7, _MESSAGE, _ONE, "List"),
        ("struct_expr", 8, _MESSAGE, _ONE, "Struct"), ("comprehension_expr", 9, _MESSAGE, _ONE, "Comprehension"),
    ),
    "ListOf": (("elem_type", 1, _MESSAGE, _ONE, "TypeOf"),),
    "MapOf": (("key_type", 1, _MESSAGE, _ONE, "TypeOf"), ("value_type", 2, _MESSAGE, _ONE, "TypeOf")),
    "Abstract": (("name", 1, _TEXT, _ONE, ""), ("parameter_types", 2, _MESSAGE, _MANY, "TypeOf")),
    "TypeOf": (
        ("dyn", 1, _MESSAGE, _ONE, "Empty"), ("null", 2, _INT, _ONE, ""), ("primitive", 3, _INT, _ONE, ""),
        ("wrapper", 4, _INT, _ONE, ""), ("well_known", 5, _INT, _ONE, ""), ("list_type", 6, _MESSAGE, _ONE, "ListOf"),
        ("map_type", 7, _MESSAGE, _ONE, "MapOf"), ("message_type", 9, _TEXT, _ONE, ""),
        ("type_param", 10, _TEXT, _ONE, ""), ("abstract_type", 14, _MESSAGE, _ONE, "Abstract"),
    ),
    "Reference": (("name", 1, _TEXT, _ONE, ""), ("overload_id", 3, _TEXT, _MANY, "")),
    "ReferenceEntry": (("key", 1, _INT, _ONE, ""), ("value", 2, _MESSAGE, _ONE, "Reference")),
    "TypeEntry": (("key", 1, _INT, _ONE, ""), ("value", 2, _MESSAGE, _ONE, "TypeOf")),
    "Checked": (
        ("references", 2, _MESSAGE, _MANY, "ReferenceEntry"), ("types", 3, _MESSAGE, _MANY, "TypeEntry"),
        ("expr", 4, _MESSAGE, _ONE, "Expr"),
    ),
}
_PRIMITIVES = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}
_WELL_KNOWN = {1: "any", 2: "timestamp", 3: "duration"}


class Type(NamedTuple):
    """A static type: `bool`, `int`, `list`, `map`, `struct`, `optional`, `opaque`, `param`, `dyn`, ..."""

    kind: str
    parameters: tuple[Type, ...] = ()


DYN = Type("dyn")


class Ast(NamedTuple):
    """A checked expression. `expr` is the root; types and overloads are found by an expression's id."""

    expr: Any
    types: dict[int, Type]
    overloads: dict[int, tuple[str, ...]]
    names: frozenset[str]
    """Variables that are used."""


@cache
def _checked() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="checked.proto", package="kubekka.cel", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label, type_name in fields:
            made = message.field.add(name=field, number=number, type=kind, label=label)  # type: ignore[arg-type]
            if type_name:
                made.type_name = f".kubekka.cel.{type_name}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("kubekka.cel.Checked"))


def read(serialized: bytes) -> Ast:
    """The expression in what the engine's `serialize()` gives: an `Any` around the checked one."""
    from google.protobuf import any_pb2

    wrapped = any_pb2.Any.FromString(serialized)
    checked = _checked().FromString(wrapped.value)
    references = {entry.key: entry.value for entry in checked.references}
    return Ast(
        checked.expr,
        {entry.key: _type(entry.value) for entry in checked.types},
        {key: tuple(reference.overload_id) for key, reference in references.items() if reference.overload_id},
        frozenset(reference.name for reference in references.values() if reference.name),
    )


def _type(found: Any) -> Type:
    for field, value in found.ListFields():
        name = field.name
        if name in ("primitive", "wrapper"):
            return Type(_PRIMITIVES.get(value, "dyn"))
        if name == "well_known":
            return Type(_WELL_KNOWN.get(value, "dyn"))
        if name == "list_type":
            return Type("list", (_type(value.elem_type),))
        if name == "map_type":
            return Type("map", (_type(value.key_type), _type(value.value_type)))
        if name == "message_type":
            return Type("struct")
        if name == "type_param":
            return Type("param")
        if name == "null":
            return Type("null")
        if name == "abstract_type":
            kind = "optional" if value.name == "optional_type" else "opaque"
            return Type(kind, tuple(_type(part) for part in value.parameter_types))
    return DYN
