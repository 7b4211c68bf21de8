"""Validation of what containers mount: volumes and block devices.

Owns paths, propagation and the match with the pod's volumes.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._errors import FieldError, forbidden, invalid, not_found, not_supported, required
from actors.apiserver.strategies._volume_sources import no_backsteps, relative_path

__all__ = ["validate_devices", "validate_mounts"]

Object = dict[str, Any]
_PROPAGATION = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")


def validate_mounts(container: Object, path: str, volumes: dict[str, Object]) -> list[FieldError]:
    """Volume mounts of a container."""
    devices = {d.get("name", ""): d.get("devicePath", "") for d in container.get("volumeDevices") or ()}
    errors: list[FieldError] = []
    points: set[str] = set()
    for index, mount in enumerate(container["volumeMounts"]):
        at = f"{path}[{index}]"
        name, point = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            errors.append(required(at + ".name"))
        if name not in volumes:
            errors.append(not_found(at + ".name", name))
        if not point:
            errors.append(required(at + ".mountPath"))
        if point in points:
            errors.append(invalid(at + ".mountPath", point, "must be unique"))
        points.add(point)
        if devices:
            if name in devices:
                errors.append(invalid(at + ".name", name, "must not already exist in volumeDevices"))
            if point in devices.values():
                detail = "must not already exist as a path in volumeDevices"
                errors.append(invalid(at + ".mountPath", point, detail))
        if len(mount) > 2:
            errors += _mount_options(mount, container, path, at)
    return errors


def _mount_options(mount: Object, container: Object, path: str, at: str) -> list[FieldError]:
    """Options of one mount; most of their errors name the list, not the element, as upstream's."""
    errors: list[FieldError] = []
    sub, expression = mount.get("subPath", ""), mount.get("subPathExpr", "")
    if sub:
        errors += relative_path(sub, path + ".subPath")
    if expression:
        if sub:
            detail = "subPathExpr and subPath are mutually exclusive"
            errors.append(invalid(at + ".subPathExpr", expression, detail))
        errors += relative_path(expression, path + ".subPathExpr")
    propagation = mount.get("mountPropagation")
    if propagation is not None:
        where = path + ".mountPropagation"
        if propagation not in _PROPAGATION:
            errors.append(not_supported(where, propagation, _PROPAGATION))
        privileged = (container.get("securityContext") or {}).get("privileged")
        if propagation == "Bidirectional" and not privileged:
            detail = "Bidirectional mount propagation is available only to privileged containers"
            errors.append(forbidden(where, detail))
    recursive = mount.get("recursiveReadOnly")
    if recursive is not None and recursive != "Disabled":
        where = path + ".recursiveReadOnly"
        if recursive not in _RECURSIVE:
            errors.append(not_supported(where, recursive, _RECURSIVE))
            return errors
        if not mount.get("readOnly"):
            errors.append(forbidden(where, "may only be specified when readOnly is true"))
        if propagation not in (None, "None"):
            detail = "may only be specified when mountPropagation is None or not specified"
            errors.append(forbidden(where, detail))
    return errors


def validate_devices(container: Object, path: str, volumes: dict[str, Object]) -> list[FieldError]:
    """Block devices of a container."""
    mounts = {m.get("name", ""): m.get("mountPath", "") for m in container.get("volumeMounts") or ()}
    errors: list[FieldError] = []
    paths: set[str] = set()
    names: set[str] = set()
    for index, device in enumerate(container["volumeDevices"]):
        at = f"{path}[{index}]"
        name, target = device.get("name", ""), device.get("devicePath", "")
        if not name:
            errors.append(required(at + ".name"))
        if name in names:
            errors.append(invalid(at + ".name", name, "must be unique"))
        volume = volumes.get(name)
        if volume is None:
            errors.append(not_found(at + ".name", name))
        elif "persistentVolumeClaim" not in volume and "ephemeral" not in volume:
            detail = (
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            )
            errors.append(invalid(at + ".name", name, detail))
        if not target:
            errors.append(required(at + ".devicePath"))
        if target in paths:
            errors.append(invalid(at + ".devicePath", target, "must be unique"))
        if target and no_backsteps(target, ""):
            errors.append(invalid(at + ".devicePath", target, "can not contain backsteps ('..')"))
        else:
            paths.add(target)
        if name in mounts:
            errors.append(invalid(at + ".name", name, "must not already exist in volumeMounts"))
        if target in mounts.values():
            detail = "must not already exist as a path in volumeMounts"
            errors.append(invalid(at + ".devicePath", target, detail))
        if name:
            names.add(name)
    return errors
