"""CEL expressions that pick devices, and the attributes that constraints compare.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#selectors
Owns the compiled selectors. How a device is shown to them is `protocol.cel.devices`'.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from protocol.quantity import QuantityError

if TYPE_CHECKING:  # CEL is loaded with the first expression
    from protocol.cel import Program

__all__ = ["SelectorFailed", "attribute", "selects"]

Object = dict[str, Any]


class SelectorFailed(Exception):
    """An expression does not compile, or failed on a device."""


@lru_cache(maxsize=2048)
def _compiled(expression: str) -> Program:
    from protocol.cel import CelError
    from protocol.cel.devices import device_environment

    try:
        return device_environment().compile(expression)
    except CelError as error:
        raise SelectorFailed(f"compile error: {error}") from None


def attribute(device: Object, driver: str, name: str) -> Any:
    """A device's attribute by its qualified name (or a bare one of the driver's domain)."""
    domain, slash, bare = name.rpartition("/")
    listed = device.get("attributes") or {}
    value = listed.get(name)
    if value is None and slash and domain == driver:
        value = listed.get(bare)
    return None if value is None else next(iter(value.items()))


def selects(expression: str, device: Object, driver: str) -> bool:
    """Whether an expression is true for a device. It may cost 1,000,000 units. Raises `SelectorFailed`."""
    from protocol.cel import CelError, Failure
    from protocol.cel.devices import device_value

    program = _compiled(expression)
    try:
        return program.run({"device": device_value(device, driver)}) is True
    except (CelError, Failure, QuantityError) as error:
        raise SelectorFailed(f"runtime error: {error}") from None
