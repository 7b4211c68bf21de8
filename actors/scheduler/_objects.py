"""The other objects that plugins read: volumes, classes, budgets, services, claims, slices.

Owns them by resource and key, with a version per resource that changes with every change, so that
plugins can keep what they derived. Nodes and pods are the cache's.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from protocol.objects import key as key_of

__all__ = ["Objects"]

Object = dict[str, Any]


class Objects:
    """`objects.get("persistentvolumeclaims", "default/data")`. Resources by their plural names."""

    def __init__(self) -> None:
        self._all: dict[str, dict[str, Object]] = defaultdict(dict)
        self._by_namespace: dict[str, dict[str, dict[str, Object]]] = defaultdict(lambda: defaultdict(dict))
        self.versions: dict[str, int] = defaultdict(int)

    def put(self, resource: str, obj: Object) -> Object | None:
        """Add or replace; answers the earlier version."""
        key = key_of(obj)
        old = self._all[resource].get(key)
        self._all[resource][key] = obj
        namespace = obj["metadata"].get("namespace") or ""
        if namespace:
            self._by_namespace[resource][namespace][key] = obj
        self.versions[resource] += 1
        return old

    def remove(self, resource: str, key: str) -> Object | None:
        """Remove; answers what was there."""
        old = self._all[resource].pop(key, None)
        if old is None:
            return None
        namespace = old["metadata"].get("namespace") or ""
        if namespace:
            here = self._by_namespace[resource][namespace]
            here.pop(key, None)
            if not here:
                del self._by_namespace[resource][namespace]
        self.versions[resource] += 1
        return old

    def get(self, resource: str, key: str) -> Object | None:
        return self._all[resource].get(key)

    def list(self, resource: str, namespace: str = "") -> list[Object]:
        """All of them, or those of a namespace, in the order in which they came."""
        if namespace:
            found = self._by_namespace.get(resource)
            here = found.get(namespace) if found else None
            return list(here.values()) if here else []
        return list(self._all[resource].values())
