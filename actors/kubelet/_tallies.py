"""What a kubelet counts of its own work, and its `/metrics` and `/metrics/probes`.

Owns the counters and upstream's names for them (`pkg/kubelet/metrics`, `pkg/kubelet/prober`). Counting must
never hold anything up: a tally is one dict entry.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

from actors.kubelet._exposition import Family, exposition, histogram
from actors.kubelet._spec import EPHEMERAL, INIT, SIDECAR, is_mirror, is_static

__all__ = ["ProbeCount", "Tallies", "container_type", "kubelet_metrics", "probe_metrics"]

Object = dict[str, Any]
ProbeCount = tuple[str, str, str, int]
"""(container, Liveness | Readiness | Startup, successful | failed | unknown, times)"""
_TYPES = {INIT: "init_container", SIDECAR: "init_container", EPHEMERAL: "ephemeral_container"}
_PREFIX = "kubelet_"
_START_BOUNDS = (0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600)
MAX_KEPT = 1000


def container_type(kind: str) -> str:
    """As metrics name the kinds of containers."""
    return _TYPES.get(kind, "container")


class Tallies:
    """Counters of one kubelet; they begin anew with it."""

    def __init__(self) -> None:
        self.started_pods = 0
        self.started_containers: Counter[str] = Counter()
        self.start_errors: Counter[tuple[str, str]] = Counter()
        """(container type, reason)"""
        self.rejections: Counter[str] = Counter()
        self.evictions: Counter[str] = Counter()
        self.preemptions: Counter[str] = Counter()
        self.images_removed: Counter[str] = Counter()
        self.requests: Counter[tuple[str, str]] = Counter()
        """(method, path) of its own API"""
        self.devices_registered: Counter[str] = Counter()
        self.start_seconds: deque[float] = deque(maxlen=MAX_KEPT)
        """How long the latest pods took from their creation until all their containers ran."""


def kubelet_metrics(
    node: str,
    version: str,
    tallies: Tallies,
    pods: Mapping[str, Object],
    states: Iterable[str],
    sandboxes: int,
    started_at: float,
    volumes: Iterable[tuple[Mapping[str, str], Mapping[str, float]]] = (),
) -> bytes:
    """The body of `/metrics`. `states`: created, running or exited, of each container; `volumes`: of each claim
    that is mounted, labels and figures."""
    families: list[Family] = []

    def family(name: str, kind: str, words: str) -> Family:
        whole = name if name.startswith(("kubernetes_", "process_")) else _PREFIX + name
        families.append(Family(whole, kind, words))
        return families[-1]

    family("node_name", "gauge", "[ALPHA] The node's name. The count is always 1.").add(1, {"node": node})
    family("running_pods", "gauge", "[BETA] Number of pods that have a running pod sandbox").add(sandboxes)
    running = family("running_containers", "gauge", "[BETA] Number of containers currently running")
    for state, count in sorted(Counter(states).items()):
        running.add(count, {"container_state": state})
    static = Counter(bool(is_static(p)) for p in pods.values() if not is_mirror(p))
    desired = family("desired_pods", "gauge", "[ALPHA] The number of pods the kubelet is being instructed to run.")
    active = family("active_pods", "gauge", "[ALPHA] The number of pods the kubelet considers active.")
    ended = Counter(
        bool(is_static(p)) for p in pods.values() if (p.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    )
    for kind in (False, True):
        labels = {"static": "true" if kind else ""}
        desired.add(static[kind], labels)
        active.add(static[kind] - ended[kind], labels)
    family("mirror_pods", "gauge", "[ALPHA] The number of mirror pods the kubelet will try to create.").add(
        static[True]
    )
    family("started_pods_total", "counter", "[ALPHA] Cumulative number of pods started").add(tallies.started_pods)
    _counted(
        family("started_containers_total", "counter", "[ALPHA] Cumulative number of containers started"),
        tallies.started_containers,
        "container_type",
    )
    errors = family(
        "started_containers_errors_total", "counter", "[ALPHA] Cumulative number of errors when starting containers"
    )
    for (kind_name, code), count in sorted(tallies.start_errors.items()):
        errors.add(count, {"container_type": kind_name, "code": code})
    _counted(
        family(
            "admission_rejections_total",
            "counter",
            "[ALPHA] Cumulative number pod admission rejections by the Kubelet.",
        ),
        tallies.rejections,
        "reason",
    )
    _counted(
        family("evictions", "counter", "[ALPHA] Cumulative number of pod evictions by eviction signal"),
        tallies.evictions,
        "eviction_signal",
    )
    _counted(
        family("preemptions", "counter", "[ALPHA] Cumulative number of pod preemptions by preemption resource"),
        tallies.preemptions,
        "preemption_signal",
    )
    _counted(
        family(
            "image_garbage_collected_total",
            "counter",
            "[ALPHA] Total number of images garbage collected by the kubelet, whether through disk usage or image age.",
        ),
        tallies.images_removed,
        "reason",
    )
    _counted(
        family(
            "device_plugin_registration_total",
            "counter",
            "[ALPHA] Cumulative number of device plugin registrations. Broken down by resource name.",
        ),
        tallies.devices_registered,
        "resource_name",
    )
    requests = family(
        "http_requests_total", "counter", "[ALPHA] Number of the http requests received since the server started"
    )
    for (method, path), count in sorted(tallies.requests.items()):
        requests.add(count, {"long_running": "false", "method": method, "path": path, "server_type": "readwrite"})
    if tallies.start_seconds:
        words = "[ALPHA] Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run"
        histogram(family("pod_start_duration_seconds", "histogram", words), _START_BOUNDS, tallies.start_seconds)
    major, minor = [*version.lstrip("v").split("."), "", ""][:2]
    family(
        "kubernetes_build_info",
        "gauge",
        "[ALPHA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
    ).add(1, {"git_version": version, "major": major, "minor": minor, "platform": "linux/amd64"})
    family("process_start_time_seconds", "gauge", "[ALPHA] Start time of the process since unix epoch in seconds.").add(
        started_at
    )
    stats: dict[str, Family] = {}
    for own, figures in volumes:
        for name, figure in figures.items():
            if name not in stats:
                stats[name] = family(f"volume_stats_{name}", "gauge", f"[ALPHA] {name.replace('_', ' ')} in the volume")
            stats[name].add(figure, own)
    return exposition(families)


def _counted(family: Family, counts: Mapping[str, int], label: str) -> None:
    for value, count in sorted(counts.items()):
        family.add(count, {label: value})


def probe_metrics(counts: Iterable[tuple[Object, ProbeCount]]) -> bytes:
    """The body of `/metrics/probes`, of (pod, count) pairs."""
    words = "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result."
    family = Family("prober_probe_total", "counter", words)
    for pod, (container, kind, result, times) in counts:
        meta = pod["metadata"]
        family.add(
            times,
            {
                "container": container, "namespace": meta.get("namespace", ""), "pod": meta["name"],
                "pod_uid": meta["uid"], "probe_type": kind, "result": result,
            },
        )  # fmt: skip
    return exposition([family]) if family.samples else b""
