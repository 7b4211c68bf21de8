"""CEL expressions that pick devices: `device.driver`, `device.attributes`, `device.capacity`.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#selectors
Owns the compiled expressions and the form in which a device is shown to them. Quantities and
versions are opaque values with methods; they travel through the engine as one-entry maps.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any

from protocol.quantity import parse_quantity

__all__ = ["SelectorFailed", "selects"]

Object = dict[str, Any]
QUANTITY, VERSION = "~quantity", "~version"
_DOMAINS = re.compile(r"""(?:attributes|capacity)\s*\[\s*["']([^"']+)["']\s*\]""")


class SelectorFailed(Exception):
    """An expression does not compile, or failed on a device."""


def _quantity(text: Any) -> Object:
    return {QUANTITY: format(parse_quantity(str(text)).normalize(), "f")}


def _version(text: Any) -> Object:
    return {VERSION: str(text)}


def _order(value: Any) -> Any:
    """Something that compares as the opaque value does."""
    raw = value.plain_value() if hasattr(value, "plain_value") else value
    if isinstance(raw, dict) and QUANTITY in raw:
        return Decimal(raw[QUANTITY])
    if isinstance(raw, dict) and VERSION in raw:
        core, _, pre = raw[VERSION].partition("+")[0].partition("-")
        numbers = tuple(int(n) for n in core.split("."))
        # A pre-release comes before its release; its parts compare as numbers where they are.
        parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in pre.split(".") if p)
        return numbers, not pre, parts
    raise ValueError("no such overload")


def _compare(left: Any, right: Any) -> int:
    a, b = _order(left), _order(right)
    return int(a > b) - int(a < b)


def _text(value: Any) -> Any:
    return value.plain_value() if hasattr(value, "plain_value") else value


@lru_cache(maxsize=1)
def _environment() -> Any:
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_bindings, ext_optional, ext_strings

    dyn, integer, boolean, string = cel.Type.DYN, cel.Type.INT, cel.Type.BOOL, cel.Type.STRING

    def method(name: str, result: Any, act: Any) -> Any:
        overload = cel.Overload(f"device_{name}", return_type=result, parameters=[dyn, dyn], is_member=True, impl=act)
        return cel.FunctionDecl(name, [overload])

    def function(name: str, act: Any) -> Any:
        overload = cel.Overload(f"device_{name}", return_type=dyn, parameters=[string], is_member=False, impl=act)
        return cel.FunctionDecl(name, [overload])

    functions = [
        function("quantity", lambda text: _quantity(_text(text))),
        function("semver", lambda text: _version(_text(text))),
        method("compareTo", integer, _compare),
        method("isGreaterThan", boolean, lambda a, b: _compare(a, b) > 0),
        method("isLessThan", boolean, lambda a, b: _compare(a, b) < 0),
    ]
    extensions = [
        ext_strings.ExtStrings(),
        ext_optional.ExtOptional(),
        ext_bindings.ExtBindings(),
        cel.CelExtension("devices", functions),
    ]
    return cel.NewEnv(variables={"device": dyn}, extensions=extensions)


@lru_cache(maxsize=2048)
def _compiled(expression: str) -> tuple[Any, tuple[str, ...]]:
    try:
        program = _environment().compile(expression)
    except Exception as error:
        raise SelectorFailed(f"compile error: {error}") from None
    return program, tuple(set(_DOMAINS.findall(expression)))


def _by_domain(listed: Object, driver: str, shown: Any) -> dict[str, Object]:
    """`domain/name` keys as domain -> name; a bare name is of the driver's own domain."""
    found: dict[str, Object] = {}
    for key, value in (listed or {}).items():
        domain, slash, name = key.rpartition("/")
        found.setdefault(domain if slash else driver, {})[name] = shown(value)
    return found


def _attribute(value: Object) -> Any:
    for kind in ("bool", "int", "string"):
        if kind in value:
            return value[kind]
    return _version(value.get("version", "")) if "version" in value else None


def attribute(device: Object, driver: str, name: str) -> Any:
    """A device's attribute by its qualified name (or a bare one of the driver's domain)."""
    domain, slash, bare = name.rpartition("/")
    listed = device.get("attributes") or {}
    value = listed.get(name)
    if value is None and slash and domain == driver:
        value = listed.get(bare)
    return None if value is None else next(iter(value.items()))


def selects(expression: str, device: Object, driver: str) -> bool:
    """Whether an expression is true for a device. Raises `SelectorFailed`."""
    program, domains = _compiled(expression)
    shown: Object = {
        "driver": driver,
        "attributes": _by_domain(device.get("attributes") or {}, driver, _attribute),
        "capacity": _by_domain(
            device.get("capacity") or {}, driver, lambda c: _quantity(c.get("value", c) if isinstance(c, dict) else c)
        ),
        "allowMultipleAllocations": bool(device.get("allowMultipleAllocations")),
    }
    for domain in domains:
        # An unknown domain is an empty one.
        shown["attributes"].setdefault(domain, {})
        shown["capacity"].setdefault(domain, {})
    try:
        value = program.eval(data={"device": shown})
    except Exception as error:
        raise SelectorFailed(f"runtime error: {error}") from None
    if str(value.type().name()).upper().strip("*") == "ERROR":
        raise SelectorFailed(f"runtime error: {value.value()}")
    return bool(value.plain_value())
