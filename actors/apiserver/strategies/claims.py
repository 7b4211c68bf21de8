"""PersistentVolumeClaim: requests for storage.

Owns their defaults, validation (also of claim templates in pods and stateful sets), what may change
once created, and their columns.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._dump import diff
from actors.apiserver.strategies._errors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._meta import immutable, validate_annotations, validate_labels
from actors.apiserver.strategies._resources import is_native, validate_amount
from actors.apiserver.strategies._selectors import validate_selector
from actors.apiserver.strategies.pod_defaults import default_claim_spec
from protocol.names import (
    dns1123_label,
    dns1123_subdomain,
    qualified_name,
)
from protocol.quantity import parse_quantity, value

__all__ = [
    "ACCESS_MODES",
    "VOLUME_MODES",
    "ClaimStrategy",
    "access_modes_text",
    "validate_access_modes",
    "validate_claim_spec",
    "validate_claim_template",
]

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
NOT_POSITIVE = "must be greater than zero"
_RESIZE_STATES = (
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
)
_SHORT_MODES = (
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
)
_TEMPLATE_META = frozenset({"annotations", "labels", "creationTimestamp"})


def access_modes_text(modes: list[str] | None) -> str:
    """`RWO,ROX`."""
    given = modes or ()
    return ",".join(short for mode, short in _SHORT_MODES if mode in given)


def validate_access_modes(modes: list[str], path: str) -> list[FieldError]:
    """Known modes; ReadWriteOncePod only alone."""
    errors = [not_supported(path, mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES]
    known = {mode for mode in modes if mode in ACCESS_MODES}
    if "ReadWriteOncePod" in known and len(known) > 1:
        errors.append(forbidden(path, "may not use ReadWriteOncePod with other access modes"))
    return errors


def validate_claim_spec(spec: Object, path: str) -> list[FieldError]:
    """A PersistentVolumeClaimSpec."""
    errors: list[FieldError] = []
    modes = spec.get("accessModes") or []
    if not modes:
        errors.append(required(path + ".accessModes", "at least 1 access mode is required"))
    if spec.get("selector") is not None:
        errors += validate_selector(spec["selector"], path + ".selector")
    errors += validate_access_modes(modes, path + ".accessModes")
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    at = path + ".resources[storage]"
    if storage is None:
        errors.append(required(at))
    elif parse_quantity(storage) <= 0:
        errors.append(invalid(at, storage, NOT_POSITIVE))
    else:
        errors += validate_amount("storage", storage, at)
    name = spec.get("storageClassName")
    if name:
        errors += [invalid(path + ".storageClassName", name, m) for m in dns1123_subdomain(name)]
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        errors.append(not_supported(path + ".volumeMode", mode, VOLUME_MODES))
    errors += _validate_sources(spec, path)
    name = spec.get("volumeAttributesClassName")
    if name:
        where = path + ".volumeAttributesClassName"
        errors += [invalid(where, name, message) for message in dns1123_subdomain(name)]
    return errors


def _validate_sources(spec: Object, path: str) -> list[FieldError]:
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    errors: list[FieldError] = []
    if source is not None:
        errors += _validate_source(source, path + ".dataSource")
    if reference is None:
        return errors
    errors += _validate_source(reference, path + ".dataSourceRef")
    namespace = reference.get("namespace")
    if namespace:
        where = path + ".dataSourceRef.namespace"
        errors += [invalid(where, namespace, message) for message in dns1123_label(namespace)]
        if source is not None:
            detail = "may not be specified when dataSourceRef.namespace is specified"
            errors.append(invalid(path, {}, detail))
    elif source is not None and any(
        source.get(key) != reference.get(key) for key in ("apiGroup", "kind", "name")
    ):
        errors.append(invalid(path, {}, "must match dataSourceRef"))
    return errors


def _validate_source(source: Object, path: str) -> list[FieldError]:
    errors = [required(f"{path}.{key}") for key in ("name", "kind") if not source.get(key)]
    group, kind = source.get("apiGroup") or "", source.get("kind", "")
    if not group and kind != "PersistentVolumeClaim":
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        errors.append(invalid(path, kind, detail))
    if group:
        errors += [invalid(path + ".apiGroup", group, m) for m in dns1123_subdomain(group)]
    return errors


def validate_claim_template(template: Object, path: str) -> list[FieldError]:
    """A claim template: only labels and annotations as metadata, and a spec."""
    meta = template.get("metadata") or {}
    errors = validate_annotations(meta.get("annotations"), path + ".metadata.annotations")
    errors += validate_labels(meta.get("labels"), path + ".metadata.labels")
    for key in meta:
        if key not in _TEMPLATE_META:
            errors.append(forbidden(f"{path}.metadata.{key}", "cannot be set"))
    return errors + validate_claim_spec(template.get("spec") or {}, path + ".spec")


def _resource_key(name: str, path: str) -> list[FieldError]:
    errors = [invalid(path, name, message) for message in qualified_name(name)]
    if not errors and is_native(name) and name != "storage":
        errors.append(not_supported(path, name, ("storage",)))
    return errors


def _basic_amount(amount: str, path: str) -> list[FieldError]:
    number = value(amount)
    return [invalid(path, number, "must be a valid resource quantity")] if number < 0 else []


_SOURCES = (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))


def _drop_foreign_source(spec: Object) -> None:
    """`dataSource` alone is for claims and snapshots; others are silently dropped (KEP-1495)."""
    source = spec.get("dataSource")
    if spec.get("dataSourceRef") is not None:
        return
    if source and (source.get("apiGroup") or "", source.get("kind", "")) not in _SOURCES:
        del spec["dataSource"]


def _reference(source: Object) -> Object:
    return {key: source[key] for key in ("apiGroup", "kind", "name") if key in source}


class ClaimStrategy(Strategy):
    """PersistentVolumeClaim."""

    has_status = True
    standard_finalizers_only = True

    def default(self, obj: Object) -> None:
        default_claim_spec(obj.setdefault("spec", {}))
        obj.setdefault("status", {}).setdefault("phase", "Pending")

    def reset_status(self, obj: Object) -> None:
        obj["status"] = {"phase": "Pending"}

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        """A source and its reference stand for each other where they can."""
        spec = new["spec"]
        before = old["spec"] if old is not None else {}
        reference = spec.get("dataSourceRef") or {}
        if reference.get("namespace") and before.get("dataSourceRef") is None:
            del spec["dataSourceRef"]
        if before.get("dataSource") is None and before.get("dataSourceRef") is None:
            _drop_foreign_source(spec)
        source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
        if source is not None and reference is None:
            spec["dataSourceRef"] = _reference(source)
        elif reference is not None and source is None and not reference.get("namespace"):
            spec["dataSource"] = _reference(reference)

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + validate_claim_spec(obj.get("spec") or {}, "spec")

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old) + self.check(new)
        now, was = _comparable(new, old)
        errors += _changed_annotation(new, old)
        if now != was:
            detail = (
                "spec is immutable after creation except resources.requests and "
                "volumeAttributesClassName for bound claims\n"
                + diff("core.PersistentVolumeClaimSpec", was, now)
            )
            errors.append(forbidden("spec", detail))
        errors += _check_size(new, old)
        spec, before = new["spec"], old["spec"]
        errors += immutable(spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
        name = spec.get("volumeAttributesClassName")
        if (
            name != before.get("volumeAttributesClassName")
            and (old.get("status") or {}).get("currentVolumeAttributesClassName") is not None
            and not name
        ):
            to = "nil" if name is None else "empty string"
            detail = (
                f"update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil"
            )
            errors.append(forbidden("spec.volumeAttributesClassName", detail))
        return errors

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        if not new["metadata"].get("resourceVersion"):
            errors.append(required("resourceVersion"))
        if not (new.get("spec") or {}).get("accessModes"):
            errors.append(required("Spec.accessModes"))
        status = new.get("status") or {}
        for name, amount in (status.get("capacity") or {}).items():
            errors += _basic_amount(amount, f"status.capacity[{name}]")
        at = "status.allocatedResourceStatuses"
        for name, state in (status.get("allocatedResourceStatuses") or {}).items():
            errors += _resource_key(name, at)
            if state not in _RESIZE_STATES:
                errors.append(not_supported(at, name, sorted(_RESIZE_STATES)))
        for name, amount in (status.get("allocatedResources") or {}).items():
            where = "status.allocatedResources"
            found = _resource_key(name, where) or _basic_amount(amount, f"{where}[{name}]")
            errors += found or validate_amount("storage", amount, f"{where}[{name}]")
        return errors

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        out = []
        if CLASS_ANNOTATION in (new["metadata"].get("annotations") or {}):
            out.append(
                f"metadata.annotations[{CLASS_ANNOTATION}]: deprecated since v1.8; use "
                '"storageClassName" attribute instead'
            )
        storage = ((new["spec"].get("resources") or {}).get("requests") or {}).get("storage")
        if storage is not None and parse_quantity(storage) % 1:
            out.append(
                f'spec.resources.requests[storage]: fractional byte value "{storage}" is invalid, '
                "must be an integer"
            )
        return out

    def columns(self) -> tuple[Column, ...]:
        return _COLUMNS

    def row(self, obj: Object, now: float) -> list[Any]:
        meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
        bound = spec.get("volumeName", "")
        capacity = (status.get("capacity") or {}).get("storage", "0") if bound else ""
        return [
            meta.get("name", ""),
            "Terminating" if meta.get("deletionTimestamp") else status.get("phase", ""),
            bound,
            capacity,
            access_modes_text(status.get("accessModes")) if bound else "",
            class_of(meta, spec),
            spec.get("volumeAttributesClassName", "<unset>"),
            self.age(obj, now),
            spec.get("volumeMode", "<unset>"),
        ]

    def fields(self, obj: Object) -> dict[str, str]:
        out = super().fields(obj)
        out["name"] = out["metadata.name"]
        return out


def class_of(meta: Object, spec: Object) -> str:
    """The storage class: the old annotation goes before the field."""
    annotations = meta.get("annotations") or {}
    return str(annotations.get(CLASS_ANNOTATION) or spec.get("storageClassName") or "")


def _comparable(new: Object, old: Object) -> tuple[Object, Object]:
    """Both specs without what may change."""
    now, was = dict(new["spec"]), dict(old["spec"])
    if not was.get("volumeName") and "volumeName" in now:
        was["volumeName"] = now["volumeName"]
    before = was.get("storageClassName")
    if before is None and now.get("storageClassName") is not None:
        annotated = (old["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
        if annotated is None or now["storageClassName"] == annotated:
            del now["storageClassName"]
    if (new.get("status") or {}).get("phase") == "Bound":
        requests = (now.get("resources") or {}).get("requests")
        size = ((was.get("resources") or {}).get("requests") or {}).get("storage")
        if requests and size is not None:
            now["resources"] = {**now["resources"], "requests": {**requests, "storage": size}}
        now.pop("volumeAttributesClassName", None)
        if "volumeAttributesClassName" in was:
            now["volumeAttributesClassName"] = was["volumeAttributesClassName"]
    return now, was


def _changed_annotation(new: Object, old: Object) -> list[FieldError]:
    now = (new["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION, "")
    was = (old["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION, "")
    if now == was or (was and not now and new["spec"].get("storageClassName") == was):
        return []
    return [invalid(f"metadata.annotations.{CLASS_ANNOTATION}", now, "field is immutable")]


def _check_size(new: Object, old: Object) -> list[FieldError]:
    def size(spec: Object) -> Any:
        requests = (spec.get("resources") or {}).get("requests") or {}
        return parse_quantity(requests.get("storage", "0"))

    now, was = size(new["spec"]), size(old["spec"])
    status = ((old.get("status") or {}).get("capacity") or {}).get("storage", "0")
    if now < was and now <= parse_quantity(status):
        detail = "field can not be less than status.capacity"
        return [forbidden("spec.resources.requests.storage", detail)]
    return []


_COLUMNS = (
    NAME,
    Column("Status", "string", "", "Phase of the claim."),
    Column("Volume", "string", "", "Name of the volume behind the claim."),
    Column("Capacity", "string", "", "Storage that the volume has."),
    Column("Access Modes", "string", "", "How the volume may be mounted."),
    Column("StorageClass", "string", "", "Storage class of the claim."),
    Column("VolumeAttributesClass", "string", "", "Volume attributes class of the claim."),
    AGE,
    Column("VolumeMode", "string", "", "Filesystem or block.", 1),
)
