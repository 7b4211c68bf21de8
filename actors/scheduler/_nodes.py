"""Nodes as columns: one row per node, one numpy array per property.

Owns what a node object says (labels, taints, allocatable, images, cordon) and how much of it pods
have taken. It knows no pods: `_cache` tells it what to add and take away. A row's number is given
to another node only after `drop`.

Worked example, three nodes, one of them gone:

    row            0          1          2
    names       node-a       None      node-c
    alive        True       False       True
    allocatable  [[4000, 0, 8000], [8Gi, 0, 16Gi], ...]     one line per resource
    label_column("zone")  ->  [3, -1, 7]                    interned values, -1: label absent
    taint_set             ->  [0, 0, 2]                     places in `taint_sets`

Every change of a row is appended to `log`, so that whoever keeps something per row can catch up
by reading from where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.scheduler._node_selector import NodeRequirement, NodeSelector, NodeTerm
from actors.scheduler._resources import EPHEMERAL, ResourceNames, amount

__all__ = ["ALL_ROWS", "Bools", "Ints", "NodeTable", "Rows"]

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Rows = slice | NDArray[np.intp]
Taint = tuple[str, str, str]
Object = dict[str, Any]

ALL_ROWS = slice(None)
_UNLIMITED = 2**62
_EMPTY: Object = {}
HOSTNAME = "kubernetes.io/hostname"


class NodeTable:
    """All nodes. Arrays have `capacity` places; use `[: table.size]`, or `rows()`."""

    def __init__(self, resources: ResourceNames, capacity: int = 64) -> None:
        self.resources = resources
        self.capacity = capacity
        self.size = 0
        self.names: list[str | None] = []
        self.objects: list[Object | None] = []
        self.labels: list[Mapping[str, str]] = []
        self.index: dict[str, int] = {}
        self._free: list[int] = []
        self.alive: Bools = np.zeros(capacity, np.bool_)
        self.count = 0
        self.unschedulable: Bools = np.zeros(capacity, np.bool_)
        places = max(len(resources), EPHEMERAL + 1)
        self.allocatable: Ints = np.zeros((places, capacity), np.int64)
        self.requested: Ints = np.zeros((places, capacity), np.int64)
        self.scored: Ints = np.zeros((2, capacity), np.int64)
        self.pods_allowed: Ints = np.zeros(capacity, np.int64)
        self.pods: Ints = np.zeros(capacity, np.int64)
        self.taint_set: NDArray[np.int32] = np.zeros(capacity, np.int32)
        self.taint_sets: list[tuple[Taint, ...]] = [()]
        self._taint_places: dict[tuple[Taint, ...], int] = {(): 0}
        self._label_columns: dict[str, NDArray[np.int32]] = {}
        self._values: list[str] = []
        self._value_places: dict[str, int] = {}
        self._domains: dict[str, tuple[tuple[int, int], Ints, int]] = {}
        self.images: dict[str, dict[int, int]] = {}
        self._images_of: dict[int, tuple[str, ...]] = {}
        self.log: list[int] = []
        """Rows that changed, in order, with repetitions."""
        self.log_start = 0
        """How many entries were dropped from the front of `log`."""
        self.generation = 0
        """Counts changes to node objects, but not to what pods take."""
        self.images_generation = 0

    # --- nodes -----------------------------------------------------------------------------

    def row(self, name: str) -> int:
        """The row of a node, made (not alive) if there is none: pods may be seen before it."""
        found = self.index.get(name)
        if found is not None:
            return found
        if self._free:
            row = self._free.pop()
        else:
            row = self.size
            if row == self.capacity:
                self._grow()
            self.size += 1
            self.names.append(None)
            self.objects.append(None)
            self.labels.append(_EMPTY)
        self.names[row] = name
        self.index[name] = row
        return row

    def put(self, node: Object) -> int | None:
        """Add or replace a node. Answers its row, or None if nothing that matters changed."""
        name = node["metadata"]["name"]
        row = self.row(name)
        old = self.objects[row]
        self.objects[row] = node
        if self.alive[row] and old is not None and _same_for_us(old, node):
            return None
        if not self.alive[row]:
            self.alive[row] = True
            self.count += 1
        spec, status = node.get("spec") or _EMPTY, node.get("status") or _EMPTY
        self.unschedulable[row] = bool(spec.get("unschedulable"))
        self.taint_set[row] = self._taints(spec.get("taints") or ())
        self._set_allocatable(row, status.get("allocatable") or status.get("capacity") or _EMPTY)
        self._set_labels(row, (node.get("metadata") or _EMPTY).get("labels") or _EMPTY)
        self._set_images(row, status.get("images") or ())
        self.generation += 1
        self.log.append(row)
        return row

    def kill(self, name: str) -> int | None:
        """The node is gone; its row stays, as pods may still be on it. None if unknown."""
        row = self.index.get(name)
        if row is None or not self.alive[row]:
            return None
        self.alive[row] = False
        self.count -= 1
        self.objects[row] = None
        self.generation += 1
        self.log.append(row)
        return row

    def drop(self, row: int) -> None:
        """Give back the row of a node that is gone and holds no pods."""
        name = self.names[row]
        if name is None:
            return
        del self.index[name]
        self.names[row] = None
        self._set_labels(row, _EMPTY)
        self._set_images(row, ())
        self.allocatable[:, row] = 0
        self.requested[:, row] = 0
        self.scored[:, row] = 0
        self.pods[row] = self.pods_allowed[row] = 0
        self.taint_set[row] = 0
        self.unschedulable[row] = False
        self._free.append(row)
        self.generation += 1
        self.log.append(row)

    def _grow(self) -> None:
        grown = self.capacity * 2
        for name in ("alive", "unschedulable", "pods_allowed", "pods", "taint_set"):
            old = getattr(self, name)
            new = np.zeros(grown, old.dtype)
            new[: self.capacity] = old
            setattr(self, name, new)
        for name in ("allocatable", "requested", "scored"):
            old = getattr(self, name)
            new = np.zeros((old.shape[0], grown), old.dtype)
            new[:, : self.capacity] = old
            setattr(self, name, new)
        for key, column in self._label_columns.items():
            wider = np.full(grown, -1, np.int32)
            wider[: self.capacity] = column
            self._label_columns[key] = wider
        self.capacity = grown

    def _taints(self, listed: Any) -> int:
        taints = tuple((t.get("key") or "", t.get("value") or "", t.get("effect") or "") for t in listed)
        place = self._taint_places.get(taints)
        if place is None:
            place = self._taint_places[taints] = len(self.taint_sets)
            self.taint_sets.append(taints)
        return place

    def ensure_resources(self) -> None:
        """Give every resource a line, after new names were heard of."""
        missing = len(self.resources) - self.allocatable.shape[0]
        if missing > 0:
            extra = np.zeros((missing, self.capacity), np.int64)
            self.allocatable = np.vstack((self.allocatable, extra))
            self.requested = np.vstack((self.requested, extra))

    def _set_allocatable(self, row: int, offered: Mapping[str, Any]) -> None:
        places = [(self.resources.place(name), amount(name, text)) for name, text in offered.items() if name != "pods"]
        self.ensure_resources()
        self.allocatable[:, row] = 0
        for place, number in places:
            self.allocatable[place, row] = number
        self.pods_allowed[row] = amount("pods", offered.get("pods", 0))

    # --- labels ----------------------------------------------------------------------------

    def _value(self, text: str) -> int:
        place = self._value_places.get(text)
        if place is None:
            place = self._value_places[text] = len(self._values)
            self._values.append(text)
        return place

    def _set_labels(self, row: int, labels: Mapping[str, str]) -> None:
        self.labels[row] = labels
        for key, column in self._label_columns.items():
            value = labels.get(key)
            column[row] = -1 if value is None else self._value(value)

    def label_column(self, key: str) -> NDArray[np.int32]:
        """Interned values of one label, -1 where absent. Kept up to date from now on."""
        column = self._label_columns.get(key)
        if column is None:
            column = np.full(self.capacity, -1, np.int32)
            for row, labels in enumerate(self.labels):
                value = labels.get(key)
                if value is not None:
                    column[row] = self._value(value)
            self._label_columns[key] = column
        return column

    def domains(self, key: str) -> tuple[Ints, int]:
        """The topology domain of every row by one label, as numbers from 0, and how many domains
        there are; rows without the label, or not alive, get that number itself."""
        kept = self._domains.get(key)
        if kept is not None and kept[0] == (self.generation, self.size):
            return kept[1], kept[2]
        column = np.where(self.alive, self.label_column(key), -1)[: self.size]
        values, inverse = np.unique(column, return_inverse=True)
        absent = int(values.shape[0] > 0 and values[0] == -1)
        count = values.shape[0] - absent
        numbers: Ints = inverse.astype(np.int64) - absent
        if absent:
            numbers[numbers < 0] = count
        self._domains[key] = ((self.generation, self.size), numbers, count)
        return numbers, count

    def domain_sums(self, key: str, counts: Ints, eligible: Bools | None = None) -> Ints:
        """Sum of `counts` (per row) in each domain of a label; one place more, for no domain,
        always 0. `eligible`: rows that count at all."""
        numbers, count = self.domains(key)
        weights = counts[: self.size]
        if eligible is not None:
            weights = weights * eligible[: self.size]
        sums = np.bincount(numbers, weights=weights, minlength=count + 1).astype(np.int64)
        sums[count] = 0
        return sums

    def holding(self, requirement: NodeRequirement, rows: Rows) -> Bools:
        """Which of `rows` have a label that satisfies `requirement`."""
        column = self.label_column(requirement.key)[rows]
        operator = requirement.operator
        if operator == "Exists":
            return column >= 0
        if operator == "DoesNotExist":
            return column < 0
        if operator in ("In", "NotIn"):
            places = [self._value_places.get(v, -2) for v in requirement.values]
            found = column == places[0] if len(places) == 1 else np.isin(column, places)
            return found if operator == "In" else ~found
        values, inverse = np.unique(column, return_inverse=True)
        verdicts = [v >= 0 and requirement.holds(self._values[v]) for v in values.tolist()]
        return np.array(verdicts, np.bool_)[inverse]

    def _name_holding(self, requirement: NodeRequirement, rows: Rows) -> Bools:
        found = np.zeros(self.capacity, np.bool_)
        if requirement.key == "metadata.name":
            for name in requirement.values:
                row = self.index.get(name)
                if row is not None:
                    found[row] = True
        picked: Bools = found[rows]
        return ~picked if requirement.operator == "NotIn" else picked

    def matching_term(self, term: NodeTerm, rows: Rows) -> Bools:
        """Which of `rows` satisfy a term."""
        length = self.alive[rows].shape[0]
        if term.empty:
            return np.zeros(length, np.bool_)
        found = np.ones(length, np.bool_)
        for requirement in term.labels:
            found &= self.holding(requirement, rows)
        for requirement in term.fields:
            found &= self._name_holding(requirement, rows)
        return found

    def matching(self, selector: NodeSelector, rows: Rows) -> Bools:
        """Which of `rows` satisfy a node selector. Agrees with `NodeSelector.matches`."""
        found = np.ones(self.alive[rows].shape[0], np.bool_)
        for requirement in selector.always:
            found &= self.holding(requirement, rows)
        if selector.terms is not None:
            any_term = np.zeros(found.shape[0], np.bool_)
            for term in selector.terms:
                any_term |= self.matching_term(term, rows)
            found &= any_term
        return found

    # --- images ----------------------------------------------------------------------------

    def _set_images(self, row: int, listed: Any) -> None:
        had = self._images_of.pop(row, ())
        for name in had:
            holders = self.images[name]
            holders.pop(row, None)
            if not holders:
                del self.images[name]
        names: list[str] = []
        for image in listed:
            size = int(image.get("sizeBytes") or 0)
            for name in image.get("names") or ():
                self.images.setdefault(name, {})[row] = size
                names.append(name)
        if names:
            self._images_of[row] = tuple(names)
        if names or had:
            self.images_generation += 1

    # --- what pods take --------------------------------------------------------------------

    def take(self, row: int, requests: tuple[tuple[int, int], ...], cpu: int, memory: int, sign: int) -> None:
        """A pod comes (`sign` 1) or goes (-1)."""
        requested = self.requested
        for place, number in requests:
            if place >= requested.shape[0]:
                self.ensure_resources()
                requested = self.requested
            requested[place, row] += sign * number
        self.scored[0, row] += sign * cpu
        self.scored[1, row] += sign * memory
        self.pods[row] += sign
        self.log.append(row)

    def trim_log(self, keep: int = 50_000) -> None:
        """Bound the log; who has not caught up for so long must start afresh."""
        extra = len(self.log) - keep
        if extra > keep:
            del self.log[:extra]
            self.log_start += extra


def _same_for_us(old: Object, new: Object) -> bool:
    """Whether two versions of a node differ in nothing that places pods: a heartbeat."""
    if old is new:
        return True
    for part, names in (
        ("metadata", ("labels",)),
        ("spec", ("unschedulable", "taints")),
        ("status", ("allocatable", "images", "capacity")),
    ):
        was, now = old.get(part) or _EMPTY, new.get(part) or _EMPTY
        for name in names:
            if was.get(name) != now.get(name):
                return False
    return True
