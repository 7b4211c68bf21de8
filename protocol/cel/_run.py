"""The account of one evaluation: what it has cost, and when it must stop.

Owns the two bounds. `cost` counts CEL's cost units, as Kubernetes' limits are meant. `work` counts the
items that functions walk over which those units do not: comparing two large objects is one unit, but
must not hold up an API server.
"""

from __future__ import annotations

from typing import Any

__all__ = ["PER_CALL_LIMIT", "Broken", "Cancelled", "Run"]

PER_CALL_LIMIT = 1_000_000
MAX_WORK = 5_000_000
MAX_TEXT = 16 * 1024 * 1024
"""Characters of a text that one call may make."""


class Cancelled(Exception):
    """An expression cost too much. Nothing in it can handle that."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


class Broken(Exception):
    """An expression failed where upstream's evaluation breaks off: nothing in it can handle that either."""


class Run:
    """One evaluation. `variables` also hold what comprehensions bind."""

    __slots__ = ("cost", "limit", "variables", "work")

    def __init__(self, variables: dict[str, Any], limit: int) -> None:
        self.cost = 0
        self.work = 0
        self.limit = limit
        self.variables = variables

    def charge(self, units: int) -> None:
        """Count the cost of something before it is done. Raises `Cancelled`."""
        self.cost += units
        if self.cost > self.limit:
            raise Cancelled

    def walk(self, items: int) -> None:
        """Count items that are walked over. Raises `Cancelled`."""
        self.work += items
        if self.work > MAX_WORK:
            raise Cancelled


def weight(value: Any) -> int:
    """How many values there are in a value, counting up to what no run may walk over."""
    total = 0
    pending = [value]
    while pending and total <= MAX_WORK:
        found = pending.pop()
        total += 1
        if isinstance(found, dict):
            pending.extend(found.values())
        elif isinstance(found, list):
            pending.extend(found)
    return total
