"""How far a DaemonSet is and what may be replaced now.

Pure functions on frozen objects; `by_node` holds the DaemonSet's pods by the node they are for, and
`now` is in seconds since the epoch.
https://kubernetes.io/docs/tasks/manage-daemon/update-daemon-set/
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.controllers._daemonpods import by_age, fits, is_updated, split_by_update
from actors.controllers._pods import is_available, is_ready
from protocol.objects import Object, name, spec

__all__ = ["COUNTS", "counts", "replaceable", "surging"]

COUNTS = (
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
)


def replaceable(
    daemon_set: Object, by_node: dict[str, list[Object]], code: str, limit: int, now: float
) -> list[Object]:
    """Old pods that may go now: those that are down anyway, and others up to the limit."""
    min_ready_s = spec(daemon_set).get("minReadySeconds") or 0
    down = 0
    free: list[Object] = []
    candidates: list[Object] = []
    for pods in by_node.values():
        new, old, clear = split_by_update(pods, daemon_set, code)
        if not clear or (new is None) == (old is None):
            down += 1
        elif new is not None:
            down += not is_available(new, min_ready_s, now)
        elif old is not None:
            if is_available(old, min_ready_s, now):
                candidates.append(old)
            else:
                free.append(old)
                down += 1
    return free + candidates[: max(0, limit - down)]


def surging(
    daemon_set: Object, by_node: dict[str, list[Object]], code: str, limit: int, now: float
) -> tuple[list[str], list[Object]]:
    """(nodes that get a new pod beside the old one, old pods whose replacement is available)."""
    min_ready_s = spec(daemon_set).get("minReadySeconds") or 0
    surging = 0
    free: list[str] = []
    candidates: list[str] = []
    doomed: list[Object] = []
    for node, pods in by_node.items():
        new, old, clear = split_by_update(pods, daemon_set, code)
        if not clear:
            surging += 1
        elif old is None:
            continue
        elif new is None:
            available = is_available(old, min_ready_s, now)
            (candidates if available else free).append(node)
        elif not is_available(old, min_ready_s, now):
            doomed.append(old)
        else:
            surging += 1
            if is_available(new, min_ready_s, now):
                doomed.append(old)
    return free + candidates[: max(0, limit - surging)], doomed


def counts(
    daemon_set: Object, nodes: Iterable[Object], by_node: dict[str, list[Object]], code: str, now: float
) -> Object:
    """The counts of the status: over the nodes that should run a pod, the oldest of each counts."""
    min_ready_s = spec(daemon_set).get("minReadySeconds") or 0
    new = dict.fromkeys(COUNTS, 0)
    updated = available = 0
    for node in nodes:
        pods = by_node.get(name(node))
        if not fits(daemon_set, node)[0]:
            new["numberMisscheduled"] += bool(pods)
            continue
        new["desiredNumberScheduled"] += 1
        if not pods:
            continue
        new["currentNumberScheduled"] += 1
        oldest = by_age(pods)[0]
        if is_ready(oldest):
            new["numberReady"] += 1
            available += is_available(oldest, min_ready_s, now)
        updated += is_updated(oldest, daemon_set, code)
    optional = {
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
        "numberUnavailable": new["desiredNumberScheduled"] - available,
    }
    return {**new, **{field: n for field, n in optional.items() if n}}
