"""PersistentVolume.

Owns its defaults, sources, what may change once created, and columns.
"""

from __future__ import annotations

import posixpath
from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._dump import diff, internal_form
from actors.apiserver.strategies._errors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._meta import immutable
from actors.apiserver.strategies._volume_sources import (
    SIMPLE,
    Check,
    validate_csi_driver_name,
    validate_iscsi,
)
from actors.apiserver.strategies.claims import (
    NOT_POSITIVE,
    VOLUME_MODES,
    access_modes_text,
    class_of,
    validate_access_modes,
)
from actors.apiserver.strategies.pod_defaults import default_volume_source
from actors.apiserver.strategies.pod_scheduling import validate_node_selector
from protocol.names import dns1123_label, dns1123_subdomain
from protocol.quantity import parse_quantity

__all__ = ["PersistentVolumeStrategy"]

_RECLAIM = ("Delete", "Recycle", "Retain")
_TWO_TYPES = "may not specify more than 1 volume type"
_SOURCES = (
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
)


def _secret_reference(reference: Object, path: str) -> list[FieldError]:
    name, namespace = reference.get("name", ""), reference.get("namespace", "")
    errors = [invalid(path + ".name", name, m) for m in dns1123_subdomain(name)] if name else []
    if not name:
        errors.append(required(path + ".name"))
    if not namespace:
        errors.append(required(path + ".namespace"))
    else:
        errors += [invalid(path + ".namespace", namespace, m) for m in dns1123_label(namespace)]
    return errors


def _csi(source: Object, path: str) -> list[FieldError]:
    errors = validate_csi_driver_name(source.get("driver", ""), path + ".driver")
    if not source.get("volumeHandle"):
        errors.append(required(path + ".volumeHandle"))
    names = (
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    )
    for name in names:
        if source.get(name) is not None:
            errors += _secret_reference(source[name], f"{path}.{name}")
    return errors


def _iscsi(source: Object, path: str) -> list[FieldError]:
    return validate_iscsi(source, path, persistent=True)


def _with_secret_namespace(kind: str) -> Check:
    """The pod's check of a source, and the namespace that a volume's secret needs besides."""

    def check(source: Object, path: str) -> list[FieldError]:
        errors = SIMPLE[kind](source, path)
        secret = source.get("secretRef")
        if secret is not None and not secret.get("namespace"):
            errors.append(required(path + ".secretRef.namespace"))
        return errors

    return check


def _azure_file(source: Object, path: str) -> list[FieldError]:
    errors = SIMPLE["azureFile"](source, path)
    if source.get("secretNamespace") == "":
        errors.append(required(path + ".secretNamespace"))
    return errors


_CHECKS: dict[str, Check] = {
    **SIMPLE,
    "csi": _csi,
    "iscsi": _iscsi,
    "cinder": _with_secret_namespace("cinder"),
    "storageos": _with_secret_namespace("storageos"),
    "azureFile": _azure_file,
}


