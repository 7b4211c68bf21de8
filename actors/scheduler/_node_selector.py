"""Selectors over nodes: `nodeSelector`, node affinity terms, a volume's node affinity.

Owns compiled, hashable forms of them and their evaluation against one node's labels. Evaluation
over all nodes at once is `_nodes.NodeTable.matching`, which reads the same compiled form.
https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

__all__ = ["NodeRequirement", "NodeSelector", "NodeTerm", "compile_required", "compile_term"]


class NodeRequirement(NamedTuple):
    """One condition on a node. `operator`: In, NotIn, Exists, DoesNotExist, Gt, Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, found: str | None) -> bool:
        """Whether a value (None: there is none) satisfies this."""
        operator = self.operator
        if operator == "In":
            return found is not None and found in self.values
        if operator == "NotIn":
            return found is None or found not in self.values
        if operator == "Exists":
            return found is not None
        if operator == "DoesNotExist":
            return found is None
        if found is None or len(self.values) != 1:
            return False
        try:
            number, bound = int(found), int(self.values[0])
        except ValueError:
            return False
        return number > bound if operator == "Gt" else number < bound


class NodeTerm(NamedTuple):
    """Conditions on labels and on `metadata.name`; all must hold. Empty matches no node."""

    labels: tuple[NodeRequirement, ...] = ()
    fields: tuple[NodeRequirement, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.labels and not self.fields

    def matches(self, node_labels: Mapping[str, str], node_name: str) -> bool:
        if self.empty:
            return False
        return all(r.holds(node_labels.get(r.key)) for r in self.labels) and all(
            r.holds(node_name if r.key == "metadata.name" else None) for r in self.fields
        )


class NodeSelector(NamedTuple):
    """`always` must hold, and one of `terms` where `terms` is not None."""

    always: tuple[NodeRequirement, ...] = ()
    terms: tuple[NodeTerm, ...] | None = None

    def matches(self, node_labels: Mapping[str, str], node_name: str) -> bool:
        if not all(r.holds(node_labels.get(r.key)) for r in self.always):
            return False
        return self.terms is None or any(t.matches(node_labels, node_name) for t in self.terms)

    def names(self) -> frozenset[str] | None:
        """The only nodes that can match, when every term pins `metadata.name`; else None."""
        if not self.terms:
            return None
        found: set[str] = set()
        for term in self.terms:
            pinned: set[str] | None = None
            for requirement in term.fields:
                if requirement.key == "metadata.name" and requirement.operator == "In":
                    values = set(requirement.values)
                    pinned = values if pinned is None else pinned & values
            if pinned is None:
                return None
            found |= pinned
        return frozenset(found)


def _requirements(listed: Iterable[Mapping[str, Any]] | None) -> tuple[NodeRequirement, ...]:
    return tuple(
        NodeRequirement(e.get("key", ""), e.get("operator", ""), tuple(e.get("values") or ())) for e in listed or ()
    )


def compile_term(term: Mapping[str, Any] | None) -> NodeTerm:
    """A NodeSelectorTerm."""
    term = term or {}
    return NodeTerm(_requirements(term.get("matchExpressions")), _requirements(term.get("matchFields")))


def compile_required(
    node_selector: Mapping[str, str] | None, required: Mapping[str, Any] | None
) -> NodeSelector | None:
    """A pod's `nodeSelector` and required node affinity together; None when it has neither."""
    always = tuple(NodeRequirement(k, "In", (v,)) for k, v in sorted((node_selector or {}).items()))
    if required is None:
        return NodeSelector(always) if always else None
    terms = tuple(compile_term(t) for t in required.get("nodeSelectorTerms") or ())
    return NodeSelector(always, terms)
