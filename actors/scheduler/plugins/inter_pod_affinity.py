"""InterPodAffinity: pods that want to be near, or far from, other pods - in both directions.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity
The pod's own terms are answered by tallies of the pods they mean; terms of pods already placed by
groups of equal terms that mean this pod. Either way a term becomes a sum per topology domain, and
each node looks up its domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from actors.scheduler._events import ClusterEvent, EventHint
from actors.scheduler._framework import MAX_NODE_SCORE, ColumnPlugin, Cycle, Handle
from actors.scheduler._nodes import Ints, Rows
from actors.scheduler._pods import AffinityTerm, PodInfo
from actors.scheduler._status import SKIP, SUCCESS, Code, Status
from actors.scheduler._tallies import LabelClass, Tally
from actors.scheduler.plugins.pod_topology_spread import _sized

__all__ = ["InterPodAffinity"]


class _State(NamedTuple):
    """Per term: the domain of each row, how many domains, pods in each."""

    affinity: list[tuple[Ints, int, Ints]]
    alone: bool
    """No pod anywhere is meant by the affinity terms, and this pod itself would be."""
    anti: list[tuple[Ints, int, Ints]]
    existing: list[tuple[Ints, int, Ints]]


class InterPodAffinity(ColumnPlugin):
    """Args: `hardPodAffinityWeight` (1), `ignorePreferredTermsOfExistingPods` (false)."""

    name = "InterPodAffinity"
    no_affinity = Status(Code.UNRESOLVABLE, ("node(s) didn't match pod affinity rules",), name)
    no_anti = Status(Code.UNSCHEDULABLE, ("node(s) didn't match pod anti-affinity rules",), name)
    existing_anti = Status(Code.UNSCHEDULABLE, ("node(s) didn't satisfy existing pods anti-affinity rules",), name)

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        weight = args.get("hardPodAffinityWeight")
        self.hard_weight = 1 if weight is None else int(weight)
        self.ignore_existing = bool(args.get("ignorePreferredTermsOfExistingPods"))

    # --- what is where ---------------------------------------------------------------------

    def _tally(self, cycle: Cycle, terms: tuple[AffinityTerm, ...]) -> Tally:
        """Pods that all of the terms mean."""
        tallies = cycle.cache.tallies

        def means(labels: LabelClass) -> bool:
            of_namespace = tallies.namespace_labels(labels.namespace)
            return all(t.matches(labels.namespace, labels.labels, of_namespace) for t in terms)

        by_labels = any(not t.namespace_selector.nothing for t in terms)
        key = ("affinity", tuple((t.namespaces, t.namespace_selector, t.selector) for t in terms))
        return tallies.tally(key, means, cycle.table.capacity, by_labels)

    def _sums(self, cycle: Cycle, key: str, tally: Tally) -> tuple[Ints, int, Ints]:
        table = cycle.table
        numbers, count = table.domains(key)
        return numbers, count, table.domain_sums(key, _sized(tally.counts, table.size))

    # --- filter ----------------------------------------------------------------------------

    def pre_filter(self, cycle: Cycle) -> Status:
        cls = cycle.cls
        groups = cycle.cache.tallies.groups_meaning(cls) if cycle.cache.tallies.groups else []
        against = [g for g in groups if g.kind == "anti"]
        if not cls.affinity and not cls.anti_affinity and not against:
            return SKIP
        affinity = []
        alone = False
        if cls.affinity:
            tally = self._tally(cycle, cls.affinity)
            affinity = [self._sums(cycle, t.topology_key, tally) for t in cls.affinity]
            if not any(int(sums.sum()) for _, _, sums in affinity):
                own = cycle.cache.tallies.namespace_labels(cls.namespace)
                alone = all(t.matches(cls.namespace, cls.labels, own) for t in cls.affinity)
        anti = [self._sums(cycle, t.topology_key, self._tally(cycle, (t,))) for t in cls.anti_affinity]
        existing = [self._sums(cycle, g.term.topology_key, g.tally) for g in against]
        cycle.data[self.name] = _State(affinity, alone, anti, existing)
        return SUCCESS

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        state: _State | None = cycle.data.get(self.name)
        if state is None:
            return None
        codes: Ints = np.zeros(cycle.table.alive[rows].shape[0], np.int64)
        for parts, status in ((state.existing, self.existing_anti), (state.anti, self.no_anti)):
            code = cycle.statuses.code(status)
            for numbers, _, sums in parts:
                codes[sums[numbers[rows]] > 0] = code
        if state.affinity:
            code = cycle.statuses.code(self.no_affinity)
            for numbers, count, sums in state.affinity:
                here = numbers[rows]
                codes[here == count] = code
                if not state.alone:
                    codes[sums[here] <= 0] = code
        return codes

    # --- score -----------------------------------------------------------------------------

    def may_score(self, cycle: Cycle) -> bool:
        return bool(cycle.cls.preferred_affinity or cycle.cache.tallies.groups)

    def pre_score(self, cycle: Cycle, rows: Ints) -> Status:
        cls, tallies = cycle.cls, cycle.cache.tallies
        parts: list[tuple[str, Tally, int]] = [
            (t.topology_key, self._tally(cycle, (t,)), t.weight) for t in cls.preferred_affinity
        ]
        if tallies.groups and (cls.preferred_affinity or not self.ignore_existing):
            for group in tallies.groups_meaning(cls):
                if group.kind == "required" and self.hard_weight > 0:
                    parts.append((group.term.topology_key, group.tally, self.hard_weight))
                elif group.kind == "preferred":
                    parts.append((group.term.topology_key, group.tally, group.term.weight))
        parts = [p for p in parts if p[1].total]
        if not parts:
            return SKIP
        cycle.data["PreScore" + self.name] = parts
        return SUCCESS

    def score_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        parts: list[tuple[str, Tally, int]] = cycle.data["PreScore" + self.name]
        scores: Ints = np.zeros(cycle.table.alive[rows].shape[0], np.int64)
        for key, tally, weight in parts:
            numbers, _, sums = self._sums(cycle, key, tally)
            scores += weight * sums[numbers[rows]]
        return scores

    def normalize(self, cycle: Cycle, scores: Ints) -> Ints:
        most, least = max(int(scores.max(initial=0)), 0), min(int(scores.min(initial=0)), 0)
        if most == least:
            return np.zeros_like(scores)
        return (MAX_NODE_SCORE * ((scores - least) / (most - least))).astype(np.int64)

    # --- queueing --------------------------------------------------------------------------

    def events(self) -> tuple[EventHint, ...]:
        return (
            EventHint("AssignedPod", frozenset({"add", "delete", "labels"}), self._concerns, by_class=True),
            EventHint("Node", frozenset({"add", "labels"}), self._node_concerns, by_class=True),
            EventHint("UnscheduledPod", frozenset({"labels"})),
            EventHint("Namespace", frozenset({"add", "labels"})),
        )

    def _concerns(self, pod: PodInfo, event: ClusterEvent) -> bool:
        """A pod that is meant by the waiting pod's terms, or that goes and had terms itself."""
        tallies = self.handle.cache.tallies
        for version in (event.old, event.new):
            if version is None:
                continue
            meta = version["metadata"]
            namespace, labels = meta.get("namespace") or "", meta.get("labels") or {}
            of_namespace = tallies.namespace_labels(namespace)
            terms = (*pod.cls.affinity, *pod.cls.anti_affinity)
            if any(t.matches(namespace, labels, of_namespace) for t in terms):
                return True
        gone = event.new is None and event.old is not None
        return gone and bool(((event.old or {}).get("spec") or {}).get("affinity", {}).get("podAntiAffinity"))

    def _node_concerns(self, pod: PodInfo, event: ClusterEvent) -> bool:
        labels = ((event.new or {}).get("metadata") or {}).get("labels") or {}
        terms = (*pod.cls.affinity, *pod.cls.anti_affinity)
        return not terms or any(t.topology_key in labels for t in terms)
