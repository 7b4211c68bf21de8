"""Objects as they were last written, while the store still shows them as before.

Owns the choice between the two: whichever has the higher version. A controller that makes several
writes that build on each other reads through this, so that it does not trip over its own steps.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.client import Store
from protocol.objects import Object, key, resource_version, uid

__all__ = ["Newest"]


class Newest:
    """`store_of(resource)` gives the store that lags."""

    def __init__(self, store_of: Callable[[str], Store]) -> None:
        self._store_of = store_of
        self._written: dict[tuple[str, str], Object] = {}

    def wrote(self, what: str, stored: Object) -> None:
        """This is how a write left an object."""
        self._written[what, key(stored)] = stored

    def get(self, what: str, object_key: str) -> Object | None:
        """An object as the store has it, or as it was written if that is newer."""
        found = self._store_of(what).get(object_key)
        written = self._written.get((what, object_key))
        if written is None:
            return found
        if found is not None and uid(found) == uid(written) and _version(found) < _version(written):
            return written
        del self._written[what, object_key]
        return found


def _version(obj: Object) -> int:
    text = resource_version(obj)
    return int(text) if text.isdigit() else 0
