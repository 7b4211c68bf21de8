"""Volumes of a pod.

Owns which sources a pod's volume may have, and the sources that only pods have (config maps,
secrets, projections, the downward API, ephemeral claims, images).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._selectors import validate_selector
from actors.apiserver.strategies._volume_sources import (
    SIMPLE,
    Check,
    file_mode,
    local_path,
    validate_csi_driver_name,
)
from actors.apiserver.strategies.claims import validate_claim_template
from actors.apiserver.strategies.pod_fields import (
    validate_field_ref,
    validate_resource_field_ref,
)
from protocol.names import dns1123_label, dns1123_subdomain
from protocol.quantity import parse_quantity

__all__ = ["PULL_POLICIES", "validate_pull_policy", "validate_volumes"]

Object = dict[str, Any]

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_VOLUME_FIELDS = frozenset(
    {"metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid"}
)
_KEY_TYPES = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
_TWO_TYPES = "may not specify more than 1 volume type"


def validate_volumes(
    spec: Object, path: str, pod_name: str, is_pod: bool
) -> tuple[dict[str, Object], list[FieldError]]:
    """The pod's good volumes by name, and what is wrong with the others."""
    volumes = spec.get("volumes")
    if not volumes:
        return {}, []
    errors: list[FieldError] = []
    good: dict[str, Object] = {}
    created = {f"{pod_name}-{v.get('name', '')}" for v in volumes if pod_name and "ephemeral" in v}
    for index, volume in enumerate(volumes):
        at = f"{path}[{index}]"
        name = volume.get("name", "")
        found = _validate_source(volume, at, name, pod_name, is_pod)
        if not name:
            found.append(required(at + ".name"))
        else:
            found += [invalid(at + ".name", name, message) for message in dns1123_label(name)]
        if name in good:
            found.append(duplicate(at + ".name", name))
        if found:
            errors += found
        else:
            good[name] = volume
        claim = volume.get("persistentVolumeClaim")
        if created and claim is not None and claim.get("claimName") in created:
            detail = "must not reference a PVC that gets created for an ephemeral volume"
            where = at + ".persistentVolumeClaim.claimName"
            errors.append(invalid(where, claim["claimName"], detail))
    return good, errors


def _validate_source(
    volume: Object, path: str, name: str, pod_name: str, is_pod: bool
) -> list[FieldError]:
    errors: list[FieldError] = []
    seen = 0
    if len(volume) <= 2:
        order: Any = volume
    else:
        order = (kind for kind in _ORDER if kind in volume)
    for kind in order:
        if kind == "name":
            continue
        source = volume[kind]
        if kind == "emptyDir":
            seen += 1
            errors += _empty_dir(source, path)
        elif seen:
            errors.append(forbidden(f"{path}.{_SECOND.get(kind, kind)}", _TWO_TYPES))
        else:
            seen += 1
            check = _CHECKS.get(kind)
            if check is not None:
                errors += check(source, f"{path}.{_FIRST.get(kind, kind)}")
            if kind == "ephemeral" and pod_name and name:
                errors += _claim_name(pod_name, name, path)
            elif kind == "image":
                errors += _image(source, path + ".image", is_pod)
        if kind == "iscsi":
            errors += _iscsi_length(source, name, path)
    if not seen:
        errors.append(required(path, "must specify a volume type"))
    return errors


def _empty_dir(source: Object, path: str) -> list[FieldError]:
    limit = source.get("sizeLimit")
    if limit is not None and parse_quantity(limit) < 0:
        detail = "SizeLimit field must be a valid resource quantity"
        return [forbidden(path + ".emptyDir.sizeLimit", detail)]
    return []


def _claim_name(pod_name: str, name: str, path: str) -> list[FieldError]:
    claim = f"{pod_name}-{name}"
    return [
        invalid(path + ".name", name, f'PVC name "{claim}": {message}')
        for message in dns1123_subdomain(claim)
    ]


def _iscsi_length(source: Object, name: str, path: str) -> list[FieldError]:
    total = f"{name}:{source.get('targetPortal', '')}"
    if source.get("initiatorName") is None or len(total) <= 64:
        return []
    detail = (
        "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if "
        "iscsi.initiatorName is specified."
    )
    return [invalid(path + ".name", name, detail)]


