"""What an object counts for in a quota, and which quotas it falls under.

Pure functions, one branch per evaluator of upstream (`pkg/quota/v1/evaluator/core`).
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.admission._limits import pod_totals
from actors.apiserver.admission._quota_devices import CLASS_SUFFIX, claim_usage
from protocol.quantity import parse_quantity

__all__ = ["in_scope", "matches_scopes", "matching", "missing_compute", "quality", "usage"]

Object = dict[str, Any]
Amounts = dict[str, str]
COMPUTE = ("cpu", "memory", "ephemeral-storage")
_ALIASES = ("configmaps", "secrets", "replicationcontrollers", "resourcequotas", "services", "pods", "persistentvolumeclaims")
_CLASS_SUFFIX = ".storageclass.storage.k8s.io/"
_CLAIMS = ("resource.k8s.io", "resourceclaims")
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


def _count_names(group: str, resource: str) -> tuple[str, ...]:
    count = f"count/{resource}.{group}" if group else f"count/{resource}"
    return (count, resource) if not group and resource in _ALIASES else (count,)


def usage(group: str, resource: str, obj: Object | None) -> Amounts:
    """Everything that an object counts for, by the names that quotas use."""
    if obj is None:
        return {}
    out: Amounts = dict.fromkeys(_count_names(group, resource), "1")
    if (group, resource) == _CLAIMS:
        out.update(claim_usage(obj))
    if group:
        return out
    if resource == "pods":
        _pod_usage(obj, out)
    elif resource == "services":
        _service_usage(obj, out)
    elif resource == "persistentvolumeclaims":
        _claim_usage(obj, out)
    return out


def _pod_usage(pod: Object, out: Amounts) -> None:
    if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
        del out["pods"]  # `count/pods` goes on counting what is stored
        return
    spec = pod.get("spec", {})
    for name, amount in pod_totals(spec, "requests").items():
        out[f"requests.{name}"] = amount
        if name in COMPUTE or name.startswith("hugepages-"):
            out[name] = amount
    for name, amount in pod_totals(spec, "limits").items():
        if name in COMPUTE:
            out[f"limits.{name}"] = amount


def _service_usage(service: Object, out: Amounts) -> None:
    spec = service.get("spec", {})
    kind = spec.get("type", "ClusterIP")
    ports = len(spec.get("ports") or ())
    out["services.nodeports"] = out["services.loadbalancers"] = "0"
    if kind == "NodePort":
        out["services.nodeports"] = str(ports)
    elif kind == "LoadBalancer":
        out["services.loadbalancers"] = "1"
        if spec.get("allocateLoadBalancerNodePorts", True):
            out["services.nodeports"] = str(ports)
        else:
            out["services.nodeports"] = str(sum(1 for port in spec.get("ports") or () if port.get("nodePort")))


def _claim_usage(claim: Object, out: Amounts) -> None:
    spec = claim.get("spec", {})
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    allocated = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage")
    if size is not None and allocated is not None and parse_quantity(allocated) > parse_quantity(size):
        size = allocated  # an expansion that is being taken back
    annotations = claim["metadata"].get("annotations") or {}
    storage_class = annotations.get(_BETA_CLASS) or spec.get("storageClassName")
    if size is not None:
        out["requests.storage"] = size
    if storage_class:
        out[f"{storage_class}{_CLASS_SUFFIX}persistentvolumeclaims"] = "1"
        if size is not None:
            out[f"{storage_class}{_CLASS_SUFFIX}requests.storage"] = size


def matching(group: str, resource: str, hard: Amounts) -> list[str]:
    """The names in a quota that speak of this resource."""
    counts = _count_names(group, resource)
    if (group, resource) == _CLAIMS:
        return [name for name in hard if name in counts or name.endswith(CLASS_SUFFIX)]
    return [name for name in hard if name in counts or (not group and _speaks_of(resource, name))]


def _speaks_of(resource: str, name: str) -> bool:
    if resource == "pods":
        if name in COMPUTE or name.startswith("hugepages-"):
            return True
        return name.startswith(("requests.", "limits.")) and name != "requests.storage"
    if resource == "services":
        return name in ("services.nodeports", "services.loadbalancers")
    if resource == "persistentvolumeclaims":
        return name == "requests.storage" or _CLASS_SUFFIX in name
    return False


def missing_compute(group: str, resource: str, obj: Object, names: list[str]) -> str:
    """`must specify ...` when a container leaves out what a quota bounds; empty when all is there."""
    if group or resource != "pods":
        return ""
    wanted = [
        name for name in names if name in ("cpu", "memory") or name in _CONSTRAINED
    ]
    missing: dict[str, list[str]] = {}
    spec = obj.get("spec", {})
    overall = spec.get("resources") or {}
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = container.get("resources") or {}
        for name in wanted:
            field, key = _CONSTRAINED.get(name, ("requests", name))
            if key not in (resources.get(field) or {}) and key not in (overall.get(field) or {}):
                missing.setdefault(name, []).append(container.get("name", ""))
    if not missing:
        return ""
    parts = [f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing)]
    return "must specify " + "; ".join(parts)


_CONSTRAINED = {
    "requests.cpu": ("requests", "cpu"),
    "requests.memory": ("requests", "memory"),
    "limits.cpu": ("limits", "cpu"),
    "limits.memory": ("limits", "memory"),
}


def quality(spec: Object) -> str:
    """A pod's class of service as far as quotas care: whether it asks for anything."""
    parts = [spec, *(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    for resources in (part.get("resources") or {} for part in parts):
        for field in ("requests", "limits"):
            for name, amount in (resources.get(field) or {}).items():
                if name in ("cpu", "memory") and parse_quantity(amount) > 0:
                    return "Burstable"
    return "BestEffort"


def matches_scopes(spec: Object, group: str, resource: str, obj: Object) -> bool:
    """Whether an object falls under all of a quota's scopes."""
    terms = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    terms += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    if not terms:
        return True
    if group or resource not in ("pods", "persistentvolumeclaims"):
        return False
    return all(in_scope(term, resource, obj) for term in terms)


def in_scope(term: Object, resource: str, obj: Object) -> bool:
    """Whether a pod or a claim falls under one scope."""
    scope, operator, values = term.get("scopeName"), term.get("operator"), term.get("values") or []
    spec = obj.get("spec", {})
    if resource == "persistentvolumeclaims":
        if scope != "VolumeAttributesClass":
            return False
        return any(_selects(operator, values, name) for name in _attributes_classes(obj) or (None,))
    if scope == "Terminating":
        return spec.get("activeDeadlineSeconds") is not None
    if scope == "NotTerminating":
        return spec.get("activeDeadlineSeconds") is None
    if scope == "BestEffort":
        return quality(spec) == "BestEffort"
    if scope == "NotBestEffort":
        return quality(spec) != "BestEffort"
    if scope == "PriorityClass":
        return _selects(operator, values, spec.get("priorityClassName") or None)
    if scope == "CrossNamespacePodAffinity":
        return _crosses_namespaces(spec.get("affinity") or {})
    return False


def _attributes_classes(claim: Object) -> list[str]:
    """The class that a claim wants, the one that it has, and the one that it is being changed to."""
    state = claim.get("status") or {}
    names = (
        (claim.get("spec") or {}).get("volumeAttributesClassName"),
        state.get("currentVolumeAttributesClassName"),
        (state.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return [name for name in names if name]


def _selects(operator: Any, values: list[str], value: str | None) -> bool:
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    return (value is not None) == (operator == "Exists")


def _crosses_namespaces(affinity: Object) -> bool:
    for kind in ("podAffinity", "podAntiAffinity"):
        part = affinity.get(kind) or {}
        terms = list(part.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        weighted = part.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [term.get("podAffinityTerm") or {} for term in weighted]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False
