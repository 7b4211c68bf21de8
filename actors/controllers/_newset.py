"""The new ReplicaSet of a Deployment: finding it, making it, and keeping revisions in order.

Owns the annotations that tie ReplicaSets to revisions. Pure functions on copies; what is written
is written by the Deployment controller.
"""

from __future__ import annotations

from actors.controllers._rollout import (
    DESIRED,
    HISTORY,
    MAX,
    REVISION,
    by_creation,
    max_surge,
    replicas,
)
from actors.controllers._templates import POD_TEMPLATE_HASH, same_template, template_hash
from protocol.objects import Object, name, namespace, owner_reference, spec, status, uid
from protocol.objects import annotations as annotations_of

__all__ = [
    "annotated",
    "find_new",
    "new_replica_set",
    "old_sets",
    "replica_annotations",
]

HISTORY_MAX_CHARS = 2000
NAME_MAX = 253
_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        HISTORY,
        DESIRED,
        MAX,
    }
)


def find_new(deployment: Object, sets: list[Object]) -> Object | None:
    """The ReplicaSet of the Deployment's present template: the oldest one, should there be two."""
    template = spec(deployment).get("template") or {}
    for replica_set in by_creation(sets):
        if same_template(spec(replica_set).get("template") or {}, template):
            return replica_set
    return None


def old_sets(sets: list[Object], new: Object | None) -> list[Object]:
    """All but the new one."""
    return [s for s in sets if new is None or uid(s) != uid(new)]


def replica_annotations(deployment: Object) -> dict[str, str]:
    """What every ReplicaSet says of its Deployment's size."""
    wanted = replicas(deployment)
    return {DESIRED: str(wanted), MAX: str(wanted + max_surge(deployment))}


def annotated(deployment: Object, replica_set: Object, new_revision: int) -> dict[str, str] | None:
    """The annotations that the new ReplicaSet should have, or None if it has them.

    The Deployment's own are copied. A revision only grows; the number that a ReplicaSet had before
    it was rolled back to is remembered in the history annotation.
    """
    current = annotations_of(replica_set)
    copied = {k: v for k, v in annotations_of(deployment).items() if k not in _NOT_COPIED}
    wanted = {**current, **copied}
    before = current.get(REVISION)
    try:
        number = int(before or 0)
    except ValueError:
        return wanted if wanted != current else None
    if number < new_revision:
        wanted[REVISION] = str(new_revision)
        if before is not None:
            wanted[HISTORY] = _extended(current.get(HISTORY, ""), before)
    return wanted if wanted != current else None


def _extended(history: str, revision: str) -> str:
    """The history with one more number, without the oldest where it would be too long."""
    numbers = [n for n in history.split(",") if n]
    numbers.append(revision)
    while len(numbers) > 1 and len(",".join(numbers)) > HISTORY_MAX_CHARS:
        numbers.pop(0)
    return ",".join(numbers)


def new_replica_set(deployment: Object, size: int, new_revision: int) -> Object:
    """The ReplicaSet to be created for the Deployment's present template."""
    of = spec(deployment)
    template = of.get("template") or {}
    code = template_hash(template, status(deployment).get("collisionCount"))
    meta = template.get("metadata") or {}
    labels = {**(meta.get("labels") or {}), POD_TEMPLATE_HASH: code}
    selector = of.get("selector") or {}
    match_labels = {**(selector.get("matchLabels") or {}), POD_TEMPLATE_HASH: code}
    fresh: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name(deployment)[: NAME_MAX - len(code) - 1]}-{code}",
            "namespace": namespace(deployment),
            "labels": labels,
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": size,
            "selector": {**selector, "matchLabels": match_labels},
            "template": {**template, "metadata": {**meta, "labels": labels}},
        },
    }
    if of.get("minReadySeconds"):
        fresh["spec"]["minReadySeconds"] = of["minReadySeconds"]
    wanted = annotated(deployment, fresh, new_revision) or {}
    fresh["metadata"]["annotations"] = {**wanted, **replica_annotations(deployment)}
    return fresh
