"""What equal pods share: the joint verdict of the plugins that look at one node only.

Filters of scope "row" at the front of a profile, and scores of scope "row", say the same about a
node for every pod with equal requests, ports, selectors, tolerations and images, until something on
that node changes. So their joint verdict is kept per such kind of pod (`Shared`), and when the next
pod of the kind comes only the rows that the table's log names since then are looked at again. Raw
scores of scope "node" are kept with it until a node object changes.

Owns nothing but what can be computed again; it is exact, never an approximation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from actors.scheduler._framework import ColumnPlugin, Cycle
from actors.scheduler._nodes import Ints, NodeTable
from actors.scheduler._pods import PodClass
from actors.scheduler._profile import Profile

__all__ = ["Shared", "Verdicts"]

MAX_SHARED = 64
"""Kinds of pods kept; the least recently asked for goes first."""
_FEW = 8
"""So few changed rows are looked at one by one: arrays that small cost more than they save."""
_REFRESH_FRACTION = 8
"""Above one changed row in so many, all rows are looked at again: it is cheaper."""


class Shared:
    """Joint verdict of the row-scoped plugins for one kind of pod, per row."""

    __slots__ = ("capacity", "codes", "key", "node_scores", "position")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.position = -1
        self.codes: Ints = np.zeros(capacity, np.int64)
        self.key: Ints = np.full(capacity, -1, np.int64)
        """The weighted sum of row-scoped scores where the node is alive and not refused, else -1."""
        self.node_scores: dict[str, tuple[tuple[int, int, int], Ints | None]] = {}


class Verdicts:
    """Joint verdicts by kind of pod, for one profile."""

    def __init__(self, profile: Profile, table: NodeTable) -> None:
        self.profile = profile
        self.table = table
        self._shared: dict[Any, Shared] = {}

    def clear(self) -> None:
        """Forget all: the numbers of statuses have changed their meaning."""
        self._shared.clear()

    @staticmethod
    def kind(cls: PodClass) -> Any:
        """What two pods must have in common to share verdicts."""
        kind = cls.memo.get("kind")
        if kind is None:
            kind = cls.memo["kind"] = (
                cls.requests,
                cls.scoring_cpu,
                cls.scoring_memory,
                cls.ports,
                cls.required_nodes,
                cls.preferred_nodes,
                cls.tolerations,
                cls.images,
            )
        return kind

    def of(self, cycle: Cycle) -> Shared:
        """The joint verdict about a cycle's pod, up to date."""
        kind = self.kind(cycle.cls)
        shared = self._shared.pop(kind, None)
        table = self.table
        if shared is None or shared.capacity != table.capacity:
            if len(self._shared) >= MAX_SHARED:
                del self._shared[next(iter(self._shared))]
            shared = Shared(table.capacity)
        self._shared[kind] = shared
        end = table.log_start + len(table.log)
        if shared.position < table.log_start:
            self._refresh(cycle, shared, None)
        elif shared.position < end:
            changed = set(table.log[shared.position - table.log_start :])
            if len(changed) <= _FEW:
                for row in changed:
                    self._refresh_one(cycle, shared, row)
            elif len(changed) * _REFRESH_FRACTION > table.size:
                self._refresh(cycle, shared, None)
            else:
                self._refresh(cycle, shared, np.array(sorted(changed), np.intp))
        shared.position = end
        return shared

    def _refresh_one(self, cycle: Cycle, shared: Shared, row: int) -> None:
        """`_refresh` for one row, without arrays."""
        code = 0
        for plugin in self.profile.row_filters:
            code = plugin.filter_one(cycle, row)
            if code:
                break
        shared.codes[row] = code
        if code or not self.table.alive[row]:
            shared.key[row] = -1
            return
        shared.key[row] = sum(w * p.score_one(cycle, row) for p, w in self.profile.row_scores)

    def _refresh(self, cycle: Cycle, shared: Shared, rows: np.ndarray[Any, Any] | None) -> None:
        where: Any = slice(0, self.table.size) if rows is None else rows
        alive = self.table.alive[where]
        codes: Ints = np.zeros(alive.shape[0], np.int64)
        for plugin in self.profile.row_filters:
            said = plugin.filter_rows(cycle, where)
            if said is not None:
                codes = np.where(codes == 0, said, codes)
        shared.codes[where] = codes
        score: Ints = np.zeros(alive.shape[0], np.int64)
        for plugin, weight in self.profile.row_scores:
            found = plugin.score_rows(cycle, where)
            if found is not None:
                score += weight * found
        shared.key[where] = np.where(alive & (codes == 0), score, -1)

    def node_scores(self, cycle: Cycle, shared: Shared | None, plugin: ColumnPlugin) -> Ints | None:
        """Raw scores of a node-scoped plugin for all rows; None when they are all 0."""
        table = self.table
        stamp = (table.generation, table.size, len(table.taint_sets))
        if shared is not None:
            kept = shared.node_scores.get(plugin.name)
            if kept is not None and kept[0] == stamp:
                return kept[1]
        raw = plugin.score_rows(cycle, slice(0, table.size))
        if raw is not None and not raw.any():
            raw = None
        if shared is not None:
            shared.node_scores[plugin.name] = (stamp, raw)
        return raw