def validate_pull_policy(policy: str | None, path: str) -> list[FieldError]:
    """When an image is pulled."""
    if policy in PULL_POLICIES:
        return []
    return [not_supported(path, policy, PULL_POLICIES)] if policy else [required(path)]


def _image(source: Object, path: str, is_pod: bool) -> list[FieldError]:
    errors = [required(path + ".reference")] if is_pod and not source.get("reference") else []
    return errors + validate_pull_policy(source.get("pullPolicy"), path + ".pullPolicy")


def _items(items: list[Object] | None, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, item in enumerate(items or ()):
        errors += _key_to_path(item, f"{path}[{index}]")
    return errors


def _key_to_path(item: Object, path: str) -> list[FieldError]:
    errors = [required(f"{path}.{name}") for name in ("key", "path") if not item.get(name)]
    errors += local_path(item.get("path", ""), path + ".path")
    return errors + file_mode(item.get("mode"), path + ".mode")


def _secret(source: Object, path: str) -> list[FieldError]:
    errors = [] if source.get("secretName") else [required(path + ".secretName")]
    errors += file_mode(source.get("defaultMode"), path + ".defaultMode")
    return errors + _items(source.get("items"), path + ".items")


def _config_map(source: Object, path: str) -> list[FieldError]:
    errors = [] if source.get("name") else [required(path + ".name")]
    errors += file_mode(source.get("defaultMode"), path + ".defaultMode")
    return errors + _items(source.get("items"), path + ".items")


def _downward_file(item: Object, path: str) -> list[FieldError]:
    errors = [] if item.get("path") else [required(path + ".path")]
    errors += local_path(item.get("path", ""), path + ".path")
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        errors += validate_field_ref(field, _VOLUME_FIELDS, path + ".fieldRef")
        if resource is not None:
            detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
            errors.append(invalid(path, "resource", detail))
    elif resource is not None:
        errors += validate_resource_field_ref(resource, path + ".resourceFieldRef", volume=True)
    else:
        errors.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    return errors + file_mode(item.get("mode"), path + ".mode")


def _downward(source: Object, path: str) -> list[FieldError]:
    errors = file_mode(source.get("defaultMode"), path + ".defaultMode")
    for item in source.get("items") or ():
        errors += _downward_file(item, path)
    return errors


def _csi(source: Object, path: str) -> list[FieldError]:
    errors = validate_csi_driver_name(source.get("driver", ""), path + ".driver")
    secret = source.get("nodePublishSecretRef")
    if secret is not None:
        name = secret.get("name", "")
        if not name:
            errors.append(required(path + ".nodePublishSecretRef.name"))
        else:
            errors += [invalid(path + ".name", name, m) for m in dns1123_subdomain(name)]
    return errors


def _ephemeral(source: Object, path: str) -> list[FieldError]:
    template = source.get("volumeClaimTemplate")
    if template is None:
        return [required(path + ".volumeClaimTemplate")]
    return validate_claim_template(template, path + ".volumeClaimTemplate")


# --- projections --------------------------------------------------------------------------------


class _Paths:
    """File paths that a projected volume's sources claim; no two may be equal."""

    def __init__(self, volume_path: str) -> None:
        self.volume_path = volume_path
        self.taken: set[str] = set()

    def claim(self, target: str, shown: str) -> list[FieldError]:
        """Errors when `target` is taken already."""
        if target in self.taken:
            return [invalid(self.volume_path, shown, "conflicting duplicate paths")]
        self.taken.add(target)
        return []


def _projected(source: Object, path: str) -> list[FieldError]:
    errors = file_mode(source.get("defaultMode"), path + ".defaultMode")
    paths = _Paths(path)
    for index, projection in enumerate(source.get("sources") or ()):
        at = f"{path}.sources[{index}]"
        kinds = [kind for kind in _PROJECTIONS if kind in projection]
        for kind in kinds:
            errors += _PROJECTIONS[kind](projection[kind], f"{at}.{kind}", paths)
        if len(kinds) > 1:
            errors.append(forbidden(at, "may not specify more than 1 volume type per source"))
    return errors


def _project_keys(source: Object, path: str, paths: _Paths) -> list[FieldError]:
    name = source.get("name", "")
    errors = [] if name else [required(path + ".name")]
    for index, item in enumerate(source.get("items") or ()):
        errors += _key_to_path(item, f"{path}.items[{index}]")
        if item.get("path"):
            errors += paths.claim(item["path"], name)
    return errors


def _project_downward(source: Object, path: str, paths: _Paths) -> list[FieldError]:
    errors: list[FieldError] = []
    for item in source.get("items") or ():
        errors += _downward_file(item, path)
        if item.get("path"):
            errors += paths.claim(item["path"], item["path"])
    return errors


def _project_token(source: Object, path: str, paths: _Paths) -> list[FieldError]:
    seconds = source.get("expirationSeconds", 0)
    errors: list[FieldError] = []
    if seconds < 600:
        detail = "may not specify a duration less than 10 minutes"
        errors.append(invalid(path + ".expirationSeconds", seconds, detail))
    if seconds > 1 << 32:
        detail = "may not specify a duration larger than 2^32 seconds"
        errors.append(invalid(path + ".expirationSeconds", seconds, detail))
    if not source.get("path"):
        errors.append(required(paths.volume_path + ".path"))
    else:
        errors += local_path(source["path"], paths.volume_path + ".path")
    return errors


def _project_trust_bundle(source: Object, path: str, paths: _Paths) -> list[FieldError]:
    name, signer = source.get("name"), source.get("signerName")
    errors: list[FieldError] = []
    if name is not None and signer is not None:
        errors.append(invalid(path, source, "only one of name and signerName may be used"))
    elif name is not None:
        if not name:
            errors.append(required(path + ".name", "must be a valid object name"))
        for message in dns1123_subdomain(name.replace(":", ".")) if name else ():
            detail = f"not a valid clustertrustbundlename: {message}"
            errors.append(invalid(path + ".name", name, detail))
        if source.get("labelSelector") is not None:
            detail = "labelSelector must be unset if name is specified"
            errors.append(invalid(path + ".labelSelector", source["labelSelector"], detail))
    elif signer is not None:
        if not signer:
            errors.append(required(path + ".signerName", "must be a valid signer name"))
        errors += validate_selector(source.get("labelSelector"), path + ".labelSelector")
    else:
        errors.append(required(path, "either name or signerName must be specified"))
    target = source.get("path", "")
    if not target:
        errors.append(required(path + ".path"))
    return errors + local_path(target, path + ".path") + paths.claim(target, target)


def _project_certificate(source: Object, path: str, paths: _Paths) -> list[FieldError]:
    errors: list[FieldError] = []
    signer = source.get("signerName", "")
    if not signer:
        errors.append(required(path + ".signerName"))
    if source.get("keyType", "") not in _KEY_TYPES:
        errors.append(not_supported(path + ".keyType", source.get("keyType", ""), _KEY_TYPES))
    seconds = source.get("maxExpirationSeconds")
    if seconds is not None:
        most = 86400 if signer.startswith("kubernetes.io/") else 7862400
        for wrong, relation in ((seconds < 3600, ">= 3600"), (seconds > most, f"<= {most}")):
            if wrong:
                detail = f"if provided, maxExpirationSeconds must be {relation}"
                errors.append(invalid(path + ".maxExpirationSeconds", seconds, detail))
    targets = [k for k in ("credentialBundlePath", "keyPath", "certificateChainPath") if source.get(k)]
    for key in targets:
        errors += local_path(source[key], f"{path}.{key}")
        errors += paths.claim(source[key], source[key])
    if not targets:
        detail = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"
        errors.append(required(path, detail))
    return errors


_PROJECTIONS: dict[str, Callable[[Object, str, _Paths], list[FieldError]]] = {
    "secret": _project_keys,
    "configMap": _project_keys,
    "downwardAPI": _project_downward,
    "serviceAccountToken": _project_token,
    "clusterTrustBundle": _project_trust_bundle,
    "podCertificate": _project_certificate,
}

_CHECKS: dict[str, Check] = {
    **SIMPLE,
    "secret": _secret,
    "configMap": _config_map,
    "downwardAPI": _downward,
    "projected": _projected,
    "csi": _csi,
    "ephemeral": _ephemeral,
}

# Paths in which upstream's spelling of a kind differs from the field's name.
_FIRST = {"gcePersistentDisk": "persistentDisk"}
_SECOND = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
_ORDER = (
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
)
