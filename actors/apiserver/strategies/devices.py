"""Kinds of dynamic resource allocation: DeviceClass, ResourceClaim and ResourceClaimTemplate.

Owns defaults, validation and columns (`pkg/apis/resource/validation`). Slices of devices are in
`device_slices`.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Object, Strategy
from actors.apiserver.strategies._dump import internal_form
from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
)
from actors.apiserver.strategies._expressions import check_expression
from actors.apiserver.strategies._meta import validate_annotations, validate_labels
from actors.apiserver.strategies._names import (
    dns1123_label,
    dns1123_subdomain,
    label_value,
    qualified_name,
)

__all__ = [
    "ClaimTemplateStrategy",
    "DeviceClaimStrategy",
    "DeviceClassStrategy",
    "each",
    "validate_driver_name",
]

MAX_ITEMS = 32
_MAX_ALTERNATIVES = 8
_MAX_EXPRESSION = 10 * 1024
_MAX_RESERVED = 256
_MODES = ("All", "ExactCount")
_EFFECTS = ("NoExecute", "NoSchedule")
_OPERATORS = ("Equal", "Exists")
_IMMUTABLE = "field is immutable"
Check = Callable[[Any, str], list[FieldError]]


def each(items: list[Any], path: str, limit: int, check: Check, key: str = "") -> list[FieldError]:
    """Check a list of at most `limit` items; with a key its items are unique by it."""
    errors: list[FieldError] = []
    if len(items) > limit:
        errors.append(too_many(path, len(items), limit))
    seen: set[str] = set()
    for index, item in enumerate(items):
        at = f"{path}[{index}]"
        errors += check(item, at)
        if key:
            name = item.get(key, "")
            if name in seen:
                errors.append(duplicate(f"{at}.{key}", name))
            seen.add(name)
    return errors


def _name(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    return [invalid(path, name, message) for message in dns1123_label(name)]


def validate_driver_name(name: str, path: str) -> list[FieldError]:
    """A DNS subdomain of at most 63 bytes."""
    if not name:
        return [required(path)]
    errors = [too_long(path, 63)] if len(name) > 63 else []
    return errors + [invalid(path, name, message) for message in dns1123_subdomain(name)]


def _selector(selector: Object, path: str) -> list[FieldError]:
    cel = selector.get("cel")
    if cel is None:
        return [required(path + ".cel")]
    source, at = cel.get("expression", ""), path + ".cel.expression"
    if len(source.encode()) > _MAX_EXPRESSION:
        return [too_long(at, _MAX_EXPRESSION)]
    return check_expression(source, at, ("device",), ("bool",))


def _opaque(config: Object, path: str) -> list[FieldError]:
    opaque = config.get("opaque")
    if opaque is None:
        return [required(path + ".opaque")]
    at = path + ".opaque"
    errors = validate_driver_name(opaque.get("driver", ""), at + ".driver")
    parameters = opaque.get("parameters")
    if parameters is None:
        errors.append(required(at + ".parameters"))
    elif not isinstance(parameters, dict):
        errors.append(invalid(at + ".parameters", "<value omitted>", "must be a valid JSON object"))
    return errors


def _toleration(toleration: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    key, operator = toleration.get("key", ""), toleration.get("operator", "")
    value, effect = toleration.get("value", ""), toleration.get("effect", "")
    if key:
        errors += [invalid(path + ".key", key, message) for message in qualified_name(key)]
    if operator == "Exists":
        if value:
            detail = "must be empty for operator `Exists`"
            errors.append(invalid(path + ".value", value, detail))
    elif operator == "Equal":
        errors += [invalid(path + ".value", value, message) for message in label_value(value)]
    elif not operator:
        errors.append(required(path + ".operator"))
    else:
        errors.append(not_supported(path + ".operator", operator, _OPERATORS))
    if effect and effect not in _EFFECTS:
        errors.append(not_supported(path + ".effect", effect, _EFFECTS))
    return errors


def _ask(ask: Object, path: str) -> list[FieldError]:
    """One request for devices of a class."""
    name, at = ask.get("deviceClassName", ""), path + ".deviceClassName"
    if not name:
        errors = [required(at)]
    else:
        errors = [invalid(at, name, message) for message in dns1123_subdomain(name)]
    errors += each(ask.get("selectors") or [], path + ".selectors", MAX_ITEMS, _selector)
    mode, count = ask.get("allocationMode", ""), ask.get("count", 0)
    if mode == "All":
        if count:
            detail = f"must not be specified when allocationMode is '{mode}'"
            errors.append(invalid(path + ".count", count, detail))
    elif mode == "ExactCount":
        if count <= 0:
            errors.append(invalid(path + ".count", count, "must be greater than zero"))
    else:
        errors.append(not_supported(path + ".allocationMode", mode, _MODES))
    for index, toleration in enumerate(ask.get("tolerations") or ()):
        errors += _toleration(toleration, f"{path}.tolerations[{index}]")
    return errors


def _alternative(ask: Object, path: str) -> list[FieldError]:
    return _name(ask.get("name", ""), path + ".name") + _ask(ask, path)


def _request(request: Object, path: str) -> list[FieldError]:
    errors = _name(request.get("name", ""), path + ".name")
    first, exactly = request.get("firstAvailable") or [], request.get("exactly")
    if first:
        at = path + ".firstAvailable"
        errors += each(first, at, _MAX_ALTERNATIVES, _alternative, "name")
    if exactly is not None:
        errors += _ask(exactly, path + ".exactly")
    rule = "exactly one of `exactly` or `firstAvailable` is required"
    if not first and exactly is None:
        errors.append(required(path, rule))
    elif first and exactly is not None:
        errors.append(invalid(path, None, rule + ", but multiple fields are set"))
    return errors


def _request_names(requests: Iterable[Object]) -> set[str]:
    names: set[str] = set()
    for request in requests:
        name = request.get("name", "")
        names.add(name)
        names.update(f"{name}/{sub.get('name', '')}" for sub in request.get("firstAvailable") or ())
    return names


def _validate_devices(devices: Object, path: str) -> list[FieldError]:
    requests = devices.get("requests") or []
    known = _request_names(requests)

    def referenced(names: list[str], at: str) -> list[FieldError]:
        errors: list[FieldError] = []
        for index, name in enumerate(names):
            where = f"{at}[{index}]"
            if name not in known:
                detail = "must be the name of a request in the claim or the name of a request and"
                detail += " a subrequest separated by '/'"
                errors.append(invalid(where, name, detail))
            if name in names[:index]:
                errors.append(duplicate(where, name))
        return errors

    def constraint(entry: Object, at: str) -> list[FieldError]:
        errors = referenced(entry.get("requests") or [], at + ".requests")
        attribute = entry.get("matchAttribute")
        if attribute is None and entry.get("distinctAttribute") is None:
            return [*errors, required(at + ".matchAttribute")]
        return errors + (_attribute(attribute, at + ".matchAttribute") if attribute else [])

    def config(entry: Object, at: str) -> list[FieldError]:
        errors = referenced(entry.get("requests") or [], at + ".requests")
        return errors + _opaque(entry, at)

    errors = each(requests, path + ".requests", MAX_ITEMS, _request, "name")
    constraints = devices.get("constraints") or []
    errors += each(constraints, path + ".constraints", MAX_ITEMS, constraint)
    return errors + each(devices.get("config") or [], path + ".config", MAX_ITEMS, config)


def _attribute(name: str, path: str) -> list[FieldError]:
    """A name with its domain."""
    if "/" not in name:
        return [invalid(path, name, "must include a domain")]
    return [invalid(path, name, message) for message in qualified_name(name)]


def _default_devices(spec: Object | None) -> None:
    for request in ((spec or {}).get("devices") or {}).get("requests") or ():
        asks = list(request.get("firstAvailable") or ())
        if request.get("exactly") is not None:
            asks.append(request["exactly"])
        for ask in asks:
            if not ask.get("allocationMode"):
                ask["allocationMode"] = "ExactCount"
            if ask["allocationMode"] == "ExactCount" and not ask.get("count"):
                ask["count"] = 1
            for toleration in ask.get("tolerations") or ():
                if not toleration.get("operator"):
                    toleration["operator"] = "Equal"


class DeviceClassStrategy(Strategy):
    """DeviceClass."""

    has_generation = True

    def check(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        errors = self.check_meta(obj)
        errors += each(spec.get("selectors") or [], "spec.selectors", MAX_ITEMS, _selector)
        return errors + each(spec.get("config") or [], "spec.config", MAX_ITEMS, _opaque)

    def columns(self) -> tuple[Column, ...]:
        return (NAME, AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"].get("name", ""), self.age(obj, now)]


class DeviceClaimStrategy(Strategy):
    """ResourceClaim."""

    has_status = True

    def default(self, obj: Object) -> None:
        _default_devices(obj.get("spec"))

    def check(self, obj: Object) -> list[FieldError]:
        devices = (obj.get("spec") or {}).get("devices") or {}
        return self.check_meta(obj) + _validate_devices(devices, "spec.devices")

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        if new.get("spec") != old.get("spec"):
            shown = internal_form("resource.ResourceClaimSpec", new.get("spec"))
            errors.append(invalid("spec", shown, _IMMUTABLE))
        return errors + self.check(new)

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        now, was = new.get("status") or {}, old.get("status") or {}
        reserved = now.get("reservedFor") or []
        errors += each(reserved, "status.reservedFor", _MAX_RESERVED, _consumer, "uid")
        allocation, before = now.get("allocation"), was.get("allocation")
        if reserved and allocation is None:
            detail = "may not be specified when `allocated` is not set"
            errors.append(forbidden("status.reservedFor", detail))
        if new["metadata"].get("deletionTimestamp"):
            errors += _no_new_consumers(reserved, was.get("reservedFor") or [])
            if allocation is not None and before is None:
                detail = "new allocations may not be added while `deletionTimestamp` is set"
                errors.append(forbidden("status.allocation", detail))
        if allocation is not None and before is not None and allocation != before:
            shown = internal_form("resource.AllocationResult", allocation)
            errors.append(invalid("status.allocation", shown, _IMMUTABLE))
        return errors

    def columns(self) -> tuple[Column, ...]:
        return (NAME, Column("State", "string", "", "Whether devices are allocated."), AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        status = obj.get("status") or {}
        states = ["deleted"] if obj["metadata"].get("deletionTimestamp") else []
        if status.get("allocation") is None:
            states = states or ["pending"]
        else:
            states.append("allocated")
            if status.get("reservedFor"):
                states.append("reserved")
        return [obj["metadata"].get("name", ""), ",".join(states), self.age(obj, now)]


def _consumer(consumer: Object, path: str) -> list[FieldError]:
    return [required(f"{path}.{k}") for k in ("resource", "name", "uid") if not consumer.get(k)]


def _no_new_consumers(now: list[Object], was: list[Object]) -> list[FieldError]:
    known = {consumer.get("uid") for consumer in was}
    if all(consumer.get("uid") in known for consumer in now):
        return []
    detail = "new entries may not be added while `deletionTimestamp` is set"
    return [forbidden("status.reservedFor", detail)]


class ClaimTemplateStrategy(Strategy):
    """ResourceClaimTemplate."""

    def default(self, obj: Object) -> None:
        _default_devices((obj.get("spec") or {}).get("spec"))

    def check(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        meta = spec.get("metadata") or {}
        errors = self.check_meta(obj)
        errors += validate_annotations(meta.get("annotations"), "spec.metadata.annotations")
        errors += validate_labels(meta.get("labels"), "spec.metadata.labels")
        devices = (spec.get("spec") or {}).get("devices") or {}
        return errors + _validate_devices(devices, "spec.spec.devices")

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        if new.get("spec") != old.get("spec"):
            shown = internal_form("resource.ResourceClaimTemplateSpec", new.get("spec"))
            errors.append(invalid("spec", shown, _IMMUTABLE))
        return errors + self.check(new)

    def columns(self) -> tuple[Column, ...]:
        return (NAME, AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"].get("name", ""), self.age(obj, now)]
