"""One profile's placement of one pod: run its plugins over the node table and pick a node.

Owns the scheduling cycle up to the choice of a node. It acts on nothing: no API, no clock; the
cache is only read (and, for suppositions, put back). What equal pods share is `_verdicts`';
everything else - spreading, affinity, volumes, plugins from outside - is evaluated here for every
pod, over the rows that are left.

Nodes are all looked at, always: what upstream's `percentageOfNodesToScore` trades away for speed is
not needed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.scheduler._cache import Cache
from actors.scheduler._framework import (
    ColumnPlugin,
    Cycle,
    Diagnosis,
    Handle,
    Plugin,
    PostFilterResult,
    PreFilterResult,
    StatusTable,
)
from actors.scheduler._nodes import Bools, Ints
from actors.scheduler._pods import PodInfo
from actors.scheduler._profile import Profile
from actors.scheduler._status import SUCCESS, Code, Status
from actors.scheduler._verdicts import Shared, Verdicts

__all__ = ["Decision", "Engine"]

_NO_ROWS: Ints = np.zeros(0, np.int64)


@dataclass(slots=True)
class Decision:
    """What became of one attempt. Either `node` is set, or `diagnosis`, or `error`."""

    cycle: Cycle
    node: str = ""
    row: int = -1
    feasible: int = 0
    diagnosis: Diagnosis | None = None
    error: str = ""


class Engine:
    """See the module. `handle` is shared with the plugins."""

    def __init__(self, profile: Profile, handle: Handle) -> None:
        self.profile = profile
        self.handle = handle
        self.cache: Cache = handle.cache
        self.table = handle.cache.table
        self.statuses = StatusTable()
        self.verdicts = Verdicts(profile, self.table)
        self.extenders: list[Any] = []
        self.on_evicted: Callable[[str, bool, str], None] = lambda uid, gone, error: None
        """Called with a pod's uid when the evictions for it are done: whether the victims are gone
        already, and what went wrong."""
        for plugin in profile.plugins:
            if hasattr(type(plugin), "__annotations__") and "engine" in type(plugin).__annotations__:
                plugin.engine = self  # type: ignore[attr-defined]

    # --- the cycle -------------------------------------------------------------------------

    def schedule(self, pod: PodInfo) -> Decision:
        """Find a node for a pod. Never raises for a pod that does not fit."""
        if len(self.statuses) > 100_000:
            # Plugins from outside may word every refusal differently.
            self.statuses = StatusTable()
            self.verdicts.clear()
        cycle = Cycle(pod, self.cache, self.statuses)
        diagnosis = Diagnosis(self.statuses, _NO_ROWS, SUCCESS)
        if self.table.count == 0:
            return Decision(cycle, diagnosis=None)
        status, names = self._pre_filter(cycle, diagnosis)
        if not status.ok:
            if not status.rejected:
                return Decision(cycle, error=f"running PreFilter plugin {_q(status.plugin)}: {status.message}")
            diagnosis.codes = np.full(self.table.size, -1, np.int64)
            diagnosis.absent = status
            diagnosis.pre_filter_message = status.message
            _blame(diagnosis, status)
            return Decision(cycle, diagnosis=diagnosis)
        try:
            return self._find(cycle, diagnosis, names)
        except PluginError as error:
            return Decision(cycle, error=str(error))

    def _find(self, cycle: Cycle, diagnosis: Diagnosis, names: frozenset[str] | None) -> Decision:
        nominated = self.table.index.get(cycle.pod.nominated_node) if cycle.pod.nominated_node else None
        if nominated is not None and self.table.alive[nominated]:
            if self._row_status(cycle, nominated).ok and self._extended(cycle, _one(nominated), None).shape[0]:
                return self._decided(cycle, nominated, 1)
        shared: Shared | None = None
        if names is None and self.profile.row_filters:
            shared = self.verdicts.of(cycle)
            if self._is_plain(cycle):
                found = self._pick_plain(cycle, shared)
                if found is not None:
                    return found
        codes = self._filtered(cycle, shared, names, diagnosis)
        rows = np.flatnonzero((codes == 0) & self.table.alive[: codes.shape[0]])
        rows = self._extended(cycle, rows, codes)
        if not rows.shape[0]:
            self._explain_failure(diagnosis, codes)
            return Decision(cycle, diagnosis=diagnosis)
        if rows.shape[0] == 1:
            return self._decided(cycle, int(rows[0]), 1)
        total = self._scored(cycle, rows, shared)
        best = np.flatnonzero(total == total.max())
        return self._decided(cycle, int(rows[self._any_of(best.shape[0], best)]), rows.shape[0])

    def _any_of(self, number: int, ties: np.ndarray[Any, Any]) -> int:
        return int(ties[self.handle.random.randrange(number)]) if number > 1 else int(ties[0])

    def _decided(self, cycle: Cycle, row: int, feasible: int) -> Decision:
        return Decision(cycle, self.table.names[row] or "", row, feasible)

    def _is_plain(self, cycle: Cycle) -> bool:
        """Whether nothing but the shared verdicts can refuse a node."""
        skip = cycle.skip_filter
        return (
            not self.extenders and not self.handle.nominated and all(p.name in skip for p in self.profile.late_filters)
        )

    def _pick_plain(self, cycle: Cycle, shared: Shared) -> Decision | None:
        """The choice when shared verdicts say it all; None when no node is left."""
        key = shared.key[: self.table.size]
        best = int(key.max())
        if best < 0:
            return None
        if self._others_matter(cycle, shared, key):
            return None
        ties = np.flatnonzero(key == best)
        return self._decided(cycle, self._any_of(ties.shape[0], ties), ties.shape[0])

    def _others_matter(self, cycle: Cycle, shared: Shared, key: Ints) -> bool:
        """Whether a score besides the row-scoped ones tells nodes apart."""
        if any(self.verdicts.node_scores(cycle, shared, p) is not None for p, _ in self.profile.node_scores):
            return True
        if not any(not isinstance(p, ColumnPlugin) or p.may_score(cycle) for p, _ in self.profile.late_scores):
            return False
        rows: Ints = np.flatnonzero(key >= 0)
        self.prepare_score(cycle, rows)
        return any(p.name not in cycle.skip_score for p, _ in self.profile.late_scores)

    # --- when nothing fits -----------------------------------------------------------------

    def post_filter(self, decision: Decision) -> PostFilterResult:
        """Let postFilter plugins try to make room. The first that succeeds ends it; otherwise the
        reasons of all are joined."""
        diagnosis = decision.diagnosis
        assert diagnosis is not None
        reasons: list[str] = []
        nominated: str | None = None
        for plugin in self.profile.post_filter:
            said = plugin.post_filter(decision.cycle, diagnosis)
            if said.later is not None:
                return said
            if said.status.ok or said.status.code is Code.UNRESOLVABLE:
                return said
            if not said.status.rejected:
                return PostFilterResult(said.status)
            if said.nominated is not None:
                nominated = said.nominated
            reasons += said.status.reasons
        return PostFilterResult(Status(Code.UNSCHEDULABLE, tuple(reasons)), nominated)

    # --- filtering -------------------------------------------------------------------------

    def _pre_filter(self, cycle: Cycle, diagnosis: Diagnosis) -> tuple[Status, frozenset[str] | None]:
        names: frozenset[str] | None = None
        narrowing: list[str] = []
        refused: Status | None = None
        for plugin in self.profile.pre_filter:
            answer = plugin.pre_filter(cycle)
            if answer is SUCCESS:
                continue
            result = answer if isinstance(answer, PreFilterResult) else PreFilterResult(answer)
            said, narrowed = result
            if said.code is Code.SKIP:
                cycle.skip_filter.add(plugin.name)
                continue
            if not said.ok:
                said = said.by(plugin.name)
                if said.code is not Code.UNSCHEDULABLE:
                    return said, None
                # Preemption may help, so the others must have prepared for it.
                refused = said
                continue
            if narrowed is not None:
                narrowing.append(plugin.name)
                names = narrowed if names is None else names & narrowed
                if not names:
                    diagnosis.plugins.update(narrowing)
                    return _not_satisfied(narrowing), None
        if names is not None:
            diagnosis.plugins.update(narrowing)
            listed = " ".join(sorted(narrowing))
            diagnosis.absent = Status(Code.UNRESOLVABLE, (f"node(s) didn't satisfy plugin(s) [{listed}]",))
        return refused or SUCCESS, names

    def prepare(self, cycle: Cycle) -> frozenset[str] | None:
        """Run preFilter; answers the only nodes that may take the pod, None for all."""
        return self._pre_filter(cycle, Diagnosis(self.statuses, np.zeros(0, np.int64), SUCCESS))[1]

    def _filtered(
        self, cycle: Cycle, shared: Shared | None, names: frozenset[str] | None, diagnosis: Diagnosis
    ) -> Ints:
        """A verdict per row: 0 can take the pod, -1 not looked at, else a status number."""
        size = self.table.size
        if shared is not None:
            codes = shared.codes[:size].copy()
            plugins: list[Plugin] = self.profile.late_filters
            rows = np.flatnonzero(shared.key[:size] >= 0)
        else:
            rows = self._rows_named(names)
            codes = np.full(size, -1, np.int64)
            codes[rows] = 0
            plugins = [*self.profile.row_filters, *self.profile.late_filters]
        for plugin in plugins:
            if not rows.shape[0]:
                break
            if plugin.name in cycle.skip_filter:
                continue
            said = self.ask_filter(cycle, plugin, rows)
            if said is not None:
                codes[rows] = said
                rows = rows[said == 0]
        if self.handle.nominated:
            self._respect_nominated(cycle, rows, codes)
        return codes

    def _rows_named(self, names: frozenset[str] | None) -> Ints:
        if names is None:
            found: Ints = np.flatnonzero(self.table.alive[: self.table.size])
            return found
        index = self.table.index
        rows = sorted(index[n] for n in names if n in index and self.table.alive[index[n]])
        return np.array(rows, np.int64)

    def ask_filter(self, cycle: Cycle, plugin: Plugin, rows: Ints) -> Ints | None:
        """What one filter says of some rows; see `ColumnPlugin.filter_rows`."""
        if isinstance(plugin, ColumnPlugin):
            return plugin.filter_rows(cycle, rows)
        said = np.zeros(rows.shape[0], np.int64)
        for i, row in enumerate(rows.tolist()):
            status = plugin.filter(cycle, self.cache.view(row))
            if status.ok:
                continue
            if not status.rejected:
                raise PluginError(f"running {_q(plugin.name)} filter plugin: {status.message}")
            said[i] = self.statuses.code(status.by(plugin.name))
        return said

    def _respect_nominated(self, cycle: Cycle, rows: Ints, codes: Ints) -> None:
        """Nodes where pods of equal or higher priority await room must fit those too."""
        for name, pods in self.handle.nominated.items():
            row = self.table.index.get(name)
            if row is None or row >= codes.shape[0] or codes[row] != 0:
                continue
            others = [p for p in pods.values() if p.priority >= cycle.pod.priority and p.uid != cycle.pod.uid]
            if not others:
                continue
            with self.cache.supposing(row, with_=others):
                status = self.check_row(cycle.pod, row)
            if not status.ok:
                codes[row] = self.statuses.code(status)

    def _row_status(self, cycle: Cycle, row: int) -> Status:
        """Verdict of all filters about one row, nominated pods respected."""
        codes: Ints = np.full(self.table.size, -1, np.int64)
        codes[row] = self.statuses.code(self._filter_row(cycle, row))
        if codes[row] == 0 and self.handle.nominated:
            self._respect_nominated(cycle, _one(row), codes)
        return self.statuses[int(codes[row])]

    def _filter_row(self, cycle: Cycle, row: int) -> Status:
        where = _one(row)
        for plugin in (*self.profile.row_filters, *self.profile.late_filters):
            if plugin.name in cycle.skip_filter:
                continue
            said = self.ask_filter(cycle, plugin, where)
            if said is not None and said[0]:
                return self.statuses[int(said[0])]
        return SUCCESS

    def check_row(self, pod: PodInfo, row: int) -> Status:
        """Whether a node could take a pod as the cache is now (or is supposed to be): all of
        preFilter and filter, for this row alone. Nominated pods are not regarded."""
        cycle = Cycle(pod, self.cache, self.statuses)
        status, names = self._pre_filter(cycle, Diagnosis(self.statuses, np.zeros(0, np.int64), SUCCESS))
        if not status.ok:
            return status
        if names is not None and self.table.names[row] not in names:
            return Status(Code.UNRESOLVABLE, ("node(s) didn't satisfy plugin",))
        return self._filter_row(cycle, row)

    def check_row_with_nominated(self, pod: PodInfo, row: int) -> Status:
        """`check_row`, and again with the pods nominated to that node that outrank this one."""
        pods = self.handle.nominated.get(self.table.names[row] or "")
        others = [p for p in (pods or {}).values() if p.priority >= pod.priority and p.uid != pod.uid]
        if others:
            with self.cache.supposing(row, with_=others):
                status = self.check_row(pod, row)
            if not status.ok:
                return status
        return self.check_row(pod, row)

    def _extended(self, cycle: Cycle, rows: Ints, codes: Ints | None) -> Ints:
        for extender in self.extenders:
            if not rows.shape[0]:
                break
            if not extender.interested(cycle.pod):
                continue
            names = [self.table.names[r] or "" for r in rows.tolist()]
            kept, refused = extender.filter(cycle.pod, names)
            if codes is not None and refused:
                for name, status in refused.items():
                    codes[self.table.index[name]] = self.statuses.code(status)
            rows = np.array([r for r in rows.tolist() if self.table.names[r] in kept], np.int64)
        return rows

    def _explain_failure(self, diagnosis: Diagnosis, codes: Ints) -> None:
        diagnosis.codes = codes
        alive: Bools = self.table.alive[: codes.shape[0]]
        for code in np.unique(codes[alive]).tolist():
            if code > 0:
                _blame(diagnosis, self.statuses[code])

    # --- scoring ---------------------------------------------------------------------------

    def prepare_score(self, cycle: Cycle, rows: Ints) -> None:
        """Run preScore for these rows, once per cycle."""
        if "pre_score" in cycle.data:
            return
        cycle.data["pre_score"] = rows
        for plugin in self.profile.pre_score:
            status = plugin.pre_score(cycle, rows)
            if status is SUCCESS:
                continue
            if status.code is Code.SKIP:
                cycle.skip_score.add(plugin.name)
            elif not status.ok:
                raise PluginError(f"running PreScore plugin {_q(plugin.name)}: {status.message}")

    def _scored(self, cycle: Cycle, rows: Ints, shared: Shared | None) -> Ints:
        """Weighted sum of all scores of some rows."""
        prepared = cycle.data.get("pre_score")
        if prepared is not None and prepared.shape[0] != rows.shape[0]:
            del cycle.data["pre_score"]
            cycle.skip_score.clear()
        self.prepare_score(cycle, rows)
        if shared is not None:
            total = shared.key[rows].copy()
        else:
            total = np.zeros(rows.shape[0], np.int64)
            for plugin, weight in self.profile.row_scores:
                found = plugin.score_rows(cycle, rows)
                if found is not None:
                    total += weight * found
        for plugin, weight in self.profile.node_scores:
            if plugin.name in cycle.skip_score:
                continue
            raw = self.verdicts.node_scores(cycle, shared, plugin)
            if raw is not None:
                total += weight * plugin.normalize(cycle, raw[rows])
        for late, weight in self.profile.late_scores:
            if late.name not in cycle.skip_score:
                total += weight * late.normalize(cycle, self.ask_score(cycle, late, rows))
        for extender in self.extenders:
            if extender.interested(cycle.pod):
                total += extender.prioritize(cycle.pod, [self.table.names[r] or "" for r in rows.tolist()])
        return total

    def ask_score(self, cycle: Cycle, plugin: Plugin, rows: Ints) -> Ints:
        """Raw scores by one plugin."""
        if isinstance(plugin, ColumnPlugin):
            found = plugin.score_rows(cycle, rows)
            return np.zeros(rows.shape[0], np.int64) if found is None else found
        return np.array([plugin.score(cycle, self.cache.view(r)) for r in rows.tolist()], np.int64)


class PluginError(Exception):
    """A plugin could not decide."""


def _one(row: int) -> Ints:
    return np.array([row], np.int64)


def _q(text: str) -> str:
    return f'"{text}"'


def _not_satisfied(plugins: list[str]) -> Status:
    if len(plugins) == 1:
        return Status(Code.UNRESOLVABLE, (f"node(s) didn't satisfy plugin {plugins[0]}",))
    listed = " ".join(sorted(plugins))
    return Status(Code.UNRESOLVABLE, (f"node(s) didn't satisfy plugin(s) [{listed}] simultaneously",))


def _blame(diagnosis: Diagnosis, status: Status) -> None:
    if status.plugin:
        into = diagnosis.pending_plugins if status.code is Code.PENDING else diagnosis.plugins
        into.add(status.plugin)
