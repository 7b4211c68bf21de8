"""Counters that devices of a pool share: partitions of one physical device.

https://kubernetes.io/docs/concepts/resource-management/dynamic-resource-allocation/dra-features/ :
a pool's slices publish sets of counters, and a device may consume some of each; what is allocated
must leave none below zero. Owns this arithmetic for one attempt at an allocation.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from protocol.quantity import QuantityError, parse_quantity

__all__ = ["Counters"]

Object = dict[str, Any]
Pool = tuple[str, str]
Counter = tuple[Pool, str, str]


def _amount(entry: Any) -> Decimal:
    try:
        return parse_quantity((entry or {}).get("value") or 0)
    except QuantityError:
        return Decimal(0)


def pool_of(spec: Object) -> Pool:
    """Driver and name of a slice's pool."""
    return spec.get("driver", ""), (spec.get("pool") or {}).get("name", "")


class Counters:
    """What is left of every counter. `taken`: (driver, pool, device) of what others hold."""

    def __init__(self, slices: Iterable[Object], taken: Iterable[tuple[str, str, str]]) -> None:
        self.left: dict[Counter, Decimal] = {}
        held = set(taken)
        consumers = []
        for piece in slices:
            spec = piece.get("spec") or {}
            pool = pool_of(spec)
            for shared in spec.get("sharedCounters") or ():
                for name, entry in (shared.get("counters") or {}).items():
                    self.left[pool, shared.get("name", ""), name] = _amount(entry)
            for device in spec.get("devices") or ():
                body = device.get("basic") or device
                if body.get("consumesCounters") and (*pool, device.get("name", "")) in held:
                    consumers.append((pool, body))
        for pool, body in consumers:
            for counter, amount in self._needs(pool, body):
                if counter in self.left:
                    self.left[counter] -= amount

    @staticmethod
    def _needs(pool: Pool, body: Object) -> list[tuple[Counter, Decimal]]:
        return [
            ((pool, consumed.get("counterSet", ""), name), _amount(entry))
            for consumed in body.get("consumesCounters") or ()
            for name, entry in (consumed.get("counters") or {}).items()
        ]

    def take(self, pool: Pool, body: Object) -> bool:
        """Let a device consume what it needs, if that is there; a counter nobody published is not."""
        needs = self._needs(pool, body)
        if any(self.left.get(counter, Decimal(-1)) < amount for counter, amount in needs):
            return False
        for counter, amount in needs:
            self.left[counter] -= amount
        return True

    def give_back(self, pool: Pool, body: Object) -> None:
        """Undo a `take` that succeeded."""
        for counter, amount in self._needs(pool, body):
            self.left[counter] += amount
