"""NodeAffinity: `nodeSelector` and node affinity, and affinity that the profile adds to all pods.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from actors.scheduler._events import EventHint
from actors.scheduler._framework import ColumnPlugin, Cycle, Handle, PreFilterResult, default_normalize
from actors.scheduler._node_selector import compile_required, compile_term
from actors.scheduler._nodes import Bools, Ints, NodeTable, Rows
from actors.scheduler._pods import PodClass
from actors.scheduler._status import SUCCESS, Code, Status

__all__ = ["NodeAffinity", "required_match"]


def required_match(cls: PodClass, table: NodeTable) -> Bools | None:
    """Per row, whether the pod's own selector and required affinity hold; None: it has none.
    Kept with the class until a node changes."""
    if cls.required_nodes is None:
        return None
    kept = cls.memo.get("nodes")
    stamp = (table.generation, table.size)
    if kept is None or kept[0] != stamp:
        kept = (stamp, table.matching(cls.required_nodes, slice(0, table.size)))
        cls.memo["nodes"] = kept
    found: Bools = kept[1]
    return found


class NodeAffinity(ColumnPlugin):
    """Args: `addedAffinity` (a NodeAffinity)."""

    name = "NodeAffinity"
    filter_scope = "row"
    score_scope = "node"
    refusal = Status(Code.UNRESOLVABLE, ("node(s) didn't match Pod's node affinity/selector",), name)
    enforced = Status(Code.UNRESOLVABLE, ("node(s) didn't match scheduler-enforced node affinity",), name)
    conflict = Status(Code.UNRESOLVABLE, ("pod affinity terms conflict",), name)

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        added = args.get("addedAffinity") or {}
        required = added.get("requiredDuringSchedulingIgnoredDuringExecution")
        self.added = compile_required(None, required) if required else None
        self.added_preferred = tuple(
            (int(p.get("weight") or 0), compile_term(p.get("preference")))
            for p in added.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        )

    def pre_filter(self, cycle: Cycle) -> Status | PreFilterResult:
        required = cycle.cls.required_nodes
        names = required.names() if required is not None else None
        if names is None:
            return SUCCESS
        if not names:
            return self.conflict
        return PreFilterResult(SUCCESS, names)

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        required = cycle.cls.required_nodes
        if required is None and self.added is None:
            return None
        table = cycle.table
        codes: Ints = np.zeros(table.alive[rows].shape[0], np.int64)
        if required is not None:
            codes[~table.matching(required, rows)] = cycle.statuses.code(self.refusal)
        if self.added is not None:
            codes[~table.matching(self.added, rows)] = cycle.statuses.code(self.enforced)
        return codes

    def filter_one(self, cycle: Cycle, row: int) -> int:
        required, table = cycle.cls.required_nodes, cycle.table
        labels, name = table.labels[row], table.names[row] or ""
        if self.added is not None and not self.added.matches(labels, name):
            return cycle.statuses.code(self.enforced)
        if required is not None and not required.matches(labels, name):
            return cycle.statuses.code(self.refusal)
        return 0

    def score_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        preferred = cycle.cls.preferred_nodes + self.added_preferred
        if not preferred:
            return None
        table = cycle.table
        scores: Ints = np.zeros(table.alive[rows].shape[0], np.int64)
        for weight, term in preferred:
            scores += weight * table.matching_term(term, rows)
        return scores

    def normalize(self, cycle: Cycle, scores: Ints) -> Ints:
        return default_normalize(scores, reverse=False)

    def events(self) -> tuple[EventHint, ...]:
        return (EventHint("Node", frozenset({"add", "labels"})),)
