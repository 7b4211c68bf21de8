"""Is this kube-proxy well, and how many endpoints of a Service are here: what load balancers ask.

Owns the answers of the health check ports of Services, of `/healthz` and `/livez`, as values, and the
messages between a proxy and its ports; it opens no port. Facts: kubernetes pkg/proxy/healthcheck (proxy_health.go, service_health.go).

    GET http://NODE:30123/    503 {"localEndpoints": 0}: this node has no endpoint, send nothing here
    GET http://NODE:10256/healthz   200 while changes are written in time and the node is to stay
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from protocol.http import HttpReply
from protocol.message import Address, Message

__all__ = ["DELETION_TAINT", "HealthGet", "Listen", "NotListening", "ProxyHealth", "go_time", "service_answer"]

Place = tuple[str, int]

DELETION_TAINT = "ToBeDeletedByClusterAutoscaler"
NOSNIFF = ("X-Content-Type-Options", "nosniff")
NEVER = "0001-01-01 00:00:00 +0000 UTC"


class Listen(Message, frozen=True):
    """From now on serve these places (address, port), for these purposes, and no others. Requests are
    asked of `proxy` as `HealthGet`."""

    places: Mapping[Place, str]
    proxy: Address


class HealthGet(Message, frozen=True):
    """A GET of `path` at the port for `purpose`. Answered by an `HttpReply`."""

    purpose: str
    path: str


class NotListening(Message, frozen=True):
    """Told to the proxy, once for each place that cannot be had."""

    place: Place
    purpose: str
    error: str


def go_time(seconds: float | None, running_s: float = 0.0) -> str:
    """A time as Go prints it with the reading of its steady clock (`m=`); None is Go's zero time."""
    if seconds is None:
        return NEVER
    whole, nanos = divmod(round(seconds * 1e9), 10**9)
    fraction = f".{nanos:09d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC m=+{running_s:.9f}"


class ProxyHealth:
    """When changes came and when they were written, by address family. Times are seconds of the
    wall clock; `timeout_s`: how old a change may be that is not written yet."""

    def __init__(self, started: float, timeout_s: float = 60.0) -> None:
        self.started, self.timeout_s = started, timeout_s
        self.eligible = True
        self.answers: dict[tuple[str, int], int] = {}  # (path, status) -> how often
        self._updated: dict[str, float] = {}
        self._pending: dict[str, float] = {}

    def queued(self, family: str, now: float) -> None:
        """A change came that is not written yet."""
        self._pending.setdefault(family, now)

    def updated(self, family: str, now: float) -> None:
        """All changes are written."""
        self._pending.pop(family, None)
        self._updated[family] = now

    def node(self, node: Mapping[str, Any] | None) -> None:
        """A node that is being deleted, or about to be, should get no new connections."""
        if node is None:
            return
        taints = (node.get("spec") or {}).get("taints") or ()
        deleting = bool(node["metadata"].get("deletionTimestamp"))
        self.eligible = not deleting and all(t.get("key") != DELETION_TAINT for t in taints)

    def healthy(self, now: float) -> bool:
        """A proxy that starts is healthy; so is one that still has time to write."""
        return self._late(now) is None

    def _late(self, now: float) -> str | None:
        for family in self._updated:
            if family in self._pending and now - self._pending[family] >= self.timeout_s:
                return family
        return None

    def healthz(self, now: float) -> HttpReply:
        """Should load balancers send connections to this node?"""
        return self._answer("/healthz", self.eligible, now, f', "nodeEligible": {str(self.eligible).lower()}')

    def livez(self, now: float) -> HttpReply:
        """Does the proxy itself work?"""
        return self._answer("/livez", True, now, "")

    def _answer(self, path: str, besides: bool, now: float, more: str) -> HttpReply:
        late = self._late(now)
        well = late is None and besides
        # a healthy proxy was "updated" now, whenever it had something to do
        updated = now if well else self._updated.get(late or "", max(self._updated.values(), default=None))
        at = go_time(updated, (updated or now) - self.started)
        body = f'{{"lastUpdated": "{at}","currentTime": "{go_time(now, now - self.started)}"{more}}}'
        status = 200 if well else 503
        self.answers[path, status] = self.answers.get((path, status), 0) + 1
        return HttpReply(status, body=body.encode(), headers=(NOSNIFF,))


def service_answer(namespace: str, name: str, local: int, healthy: bool) -> HttpReply:
    """What a Service's health check node port says on a node with `local` ready endpoints."""
    body = (
        "{\n"
        '\t"service": {\n'
        f'\t\t"namespace": "{namespace}",\n'
        f'\t\t"name": "{name}"\n'
        "\t},\n"
        f'\t"localEndpoints": {local},\n'
        f'\t"serviceProxyHealthy": {str(healthy).lower()}\n'
        "}"
    )
    weight = ("X-Load-Balancing-Endpoint-Weight", str(local))
    return HttpReply(200 if local and healthy else 503, body=body.encode(), headers=(NOSNIFF, weight))
