"""Whether a pod may run on a node, as far as a DaemonSet asks: name, selector, affinity, taints.

Pure functions. The scheduler has its own, faster ones; they mean the same.
https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protocol.objects import Object, labels, name, spec

__all__ = ["matches_affinity", "tolerates", "untolerated_taint"]


def matches_affinity(pod_spec: Object, node: Object) -> bool:
    """Whether node selector and required node affinity select the node."""
    found = labels(node)
    for key, value in (pod_spec.get("nodeSelector") or {}).items():
        if found.get(key) != value:
            return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def _term_matches(term: Object, node: Object) -> bool:
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return False  # an empty term selects nothing
    return all(_requirement(e, labels(node)) for e in expressions) and all(
        _requirement(f, {"metadata.name": name(node)}) for f in fields
    )


def _requirement(expression: Object, found: Mapping[str, str]) -> bool:
    value = found.get(expression.get("key", ""))
    values = expression.get("values") or []
    operator = expression.get("operator")
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value is None or value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    try:
        number, bound = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return number > bound if operator == "Gt" else number < bound


def tolerates(tolerations: Iterable[Object], taint: Object) -> bool:
    """Whether one of the tolerations tolerates the taint."""
    for toleration in tolerations:
        effect = toleration.get("effect")
        if effect and effect != taint.get("effect"):
            continue
        key = toleration.get("key")
        if key and key != taint.get("key"):
            continue
        operator = toleration.get("operator") or "Equal"
        if operator == "Exists":
            return True
        if key and operator == "Equal":
            if (toleration.get("value") or "") == (taint.get("value") or ""):
                return True
    return False


def untolerated_taint(
    node: Object, tolerations: Iterable[Object], effects: tuple[str, ...]
) -> Object | None:
    """The first taint with one of the effects that no toleration tolerates."""
    known = list(tolerations)
    for taint in spec(node).get("taints") or ():
        if taint.get("effect") in effects and not tolerates(known, taint):
            return taint
    return None
