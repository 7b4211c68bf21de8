"""PrioritySort and SchedulingGates: the order of the queue, and who may not join it yet."""

from __future__ import annotations

from typing import Any

from actors.scheduler._events import ClusterEvent, EventHint
from actors.scheduler._framework import Plugin
from actors.scheduler._pods import PodInfo
from actors.scheduler._status import SUCCESS, Code, Status

__all__ = ["PrioritySort", "SchedulingGates"]


class PrioritySort(Plugin):
    """Higher priority first, then who has waited longest."""

    name = "PrioritySort"

    def sort_key(self, pod: PodInfo, queued_at: float) -> Any:
        return (-pod.priority, queued_at)


class SchedulingGates(Plugin):
    """https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/"""

    name = "SchedulingGates"

    def pre_enqueue(self, pod: PodInfo) -> Status:
        gates = pod.gates
        if not gates:
            return SUCCESS
        names = " ".join(gate.get("name", "") for gate in gates)
        return Status(Code.UNRESOLVABLE, (f"waiting for scheduling gates: [{names}]",), self.name)

    def events(self) -> tuple[EventHint, ...]:
        def own(pod: PodInfo, event: ClusterEvent) -> bool:
            return (event.new or {}).get("metadata", {}).get("uid") == pod.uid

        return (EventHint("UnscheduledPod", frozenset({"gates"}), own),)
