"""What an informer knows: objects by key, with indexes kept as they change.

Owns the mapping only; it knows neither watches nor kinds. Everything in it is frozen. Readers in
the same component may hold the store itself: each read sees one consistent moment, since nothing
here suspends.

    store.add_index("owner", by_controller)
    store.put({"metadata": {"namespace": "a", "name": "p", "ownerReferences": [... uid 7 ...]}})
    store.by("owner", "7")   ->  the values of {"a/p": {...}}
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from protocol.objects import Object, key

__all__ = ["IndexFunction", "Store", "by_controller", "by_namespace"]

IndexFunction = Callable[[Object], "tuple[str, ...]"]

_NOTHING: dict[str, Object] = {}


def by_namespace(obj: Object) -> tuple[str, ...]:
    """Index function: the namespace."""
    return (obj["metadata"].get("namespace") or "",)


def by_controller(obj: Object) -> tuple[str, ...]:
    """Index function: the uid of the managing owner; `""` for an object that has none."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return (reference.get("uid", ""),)
    return ("",)


class Store:
    """Objects by `key`, and by the values of index functions."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self._functions: dict[str, IndexFunction] = {}
        self._indexes: dict[str, dict[str, dict[str, Object]]] = {}

    def __len__(self) -> int:
        return len(self.objects)

    def __contains__(self, object_key: str) -> bool:
        return object_key in self.objects

    def __iter__(self) -> Iterator[Object]:
        return iter(self.objects.values())

    def get(self, object_key: str) -> Object | None:
        """The object with this key (`namespace/name`, or `name`)."""
        return self.objects.get(object_key)

    def named(self, namespace: str, name: str) -> Object | None:
        """The object of this name in this namespace (`""`: cluster-scoped)."""
        return self.objects.get(f"{namespace}/{name}" if namespace else name)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Keep an index from now on; adding one of the same name again changes nothing."""
        if name in self._functions:
            return
        self._functions[name] = function
        index: dict[str, dict[str, Object]] = {}
        self._indexes[name] = index
        for object_key, obj in self.objects.items():
            for value in function(obj):
                index.setdefault(value, {})[object_key] = obj

    def by(self, index: str, value: str) -> Collection[Object]:
        """The objects for which the index function gave `value`: a live view, so do not keep it
        across an await (copy it with `list()`)."""
        return self._indexes[index].get(value, _NOTHING).values()

    def in_namespace(self, namespace: str) -> Collection[Object]:
        """The objects of one namespace, or all of them if it is empty."""
        if not namespace:
            return self.objects.values()
        if "namespace" not in self._indexes:
            self.add_index("namespace", by_namespace)
        return self.by("namespace", namespace)

    def put(self, obj: Object) -> Object | None:
        """Add or replace; returns what was there."""
        object_key = key(obj)
        old = self.objects.get(object_key)
        self.objects[object_key] = obj
        for name, function in self._functions.items():
            index = self._indexes[name]
            values = function(obj)
            if old is not None:
                before = function(old)
                if before != values:
                    _unindex(index, before, object_key)
            for value in values:
                entries = index.get(value)
                if entries is None:
                    entries = index[value] = {}
                entries[object_key] = obj
        return old

    def remove(self, object_key: str) -> Object | None:
        """Take out; returns what was there."""
        old = self.objects.pop(object_key, None)
        if old is not None:
            for name, function in self._functions.items():
                _unindex(self._indexes[name], function(old), object_key)
        return old

    def statistics(self) -> dict[str, Any]:
        """Numbers of objects and of values per index."""
        return {"objects": len(self.objects), **{n: len(i) for n, i in self._indexes.items()}}


def _unindex(
    index: dict[str, dict[str, Object]], values: tuple[str, ...], object_key: str
) -> None:
    for value in values:
        entries = index.get(value)
        if entries is not None:
            entries.pop(object_key, None)
            if not entries:
                del index[value]
