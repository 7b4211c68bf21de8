"""What a controller has written for each of its keys, until its stores show it.

Owns the comparison of revisions only. A store lags behind: a reconcile that reads a Job as it was
before the last one changed it may do the same work twice. Expectations guard the number of pods;
this guards everything else that builds on an own write. As upstream's consistency store (KEP-5647).

    wrote("a/job", "jobs", <revision 7>)     shows("a/job"): no
    the store of jobs reaches revision 7     shows("a/job"): yes, and 7 is forgotten
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocol.objects import Object

__all__ = ["OwnWrites"]

FORGOTTEN_AFTER_S = 300.0
"""A store that has not come so far by then never will: the history was replaced by another one."""


class OwnWrites:
    """`revision_of(resource)` is the revision that a store has reached; `now` a monotonic clock."""

    def __init__(self, revision_of: Callable[[str], int], now: Callable[[], float]) -> None:
        self._revision_of = revision_of
        self._now = now
        self._written: dict[str, dict[str, tuple[int, float]]] = {}

    def wrote(self, key: str, what: str, answer: Any) -> None:
        """The API server's answer to a write of a `what` in the course of reconciling `key`."""
        revision = _revision(answer)
        written = self._written.setdefault(key, {})
        if revision > written.get(what, (0, 0.0))[0]:
            written[what] = (revision, self._now())

    def shows(self, key: str) -> bool:
        """Whether the stores have all that was written for `key`."""
        written = self._written.get(key)
        if not written:
            return True
        for what, (revision, at) in list(written.items()):
            if self._revision_of(what) >= revision or self._now() - at > FORGOTTEN_AFTER_S:
                del written[what]
        if written:
            return False
        del self._written[key]
        return True

    def forget(self, key: str) -> None:
        """The object is gone."""
        self._written.pop(key, None)


def _revision(answer: Object | None) -> int:
    """0 for an answer that tells none, such as a Status."""
    text = ((answer or {}).get("metadata") or {}).get("resourceVersion") or ""
    return int(text) if text.isdigit() else 0
