"""Which pods the node takes: those that belong there and fit what is left of it.

Owns the sums of what its pods requested. A pod that was bound without asking the scheduler, or on
stale knowledge, is refused: it fails with reason OutOfcpu, OutOfpods, NodeAffinity, ... as
upstream's `pkg/kubelet/lifecycle/predicate.go` has it. For a critical pod others may have to go
(`pkg/kubelet/preemption`): `room` says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from actors.kubelet._config import KubeletConfig
from actors.kubelet._node_status import allocatable
from actors.kubelet._predicates import (
    PortKey,
    forbidden_sysctl,
    foreign_os,
    host_port_keys,
    kept_out,
    mismatch,
    selects,
)
from actors.kubelet._security import unenforceable
from actors.kubelet._spec import BEST_EFFORT, BURSTABLE, is_critical, pod_requests, qos_class
from protocol.quantity import parse_quantity

__all__ = ["Admission", "allocated", "resources_by_name"]

Object = dict[str, Any]
Amounts = dict[str, Decimal]
ZERO = Decimal(0)


class Admission:
    """The node's account."""

    def __init__(self, config: KubeletConfig) -> None:
        self.config = config
        self.limits = {name: parse_quantity(str(amount)) for name, amount in allocatable(config).items()}
        self.held: dict[str, Amounts | None] = {}
        self.used: Amounts = {}
        self.ports: dict[str, tuple[PortKey, ...]] = {}
        self.by_devices: Mapping[str, object] = {}
        """Resources that are given out device by device, and not counted here."""

    def admit(
        self,
        pod: Object,
        node: Object,
        pressures: Iterable[str] = (),
        static: bool = False,
        features: tuple[str, ...] | None = None,
    ) -> tuple[str, str] | None:
        """Enter the pod, or answer (reason, message) of the refusal. `features`: what the machine can do."""
        refusal = (
            foreign_os(pod, node)
            or kept_out(pod, pressures)
            or forbidden_sysctl(pod, self.config.allowed_unsafe_sysctls)
            or unenforceable(pod, features)
            or self._shortage(pod)
            or mismatch(pod, node, (key for keys in self.ports.values() for key in keys), static)
        )
        if refusal is None:
            self.hold(pod)
        return refusal

    def _shortage(self, pod: Object) -> tuple[str, str] | None:
        for name, wanted in self._missing(pod):
            limit = self.limits.get(name, ZERO)
            used = Decimal(len(self.held)) if name == "pods" else self.used.get(name, ZERO)
            scale = 1000 if name == "cpu" else 1
            return f"OutOf{name}", (
                f"Node didn't have enough resource: {name}, requested: {int(wanted * scale)}, "
                f"used: {int(used * scale)}, capacity: {int(limit * scale)}"
            )
        return None

    def _missing(self, pod: Object) -> Iterable[tuple[str, Decimal]]:
        """(resource, amount wanted) of what is not left."""
        limit = self.limits.get("pods")
        if limit is not None and len(self.held) + 1 > limit:
            yield "pods", Decimal(1)
        wanted = pod_requests(pod) if _asks(pod) else {}
        for name in sorted(wanted, key=lambda n: (("cpu", "memory", "ephemeral-storage", n).index(n), n)):
            limit, amount = self.limits.get(name), wanted[name]
            if name in self.by_devices:
                continue
            if limit is None and not name.startswith("hugepages-"):
                continue  # an extended resource that the node does not know, or storage of which it tells nothing
            if amount > 0 and self.used.get(name, ZERO) + amount > (limit or ZERO):
                yield name, amount

    def room(self, pod: Object, pods: Mapping[str, Object]) -> list[str]:
        """The uids of pods that have to go so that a critical pod fits; none if that would not help.

        As few Guaranteed ones as possible, then Burstable, then BestEffort, each time the one that
        comes closest to what is missing.
        """
        if not is_critical(pod):
            return []
        missing: Amounts = {}
        for name, wanted in self._missing(pod):
            if name == "pods":
                missing[name] = Decimal(1)
            else:
                missing[name] = self.used.get(name, ZERO) + wanted - self.limits.get(name, ZERO)
        if not missing:
            return []
        groups: tuple[list[Object], list[Object], list[Object]] = ([], [], [])
        for uid in self.held:
            other = pods.get(uid)
            if other is None or is_critical(other):
                continue
            quality = qos_class(other)
            groups[0 if quality == BEST_EFFORT else 1 if quality == BURSTABLE else 2].append(other)
        best, burst, guaranteed = groups
        if self._less(missing, [*best, *burst, *guaranteed]):
            return []
        first = self._nearest(guaranteed, self._less(missing, [*best, *burst]))
        second = self._nearest(burst, self._less(missing, [*best, *first]))
        third = self._nearest(best, self._less(missing, [*first, *second]))
        return [p["metadata"]["uid"] for p in (*third, *second, *first)]

    def _gives(self, pod: Object, name: str) -> Decimal:
        return Decimal(1) if name == "pods" else (self.held.get(pod["metadata"]["uid"]) or {}).get(name, ZERO)

    def _less(self, missing: Amounts, pods: Iterable[Object]) -> Amounts:
        chosen = list(pods)
        left = {name: amount - sum((self._gives(p, name) for p in chosen), ZERO) for name, amount in missing.items()}
        return {name: amount for name, amount in left.items() if amount > 0}

    def _nearest(self, pods: list[Object], missing: Amounts) -> list[Object]:
        chosen: list[Object] = []
        rest = list(pods)
        while missing and rest:
            best = min(rest, key=partial(self._distance, missing))
            rest.remove(best)
            chosen.append(best)
            missing = self._less(missing, [best])
        return chosen

    def _distance(self, missing: Amounts, pod: Object) -> tuple[Decimal, Decimal]:
        """How far a pod is from being enough, and how much it has: less is better of both."""
        lack = sum((max(ZERO, 1 - self._gives(pod, name) / amount) ** 2 for name, amount in missing.items()), ZERO)
        return lack, sum((self.held.get(pod["metadata"]["uid"]) or {}).values(), ZERO)

    def hold(self, pod: Object) -> None:
        """Account for the pod, whether it fits or not: it is there."""
        uid = pod["metadata"]["uid"]
        self.release(uid)
        wanted = pod_requests(pod) if _asks(pod) else None
        self.held[uid] = wanted
        for name, amount in (wanted or {}).items():
            self.used[name] = self.used.get(name, ZERO) + amount
        ports = host_port_keys(pod)
        if ports:
            self.ports[uid] = ports

    def resize(self, pod: Object) -> tuple[str, str] | None:
        """Account for what a pod of the node now asks for, or answer why not: (Infeasible, message)
        if the node could never give it, (Deferred, message) if others have it."""
        wanted, mine = pod_requests(pod), self.held.get(pod["metadata"]["uid"]) or {}
        for name in ("memory", "cpu"):
            limit, amount = self.limits.get(name), wanted.get(name, ZERO)
            if limit is not None and amount > limit:
                scale = 1000 if name == "cpu" else 1
                text = f"{name}, requested: {int(amount * scale)}, capacity: {int(limit * scale)}"
                return "Infeasible", f"Node didn't have enough capacity: {text}"
        for name in ("cpu", "memory"):
            limit, amount = self.limits.get(name), wanted.get(name, ZERO)
            used = self.used.get(name, ZERO) - mine.get(name, ZERO)
            if limit is not None and amount > mine.get(name, ZERO) and used + amount > limit:
                scale = 1000 if name == "cpu" else 1
                text = f"{name}, requested: {int(amount * scale)}, used: {int(used * scale)}, capacity: {int(limit * scale)}"
                return "Deferred", f"Node didn't have enough resource: {text}"
        self.hold(pod)
        return None

    @staticmethod
    def selects(pod: Object, node: Object) -> bool:
        """Whether the pod's selector and affinity name this node, by the labels that are known of it."""
        return selects(pod, node)

    def release(self, uid: str) -> None:
        """The pod has ended: its share is free again."""
        self.ports.pop(uid, None)
        for name, amount in (self.held.pop(uid, None) or {}).items():
            self.used[name] -= amount


