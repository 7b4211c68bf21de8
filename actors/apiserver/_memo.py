"""What was worked out for one object holds for its twins: a bounded memory of pure results.

A Deployment of a thousand replicas creates a thousand pods that differ in their names alone. Who owns
which field, and that such a pod is valid, need be found once. Only results of pure functions of an
object's content are kept here, under that content; a mistake in the key would be a wrong answer, so the
key is the whole object but for its name.
"""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["Memo", "content"]

Object = dict[str, Any]
_MAX_BYTES = 16 * 1024
_PER_OBJECT = ("name", "uid", "creationTimestamp", "managedFields")


def content(obj: Object) -> bytes:
    """All of an object but what differs between twins; empty when it is too large to be kept."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _PER_OBJECT}
    data = orjson.dumps({**obj, "metadata": metadata})
    return data if len(data) <= _MAX_BYTES else b""


class Memo:
    """A dictionary that forgets its older half when it is full."""

    __slots__ = ("_bound", "_new", "_old")

    def __init__(self, bound: int = 256) -> None:
        self._bound = bound
        self._new: dict[Any, Any] = {}
        self._old: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        """What is known under a key, or None."""
        found = self._new.get(key)
        if found is None and self._old:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: Any, value: Any) -> None:
        """Remember."""
        if len(self._new) >= self._bound:
            self._old, self._new = self._new, {}
        self._new[key] = value
