"""ResourceSlice: what a driver publishes about the devices of a node.

Owns defaults, validation, selectable fields and columns.
"""

from __future__ import annotations

import re
from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._errors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from actors.apiserver.strategies._meta import immutable, validate_label_name
from actors.apiserver.strategies._volume_sources import validate_csi_driver_name
from actors.apiserver.strategies.devices import EFFECTS, each, name_of, validate_qualified
from actors.apiserver.strategies.pod_scheduling import validate_node_selector
from protocol.names import dns1123_label, dns1123_subdomain, label_value

__all__ = ["ResourceSliceStrategy"]

_MAX_DEVICES = 128
_MAX_SPECIAL_DEVICES = 64
_MAX_ATTRIBUTES = 32
_MAX_COUNTER_SETS = 8
_MAX_TAINTS = 16
_MAX_TEXT = 64
_VALUES = ("bool", "int", "string", "version")
_PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
_ONE_PLACE = (
    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
)
_DEVICE_PLACE = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when "
    "`perDeviceNodeSelection` is set to true in the ResourceSlice spec"
)
_NO_DEVICE_PLACE = (
    "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set "
    "to true in the ResourceSlice spec"
)
_TRUE_OR_UNSET = "must be either unset or set to true"
_NUMBER = r"(0|[1-9]\d*)"
_BEFORE = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_BUILD = "[0-9a-zA-Z-]+"
_is_version = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_BEFORE}(\.{_BEFORE})*)?(\+{_BUILD}(\.{_BUILD})*)?\Z"
).match


class ResourceSliceStrategy(Strategy):
    """ResourceSlice."""

    has_generation = True

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        """Taints know when they were added."""
        for device in (new.get("spec") or {}).get("devices") or ():
            for taint in device.get("taints") or ():
                if taint.get("timeAdded") is None:
                    taint["timeAdded"] = ctx.rfc3339

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + _check_spec(obj.get("spec") or {}, None)

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + _check_spec(new.get("spec") or {}, old["spec"])

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Node", "string", "", "Node the devices belong to."),
            Column("Driver", "string", "", "Driver of the devices."),
            Column("Pool", "string", "", "Pool the slice is a part of."),
            AGE,
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        return [
            obj["metadata"].get("name", ""),
            spec.get("nodeName") or "",
            spec.get("driver", ""),
            (spec.get("pool") or {}).get("name", ""),
            self.age(obj, now),
        ]

    def fields(self, obj: Object) -> dict[str, str]:
        spec = obj.get("spec") or {}
        return {
            **super().fields(obj),
            "spec.driver": spec.get("driver", ""),
            "spec.nodeName": spec.get("nodeName") or "",
        }


def _check_spec(spec: Object, old: Object | None) -> list[FieldError]:
    pool = spec.get("pool") or {}
    errors = validate_csi_driver_name(spec.get("driver", ""), "spec.driver")
    errors += _pool(pool, "spec.pool")
    if old is not None:
        was = (old.get("pool") or {}).get("name", "")
        errors += immutable(pool.get("name", ""), was, "spec.pool.name")
        for key in ("driver", "nodeName"):
            errors += immutable(spec.get(key), old.get(key), f"spec.{key}")
    errors += _check_place(spec)
    devices, counters = spec.get("devices") or [], spec.get("sharedCounters") or []
    if counters and devices:
        detail = "only one of `sharedCounters` or `devices` is allowed"
        errors.append(invalid("spec", "", detail))
    special = any(device.get("taints") or device.get("consumesCounters") for device in devices)
    known = {device.get("name"): device for device in (old or {}).get("devices") or ()}
    by_device = spec.get("perDeviceNodeSelection") is True

    def check(device: Object, path: str) -> list[FieldError]:
        return _device(device, known.get(device.get("name")), path, by_device)

    limit = _MAX_SPECIAL_DEVICES if special else _MAX_DEVICES
    errors += each(devices, "spec.devices", limit, check, name_of)
    return errors + each(counters, "spec.sharedCounters", _MAX_COUNTER_SETS, _counter_set, name_of)


def _check_place(spec: Object) -> list[FieldError]:
    """The nodes from which the devices can be reached."""
    errors: list[FieldError] = []
    node, selector = spec.get("nodeName"), spec.get("nodeSelector")
    if node:
        errors += [invalid("spec.nodeName", node, m) for m in dns1123_subdomain(node)]
    elif node is not None:
        detail = "must be either unset or set to a non-empty string"
        errors.append(invalid("spec.nodeName", node, detail))
    if selector is not None:
        errors += validate_node_selector(selector, "spec.nodeSelector")
    errors += [
        invalid(f"spec.{key}", False, _TRUE_OR_UNSET)
        for key in ("allNodes", "perDeviceNodeSelection")
        if spec.get(key) is False
    ]
    return errors + _one_of([place for place in _PLACES if spec.get(place)], "spec")


def _one_of(chosen: list[str], path: str) -> list[FieldError]:
    if not chosen:
        return [required(path, _ONE_PLACE)]
    if len(chosen) == 1:
        return []
    return [invalid(path, _listed(chosen), _ONE_PLACE + ", but multiple fields are set")]


