"""Shaping custom objects by their schema: pruning, defaulting, nulls, and the metadata of embedded ones.

All functions change the object that they are given. They must never judge a value.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.crd._node import FREE, Node

__all__ = ["default", "drop_nulls", "prune"]

Object = dict[str, Any]
_HEADER = ("apiVersion", "kind", "metadata")


def prune(value: Any, node: Node, root: bool = False) -> list[str]:
    """Remove what the schema does not know; the paths of what went, sorted."""
    gone: list[str] = []
    _prune(value, node, root or node.embedded, "", gone)
    return sorted(gone)


def _prune(value: Any, node: Node, keeps_header: bool, path: str, gone: list[str]) -> None:
    if isinstance(value, dict):
        for key in list(value):
            where = f"{path}.{key}" if path else key
            sub = node.properties.get(key)
            if keeps_header and key in _HEADER:
                if sub is not None and key == "metadata" and not node.embedded and path:
                    _prune(value[key], sub, sub.embedded, where, gone)
                continue
            if sub is None:
                sub = node.additional
            if sub is not None:
                _prune(value[key], sub, sub.embedded, where, gone)
            elif not node.preserve:
                del value[key]
                gone.append(where)
    elif isinstance(value, list) and node.items is not None:
        for i, item in enumerate(value):
            _prune(item, node.items, node.items.embedded, f"{path}[{i}]", gone)


def default(value: Any, node: Node) -> None:
    """Fill in defaults; a null that may not be one counts as missing."""
    if not node.has_defaults:
        return
    if isinstance(value, dict):
        for key, sub in node.properties.items():
            if sub.has_default and (key not in value or (value[key] is None and not sub.nullable)):
                value[key] = _copy(sub.default)
        for key, item in value.items():
            below = node.properties.get(key) or node.additional
            if below is not None:
                default(item, below)
    elif isinstance(value, list) and node.items is not None:
        for i, item in enumerate(value):
            if item is None and node.items.has_default and not node.items.nullable:
                value[i] = item = _copy(node.items.default)
            default(item, node.items)


def drop_nulls(value: Any, node: Node) -> None:
    """Remove nulls that are not allowed and have no default."""
    if isinstance(value, dict):
        for key in list(value):
            sub = node.properties.get(key) or node.additional
            if sub is None:
                continue
            if value[key] is None:
                if not sub.nullable and not sub.has_default and sub is not FREE:
                    del value[key]
            else:
                drop_nulls(value[key], sub)
    elif isinstance(value, list) and node.items is not None:
        for item in value:
            drop_nulls(item, node.items)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
