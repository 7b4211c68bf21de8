"""What a pod asks for, and what a node offers, as integers.

Owns the effective request of a pod: containers together, init containers one after the other,
sidecars (init containers that restart always) alongside, overhead on top, pod-level requests
instead of the sum where given, and what a kubelet says is allocated while a resize is under way.
https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers
https://kubernetes.io/docs/tasks/configure-pod-container/assign-pod-level-resources/
CPU is counted in thousandths, everything else in whole units.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from protocol.quantity import QuantityError, milli_value, value

__all__ = [
    "CPU",
    "DEFAULT_CPU_MILLI",
    "DEFAULT_MEMORY_BYTES",
    "EPHEMERAL",
    "MEMORY",
    "ResourceNames",
    "amount",
    "amounts",
    "pod_requests",
    "scoring_requests",
]

CPU, MEMORY, EPHEMERAL = 0, 1, 2
"""Places of the three resources that every node has, in `ResourceNames`."""

DEFAULT_CPU_MILLI = 100
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024
"""What a container without a request counts for when nodes are scored, so that a node does not
look as empty after a hundred such pods as before."""

_POD_LEVEL = ("cpu", "memory")
Amounts = dict[str, int]


class ResourceNames:
    """Names of resources as places in columns. Places are never given back."""

    def __init__(self) -> None:
        self.names: list[str] = ["cpu", "memory", "ephemeral-storage"]
        self._places: dict[str, int] = {n: i for i, n in enumerate(self.names)}

    def place(self, name: str) -> int:
        """The place of a resource, a new one if it was never heard of."""
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = len(self.names)
            self.names.append(name)
        return place

    def __len__(self) -> int:
        return len(self.names)


@lru_cache(maxsize=8192)
def amount(name: str, text: str | int | float) -> int:
    """A quantity as an integer in the resource's unit. An unreadable one counts as nothing: the
    API server would never have stored it."""
    try:
        return milli_value(text) if name == "cpu" else value(text)
    except QuantityError:
        return 0


def amounts(listed: Mapping[str, Any] | None) -> Amounts:
    """A ResourceList as integers."""
    return {name: amount(name, text) for name, text in (listed or {}).items()}


def _add(total: Amounts, more: Mapping[str, int]) -> None:
    for name, number in more.items():
        total[name] = total.get(name, 0) + number


def _raise_to(total: Amounts, least: Mapping[str, int]) -> None:
    for name, number in least.items():
        if number > total.get(name, 0):
            total[name] = number


def _requests_of(container: Mapping[str, Any], defaults: Mapping[str, int]) -> Amounts:
    requests = amounts((container.get("resources") or {}).get("requests"))
    for name, number in defaults.items():
        requests.setdefault(name, number)
    return requests


def _allocated(pod: Mapping[str, Any]) -> dict[str, Amounts]:
    """Per container, what its kubelet holds for it: more than the spec while a smaller size is
    not yet in force (KEP-1287)."""
    status = pod.get("status") or {}
    found: dict[str, Amounts] = {}
    for entry in status.get("containerStatuses") or ():
        held = amounts(entry.get("allocatedResources"))
        _raise_to(held, amounts((entry.get("resources") or {}).get("requests")))
        if held:
            found[entry.get("name", "")] = held
    return found


def _effective(pod: Mapping[str, Any], defaults: Mapping[str, int], allocated: Mapping[str, Amounts]) -> Amounts:
    spec = pod.get("spec") or {}
    total: Amounts = {}
    for container in spec.get("containers") or ():
        requests = _requests_of(container, defaults)
        _raise_to(requests, allocated.get(container.get("name", ""), {}))
        _add(total, requests)
    sidecars: Amounts = {}
    largest_init: Amounts = {}
    for container in spec.get("initContainers") or ():
        requests = _requests_of(container, defaults)
        if container.get("restartPolicy") == "Always":
            _add(total, requests)
            _add(sidecars, requests)
            _raise_to(largest_init, sidecars)
        else:
            _add(requests, sidecars)
            _raise_to(largest_init, requests)
    _raise_to(total, largest_init)
    level = amounts((spec.get("resources") or {}).get("requests"))
    for name, number in level.items():
        if name in _POD_LEVEL or name.startswith("hugepages-"):
            total[name] = number
    _add(total, amounts(spec.get("overhead")))
    return total


def pod_requests(pod: Mapping[str, Any]) -> Amounts:
    """What a pod takes of a node. Raises nothing; absent means zero."""
    bound = bool((pod.get("spec") or {}).get("nodeName"))
    return _effective(pod, {}, _allocated(pod) if bound else {})


_SCORING_DEFAULTS = {"cpu": DEFAULT_CPU_MILLI, "memory": DEFAULT_MEMORY_BYTES}


def scoring_requests(pod: Mapping[str, Any]) -> tuple[int, int]:
    """CPU (thousandths) and memory (bytes) that a pod counts for when nodes are scored."""
    level = (pod.get("spec") or {}).get("resources", {}).get("requests") or {}
    defaults = {n: d for n, d in _SCORING_DEFAULTS.items() if n not in level}
    found = _effective(pod, defaults, {})
    return found.get("cpu", 0), found.get("memory", 0)
