"""Requests and limits as control groups: which files a node has for a pod, with which values.

Owns the arithmetic of upstream's `pkg/kubelet/cm` and the tree

    /kubepods/pod<uid>/<container>               Guaranteed
    /kubepods/burstable/pod<uid>/<container>
    /kubepods/besteffort/pod<uid>/<container>

A request is a share of what is left over (cpu.shares, cpu.weight); a limit is time per period
(cfs quota and period, cpu.max) or a ceiling (memory). Pure: nothing is written anywhere.
https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from actors.kubelet._spec import (
    BEST_EFFORT,
    BURSTABLE,
    GUARANTEED,
    MAIN,
    SIDECAR,
    container_kinds,
    container_resources,
    pod_requests,
    qos_class,
)
from protocol.cgroups import MAX_SHARES, MIN_SHARES, cpu_weight
from protocol.cri import ContainerResources
from protocol.quantity import milli_value, parse_quantity, value

__all__ = [
    "cgroup_parent",
    "container_config_resources",
    "cpu_quota_us",
    "cpu_shares",
    "hugepage_limits",
    "oom_score_adj",
    "pod_cgroups",
    "pod_config_resources",
]

Object = dict[str, Any]
PERIOD_US = 100_000
MIN_QUOTA_US = 1_000
PAGE_BYTES = 4096
HUGEPAGES = "hugepages-"
UNLIMITED_V1 = 9_223_372_036_854_771_712
"""What an unlimited memory.limit_in_bytes reads on a machine with 4 KiB pages."""


def cpu_shares(milli_cpu: int) -> int:
    """cpu.shares of a CPU request: 1024 for each core, never below 2."""
    if milli_cpu == 0:
        return MIN_SHARES
    return max(MIN_SHARES, min(MAX_SHARES, milli_cpu * 1024 // 1000))


def cpu_quota_us(milli_cpu: int, period_us: int = PERIOD_US) -> int:
    """cpu.cfs_quota_us of a CPU limit per period; -1 (no limit) for 0, never below 1 ms."""
    if milli_cpu == 0:
        return -1
    return max(MIN_QUOTA_US, milli_cpu * period_us // 1000)


def cgroup_parent(pod: Object) -> str:
    """The pod's own group."""
    classes = {GUARANTEED: "", BURSTABLE: "/burstable", BEST_EFFORT: "/besteffort"}
    return f"/kubepods{classes[qos_class(pod)]}/pod{pod['metadata']['uid']}"


def oom_score_adj(pod: Object, container: Object, memory_capacity_bytes: int) -> int:
    """How early the kernel kills it when memory runs out: -997 (Guaranteed) to 1000 (BestEffort)."""
    qos = qos_class(pod)
    if pod["spec"].get("priorityClassName") == "system-node-critical":
        return -997
    if qos == GUARANTEED:
        return -997
    if qos == BEST_EFFORT:
        return 1000
    request = value(str(container_resources(container)[0].get("memory", "0")))
    adjust = 1000 - (1000 * request) // max(1, memory_capacity_bytes)
    return int(max(3, min(999, adjust)))


def hugepage_limits(limits: Object) -> dict[str, int]:
    """Huge pages by size, as the kernel names it (`hugepages-2Mi: 4Mi` -> `{"2MB": 4194304}`)."""
    found = {}
    for name, amount in limits.items():
        if name.startswith(HUGEPAGES):
            size = value(name.removeprefix(HUGEPAGES))
            power = max(p for p in (1, 2, 3) if size >= 1024**p or p == 1)
            found[f"{size >> (10 * power)}{('kB', 'MB', 'GB')[power - 1]}"] = value(str(amount))
    return found


def _memory_quality(request: int | None, limit: int | None, capacity: int, factor: float) -> dict[str, str]:
    """memory.min and memory.high (KEP-2570): what is kept for it, and from where on it is slowed down."""
    if not factor or not request:
        return {}
    ceiling = limit or capacity
    high = int(request + factor * (ceiling - request)) // PAGE_BYTES * PAGE_BYTES
    return {"memory.min": str(request), **({"memory.high": str(high)} if high > request else {})}


