"""How many pods of some kind are on each node, kept up to date as pods come and go.

Two questions recur for every pod with spreading or affinity: on which nodes are how many pods that
*my* selector means (`Tally`), and which pods already placed have terms that mean *me* and where are
they (`TermGroup`). Both are arrays over node rows, changed in constant time per pod, because pods
with equal labels share a `LabelClass` that knows which tallies count it.

Owns no pods and no nodes; `_cache` drives it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.scheduler._pods import AffinityTerm, PodClass

__all__ = ["LabelClass", "Tallies", "Tally", "TermGroup"]

Counts = NDArray[np.int64]
Matcher = Callable[["LabelClass"], bool]

MAX_TALLIES = 512
"""Tallies kept; the least recently asked for goes first. It is rebuilt when asked for again."""


class LabelClass:
    """Pods of one namespace with equal labels, dying or not; `rows` counts them per node row."""

    __slots__ = ("labels", "listed", "namespace", "rows", "tallies", "terminating")

    def __init__(self, namespace: str, labels: Mapping[str, str], terminating: bool) -> None:
        self.listed = True
        """Whether new tallies will find it; those without pods are taken off the list in time."""
        self.namespace = namespace
        self.labels = labels
        self.terminating = terminating
        self.rows: dict[int, int] = {}
        self.tallies: list[Tally] = []


class Tally:
    """Counts per node row of the pods that `matcher` means."""

    __slots__ = ("counts", "matcher", "namespace_labels", "total", "version")

    def __init__(self, capacity: int, matcher: Matcher, namespace_labels: bool) -> None:
        self.counts: Counts = np.zeros(capacity, np.int64)
        self.matcher = matcher
        self.namespace_labels = namespace_labels
        self.total = 0
        self.version = 0

    def add(self, row: int, number: int) -> None:
        if row >= self.counts.shape[0]:
            wider = np.zeros(max(row + 1, 2 * self.counts.shape[0]), np.int64)
            wider[: self.counts.shape[0]] = self.counts
            self.counts = wider
        self.counts[row] += number
        self.total += number
        self.version += 1


class TermGroup:
    """Placed pods that bear one and the same affinity term; `counts` per node row.

    `kind`: "required", "anti" or "preferred".
    """

    __slots__ = ("kind", "listed", "matched", "tally", "term")

    def __init__(self, capacity: int, kind: str, term: AffinityTerm) -> None:
        self.listed = True
        self.kind = kind
        self.term = term
        self.tally = Tally(capacity, lambda _: False, False)
        self.matched: dict[int, bool] = {}
        """Whether the term means the pods of a class, by the class's index."""


