"""The kinds of `storage.k8s.io`.

Owns StorageClass, VolumeAttributesClass, CSIDriver, CSINode, CSIStorageCapacity and
VolumeAttachment: defaults, validation, what may change, columns.
"""

from __future__ import annotations

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
)
from actors.apiserver.strategies._meta import immutable, validate_common
from actors.apiserver.strategies._volume_sources import (
    validate_csi_driver_name,
    validate_topology_term,
)
from actors.apiserver.strategies._warnings import node_label_warning
from protocol.names import dns1123_subdomain, qualified_name

__all__ = ["StorageClassStrategy", "VolumeAttachmentStrategy", "VolumeAttributesClassStrategy"]

_RECLAIM = ("Delete", "Retain")
_BINDING = ("Immediate", "WaitForFirstConsumer")
_MAX_PARAMETERS = 512
_MAX_PARAMETER_BYTES = 256 * 1024
_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)


def _parameters(parameters: dict[str, str] | None, allow_empty: bool) -> list[FieldError]:
    given = parameters or {}
    errors: list[FieldError] = []
    if len(given) > _MAX_PARAMETERS:
        return [too_long("parameters", _MAX_PARAMETERS)]
    total = 0
    for key, value in given.items():
        if not key:
            errors.append(invalid("parameters", key, "field can not be empty."))
        total += len(key.encode()) + len((value or "").encode())
    if total > _MAX_PARAMETER_BYTES:
        errors.append(too_long("parameters", _MAX_PARAMETER_BYTES))
    if not allow_empty and not given:
        errors.append(required("parameters", "must contain at least one key/value pair"))
    return errors


def _driver(name: str, path: str) -> list[FieldError]:
    """Who provides storage; errors show the name in lower case."""
    if not name:
        return [required(path)]
    name = name.lower()
    return [invalid(path, name, message) for message in qualified_name(name)]


class StorageClassStrategy(Strategy):
    """StorageClass."""

    allow_unconditional_update = True

    def default(self, obj: Object) -> None:
        if obj.get("reclaimPolicy") is None:
            obj["reclaimPolicy"] = "Delete"
        if obj.get("volumeBindingMode") is None:
            obj["volumeBindingMode"] = "Immediate"

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj) + _driver(obj.get("provisioner", ""), "provisioner")
        errors += _parameters(obj.get("parameters"), True)
        policy, mode = obj.get("reclaimPolicy"), obj.get("volumeBindingMode")
        if policy and policy not in _RECLAIM:
            errors.append(not_supported("reclaimPolicy", policy, _RECLAIM))
        if mode is None:
            errors.append(required("volumeBindingMode"))
        elif mode not in _BINDING:
            errors.append(not_supported("volumeBindingMode", mode, _BINDING))
        return errors + _topologies(obj.get("allowedTopologies") or [])

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check(new) + self.check_meta_update(new, old)
        for key in ("parameters", "provisioner", "reclaimPolicy"):
            if (new.get(key) or None) != (old.get(key) or None):
                errors.append(forbidden(key, f"updates to {key} are forbidden."))
        now, was = new.get("volumeBindingMode"), old.get("volumeBindingMode")
        return errors + immutable(now, was, "volumeBindingMode")

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        out: list[str] = []
        for index, term in enumerate(new.get("allowedTopologies") or ()):
            for number, item in enumerate(term.get("matchLabelExpressions") or ()):
                if text := node_label_warning(item.get("key", "")):
                    at = f"allowedTopologies[{index}].matchLabelExpressions[{number}].key"
                    out.append(f"{at}: {text}")
        return out

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Provisioner", "string", "", "Who makes volumes."),
            Column("ReclaimPolicy", "string", "", "What becomes of volumes without claims."),
            Column("VolumeBindingMode", "string", "", "When volumes are made and bound."),
            Column("AllowVolumeExpansion", "string", "", "Whether volumes may grow."),
            AGE,
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        meta = obj["metadata"]
        annotations = meta.get("annotations") or {}
        default = any(annotations.get(key) == "true" for key in _DEFAULT_CLASS)
        return [
            meta.get("name", "") + (" (default)" if default else ""),
            obj.get("provisioner", ""),
            obj.get("reclaimPolicy", "Delete"),
            obj.get("volumeBindingMode", "Immediate"),
            bool(obj.get("allowVolumeExpansion")),
            self.age(obj, now),
        ]


