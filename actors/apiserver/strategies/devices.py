"""Kinds of dynamic resource allocation: DeviceClass, ResourceClaim and ResourceClaimTemplate.

Owns defaults, validation and columns (`pkg/apis/resource/validation`). Slices of devices are in
`device_slices`.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from __future__ import annotations

import re
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
from actors.apiserver.strategies._resources import is_extended
from actors.apiserver.strategies._volume_sources import validate_csi_driver_name
from protocol.cel.devices import MAX_SELECTOR_COST, device_environment, selector_cost
from protocol.names import (
    dns1123_label,
    dns1123_subdomain,
    label_value,
    qualified_name,
)

__all__ = [
    "EFFECTS",
    "ClaimTemplateStrategy",
    "DeviceClaimStrategy",
    "DeviceClassStrategy",
    "each",
    "name_of",
    "validate_qualified",
]

MAX_ITEMS = 32
_MAX_ALTERNATIVES = 8
_MAX_EXPRESSION = 10 * 1024
_MAX_RESERVED = 256
_MODES = ("All", "ExactCount")
EFFECTS = ("NoExecute", "NoSchedule", "None")
_OPERATORS = ("Equal", "Exists")
_MAX_IDENTIFIER = 32
_IMMUTABLE = "field is immutable"
_NO_SUCH_REQUEST = (
    "must be the name of a request in the claim or the name of a request and a subrequest "
    "separated by '/'"
)
_ONE_ATTRIBUTE = (
    'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
)
_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_IDENTIFIER_TEXT = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of "
    "alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for "
    f"validation is '{_IDENTIFIER}')"
)
_is_identifier = re.compile(f"(?:{_IDENTIFIER})\\Z").match
Check = Callable[[Any, str], list[FieldError]]
KeyOf = Callable[[Any], str]


def each(
    items: list[Any], path: str, limit: int, check: Check, key: KeyOf | None = None
) -> list[FieldError]:
    """Check a list of at most `limit` items; with a key its items are unique by it."""
    if 0 <= limit < len(items):
        return [too_many(path, len(items), limit)]
    errors: list[FieldError] = []
    for index, item in enumerate(items):
        errors += check(item, f"{path}[{index}]")
    if key is not None:
        seen: set[str] = set()
        for index, item in enumerate(items):
            name = key(item)
            if name in seen:
                errors.append(duplicate(f"{path}[{index}]", name))
            seen.add(name)
    return errors


def name_of(item: Object) -> str:
    """The key of items that have a name."""
    name: str = item.get("name", "")
    return name


def _name(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    return [invalid(path, name, message) for message in dns1123_label(name)]


def validate_qualified(name: str, path: str) -> list[FieldError]:
    """A C identifier of an attribute or capacity, with or without a domain."""
    domain, slash, identifier = name.partition("/")
    if "/" in identifier:
        return [invalid(path, name, "must not contain more than one slash")]
    errors: list[FieldError] = []
    if not slash:
        return _identifier(name, path)
    if not domain:
        errors.append(invalid(path, "", "the domain must not be empty"))
    else:
        errors += validate_csi_driver_name(domain, path)
    if not identifier:
        return [*errors, invalid(path, "", "the name must not be empty")]
    return errors + _identifier(identifier, path)


def _identifier(name: str, path: str) -> list[FieldError]:
    errors = [too_long(path, _MAX_IDENTIFIER)] if len(name) > _MAX_IDENTIFIER else []
    return errors if _is_identifier(name) else [*errors, invalid(path, name, _IDENTIFIER_TEXT)]


def _selector(selector: Object, path: str) -> list[FieldError]:
    cel = selector.get("cel")
    if cel is None:
        return [required(path + ".cel")]
    source, at = cel.get("expression", ""), path + ".cel.expression"
    if len(source.encode()) > _MAX_EXPRESSION:
        return [too_long(at, _MAX_EXPRESSION)]
    errors = check_expression(source, at, device_environment(), ("bool",))
    if not errors and selector_cost(device_environment().compile(source)) > MAX_SELECTOR_COST:
        errors.append(forbidden(at, "too complex, exceeds cost limit"))
    return errors


def _opaque(config: Object, path: str) -> list[FieldError]:
    opaque = config.get("opaque")
    if opaque is None:
        return [required(path + ".opaque")]
    at = path + ".opaque"
    errors = validate_csi_driver_name(opaque.get("driver", ""), at + ".driver")
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
    if effect and effect not in EFFECTS:
        errors.append(not_supported(path + ".effect", effect, EFFECTS))
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
    rule = "exactly one of `exactly` or `firstAvailable` is required"
    if not first and exactly is None:
        return [*errors, required(path, rule)]
    if first and exactly is not None:
        return [*errors, invalid(path, None, rule + ", but multiple fields are set")]
    if exactly is not None:
        return errors + _ask(exactly, path + ".exactly")
    at = path + ".firstAvailable"
    return errors + each(first, at, _MAX_ALTERNATIVES, _alternative, name_of)


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

    def reference(name: str, at: str) -> list[FieldError]:
        parts = name.split("/")
        errors = [e for part in parts for e in _name(part, at)] if len(parts) < 3 else []
        return errors if name in known else [*errors, invalid(at, name, _NO_SUCH_REQUEST)]

    def referenced(entry: Object, at: str) -> list[FieldError]:
        return each(entry.get("requests") or [], at + ".requests", MAX_ITEMS, reference, str)

    def constraint(entry: Object, at: str) -> list[FieldError]:
        errors = referenced(entry, at)
        for key in ("matchAttribute", "distinctAttribute"):
            if entry.get(key) is not None:
                return errors + _attribute(entry[key], f"{at}.{key}")
        return [*errors, required(at, _ONE_ATTRIBUTE)]

    def config(entry: Object, at: str) -> list[FieldError]:
        return referenced(entry, at) + _opaque(entry, at)

    errors = each(requests, path + ".requests", MAX_ITEMS, _request, name_of)
    constraints = devices.get("constraints") or []
    errors += each(constraints, path + ".constraints", MAX_ITEMS, constraint)
    return errors + each(devices.get("config") or [], path + ".config", MAX_ITEMS, config)


def _attribute(name: str, path: str) -> list[FieldError]:
    """A name with its domain."""
    errors = validate_qualified(name, path)
    if "/" not in name:
        detail = "a fully qualified name must be a domain and a name separated by a slash"
        errors.append(invalid(path, name, detail))
    return errors


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
        errors += each(spec.get("config") or [], "spec.config", MAX_ITEMS, _opaque)
        name = spec.get("extendedResourceName")
        if name is not None and not is_extended(name):
            detail = "must be a valid extended resource name"
            errors.append(invalid("spec.extendedResourceName", name, detail))
        return errors

    def columns(self) -> tuple[Column, ...]:
        return (NAME, AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"].get("name", ""), self.age(obj, now)]


class DeviceClaimStrategy(Strategy):
    """ResourceClaim."""

    has_status = True
    status_keeps_metadata = True

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
        return errors

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        now, was = new.get("status") or {}, old.get("status") or {}
        reserved = now.get("reservedFor") or []
        at = "status.reservedFor"
        errors += each(reserved, at, _MAX_RESERVED, _consumer, lambda c: str(c.get("uid", "")))
        allocation, before = now.get("allocation"), was.get("allocation")
        if reserved and allocation is None:
            detail = "may not be specified when `allocated` is not set"
            errors.append(forbidden(at, detail))
        elif new["metadata"].get("deletionTimestamp"):
            errors += _no_new_consumers(reserved, was.get("reservedFor") or [])
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
    if all(consumer in was for consumer in now):
        return []
    detail = (
        "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
    )
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
        return errors

    def columns(self) -> tuple[Column, ...]:
        return (NAME, AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"].get("name", ""), self.age(obj, now)]
