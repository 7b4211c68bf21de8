"""NodeResourcesFit and NodeResourcesBalancedAllocation: room on a node, and how it is used.

https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/ (NodeResourcesFitArgs)
https://kubernetes.io/docs/concepts/scheduling-eviction/resource-bin-packing/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from actors.scheduler._events import ClusterEvent, EventHint
from actors.scheduler._framework import MAX_NODE_SCORE, ColumnPlugin, Cycle, Handle
from actors.scheduler._nodes import Ints, NodeTable, Rows
from actors.scheduler._pods import PodClass, PodInfo
from actors.scheduler._resources import CPU, MEMORY
from actors.scheduler._status import Code, Status

__all__ = ["NodeResourcesBalancedAllocation", "NodeResourcesFit"]

Scorer = Callable[[Ints, Ints], Ints]
_DEFAULT_RESOURCES = ({"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1})
_NEVER = 1 << 62
"""Bit that says that the node is too small for the pod even when empty."""


def _is_extended(name: str) -> bool:
    return "/" in name and not name.startswith("kubernetes.io/") and ".kubernetes.io/" not in name


def _least(requested: Ints, capacity: Ints) -> Ints:
    free: Ints = np.maximum(capacity - requested, 0)
    return free * MAX_NODE_SCORE // capacity


def _most(requested: Ints, capacity: Ints) -> Ints:
    used: Ints = np.minimum(requested, capacity)
    return used * MAX_NODE_SCORE // capacity


def _by_shape(shape: list[tuple[int, int]]) -> Scorer:
    """A piecewise linear function of utilisation in percent; `shape`: (utilisation, score 0-100)
    in rising order of utilisation."""
    table = np.array([_shape_at(shape, p) for p in range(101)], np.int64)

    def score(requested: Ints, capacity: Ints) -> Ints:
        percent = np.where(requested > capacity, 100, requested * 100 // capacity)
        found: Ints = table[percent]
        return found

    return score


def _shape_at(shape: list[tuple[int, int]], percent: int) -> int:
    for i, (utilisation, score) in enumerate(shape):
        if percent <= utilisation:
            if i == 0:
                return score
            before, base = shape[i - 1]
            return base + int((score - base) * (percent - before) / (utilisation - before))
    return shape[-1][1]


def _least_one(requested: int, capacity: int) -> int:
    return max(capacity - requested, 0) * MAX_NODE_SCORE // capacity


def _most_one(requested: int, capacity: int) -> int:
    return min(requested, capacity) * MAX_NODE_SCORE // capacity


class _Allocation:
    """The resources that are scored, with weights: requested and capacity per node."""

    def __init__(self, table: NodeTable, resources: Any, with_defaults: bool) -> None:
        self.with_defaults = with_defaults
        self.resources = [
            (table.resources.place(r.get("name", "")), r.get("name", ""), int(r.get("weight") or 1)) for r in resources
        ]

    def columns(self, cycle: Cycle, rows: Rows) -> list[tuple[Ints, Ints, int]]:
        """(requested with the pod, capacity, weight) for each resource that counts for the pod."""
        table, cls = cycle.table, cycle.cls
        table.ensure_resources()
        asked = dict(cls.requests)
        found = []
        for place, name, weight in self.resources:
            capacity = table.allocatable[place][rows]
            if self.with_defaults and place in (CPU, MEMORY):
                more = cls.scoring_cpu if place == CPU else cls.scoring_memory
                requested = table.scored[place][rows] + more
            else:
                number = asked.get(place, 0)
                if not number and _is_scalar(name):
                    continue
                requested = table.requested[place][rows] + number
            found.append((requested, capacity, weight))
        return found

    def cells(self, cycle: Cycle, row: int) -> list[tuple[int, int, int]]:
        """`columns` for one row."""
        table, cls = cycle.table, cycle.cls
        if len(table.resources) > table.allocatable.shape[0]:
            table.ensure_resources()
        found = []
        for place, name, weight in self.resources:
            capacity = table.allocatable.item(place, row)
            if self.with_defaults and place in (CPU, MEMORY):
                more = cls.scoring_cpu if place == CPU else cls.scoring_memory
                requested = table.scored.item(place, row) + more
            else:
                number = next((n for p, n in cls.requests if p == place), 0)
                if not number and _is_scalar(name):
                    continue
                requested = table.requested.item(place, row) + number
            found.append((requested, capacity, weight))
        return found


def _is_scalar(name: str) -> bool:
    return name not in ("cpu", "memory", "ephemeral-storage")


class NodeResourcesFit(ColumnPlugin):
    """Args: `ignoredResources`, `ignoredResourceGroups`, `scoringStrategy`."""

    name = "NodeResourcesFit"
    filter_scope = "row"
    score_scope = "row"

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.ignored = frozenset(args.get("ignoredResources") or ()) | handle.left_out
        self.ignored_groups = frozenset(args.get("ignoredResourceGroups") or ())
        strategy = args.get("scoringStrategy") or {}
        self.strategy = strategy.get("type") or "LeastAllocated"
        resources = strategy.get("resources") or _DEFAULT_RESOURCES
        self.allocation = _Allocation(handle.table, resources, with_defaults=True)
        if self.strategy == "RequestedToCapacityRatio":
            points = (strategy.get("requestedToCapacityRatio") or {}).get("shape") or ()
            shape = [(int(p.get("utilization") or 0), int(p.get("score") or 0) * 10) for p in points]
            shape = shape or [(0, 0), (100, 100)]
            self.scorer = _by_shape(shape)
            at = [_shape_at(shape, percent) for percent in range(101)]
            self.score_cell = lambda r, c: at[100 if r > c else r * 100 // c]
        elif self.strategy == "MostAllocated":
            self.scorer, self.score_cell = _most, _most_one
        else:
            self.scorer, self.score_cell = _least, _least_one

    def _requests(self, cls: PodClass) -> list[tuple[int, int]]:
        if not self.ignored and not self.ignored_groups:
            return list(cls.requests)
        names = self.handle.cache.resources.names
        return [
            (place, number)
            for place, number in cls.requests
            if not _is_extended(names[place])
            or (names[place] not in self.ignored and names[place].split("/")[0] not in self.ignored_groups)
        ]

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        table = cycle.table
        table.ensure_resources()
        requests = self._requests(cycle.cls)
        short: Ints = (table.pods[rows] >= table.pods_allowed[rows]).astype(np.int64)
        for i, (place, number) in enumerate(requests, 1):
            capacity = table.allocatable[place][rows]
            missing = capacity - table.requested[place][rows] < number
            if missing.any():
                short |= np.where(missing, 1 << i, 0)
                short |= np.where(missing & (capacity < number), _NEVER, 0)
        if not short.any():
            return None
        kinds, inverse = np.unique(short, return_inverse=True)
        codes = [cycle.statuses.code(self._status(int(k), requests)) if k else 0 for k in kinds]
        found: Ints = np.array(codes, np.int64)[inverse]
        return found

    def filter_one(self, cycle: Cycle, row: int) -> int:
        table = cycle.table
        if len(table.resources) > table.allocatable.shape[0]:
            table.ensure_resources()
        requests = self._requests(cycle.cls)
        short = int(table.pods.item(row) >= table.pods_allowed.item(row))
        for i, (place, number) in enumerate(requests, 1):
            capacity = table.allocatable.item(place, row)
            if capacity - table.requested.item(place, row) < number:
                short |= 1 << i
                if capacity < number:
                    short |= _NEVER
        return cycle.statuses.code(self._status(short, requests)) if short else 0

    def _status(self, kind: int, requests: list[tuple[int, int]]) -> Status:
        names = self.handle.cache.resources.names
        reasons = ["Too many pods"] if kind & 1 else []
        reasons += [f"Insufficient {names[p]}" for i, (p, _) in enumerate(requests, 1) if kind >> i & 1]
        code = Code.UNRESOLVABLE if kind & _NEVER else Code.UNSCHEDULABLE
        return Status(code, tuple(reasons), self.name)

    def score_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        total: Ints = np.zeros(cycle.table.alive[rows].shape[0], np.int64)
        weights = np.zeros_like(total)
        ratio = self.strategy == "RequestedToCapacityRatio"
        for requested, capacity, weight in self.allocation.columns(cycle, rows):
            exists = capacity > 0
            scores = self.scorer(requested, np.maximum(capacity, 1))
            counts = exists & (scores > 0) if ratio else exists
            total += np.where(counts, scores * weight, 0)
            weights += np.where(counts, weight, 0)
        if ratio:
            return np.floor(total / np.maximum(weights, 1) + 0.5).astype(np.int64)
        found: Ints = total // np.maximum(weights, 1)
        return found

    def score_one(self, cycle: Cycle, row: int) -> int:
        total = weights = 0
        ratio = self.strategy == "RequestedToCapacityRatio"
        for requested, capacity, weight in self.allocation.cells(cycle, row):
            if capacity <= 0:
                continue
            score = self.score_cell(requested, capacity)
            if score > 0 or not ratio:
                total += score * weight
                weights += weight
        if not weights:
            return 0
        return math.floor(total / weights + 0.5) if ratio else total // weights

    def events(self) -> tuple[EventHint, ...]:
        return (
            EventHint("AssignedPod", frozenset({"delete", "scale-down"}), self._frees, by_class=True),
            EventHint("UnscheduledPod", frozenset({"scale-down"}), _own),
            EventHint("Node", frozenset({"add", "allocatable"}), self._has_room, by_class=True),
        )

    def _frees(self, pod: PodInfo, event: ClusterEvent) -> bool:
        """Whether the node that a pod leaves has room now. No other node can have gained any."""
        gone = event.old or event.new or {}
        return self._fits(pod, (gone.get("spec") or {}).get("nodeName") or "")

    def _has_room(self, pod: PodInfo, event: ClusterEvent) -> bool:
        """Whether the new or changed node has room."""
        return self._fits(pod, ((event.new or {}).get("metadata") or {}).get("name", ""))

    def _fits(self, pod: PodInfo, node_name: str) -> bool:
        table = self.handle.table
        row = table.index.get(node_name)
        if row is None:
            # The node is not known yet, or no more: let the filters say.
            return True
        table.ensure_resources()
        return bool(table.pods[row] < table.pods_allowed[row]) and all(
            table.allocatable[place, row] - table.requested[place, row] >= number
            for place, number in self._requests(pod.cls)
        )


def _own(pod: PodInfo, event: ClusterEvent) -> bool:
    return bool(((event.new or {}).get("metadata") or {}).get("uid") == pod.uid)


class NodeResourcesBalancedAllocation(ColumnPlugin):
    """Prefers nodes on which the shares in use of each resource are close to each other.

    Args: `resources`. Pods that ask for nothing are not scored: all of them would go to the node
    that is balanced best.
    """

    name = "NodeResourcesBalancedAllocation"
    score_scope = "row"

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        resources = args.get("resources") or _DEFAULT_RESOURCES
        self.allocation = _Allocation(handle.table, resources, with_defaults=False)
        self.places = frozenset(place for place, _, _ in self.allocation.resources)

    def score_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        if not any(place in self.places for place, _ in cycle.cls.requests):
            return None
        columns = self.allocation.columns(cycle, rows)
        if not columns:
            return None
        shares = np.array([np.minimum(r / np.maximum(c, 1), 1.0) for r, c, _ in columns])
        exists = np.array([c > 0 for _, c, _ in columns])
        if exists.all():
            deviation = _deviation(shares)
        else:
            deviation = np.zeros(shares.shape[1])
            for pattern in np.unique(exists, axis=1).T:
                here = (exists == pattern[:, None]).all(axis=0)
                deviation[here] = _deviation(shares[pattern][:, here])
        return ((1.0 - deviation) * MAX_NODE_SCORE).astype(np.int64)

    def score_one(self, cycle: Cycle, row: int) -> int:
        if not any(place in self.places for place, _ in cycle.cls.requests):
            return 0
        cells = self.allocation.cells(cycle, row)
        if not cells:
            return 0
        shares = [min(r / c, 1.0) for r, c, _ in cells if c > 0]
        return int((1.0 - _deviation_one(shares)) * MAX_NODE_SCORE)


def _deviation_one(shares: list[float]) -> float:
    if len(shares) < 2:
        return 0.0
    if len(shares) == 2:
        return abs((shares[0] - shares[1]) / 2)
    return float(_deviation(np.array(shares)[:, None])[0])


def _deviation(shares: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if shares.shape[0] < 2:
        return np.zeros(shares.shape[1])
    if shares.shape[0] == 2:
        found: np.ndarray[Any, Any] = np.abs((shares[0] - shares[1]) / 2)
        return found
    mean = shares.sum(axis=0) / shares.shape[0]
    spread: np.ndarray[Any, Any] = np.sqrt(((shares - mean) ** 2).sum(axis=0) / shares.shape[0])
    return spread
