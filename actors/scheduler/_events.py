"""What happens in the cluster, as far as it can make a waiting pod placeable.

A plugin that rejected a pod says which events may change its mind (`EventHint`), and optionally
looks closer at the one that came. The queue moves a pod only on events that one of its rejectors
asked for. Owns the vocabulary and the comparison of two versions of an object.
https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/4247-queueinghint
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from protocol.objects import labels as labels_of

if TYPE_CHECKING:
    from actors.scheduler._pods import PodInfo

__all__ = ["ANY", "ClusterEvent", "EventHint", "node_actions", "pod_actions"]

Object = dict[str, Any]

ANY = frozenset({"*"})
"""Every action."""

ADD, DELETE, UPDATE = "add", "delete", "update"
LABELS, TAINTS, ALLOCATABLE, CORDON = "labels", "taints", "allocatable", "cordon"
GATES, TOLERATIONS, SCALE_DOWN, CLAIMS = "gates", "tolerations", "scale-down", "claims"


class ClusterEvent(NamedTuple):
    """`resource`: Node, AssignedPod, UnscheduledPod, PersistentVolume, ...; `actions`: what about
    it, of this module's words; `old`, `new`: the versions, None where there is none."""

    resource: str
    actions: frozenset[str]
    old: Object | None = None
    new: Object | None = None

    @property
    def label(self) -> str:
        return f"{self.resource}/{'|'.join(sorted(self.actions))}"


class EventHint(NamedTuple):
    """An event that a plugin waits for. `helps(pod, event)`: whether this one may help that pod;
    None: every one may. `by_class`: the answer is the same for all pods of one class, so it is
    asked for once for all that wait."""

    resource: str
    actions: frozenset[str]
    helps: Callable[[PodInfo, ClusterEvent], bool] | None = None
    by_class: bool = False

    def wants(self, event: ClusterEvent) -> bool:
        if self.resource not in (event.resource, "*"):
            return False
        if "*" in self.actions or "*" in event.actions:
            return True
        return not self.actions.isdisjoint(event.actions)


def node_actions(old: Object | None, new: Object | None) -> frozenset[str]:
    """What happened to a node; empty when nothing that matters."""
    if old is None:
        return frozenset({ADD})
    if new is None:
        return frozenset({DELETE})
    found = set()
    if labels_of(old) != labels_of(new):
        found.add(LABELS)
    was, now = old.get("spec") or {}, new.get("spec") or {}
    if was.get("taints") != now.get("taints"):
        found.add(TAINTS)
    if bool(was.get("unschedulable")) != bool(now.get("unschedulable")):
        found.update((TAINTS, CORDON))
    was, now = old.get("status") or {}, new.get("status") or {}
    if was.get("allocatable") != now.get("allocatable"):
        found.add(ALLOCATABLE)
    return frozenset(found)


def pod_actions(old: PodInfo | None, new: PodInfo | None) -> frozenset[str]:
    """What happened to a pod; empty when nothing that matters."""
    if old is None:
        return frozenset({ADD})
    if new is None:
        return frozenset({DELETE})
    found = set()
    if old.cls.labels != new.cls.labels:
        found.add(LABELS)
    had, has = dict(old.cls.requests), dict(new.cls.requests)
    if any(has.get(place, 0) < number for place, number in had.items()):
        found.add(SCALE_DOWN)
    if old.cls.tolerations != new.cls.tolerations:
        found.add(TOLERATIONS)
    if len(new.gates) < len(old.gates):
        found.add(GATES)
    was, now = old.object.get("status") or {}, new.object.get("status") or {}
    if was.get("resourceClaimStatuses") != now.get("resourceClaimStatuses"):
        found.add(CLAIMS)
    return frozenset(found)
