"""What containers use, in the forms that a kubelet serves: the stats summary and Prometheus text.

Pure functions. https://kubernetes.io/docs/reference/instrumentation/node-metrics/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from actors.kubelet._cgroups import cgroup_parent, container_config_resources
from actors.kubelet._config import KubeletConfig
from actors.kubelet._exposition import Family, exposition
from actors.kubelet._status import parse_time, rfc3339
from protocol.cri import ContainerStats
from protocol.quantity import parse_quantity, value

__all__ = ["cadvisor_metrics", "resource_metrics", "summary"]

Object = dict[str, Any]
STORAGE = "ephemeral-storage"
INODES_PER_BYTE = 1 / 16384
"""As mke2fs lays a file system out."""


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
    memory: Object = {"time": at}
    if capacity is not None:
        memory["availableBytes"] = max(0, capacity - working)
    return {
        **memory,
        "usageBytes": used,
        "workingSetBytes": working,
        "rssBytes": working,
        "pageFaults": 0,
        "majorPageFaults": 0,
    }


def _filesystem(at: str, capacity: int, used: int, inodes_used: int, own: int | None = None) -> Object:
    """`used`: of the whole file system; `own`: of it, this container's or pod's."""
    inodes = int(capacity * INODES_PER_BYTE)
    return {
        "time": at,
        "availableBytes": max(0, capacity - used),
        "capacityBytes": capacity,
        "usedBytes": used if own is None else own,
        "inodesFree": max(0, inodes - inodes_used),
        "inodes": inodes,
        "inodesUsed": inodes_used,
    }


def _by_pod(pods: Mapping[str, Object], stats: Iterable[ContainerStats]) -> list[tuple[Object, list[ContainerStats]]]:
    found: dict[str, list[ContainerStats]] = {}
    for entry in stats:
        if entry.pod_uid in pods:
            found.setdefault(entry.pod_uid, []).append(entry)
    return [(pods[uid], entries) for uid, entries in found.items()]


def summary(
    node_name: str,
    pods: Mapping[str, Object],
    stats: Iterable[ContainerStats],
    config: KubeletConfig,
    now: float,
    started: float = 0.0,
    images: tuple[int, int] = (0, 0),
    only_cpu_and_memory: bool = False,
) -> Object:
    """The body of `/stats/summary`. `started`: when the node was, in seconds since the epoch; `images`: bytes and
    inodes that they take."""
    at = rfc3339(now)
    groups = _by_pod(pods, stats)
    every = [s for _, entries in groups for s in entries]
    disk = value(str(config.capacity.get(STORAGE, "0"))) or 100 << 30
    used = sum(s.writable_layer.used_bytes for s in every) + images[0]
    inodes = sum(s.writable_layer.inodes_used for s in every) + images[1]
    shown = []
    for pod, entries in groups:
        containers = []
        for s in entries:
            one: Object = {
                "name": s.name,
                "startTime": _started(pod, s.name) or at,
                "cpu": _cpu([s], at),
                "memory": _memory([s], at),
            }
            if not only_cpu_and_memory:
                layer = s.writable_layer
                one["rootfs"] = _filesystem(at, disk, used, layer.inodes_used, layer.used_bytes)
                one["logs"] = _filesystem(at, disk, used, 1, 0)
            containers.append(one)
        meta = pod["metadata"]
        whole: Object = {
            "podRef": {"name": meta["name"], "namespace": meta.get("namespace", ""), "uid": meta["uid"]},
            "startTime": (pod.get("status") or {}).get("startTime") or at,
            "containers": containers,
            "cpu": _cpu(entries, at),
            "memory": _memory(entries, at),
        }
        if not only_cpu_and_memory:
            whole["network"] = {"time": at, **_interface(), "interfaces": [_interface()]}
            layers = sum(s.writable_layer.used_bytes for s in entries)
            numbers = sum(s.writable_layer.inodes_used for s in entries)
            whole["ephemeral-storage"] = _filesystem(at, disk, used, numbers, layers)
            whole["process_stats"] = {"process_count": sum(s.pids for s in entries)}
        shown.append(whole)
    capacity = value(str(config.capacity.get("memory", "0")))
    node: Object = {
        "nodeName": node_name,
        "startTime": rfc3339(started or now),
        "cpu": _cpu(every, at),
        "memory": _memory(every, at, capacity),
    }
    if not only_cpu_and_memory:
        node["network"] = {"time": at, **_interface(), "interfaces": [_interface()]}
        node["fs"] = _filesystem(at, disk, used, inodes)
        image_fs = _filesystem(at, disk, used, images[1], images[0])
        node["runtime"] = {"imageFs": image_fs, "containerFs": image_fs}
        node["rlimit"] = {"time": at, "maxpid": config.pid_max, "curproc": sum(s.pids for s in every)}
    return {"node": node, "pods": shown}


def _interface() -> Object:
    return {"name": "eth0", "rxBytes": 0, "rxErrors": 0, "txBytes": 0, "txErrors": 0}


def _started(pod: Object, container: str) -> str | None:
    told = pod.get("status") or {}
    for group in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for one in told.get(group) or ():
            if one["name"] == container:
                return ((one.get("state") or {}).get("running") or {}).get("startedAt")
    return None


def resource_metrics(pods: Mapping[str, Object], stats: Iterable[ContainerStats], now: float) -> bytes:
    """The body of `/metrics/resource`, which a metrics server scrapes."""
    cpu_words, memory_words = (
        "cumulative cpu time consumed by the {0} in core-seconds",
        "current working set of the {0} in bytes",
    )
    families: dict[tuple[str, str], Family] = {}
    for what in ("container", "pod", "node"):
        words = cpu_words.format(what)
        families[what, "cpu"] = Family(f"{what}_cpu_usage_seconds_total", "counter", f"[STABLE] {words.capitalize()}")
        words = memory_words.format(what)
        families[what, "memory"] = Family(f"{what}_memory_working_set_bytes", "gauge", f"[STABLE] {words.capitalize()}")
    starts = Family(
        "container_start_time_seconds", "gauge", "[STABLE] Start time of the container since unix epoch in seconds"
    )
    errors = Family(
        "resource_scrape_error",
        "gauge",
        "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
    )
    stamp = int(now * 1000)
    total_ns = total_bytes = 0
    for pod, entries in _by_pod(pods, stats):
        labels = {"namespace": pod["metadata"].get("namespace", ""), "pod": pod["metadata"]["name"]}
        for entry in entries:
            own = {**labels, "container": entry.name}
            families["container", "cpu"].add(entry.cpu_usage_core_ns / 1e9, own, stamp)
            families["container", "memory"].add(entry.memory_working_set_bytes, own, stamp)
            starts.add(parse_time(_started(pod, entry.name) or ""), own)
        nanoseconds = sum(e.cpu_usage_core_ns for e in entries)
        size = sum(e.memory_working_set_bytes for e in entries)
        families["pod", "cpu"].add(nanoseconds / 1e9, labels, stamp)
        families["pod", "memory"].add(size, labels, stamp)
        total_ns, total_bytes = total_ns + nanoseconds, total_bytes + size
    families["node", "cpu"].add(total_ns / 1e9, None, stamp)
    families["node", "memory"].add(total_bytes, None, stamp)
    errors.add(0)
    return exposition([*families.values(), starts, errors])


_CADVISOR = {
    "container_cpu_usage_seconds_total": ("counter", "Cumulative cpu time consumed in seconds."),
    "container_cpu_cfs_periods_total": ("counter", "Number of elapsed enforcement period intervals."),
    "container_cpu_cfs_throttled_periods_total": ("counter", "Number of throttled period intervals."),
    "container_cpu_cfs_throttled_seconds_total": ("counter", "Total time duration the container has been throttled."),
    "container_memory_usage_bytes": ("gauge", "Current memory usage in bytes, including all memory regardless of when it was accessed"),
    "container_memory_working_set_bytes": ("gauge", "Current working set in bytes."),
    "container_memory_rss": ("gauge", "Size of RSS in bytes."),
    "container_memory_cache": ("gauge", "Number of bytes of page cache memory."),
    "container_memory_failcnt": ("counter", "Number of memory usage hits limits"),
    "container_fs_usage_bytes": ("gauge", "Number of bytes that are consumed by the container on this filesystem."),
    "container_fs_limit_bytes": ("gauge", "Number of bytes that can be consumed by the container on this filesystem."),
    "container_processes": ("gauge", "Number of processes running inside the container."),
    "container_last_seen": ("gauge", "Last time a container was seen by the exporter"),
    "container_start_time_seconds": ("gauge", "Start time of the container since unix epoch in seconds."),
    "container_spec_cpu_period": ("gauge", "CPU period of the container."),
    "container_spec_cpu_quota": ("gauge", "CPU quota of the container."),
    "container_spec_cpu_shares": ("gauge", "CPU share of the container."),
    "container_spec_memory_limit_bytes": ("gauge", "Memory limit for the container."),
    "container_network_receive_bytes_total": ("counter", "Cumulative count of bytes received"),
    "container_network_transmit_bytes_total": ("counter", "Cumulative count of bytes transmitted"),
    "container_scrape_error": ("gauge", "1 if there was an error while getting container metrics, 0 otherwise"),
    "machine_cpu_cores": ("gauge", "Number of logical CPU cores."),
    "machine_memory_bytes": ("gauge", "Amount of memory installed on the machine."),
}  # fmt: skip


def cadvisor_metrics(
    pods: Mapping[str, Object],
    stats: Iterable[ContainerStats],
    config: KubeletConfig,
    now: float,
) -> bytes:
    """The body of `/metrics/cadvisor`: each container, each pod's group, and the node's root group."""
    families = {name: Family(name, *words) for name, words in _CADVISOR.items()}
    stamp = int(now * 1000)
    every: list[ContainerStats] = []
    for pod, entries in _by_pod(pods, stats):
        every += entries
        base = {"namespace": pod["metadata"].get("namespace", ""), "pod": pod["metadata"]["name"]}
        parent = cgroup_parent(pod)
        for entry in entries:
            spec = _spec_of(pod, entry.name)
            labels = {
                **base, "container": entry.name, "id": f"{parent}/{entry.container_id}",
                "image": str(spec.get("image") or ""), "name": entry.container_id,
            }  # fmt: skip
            _group(families, [entry], labels, now, stamp)
            start = parse_time(_started(pod, entry.name) or "")
            families["container_start_time_seconds"].add(start, labels, stamp)
            limits = container_config_resources(pod, spec, 1)
            families["container_spec_cpu_shares"].add(limits.cpu_shares or 2, labels, stamp)
            families["container_spec_cpu_period"].add(limits.cpu_period_us or 100_000, labels, stamp)
            families["container_spec_memory_limit_bytes"].add(limits.memory_limit_bytes or 0, labels, stamp)
            if limits.cpu_quota_us and limits.cpu_quota_us > 0:
                families["container_spec_cpu_quota"].add(limits.cpu_quota_us, labels, stamp)
        labels = {**base, "container": "", "id": parent, "image": "", "name": ""}
        _group(families, entries, labels, now, stamp)
        for name in ("container_network_receive_bytes_total", "container_network_transmit_bytes_total"):
            families[name].add(0, {**labels, "interface": "eth0"}, stamp)
    root = {"namespace": "", "pod": "", "container": "", "id": "/", "image": "", "name": ""}
    _group(families, every, root, now, stamp)
    machine = {"boot_id": config.machine_id, "machine_id": config.machine_id, "system_uuid": config.machine_id}
    families["machine_cpu_cores"].add(int(parse_quantity(str(config.capacity.get("cpu", "0")))), machine)
    families["machine_memory_bytes"].add(value(str(config.capacity.get("memory", "0"))), machine)
    families["container_scrape_error"].add(0)
    return exposition(families.values())


def _group(
    families: Mapping[str, Family], entries: list[ContainerStats], labels: Mapping[str, str], now: float, stamp: int
) -> None:
    """What one control group uses."""
    figures: dict[str, float] = {
        "container_memory_usage_bytes": sum(e.memory_usage_bytes for e in entries),
        "container_memory_working_set_bytes": sum(e.memory_working_set_bytes for e in entries),
        "container_memory_rss": sum(e.memory_working_set_bytes for e in entries),
        "container_memory_cache": sum(e.memory_usage_bytes - e.memory_working_set_bytes for e in entries),
        "container_memory_failcnt": 0,
        "container_processes": sum(e.pids for e in entries),
        "container_last_seen": int(now),
    }
    if any(e.periods for e in entries):
        figures["container_cpu_cfs_periods_total"] = sum(e.periods for e in entries)
        figures["container_cpu_cfs_throttled_periods_total"] = sum(e.throttled_periods for e in entries)
        figures["container_cpu_cfs_throttled_seconds_total"] = sum(e.throttled_time_ns for e in entries) / 1e9
    for name, figure in figures.items():
        families[name].add(figure, labels, stamp)
    seconds = sum(e.cpu_usage_core_ns for e in entries) / 1e9
    families["container_cpu_usage_seconds_total"].add(seconds, {**labels, "cpu": "total"}, stamp)
    disk = {**labels, "device": "/dev/vda1"}
    families["container_fs_usage_bytes"].add(sum(e.writable_layer.used_bytes for e in entries), disk, stamp)
    families["container_fs_limit_bytes"].add(0, disk, stamp)


def _spec_of(pod: Object, container: str) -> Object:
    for group in ("containers", "initContainers", "ephemeralContainers"):
        for one in pod["spec"].get(group) or ():
            if one["name"] == container:
                return one  # type: ignore[no-any-return]
    return {}
