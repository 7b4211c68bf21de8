"""Devices that are given out in part: what a request takes of a device's capacity, and what is left.

KEP-5075. A device with `allowMultipleAllocations` serves many requests, each with a share of its own, as long
as none of its capacities is used up. What a request takes of a capacity is what it asks for, raised to
what the capacity's `requestPolicy` allows; of a capacity that it does not mention, the policy's default, or
all of it. Owns these rules and the sums; which devices are looked at is `_devices`'.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal
from typing import Any

from protocol.quantity import QuantityError, format_quantity, parse_quantity

__all__ = ["Shares", "consumption", "shared"]

Object = dict[str, Any]
Consumed = dict[str, str]
"""Capacity -> quantity, as a claim's status tells it."""
Key = tuple[str, str, str]


def shared(device: Object) -> bool:
    """Whether a device may be allocated to several requests at a time."""
    return bool(device.get("allowMultipleAllocations"))


def consumption(request: Object, device: Object) -> Consumed | None:
    """What a request takes of a device's capacities; None when the device can never serve it: a capacity that
    is asked for is not there, is smaller, or its policy knows no such amount."""
    wanted = ((request.get("capacity") or {}).get("requests")) or {}
    capacity = device.get("capacity") or {}
    if any(name not in capacity for name in wanted):
        return None
    found: Consumed = {}
    try:
        for name, entry in capacity.items():
            policy = entry.get("requestPolicy") or {}
            amount = _amount(wanted.get(name), entry, policy)
            if _violates(parse_quantity(amount), policy) or parse_quantity(amount) > parse_quantity(entry["value"]):
                return None
            found[name] = amount
    except (QuantityError, KeyError):
        return None
    return found


def _amount(wanted: Any, entry: Object, policy: Object) -> str:
    if wanted is None:
        return str(policy["default"] if policy.get("default") is not None else entry["value"])
    number = parse_quantity(wanted)
    limits = policy.get("validRange") or {}
    if limits.get("min") is not None:
        least = parse_quantity(limits["min"])
        if number <= least:
            return str(limits["min"])
        if limits.get("step") is None:
            return str(wanted)
        step = parse_quantity(limits["step"])
        steps = ((number - least) / step).to_integral_value(ROUND_CEILING)
        return _formatted(least + steps * step, str(limits["min"]))
    if policy.get("validValues"):
        larger = [value for value in policy["validValues"] if parse_quantity(value) >= number]
        return str(min(larger, key=parse_quantity)) if larger else str(wanted)
    return str(wanted)


def _formatted(number: Decimal, like: str) -> str:
    return format_quantity(number, "BinarySI" if like.endswith("i") else "DecimalSI")


def _violates(number: Decimal, policy: Object) -> bool:
    """Whether a policy does not know such an amount; its default is always right."""
    if not policy or (policy.get("default") is not None and number == parse_quantity(policy["default"])):
        return False
    limits = policy.get("validRange") or {}
    if limits.get("min") is not None:
        least = parse_quantity(limits["min"])
        if number < least or (limits.get("max") is not None and number > parse_quantity(limits["max"])):
            return True
        return limits.get("step") is not None and (number - least) % parse_quantity(limits["step"]) != 0
    values = policy.get("validValues") or ()
    return bool(values) and all(number != parse_quantity(value) for value in values)


class Shares:
    """What is consumed of each device that is given out in part."""

    def __init__(self, results: Iterable[Object]) -> None:
        self._consumed: dict[Key, dict[str, Decimal]] = {}
        self._holders: dict[Key, int] = {}
        for result in results:
            if result.get("shareID") and not result.get("adminAccess"):
                key = (result.get("driver", ""), result.get("pool", ""), result.get("device", ""))
                self._add(key, result.get("consumedCapacity") or {}, 1)

    def held(self, key: Key) -> bool:
        """Whether anybody has a share of the device."""
        return self._holders.get(key, 0) > 0

    def devices(self) -> Iterable[Key]:
        """The devices of which anybody has a share."""
        return [key for key, count in self._holders.items() if count]

    def take(self, key: Key, device: Object, amounts: Consumed) -> bool:
        """Take a share, if there is room for it."""
        used = self._consumed.get(key, {})
        for name, amount in amounts.items():
            if used.get(name, Decimal(0)) + parse_quantity(amount) > parse_quantity(device["capacity"][name]["value"]):
                return False
        self._add(key, amounts, 1)
        return True

    def give_back(self, key: Key, amounts: Consumed) -> None:
        """Undo a `take` that succeeded."""
        self._add(key, amounts, -1)

    def _add(self, key: Key, amounts: Consumed, sign: int) -> None:
        used = self._consumed.setdefault(key, {})
        for name, amount in amounts.items():
            used[name] = used.get(name, Decimal(0)) + sign * parse_quantity(amount)
        self._holders[key] = self._holders.get(key, 0) + sign
