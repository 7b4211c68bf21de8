"""NodeUnschedulable and NodeName: cordoned nodes, and pods that name their node."""

from __future__ import annotations

import numpy as np

from actors.scheduler._events import EventHint
from actors.scheduler._framework import ColumnPlugin, Cycle, true_codes
from actors.scheduler._nodes import Ints, Rows
from actors.scheduler._status import Code, Status

__all__ = ["NodeName", "NodeUnschedulable"]

CORDON_TAINT = ("node.kubernetes.io/unschedulable", "", "NoSchedule")


class NodeUnschedulable(ColumnPlugin):
    """Refuses cordoned nodes, unless the pod tolerates their taint."""

    name = "NodeUnschedulable"
    filter_scope = "row"
    refusal = Status(Code.UNRESOLVABLE, ("node(s) were unschedulable",), name)

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        cordoned = cycle.table.unschedulable[rows]
        if not cordoned.any() or cycle.cls.tolerates(CORDON_TAINT):
            return None
        return true_codes(cordoned, cycle.statuses.code(self.refusal))

    def filter_one(self, cycle: Cycle, row: int) -> int:
        if not cycle.table.unschedulable.item(row) or cycle.cls.tolerates(CORDON_TAINT):
            return 0
        return cycle.statuses.code(self.refusal)

    def events(self) -> tuple[EventHint, ...]:
        return (
            EventHint("Node", frozenset({"add", "cordon", "taints"})),
            EventHint("UnscheduledPod", frozenset({"tolerations"})),
        )


class NodeName(ColumnPlugin):
    """Refuses every node but the one that `spec.nodeName` names. The queue never holds such a pod,
    so this matters only to who asks about a pod that has its node."""

    name = "NodeName"
    filter_scope = "row"
    refusal = Status(Code.UNRESOLVABLE, ("node(s) didn't match the requested node name",), name)

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        wanted = cycle.pod.node_name
        if not wanted:
            return None
        other = np.ones(cycle.table.capacity, np.bool_)
        row = cycle.table.index.get(wanted)
        if row is not None:
            other[row] = False
        return true_codes(other[rows], cycle.statuses.code(self.refusal))

    def filter_one(self, cycle: Cycle, row: int) -> int:
        wanted = cycle.pod.node_name
        if not wanted or cycle.table.names[row] == wanted:
            return 0
        return cycle.statuses.code(self.refusal)

    def events(self) -> tuple[EventHint, ...]:
        return (EventHint("Node", frozenset({"add"})),)
