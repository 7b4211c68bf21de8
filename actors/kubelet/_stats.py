"""What containers use, in the two forms a kubelet serves: the stats summary and Prometheus text.

Pure functions. https://kubernetes.io/docs/reference/instrumentation/node-metrics/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from actors.kubelet._config import KubeletConfig
from actors.kubelet._status import rfc3339
from protocol.cri import ContainerStats
from protocol.quantity import value

__all__ = ["resource_metrics", "summary"]

Object = dict[str, Any]


def _cpu(stats: Iterable[ContainerStats], at: str) -> Object:
    found = list(stats)
    return {
        "time": at,
        "usageNanoCores": sum(s.cpu_usage_nano_cores for s in found),
        "usageCoreNanoSeconds": sum(s.cpu_usage_core_ns for s in found),
    }


def _memory(stats: Iterable[ContainerStats], at: str, capacity: int | None = None) -> Object:
    found = list(stats)
    used = sum(s.memory_usage_bytes for s in found)
    working = sum(s.memory_working_set_bytes for s in found)
    memory: Object = {
        "time": at,
        "usageBytes": used,
        "workingSetBytes": working,
        "rssBytes": working,
        "pageFaults": 0,
        "majorPageFaults": 0,
    }
    if capacity is not None:
        memory["availableBytes"] = max(0, capacity - working)
    return memory


def summary(
    node_name: str, pods: Mapping[str, Object], stats: Iterable[ContainerStats], config: KubeletConfig, now: float
) -> Object:
    """The body of `/stats/summary`."""
    at = rfc3339(now)
    by_pod: dict[str, list[ContainerStats]] = {}
    for entry in stats:
        by_pod.setdefault(entry.pod_uid, []).append(entry)
    shown = []
    for uid, entries in by_pod.items():
        pod = pods.get(uid)
        if pod is None:
            continue
        shown.append(
            {
                "podRef": {
                    "name": pod["metadata"]["name"],
                    "namespace": pod["metadata"].get("namespace", ""),
                    "uid": uid,
                },
                "startTime": (pod.get("status") or {}).get("startTime"),
                "containers": [
                    {
                        "name": s.name,
                        "startTime": _started(pod, s.name) or at,
                        "cpu": _cpu([s], at),
                        "memory": _memory([s], at),
                        "rootfs": {"time": at, "usedBytes": s.writable_layer.used_bytes},
                    }
                    for s in entries
                ],
                "cpu": _cpu(entries, at),
                "memory": _memory(entries, at),
            }
        )
    every = [s for entries in by_pod.values() for s in entries]
    capacity = value(str(config.capacity.get("memory", "0")))
    return {
        "node": {
            "nodeName": node_name,
            "startTime": at,
            "cpu": _cpu(every, at),
            "memory": _memory(every, at, capacity),
        },
        "pods": shown,
    }


def _started(pod: Object, container: str) -> str | None:
    told = pod.get("status") or {}
    for group in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for one in told.get(group) or ():
            if one["name"] == container:
                return ((one.get("state") or {}).get("running") or {}).get("startedAt")
    return None


def resource_metrics(pods: Mapping[str, Object], stats: Iterable[ContainerStats], now: float) -> str:
    """The body of `/metrics/resource`, which a metrics server scrapes."""
    cpu, memory = [], []
    total_ns = total_bytes = 0
    stamp = int(now * 1000)
    for entry in stats:
        pod = pods.get(entry.pod_uid)
        if pod is None:
            continue
        labels = f'container="{entry.name}",namespace="{pod["metadata"].get("namespace", "")}",pod="{pod["metadata"]["name"]}"'
        cpu.append(f"container_cpu_usage_seconds_total{{{labels}}} {entry.cpu_usage_core_ns / 1e9:g} {stamp}")
        memory.append(f"container_memory_working_set_bytes{{{labels}}} {entry.memory_working_set_bytes} {stamp}")
        total_ns += entry.cpu_usage_core_ns
        total_bytes += entry.memory_working_set_bytes
    lines = [
        "# TYPE container_cpu_usage_seconds_total counter",
        *cpu,
        "# TYPE container_memory_working_set_bytes gauge",
        *memory,
        "# TYPE node_cpu_usage_seconds_total counter",
        f"node_cpu_usage_seconds_total {total_ns / 1e9:g} {stamp}",
        "# TYPE node_memory_working_set_bytes gauge",
        f"node_memory_working_set_bytes {total_bytes} {stamp}",
        "# TYPE resource_scrape_error gauge",
        "resource_scrape_error 0",
    ]
    return "\n".join(lines) + "\n"
