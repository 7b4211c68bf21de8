"""PodTopologySpread: how evenly pods that a selector means are spread over domains.

https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/
A domain is the set of nodes with one value of a label. What is counted are living pods of the same
namespace. Pods without constraints of their own get the profile's: by default soft ones over hosts
and zones, for the pods of their Services and controller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from actors.scheduler._events import ClusterEvent, EventHint
from actors.scheduler._framework import MAX_NODE_SCORE, ColumnPlugin, Cycle, Handle
from actors.scheduler._nodes import HOSTNAME, Bools, Ints, NodeTable, Rows
from actors.scheduler._objects import Objects
from actors.scheduler._pods import PodClass, PodInfo, SpreadConstraint
from actors.scheduler._status import SKIP, SUCCESS, Code, Status
from actors.scheduler._tallies import LabelClass, Tallies, Tally
from actors.scheduler.plugins.node_affinity import required_match
from actors.scheduler.plugins.taint_toleration import untolerated
from protocol.selectors import NOTHING, Requirement, Selector, SelectorError, selector_of

__all__ = ["PodTopologySpread", "default_selector"]

ZONE = "topology.kubernetes.io/zone"
_NO_DOMAIN_MINIMUM = 2**31 - 1


class _Hard(NamedTuple):
    """One hard constraint in one cycle. `sums`: pods per domain, `least`: the fewest in any."""

    constraint: SpreadConstraint
    numbers: Ints
    domains: int
    sums: Ints
    least: int
    own: int


class _Soft(NamedTuple):
    """The soft constraints in one cycle, and per node of the cycle whether it lacks a label."""

    constraints: tuple[SpreadConstraint, ...]
    per_row: list[tuple[Ints, Bools, float]]
    ignored: Bools


def spread_tally(tallies: Tallies, namespace: str, selector: Selector, capacity: int) -> Tally:
    """Living pods of a namespace that a selector means, per node."""

    def means(labels: LabelClass) -> bool:
        return labels.namespace == namespace and not labels.terminating and selector.matches(labels.labels)

    return tallies.tally(("spread", namespace, selector), means, capacity)


def default_selector(cls: PodClass, objects: Objects) -> Selector:
    """What the Services that select a pod and the controller that owns it select together.
    Empty when there are none."""
    namespace, labels = cls.namespace, cls.labels
    merged: dict[str, str] = {}
    for service in objects.list("services", namespace):
        wanted = (service.get("spec") or {}).get("selector")
        if wanted and all(labels.get(k) == v for k, v in wanted.items()):
            merged.update(wanted)
    kind, name, _ = cls.owner
    requirements: list[Requirement] = []
    if kind == "ReplicationController":
        owner = objects.get("replicationcontrollers", f"{namespace}/{name}") or {}
        merged.update((owner.get("spec") or {}).get("selector") or {})
    elif kind in ("ReplicaSet", "StatefulSet"):
        owner = objects.get(f"{kind.lower()}s", f"{namespace}/{name}") or {}
        try:
            found = selector_of((owner.get("spec") or {}).get("selector"))
        except SelectorError:
            found = NOTHING
        requirements = list(found.requirements)
    all_of = {Requirement(k, "=", (v,)) for k, v in merged.items()} | set(requirements)
    return Selector(tuple(sorted(all_of)))


class PodTopologySpread(ColumnPlugin):
    """Args: `defaultConstraints`, `defaultingType` (System or List)."""

    name = "PodTopologySpread"
    refusal = Status(Code.UNSCHEDULABLE, ("node(s) didn't match pod topology spread constraints",), name)
    no_label = Status(
        Code.UNRESOLVABLE,
        ("node(s) didn't match pod topology spread constraints (missing required label)",),
        name,
    )

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.system = args.get("defaultingType", "System") == "System"
        if self.system:
            self.defaults: tuple[tuple[str, int, bool], ...] = ((HOSTNAME, 3, False), (ZONE, 5, False))
        else:
            self.defaults = tuple(
                (
                    c.get("topologyKey", ""),
                    int(c.get("maxSkew") or 1),
                    c.get("whenUnsatisfiable") != "ScheduleAnyway",
                )
                for c in args.get("defaultConstraints") or ()
            )

    # --- constraints -----------------------------------------------------------------------

    def _constraints(self, cls: PodClass, hard: bool) -> tuple[SpreadConstraint, ...]:
        if cls.spread:
            return tuple(c for c in cls.spread if c.hard == hard)
        wanted = [d for d in self.defaults if d[2] == hard]
        if not wanted:
            return ()
        versions = self.handle.objects.versions
        stamp = tuple(versions[r] for r in ("services", "replicasets", "replicationcontrollers", "statefulsets"))
        memo_key = ("spread", self.handle.scheduler_name, hard)
        kept = cls.memo.get(memo_key)
        if kept is None or kept[0] != stamp:
            selector = default_selector(cls, self.handle.objects)
            made = (
                () if selector.empty else tuple(SpreadConstraint(skew, key, hard, selector) for key, skew, _ in wanted)
            )
            kept = cls.memo[memo_key] = (stamp, made)
        found: tuple[SpreadConstraint, ...] = kept[1]
        return found

    def _eligible(self, cls: PodClass, table: NodeTable, constraint: SpreadConstraint, labelled: Bools) -> Bools:
        """Nodes whose pods count for a constraint."""
        found = labelled
        if constraint.honor_affinity:
            match = required_match(cls, table)
            if match is not None:
                found = found & match
        if constraint.honor_taints:
            found = found & ~untolerated(cls, table, slice(0, table.size))
        return found

    def _tally(self, cycle: Cycle, constraint: SpreadConstraint) -> Ints:
        table = cycle.table
        tally = spread_tally(cycle.cache.tallies, cycle.pod.namespace, constraint.selector, table.capacity)
        return _sized(tally.counts, table.size)

    # --- filter ----------------------------------------------------------------------------

    def pre_filter(self, cycle: Cycle) -> Status:
        constraints = self._constraints(cycle.cls, hard=True)
        if not constraints:
            return SKIP
        table, cls = cycle.table, cycle.cls
        labelled = table.alive[: table.size].copy()
        for constraint in constraints:
            numbers, count = table.domains(constraint.topology_key)
            labelled &= numbers < count
        found = []
        for constraint in constraints:
            numbers, count = table.domains(constraint.topology_key)
            eligible = self._eligible(cls, table, constraint, labelled)
            sums = table.domain_sums(constraint.topology_key, self._tally(cycle, constraint), eligible)
            present = np.zeros(count + 1, np.bool_)
            present[numbers[eligible]] = True
            present[count] = False
            domains = int(present.sum())
            least = int(sums[present].min()) if domains else _NO_DOMAIN_MINIMUM
            if domains < constraint.min_domains:
                least = 0
            own = int(constraint.selector.matches(cls.labels))
            found.append(_Hard(constraint, numbers, count, sums, least, own))
        cycle.data[self.name] = found
        return SUCCESS

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        hard: list[_Hard] = cycle.data.get(self.name, [])
        if not hard:
            return None
        refused, missing = cycle.statuses.code(self.refusal), cycle.statuses.code(self.no_label)
        codes: Ints = np.zeros(cycle.table.alive[rows].shape[0], np.int64)
        for part in hard:
            numbers = part.numbers[rows]
            open_ = codes == 0
            codes[open_ & (numbers == part.domains)] = missing
            skew = part.sums[numbers] + (part.own - part.least)
            codes[open_ & (numbers < part.domains) & (skew > part.constraint.max_skew)] = refused
        return codes

    # --- score -----------------------------------------------------------------------------

    def may_score(self, cycle: Cycle) -> bool:
        return bool(self._constraints(cycle.cls, hard=False))

    def pre_score(self, cycle: Cycle, rows: Ints) -> Status:
        cls, table = cycle.cls, cycle.table
        constraints = self._constraints(cls, hard=False)
        if not constraints:
            return SKIP
        require_all = bool(cls.spread) or not self.system
        labelled = table.alive[: table.size].copy()
        if require_all:
            for constraint in constraints:
                numbers, count = table.domains(constraint.topology_key)
                labelled &= numbers < count
        ignored = ~labelled[rows]
        scored = rows[~ignored]
        per_row = [self._soft(cycle, c, labelled, scored, rows) for c in constraints]
        cycle.data["PreScore" + self.name] = _Soft(constraints, per_row, ignored)
        return SUCCESS

    def _soft(
        self, cycle: Cycle, constraint: SpreadConstraint, labelled: Bools, scored: Ints, rows: Ints
    ) -> tuple[Ints, Bools, float]:
        """Per row: matching pods in its domain and whether it has the label; and the weight that
        a domain has by how many there are."""
        table = cycle.table
        numbers, count = table.domains(constraint.topology_key)
        here = numbers[rows]
        counts = self._tally(cycle, constraint)
        if constraint.topology_key == HOSTNAME:
            # Hosts are counted one by one, whatever their label says.
            return counts[rows], here < count, float(np.log(scored.shape[0] + 2))
        domains = np.unique(numbers[scored]).shape[0]
        eligible = self._eligible(cycle.cls, table, constraint, labelled)
        sums = table.domain_sums(constraint.topology_key, counts, eligible)
        return sums[here], here < count, float(np.log(domains + 2))

    def score_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        soft: _Soft = cycle.data["PreScore" + self.name]
        total = np.zeros(soft.ignored.shape[0])
        for constraint, (counts, has_label, weight) in zip(soft.constraints, soft.per_row, strict=True):
            total += np.where(has_label, counts * weight + (constraint.max_skew - 1), 0.0)
        scores: Ints = np.floor(total + 0.5).astype(np.int64)
        scores[soft.ignored] = 0
        return scores

    def normalize(self, cycle: Cycle, scores: Ints) -> Ints:
        soft: _Soft = cycle.data["PreScore" + self.name]
        counted = scores[~soft.ignored]
        if not counted.shape[0]:
            return np.zeros_like(scores)
        least, most = int(counted.min()), max(int(counted.max()), 0)
        if most == 0:
            found: Ints = np.full_like(scores, MAX_NODE_SCORE)
        else:
            found = MAX_NODE_SCORE * (most + least - scores) // most
        found[soft.ignored] = 0
        return found

    # --- queueing --------------------------------------------------------------------------

    def events(self) -> tuple[EventHint, ...]:
        return (
            EventHint("AssignedPod", frozenset({"add", "delete", "labels"}), self._concerns, by_class=True),
            EventHint("Node", frozenset({"add", "delete", "labels", "taints"}), self._node_concerns, by_class=True),
            EventHint("UnscheduledPod", frozenset({"labels", "tolerations"})),
        )

    def _concerns(self, pod: PodInfo, event: ClusterEvent) -> bool:
        """Whether a pod that came, went or changed is one of those that are counted."""
        versions = [v["metadata"] for v in (event.old, event.new) if v is not None]
        if any((m.get("namespace") or "") != pod.namespace for m in versions):
            return False
        constraints = self._constraints(pod.cls, hard=True)
        return any(c.selector.matches(m.get("labels")) for c in constraints for m in versions)

    def _node_concerns(self, pod: PodInfo, event: ClusterEvent) -> bool:
        keys = {c.topology_key for c in self._constraints(pod.cls, hard=True)}
        labels = [(v["metadata"].get("labels") or {}) for v in (event.old, event.new) if v]
        return any(keys <= found.keys() for found in labels)


def _sized(counts: Ints, size: int) -> Ints:
    if counts.shape[0] >= size:
        return counts[:size]
    wider: Ints = np.zeros(size, np.int64)
    wider[: counts.shape[0]] = counts
    return wider
