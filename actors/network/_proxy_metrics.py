"""A kube-proxy's metrics, in Prometheus' text format, under upstream's names.

Owns the numbers and their text. Facts: kubernetes pkg/proxy/metrics/metrics.go.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

__all__ = ["Histogram", "ProxyMetrics"]

BUCKETS_S = tuple(0.001 * 2**n for n in range(15))
P = "kubeproxy_sync_proxy_rules_"
Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]


class Histogram:
    """Durations in seconds."""

    def __init__(self, buckets: tuple[float, ...] = BUCKETS_S) -> None:
        self.buckets = buckets
        self.counts = [0] * (len(buckets) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.buckets, value)] += 1
        self.sum += value

    def samples(self, labels: Labels) -> Iterable[Sample]:
        below = 0
        for bound, count in zip((*self.buckets, None), self.counts):
            below += count
            yield "_bucket", {**labels, "le": "+Inf" if bound is None else f"{bound:g}"}, below
        yield "_sum", labels, self.sum
        yield "_count", labels, below


class ProxyMetrics:
    """What one kube-proxy has done. Times are seconds since the epoch."""

    def __init__(self) -> None:
        self.durations = {kind: dict[str, Histogram]() for kind in ("", "full_", "partial_")}
        self.changes = {"endpoint": [0, 0], "service": [0, 0]}  # all, not yet written
        self.queued_at = self.written_at = 0.0

    def noted(self, what: str, now: float) -> None:
        """A change came: `endpoint` or `service`."""
        for number in (0, 1):
            self.changes[what][number] += 1
        self.queued_at = now

    def wrote(self, family: str, full: bool, seconds: float, now: float) -> None:
        for kind in ("", "full_" if full else "partial_"):
            self.durations[kind].setdefault(family, Histogram()).observe(seconds)
        self.written_at = now

    def computed(self) -> None:
        """All changes that were noted are in the rules."""
        for counts in self.changes.values():
            counts[1] = 0

    def text(
        self,
        failures: Mapping[str, int],
        rules: Mapping[str, Mapping[str, int]],
        lost: Mapping[str, Mapping[str, int]],
        answers: Mapping[tuple[str, int], int],
        mode: str,
    ) -> str:
        """By family: `failures`, `rules` (by table) and `lost` (Services without endpoints here, by
        traffic policy). `answers`: how often health was asked, by path and status."""
        lines: list[str] = []
        for kind, what in (("", ""), ("full_", " for full resyncs"), ("partial_", " for partial resyncs")):
            name = f"kubeproxy_sync_{kind}proxy_rules_duration_seconds"
            taken = [s for f, h in sorted(self.durations[kind].items()) for s in h.samples({"ip_family": f})]
            lines += _metric(name, "histogram", f"SyncProxyRules latency in seconds{what}", taken)
        for what in ("endpoint", "service"):
            title = what.capitalize()
            total, waiting = self.changes[what]
            lines += _metric(
                f"{P}{what}_changes_pending", "gauge", f"Pending proxy rules {title} changes", [("", {}, waiting)]
            )
            lines += _metric(
                f"{P}{what}_changes_total", "counter", f"Cumulative proxy rules {title} changes", [("", {}, total)]
            )
        for name, text, at in (
            ("last_queued", "The last time a sync of proxy rules was queued", self.queued_at),
            ("last", "The last time proxy rules were successfully synced", self.written_at),
        ):
            lines += _metric(f"{P}{name}_timestamp_seconds", "gauge", text, [("", {}, at)])
        failed = f"{P}nftables_sync_failures_total" if mode == "nftables" else f"{P}iptables_restore_failures_total"
        text = "Cumulative proxy " + ("nftables sync" if mode == "nftables" else "iptables restore") + " failures"
        lines += _metric(failed, "counter", text, [("", {"ip_family": f}, n) for f, n in failures.items()])
        if mode != "nftables":
            counted = [("", {"ip_family": f, "table": t}, n) for f, tables in rules.items() for t, n in tables.items()]
            lines += _metric(
                f"{P}iptables_total", "gauge", "Total number of iptables rules owned by kube-proxy", counted
            )
        without = [
            ("", {"ip_family": f, "traffic_policy": policy}, n)
            for f, found in lost.items()
            for policy, n in found.items()
        ]
        what = "Number of services with a Local traffic policy and no endpoints"
        lines += _metric(f"{P}no_local_endpoints_total", "gauge", what, without)
        for path in ("/healthz", "/livez"):
            told = [("", {"code": str(code)}, n) for (asked, code), n in sorted(answers.items()) if asked == path]
            name = path[1:]
            lines += _metric(f"kubeproxy_proxy_{name}_total", "counter", f"Cumulative proxy {name} HTTP status", told)
        return "".join(line + "\n" for line in lines)


def _metric(name: str, kind: str, what: str, samples: Iterable[Sample]) -> Iterable[str]:
    found = [f"{name}{suffix}{_labels(labels)} {value:.17g}" for suffix, labels, value in samples]
    return [f"# HELP {name} [ALPHA] {what}", f"# TYPE {name} {kind}", *found] if found else []


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}" if labels else ""
