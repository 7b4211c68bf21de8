"""Which pods the node takes: those that fit what is left of it.

Owns the sums of what its pods requested. A pod that was bound without asking the scheduler, or on
stale knowledge, is refused: it fails with reason OutOfcpu, OutOfpods, NodeAffinity, ... as
upstream's `pkg/kubelet/lifecycle/predicate.go` has it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from actors.kubelet._config import KubeletConfig
from actors.kubelet._node_status import allocatable
from actors.kubelet._spec import pod_requests
from protocol.quantity import parse_quantity

__all__ = ["Admission", "allocated"]

Object = dict[str, Any]


class Admission:
    """The node's account."""

    def __init__(self, config: KubeletConfig) -> None:
        self.limits = {name: parse_quantity(str(amount)) for name, amount in allocatable(config).items()}
        self.held: dict[str, dict[str, Decimal] | None] = {}
        self.used: dict[str, Decimal] = {}

    def admit(self, pod: Object, node: Object) -> tuple[str, str] | None:
        """Enter the pod, or answer (reason, message) of the refusal."""
        if not self.selects(pod, node):
            return "NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed"
        limit = self.limits.get("pods")
        if limit is not None and len(self.held) + 1 > limit:
            text = (
                f"Node didn't have enough resource: pods, requested: 1, used: {len(self.held)}, capacity: {int(limit)}"
            )
            return "OutOfpods", f"Pod was rejected: {text}"
        wanted = pod_requests(pod) if _asks(pod) else None
        for name, amount in sorted((wanted or {}).items()):
            limit = self.limits.get(name)
            if limit is None and "/" not in name and name != "ephemeral-storage":
                continue
            if limit is not None and self.used.get(name, Decimal(0)) + amount > limit and amount > 0:
                scale = 1000 if name == "cpu" else 1
                text = (
                    f"Node didn't have enough resource: {name}, requested: {int(amount * scale)}, "
                    f"used: {int(self.used.get(name, Decimal(0)) * scale)}, capacity: {int(limit * scale)}"
                )
                return f"OutOf{name}", f"Pod was rejected: {text}"
        self.hold(pod)
        return None

    def hold(self, pod: Object) -> None:
        """Account for the pod, whether it fits or not: it is there."""
        self.release(pod["metadata"]["uid"])
        wanted = pod_requests(pod) if _asks(pod) else None
        self.held[pod["metadata"]["uid"]] = wanted
        for name, amount in (wanted or {}).items():
            self.used[name] = self.used.get(name, Decimal(0)) + amount

    def resize(self, pod: Object) -> tuple[str, str] | None:
        """Account for what a pod of the node now asks for, or answer why not: (Infeasible, message)
        if the node could never give it, (Deferred, message) if others have it."""
        wanted, mine = pod_requests(pod), self.held.get(pod["metadata"]["uid"]) or {}
        zero = Decimal(0)
        for name in ("memory", "cpu"):
            limit, amount = self.limits.get(name), wanted.get(name, zero)
            if limit is not None and amount > limit:
                scale = 1000 if name == "cpu" else 1
                text = f"{name}, requested: {int(amount * scale)}, capacity: {int(limit * scale)}"
                return "Infeasible", f"Node didn't have enough capacity: {text}"
        for name in ("cpu", "memory"):
            limit, amount = self.limits.get(name), wanted.get(name, zero)
            used = self.used.get(name, zero) - mine.get(name, zero)
            if limit is not None and amount > mine.get(name, zero) and used + amount > limit:
                scale = 1000 if name == "cpu" else 1
                text = f"{name}, requested: {int(amount * scale)}, used: {int(used * scale)}, capacity: {int(limit * scale)}"
                return "Deferred", f"Node didn't have enough resource: {text}"
        self.hold(pod)
        return None

    @staticmethod
    def selects(pod: Object, node: Object) -> bool:
        """Whether the pod's nodeSelector names this node, by the labels that are known of it."""
        labels = (node.get("metadata") or {}).get("labels") or {}
        selector = pod["spec"].get("nodeSelector") or {}
        return not labels or all(labels.get(k) == v for k, v in selector.items())

    def release(self, uid: str) -> None:
        """The pod has ended: its share is free again."""
        for name, amount in (self.held.pop(uid, None) or {}).items():
            self.used[name] -= amount


def allocated(pod: Object) -> Object:
    """The pod with the resources that its containers have, as last reported, in place of those it asks for."""
    status = pod.get("status") or {}
    spec = dict(pod["spec"])
    for group, statuses in (("containers", "containerStatuses"), ("initContainers", "initContainerStatuses")):
        known = {s["name"]: s["resources"] for s in status.get(statuses) or () if s.get("resources") is not None}
        if known and spec.get(group):
            spec[group] = [{**c, "resources": known.get(c["name"], c.get("resources"))} for c in spec[group]]
    return {**pod, "spec": spec}


def _asks(pod: Object) -> bool:
    spec = pod["spec"]
    return bool(spec.get("resources") or spec.get("overhead")) or any(
        c.get("resources") for group in ("containers", "initContainers") for c in spec.get(group) or ()
    )
