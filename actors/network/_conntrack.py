"""Which connections of UDP Services are stale.

UDP has no end that conntrack could see: as long as a client sends, its connection leads to where it
led before, even to an endpoint that has gone, or to nothing. An endpoint that terminates but still
serves keeps its connections, and traffic policies end none. Owns the list of what must be forgotten; it
forgets nothing itself. Facts: kubernetes pkg/proxy/conntrack/cleanup.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from actors.network._endpoint import Usable
from actors.network._service import ServicePort

__all__ = ["Front", "StaleFlow", "fronts", "stale_flows", "strays"]

Served = Mapping[tuple[str, str], tuple[ServicePort, Usable]]
_FLOW = re.compile(r"\bdst=(\S+) .*?\bdport=(\d+) .*?\bsrc=(\S+)")


class StaleFlow(NamedTuple):
    """UDP connections to `destination` (an address, or empty for any) and `port`, which were
    translated to `endpoint` (empty for whatever it was)."""

    destination: str
    port: int
    endpoint: str


class Front(NamedTuple):
    """Where clients of a UDP Service send to (`destination` as in StaleFlow), and who serves it."""

    destination: str
    port: int
    serving: tuple[str, ...]


def _places(port: ServicePort) -> Iterable[tuple[str, int]]:
    for ip in (port.cluster_ip, *port.external_ips, *port.load_balancer_ips):
        yield ip, port.port
    if port.node_port:
        yield "", port.node_port


def fronts(served: Served) -> Iterable[Front]:
    """The places of a Service's UDP ports that somebody serves."""
    for port, usable in served.values():
        if port.protocol == "udp" and usable.serving:
            yield from (Front(ip, number, usable.serving) for ip, number in _places(port))


def stale_flows(before: Served, after: Served) -> list[StaleFlow]:
    """What to forget when a Service's ports and endpoints go from `before` to `after`: connections
    to endpoints that went, and all of a port that nobody served until now."""
    found: dict[StaleFlow, None] = {}
    for key, (port, usable) in before.items():
        if port.protocol == "udp":
            still = after[key][1].serving if key in after else ()
            gone = [ip for ip in usable.serving if ip not in still]
            found.update({StaleFlow(ip, number, went): None for went in gone for ip, number in _places(port)})
    for key, (port, usable) in after.items():
        empty_before = key not in before or not before[key][1].serving
        if port.protocol == "udp" and usable.serving and empty_before:
            found.update({StaleFlow(ip, number, ""): None for ip, number in _places(port)})
    return list(found)


def strays(listing: str, wanted: Iterable[Front]) -> list[StaleFlow]:
    """Of the connections that `conntrack -L -p udp` lists, those to a front that lead to none who
    serves it: left over from before this proxy knew anything."""
    serving: dict[tuple[str, int], set[str]] = {}
    for front in wanted:
        serving.setdefault((front.destination, front.port), set()).update(front.serving)
    found: dict[StaleFlow, None] = {}
    for line in listing.splitlines():
        match = _FLOW.search(line)
        if match is None:
            continue
        destination, port, replies_from = match[1], int(match[2]), match[3]
        for place in (destination, ""):
            endpoints = serving.get((place, port))
            if endpoints is not None and replies_from not in endpoints:
                found[StaleFlow(place, port, replies_from)] = None
    return list(found)
