"""Names and amounts of compute resources.

Owns which resource names are allowed where and how amounts compare
(`pkg/apis/core/helper`, `pkg/apis/core/validation`). Quantities are canonical text here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from protocol.names import dns1123_label, qualified_name
from protocol.quantity import parse_quantity

__all__ = [
    "container_name",
    "is_extended",
    "is_huge_page",
    "is_native",
    "is_standard_quota",
    "pod_level_name",
    "resource_name",
    "sum_requests",
    "validate_amount",
    "validate_requirements",
]

Object = dict[str, Any]
NameCheck = Callable[[str, str], list[FieldError]]

NEGATIVE = "must be greater than or equal to 0"
_CONTAINER = frozenset({"cpu", "memory", "ephemeral-storage"})
_INTEGER = frozenset(
    {
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    }
)
_QUOTA = (
    _CONTAINER
    | _INTEGER
    | {
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
    }
)
_STANDARD = _QUOTA | {"storage"}
_POD_LEVEL = frozenset({"cpu", "memory"})


def is_huge_page(name: str) -> bool:
    """`hugepages-2Mi`."""
    return name.startswith("hugepages-")


def is_native(name: str) -> bool:
    """A name of Kubernetes' own."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    """`vendor.example/thing`: counted in whole numbers, never overcommitted."""
    if is_native(name) or name.startswith("requests."):
        return False
    return not qualified_name("requests." + name)


def is_standard_quota(name: str) -> bool:
    """A name without a slash that a quota may limit."""
    return name in _QUOTA or name.startswith(("hugepages-", "requests.hugepages-"))


def resource_name(name: str, path: str) -> list[FieldError]:
    """A standard resource or a qualified name."""
    if name in _CONTAINER:
        return []
    errors = [invalid(path, name, message) for message in qualified_name(name)]
    if errors:
        return errors
    if "/" not in name and name not in _STANDARD and not is_quota_huge_page(name):
        detail = "must be a standard resource type or fully qualified"
        return [invalid(path, name, detail)]
    return []


def is_quota_huge_page(name: str) -> bool:
    """`hugepages-2Mi` or `requests.hugepages-2Mi`."""
    return name.startswith(("hugepages-", "requests.hugepages-"))


