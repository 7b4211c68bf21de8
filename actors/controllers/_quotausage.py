"""How much of a quota objects use.

Owns the arithmetic: what one object of a kind counts for, which scopes it falls under, sums as
quantities. It reads objects and knows no quota but the names in it. Facts: kubernetes
pkg/quota/v1/evaluator/core. https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from protocol.kinds import resource_for
from protocol.objects import Object, deleting, metadata, spec, status
from protocol.objects import annotations as annotations_of
from protocol.quantity import format_quantity, parse_quantity, quantity_format

__all__ = ["Amounts", "in_scopes", "kinds_of", "usage_of"]

_PLAIN = {
    "pods": "pods",
    "services": "services",
    "services.loadbalancers": "services",
    "services.nodeports": "services",
    "persistentvolumeclaims": "persistentvolumeclaims",
    "requests.storage": "persistentvolumeclaims",
    "replicationcontrollers": "replicationcontrollers",
    "resourcequotas": "resourcequotas",
    "secrets": "secrets",
    "configmaps": "configmaps",
}
_COUNTED_PLAINLY = frozenset(
    ("pods", "services", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "configmaps")
)
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
CLASS_SUFFIX = ".storageclass.storage.k8s.io/"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


class Amounts:
    """Sums of quantities by name. The format of a sum is that of the first amount that is not 0."""

    def __init__(self) -> None:
        self.sums: dict[str, Decimal] = {}
        self.formats: dict[str, str] = {}

    def add(self, name: str, amount: str | int | float | Decimal) -> None:
        number = parse_quantity(amount)
        before = self.sums.get(name, Decimal(0))
        if not before:
            self.formats[name] = quantity_format(amount)
        self.sums[name] = before + number

    def merge(self, other: Amounts) -> None:
        for name, number in other.sums.items():
            if not self.sums.get(name):
                self.formats[name] = other.formats[name]
            self.sums[name] = self.sums.get(name, Decimal(0)) + number

    def maximum(self, other: Amounts) -> None:
        """Raise each sum to that of `other` where it is more."""
        for name, number in other.sums.items():
            if number > self.sums.get(name, Decimal(-1)):
                self.sums[name] = number
                self.formats[name] = other.formats[name]

    def text(self, name: str) -> str:
        """A sum in its canonical form; "0" where nothing was added."""
        if name not in self.sums:
            return "0"
        return format_quantity(self.sums[name], self.formats[name])


def kinds_of(names: Iterable[str]) -> list[str]:
    """The words of the resources that must be counted for these names of a quota."""
    found: dict[str, None] = {}
    for name in names:
        if name.startswith("count/"):
            what = resource_for(name.removeprefix("count/"))
            if what is not None:
                found[f"{what.resource}.{what.version}.{what.group}"] = None
        elif name in _PLAIN:
            found[_word(_PLAIN[name])] = None
        elif CLASS_SUFFIX in name:
            found[_word("persistentvolumeclaims")] = None
        elif name in _COMPUTE or name.startswith(("requests.", "limits.", "hugepages-")):
            found[_word("pods")] = None
    return list(found)


def _word(resource: str) -> str:
    return f"{resource}.v1."


def usage_of(resource: str, group: str, obj: Object, now: float, epoch: Callable[[str], float]) -> Amounts:
    """What an object counts for. `now` in seconds since the epoch."""
    found = Amounts()
    found.add(f"count/{resource}.{group}" if group else f"count/{resource}", 1)
    if group:
        return found
    if resource == "pods":
        if _holds(obj, now, epoch):
            _pod(obj, found)
    elif resource == "services":
        _service(obj, found)
    elif resource == "persistentvolumeclaims":
        _claim(obj, found)
    if resource in _COUNTED_PLAINLY and resource != "pods":
        found.add(resource, 1)
    return found


def _holds(pod: Object, now: float, epoch: Callable[[str], float]) -> bool:
    """Whether a pod still holds its resources: it has not ended, nor is its end overdue."""
    if status(pod).get("phase") in ("Succeeded", "Failed"):
        return False
    meta = metadata(pod)
    if deleting(pod) and meta.get("deletionGracePeriodSeconds") is not None:
        return now <= epoch(meta["deletionTimestamp"]) + meta["deletionGracePeriodSeconds"]
    return True


def _pod(pod: Object, found: Amounts) -> None:
    found.add("pods", 1)
    requests, limits = _total(pod, "requests"), _total(pod, "limits")
    for name, number in requests.sums.items():
        text = format_quantity(number, requests.formats[name])
        if name in _COMPUTE or name.startswith("hugepages-"):
            found.add(name, text)
            found.add(f"requests.{name}", text)
        elif "/" in name:
            found.add(f"requests.{name}", text)
    for name, number in limits.sums.items():
        if name in _COMPUTE:
            found.add(f"limits.{name}", format_quantity(number, limits.formats[name]))


def _total(pod: Object, which: str) -> Amounts:
    """A pod's requests or limits: its containers and sidecars together, or an init container with
    the sidecars before it, whichever is more; those of the pod as a whole in their place."""
    wanted = spec(pod)
    together, highest, sidecars = Amounts(), Amounts(), Amounts()
    for container in wanted.get("containers") or ():
        together.merge(_of(container, which))
    for container in wanted.get("initContainers") or ():
        own = _of(container, which)
        if container.get("restartPolicy") == "Always":
            together.merge(own)
            sidecars.merge(own)
            highest.maximum(sidecars)
        else:
            own.merge(sidecars)
            highest.maximum(own)
    together.maximum(highest)
    for name, amount in ((wanted.get("resources") or {}).get(which) or {}).items():
        together.sums.pop(name, None)
        together.add(name, amount)
    for name, amount in (wanted.get("overhead") or {}).items():
        if which == "requests" or name in together.sums:
            together.add(name, amount)
    return together


def _of(container: Object, which: str) -> Amounts:
    found = Amounts()
    for name, amount in ((container.get("resources") or {}).get(which) or {}).items():
        found.add(name, amount)
    return found


def _service(service: Object, found: Amounts) -> None:
    wanted = spec(service)
    kind, ports = wanted.get("type") or "ClusterIP", wanted.get("ports") or ()
    if kind == "NodePort":
        found.add("services.nodeports", len(ports))
    elif kind == "LoadBalancer":
        found.add("services.loadbalancers", 1)
        if wanted.get("allocateLoadBalancerNodePorts") is False:
            found.add("services.nodeports", sum(1 for p in ports if p.get("nodePort")))
        else:
            found.add("services.nodeports", len(ports))


def _claim(claim: Object, found: Amounts) -> None:
    wanted = spec(claim)
    name = annotations_of(claim).get(BETA_CLASS) or wanted.get("storageClassName")
    if name:
        found.add(f"{name}{CLASS_SUFFIX}persistentvolumeclaims", 1)
    amount = ((wanted.get("resources") or {}).get("requests") or {}).get("storage")
    if amount is not None:
        allocated = (status(claim).get("allocatedResources") or {}).get("storage")
        if allocated is not None and parse_quantity(allocated) > parse_quantity(amount):
            amount = allocated
        found.add("requests.storage", amount)
        if name:
            found.add(f"{name}{CLASS_SUFFIX}requests.storage", amount)


# --- scopes ---------------------------------------------------------------------------------------


def in_scopes(resource: str, obj: Object, quota: Object) -> bool:
    """Whether an object falls under all scopes of a quota."""
    wanted = spec(quota)
    terms = [{"scopeName": s, "operator": "Exists"} for s in wanted.get("scopes") or ()]
    terms += (wanted.get("scopeSelector") or {}).get("matchExpressions") or ()
    if not terms:
        return True
    if resource == "pods":
        return all(_pod_in_scope(obj, t) for t in terms)
    if resource == "persistentvolumeclaims":
        return all(
            t["scopeName"] == "VolumeAttributesClass" and _named(spec(obj).get("volumeAttributesClassName"), t)
            for t in terms
        )
    return False


def _pod_in_scope(pod: Object, term: Mapping[str, object]) -> bool:
    scope = term["scopeName"]
    if scope in ("Terminating", "NotTerminating"):
        return (spec(pod).get("activeDeadlineSeconds") is not None) == (scope == "Terminating")
    if scope in ("BestEffort", "NotBestEffort"):
        return _best_effort(pod) == (scope == "BestEffort")
    if scope == "PriorityClass":
        return _named(spec(pod).get("priorityClassName"), term)
    return scope == "CrossNamespacePodAffinity" and _crosses_namespaces(pod)


def _named(name: str | None, term: Mapping[str, object]) -> bool:
    values = term.get("values") or ()
    assert isinstance(values, (list, tuple))
    operator = term.get("operator")
    if operator == "In":
        return bool(name) and name in values
    if operator == "NotIn":
        return not name or name not in values
    return bool(name) == (operator == "Exists")


def _best_effort(pod: Object) -> bool:
    total = Amounts()
    for container in (*(spec(pod).get("containers") or ()), *(spec(pod).get("initContainers") or ())):
        total.merge(_of(container, "requests"))
        total.merge(_of(container, "limits"))
    whole = spec(pod).get("resources") or {}
    return not any(total.sums.get(n) for n in ("cpu", "memory")) and not (whole.get("requests") or whole.get("limits"))


def _crosses_namespaces(pod: Object) -> bool:
    affinity = spec(pod).get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        terms += [
            t.get("podAffinityTerm") or {} for t in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        ]
        if any(t.get("namespaces") or t.get("namespaceSelector") is not None for t in terms):
            return True
    return False
