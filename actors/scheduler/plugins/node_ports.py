"""NodePorts: host ports that another pod on the node holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from actors.scheduler._cache import ANY_IP, Cache
from actors.scheduler._events import ClusterEvent, EventHint
from actors.scheduler._framework import ColumnPlugin, Cycle, true_codes
from actors.scheduler._nodes import Bools, Ints, Rows
from actors.scheduler._pods import PodClass, PodInfo
from actors.scheduler._status import Code, Status

__all__ = ["NodePorts"]


def _taken(cls: PodClass, cache: Cache) -> Bools:
    """Per row, whether a host port of the pod is taken there. An address of all zeros takes the
    port on every address."""
    taken = np.zeros(cache.table.capacity, np.bool_)
    for ip, protocol, port in cls.ports:
        for held_ip, rows in cache.ports.get((protocol, port), {}).items():
            if rows and (ip == held_ip or ANY_IP in (ip, held_ip)):
                taken[list(rows)] = True
    return taken


class NodePorts(ColumnPlugin):
    """https://kubernetes.io/docs/concepts/configuration/overview/ : `hostPort`."""

    name = "NodePorts"
    filter_scope = "row"
    refusal = Status(Code.UNSCHEDULABLE, ("node(s) didn't have free ports for the requested pod ports",), name)

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        if not cycle.cls.ports:
            return None
        taken = _taken(cycle.cls, cycle.cache)[rows]
        return true_codes(taken, cycle.statuses.code(self.refusal)) if taken.any() else None

    def filter_one(self, cycle: Cycle, row: int) -> int:
        for ip, protocol, port in cycle.cls.ports:
            for held_ip, rows in cycle.cache.ports.get((protocol, port), {}).items():
                if row in rows and (ip == held_ip or ANY_IP in (ip, held_ip)):
                    return cycle.statuses.code(self.refusal)
        return 0

    def events(self) -> tuple[EventHint, ...]:
        def frees(pod: PodInfo, event: ClusterEvent) -> bool:
            gone: dict[str, Any] = event.old or {}
            spec = gone.get("spec") or {}
            wanted = {(protocol, port) for _, protocol, port in pod.cls.ports}
            return any(
                (port.get("protocol") or "TCP", port.get("hostPort")) in wanted
                for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
                for port in container.get("ports") or ()
            )

        return (
            EventHint("AssignedPod", frozenset({"delete"}), frees, by_class=True),
            EventHint("Node", frozenset({"add"})),
        )
