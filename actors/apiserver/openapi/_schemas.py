"""Published definitions as OpenAPI v3 component schemas and v2 definitions.

Owns the differences between the three dialects: references with siblings, defaults of Go's zero
values, enumerations. Never changes a definition that it is given.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from protocol.schema import Field, Schema, Type

__all__ = ["references", "v2_definition", "v3_schema"]

Node = dict[str, Any]
_V3 = "#/components/schemas/"
_V2 = "#/definitions/"
_DROPPED = ("nullable", "$schema")
_ZEROS: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}


@cache
def _enums() -> dict[str, dict[str, str]]:
    """The values of the enumerated Go types, which the published definitions leave out, and what each
    means (source: the `+enum` types of k8s.io/api and their comments)."""
    table: dict[str, dict[str, str]] = {}
    text = Path(__file__).with_name("enums.tsv").read_text(encoding="utf-8")
    for line in text.splitlines():
        name, value, meaning = line.split("\t")
        table.setdefault(name, {})[value] = meaning
    return table


@cache
def _defaults() -> dict[tuple[str, str], str]:
    """The defaults that Go types state of their fields, which the published definitions leave out, as
    JSON, by type and field (source: the `+default` comments of k8s.io/api)."""
    text = Path(__file__).with_name("defaults.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines())
    return {(f"io.k8s.api.{name}", field): value for name, field, value in rows}


def references(node: Any, found: set[str]) -> None:
    """Add the names of the definitions that a node refers to."""
    if isinstance(node, dict):
        ref = node.get("$ref")
        if isinstance(ref, str):
            found.add(ref.rsplit("/", 1)[1])
        for value in node.values():
            references(value, found)
    elif isinstance(node, list):
        for value in node:
            references(value, found)


def _plain(node: Any, prefix: str) -> Any:
    """A copy with references into `prefix`, without the nulls that strict JSON schema spells out."""
    if isinstance(node, list):
        return [_plain(item, prefix) for item in node]
    if not isinstance(node, dict):
        return node
    out: Node = {}
    for key, value in node.items():
        if key in _DROPPED:
            continue
        if key == "type" and isinstance(value, list):
            out[key] = next((word for word in value if word != "null"), value[0])
        elif key == "$ref" and isinstance(value, str):
            out[key] = prefix + value.rsplit("/", 1)[1]
        elif key == "properties":
            out[key] = {name: _plain(prop, prefix) for name, prop in value.items()}
        else:
            out[key] = _plain(value, prefix)
    return out


def _header(name: str, prop: Node) -> None:
    """apiVersion and kind are plain strings in the served documents."""
    if name in ("apiVersion", "kind"):
        prop.pop("enum", None)


def v2_definition(schema: Schema, name: str) -> Node:
    """One entry of v2's `definitions`."""
    node: Node = _plain(schema.definitions[name], _V2)
    if "oneOf" in node:
        integer = any(item.get("type") == "integer" for item in node.pop("oneOf"))
        node["type"] = "string"
        if integer:
            node["format"] = "int-or-string"
    for field, prop in node.get("properties", {}).items():
        _header(field, prop)
    return node


def v3_schema(schema: Schema, name: str) -> Node:
    """One entry of v3's `components.schemas`."""
    node: Node = _plain(schema.definitions[name], _V3)
    if "oneOf" in node:
        if any(item.get("type") == "integer" for item in node["oneOf"]):
            node["format"] = "int-or-string"
        return node
    properties = node.get("properties")
    if properties:
        fields = schema.type(name).fields
        package = ".".join(name.split(".")[-3:-1])
        for field, prop in properties.items():
            properties[field] = _v3_property(field, prop, fields[field], package, _defaults().get((name, field)))
    return node


def _v3_property(name: str, prop: Node, field: Field, package: str, stated: str | None) -> Node:
    _header(name, prop)
    _add_enum(prop, field.type, package)
    zero = _zero(field) if stated is None else json.loads(stated)
    if "$ref" in prop:
        ref = {"$ref": prop.pop("$ref")}
        if not prop and zero is None:
            return ref
        prop["allOf"] = [ref]
    if zero is not None:
        prop["default"] = zero
    return prop


def _zero(field: Field) -> Any:
    """The default that OpenAPI names for what Go always writes."""
    if field.pointer:
        return None
    kind = field.type.kind
    if kind == "object" and field.type.name:
        return {} if field.always else None
    if not field.omit and kind in _ZEROS and not field.strategies:
        return _ZEROS[kind]
    return None


def _add_enum(prop: Node, type_: Type, package: str) -> None:
    target, go = prop, type_.go
    if type_.kind == "list" and type_.elem is not None and "items" in prop:
        target, go = prop["items"], type_.go.removeprefix("[]")
    if type_.kind not in ("string", "list") or "." not in go:
        return
    values = _enums().get(f"{package}.{go.split('.')[-1]}") or _enums().get(f"core.{go}")
    if not values:
        return
    target["enum"] = list(values)
    if target is not prop:
        return
    lines = "\n".join(f' - `"{value}"` {meaning}'.rstrip() for value, meaning in values.items())
    prop["description"] = f"{prop.get('description', '')}\n\nPossible enum values:\n{lines}"
