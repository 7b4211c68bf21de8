"""Values of custom objects as expressions see them.

Owns the conversion by a schema: times, durations and bytes by their formats, numbers, lists whose order
means nothing, and properties under their escaped names. A value that is the same in both is not copied.

Source: k8s.io/apiserver/pkg/cel/common/valuesunstructured.go
"""

from __future__ import annotations

import base64
from typing import Any

from actors.apiserver.crd._node import Node
from protocol.cel import MapList, SetList, escape, parse_duration, parse_timestamp

__all__ = ["to_cel"]

_FORMATS = ("date", "date-time", "duration", "byte")


def to_cel(node: Node, value: Any) -> Any:
    """A value of a schema as expressions see it."""
    if value is None or not _differs(node):
        return value
    if isinstance(value, dict):
        out: dict[str, Any] = {}
        for key, item in value.items():
            sub = node.properties.get(key)
            if sub is not None:
                out[escape(key) or key] = to_cel(sub, item)
            else:
                out[key] = to_cel(node.additional, item) if node.additional is not None else item
        return out
    if isinstance(value, list):
        return _list(node, value)
    if node.type == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _text(node.schema.get("format"), value) if node.type == "string" else value


def _list(node: Node, value: list[Any]) -> list[Any]:
    items = [to_cel(node.items, item) for item in value] if node.items is not None else value
    if node.list_type == "set":
        return SetList(items)
    if node.list_type == "map":
        out = MapList(items)
        out.fields = tuple(escape(key) or key for key in node.map_keys)
        return out
    return items


def _differs(node: Node) -> bool:
    found: bool | None = node.where.get("differs")
    if found is None:
        node.where["differs"] = False
        below = [*node.properties.values(), *(n for n in (node.items, node.additional) if n is not None)]
        found = (
            node.schema.get("format") in _FORMATS
            or node.type == "number"
            or node.list_type in ("set", "map")
            or any(escape(name) not in ("", name) for name in node.properties)
            or any(_differs(sub) for sub in below)
        )
        node.where["differs"] = found
    return found


def _text(form: str | None, value: Any) -> Any:
    if not isinstance(value, str) or form not in _FORMATS:
        return value
    try:
        if form == "date-time":
            return parse_timestamp(value)
        if form == "date":
            return parse_timestamp(f"{value}T00:00:00Z")
        if form == "duration":
            return parse_duration(value)
        return base64.b64decode(value)
    except ValueError:
        return value
