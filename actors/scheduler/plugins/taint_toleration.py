"""TaintToleration: nodes whose taints the pod does not tolerate.

https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
Nodes have few distinct lists of taints, so a verdict is found once per list and looked up per node.
"""

from __future__ import annotations

import numpy as np

from actors.scheduler._events import EventHint
from actors.scheduler._framework import ColumnPlugin, Cycle, default_normalize
from actors.scheduler._nodes import Bools, Ints, NodeTable, Rows
from actors.scheduler._pods import PodClass
from actors.scheduler._status import Code, Status

__all__ = ["TaintToleration", "untolerated"]

_HARD = ("NoSchedule", "NoExecute")


def _verdicts(cls: PodClass, table: NodeTable) -> tuple[Bools, Ints]:
    """Per list of taints: whether one that forbids scheduling is not tolerated, and how many that
    merely discourage it are not."""
    kept = cls.memo.get("taints")
    count = len(table.taint_sets)
    if kept is not None and kept[0].shape[0] == count:
        found: tuple[Bools, Ints] = kept
        return found
    hard = [any(t[2] in _HARD and not cls.tolerates(t) for t in taints) for taints in table.taint_sets]
    soft = [sum(t[2] == "PreferNoSchedule" and not cls.tolerates(t) for t in taints) for taints in table.taint_sets]
    found = (np.array(hard, np.bool_), np.array(soft, np.int64))
    cls.memo["taints"] = found
    return found


def untolerated(cls: PodClass, table: NodeTable, rows: Rows) -> Bools:
    """Which rows have a NoSchedule or NoExecute taint that the pod does not tolerate."""
    found: Bools = _verdicts(cls, table)[0][table.taint_set[rows]]
    return found


class TaintToleration(ColumnPlugin):
    """Filters by NoSchedule and NoExecute, scores by PreferNoSchedule."""

    name = "TaintToleration"
    filter_scope = "row"
    score_scope = "node"
    refusal = Status(Code.UNRESOLVABLE, ("node(s) had untolerated taint(s)",), name)

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        hard = _verdicts(cycle.cls, cycle.table)[0]
        if not hard.any():
            return None
        codes: Ints = np.zeros(hard.shape[0], np.int64)
        for place in np.flatnonzero(hard).tolist():
            codes[place] = self._refusal(cycle, place)
        found: Ints = codes[cycle.table.taint_set[rows]]
        return found

    def filter_one(self, cycle: Cycle, row: int) -> int:
        place = int(cycle.table.taint_set[row])
        return self._refusal(cycle, place) if _verdicts(cycle.cls, cycle.table)[0][place] else 0

    def _refusal(self, cycle: Cycle, place: int) -> int:
        """The refusal of a list of taints; before 1.36 it named the first that is not tolerated."""
        if self.handle.minor >= 36:
            return cycle.statuses.code(self.refusal)
        taints = cycle.table.taint_sets[place]
        key, value, _ = next(t for t in taints if t[2] in _HARD and not cycle.cls.tolerates(t))
        text = f"node(s) had untolerated taint {{{key}: {value}}}"
        return cycle.statuses.code(Status(Code.UNRESOLVABLE, (text,), self.name))

    def score_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        soft = _verdicts(cycle.cls, cycle.table)[1]
        if not soft.any():
            return None
        found: Ints = soft[cycle.table.taint_set[rows]]
        return found

    def normalize(self, cycle: Cycle, scores: Ints) -> Ints:
        return default_normalize(scores, reverse=True)

    def events(self) -> tuple[EventHint, ...]:
        return (
            EventHint("Node", frozenset({"add", "taints"})),
            EventHint("UnscheduledPod", frozenset({"tolerations"})),
        )