def _listed(names: list[str]) -> str:
    return "{" + ", ".join(f"`{name}`" for name in names) + "}"


def _pool(pool: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    name, at = pool.get("name", ""), path + ".name"
    if not name:
        errors.append(required(at))
    else:
        if len(name) > 253:
            errors.append(too_long(at, 253))
        for part in name.split("/"):
            errors += [invalid(at, part, message) for message in dns1123_subdomain(part)]
    count, generation = pool.get("resourceSliceCount", 0), pool.get("generation", 0)
    if count <= 0:
        detail = "must be greater than zero"
        errors.append(invalid(path + ".resourceSliceCount", count, detail))
    if generation < 0:
        detail = "must be greater than or equal to zero"
        errors.append(invalid(path + ".generation", generation, detail))
    return errors


def _device(
    device: Object, old: Object | None, path: str, by_device: bool
) -> list[FieldError]:
    errors = _label(device.get("name", ""), path + ".name")
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    if (count := len(attributes) + len(capacity)) > _MAX_ATTRIBUTES:
        detail = f"the total number of attributes and capacities must not exceed {_MAX_ATTRIBUTES}"
        errors.append(invalid(path, count, detail))
    for key in sorted(attributes):
        errors += validate_qualified(key, path + ".attributes")
        errors += _attribute(attributes[key], f"{path}.attributes[{key}]")
    if old is None or (old.get("capacity") or {}) != capacity:
        shared = bool(device.get("allowMultipleAllocations"))
        for key in sorted(capacity):
            errors += validate_qualified(key, path + ".capacity")
            if capacity[key].get("requestPolicy") is not None and not shared:
                at = f"{path}.capacity[{key}].requestPolicy"
                errors.append(forbidden(at, "allowMultipleAllocations must be true"))
    taints = device.get("taints") or []
    if old is None or (old.get("taints") or []) != taints:
        errors += each(taints, path + ".taints", _MAX_TAINTS, _taint)
    return errors + _device_place(device, path, by_device)


def _label(name: str, path: str) -> list[FieldError]:
    return [invalid(path, name, message) for message in dns1123_label(name)]


def _taint(taint: Object, path: str) -> list[FieldError]:
    value, effect = taint.get("value", ""), taint.get("effect", "")
    errors = validate_label_name(taint.get("key", ""), path + ".key")
    errors += [invalid(path + ".value", value, message) for message in label_value(value)]
    if not effect:
        errors.append(required(path + ".effect"))
    elif effect not in EFFECTS:
        errors.append(not_supported(path + ".effect", effect, EFFECTS))
    return errors


def _device_place(device: Object, path: str, by_device: bool) -> list[FieldError]:
    places = ("nodeName", "nodeSelector", "allNodes")
    if not by_device:
        given = any(device.get(place) is not None for place in places)
        return [invalid(path, None, _NO_DEVICE_PLACE)] if given else []
    errors: list[FieldError] = []
    node = device.get("nodeName")
    if node:
        errors += [invalid(path + ".nodeName", node, m) for m in dns1123_subdomain(node)]
    elif node is not None:
        errors.append(invalid(path + ".nodeName", node, "must not be empty"))
    if device.get("nodeSelector") is not None:
        errors += validate_node_selector(device["nodeSelector"], path + ".nodeSelector")
    if device.get("allNodes") is False:
        errors.append(invalid(path + ".allNodes", False, _TRUE_OR_UNSET))
    chosen = [place for place in places if device.get(place)]
    if not chosen:
        errors.append(required(path, _DEVICE_PLACE))
    elif len(chosen) > 1:
        errors.append(invalid(path, _listed(chosen), _DEVICE_PLACE))
    return errors


def _counter_set(counters: Object, path: str) -> list[FieldError]:
    name, given = counters.get("name", ""), counters.get("counters") or {}
    errors = _label(name, path + ".name") if name else [required(path + ".name")]
    if not given:
        errors.append(required(path + ".counters"))
    for key in sorted(given):
        errors += _label(key, path + ".counters")
    return errors


def _attribute(attribute: Object, path: str) -> list[FieldError]:
    given = [key for key in _VALUES if attribute.get(key) is not None]
    errors: list[FieldError] = []
    version, text = attribute.get("version"), attribute.get("string")
    if text is not None and len(text.encode()) > _MAX_TEXT:
        errors.append(too_long(path + ".string", _MAX_TEXT))
    if version is not None:
        if not _is_version(version):
            detail = "must be a string compatible with semver.org spec 2.0.0"
            errors.append(invalid(path + ".version", version, detail))
        if len(version.encode()) > _MAX_TEXT:
            errors.append(too_long(path + ".version", _MAX_TEXT))
    rule = "exactly one value must be specified"
    if not given:
        errors.append(invalid(path, "", rule))
    elif len(given) > 1:
        shown = {
            "IntValue": attribute.get("int"),
            "BoolValue": attribute.get("bool"),
            "StringValue": text,
            "VersionValue": version,
        }
        errors.append(invalid(path, shown, rule))
    return errors
