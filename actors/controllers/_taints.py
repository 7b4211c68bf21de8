"""Taints and tolerations: which match, and changing a node's taints.

Owns the matching rules and the one careful write of `spec.taints` that several controllers need.
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.client import Client, StatusError
from protocol.objects import Object, resource_version, spec

__all__ = [
    "NOT_READY",
    "UNREACHABLE",
    "by_node",
    "change_taints",
    "has_taint",
    "matching_tolerations",
    "no_execute",
    "tolerates",
]

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
ATTEMPTS = 5

Key = tuple[str, str]  # key, effect


def by_node(pod: Object) -> tuple[str, ...]:
    """Index function: the node that a pod is assigned to."""
    return (spec(pod).get("nodeName") or "",)


def key_of(taint: Object) -> Key:
    """What makes two taints the same one: key and effect."""
    return taint.get("key", ""), taint.get("effect", "")


def has_taint(node: Object, key: str, effect: str) -> bool:
    return any(key_of(t) == (key, effect) for t in spec(node).get("taints") or ())


def no_execute(node: Object) -> list[Object]:
    return [t for t in spec(node).get("taints") or () if t.get("effect") == "NoExecute"]


def tolerates(toleration: Object, taint: Object) -> bool:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    if operator == "Equal":
        return bool(toleration.get("value", "") == taint.get("value", ""))
    return _compares(operator, toleration.get("value", ""), taint.get("value", ""))


def _compares(operator: str, wanted: str, found: str) -> bool:
    """Lt and Gt compare whole numbers (KEP-5471)."""
    try:
        left, right = int(found), int(wanted)
    except ValueError:
        return False
    return left < right if operator == "Lt" else operator == "Gt" and left > right


def matching_tolerations(taints: Iterable[Object], tolerations: Iterable[Object]) -> list[Object] | None:
    """The toleration used for each taint, or None if one taint is not tolerated."""
    known = list(tolerations)
    used = []
    for taint in taints:
        match = next((t for t in known if tolerates(t, taint)), None)
        if match is None:
            return None
        used.append(match)
    return used


async def change_taints(client: Client, name: str, add: Iterable[Object], remove: Iterable[Key]) -> bool:
    """Add taints to a node and take others off, in one write on its newest state. False if there
    was nothing to do. Raises `StatusError`; a node that is gone is no error."""
    wanted = {key_of(t): t for t in add}
    unwanted = set(remove)
    for attempt in range(ATTEMPTS):
        try:
            node = await client.get("nodes", name)
        except StatusError as error:
            if error.code == 404:
                return False
            raise
        present = spec(node).get("taints") or []
        kept = [t for t in present if key_of(t) not in unwanted]
        have = {key_of(t): t.get("value", "") for t in kept}
        missing = [t for k, t in wanted.items() if have.get(k) != t.get("value", "")]
        if len(kept) == len(present) and not missing:
            return False
        replaced = {key_of(t) for t in missing}
        taints = [*(t for t in kept if key_of(t) not in replaced), *missing]
        body = {"metadata": {"resourceVersion": resource_version(node)}, "spec": {"taints": taints or None}}
        try:
            await client.patch("nodes", name, "", body)
            return True
        except StatusError as error:
            if error.code == 404:
                return False
            if error.code != 409 or attempt == ATTEMPTS - 1:
                raise
    return False
