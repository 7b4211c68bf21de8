"""`/metrics` in Prometheus' text format, with upstream's metric names, labels and buckets.

Owns the counters of requests; they cost a few dictionary look-ups per request.

https://kubernetes.io/docs/reference/instrumentation/metrics/
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from actors.apiserver._histogram import Histogram

if TYPE_CHECKING:
    from actors.apiserver._server import ApiServer

__all__ = ["Counters", "Key", "metrics", "slis"]

_SIZES = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
_MAX_SERIES = 4000
_KIBI = 1024


class Key(NamedTuple):
    """The labels under which upstream counts a request, in their order."""

    verb: str
    group: str
    version: str
    resource: str
    subresource: str
    scope: str
    component: str = "apiserver"
    dry_run: str = ""

    def labels(self) -> str:
        """As the page shows them, sorted by name."""
        return (
            f'component="{self.component}",dry_run="{self.dry_run}",group="{self.group}",resource="{self.resource}",'
            f'scope="{self.scope}",subresource="{self.subresource}",verb="{self.verb}",version="{self.version}"'
        )


class Counters:
    """What one API server counts of its requests."""

    def __init__(self) -> None:
        self.requests: dict[tuple[Key, int], int] = {}
        self.durations = Histogram()
        self.sizes = Histogram(_SIZES)
        self.inflight = {"mutating": 0, "readOnly": 0}
        self.users: dict[str, int] = {}
        self.attempts: dict[str, int] = {}
        self.checks: dict[tuple[str, str], tuple[int, int, bool]] = {}
        """By check and kind of health (`livez`): how often it succeeded and failed, and how it went last."""
        self._labels: dict[Key, str] = {}

    def count(self, key: Key, code: int, seconds: float, size: int) -> None:
        """One request has been answered with `size` bytes. Paths that a client made up are counted together."""
        if len(self.requests) > _MAX_SERIES and (key, code) not in self.requests:
            key = Key(key.verb, "", "", "other", "", "")
        self.requests[key, code] = self.requests.get((key, code), 0) + 1
        labels = self._labels.get(key)
        if labels is None:
            labels = self._labels[key] = key.labels()
        self.durations.observe(labels, seconds)
        if key.verb in ("GET", "LIST") and key.resource:
            self.sizes.observe(labels, size)

    def authenticated(self, user: str | None) -> None:
        """One request's user is known, or it was refused (None)."""
        result = "failure" if user is None else "success"
        self.attempts[result] = self.attempts.get(result, 0) + 1
        if user is not None:
            shown = user if user.startswith("system:") and not user.startswith(("system:serviceaccount:", "system:node:")) else "other"
            self.users[shown] = self.users.get(shown, 0) + 1

    def checked(self, check: str, kind: str, healthy: bool) -> None:
        """One check of health was made."""
        good, bad, _ = self.checks.get((check, kind), (0, 0, True))
        self.checks[check, kind] = (good + healthy, bad + (not healthy), healthy)


def _head(name: str, kind: str, text: str, level: str = "ALPHA") -> Iterator[str]:
    yield f"# HELP {name} [{level}] {text}"
    yield f"# TYPE {name} {kind}"


def metrics(server: ApiServer) -> bytes:
    """The page."""
    lines = [*_request_lines(server), *_storage_lines(server), *_process_lines(server), *slis(server)]
    from actors.apiserver.flowcontrol._metrics import lines as flow_lines

    lines += flow_lines(server.core.flow)
    return ("\n".join(lines) + "\n").encode()


def _request_lines(server: ApiServer) -> Iterator[str]:
    counters = server.counters
    text = (
        "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, "
        "component, and HTTP response code."
    )
    yield from _head("apiserver_request_total", "counter", text, "STABLE")
    for (key, code), count in sorted(counters.requests.items()):
        yield f'apiserver_request_total{{code="{code}",{key.labels()}}} {count}'
    text = "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component."
    yield from _head("apiserver_request_duration_seconds", "histogram", text, "STABLE")
    yield from counters.durations.lines("apiserver_request_duration_seconds")
    text = "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component."
    yield from _head("apiserver_response_sizes", "histogram", text, "STABLE")
    yield from counters.sizes.lines("apiserver_response_sizes")
    text = "Maximal number of currently used inflight request limit of this apiserver per request kind in last second."
    yield from _head("apiserver_current_inflight_requests", "gauge", text, "STABLE")
    for kind, count in sorted(counters.inflight.items()):
        yield f'apiserver_current_inflight_requests{{request_kind="{kind}"}} {count}'
    text = "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way."
    yield from _head("apiserver_longrunning_requests", "gauge", text, "STABLE")
    open_watches: dict[tuple[str, str], int] = {}
    for watch in server.core.watches.open.values():
        place = (watch.cache.group, watch.cache.resource)
        open_watches[place] = open_watches.get(place, 0) + 1
    for (group, name), count in sorted(open_watches.items()):
        labels = Key("WATCH", group, "", name, "", "cluster").labels().replace('dry_run="",', "")
        yield f"apiserver_longrunning_requests{{{labels}}} {count}"
    yield from _head("authenticated_user_requests", "counter", "Counter of authenticated requests broken out by username.")
    for user, count in sorted(counters.users.items()):
        yield f'authenticated_user_requests{{username="{user}"}} {count}'
    yield from _head("authentication_attempts", "counter", "Counter of authenticated attempts.")
    for result, count in sorted(counters.attempts.items()):
        yield f'authentication_attempts{{result="{result}"}} {count}'