def _check_source(spec: Object, has_affinity: bool, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    found = 0
    for kind in _SOURCES:
        if spec.get(kind) is None:
            continue
        found += 1
        if found > 1:
            errors.append(forbidden(f"{path}.{kind}", _TWO_TYPES))
            continue
        at = f"{path}.{'persistentDisk' if kind == 'gcePersistentDisk' else kind}"
        errors += _CHECKS[kind](spec[kind], at)
        if kind == "local" and not has_affinity:
            detail = "Local volume requires node affinity"
            errors.append(required("metadata.annotations", detail))
    return errors if found else [*errors, required(path, "must specify a volume type")]


def _check_spec(spec: Object) -> list[FieldError]:
    modes, capacity = spec.get("accessModes") or [], spec.get("capacity") or {}
    errors: list[FieldError] = [] if modes else [required("spec.accessModes")]
    errors += validate_access_modes(modes, "spec.accessModes")
    if not capacity:
        errors.append(required("spec.capacity"))
    if "storage" not in capacity or len(capacity) > 1:
        errors.append(not_supported("spec.capacity", capacity or None, ("storage",)))
    for name, amount in capacity.items():
        if parse_quantity(amount) <= 0:
            at = f"spec.capacity[{name}]"
            if parse_quantity(amount) < 0:
                number = int(parse_quantity(amount))
                errors.append(invalid(at, number, "must be a valid resource quantity"))
            errors.append(invalid(at, amount, NOT_POSITIVE))
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and policy not in _RECLAIM:
        errors.append(not_supported("spec.persistentVolumeReclaimPolicy", policy, _RECLAIM))
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        selector = affinity.get("required")
        if selector is None:
            detail = "must specify required node constraints"
            errors.append(required("spec.nodeAffinity.required", detail))
        else:
            errors += validate_node_selector(selector, "spec.nodeAffinity.required")
    errors += _check_source(spec, affinity is not None, "spec")
    host = (spec.get("hostPath") or {}).get("path")
    if host and posixpath.normpath(host) == "/" and policy == "Recycle":
        detail = "may not be 'recycle' for a hostPath mount of '/'"
        errors.append(forbidden("spec.persistentVolumeReclaimPolicy", detail))
    return errors + _check_names(spec)


def _check_names(spec: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    if name := spec.get("storageClassName"):
        errors += [invalid("spec.storageClassName", name, m) for m in dns1123_subdomain(name)]
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        errors.append(not_supported("spec.volumeMode", mode, VOLUME_MODES))
    name = spec.get("volumeAttributesClassName")
    if name is not None:
        at = "spec.volumeAttributesClassName"
        if not name:
            errors.append(required(at, "an empty string is disallowed"))
        else:
            errors += [invalid(at, name, message) for message in dns1123_subdomain(name)]
        if spec.get("csi") is None:
            detail = "has to be specified when using volumeAttributesClassName"
            errors.append(required("spec.csi", detail))
    return errors


class PersistentVolumeStrategy(Strategy):
    """PersistentVolume."""

    has_status = True
    standard_finalizers_only = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"
        if not spec.get("persistentVolumeReclaimPolicy"):
            spec["persistentVolumeReclaimPolicy"] = "Retain"
        if spec.get("volumeMode") is None:
            spec["volumeMode"] = "Filesystem"
        default_volume_source(spec)

    def prepare_for_create(self, obj: Object, ctx: Context) -> None:
        super().prepare_for_create(obj, ctx)
        obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": ctx.rfc3339}

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj) + _check_spec(obj.get("spec") or {})
        source = (obj.get("spec") or {}).get("iscsi") or {}
        name = f"{obj['metadata'].get('name', '')}:{source.get('targetPortal', '')}"
        if source.get("initiatorName") is not None and len(name) > 64:
            detail = (
                "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if "
                "iscsi.initiatorName is specified."
            )
            errors.append(invalid("spec.iscsi.targetportal", source.get("targetPortal", ""), detail))
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        """The whole volume is checked twice, as upstream reports it."""
        errors = self.check(new) + self.check(new)
        spec, before = new["spec"], old["spec"]
        now, was = (
            {kind: s[kind] for kind in _SOURCES if s.get(kind) is not None} for s in (spec, before)
        )
        if "csi" in was and "csi" in now and was["csi"].get("controllerExpandSecretRef") is None:
            now["csi"] = {k: v for k, v in now["csi"].items() if k != "controllerExpandSecretRef"}
        if now != was:
            changes = diff("core.PersistentVolumeSource", was, now)
            detail = f"spec.persistentvolumesource is immutable after creation\n{changes}"
            errors.append(forbidden("spec.persistentvolumesource", detail))
        errors += immutable(spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
        affinity = before.get("nodeAffinity")
        if affinity is not None and spec.get("nodeAffinity") != affinity:
            shown = spec.get("nodeAffinity")
            if shown is not None:
                shown = internal_form("core.VolumeNodeAffinity", shown)
            detail = "field is immutable, except for updating from beta label to GA"
            errors.append(invalid("nodeAffinity", shown, detail))
        name = before.get("volumeAttributesClassName")
        if name is not None and spec.get("volumeAttributesClassName") is None:
            detail = "update from non-nil value to nil is forbidden"
            errors.append(forbidden("spec.volumeAttributesClassName", detail))
        return errors

    def prepare_for_status_update(self, new: Object, old: Object, ctx: Context) -> None:
        super().prepare_for_status_update(new, old, ctx)
        status, before = new.setdefault("status", {}), old.get("status") or {}
        key = "lastPhaseTransitionTime"
        if status.get("phase") == before.get("phase"):
            if status.get(key) is None and before.get(key) is not None:
                status[key] = before[key]
        elif status.get(key) in (None, before.get(key)):
            status[key] = ctx.rfc3339

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        if not new["metadata"].get("resourceVersion"):
            errors.append(required("resourceVersion"))
        return errors

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        spec = new.get("spec") or {}
        out: list[str] = []
        annotations = new["metadata"].get("annotations") or {}
        if "volume.beta.kubernetes.io/storage-class" in annotations:
            out.append(
                "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since "
                'v1.8; use "storageClassName" attribute instead'
            )
        if "volume.beta.kubernetes.io/mount-options" in annotations:
            out.append(
                "metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since "
                'v1.31; use "mountOptions" attribute instead'
            )
        if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
            out.append(
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
                "Instead, the recommended approach is to use dynamic provisioning."
            )
        for kind, shown, text in _OLD_SOURCES:
            if spec.get(kind) is not None:
                out.append(f"spec.{shown}: {text}")
        amount = (spec.get("capacity") or {}).get("storage")
        if amount is not None and parse_quantity(amount) % 1:
            out.append(
                f'spec.capacity[storage]: fractional byte value "{amount}" is invalid, must be an '
                "integer"
            )
        return out

    def columns(self) -> tuple[Column, ...]:
        return _COLUMNS

    def row(self, obj: Object, now: float) -> list[Any]:
        meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
        claim = spec.get("claimRef")
        return [
            meta.get("name", ""),
            (spec.get("capacity") or {}).get("storage", "0"),
            access_modes_text(spec.get("accessModes")),
            spec.get("persistentVolumeReclaimPolicy", ""),
            "Terminating" if meta.get("deletionTimestamp") else status.get("phase", ""),
            "" if claim is None else f"{claim.get('namespace', '')}/{claim.get('name', '')}",
            class_of(meta, spec),
            spec.get("volumeAttributesClassName", "<unset>"),
            status.get("reason", ""),
            self.age(obj, now),
            spec.get("volumeMode", "<unset>"),
        ]

    def fields(self, obj: Object) -> dict[str, str]:
        out = super().fields(obj)
        out["name"] = out["metadata.name"]
        return out


_OLD_SOURCES = (
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
)
_COLUMNS = (
    NAME,
    Column("Capacity", "string", "", "Storage of the volume."),
    Column("Access Modes", "string", "", "How it may be mounted."),
    Column("Reclaim Policy", "string", "", "What becomes of it when its claim is gone."),
    Column("Status", "string", "", "Phase of the volume."),
    Column("Claim", "string", "", "Claim that it is bound to."),
    Column("StorageClass", "string", "", "StorageClass of the pv"),
    Column("VolumeAttributesClass", "string", "", "VolumeAttributesClass of the pv"),
    Column("Reason", "string", "", "Why it is in its phase."),
    AGE,
    Column("VolumeMode", "string", "", "Filesystem or block.", 1),
)