def container_name(name: str, path: str) -> list[FieldError]:
    """A resource that a container may ask for."""
    if name in _CONTAINER:
        return []
    errors = resource_name(name, path)
    if "/" not in name:
        if not is_huge_page(name):
            errors.append(invalid(path, name, "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        errors.append(invalid(path, name, "doesn't follow extended resource name standard"))
    return errors


def pod_level_name(name: str, path: str) -> list[FieldError]:
    """A resource that a whole pod may ask for (KEP-2837)."""
    errors = resource_name(name, path)
    if errors or name in _POD_LEVEL or is_huge_page(name):
        return errors
    return [not_supported(path, name, ("cpu", "hugepages-", "memory"))]


def validate_amount(name: str, amount: str, path: str) -> list[FieldError]:
    """Not negative, and whole for what is counted."""
    number = parse_quantity(amount)
    errors = [invalid(path, amount, NEGATIVE)] if number < 0 else []
    if (
        name not in _CONTAINER
        and (name in _INTEGER or is_extended(name))
        and number != int(number)
    ):
        errors.append(invalid(path, amount, "must be an integer"))
    return errors


def _validate_huge_page(name: str, amount: str, path: str) -> list[FieldError]:
    size = parse_quantity(name.removeprefix("hugepages-"))
    if size and int(parse_quantity(amount)) % int(size):
        detail = f"{amount} is not positive integer multiple of {name.removeprefix('hugepages-')}"
        return [invalid(path, amount, detail)]
    return []


def validate_requirements(
    resources: Object,
    claim_names: Collection[str],
    path: str,
    check_name: NameCheck = container_name,
) -> list[FieldError]:
    """Requests, limits and claims of a container (or, with another name check, of a pod)."""
    if not resources:
        return []
    errors: list[FieldError] = []
    limits: dict[str, str] = resources.get("limits") or {}
    requests: dict[str, str] = resources.get("requests") or {}
    for name, amount in limits.items():
        at = f"{path}.limits[{name}]"
        errors += check_name(name, at)
        errors += validate_amount(name, amount, at)
        if is_huge_page(name):
            errors += _validate_huge_page(name, amount, at)
    for name, amount in requests.items():
        at = f"{path}.requests[{name}]"
        errors += check_name(name, at)
        errors += validate_amount(name, amount, at)
        errors += _against_limit(name, amount, limits, path)
        if is_huge_page(name):
            errors += _validate_huge_page(name, amount, at)
    names = set(limits) | set(requests)
    if any(map(is_huge_page, names)) and not names & {"cpu", "memory"}:
        errors.append(forbidden(path, "HugePages require cpu or memory"))
    if resources.get("claims"):
        errors += _validate_claims(resources["claims"], claim_names, path + ".claims")
    return errors


def _against_limit(name: str, amount: str, limits: dict[str, str], path: str) -> list[FieldError]:
    overcommit = is_native(name) and not is_huge_page(name)
    if name in limits:
        asked, limit = parse_quantity(amount), parse_quantity(limits[name])
        if asked != limit and not overcommit:
            detail = f"must be equal to {name} limit of {limits[name]}"
            return [invalid(path + ".requests", amount, detail)]
        if asked > limit:
            detail = f"must be less than or equal to {name} limit of {limits[name]}"
            return [invalid(path + ".requests", amount, detail)]
    elif not overcommit:
        return [required(path + ".limits", "Limit must be set for non overcommitable resources")]
    return []


def _validate_claims(
    claims: list[Object], claim_names: Collection[str], path: str
) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        at = f"{path}[{index}]"
        name, request = claim.get("name", ""), claim.get("request", "")
        if not name:
            errors.append(required(at))
            continue
        if name in seen:
            errors.append(duplicate(at, name))
        else:
            if request:
                errors += [invalid(at + ".request", request, m) for m in dns1123_label(request)]
            key = f"{name}/{request}" if request else name
            if key in seen:
                errors.append(duplicate(at, key))
            elif not request:
                errors += [duplicate(at, name) for other in seen if other.partition("/")[0] == name]
            seen.add(key)
        if name not in claim_names:
            detail = "must be one of the names in pod.spec.resourceClaims"
            listed = ", ".join(sorted(claim_names))
            detail += f": {listed}" if claim_names else " which is empty"
            message = f'Not found: "{name}": {detail}'
            errors.append(FieldError("FieldValueNotFound", at, message))
    return errors


def sum_requests(spec: Object, kind: str) -> dict[str, Any]:
    """Sum of `requests` or `limits` over a pod's containers as the scheduler counts them: sidecars
    run beside the containers, other init containers one after another before them."""
    total: dict[str, Any] = {}
    for container in spec.get("containers") or ():
        _add(total, (container.get("resources") or {}).get(kind))
    sidecars: dict[str, Any] = {}
    peak: dict[str, Any] = {}
    for container in spec.get("initContainers") or ():
        amounts = (container.get("resources") or {}).get(kind)
        if container.get("restartPolicy") == "Always":
            _add(total, amounts)
            _add(sidecars, amounts)
            current = dict(sidecars)
        else:
            current = dict(sidecars)
            _add(current, amounts)
        for name, number in current.items():
            peak[name] = max(number, peak.get(name, number))
    for name, number in peak.items():
        total[name] = max(number, total.get(name, number))
    return total


def _add(total: dict[str, Any], amounts: dict[str, str] | None) -> None:
    for name, amount in (amounts or {}).items():
        total[name] = total.get(name, 0) + parse_quantity(amount)