def _storage_lines(server: ApiServer) -> Iterator[str]:
    store = server.core.store
    counts = []
    for (group, name), cache in sorted(store.caches.items()):
        counts.append((f"{name}.{group}" if group else name, group, name, len(cache.all.entries)))
    text = "Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1."
    yield from _head("apiserver_storage_objects", "gauge", text, "STABLE")
    for full, *_, count in counts:
        yield f'apiserver_storage_objects{{resource="{full}"}} {count}'
    yield from _head("apiserver_resource_objects", "gauge", text)
    for _, group, name, count in counts:
        yield f'apiserver_resource_objects{{group="{group}",resource="{name}"}} {count}'
    yield from _head("etcd_requests_total", "counter", "Etcd request counts for each operation and object type.")
    for labels, slots in sorted(store.timings.slots.items()):
        yield f"etcd_requests_total{{{labels}}} {sum(slots[:-1]):g}"
    text = "Etcd request latency in seconds for each operation and object type."
    yield from _head("etcd_request_duration_seconds", "histogram", text)
    yield from store.timings.lines("etcd_request_duration_seconds")


def _process_lines(server: ApiServer) -> Iterator[str]:
    from actors.apiserver._paths import version_info

    found = version_info(server.core.config.minor)
    names = {
        "build_date": "buildDate", "compiler": "compiler", "git_commit": "gitCommit", "git_tree_state": "gitTreeState",
        "git_version": "gitVersion", "go_version": "goVersion", "major": "major", "minor": "minor", "platform": "platform",
    }
    text = (
        "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, "
        "Go version, and compiler from which Kubernetes was built, and platform on which it is running."
    )
    yield from _head("kubernetes_build_info", "gauge", text)
    yield "kubernetes_build_info{" + ",".join(f'{label}="{found[name]}"' for label, name in names.items()) + "} 1"
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield "# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds."
    yield "# TYPE process_cpu_seconds_total counter"
    yield f"process_cpu_seconds_total {usage.ru_utime + usage.ru_stime:.2f}"
    files = Path("/proc/self/fd")
    if files.is_dir():
        pages = Path("/proc/self/statm").read_text().split()
        size = os.sysconf("SC_PAGE_SIZE")
        yield from _gauge("process_open_fds", "Number of open file descriptors.", sum(1 for _ in files.iterdir()))
        yield from _gauge("process_resident_memory_bytes", "Resident memory size in bytes.", int(pages[1]) * size)
        yield from _gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", int(pages[0]) * size)
    else:
        yield from _gauge("process_resident_memory_bytes", "Resident memory size in bytes.", usage.ru_maxrss * _KIBI)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield from _gauge("process_max_fds", "Maximum number of open file descriptors.", limit)
    yield "# HELP process_start_time_seconds Start time of the process since unix epoch in seconds."
    yield "# TYPE process_start_time_seconds gauge"
    yield f"process_start_time_seconds {server.started_at:.3f}"


def _gauge(name: str, text: str, value: int) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} gauge"
    yield f"{name} {value}"


def slis(server: ApiServer) -> Iterator[str]:
    """`/metrics/slis`: how the checks of health went."""
    checks = sorted(server.counters.checks.items())
    yield from _head("kubernetes_healthcheck", "gauge", "This metric records the result of a single healthcheck.", "STABLE")
    for (name, kind), (*_, healthy) in checks:
        yield f'kubernetes_healthcheck{{name="{name}",type="{kind}"}} {int(healthy)}'
    text = "This metric records the results of all healthcheck."
    yield from _head("kubernetes_healthchecks_total", "counter", text, "STABLE")
    for (name, kind), (good, bad, _) in checks:
        for result, count in (("error", bad), ("success", good)):
            if count:
                yield f'kubernetes_healthchecks_total{{name="{name}",status="{result}",type="{kind}"}} {count}'
