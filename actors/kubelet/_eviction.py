"""Eviction: which pod has to go when memory, disk or process numbers of the node run out.

Owns thresholds, the order of upstream's `pkg/kubelet/eviction` (those that use more than they requested
first, among them the lowest priority, then the largest excess) and the words of evictions. Pure.
https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from actors.kubelet._spec import is_deleting, is_terminal, pod_requests
from protocol.cri import ContainerStats
from protocol.quantity import BINARY, DECIMAL, format_quantity, parse_quantity, value

__all__ = [
    "SIGNALS",
    "STORAGE",
    "Shortage",
    "Use",
    "capacities",
    "eviction_message",
    "over_limit",
    "shortages",
    "use_by_pod",
    "victims",
]

Object = dict[str, Any]
CRITICAL = 2_000_000_000
STORAGE = "ephemeral-storage"
SIGNALS = {
    "memory.available": ("memory", "MemoryPressure"),
    "nodefs.available": (STORAGE, "DiskPressure"),
    "pid.available": ("pids", "PIDPressure"),
}
"""Signal: the resource that is short, and the condition that says so."""
RANK = tuple(SIGNALS)
"""Memory is relieved first, as upstream does."""

Use = Mapping[str, Mapping[str, int]]
"""By container, by resource: memory and storage in bytes, and processes."""


class Shortage(NamedTuple):
    """A threshold that is met: of `available` less than `threshold` is left."""

    signal: str
    threshold: int
    available: int

    @property
    def resource(self) -> str:
        """What is short."""
        return SIGNALS[self.signal][0]

    @property
    def condition(self) -> str:
        """The node condition that says so."""
        return SIGNALS[self.signal][1]


def use_by_pod(stats: Iterable[ContainerStats]) -> dict[str, Use]:
    """What containers use, by pod uid."""
    found: dict[str, Any] = {}
    for entry in stats:
        found.setdefault(entry.pod_uid, {})[entry.name] = {
            "memory": entry.memory_working_set_bytes,
            STORAGE: entry.writable_layer.used_bytes,
            "pids": entry.pids,
        }
    return found


def total(use: Use, resource: str) -> int:
    """A pod's use."""
    return sum(one.get(resource, 0) for one in use.values())


def capacities(capacity: Mapping[str, str], pid_max: int) -> dict[str, int]:
    """What the node has of each resource that can run short; without those that it does not tell."""
    found = {name: value(str(capacity[name])) for name in ("memory", STORAGE) if name in capacity}
    return {**found, "pids": pid_max}


def _threshold(text: str, capacity: int) -> int:
    """A quantity, or a percentage of the capacity."""
    if text.endswith("%"):
        return int(float(text[:-1]) * capacity / 100)
    return value(text)


def shortages(
    thresholds: Mapping[str, str], have: Mapping[str, int], uses: Mapping[str, Use], capacity: Mapping[str, str] = {}
) -> list[Shortage]:
    """The thresholds that are met now, those to be relieved first in front. Percentages are of the `capacity`,
    where it is more than pods can have."""
    found = []
    for signal in RANK:
        resource = SIGNALS[signal][0]
        if signal not in thresholds or resource not in have:
            continue
        available = have[resource] - sum(total(use, resource) for use in uses.values())
        whole = value(str(capacity[resource])) if resource in capacity else have[resource]
        threshold = _threshold(thresholds[signal], whole)
        if available < threshold:
            found.append(Shortage(signal, threshold, available))
    return found


def victims(pods: Mapping[str, Object], uses: Mapping[str, Use], resource: str) -> list[Object]:
    """The pods that may be evicted, the first to go first. Critical pods are spared."""
    ranked = []
    for uid, use in uses.items():
        pod = pods.get(uid)
        if pod is None or is_deleting(pod) or is_terminal(pod) or int(pod["spec"].get("priority") or 0) >= CRITICAL:
            continue
        requested = 0 if resource == "pids" else int(pod_requests(pod).get(resource, parse_quantity("0")))
        excess = total(use, resource) - requested
        ranked.append((excess <= 0, int(pod["spec"].get("priority") or 0), -excess, uid, pod))
    ranked.sort(key=lambda entry: entry[:4])
    return [entry[4] for entry in ranked]


def _shown(count: int, resource: str) -> str:
    """As a quantity: bytes in whole Ki at least, as upstream prints them."""
    if resource == "pids":
        return format_quantity(parse_quantity(str(count)), DECIMAL)
    return format_quantity(parse_quantity(str(count // 1024 * 1024)), BINARY)


def eviction_message(pod: Object, use: Use, short: Shortage) -> str:
    """Why this pod, in upstream's words."""
    resource = short.resource
    available = _shown(max(0, short.available), resource)
    text = (
        f"The node was low on resource: {resource}. "
        f"Threshold quantity: {_shown(short.threshold, resource)}, available: {available}. "
    )
    if resource == "pids":
        return text
    for container in pod["spec"].get("containers") or ():
        request = ((container.get("resources") or {}).get("requests") or {}).get(resource, "0")
        using = use.get(container["name"], {}).get(resource, 0)
        if using > parse_quantity(str(request)):
            text += (
                f"Container {container['name']} was using {_shown(using, resource)}, request is {request}, "
                f"has larger consumption of {resource}. "
            )
    return text


def over_limit(pod: Object, use: Use) -> str:
    """Which limit of ephemeral storage the pod exceeds, in upstream's words; empty if none."""
    limits = 0
    bounded = True
    for container in pod["spec"].get("containers") or ():
        limit = ((container.get("resources") or {}).get("limits") or {}).get(STORAGE)
        if limit is None:
            bounded = False
            continue
        limits += value(str(limit))
        if use.get(container["name"], {}).get(STORAGE, 0) > value(str(limit)):
            return f'Container {container["name"]} exceeded its local ephemeral storage limit "{limit}". '
    if bounded and limits and total(use, STORAGE) > limits:
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {_shown(limits, STORAGE)}. "
    return ""
