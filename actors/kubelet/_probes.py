"""Probes as state machines: thresholds, delays and verdicts, without doing any probing.

Owns what a series of results means (https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/).
The pod's worker asks `handler_of` what to do, does it, and tells `Probe.record` what came of it.
"""

from __future__ import annotations

from typing import Any

__all__ = ["LIVENESS", "READINESS", "STARTUP", "Probe", "handler_of", "probe_kinds"]

Object = dict[str, Any]
STARTUP, LIVENESS, READINESS = "Startup", "Liveness", "Readiness"
probe_kinds = ((STARTUP, "startupProbe"), (LIVENESS, "livenessProbe"), (READINESS, "readinessProbe"))


class Probe:
    """One probe of one run of a container.

    `result`: True, False, or None while nothing is known (ready: no; alive: yes; started: no).
    `token` tells an outdated timer from the current one. `settled_at`: the moment up to which the answers are
    counted that are not asked for any more. `doubted`: something changed while it was `busy`, so that its answer may
    be of before.
    """

    __slots__ = (
        "busy",
        "doubted",
        "failure_threshold",
        "failures",
        "initial_delay_s",
        "kind",
        "period_s",
        "result",
        "settled",
        "settled_at",
        "spec",
        "success_threshold",
        "successes",
        "timeout_s",
        "token",
    )

    def __init__(self, kind: str, spec: Object) -> None:
        self.kind = kind
        self.spec = spec
        self.initial_delay_s = float(spec.get("initialDelaySeconds") or 0)
        self.period_s = float(spec.get("periodSeconds") or 10)
        self.timeout_s = float(spec.get("timeoutSeconds") or 1)
        self.success_threshold = int(spec.get("successThreshold") or 1)
        self.failure_threshold = int(spec.get("failureThreshold") or 3)
        self.result: bool | None = None
        self.successes = 0
        self.failures = 0
        self.settled = False
        self.settled_at = 0.0
        self.busy = self.doubted = False
        self.token = 0

    def record(self, ok: bool, settled: bool) -> bool:
        """Note a result; true when the verdict changes. A verdict changes after as many results
        in a row as its threshold says; the first success of readiness counts at once."""
        if ok:
            self.successes += 1
            self.failures = 0
        else:
            self.failures += 1
            self.successes = 0
        before = self.result
        if ok and self.successes >= self.success_threshold:
            self.result = True
        elif not ok and self.failures >= self.failure_threshold:
            self.result = False
        self.settled = settled and ok and self.result is True
        return self.result is not before

    def next_delay_s(self) -> float | None:
        """Seconds until the next probing; None when it would learn nothing new."""
        if self.settled or (self.kind == STARTUP and self.result is not None):
            return None
        return self.period_s


def handler_of(spec: Object) -> tuple[str, Object]:
    """(exec | http | tcp | grpc | none, the handler's fields)."""
    for name, field in (("exec", "exec"), ("http", "httpGet"), ("tcp", "tcpSocket"), ("grpc", "grpc")):
        if spec.get(field) is not None:
            return name, spec[field]
    return "none", {}
