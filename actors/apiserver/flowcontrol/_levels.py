"""Priority levels: how many seats each has, has lent and has borrowed.

Owns the arithmetic of shares and the state of a level. When there is no contention a request costs
two additions here.

Source: k8s.io/apiserver/pkg/util/flowcontrol: apf_controller.go, conc_alloc.go
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from actors.apiserver.flowcontrol._queues import Queues, Waiting

__all__ = ["Level", "adjust", "share_out"]

Object = dict[str, Any]
_SMOOTHING = 0.977
"""Per adjustment; what was in demand five minutes ago counts half."""
_LEAST_TARGET = 0.001
_BISECTIONS = 100


class Level:
    """One priority level as it works."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.uid = ""
        self.exempt = False
        self.queues: Queues | None = None
        self.queuing: tuple[int, int, int] | None = None
        self.nominal = self.least = self.most = 0
        self.limit = 0
        """Seats that it has now."""
        self.used = 0
        self.executing = 0
        self.peak = 0
        self.smoothed = self.target = 0.0
        self.gone = False

    def configure(self, obj: Object, nominal: int, most_seats: int) -> None:
        """Take over a configuration; what waits and executes goes on."""
        spec = obj.get("spec") or {}
        self.uid = obj["metadata"].get("uid", "")
        self.exempt = spec.get("type") == "Exempt"
        own = spec.get("exempt" if self.exempt else "limited") or {}
        self.nominal = nominal
        self.least = nominal - round(nominal * (own.get("lendablePercent") or 0) / 100)
        borrowing = own.get("borrowingLimitPercent")
        self.most = most_seats if borrowing is None else nominal + round(nominal * borrowing / 100)
        self.limit = min(max(self.limit or nominal, self.least), self.most)
        response = own.get("limitResponse") or {}
        queuing = response.get("queuing") or {}
        wanted = None
        if not self.exempt and response.get("type") == "Queue":
            wanted = (queuing.get("queues") or 64, queuing.get("handSize") or 8, queuing.get("queueLengthLimit") or 50)
        if wanted != self.queuing and (self.queues is None or not self.queues.waiting):
            self.queuing = wanted
            self.queues = Queues(*wanted) if wanted is not None else None

    def room(self, seats: int) -> bool:
        """Whether a request may go on at once; one is always let in where nobody is."""
        if self.exempt:
            return True
        if self.queues is not None and self.queues.waiting:
            return False
        return self.used + seats <= self.limit or not self.used

    def note(self) -> None:
        """Remember the greatest demand since the last adjustment."""
        demand = self.used + (self.queues.seats if self.queues is not None else 0)
        if demand > self.peak:
            self.peak = demand

    def ready(self) -> Waiting | None:
        """A waiting request for which there are seats now."""
        if self.queues is None or not self.queues.waiting:
            return None
        one = self.queues.next()
        if one is not None and (self.used + one.seats <= self.limit or not self.used):
            return one
        return None


def share_out(objects: Iterable[Object], total: int) -> dict[str, int]:
    """Nominal seats of each level by its shares of all, rounded up."""
    shares: dict[str, int] = {}
    for obj in objects:
        spec = obj.get("spec") or {}
        exempt = spec.get("type") == "Exempt"
        own = spec.get("exempt" if exempt else "limited") or {}
        found = own.get("nominalConcurrencyShares")
        shares[obj["metadata"]["name"]] = int((0 if exempt else 30) if found is None else found)
    all_shares = sum(shares.values()) or 1
    return {name: math.ceil(total * share / all_shares) for name, share in shares.items()}


def adjust(levels: list[Level], total: int) -> float:
    """Share the seats anew by what was in demand; answers the fair fraction of targets.

    Every level gets the same fraction of its target, but never less than it keeps for itself and never
    more than it may borrow.
    """
    for level in levels:
        level.smoothed = max(level.peak, _SMOOTHING * level.smoothed + (1 - _SMOOTHING) * level.peak)
        level.target = max(level.least, min(level.smoothed, level.most))
        level.peak = level.used
    limited = [level for level in levels if not level.exempt]
    left = max(0, total - sum(min(math.ceil(level.target), total) for level in levels if level.exempt))
    least = sum(level.least for level in limited)
    targets = {level.name: max(level.target, level.least, _LEAST_TARGET) for level in limited}

    def seats(fraction: float) -> float:
        return sum(min(max(fraction * targets[level.name], level.least), level.most) for level in limited)

    low, high = 0.0, 1.0
    while left > least and seats(high) < left and high < 1e12:
        high *= 2
    for _ in range(_BISECTIONS if left > least else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if seats(middle) < left else (low, middle)
    for level in limited:
        level.limit = max(1, round(min(max(high * targets[level.name], level.least), level.most)))
    return high
