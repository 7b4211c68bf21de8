"""Comparing in the version in which each manager spoke.

Owns the view of one change in several versions of a kind: fields that one version calls otherwise than
another are owned under the name that their manager used. It must never decide who owns what.
Source: structured-merge-diff's `merge.Updater`, apimachinery's `managedfields/internal/versionconverter.go`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.apiserver.managedfields._reset import Filter
from actors.apiserver.managedfields._walk import Comparison, compare
from protocol.schema import Type

__all__ = ["Changes", "Look", "seen"]

Object = dict[str, Any]
Look = Callable[[Object, str], tuple[Type, Object] | None]
"""An object in another apiVersion, and its type there; None: the kind has no such version."""


def seen(look: Look | None, type_: Type, obj: Object, own: str, wanted: str) -> tuple[Type, Object] | None:
    """`obj`, which is of the version `own`, in the version `wanted`. `look` None: all versions are alike."""
    if look is None or own == wanted:
        return type_, obj
    return look({"metadata": {}, **obj, "apiVersion": own}, wanted)


class Changes:
    """What lies between two objects, in whatever version it is asked about."""

    def __init__(
        self, look: Look | None, type_: Type, api_version: str, old: Object, new: Object, reset: Filter | None
    ) -> None:
        self._look = look
        self._api_version = api_version
        self._objects = type_, old, new
        self._reset = reset
        self._known: dict[str, Comparison | None] = {}
        self.own = self._compare(type_, old, new)
        """The comparison in the version of the request."""

    def at(self, api_version: str) -> Comparison | None:
        """The comparison in a version; None when there is no such version."""
        if self._look is None or api_version == self._api_version:
            return self.own
        if api_version not in self._known:
            type_, old, new = self._objects
            before = seen(self._look, type_, old, self._api_version, api_version)
            after = seen(self._look, type_, new, self._api_version, api_version)
            known = None if before is None or after is None else self._compare(after[0], before[1], after[1])
            self._known[api_version] = known
        return self._known[api_version]

    def _compare(self, type_: Type, old: Object, new: Object) -> Comparison:
        found = compare(type_, old, new)
        if self._reset is None:
            return found
        return Comparison(self._reset(found.added), self._reset(found.modified), self._reset(found.removed))
