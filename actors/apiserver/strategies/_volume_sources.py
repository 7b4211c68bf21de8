"""Volume sources that pods and persistent volumes share.

Owns the rules of each kind of volume by itself (`validate...VolumeSource` of
`pkg/apis/core/validation`). A check takes the source and its path. Which kinds are allowed where is
for `pod_volumes` and `persistent_volumes` to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
)
from protocol.names import (
    dns1123_label,
    dns1123_subdomain,
    qualified_name,
)

__all__ = [
    "FILE_MODE",
    "SIMPLE",
    "Check",
    "file_mode",
    "local_path",
    "no_backsteps",
    "relative_path",
    "validate_csi_driver_name",
    "validate_host_path",
    "validate_iscsi",
]

Object = dict[str, Any]
Check = Callable[[Object, str], list[FieldError]]

FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_PARTITION = "must be between 0 and 255, inclusive"
_BYTE = "must be between 0 and 255, inclusive"
_HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_IQN = re.compile(
    r"iqn\.\d{4}-\d{2}\.([a-zA-Z0-9\-.]+)(:([^,;*&$|\s]+)?)?$"
)
_EUI = re.compile(r"eui.[0-9A-Fa-f]{16}$")
_NAA = re.compile(r"naa.([0-9A-Fa-f]{16}|[0-9A-Fa-f]{32})$")


def no_backsteps(target: str, path: str) -> list[FieldError]:
    """A path without `..`."""
    if ".." in target and ".." in target.split("/"):
        return [invalid(path, target, "must not contain '..'")]
    return []


def relative_path(target: str, path: str) -> list[FieldError]:
    """A relative path that stays below where it starts."""
    errors = [invalid(path, target, "must be a relative path")] if target.startswith("/") else []
    return errors + no_backsteps(target, path)


def local_path(target: str, path: str) -> list[FieldError]:
    """A relative path whose first part is not reserved for the atomic writer."""
    errors = relative_path(target, path)
    if target.startswith("..") and not target.startswith("../"):
        errors.append(invalid(path, target, "must not start with '..'"))
    return errors


def file_mode(mode: int | None, path: str) -> list[FieldError]:
    """Permission bits."""
    return [invalid(path, mode, FILE_MODE)] if mode is not None and not 0 <= mode <= 0o777 else []


def _needs(*fields: str) -> Check:
    """A check that these fields are not empty."""

    def check(source: Object, path: str) -> list[FieldError]:
        return [required(f"{path}.{name}") for name in fields if not source.get(name)]

    return check


def validate_host_path(source: Object, path: str) -> list[FieldError]:
    """A directory or file of the node."""
    if not source.get("path"):
        return [required(path + ".path")]
    errors = no_backsteps(source["path"], path + ".path")
    kind = source.get("type")
    if kind is not None and kind not in _HOST_PATH_TYPES:
        errors.append(not_supported(path + ".type", kind, _HOST_PATH_TYPES))
    return errors


def _git_repo(source: Object, path: str) -> list[FieldError]:
    errors = [] if source.get("repository") else [required(path + ".repository")]
    return errors + relative_path(source.get("directory", ""), path + ".directory")


def _disk(name: str) -> Check:
    def check(source: Object, path: str) -> list[FieldError]:
        errors = [] if source.get(name) else [required(f"{path}.{name}")]
        if not 0 <= source.get("partition", 0) <= 255:
            errors.append(invalid(path + ".partition", source["partition"], _PARTITION))
        return errors

    return check


def _nfs(source: Object, path: str) -> list[FieldError]:
    errors = [required(f"{path}.{name}") for name in ("server", "path") if not source.get(name)]
    if not source.get("path", "").startswith("/"):
        errors.append(invalid(path + ".path", source.get("path", ""), "must be an absolute path"))
    return errors


def _initiator(name: str, path: str, unknown: str) -> list[FieldError]:
    for prefix, pattern in (("iqn", _IQN), ("eui", _EUI), ("naa", _NAA)):
        if name.startswith(prefix):
            return [] if pattern.match(name) else [invalid(path, name, "must be valid format")]
    return [invalid(path, name, unknown)]


def validate_iscsi(source: Object, path: str, persistent: bool = False) -> list[FieldError]:
    """An iSCSI target."""
    unknown = "must be valid format"
    if not persistent:
        unknown += " starting with iqn, eui, or naa"
    errors = [] if source.get("targetPortal") else [required(path + ".targetPortal")]
    if not source.get("iqn"):
        errors.append(required(path + ".iqn"))
    else:
        errors += _initiator(source["iqn"], path + ".iqn", unknown)
    if not 0 <= source.get("lun", 0) <= 255:
        errors.append(invalid(path + ".lun", source["lun"], _BYTE))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and not source.get(
        "secretRef"
    ):
        errors.append(required(path + ".secretRef"))
    if persistent and "secretRef" in source and not source["secretRef"].get("name"):
        errors.append(required(path + ".secretRef.name"))
    if source.get("initiatorName") is not None:
        errors += _initiator(source["initiatorName"], path + ".initiatorname", unknown)
    return errors


def _fibre_channel(source: Object, path: str) -> list[FieldError]:
    targets, wwids, lun = source.get("targetWWNs"), source.get("wwids"), source.get("lun")
    errors: list[FieldError] = []
    if not targets and not wwids:
        detail = "must specify either targetWWNs or wwids, but not both"
        errors.append(required(path + ".targetWWNs", detail))
    if targets and wwids:
        detail = "targetWWNs and wwids can not be specified simultaneously"
        errors.append(invalid(path + ".targetWWNs", targets, detail))
    if targets:
        if lun is None:
            errors.append(required(path + ".lun", "lun is required if targetWWNs is specified"))
        elif not 0 <= lun <= 255:
            errors.append(invalid(path + ".lun", lun, _BYTE))
    return errors


def _quobyte(source: Object, path: str) -> list[FieldError]:
    pairs = "must be a host:port pair or multiple pairs separated by commas"
    registry = source.get("registry", "")
    errors: list[FieldError] = []
    if not registry:
        errors.append(required(path + ".registry", pairs))
    elif len(source.get("tenant", "")) >= 65:
        detail = "must be a UUID and may not exceed a length of 64 characters"
        errors.append(required(path + ".tenant", detail))
    else:
        for pair in registry.split(","):
            if pair.count(":") != 1 and not re.fullmatch(r"\[[^\]]*\]:\w*", pair):
                errors.append(invalid(path + ".registry", registry, pairs))
    return errors if source.get("volume") else [*errors, required(path + ".volume")]


def _flocker(source: Object, path: str) -> list[FieldError]:
    name, uuid = source.get("datasetName", ""), source.get("datasetUUID", "")
    errors: list[FieldError] = []
    if not name and not uuid:
        errors.append(required(path, "one of datasetName and datasetUUID is required"))
    if name and uuid:
        detail = "datasetName and datasetUUID can not be specified simultaneously"
        errors.append(invalid(path, "resource", detail))
    if "/" in name:
        errors.append(invalid(path + ".datasetName", name, "must not contain '/'"))
    return errors


def _cinder(source: Object, path: str) -> list[FieldError]:
    errors = [] if source.get("volumeID") else [required(path + ".volumeID")]
    if "secretRef" in source and not source["secretRef"].get("name"):
        errors.append(required(path + ".secretRef.name"))
    return errors


def _flex(source: Object, path: str) -> list[FieldError]:
    errors = [] if source.get("driver") else [required(path + ".driver")]
    for key in source.get("options") or ():
        namespace = "." + key.split("/", 1)[0].lower()
        if namespace.endswith((".kubernetes.io", ".k8s.io")):
            detail = "kubernetes.io and k8s.io namespaces are reserved"
            errors.append(invalid(f"{path}.options[{key}]", key, detail))
    return errors


_CACHING = ("None", "ReadOnly", "ReadWrite")
_DISK_KINDS = ("Dedicated", "Managed", "Shared")
_MANAGED_URI = (
    "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
)
_BLOB_URI = ("https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",)


def _azure_disk(source: Object, path: str) -> list[FieldError]:
    errors = [required(f"{path}.{name}") for name in ("diskName", "diskURI") if not source.get(name)]
    uri, caching, kind = source.get("diskURI", ""), source.get("cachingMode"), source.get("kind")
    if caching is not None and caching not in _CACHING:
        errors.append(not_supported(path + ".cachingMode", caching, _CACHING))
    if kind is not None and kind not in _DISK_KINDS:
        errors.append(not_supported(path + ".kind", kind, _DISK_KINDS))
    if kind == "Managed" and not uri.startswith("/subscriptions/"):
        errors.append(not_supported(path + ".diskURI", uri, _MANAGED_URI))
    if kind is not None and kind != "Managed" and not uri.startswith("https://"):
        errors.append(not_supported(path + ".diskURI", uri, _BLOB_URI))
    return errors


def _storage_os(source: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if not source.get("volumeName"):
        errors.append(required(path + ".volumeName"))
    else:
        name = source["volumeName"]
        errors += [invalid(path + ".volumeName", name, m) for m in dns1123_label(name)]
    if source.get("volumeNamespace"):
        name = source["volumeNamespace"]
        errors += [invalid(path + ".volumeNamespace", name, m) for m in dns1123_label(name)]
    if "secretRef" in source and not source["secretRef"].get("name"):
        errors.append(required(path + ".secretRef.name"))
    return errors


def validate_csi_driver_name(name: str, path: str) -> list[FieldError]:
    """A CSI driver's name: a DNS subdomain without regard to case, at most 63 characters."""
    errors = [] if name else [required(path)]
    if len(name) > 63:
        errors.append(too_long(path, 63))
    return errors + [invalid(path, name, message) for message in dns1123_subdomain(name.lower())]