def container_config_resources(
    pod: Object, container: Object, memory_capacity_bytes: int, throttling_factor: float = 0.0
) -> ContainerResources:
    """What the runtime is told of one container. `throttling_factor`: see `KubeletConfig.memory_throttling_factor`;
    0 sets nothing of the kind."""
    if not container.get("resources"):
        return _plain(oom_score_adj(pod, container, memory_capacity_bytes))
    requests, limits = container_resources(container)
    shares = cpu_shares(milli_value(str(requests.get("cpu", "0"))))
    quota = cpu_quota_us(milli_value(str(limits["cpu"]))) if "cpu" in limits else None
    memory = value(str(limits["memory"])) if "memory" in limits else None
    request = value(str(requests["memory"])) if "memory" in requests else None
    return ContainerResources(
        shares,
        quota,
        PERIOD_US if quota is not None else None,
        memory,
        request,
        oom_score_adj(pod, container, memory_capacity_bytes),
        _memory_quality(request, memory, memory_capacity_bytes, throttling_factor),
        hugepage_limits=hugepage_limits(limits),
    )


_PLAIN: dict[int, ContainerResources] = {}


def _plain(score: int) -> ContainerResources:
    """The value that all containers without requests share."""
    return _PLAIN.setdefault(score, ContainerResources(MIN_SHARES, None, None, None, None, score))


def _pod_limit(pod: Object, resource: str) -> Decimal | None:
    """The sum of limits, None unless every container has one."""
    level = ((pod["spec"].get("resources") or {}).get("limits") or {}).get(resource)
    if level is not None:
        return parse_quantity(str(level))
    total, peak = Decimal(0), Decimal(0)
    for kind, container in container_kinds(pod):
        limit = (container.get("resources") or {}).get("limits", {}).get(resource)
        if kind in (MAIN, SIDECAR):
            if limit is None:
                return None
            total += parse_quantity(str(limit))
        elif limit is not None:
            peak = max(peak, parse_quantity(str(limit)))
    return max(total, peak)


def pod_config_resources(
    pod: Object, pids_limit: int | None = None, throttling_factor: float = 0.0
) -> ContainerResources:
    """The limits of the pod's own group: what its containers have together, and how many processes."""
    requests = pod_requests(pod)
    milli = int((requests.get("cpu", Decimal(0)) * 1000).to_integral_value())
    cpu_limit, memory_limit = _pod_limit(pod, "cpu"), _pod_limit(pod, "memory")
    pages: dict[str, int] = {}
    for _, container in container_kinds(pod):
        for size, amount in hugepage_limits((container.get("resources") or {}).get("limits") or {}).items():
            pages[size] = pages.get(size, 0) + amount
    if qos_class(pod) == BEST_EFFORT:
        return ContainerResources(MIN_SHARES, pids_limit=pids_limit, hugepage_limits=pages)
    quota = None if cpu_limit is None else cpu_quota_us(int(cpu_limit * 1000))
    request = int(requests.get("memory", Decimal(0)))
    return ContainerResources(
        cpu_shares(milli),
        quota,
        PERIOD_US if quota is not None else None,
        None if memory_limit is None else int(memory_limit),
        request or None,
        unified={"memory.min": str(request)} if throttling_factor and request else {},
        pids_limit=pids_limit,
        hugepage_limits=pages,
    )


def _group(own: ContainerResources) -> dict[str, dict[str, str]]:
    """The files of one group, in both versions."""
    shares, quota, memory = own.cpu_shares or MIN_SHARES, own.cpu_quota_us, own.memory_limit_bytes
    pages = own.hugepage_limits.items()
    return {
        "v1": {
            "cpu.shares": str(shares),
            "cpu.cfs_period_us": str(PERIOD_US),
            "cpu.cfs_quota_us": str(-1 if quota is None else quota),
            "memory.limit_in_bytes": str(UNLIMITED_V1 if memory is None else memory),
            **({"pids.max": str(own.pids_limit)} if own.pids_limit else {}),
            **{f"hugetlb.{size}.limit_in_bytes": str(n) for size, n in pages},
        },
        "v2": {
            "cpu.weight": str(cpu_weight(shares)),
            "cpu.max": f"{'max' if quota is None or quota < 0 else quota} {PERIOD_US}",
            "memory.max": "max" if memory is None else str(memory),
            **own.unified,
            **({"pids.max": str(own.pids_limit)} if own.pids_limit else {}),
            **{f"hugetlb.{size}.max": str(n) for size, n in pages},
        },
    }


def pod_cgroups(
    pod: Object, pids_limit: int | None = None, memory_capacity_bytes: int = 1, throttling_factor: float = 0.0
) -> dict[str, dict[str, dict[str, str]]]:
    """Path -> version (`v1`, `v2`) -> file -> content, the pod's group first, then its containers."""
    parent = cgroup_parent(pod)
    groups = {parent: _group(pod_config_resources(pod, pids_limit, throttling_factor))}
    for _, container in container_kinds(pod):
        own = container_config_resources(pod, container, memory_capacity_bytes, throttling_factor)
        groups[f"{parent}/{container['name']}"] = _group(own)
    return groups
