"""`/metrics` in Prometheus' text format, with upstream's metric names.

Owns the counters of requests; they cost two dictionary look-ups per request.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.apiserver._server import ApiServer

__all__ = ["Counters", "metrics"]

_BUCKETS_S = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
_MAX_SERIES = 4000
Key = tuple[str, str, str, str, str, str]


class Counters:
    """Requests by verb, group, version, resource, subresource, scope and code."""

    def __init__(self) -> None:
        self.requests: dict[tuple[Key, int], int] = {}
        self.durations: dict[Key, list[float]] = {}

    def count(self, key: Key, code: int, seconds: float) -> None:
        """One request has been answered. Paths that a client made up are counted together."""
        if len(self.requests) > _MAX_SERIES and (key, code) not in self.requests:
            key = (key[0], "", "", "other", "", "")
        self.requests[key, code] = self.requests.get((key, code), 0) + 1
        slots = self.durations.get(key)
        if slots is None:
            slots = self.durations[key] = [0.0] * (len(_BUCKETS_S) + 2)
        slots[bisect_left(_BUCKETS_S, seconds)] += 1
        slots[-1] += seconds


def _labels(key: Key) -> str:
    verb, group, version, resource, subresource, scope = key
    return (
        f'group="{group}",resource="{resource}",scope="{scope}",subresource="{subresource}",'
        f'verb="{verb}",version="{version}"'
    )


def metrics(server: ApiServer) -> bytes:
    """The page."""
    lines = ["# HELP apiserver_request_total Requests by verb, resource and code.", "# TYPE apiserver_request_total counter"]
    counters = server.counters
    for (key, code), count in sorted(counters.requests.items()):
        lines.append(f'apiserver_request_total{{code="{code}",{_labels(key)}}} {count}')
    lines += [
        "# HELP apiserver_request_duration_seconds Seconds from request to response.",
        "# TYPE apiserver_request_duration_seconds histogram",
    ]
    for key, slots in sorted(counters.durations.items()):
        total = 0.0
        for bound, slot in zip(_BUCKETS_S, slots, strict=False):
            total += slot
            lines.append(f'apiserver_request_duration_seconds_bucket{{{_labels(key)},le="{bound:g}"}} {total:g}')
        total += slots[len(_BUCKETS_S)]
        lines.append(f'apiserver_request_duration_seconds_bucket{{{_labels(key)},le="+Inf"}} {total:g}')
        lines.append(f"apiserver_request_duration_seconds_sum{{{_labels(key)}}} {slots[-1]:g}")
        lines.append(f"apiserver_request_duration_seconds_count{{{_labels(key)}}} {total:g}")
    lines += _gauges(server)
    from actors.apiserver.flowcontrol._metrics import lines as flow_lines

    lines += flow_lines(server.core.flow)
    return ("\n".join(lines) + "\n").encode()


def _gauges(server: ApiServer) -> list[str]:
    store = server.core.store
    lines = ["# HELP apiserver_storage_objects Stored objects by resource.", "# TYPE apiserver_storage_objects gauge"]
    for (group, resource), cache in sorted(store.caches.items()):
        name = f"{resource}.{group}" if group else resource
        lines.append(f'apiserver_storage_objects{{resource="{name}"}} {len(cache.all.entries)}')
    lines += ["# HELP apiserver_longrunning_requests Open watches.", "# TYPE apiserver_longrunning_requests gauge"]
    open_watches: dict[tuple[str, str], int] = {}
    for watch in server.core.watches.open.values():
        place = (watch.cache.group, watch.cache.resource)
        open_watches[place] = open_watches.get(place, 0) + 1
    for (group, resource), count in sorted(open_watches.items()):
        lines.append(f'apiserver_longrunning_requests{{group="{group}",resource="{resource}",verb="WATCH"}} {count}')
    lines += ["# TYPE process_start_time_seconds gauge", f"process_start_time_seconds {server.started_at:.3f}"]
    return lines
