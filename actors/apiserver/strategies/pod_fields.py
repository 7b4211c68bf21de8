"""References to fields and resources of a pod: the downward API of variables and volumes.

Owns which fields may be referred to and the divisors of resources. Knows neither variables nor
volumes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from actors.apiserver.strategies._errors import FieldError, invalid, not_supported, required
from protocol.names import qualified_name
from protocol.quantity import parse_quantity

__all__ = ["validate_field_ref", "validate_resource_field_ref"]

Object = dict[str, Any]

_KNOWN = frozenset(
    {
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "spec.schedulerName",
        "status.phase",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    }
)
_SUBSCRIPT = re.compile(r"(?P<path>.+)\['(?P<key>.*)'\]\Z")
_RESOURCES = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_HUGE = ("limits.hugepages-", "requests.hugepages-")
_SIZES = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"]
_SIZES_TEXT = f"only divisor's values {', '.join(_SIZES)} are supported with the"


def validate_field_ref(reference: Object, allowed: Collection[str], path: str) -> list[FieldError]:
    """A `fieldRef`: a field of the pod, or one label or annotation of it."""
    if not reference.get("apiVersion"):
        return [required(path + ".apiVersion")]
    target = reference.get("fieldPath", "")
    if not target:
        return [required(path + ".fieldPath")]
    if reference["apiVersion"] != "v1":
        detail = f"error converting fieldPath: unsupported pod version: {reference['apiVersion']}"
        return [invalid(path + ".fieldPath", target, detail)]
    match = _SUBSCRIPT.match(target)
    base = match["path"] if match else target
    if match and base not in ("metadata.annotations", "metadata.labels"):
        detail = f"error converting fieldPath: field label does not support subscript: {target}"
        return [invalid(path + ".fieldPath", target, detail)]
    if base not in _KNOWN:
        detail = f"error converting fieldPath: field label not supported: {target}"
        return [invalid(path + ".fieldPath", target, detail)]
    if match:
        key = match["key"].lower() if base == "metadata.annotations" else match["key"]
        return [invalid(path, key, message) for message in qualified_name(key)]
    if target not in allowed:
        return [not_supported(path + ".fieldPath", target, sorted(allowed))]
    return []


def validate_resource_field_ref(reference: Object, path: str, volume: bool) -> list[FieldError]:
    """A `resourceFieldRef`: an amount that a container asks for, in units of the divisor."""
    resource = reference.get("resource", "")
    errors: list[FieldError] = []
    if volume and not reference.get("containerName"):
        errors.append(required(path + ".containerName"))
    elif not resource:
        errors.append(required(path + ".resource"))
    elif resource not in _RESOURCES and not resource.startswith(_HUGE):
        errors.append(not_supported(path + ".resource", resource, _RESOURCES))
    return errors + _validate_divisor(resource, reference.get("divisor") or "0", path)


def _validate_divisor(resource: str, divisor: str, path: str) -> list[FieldError]:
    if parse_quantity(divisor) == 0:
        return []
    kind = resource.partition(".")[2]
    if kind == "cpu":
        if divisor in ("1m", "1"):
            return []
        detail = "only divisor's values 1m and 1 are supported with the cpu resource"
        return [invalid(path + ".divisor", resource, detail)]
    words = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(kind)
    if words is None and resource.startswith(_HUGE):
        words = "hugepages"
    if words is None or divisor in _SIZES:
        return []
    return [invalid(path + ".divisor", resource, f"{_SIZES_TEXT} {words} resource")]
