"""Expressions that select devices: `device.driver`, `device.attributes`, `device.capacity`.

Owns their environment, and how a device is shown to them. Which devices there are is not its concern.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#selectors
Source: k8s.io/dynamic-resource-allocation/cel/compile.go
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from protocol.cel._cost import cost
from protocol.cel._environment import Environment, Program
from protocol.cel._opaque import Quantity, Semver
from protocol.cel._sizes import Bounds
from protocol.cel._types import BOOL, DYN, STRING, Type, map_of, struct
from protocol.quantity import parse_quantity, quantity_format

__all__ = ["MAX_SELECTOR_COST", "device_environment", "device_value", "selector_cost"]

Object = dict[str, Any]
_QUANTITY = Type("struct", "kubernetes.Quantity")
_DEVICE = struct(
    "kubernetes.DRADevice",
    {
        "driver": STRING,
        "attributes": map_of(STRING, map_of(STRING, DYN)),
        "capacity": map_of(STRING, map_of(STRING, _QUANTITY)),
        "allowMultipleAllocations": BOOL,
    },
)


MAX_SELECTOR_COST = 1_000_000
"""Cost units of one selector, as estimated and as it runs."""
_MAX_DRIVER, _MAX_DOMAIN, _MAX_ID, _MAX_VALUE, _MAX_ATTRIBUTES = 63, 63, 32, 64, 32


def _map(key: int, items: Bounds) -> Bounds:
    found = Bounds(_MAX_ATTRIBUTES, 2, "map")
    found.items, found.keys = items, Bounds(key, 2, "string")
    return found


@lru_cache(maxsize=1)
def _bounds() -> Bounds:
    found = Bounds(0, 2, "struct")
    found.fields = {
        "driver": Bounds(_MAX_DRIVER, 2, "string"),
        "attributes": _map(_MAX_DOMAIN, _map(_MAX_ID, Bounds(_MAX_VALUE, 1))),
        "capacity": _map(_MAX_DOMAIN, _map(_MAX_ID, Bounds(0, 1))),
        "allowMultipleAllocations": Bounds(0, 4),
    }
    return found


def selector_cost(program: Program) -> int:
    """What a selector costs at most, for the largest device."""
    return cost(program.checked, lambda path: _bounds().at(path[1:]) if path[:1] == ["device"] else None)


class _Domains(dict[str, Any]):
    """Attributes by domain: an unknown domain is an empty one."""

    def get(self, key: str, default: Any = None) -> Any:
        """The attributes of a domain."""
        return super().get(key, _NOTHING)


_NOTHING: Object = {}


@lru_cache(maxsize=1)
def device_environment() -> Environment:
    """What selectors may mention."""
    return Environment({"device": _DEVICE}, bindings=True)


def device_value(device: Object, driver: str) -> Object:
    """A device of a resource slice, as `device`. Raises `CelError`, `QuantityError` or `Failure` for values
    that are none."""
    return {
        "driver": driver,
        "attributes": _by_domain(device.get("attributes"), driver, _attribute),
        "capacity": _by_domain(device.get("capacity"), driver, _capacity),
        "allowMultipleAllocations": bool(device.get("allowMultipleAllocations")),
    }


def _by_domain(listed: Object | None, driver: str, shown: Callable[[Any], Any]) -> _Domains:
    """`domain/name` as domain -> name; a bare name is of the driver's own domain."""
    found = _Domains()
    for key, value in (listed or {}).items():
        domain, slash, name = key.rpartition("/")
        found.setdefault(domain if slash else driver, {})[name] = shown(value)
    return found


def _attribute(value: Object) -> Any:
    for kind in ("bool", "int", "string"):
        if value.get(kind) is not None:
            return value[kind]
    if value.get("version") is not None:
        return Semver(str(value["version"]))
    return None


def _capacity(value: Any) -> Quantity:
    text = str(value.get("value", "0") if isinstance(value, dict) else value)
    return Quantity(parse_quantity(text), quantity_format(text))