def resources_by_name(pod: Object) -> Object:
    """What the pod's containers ask for, by name, and under "" the pod as a whole."""
    spec = pod["spec"]
    found = {c["name"]: c.get("resources") for g in ("containers", "initContainers") for c in spec.get(g) or ()}
    return {**found, "": spec.get("resources")}


def allocated(pod: Object, resources: Object | None) -> Object:
    """The pod with the resources that it and its containers have (`resources_by_name`) in place of those it asks
    for; without, those that its status last told."""
    if resources is None:
        status = pod.get("status") or {}
        groups = ("containerStatuses", "initContainerStatuses")
        told = {s["name"]: s.get("resources") for g in groups for s in status.get(g) or ()}
        resources = {**{k: v for k, v in told.items() if v is not None}}
        if pod["spec"].get("resources") and status.get("resources") is not None:
            resources[""] = status["resources"]
    spec = dict(pod["spec"])
    if "" in resources:
        spec["resources"] = resources[""] or {}
    for group in ("containers", "initContainers"):
        if spec.get(group):
            spec[group] = [{**c, "resources": resources.get(c["name"], c.get("resources")) or {}} for c in spec[group]]
    return {**pod, "spec": spec}


def _asks(pod: Object) -> bool:
    spec = pod["spec"]
    return bool(spec.get("resources") or spec.get("overhead")) or any(
        c.get("resources") for group in ("containers", "initContainers") for c in spec.get(group) or ()
    )
