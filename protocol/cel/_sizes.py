"""How large values of a structural schema can be: the bounds that cost estimates rest on.

Owns the bounds of strings, lists and maps by their schema or, where that has none, by the largest
request, and the least size of a value in JSON. It must never look at expressions.

Source: k8s.io/apiserver/pkg/cel/common/schemas.go
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.cel._identifiers import escape

__all__ = ["MAX_REQUEST_BYTES", "Bounds", "bounds_of"]

Schema = Mapping[str, Any]
MAX_REQUEST_BYTES = 3 * 1024 * 1024
_BYTES_PER_CHARACTER = 4
_FORMATS = {"duration": (32, 3), "date": (12, 12), "date-time": (32, 21)}
"""Greatest and least number of bytes."""


class Bounds:
    """One place: how many elements (characters, bytes) it has at most, how many bytes it takes at least."""

    __slots__ = ("fields", "items", "keys", "kind", "least_bytes", "most")

    def __init__(self, most: int, least_bytes: int, kind: str = "") -> None:
        self.kind = kind
        """`list`, `map`, `struct`, `string`, `bytes`, or empty for what expressions know without help."""
        self.most = most
        self.least_bytes = least_bytes
        self.fields: dict[str, Bounds] | None = None
        self.items: Bounds | None = None
        self.keys: Bounds | None = None

    def at(self, path: list[str]) -> Bounds | None:
        """The place below this one; None when nothing is known of it."""
        found: Bounds | None = self
        for word in path:
            if found is None:
                return None
            if word in ("@items", "@values"):
                found = found.items
            elif word == "@keys":
                found = found.keys
            else:
                found = (found.fields or {}).get(word)
        return found


def bounds_of(schema: Schema | None, root: bool = False) -> Bounds | None:
    """The bounds of a schema's values; None when expressions do not see them."""
    if schema is None:
        return None
    if schema.get("x-kubernetes-int-or-string"):
        return Bounds(_text_bound(schema, MAX_REQUEST_BYTES - 2), 1)
    word = schema.get("type")
    if word == "array":
        items = schema.get("items")
        below = bounds_of(items, bool(items.get("x-kubernetes-embedded-resource"))) if isinstance(items, dict) else None
        return _many(schema.get("maxItems"), below, 1, "list") if below is not None else None
    if word == "object":
        return _object(schema, root)
    if word == "string":
        return _string(schema)
    return {"boolean": Bounds(0, 4), "number": Bounds(0, 1), "integer": Bounds(0, 1)}.get(word or "")


def _text_bound(schema: Schema, unbounded: int) -> int:
    most = schema.get("maxLength")
    return unbounded if most is None else max(0, int(most)) * _BYTES_PER_CHARACTER


def _many(most: Any, below: Bounds, overhead_bytes: int, kind: str) -> Bounds:
    if most is None:
        most = (MAX_REQUEST_BYTES - 2) // (below.least_bytes + overhead_bytes)
    found = Bounds(max(0, int(most)), 2, kind)
    found.items = below
    return found


def _object(schema: Schema, root: bool) -> Bounds | None:
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        below = bounds_of(extra, bool(extra.get("x-kubernetes-embedded-resource")))
        if below is None:
            return None
        found = _many(schema.get("maxProperties"), below, 6, "map")
        found.keys = Bounds(0, 2, "string")
        return found
    properties = dict(schema.get("properties") or {})
    if root:
        text = {"type": "string"}
        properties |= {"kind": text, "apiVersion": text}
        properties["metadata"] = {"type": "object", "properties": {"name": text, "generateName": text}}
    required = set(schema.get("required") or ())
    found = Bounds(0, 2, "struct")
    found.fields = {}
    for name, sub in properties.items():
        below = bounds_of(sub, bool(sub.get("x-kubernetes-embedded-resource")))
        if below is None:
            continue
        escaped = escape(name)
        if escaped:
            found.fields[escaped] = below
        if name in required and sub.get("default") is None:
            found.least_bytes += len(name) + below.least_bytes + 4
    return found


def _string(schema: Schema) -> Bounds:
    form = schema.get("format")
    if form in _FORMATS:
        return Bounds(*_FORMATS[form])
    if form == "byte":
        most = schema.get("maxLength")
        return Bounds(MAX_REQUEST_BYTES - 2 if most is None else max(0, int(most)), 2, "bytes")
    texts = [value for value in schema.get("enum") or () if isinstance(value, str)]
    if schema.get("maxLength") is None and schema.get("enum"):
        return Bounds(max((len(text.encode()) for text in texts), default=0), 2, "string")
    return Bounds(_text_bound(schema, MAX_REQUEST_BYTES - 2), 2, "string")
