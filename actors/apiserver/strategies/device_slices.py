"""ResourceSlice: what a driver publishes about the devices of a node.

Owns defaults, validation, selectable fields and columns.
"""

from __future__ import annotations

import re
from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._errors import FieldError, invalid, required, too_long, too_many
from actors.apiserver.strategies._meta import immutable
from actors.apiserver.strategies._names import dns1123_label, dns1123_subdomain
from actors.apiserver.strategies.devices import each, validate_driver_name

__all__ = ["ResourceSliceStrategy"]

_MAX_DEVICES = 128
_MAX_ATTRIBUTES = 32
_MAX_NAME = 32
_MAX_DOMAIN = 63
_MAX_TEXT = 64
_VALUES = ("bool", "int", "string", "version")
_PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
_ONE_PLACE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_is_identifier = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z").match
_is_version = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?\Z"
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
        spec = obj.get("spec") or {}
        errors = self.check_meta(obj)
        errors += validate_driver_name(spec.get("driver", ""), "spec.driver")
        errors += _pool(spec.get("pool") or {}, "spec.pool")
        chosen = [place for place in _PLACES if spec.get(place)]
        node = spec.get("nodeName")
        if node:
            errors += [invalid("spec.nodeName", node, m) for m in dns1123_subdomain(node)]
        if not chosen:
            errors.append(required("spec", _ONE_PLACE))
        elif len(chosen) > 1:
            shown = "{" + ", ".join(f"`{place}`" for place in chosen) + "}"
            errors.append(invalid("spec", shown, _ONE_PLACE + ", but multiple fields are set"))
        devices = spec.get("devices") or []
        return errors + each(devices, "spec.devices", _MAX_DEVICES, _device, "name")

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old) + self.check(new)
        now, was = new.get("spec") or {}, old.get("spec") or {}
        pools = (now.get("pool") or {}).get("name"), (was.get("pool") or {}).get("name")
        errors += immutable(*pools, "spec.pool.name")
        for key in ("driver", "nodeName"):
            errors += immutable(now.get(key), was.get(key), f"spec.{key}")
        return errors

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


def _device(device: Object, path: str) -> list[FieldError]:
    name, at = device.get("name", ""), path + ".name"
    if name:
        errors = [invalid(at, name, message) for message in dns1123_label(name)]
    else:
        errors = [required(at)]
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    for key in sorted(attributes):
        where = f"{path}.attributes[{key}]"
        errors += _qualified(key, where) + _attribute(attributes[key], where)
    for key in sorted(capacity):
        errors += _qualified(key, f"{path}.capacity[{key}]")
    if (count := len(attributes) + len(capacity)) > _MAX_ATTRIBUTES:
        errors.append(too_many(path, count, _MAX_ATTRIBUTES))
    return errors


def _attribute(attribute: Object, path: str) -> list[FieldError]:
    given = [key for key in _VALUES if attribute.get(key) is not None]
    if not given:
        return [required(path, "exactly one value must be specified")]
    if len(given) > 1:
        shown = {"int": None, "bool": None, "string": None, "version": None, **attribute}
        return [invalid(path, shown, "exactly one value must be specified")]
    key, at = given[0], f"{path}.{given[0]}"
    value = attribute[key]
    if key in ("string", "version") and len(str(value).encode()) > _MAX_TEXT:
        return [too_long(at, _MAX_TEXT)]
    if key == "version" and not _is_version(value):
        return [invalid(at, value, "must be a string compatible with semver.org spec 2.0.0")]
    return []


def _qualified(key: str, path: str) -> list[FieldError]:
    """A C identifier, with a domain before it or not."""
    domain, slash, name = key.rpartition("/")
    errors: list[FieldError] = []
    if not key:
        return [required(path, "name required")]
    if slash and not domain:
        errors.append(required(path, "the domain must not be empty"))
    elif domain:
        if len(domain) > _MAX_DOMAIN:
            errors.append(too_long(path, _MAX_DOMAIN))
        errors += [invalid(path, domain, message) for message in dns1123_subdomain(domain)]
    if not name:
        errors.append(required(path, "the name must not be empty"))
    elif len(name) > _MAX_NAME:
        errors.append(too_long(path, _MAX_NAME))
    elif not _is_identifier(name):
        detail = (
            "a valid C identifier must start with alphabetic character or '_', followed by a "
            "string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or "
            "'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')"
        )
        errors.append(invalid(path, name, detail))
    return errors
