"""What a Deployment's status says: counts, and the conditions Available, Progressing, ReplicaFailure.

Pure functions from what is to what should be reported; times come in as arguments. Texts and
reasons are upstream's.
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.controllers._pods import epoch
from actors.controllers._rollout import max_unavailable, replicas, sum_replicas, sum_status
from protocol.objects import Object, find_condition, metadata, name, remove_condition, spec, status

__all__ = [
    "complete",
    "counts",
    "has_deadline",
    "new_condition",
    "put_condition",
    "rollout_status",
]

NO_LIMIT = 2**31 - 1
AVAILABLE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"


def has_deadline(deployment: Object) -> bool:
    """Whether progress is to be estimated at all."""
    return spec(deployment).get("progressDeadlineSeconds") not in (None, NO_LIMIT)


def new_condition(kind: str, state: str, reason: str, message: str, now: str) -> Object:
    return {
        "type": kind,
        "status": state,
        "lastUpdateTime": now,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }


def put_condition(conditions: list[Object], entry: Object) -> None:
    """Set a condition; one of the same status and reason stays as it is, text included."""
    current = find_condition(conditions, entry["type"])
    if current is not None and current.get("status") == entry["status"]:
        if current.get("reason") == entry["reason"]:
            return
        entry = {**entry, "lastTransitionTime": current.get("lastTransitionTime")}
    remove_condition(conditions, entry["type"])
    conditions.append(entry)


def counts(
    deployment: Object, sets: list[Object | None], new: Object | None, now: str
) -> Object:
    """The status without judgement of progress: counts and the condition Available."""
    available = sum_status(sets, "availableReplicas")
    numbers = {
        "observedGeneration": metadata(deployment).get("generation") or 0,
        "replicas": sum_status(sets, "replicas"),
        "updatedReplicas": sum_status([new], "replicas"),
        "readyReplicas": sum_status(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum_replicas(sets) - available),
    }
    found: Object = {field: n for field, n in numbers.items() if n}
    terminating = _terminating(sets)
    if terminating is not None:
        found["terminatingReplicas"] = terminating
    old = status(deployment)
    if "collisionCount" in old:
        found["collisionCount"] = old["collisionCount"]
    conditions: list[Object] = list(old.get("conditions") or ())
    if available >= replicas(deployment) - max_unavailable(deployment):
        entry = new_condition(
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
            now,
        )
    else:
        entry = new_condition(
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
            now,
        )
    put_condition(conditions, entry)
    found["conditions"] = conditions
    return found


def _terminating(sets: Iterable[Object | None]) -> int | None:
    """The sum, or None while one of them does not say."""
    total = 0
    for replica_set in sets:
        if replica_set is None:
            continue
        current = status(replica_set)
        if "terminatingReplicas" in current:
            total += current["terminatingReplicas"]
        elif current.get("observedGeneration"):
            return None
    return total


def complete(deployment: Object, current: Object) -> bool:
    """Whether all pods are of the new template and available, and no others are left."""
    wanted = replicas(deployment)
    return (
        (current.get("updatedReplicas") or 0) == wanted
        and (current.get("replicas") or 0) == wanted
        and (current.get("availableReplicas") or 0) == wanted
        and (current.get("observedGeneration") or 0) >= (metadata(deployment).get("generation") or 0)
    )


def _progressing(deployment: Object, new: Object) -> bool:
    """Whether anything has moved in the right direction since the last status."""
    old = status(deployment)

    def of(current: Object, field: str) -> int:
        return int(current.get(field) or 0)

    def outdated(current: Object) -> int:
        return of(current, "replicas") - of(current, "updatedReplicas")

    return (
        of(new, "updatedReplicas") > of(old, "updatedReplicas")
        or outdated(new) < outdated(old)
        or of(new, "readyReplicas") > of(old, "readyReplicas")
        or of(new, "availableReplicas") > of(old, "availableReplicas")
    )


def _timed_out(deployment: Object, conditions: list[Object], now: float) -> bool:
    entry = find_condition(conditions, "Progressing")
    if entry is None or entry.get("reason") == AVAILABLE:
        return False
    if entry.get("reason") == TIMED_OUT:
        return True
    return epoch(entry["lastUpdateTime"]) + spec(deployment)["progressDeadlineSeconds"] < now


def rollout_status(
    deployment: Object, sets: list[Object | None], new: Object | None, now: str
) -> Object:
    """The status during a rollout: counts, and whether it progresses."""
    found = counts(deployment, sets, new, now)
    conditions: list[Object] = found["conditions"]
    current = find_condition(status(deployment).get("conditions"), "Progressing")
    finished = (
        found.get("replicas", 0) == found.get("updatedReplicas", 0)
        and current is not None
        and current.get("reason") == AVAILABLE
    )
    if not has_deadline(deployment):
        remove_condition(conditions, "Progressing")
    elif not finished:
        _judge(deployment, found, new, current, now)
    failures = _failures(sets, new)
    if failures:
        put_condition(conditions, failures[0])
    else:
        remove_condition(conditions, "ReplicaFailure")
    return found


def _judge(
    deployment: Object, found: Object, new: Object | None, current: Object | None, now: str
) -> None:
    conditions: list[Object] = found["conditions"]
    what = f'ReplicaSet "{name(new)}"' if new is not None else f'Deployment "{name(deployment)}"'
    if complete(deployment, found):
        message = f"{what} has successfully progressed."
        put_condition(conditions, new_condition("Progressing", "True", AVAILABLE, message, now))
    elif _progressing(deployment, found):
        message = f"{what} is progressing."
        entry = new_condition("Progressing", "True", "ReplicaSetUpdated", message, now)
        if current is not None and current.get("status") == "True":
            entry["lastTransitionTime"] = current.get("lastTransitionTime")
        remove_condition(conditions, "Progressing")  # so that lastUpdateTime moves on
        conditions.append(entry)
    elif _timed_out(deployment, conditions, epoch(now)):
        message = f"{what} has timed out progressing."
        put_condition(conditions, new_condition("Progressing", "False", TIMED_OUT, message, now))


def _failures(sets: Iterable[Object | None], new: Object | None) -> list[Object]:
    """What ReplicaSets say went wrong, the new one's first, as conditions of the Deployment."""
    for group in ([new], sets):
        found = [
            {
                "type": "ReplicaFailure",
                "status": entry.get("status"),
                "lastUpdateTime": entry.get("lastTransitionTime"),
                "lastTransitionTime": entry.get("lastTransitionTime"),
                "reason": entry.get("reason", ""),
                "message": entry.get("message", ""),
            }
            for replica_set in group
            if replica_set is not None
            for entry in status(replica_set).get("conditions") or ()
            if entry.get("type") == "ReplicaFailure"
        ]
        if found:
            return found
    return []
