"""Eviction: which pod has to go when the node's memory runs out.

Owns the order of upstream's `pkg/kubelet/eviction`: first those that use more than they requested,
among them the lowest priority, then the largest excess; and the words of the eviction. Pure.
https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from actors.kubelet._spec import is_deleting, is_terminal, pod_requests
from protocol.cri import ContainerStats
from protocol.quantity import BINARY, format_quantity, parse_quantity

__all__ = ["Usage", "eviction_message", "memory_by_pod", "victims"]

Object = dict[str, Any]


class Usage(NamedTuple):
    """A pod's memory: its own, and by container, in bytes."""

    total: int
    containers: Mapping[str, int]


def memory_by_pod(stats: Iterable[ContainerStats]) -> dict[str, Usage]:
    """Working sets summed by pod uid."""
    found: dict[str, dict[str, int]] = {}
    for entry in stats:
        found.setdefault(entry.pod_uid, {})[entry.name] = entry.memory_working_set_bytes
    return {uid: Usage(sum(containers.values()), containers) for uid, containers in found.items()}


def victims(pods: Mapping[str, Object], usage: Mapping[str, Usage]) -> list[Object]:
    """The pods that may be evicted, the first to go first. Critical pods are spared."""
    ranked = []
    for uid, used in usage.items():
        pod = pods.get(uid)
        if (
            pod is None
            or is_deleting(pod)
            or is_terminal(pod)
            or int(pod["spec"].get("priority") or 0) >= 2_000_000_000
        ):
            continue
        excess = used.total - int(pod_requests(pod).get("memory", parse_quantity("0")))
        ranked.append((excess <= 0, int(pod["spec"].get("priority") or 0), -excess, uid, pod))
    ranked.sort(key=lambda entry: entry[:4])
    return [entry[4] for entry in ranked]


def _shown(count: int) -> str:
    """Bytes as a quantity: whole Ki at least, as upstream prints them."""
    return format_quantity(parse_quantity(str(count // 1024 * 1024)), BINARY)


def eviction_message(pod: Object, used: Usage, threshold: int, available: int) -> str:
    """Why this pod, in upstream's words."""
    text = f"The node was low on resource: memory. Threshold quantity: {_shown(threshold)}, available: {_shown(max(0, available))}. "
    for container in pod["spec"].get("containers") or ():
        request = ((container.get("resources") or {}).get("requests") or {}).get("memory", "0")
        using = used.containers.get(container["name"], 0)
        if using > parse_quantity(str(request)):
            text += f"Container {container['name']} was using {_shown(using)}, request is {request}, has larger consumption of memory. "
    return text
