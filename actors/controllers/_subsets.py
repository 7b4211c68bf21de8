"""The subsets of an Endpoints object.

Owns how pods become addresses grouped by their ports, ready apart from not ready, at most 1000 in
all. It knows objects only. Facts: kubernetes pkg/controller/endpoint/endpoints_controller.go,
pkg/api/v1/endpoints/util.go.

    pods                                   subsets
    up    10.0.0.5 ready     http=8080     addresses [10.0.0.5]          ports [8080]
    down  10.0.0.6 not ready http=9090     notReadyAddresses [10.0.0.6]  ports [9090]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from actors.controllers._servicepods import (
    address_types,
    addresses_of,
    belongs,
    hostname_of,
    is_headless,
    port_hash,
    ports_key,
    ports_of,
    ready,
    target_ref,
)
from protocol.objects import Object, spec

__all__ = ["CAPACITY", "subsets_of", "truncated"]

CAPACITY = 1000


def subsets_of(service: Object, pods: Iterable[Object]) -> list[Object]:
    """The subsets for a Service and the pods that its selector matches."""
    family = address_types(service)[0]
    early = bool(spec(service).get("publishNotReadyAddresses"))
    groups: dict[tuple[Any, ...], _Group] = {}
    for pod in pods:
        if not belongs(pod, with_terminating=early):
            continue
        ips = addresses_of(pod, family)
        if not ips:
            continue
        ports = ports_of(service, pod)
        if not ports and not (is_headless(service) and not spec(service).get("ports")):
            continue
        group = groups.setdefault(ports_key(ports), _Group(ports))
        (group.ready if early or ready(pod) else group.unready).append(_address(ips[0], pod, service))
    return [groups[key].subset() for key in sorted(groups)]


class _Group:
    """Addresses that offer the same ports."""

    def __init__(self, ports: list[Object]) -> None:
        self.ports = sorted(ports, key=lambda p: port_hash(p, pointers=False))
        self.ready: list[Object] = []
        self.unready: list[Object] = []

    def subset(self) -> Object:
        found: Object = {}
        if self.ready:
            found["addresses"] = sorted(self.ready, key=_order)
        if self.unready:
            found["notReadyAddresses"] = sorted(self.unready, key=_order)
        if self.ports:
            found["ports"] = [{k: v for k, v in p.items() if v != ""} for p in self.ports]
        return found


def _order(address: Object) -> tuple[str, str]:
    return address["ip"], address["targetRef"]["uid"]


def _address(ip: str, pod: Object, service: Object) -> Object:
    found: Object = {"ip": ip, "targetRef": target_ref(pod)}
    if spec(pod).get("nodeName"):
        found["nodeName"] = spec(pod)["nodeName"]
    hostname = hostname_of(pod, service)
    if hostname:
        found["hostname"] = hostname
    return found


def truncated(subsets: list[Object], limit: int = CAPACITY) -> tuple[list[Object], bool]:
    """-> the subsets with at most `limit` addresses, ready ones first, and whether any was cut.

    Each subset keeps a share in proportion to its size.
    """
    fields = ("addresses", "notReadyAddresses")
    totals = {f: sum(len(s.get(f) or ()) for s in subsets) for f in fields}
    if sum(totals.values()) <= limit:
        return subsets, False
    keep = {"addresses": min(totals["addresses"], limit)}
    keep["notReadyAddresses"] = min(totals["notReadyAddresses"], limit - keep["addresses"])
    rest = dict(keep)
    found: list[Object] = []
    for subset in subsets:
        cut = {**subset}
        for field in fields:
            size = len(cut.pop(field, None) or ())
            share = min(-(-keep[field] * size // totals[field]), rest[field]) if size else 0
            if share:
                cut[field] = subset[field][:share]
                rest[field] -= share
        if cut.get("addresses") or cut.get("notReadyAddresses"):
            found.append(cut)
    return found, True