class Tallies:
    """All label classes, tallies and term groups of one cluster."""

    def __init__(self, limit: int = 20_000) -> None:
        self.limit = limit
        """Label classes (and groups) that may be listed before those without pods are dropped."""
        self._classes: dict[tuple[str, tuple[tuple[str, str], ...], bool], LabelClass] = {}
        self._tallies: dict[Hashable, Tally] = {}
        self.groups: dict[tuple[str, AffinityTerm], TermGroup] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.groups_version = 0
        """Changes when a group comes or goes or a namespace's labels change."""

    # --- pods ------------------------------------------------------------------------------

    def label_class(self, cls: PodClass, terminating: bool) -> LabelClass:
        """The label class of a pod's class."""
        memo_key = ("labels", terminating)
        found: LabelClass | None = cls.memo.get(memo_key)
        if found is None or not found.listed:
            key = (cls.namespace, tuple(sorted(cls.labels.items())), terminating)
            found = self._classes.get(key)
            if found is None:
                if len(self._classes) >= self.limit:
                    self._forget_unused()
                found = self._classes[key] = LabelClass(cls.namespace, cls.labels, terminating)
                found.tallies = [t for t in self._tallies.values() if t.matcher(found)]
            cls.memo[memo_key] = found
        return found

    def add(self, cls: PodClass, terminating: bool, row: int, number: int, capacity: int) -> None:
        """A pod comes to (1) or leaves (-1) a node row."""
        labels = self.label_class(cls, terminating)
        now = labels.rows.get(row, 0) + number
        if now:
            labels.rows[row] = now
        else:
            labels.rows.pop(row, None)
        for tally in labels.tallies:
            tally.add(row, number)
        if cls.affinity or cls.anti_affinity or cls.preferred_affinity:
            for group in self._groups_of(cls, capacity):
                before = group.tally.total
                group.tally.add(row, number)
                if not before or not group.tally.total:
                    self.groups_version += 1

    def _groups_of(self, cls: PodClass, capacity: int) -> list[TermGroup]:
        found: list[TermGroup] | None = cls.memo.get("groups")
        if found is None or not all(g.listed for g in found):
            found = []
            for kind, terms in (
                ("required", cls.affinity),
                ("anti", cls.anti_affinity),
                ("preferred", cls.preferred_affinity),
            ):
                for term in terms:
                    group = self.groups.get((kind, term))
                    if group is None:
                        if len(self.groups) >= self.limit:
                            self._forget_groups()
                        group = self.groups[(kind, term)] = TermGroup(capacity, kind, term)
                        self.groups_version += 1
                    found.append(group)
            cls.memo["groups"] = found
        return found

    def _forget_unused(self) -> None:
        """Take label classes without pods off the list; they come back when a pod does."""
        for labels in self._classes.values():
            labels.listed = bool(labels.rows)
        self._classes = {k: c for k, c in self._classes.items() if c.listed}
        self.limit = max(self.limit, 2 * len(self._classes))

    def _forget_groups(self) -> None:
        for group in self.groups.values():
            group.listed = group.tally.total > 0
        self.groups = {k: g for k, g in self.groups.items() if g.listed}
        self.limit = max(self.limit, 2 * len(self.groups))

    # --- tallies ---------------------------------------------------------------------------

    def tally(self, key: Hashable, matcher: Matcher, capacity: int, namespace_labels: bool = False) -> Tally:
        """The tally under `key`, counted now if it is not kept. `namespace_labels`: whether the
        matcher looks at the labels of namespaces, so that their change makes it void."""
        found = self._tallies.pop(key, None)
        if found is None:
            found = Tally(capacity, matcher, namespace_labels)
            for labels in self._classes.values():
                if matcher(labels):
                    labels.tallies.append(found)
                    for row, number in labels.rows.items():
                        found.add(row, number)
            if len(self._tallies) >= MAX_TALLIES:
                self._forget(next(iter(self._tallies)))
        self._tallies[key] = found
        return found

    def _forget(self, key: Hashable) -> None:
        tally = self._tallies.pop(key)
        for labels in self._classes.values():
            if tally in labels.tallies:
                labels.tallies.remove(tally)

    # --- namespaces ------------------------------------------------------------------------

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """Labels of a namespace; empty when it was not seen (yet)."""
        return self.namespaces.get(name, {})

    def put_namespace(self, name: str, labels: Mapping[str, str] | None) -> bool:
        """A namespace's labels are these now (None: it is gone). Whether that changed anything."""
        if self.namespaces.get(name) == labels:
            return False
        if labels is None:
            self.namespaces.pop(name, None)
        else:
            self.namespaces[name] = labels
        for key in [k for k, t in self._tallies.items() if t.namespace_labels]:
            self._forget(key)
        for group in self.groups.values():
            group.matched.clear()
        self.groups_version += 1
        return True

    def groups_meaning(self, cls: PodClass) -> list[TermGroup]:
        """Groups with pods whose term means pods of this class."""
        memo: Any = cls.memo.get("meant")
        if memo is not None and memo[0] == self.groups_version:
            found: list[TermGroup] = memo[1]
            return found
        found = []
        labels = self.namespace_labels(cls.namespace)
        for group in self.groups.values():
            if not group.tally.total:
                continue
            verdict = group.matched.get(cls.index)
            if verdict is None:
                verdict = group.term.matches(cls.namespace, cls.labels, labels)
                if len(group.matched) >= self.limit:
                    group.matched.clear()
                group.matched[cls.index] = verdict
            if verdict:
                found.append(group)
        cls.memo["meant"] = (self.groups_version, found)
        return found
