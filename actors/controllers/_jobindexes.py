"""Sets of completion indexes, in the notation of Job statuses: `1,3-5,7`.

Pure functions and one small immutable type. Knows nothing of pods.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["Indexes"]


class Indexes:
    """A set of non-negative ints that prints as runs.

    >>> str(Indexes.parse("1,3-5", 10).with_([6, 2]))
    '1-6'
    """

    __slots__ = ("_members",)

    def __init__(self, members: Iterable[int] = ()) -> None:
        self._members = frozenset(members)

    @classmethod
    def parse(cls, text: str, completions: int) -> Indexes:
        """From its notation, without what is not below `completions`."""
        members: list[int] = []
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            if not first:
                continue
            low = int(first)
            high = int(last) if dash else low
            members.extend(range(low, min(high, completions - 1) + 1))
        return cls(members)

    def __contains__(self, index: int) -> bool:
        return index in self._members

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._members))

    def __len__(self) -> int:
        return len(self._members)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Indexes) and other._members == self._members

    def __hash__(self) -> int:
        return hash(self._members)

    def with_(self, more: Iterable[int]) -> Indexes:
        """The union with `more`."""
        return Indexes(self._members.union(more))

    def __str__(self) -> str:
        runs: list[list[int]] = []
        for index in self:
            if runs and runs[-1][1] == index - 1:
                runs[-1][1] = index
            else:
                runs.append([index, index])
        return ",".join(_run(low, high) for low, high in runs)


def _run(low: int, high: int) -> str:
    if low == high:
        return str(low)
    return f"{low},{high}" if high == low + 1 else f"{low}-{high}"
