"""Which connections of UDP Services are stale after a change.

UDP has no end that conntrack could see: as long as a client sends, its connection leads to where it
led before, even to an endpoint that has gone, or to nothing. Owns the list of what must be forgotten;
it forgets nothing itself. Facts: kubernetes pkg/proxy/conntrack/cleanup.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from actors.network._endpoint import Usable
from actors.network._service import ServicePort

__all__ = ["StaleFlow", "stale_flows"]

Served = Mapping[tuple[str, str], tuple[ServicePort, Usable]]


class StaleFlow(NamedTuple):
    """UDP connections to `destination` (an address, or empty for any) and `port` (0 for any), which
    were translated to `endpoint` (empty for whatever it was)."""

    destination: str
    port: int
    endpoint: str


def _fronts(port: ServicePort) -> Iterable[tuple[str, int]]:
    """Where clients send to."""
    for ip in (port.cluster_ip, *port.external_ips, *port.load_balancer_ips):
        yield ip, 0
    if port.node_port:
        yield "", port.node_port


def stale_flows(before: Served, after: Served) -> list[StaleFlow]:
    """What to forget when a Service's ports and endpoints go from `before` to `after`: connections
    to endpoints that went, and all of a Service that had no endpoint until now."""
    found: dict[StaleFlow, None] = {}
    for key, (port, usable) in before.items():
        if port.protocol != "udp":
            continue
        still = {e.address for e in after[key][1].reachable} if key in after else set()
        for endpoint in usable.reachable:
            if endpoint.address not in still:
                found.update({StaleFlow(ip, number, endpoint.ip): None for ip, number in _fronts(port)})
    for key, (port, usable) in after.items():
        empty_before = key not in before or not before[key][1].reachable
        if port.protocol == "udp" and usable.reachable and empty_before:
            found.update({StaleFlow(ip, number, ""): None for ip, number in _fronts(port)})
    return list(found)