def _local(source: Object, path: str) -> list[FieldError]:
    errors = [] if source.get("path") else [required(path + ".path")]
    return errors + no_backsteps(source.get("path", ""), path + ".path")


SIMPLE: dict[str, Check] = {
    "hostPath": validate_host_path,
    "gitRepo": _git_repo,
    "gcePersistentDisk": _disk("pdName"),
    "awsElasticBlockStore": _disk("volumeID"),
    "nfs": _nfs,
    "iscsi": validate_iscsi,
    "glusterfs": _needs("endpoints", "path"),
    "flocker": _flocker,
    "persistentVolumeClaim": _needs("claimName"),
    "rbd": _needs("monitors", "image"),
    "cinder": _cinder,
    "cephfs": _needs("monitors"),
    "quobyte": _quobyte,
    "fc": _fibre_channel,
    "flexVolume": _flex,
    "azureFile": _needs("secretName", "shareName"),
    "vsphereVolume": _needs("volumePath"),
    "photonPersistentDisk": _needs("pdID"),
    "portworxVolume": _needs("volumeID"),
    "azureDisk": _azure_disk,
    "storageos": _storage_os,
    "scaleIO": _needs("gateway", "system", "volumeName"),
    "local": _local,
}
"""Kinds of volumes whose check needs nothing but the source."""


def validate_topology_term(term: Object, path: str) -> tuple[dict[str, set[str]], list[FieldError]]:
    """A term of a storage class's allowed topologies, and what it allows by key."""
    errors: list[FieldError] = []
    allowed: dict[str, set[str]] = {}
    for index, expression in enumerate(term.get("matchLabelExpressions") or ()):
        at = f"{path}.matchLabelExpressions[{index}]"
        values: set[str] = set()
        if not expression.get("values"):
            errors.append(required(at + ".values"))
        for number, value in enumerate(expression.get("values") or ()):
            if value in values:
                errors.append(duplicate(f"{at}.values[{number}]", value))
            values.add(value)
        key = expression.get("key", "")
        errors += [invalid(at + ".key", key, message) for message in qualified_name(key)]
        if key in allowed:
            errors.append(duplicate(at + ".key", key))
        allowed[key] = values
    return allowed, errors
