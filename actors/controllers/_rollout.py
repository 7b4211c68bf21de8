"""The arithmetic of rolling a Deployment out: how many pods of which ReplicaSet.

Pure functions on Deployments and ReplicaSets. They write nothing and know no clock.
https://kubernetes.io/docs/concepts/workloads/controllers/deployment/ , upstream's
`pkg/controller/deployment/util`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from protocol.objects import Object, deleting, metadata, name, spec, status, uid
from protocol.objects import annotations as annotations_of

__all__ = [
    "DESIRED",
    "HISTORY",
    "MAX",
    "REVISION",
    "active",
    "active_or_latest",
    "available_wanted",
    "by_creation",
    "cleanable",
    "desired_annotation",
    "is_rolling",
    "is_saturated",
    "max_revision",
    "max_surge",
    "max_unavailable",
    "new_set_replicas",
    "proportion",
    "replicas",
    "resolve_fenceposts",
    "revision",
    "scaled_value",
    "shares",
    "sum_replicas",
    "sum_status",
]

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"


def replicas(obj: Object) -> int:
    """`spec.replicas`, 1 when not given."""
    wanted = spec(obj).get("replicas")
    return 1 if wanted is None else int(wanted)


def scaled_value(value: int | str | None, total: int, *, round_up: bool) -> int:
    """An int-or-percent of `total`; None counts as 0. Raises `ValueError` for other text."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise ValueError(f"invalid value for IntOrString: {value!r}")
    share = int(value[:-1]) * total / 100
    return math.ceil(share) if round_up else math.floor(share)


def is_rolling(deployment: Object) -> bool:
    """Whether its strategy is RollingUpdate."""
    strategy = spec(deployment).get("strategy") or {}
    return bool(strategy.get("type", "RollingUpdate") == "RollingUpdate")


