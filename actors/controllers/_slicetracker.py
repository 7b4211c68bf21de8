"""What the EndpointSlice controllers wrote and have not yet seen come back.

Owns the answer to "is the store too old to act on": acting on it would make slices twice. Versions
are compared as numbers, as the API guarantees since 1.35 (KEP-5504).
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.objects import Object, metadata

__all__ = ["SliceTracker"]


class SliceTracker:
    """Written versions by Service key and slice name; 0 stands for a deletion."""

    def __init__(self) -> None:
        self._written: dict[str, dict[str, int]] = {}
        self._waiting: set[str] = set()

    def wrote(self, key: str, stored: Object) -> None:
        """A slice was created or updated, with this outcome."""
        self._written.setdefault(key, {})[metadata(stored)["name"]] = _version(stored)

    def deleted(self, key: str, old: Object) -> None:
        """A slice was deleted."""
        self._written.setdefault(key, {})[metadata(old)["name"]] = 0

    def seen(self, key: str, name: str, obj: Object | None) -> bool:
        """The store tells of a slice (None: it is gone). True when its Service needs a look: the
        change is not ours, or somebody waited for it."""
        expected = self._written.get(key, {}).get(name)
        ours = expected is not None and expected == (_version(obj) if obj else 0)
        if obj is None or (expected is not None and _version(obj) > expected > 0):
            self._written.get(key, {}).pop(name, None)
        if not ours:
            return True
        if key in self._waiting:
            self._waiting.discard(key)
            return True
        return False

    def stale(self, key: str, slices: Iterable[Object]) -> bool:
        """Whether the store lacks something that was written."""
        written = self._written.get(key)
        if not written:
            return False
        present = {metadata(s)["name"]: _version(s) for s in slices}
        late = any(present.get(n, 0) < v if v else n in present for n, v in written.items())
        if late:
            self._waiting.add(key)
        return late

    def forget(self, key: str) -> None:
        """The Service is gone."""
        self._written.pop(key, None)
        self._waiting.discard(key)


def _version(obj: Object) -> int:
    text = metadata(obj).get("resourceVersion", "")
    return int(text) if text.isdigit() else 1
