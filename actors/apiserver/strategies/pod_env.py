"""Validation of containers' environment variables and where they come from.

Owns names, references and files (`pkg/apis/core/validation`). Knows nothing else of a container.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._errors import FieldError, invalid, required
from actors.apiserver.strategies._volume_sources import no_backsteps
from actors.apiserver.strategies.pod_fields import validate_field_ref, validate_resource_field_ref
from protocol.names import (
    config_map_key,
    dns1123_label,
    dns1123_subdomain,
    dns_subdomain_name,
    relaxed_env_var_name,
)

__all__ = ["validate_env", "validate_env_from"]

Object = dict[str, Any]
_ENV_FIELDS = frozenset(
    {
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    }
)
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def validate_env(variables: list[Object], path: str, env_files: bool) -> list[FieldError]:
    """Variables with a value or a source."""
    errors: list[FieldError] = []
    for index, variable in enumerate(variables):
        name = variable.get("name", "")
        if not name:
            errors.append(required(f"{path}[{index}].name"))
        elif problems := relaxed_env_var_name(name):
            errors += [invalid(f"{path}[{index}].name", name, message) for message in problems]
        if "valueFrom" in variable:
            errors += _value_from(variable, f"{path}[{index}].valueFrom", env_files)
    return errors


def _value_from(variable: Object, path: str, env_files: bool) -> list[FieldError]:
    source = variable["valueFrom"]
    errors: list[FieldError] = []
    if "fieldRef" in source:
        errors += validate_field_ref(source["fieldRef"], _ENV_FIELDS, path + ".fieldRef")
    if "resourceFieldRef" in source:
        at = path + ".resourceFieldRef"
        errors += validate_resource_field_ref(source["resourceFieldRef"], at, volume=False)
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind in source:
            errors += _key_ref(source[kind], f"{path}.{kind}")
    if "fileKeyRef" in source:
        errors += _file_key_ref(source["fileKeyRef"], path + ".fileKeyRef")
    count = sum(kind in source for kind in _SOURCES)
    if count == 0:
        listed = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`"
        listed += ", `secretKeyRef` or `fileKeyRef`" if env_files else " or `secretKeyRef`"
        errors.append(invalid(path, "", f"must specify one of: {listed}"))
    elif variable.get("value"):
        errors.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif count > 1:
        errors.append(invalid(path, "", "may not have more than one field specified at a time"))
    return errors


def _key_ref(reference: Object, path: str) -> list[FieldError]:
    name, key = reference.get("name", ""), reference.get("key", "")
    errors = [invalid(path + ".name", name, message) for message in dns1123_subdomain(name)]
    if not key:
        errors.append(required(path + ".key"))
    else:
        errors += [invalid(path + ".key", key, message) for message in config_map_key(key)]
    return errors


def _file_key_ref(reference: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    key, volume, target = (reference.get(k, "") for k in ("key", "volumeName", "path"))
    if not key:
        errors.append(required(path + ".key"))
    else:
        errors += [invalid(path + ".key", key, message) for message in relaxed_env_var_name(key)]
    if not volume:
        errors.append(required(path + ".volumeName"))
    else:
        errors += [invalid(path + ".volumeName", volume, m) for m in dns1123_label(volume)]
    if not target:
        errors.append(required(path + ".path"))
    return errors + no_backsteps(target, path + ".path")


def validate_env_from(sources: list[Object], path: str) -> list[FieldError]:
    """Whole config maps and secrets as variables."""
    errors: list[FieldError] = []
    for index, source in enumerate(sources):
        at = f"{path}[{index}]"
        if prefix := source.get("prefix"):
            errors += [invalid(at + ".prefix", prefix, m) for m in relaxed_env_var_name(prefix)]
        count = 0
        for kind in ("configMapRef", "secretRef"):
            if kind not in source:
                continue
            count += 1
            name = source[kind].get("name", "")
            where = f"{at}.{kind}.name"
            if not name:
                errors.append(required(where))
            else:
                errors += [invalid(where, name, m) for m in dns_subdomain_name(name, True)]
        if count == 0:
            errors.append(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif count > 1:
            errors.append(invalid(path, "", "may not have more than one field specified at a time"))
    return errors
