"""A structural schema in a form that is quick to walk.

Owns the reading of `openAPIV3Schema` and the type that field ownership needs. It must never look at
objects.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from typing import Any

from protocol.schema import ANY, Field, Type

__all__ = ["Node", "node_of", "owned_type"]

Schema = dict[str, Any]
_SCALAR_TYPES = {"string": "string", "integer": "integer", "number": "number", "boolean": "boolean"}


class Node:
    """One place of a schema. `type` is empty for any value; `additional` is the schema of keys that are
    not properties, or None."""

    __slots__ = (
        "additional", "any_embedded", "any_rules", "default", "embedded", "has_default", "has_defaults", "int_or_string", "items",
        "list_type", "map_keys", "map_type", "nullable", "preserve", "properties", "rules", "schema", "type", "where",
    )  # fmt: skip

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.type: str = schema.get("type") or ""
        self.nullable = bool(schema.get("nullable"))
        self.preserve = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded = bool(schema.get("x-kubernetes-embedded-resource"))
        self.int_or_string = bool(schema.get("x-kubernetes-int-or-string"))
        self.list_type: str = schema.get("x-kubernetes-list-type") or "atomic"
        self.map_keys: tuple[str, ...] = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = schema.get("x-kubernetes-map-type") or "granular"
        self.has_default = schema.get("default") is not None
        self.default = schema.get("default")
        self.rules: list[Any] = list(schema.get("x-kubernetes-validations") or ())
        self.properties: dict[str, Node] = {
            name: node_of(sub) for name, sub in (schema.get("properties") or {}).items()
        }
        items = schema.get("items")
        self.items: Node | None = node_of(items) if isinstance(items, dict) else None
        extra = schema.get("additionalProperties")
        self.additional: Node | None = None
        if isinstance(extra, dict):
            self.additional = node_of(extra)
        elif extra is True:
            self.additional = FREE
        below = [*self.properties.values(), *(n for n in (self.items, self.additional) if n is not None)]
        self.has_defaults: bool = self.has_default or any(n.has_defaults for n in below)
        self.any_embedded: bool = self.embedded or any(n.any_embedded for n in below)
        self.any_rules: bool = bool(self.rules) or any(n.any_rules for n in below) or bool(schema.get("allOf"))
        self.where: dict[str, Any] = {}
        """Compiled things that belong to this place, by their maker's name."""


FREE = Node.__new__(Node)
Node.__init__(FREE, {})


def node_of(schema: Schema) -> Node:
    """The node of a schema."""
    return Node(schema)


def owned_type(node: Node, meta: Type, root: bool = False) -> Type:
    """The type by which fields of such a value are owned. `meta` is the type of `metadata`."""
    if node.int_or_string:
        return Type("int-or-string", nullable=node.nullable)
    if node.type == "array":
        return _list_type(node, meta)
    if node.type in _SCALAR_TYPES:
        return Type(_SCALAR_TYPES[node.type], nullable=node.nullable)
    if node.type == "object" or node.properties:
        return _object_type(node, meta, root)
    return ANY


def _list_type(node: Node, meta: Type) -> Type:
    elem = owned_type(node.items, meta) if node.items is not None else ANY
    type_ = Type("list", elem=elem, list_type=node.list_type, map_keys=node.map_keys)
    if node.items is not None:
        for key in node.map_keys:
            sub = node.items.properties.get(key)
            if sub is not None and sub.has_default:
                type_.key_defaults[key] = sub.default
    return type_


def _object_type(node: Node, meta: Type, root: bool) -> Type:
    atomic = node.map_type == "atomic"
    if node.additional is not None and not node.properties:
        return Type("map", elem=owned_type(node.additional, meta), atomic=atomic)
    fields = {name: Field(name, owned_type(sub, meta)) for name, sub in node.properties.items()}
    if root or node.embedded:
        text = Type("string")
        fields["apiVersion"] = Field("apiVersion", text)
        fields["kind"] = Field("kind", text)
        fields["metadata"] = Field("metadata", meta)
    type_ = Type("object", fields=fields, atomic=atomic, preserve=node.preserve)
    if node.preserve:
        type_.elem = ANY
    return type_
