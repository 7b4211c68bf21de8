"""Whether the defaults in a schema are values that it allows.

Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting/validation.go
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.apiserver.crd._embedded import check_embedded
from actors.apiserver.crd._node import node_of
from actors.apiserver.crd._shape import prune
from actors.apiserver.crd._values import check_value
from actors.apiserver.strategies import FieldError
from actors.apiserver.strategies._errors import invalid

__all__ = ["check_defaults"]

Schema = dict[str, Any]
_HEADER = ("metadata", "apiVersion", "kind")


def check_defaults(schema: Schema, path: str) -> list[FieldError]:
    """The errors of all defaults. A root is judged as the object that it is of."""
    return [*_below({**schema, "x-kubernetes-embedded-resource": True}, path)]


def _below(schema: Schema, path: str) -> Iterator[FieldError]:
    if schema.get("default") is not None:
        yield from _default(schema, f"{path}.default")
    if isinstance(schema.get("items"), dict):
        yield from _below(schema["items"], f"{path}.items")
    embedded = schema.get("x-kubernetes-embedded-resource")
    for name, sub in sorted((schema.get("properties") or {}).items()):
        if not (embedded and name in _HEADER):  # what metadata may hold is not the schema's to say
            yield from _below(sub, f"{path}.properties[{name}]")


def _default(schema: Schema, path: str) -> Iterator[FieldError]:
    from actors.apiserver.crd._rules import check_rules

    value, node = schema["default"], node_of(schema)
    if prune(_copy(value), node):
        yield invalid(path, value, "must not have unknown fields")
    errors = check_embedded(value, node) or check_value(schema, value, "") or check_rules(node, value, None).errors
    for error in errors:
        at = error.field.removeprefix("<nil>").removeprefix(".")
        yield FieldError(error.type, f"{path}.{at}" if at else path, error.message)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
