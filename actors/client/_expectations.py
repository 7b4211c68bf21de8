"""What a controller still expects to see of its own creations and deletions.

A controller reads from a store that lags behind its writes. Before it creates or deletes pods it
notes how many; each such pod that it then sees counts one down; until all are seen, or five
minutes have passed, its view is too old to act on. As upstream's `ControllerExpectations`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

__all__ = ["Expectations", "UidExpectations"]

EXPIRY_S = 300.0


class _Counts:
    __slots__ = ("at", "creations", "deletions")

    def __init__(self, creations: int, deletions: int, at: float) -> None:
        self.creations = creations
        self.deletions = deletions
        self.at = at


class Expectations:
    """Counts of creations and deletions not yet seen, per key. `now` is a monotonic clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._counts: dict[str, _Counts] = {}

    def satisfied(self, key: str) -> bool:
        """Whether everything expected was seen, or was expected too long ago, or nothing was."""
        counts = self._counts.get(key)
        if counts is None or (counts.creations <= 0 and counts.deletions <= 0):
            return True
        return self._now() - counts.at > EXPIRY_S

    def expect(self, key: str, *, creations: int = 0, deletions: int = 0) -> None:
        """Expect these from now on, in place of what was expected before."""
        self._counts[key] = _Counts(creations, deletions, self._now())

    def raise_by(self, key: str, *, creations: int = 0, deletions: int = 0) -> None:
        """Expect these in addition."""
        counts = self._counts.get(key)
        if counts is None:
            self.expect(key, creations=creations, deletions=deletions)
        else:
            counts.creations += creations
            counts.deletions += deletions

    def creation_observed(self, key: str, count: int = 1) -> None:
        """So many were seen (or are known never to come)."""
        counts = self._counts.get(key)
        if counts is not None and counts.creations > 0:
            counts.creations -= count

    def deletion_observed(self, key: str, count: int = 1) -> None:
        """So many were seen (or are known never to come)."""
        counts = self._counts.get(key)
        if counts is not None and counts.deletions > 0:
            counts.deletions -= count

    def current(self, key: str) -> object | None:
        """What identifies the expectations of this moment: another one after the next `expect`."""
        return self._counts.get(key)

    def pending(self, key: str) -> tuple[int, int]:
        """Creations and deletions that are still expected."""
        counts = self._counts.get(key)
        return (max(0, counts.creations), max(0, counts.deletions)) if counts else (0, 0)

    def delete(self, key: str) -> None:
        """Expect nothing of this key any more."""
        self._counts.pop(key, None)


class UidExpectations(Expectations):
    """Expectations that know which objects are to go: a pod that is seen first with a deletion
    timestamp and then deleted counts once."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now)
        self._uids: dict[str, set[str]] = {}

    def expect_deletions(self, key: str, uids: Iterable[str]) -> None:
        """Expect the deletion of these, in place of what was expected before."""
        self._uids[key] = set(uids)
        self.expect(key, deletions=len(self._uids[key]))

    def uid_deletion_observed(self, key: str, uid: str) -> None:
        """This one was seen going or gone, or could not be deleted."""
        uids = self._uids.get(key)
        if uids and uid in uids:
            uids.discard(uid)
            self.deletion_observed(key)

    def delete(self, key: str) -> None:
        super().delete(key)
        self._uids.pop(key, None)