def _topologies(terms: list[Object]) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: list[dict[str, set[str]]] = []
    for index, term in enumerate(terms):
        at = f"allowedTopologies[{index}]"
        allowed, found = validate_topology_term(term, at)
        errors += found
        if allowed in seen:
            errors.append(duplicate(f"{at}.matchLabelExpressions", ""))
        seen.append(allowed)
    return errors


class VolumeAttributesClassStrategy(Strategy):
    """VolumeAttributesClass."""

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj) + _driver(obj.get("driverName", ""), "driverName")
        return errors + _parameters(obj.get("parameters"), False)

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check(new) + self.check_meta_update(new, old)
        for key in ("driverName", "parameters"):
            if new.get(key) != old.get(key):
                errors.append(forbidden(key, f"updates to {key} are forbidden."))
        return errors + self.check(new)

    def columns(self) -> tuple[Column, ...]:
        return (NAME, Column("DriverName", "string", "", "Driver that knows the attributes."), AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"].get("name", ""), obj.get("driverName", ""), self.age(obj, now)]


class VolumeAttachmentStrategy(Strategy):
    """VolumeAttachment."""

    has_status = True
    status_keeps_metadata = True
    allow_unconditional_update = False

    def reset_status(self, obj: Object) -> None:
        obj["status"] = {"attached": False}

    def validate(self, obj: Object) -> list[FieldError]:
        """New objects are checked more closely than stored ones."""
        spec = obj.get("spec") or {}
        errors = self.check(obj)
        errors += validate_csi_driver_name(spec.get("attacher", ""), "spec.attacher")
        name = (spec.get("source") or {}).get("persistentVolumeName")
        if name is not None:
            at = "spec.source.persistentVolumeName"
            errors += [invalid(at, name, message) for message in dns1123_subdomain(name)]
        return errors or validate_common(obj["metadata"], False)

    def check(self, obj: Object) -> list[FieldError]:
        spec, errors = obj.get("spec") or {}, self.check_meta(obj)
        if not spec.get("attacher"):
            errors.append(required("spec.attacher"))
        source = spec.get("source") or {}
        inline, name = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
        at = "spec.source"
        if inline is None and name is None:
            detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
            errors.append(required(at, detail))
        elif inline is not None and name is not None:
            detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
            errors.append(forbidden(at, detail))
        elif name is not None and not name:
            detail = "must specify non empty persistentVolumeName"
            errors.append(required(at + ".persistentVolumeName", detail))
        node = spec.get("nodeName", "")
        errors += [invalid("spec.nodeName", node, m) for m in dns1123_subdomain(node)]
        return errors + self._check_status_fields(obj)

    def _check_status_fields(self, obj: Object) -> list[FieldError]:
        status = obj.get("status") or {}
        errors: list[FieldError] = []
        metadata = status.get("attachmentMetadata") or {}
        size = sum(len(key) + len(value or "") for key, value in metadata.items())
        if size > 262144:
            errors.append(too_long("status.attachmentMetadata", 262144))
        for name in ("attachError", "detachError"):
            problem = status.get(name) or {}
            if len(problem.get("message", "")) > 1024:
                errors.append(too_long(f"status.{name}.message", 262144))
            code = problem.get("errorCode")
            if code is not None and code < 0:
                detail = "must be between 0 and 2147483647, inclusive"
                errors.append(invalid(f"status.{name}.errorCode", code, detail))
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check(new) + self.check(new)
        spec = new.get("spec") or {}
        if spec != (old.get("spec") or {}):
            shown = internal_form("storage.VolumeAttachmentSpec", spec)
            errors.append(invalid("spec", shown, "field is immutable"))
        return errors

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_update(new, old)

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Attacher", "string", "name", "Driver that attaches the volume."),
            Column("PV", "string", "", "Volume that is attached."),
            Column("Node", "string", "", "Node that it is attached to."),
            Column("Attached", "boolean", "", "Whether it is attached."),
            AGE,
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        return [
            obj["metadata"].get("name", ""),
            spec.get("attacher", ""),
            (spec.get("source") or {}).get("persistentVolumeName") or "",
            spec.get("nodeName", ""),
            bool((obj.get("status") or {}).get("attached")),
            self.age(obj, now),
        ]