def resolve_fenceposts(deployment: Object) -> tuple[int, int]:
    """(surge, unavailable) as numbers. Surge rounds up, unavailable down; where both come to zero
    nothing could move, so one may be unavailable."""
    rolling = (spec(deployment).get("strategy") or {}).get("rollingUpdate") or {}
    wanted = replicas(deployment)
    surge = scaled_value(rolling.get("maxSurge"), wanted, round_up=True)
    unavailable = scaled_value(rolling.get("maxUnavailable"), wanted, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, unavailable


def max_surge(deployment: Object) -> int:
    """How many pods there may be beyond `spec.replicas`."""
    return resolve_fenceposts(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: Object) -> int:
    """How many of `spec.replicas` may be unavailable."""
    wanted = replicas(deployment)
    if not is_rolling(deployment) or wanted == 0:
        return 0
    return min(resolve_fenceposts(deployment)[1], wanted)


# --- sets of ReplicaSets ------------------------------------------------------------------------


def active(sets: Iterable[Object | None]) -> list[Object]:
    """Those that want pods."""
    return [s for s in sets if s is not None and replicas(s) > 0]


def sum_replicas(sets: Iterable[Object | None]) -> int:
    """How many pods they want together."""
    return sum(replicas(s) for s in sets if s is not None)


def sum_status(sets: Iterable[Object | None], field: str) -> int:
    """The sum of one count of their statuses."""
    return sum(status(s).get(field) or 0 for s in sets if s is not None)


def available_wanted(sets: Iterable[Object | None]) -> int:
    """How many available pods will stay. A ReplicaSet that was just scaled down still reports what
    it had before: pods that it is about to delete are not to be reckoned with."""
    return sum(
        min(status(s).get("availableReplicas") or 0, replicas(s)) for s in sets if s is not None
    )


def by_creation(sets: Iterable[Object]) -> list[Object]:
    """Oldest first, then by name."""
    return sorted(sets, key=lambda s: (metadata(s).get("creationTimestamp") or "", name(s)))


def active_or_latest(new: Object | None, old: list[Object]) -> Object | None:
    """The only one that wants pods; if none does, the latest; if several do, None."""
    wanting = active([*old, new])
    if len(wanting) > 1:
        return None
    if wanting:
        return wanting[0]
    if new is not None:
        return new
    return by_creation(old)[-1] if old else None


def revision(obj: Object) -> int:
    """The number in the revision annotation, 0 when there is none or it is no number."""
    try:
        return int(annotations_of(obj).get(REVISION) or 0)
    except ValueError:
        return 0


def max_revision(sets: Iterable[Object]) -> int:
    return max((revision(s) for s in sets), default=0)


def desired_annotation(replica_set: Object) -> int | None:
    """The Deployment's size when the ReplicaSet was last scaled."""
    return _number(annotations_of(replica_set).get(DESIRED))


def _number(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def is_saturated(deployment: Object, replica_set: Object | None) -> bool:
    """Whether this ReplicaSet alone carries the whole Deployment."""
    if replica_set is None:
        return False
    wanted = replicas(deployment)
    return (
        desired_annotation(replica_set) == wanted
        and replicas(replica_set) == wanted
        and (status(replica_set).get("availableReplicas") or 0) == wanted
    )


def new_set_replicas(deployment: Object, sets: Iterable[Object | None], new: Object) -> int:
    """The size that the new ReplicaSet may have now."""
    wanted = replicas(deployment)
    if not is_rolling(deployment):
        return wanted
    room = wanted + max_surge(deployment) - sum_replicas(sets)
    if room <= 0:
        return replicas(new)
    return replicas(new) + min(room, wanted - replicas(new))


def proportion(replica_set: Object, deployment: Object, to_add: int, added: int) -> int:
    """How many of `to_add` pods (negative: to remove) fall to this ReplicaSet when a Deployment in
    mid-rollout is scaled, given that `added` have been shared out before."""
    if replicas(replica_set) == 0 or to_add in (0, added):
        return 0
    share = _fraction(replica_set, deployment)
    allowed = to_add - added
    return min(share, allowed) if to_add > 0 else max(share, allowed)


def _fraction(replica_set: Object, deployment: Object) -> int:
    size = replicas(replica_set)
    if replicas(deployment) == 0:
        return -size
    largest = replicas(deployment) + max_surge(deployment)
    before = _number(annotations_of(replica_set).get(MAX)) or status(deployment).get("replicas") or 0
    if before == 0:
        return 0
    return math.floor(size * largest / before + 0.5) - size


def shares(deployment: Object, sets: list[Object]) -> dict[str, int]:
    """New sizes by uid when several ReplicaSets share a Deployment that was scaled.

    Each in proportion to its size, the largest first; what rounding leaves goes to the largest.
    """
    wanted = replicas(deployment)
    allowed = wanted + max_surge(deployment) if wanted > 0 else 0
    to_add = allowed - sum_replicas(sets)
    ordered = by_creation(sets)
    if to_add > 0:
        ordered.reverse()  # growing favours the newer of equals, shrinking spares it
    ordered.sort(key=replicas, reverse=True)
    sizes: dict[str, int] = {}
    added = 0
    for replica_set in ordered:
        share = proportion(replica_set, deployment, to_add, added)
        sizes[uid(replica_set)] = replicas(replica_set) + share
        added += share
    if ordered and to_add != 0:
        first = uid(ordered[0])
        sizes[first] = max(0, sizes[first] + to_add - added)
    return sizes


def cleanable(old: Iterable[Object], limit: int) -> list[Object]:
    """The old ReplicaSets beyond the history limit that hold nothing, by revision."""
    alive = [s for s in old if not deleting(s)]
    surplus = len(alive) - limit
    if surplus <= 0:
        return []
    alive.sort(key=lambda s: (revision(s), metadata(s).get("creationTimestamp") or "", name(s)))
    return [s for s in alive[:surplus] if _is_spent(s)]


def _is_spent(replica_set: Object) -> bool:
    current = status(replica_set)
    generation = metadata(replica_set).get("generation") or 0
    return (
        not current.get("replicas")
        and replicas(replica_set) == 0
        and generation <= (current.get("observedGeneration") or 0)
    )
