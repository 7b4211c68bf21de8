"""Kinds of the container storage interface: CSIDriver, CSINode and CSIStorageCapacity.

Owns their defaults, validation, what may change, and columns.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._dump import internal_form
from actors.apiserver.strategies._errors import FieldError, duplicate, invalid, not_supported, required
from actors.apiserver.strategies._meta import immutable
from actors.apiserver.strategies._selectors import selector_form, validate_selector
from actors.apiserver.strategies._volume_sources import validate_csi_driver_name
from actors.apiserver.strategies._warnings import node_label_warning
from protocol.names import dns1123_subdomain, qualified_name
from protocol.quantity import parse_quantity

__all__ = ["CSIDriverStrategy", "CSINodeStrategy", "CSIStorageCapacityStrategy"]

_FS_GROUP = ("File", "None", "ReadWriteOnceWithFSType")
_MODES = ("Persistent", "Ephemeral")
_DRIVER_COLUMNS = (
    NAME,
    Column("AttachRequired", "boolean", "", "Whether volumes are attached first."),
    Column("PodInfoOnMount", "boolean", "", "Whether the driver learns of the pod."),
    Column("StorageCapacity", "boolean", "", "Whether the scheduler minds the storage left."),
    Column("TokenRequests", "string", "", "Audiences of tokens that the driver gets."),
    Column("RequiresRepublish", "boolean", "", "Whether volumes are mounted again from time to time."),
    Column("Modes", "string", "", "Lifecycles of volumes that the driver knows."),
    AGE,
)


class CSIDriverStrategy(Strategy):
    """CSIDriver."""

    allow_unconditional_update = False

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        for key, value in (
            ("attachRequired", True),
            ("podInfoOnMount", False),
            ("storageCapacity", False),
            ("fsGroupPolicy", "ReadWriteOnceWithFSType"),
            ("requiresRepublish", False),
            ("seLinuxMount", False),
        ):
            if spec.get(key) is None:
                spec[key] = value
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + self._check_spec(obj.get("spec") or {})

    def _check_spec(self, spec: Object) -> list[FieldError]:
        errors: list[FieldError] = []
        policy = spec.get("fsGroupPolicy")
        if policy is not None and policy not in _FS_GROUP:
            errors.append(not_supported("spec.fsGroupPolicy", policy, _FS_GROUP))
        seen: set[str] = set()
        for index, request in enumerate(spec.get("tokenRequests") or ()):
            at = f"spec.tokenRequests[{index}]"
            audience, seconds = request.get("audience", ""), request.get("expirationSeconds")
            if audience in seen:
                errors.append(duplicate(at + ".audience", audience))
                continue
            seen.add(audience)
            if seconds is not None:
                where = at + ".expirationSeconds"
                if seconds < 600:
                    detail = "may not specify a duration less than 10 minutes"
                    errors.append(invalid(where, seconds, detail))
                if seconds > 1 << 32:
                    detail = "may not specify a duration larger than 2^32 seconds"
                    errors.append(invalid(where, seconds, detail))
        for mode in spec.get("volumeLifecycleModes") or ():
            if mode not in _MODES:
                errors.append(not_supported("spec.volumeLifecycleModes", mode, _MODES))
        period = spec.get("nodeAllocatableUpdatePeriodSeconds")
        if period is not None and period < 10:
            at = "spec.nodeAllocatableUpdatePeriodSeconds"
            errors.append(invalid(at, period, "must be greater than or equal to 10 seconds"))
        return errors

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        """Unlike others it counts changes only, from nothing."""
        if old is not None and new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        spec, before = new["spec"], old["spec"]
        errors = self.check_meta_update(new, old) + self._check_spec(spec)
        for key, shown in (
            ("attachRequired", "attachedRequired"),
            ("volumeLifecycleModes", "volumeLifecycleModes"),
        ):
            errors += immutable(spec.get(key), before.get(key), f"spec.{shown}")
        return errors

    def columns(self) -> tuple[Column, ...]:
        return _DRIVER_COLUMNS

    def row(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        requests = spec.get("tokenRequests")
        audiences = ",".join(r.get("audience", "") for r in requests or ())
        return [
            obj["metadata"].get("name", ""),
            spec.get("attachRequired", True),
            bool(spec.get("podInfoOnMount")),
            bool(spec.get("storageCapacity")),
            "<unset>" if requests is None else audiences,
            bool(spec.get("requiresRepublish")),
            ",".join(spec.get("volumeLifecycleModes") or ()) or "<none>",
            self.age(obj, now),
        ]


class CSINodeStrategy(Strategy):
    """CSINode."""

    allow_unconditional_update = False

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + _drivers(_drivers_of(obj))

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check(new) + self.check(new)
        now, was = _drivers_of(new), _drivers_of(old)
        for before in was:
            for driver in now:
                if before.get("name") == driver.get("name"):
                    fixed = {**driver, "allocatable": None}
                    if fixed != {**before, "allocatable": None}:
                        shown = internal_form("storage.CSINodeDriver", fixed)
                        errors.append(invalid("spec.drivers", shown, "field is immutable"))
        return errors

    def canonicalize(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec["drivers"] = spec.get("drivers") or None
        for driver in spec["drivers"] or ():
            driver["topologyKeys"] = driver.get("topologyKeys") or None

    def columns(self) -> tuple[Column, ...]:
        return (NAME, Column("Drivers", "integer", "", "Number of drivers on the node."), AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"].get("name", ""), len(_drivers_of(obj)), self.age(obj, now)]


def _drivers_of(node: Object) -> list[Object]:
    return (node.get("spec") or {}).get("drivers") or []


def _drivers(drivers: list[Object]) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, driver in enumerate(drivers):
        at = f"spec.drivers[{index}]"
        name, node = driver.get("name", ""), driver.get("nodeID", "")
        errors += validate_csi_driver_name(name, at + ".name")
        if not node:
            errors.append(required(at + ".nodeID"))
        if len(node) > 256:
            errors.append(invalid(at + ".nodeID", node, "must be 256 characters or less"))
        count = (driver.get("allocatable") or {}).get("count")
        if count is not None and count < 0:
            detail = "must be greater than or equal to 0"
            errors.append(invalid(at + ".allocatable.count", count, detail))
        if name in seen:
            errors.append(duplicate(at + ".name", name))
        seen.add(name)
        known: set[str] = set()
        for key in driver.get("topologyKeys") or ():
            if not key:
                errors.append(required(at))
            if key in known:
                errors.append(duplicate(at, key))
            known.add(key)
            errors += [invalid(at, key, message) for message in qualified_name(key)]
    return errors


class CSIStorageCapacityStrategy(Strategy):
    """CSIStorageCapacity."""

    allow_unconditional_update = False

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj)
        errors += validate_selector(obj.get("nodeTopology"), "nodeTopology")
        name, amount = obj.get("storageClassName", ""), obj.get("capacity")
        errors += [invalid("storageClassName", name, m) for m in dns1123_subdomain(name)]
        if amount is not None and parse_quantity(amount) < 0:
            errors.append(invalid("capacity", amount, "must be greater than or equal to 0"))
        return errors

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        topology, at = new.get("nodeTopology") or {}, "nodeTopology"
        out: list[str] = []
        for index, term in enumerate(topology.get("matchExpressions") or ()):
            if text := node_label_warning(term.get("key", "")):
                out.append(f"{at}.matchExpressions[{index}].key: {text}")
        for label in topology.get("matchLabels") or ():
            if text := node_label_warning(label):
                out.append(f"{at}.matchLabels.{label}: {text}")
        return out

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check(new) + self.check_meta_update(new, old)
        now, was = (selector_form(o.get("nodeTopology")) for o in (new, old))
        errors += immutable(now, was, "nodeTopology")
        names = new.get("storageClassName", ""), old.get("storageClassName", "")
        return errors + immutable(*names, "storageClassName")
