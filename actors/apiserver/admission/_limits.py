"""LimitRanger: defaults and bounds for what containers, pods and claims ask for.

https://kubernetes.io/docs/concepts/policy/limit-range/
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from actors.apiserver.admission._base import CREATE, UPDATE, Attributes, Plugin
from protocol import status
from protocol.quantity import format_quantity, parse_quantity, quantity_format

__all__ = ["LimitRanger", "pod_totals"]

Object = dict[str, Any]
ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanger(Plugin):
    """Pods when they are created, claims also when they change."""

    name = "LimitRanger"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """New pods and pods that are resized; nothing else changes their containers."""
        if (operation, group, resource, subresource) == (UPDATE, "", "pods", "resize"):
            return True
        if group or subresource:
            return False
        return (operation, resource) in (
            (CREATE, "pods"),
            (CREATE, "persistentvolumeclaims"),
            (UPDATE, "persistentvolumeclaims"),
        )

    def admit(self, attributes: Attributes) -> None:
        """Fill in the default limits and requests of containers."""
        if attributes.resource != "pods" or attributes.object is None or _ending(attributes):
            return
        for limit_range in attributes.lookup.list("", "limitranges", attributes.namespace):
            _fill(attributes.object, limit_range)

    def validate(self, attributes: Attributes) -> None:
        """Raise 403 naming every bound of the first limit range that is broken."""
        obj = attributes.object
        if obj is None or _ending(attributes):
            return
        for limit_range in attributes.lookup.list("", "limitranges", attributes.namespace):
            if attributes.resource == "pods":
                problems = _pod_problems(obj, limit_range)
            else:
                problems = _claim_problems(obj, limit_range)
            if problems:
                raise status.forbidden("", attributes.resource, attributes.name, status.aggregate(problems))


def _ending(attributes: Attributes) -> bool:
    """Whether what changes is being deleted."""
    return bool(((attributes.old_object or {}).get("metadata") or {}).get("deletionTimestamp"))


def _fill(pod: Object, limit_range: Object) -> None:
    limits: dict[str, str] = {}
    requests: dict[str, str] = {}
    for limit in limit_range.get("spec", {}).get("limits") or ():
        if limit.get("type") == "Container":
            limits.update(limit.get("default") or {})
            requests.update(limit.get("defaultRequest") or {})
    if not limits and not requests:
        return
    notes: list[str] = []
    spec = pod.get("spec", {})
    for kind, word in (("containers", "container"), ("initContainers", "init container")):
        for container in spec.get(kind) or ():
            resources = container.setdefault("resources", {})
            added = {name: _merge(resources, name, wanted) for name, wanted in (("limits", limits), ("requests", requests))}
            for field, label in (("requests", "request"), ("limits", "limit")):
                if added[field]:
                    notes.append(f"{', '.join(sorted(added[field]))} {label} for {word} {container.get('name', '')}")
    if notes:
        meta = pod["metadata"]
        text = "LimitRanger plugin set: " + "; ".join(notes)
        meta["annotations"] = {**(meta.get("annotations") or {}), ANNOTATION: text}


def _merge(resources: Object, field: str, wanted: dict[str, str]) -> list[str]:
    found = resources.get(field) or {}
    missing = {key: value for key, value in wanted.items() if key not in found}
    if missing:
        resources[field] = {**found, **missing}
    return list(missing)


def _minimum(kind: str, name: str, bound: str, requests: Object, limits: Object) -> str:
    request, limit = requests.get(name), limits.get(name)
    head = f"minimum {name} usage per {kind} is {bound}"
    if request is None:
        return f"{head}.  No request is specified"
    if parse_quantity(request) < parse_quantity(bound):
        return f"{head}, but request is {request}"
    if limit is not None and parse_quantity(limit) < parse_quantity(bound):
        return f"{head}, but limit is {limit}"
    return ""


def _maximum(kind: str, name: str, bound: str, requests: Object, limits: Object) -> str:
    request, limit = requests.get(name), limits.get(name)
    head = f"maximum {name} usage per {kind} is {bound}"
    if limit is None:
        return f"{head}.  No limit is specified"
    if parse_quantity(limit) > parse_quantity(bound):
        return f"{head}, but limit is {limit}"
    if request is not None and parse_quantity(request) > parse_quantity(bound):
        return f"{head}, but request is {request}"
    return ""


def _ratio(kind: str, name: str, bound: str, requests: Object, limits: Object) -> str:
    request, limit = parse_quantity(requests.get(name, "0")), parse_quantity(limits.get(name, "0"))
    head = f"{name} max limit to request ratio per {kind} is {bound}"
    if not request:
        return f"{head}, but no request is specified or request is 0"
    if not limit:
        return f"{head}, but no limit is specified or limit is 0"
    found = limit / request
    return f"{head}, but provided ratio is {float(found):.6f}" if found > parse_quantity(bound) else ""


_CHECKS = (("min", _minimum), ("max", _maximum), ("maxLimitRequestRatio", _ratio))


def _bounds(limit: Object, kind: str, requests: Object, limits: Object) -> list[str]:
    out = []
    for field, check in _CHECKS:
        for name, bound in sorted((limit.get(field) or {}).items()):
            problem = check(kind, name, bound, requests, limits)
            if problem:
                out.append(problem)
    return out


def _pod_problems(pod: Object, limit_range: Object) -> list[str]:
    spec = pod.get("spec", {})
    out: list[str] = []
    for limit in limit_range.get("spec", {}).get("limits") or ():
        kind = limit.get("type")
        if kind == "Container":
            for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
                resources = container.get("resources") or {}
                out += _bounds(limit, kind, resources.get("requests") or {}, resources.get("limits") or {})
        elif kind == "Pod":
            out += _bounds(limit, kind, pod_totals(spec, "requests"), pod_totals(spec, "limits"))
    return out


def _claim_problems(claim: Object, limit_range: Object) -> list[str]:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    out: list[str] = []
    kind = "PersistentVolumeClaim"
    for limit in limit_range.get("spec", {}).get("limits") or ():
        if limit.get("type") != kind:
            continue
        for name, bound in sorted((limit.get("min") or {}).items()):
            problem = _minimum(kind, name, bound, requests, {})
            if problem:
                out.append(problem)
        for name, bound in sorted((limit.get("max") or {}).items()):
            found = requests.get(name)
            head = f"maximum {name} usage per {kind} is {bound}"
            if found is None:
                out.append(f"{head}.  No request is specified")
            elif parse_quantity(found) > parse_quantity(bound):
                out.append(f"{head}, but request is {found}")
    return out


def _sum(total: dict[str, tuple[Decimal, str]], more: Object) -> None:
    for name, text in more.items():
        number, style = total.get(name, (Decimal(0), ""))
        total[name] = (number + parse_quantity(text), style or quantity_format(text))


def _most(total: dict[str, tuple[Decimal, str]], other: dict[str, tuple[Decimal, str]]) -> None:
    for name, pair in other.items():
        if name not in total or pair[0] > total[name][0]:
            total[name] = pair


def pod_totals(spec: Object, field: str) -> dict[str, str]:
    """What a pod needs at most at once: its containers together, or one init container with the
    sidecars started before it. `field`: `requests` or `limits`."""
    total: dict[str, tuple[Decimal, str]] = {}
    for container in spec.get("containers") or ():
        _sum(total, (container.get("resources") or {}).get(field) or {})
    sidecars: dict[str, tuple[Decimal, str]] = {}
    peak: dict[str, tuple[Decimal, str]] = {}
    for container in spec.get("initContainers") or ():
        wanted = (container.get("resources") or {}).get(field) or {}
        if container.get("restartPolicy") == "Always":
            _sum(total, wanted)
            _sum(sidecars, wanted)
            _most(peak, sidecars)
            continue
        during = dict(sidecars)
        _sum(during, wanted)
        _most(peak, during)
    _most(total, peak)
    overall = (spec.get("resources") or {}).get(field) or {}
    out = {name: format_quantity(number, style) for name, (number, style) in total.items()}
    out.update(overall)
    if spec.get("overhead"):
        summed: dict[str, tuple[Decimal, str]] = {}
        _sum(summed, out)
        for name, text in spec["overhead"].items():
            if field == "requests" or name in summed:
                _sum(summed, {name: text})
        out = {name: format_quantity(number, style) for name, (number, style) in summed.items()}
    return out
