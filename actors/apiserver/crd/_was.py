"""What a value was before a change, as far as that can be told: what is wrong and did not change is let be.

Owns which old value corresponds to a new one. It must never judge a value.

Source: k8s.io/apiserver/pkg/cel/common/equality.go (KEP-4008)
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

__all__ = ["Was"]

Schema = dict[str, Any]


class Was:
    """A value, its old one, and the schema of both."""

    def __init__(self, value: Any, old: Any, schema: Schema) -> None:
        self.value = value
        self.old = old
        self.schema = schema

    def key(self, name: str) -> Was | None:
        """The same of a member; None when it is new, or the schema does not know it."""
        if not isinstance(self.old, dict) or not isinstance(self.value, dict):
            return None
        if name not in self.old or name not in self.value:
            return None
        schema = (self.schema.get("properties") or {}).get(name, self.schema.get("additionalProperties"))
        return Was(self.value[name], self.old[name], schema) if isinstance(schema, dict) else None

    def index(self, at: int) -> Was | None:
        """The same of an item: only items with keys are known again."""
        items = self.schema.get("items")
        if not isinstance(items, dict) or not isinstance(self.old, list):
            return None
        if self.schema.get("x-kubernetes-list-type") != "map":
            return None
        old = self._by_keys.get(self._keys(self.value[at]))
        return None if old is None else Was(self.value[at], old, items)

    @cached_property
    def _by_keys(self) -> dict[tuple[str, ...] | None, Any]:
        return {self._keys(item): item for item in reversed(self.old)}

    def _keys(self, item: Any) -> tuple[str, ...] | None:
        names = self.schema.get("x-kubernetes-list-map-keys") or ()
        return tuple(repr(item.get(name)) for name in names) if isinstance(item, dict) else None

    @cached_property
    def unchanged(self) -> bool:
        """Whether both are equal; items of lists with keys may stand in another order."""
        value, old = self.value, self.old
        if value is None or old is None:
            return value is old
        if isinstance(value, list) and isinstance(old, list):
            if self.schema.get("x-kubernetes-list-type") != "map":
                return bool(value == old)
            parts = [self.index(at) for at in range(len(value))] if len(value) == len(old) else [None]
            return all(part is not None and part.unchanged for part in parts)
        if isinstance(value, dict) and isinstance(old, dict):
            if len(value) != len(old):
                return False
            members = [self.key(name) for name in value]
            return all(member is not None and member.unchanged for member in members)
        return type(value) is type(old) and bool(value == old)
