"""What controllers of pods ask of a pod, and how they make one from a template.

Pure functions on frozen objects. They know the shape of Pod and PodTemplateSpec, and no controller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any

from protocol.objects import Object, labels, metadata, name, owner_reference, status

__all__ = [
    "availability_wait_s",
    "by_owner_or_orphan",
    "condition_patch",
    "container_restarts",
    "deletion_order",
    "epoch",
    "generate_prefix",
    "is_active",
    "is_available",
    "is_finished",
    "is_ready",
    "pod_from_template",
    "ready_condition",
]

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASE_ORDER = {"Pending": 0, "Unknown": 1, "Running": 2}


@lru_cache(maxsize=16384)
def epoch(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time, with or without fraction."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def by_owner_or_orphan(pod: Object) -> tuple[str, ...]:
    """Index function: the managing owner's uid, or `orphan/<namespace>` if there is none."""
    meta = pod["metadata"]
    for reference in meta.get("ownerReferences") or ():
        if reference.get("controller"):
            return (reference.get("uid", ""),)
    return (f"orphan/{meta.get('namespace', '')}",)


def is_finished(pod: Object) -> bool:
    """Whether all of its containers have ended for good."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Neither finished nor being deleted."""
    return not is_finished(pod) and not pod["metadata"].get("deletionTimestamp")


def condition_patch(pod: Object, entry: Object) -> Object:
    """A strategic merge patch of a pod's status that sets one condition; a new one becomes the last.
    It is refused when the pod is another by now."""
    types = [c.get("type") for c in (pod.get("status") or {}).get("conditions") or ()]
    if entry["type"] not in types:
        types.append(entry["type"])
    change = {"$setElementOrder/conditions": [{"type": kind} for kind in types], "conditions": [entry]}
    return {"metadata": {"uid": pod["metadata"]["uid"]}, "status": change}


def ready_condition(pod: Object) -> Object | None:
    for entry in (pod.get("status") or {}).get("conditions") or ():
        if entry.get("type") == "Ready":
            return entry
    return None


def is_ready(pod: Object) -> bool:
    """Whether its condition Ready is True."""
    found = ready_condition(pod)
    return found is not None and found.get("status") == "True"


def is_available(pod: Object, min_ready_s: int, now: float) -> bool:
    """Whether it has been ready for `min_ready_s` seconds; `now` in seconds since the epoch."""
    found = ready_condition(pod)
    if found is None or found.get("status") != "True":
        return False
    if not min_ready_s:
        return True
    since = found.get("lastTransitionTime")
    return bool(since) and epoch(since) + min_ready_s <= now


def availability_wait_s(pods: Iterable[Object], min_ready_s: int, now: float) -> float | None:
    """In how many seconds the next of these pods becomes available, if one is on the way."""
    waits = []
    if min_ready_s:
        for pod in pods:
            found = ready_condition(pod)
            if found is not None and found.get("status") == "True":
                since = found.get("lastTransitionTime")
                wait_s = epoch(since) + min_ready_s - now if since else min_ready_s
                if wait_s > 0:
                    waits.append(wait_s)
    return min(waits) if waits else None


def container_restarts(pod: Object) -> int:
    """The largest restart count among its containers, sidecars included."""
    current = status(pod)
    found = [c.get("restartCount", 0) for c in current.get("containerStatuses") or ()]
    sidecars = {
        c["name"]
        for c in (pod.get("spec") or {}).get("initContainers") or ()
        if c.get("restartPolicy") == "Always"
    }
    for entry in current.get("initContainerStatuses") or ():
        if entry.get("name") in sidecars:
            found.append(entry.get("restartCount", 0))
    return max(found, default=0)


def _age_class(since: str | None, now: float) -> int:
    """Ages that differ by less than a factor of two count as equal when pods are to go."""
    age_ns = (now - epoch(since)) * 1e9 if since else 0.0
    return int(math.log2(age_ns)) if age_ns >= 1.0 else -1


def _deletion_cost(pod: Object) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(DELETION_COST)
    try:
        return int(text) if text else 0
    except ValueError:
        return 0


def deletion_order(
    pods: Iterable[Object], related_on_node: Callable[[str], int], now: float
) -> list[Object]:
    """`pods`, those that a ReplicaSet should do without first at the front.

    Not assigned before assigned, pending before unknown before running, not ready before ready,
    lower deletion cost, more related pods on the same node, ready for a shorter time, more
    restarts, younger (times compared by their logarithm, then by uid).
    https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset
    """

    def rank(pod: Object) -> tuple[Any, ...]:
        node = (pod.get("spec") or {}).get("nodeName") or ""
        phase = (pod.get("status") or {}).get("phase", "Pending")
        ready = ready_condition(pod)
        is_up = ready is not None and ready.get("status") == "True"
        # A pod without a time to compare ranks before those that have one.
        ready_for = _age_class(ready.get("lastTransitionTime"), now) if ready and is_up else 0
        return (
            bool(node),
            _PHASE_ORDER.get(phase, 2),
            is_up,
            _deletion_cost(pod),
            -related_on_node(node) if node else 0,
            ready_for,
            -container_restarts(pod),
            _age_class(pod["metadata"].get("creationTimestamp"), now),
            pod["metadata"].get("uid", ""),
        )

    return sorted(pods, key=rank)


def generate_prefix(owner_name: str) -> str:
    """What names of an owner's pods begin with."""
    return f"{owner_name}-"


def pod_from_template(template: Object, owner: Object) -> Object:
    """A pod as `template` says, owned by `owner`, to be named by the API server.

    Its spec is the template's own, by reference: the result is frozen.
    """
    of = metadata(template)
    meta: Object = {
        "generateName": generate_prefix(name(owner)),
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [owner_reference(owner)],
    }
    for field in ("labels", "annotations"):
        if of.get(field):
            meta[field] = dict(of[field])
    if of.get("finalizers"):
        meta["finalizers"] = list(of["finalizers"])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": template.get("spec") or {},
    }


def matches_labels(pod: Object, wanted: dict[str, str]) -> bool:
    """Whether the pod carries all of these labels."""
    found = labels(pod)
    return all(found.get(k) == v for k, v in wanted.items())
