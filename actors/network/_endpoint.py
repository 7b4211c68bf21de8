"""EndpointSlices as a kube-proxy sees them, and which endpoints serve a Service port on a node.

Owns deduplication over slices, readiness and topology hints. Must never write a rule. Facts:
kubernetes pkg/proxy/endpointslicecache.go and topology.go.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import msgspec

from actors.network._config import family_of
from actors.network._service import HEADLESS_LABEL, PROXY_NAME_LABEL, ServicePort

__all__ = ["Endpoint", "SliceView", "Usable", "merge", "select", "view_of"]

SERVICE_LABEL = "kubernetes.io/service-name"


class Endpoint(msgspec.Struct, frozen=True):
    """One address and port behind a Service port. `local`: on the proxy's own node."""

    ip: str
    port: int
    local: bool = False
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zones: tuple[str, ...] = ()  # hints: zones that should use it
    nodes: tuple[str, ...] = ()  # hints: nodes that should use it

    @property
    def address(self) -> str:
        """`ip:port`, an IPv6 address in brackets."""
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


class SliceView(msgspec.Struct, frozen=True):
    """What matters of one EndpointSlice: endpoints by (port name, protocol in lower case)."""

    service: tuple[str, str]  # namespace, name
    endpoints: dict[tuple[str, str], tuple[Endpoint, ...]]


class Usable(msgspec.Struct, frozen=True):
    """Which endpoints a node uses for one Service port.

    `anywhere`: some node of the cluster has a usable endpoint, though perhaps not this one. `serving`:
    for UDP, the addresses of all that serve, used from here or not.
    """

    cluster: tuple[Endpoint, ...] = ()
    local: tuple[Endpoint, ...] = ()
    reachable: tuple[Endpoint, ...] = ()
    anywhere: bool = False
    serving: tuple[str, ...] = ()


def view_of(endpoint_slice: Mapping[str, Any], family: str, local_nodes: Container[str]) -> SliceView | None:
    """Read a slice; None for one that this proxy does not serve."""
    meta = endpoint_slice["metadata"]
    labels = meta.get("labels") or {}
    service = labels.get(SERVICE_LABEL)
    if not service or HEADLESS_LABEL in labels or PROXY_NAME_LABEL in labels:
        return None
    if endpoint_slice.get("addressType", "IPv4") != family:
        return None
    raw = endpoint_slice.get("endpoints") or ()
    ports: dict[tuple[str, str], tuple[Endpoint, ...]] = {}
    for port in endpoint_slice.get("ports") or ():
        if (port.get("name") is None and "name" in port) or not port.get("port"):
            continue
        key = (port.get("name") or "", (port.get("protocol") or "TCP").lower())
        read = tuple(_endpoint(e, port["port"], local_nodes) for e in raw if _usable_address(e, family))
        ports[key] = ports.get(key, ()) + read
    return SliceView((meta.get("namespace", ""), service), ports)


def _usable_address(endpoint: Mapping[str, Any], family: str) -> bool:
    addresses: list[str] = endpoint.get("addresses") or []
    return bool(addresses) and family_of(addresses[0]) == family


def _endpoint(endpoint: Mapping[str, Any], port: int, local_nodes: Container[str]) -> Endpoint:
    conditions, hints = endpoint.get("conditions") or {}, endpoint.get("hints") or {}
    return Endpoint(
        ip=endpoint["addresses"][0],
        port=port,
        local=endpoint.get("nodeName") in local_nodes,
        ready=conditions.get("ready") is not False,
        serving=conditions.get("serving") is not False,
        terminating=conditions.get("terminating") is True,
        zones=tuple(z["name"] for z in hints.get("forZones") or ()),
        nodes=tuple(n["name"] for n in hints.get("forNodes") or ()),
    )


def merge(slices: Iterable[SliceView], key: tuple[str, str]) -> tuple[Endpoint, ...]:
    """The endpoints of one port over all slices of a Service, each address once, ordered by the
    text of the address; of two entries for one address the local one counts."""
    found: dict[str, Endpoint] = {}
    for view in slices:
        for endpoint in view.endpoints.get(key, ()):
            address = endpoint.address
            if endpoint.local or address not in found:
                found[address] = endpoint
    return tuple(found[address] for address in sorted(found))


def select(endpoints: tuple[Endpoint, ...], port: ServicePort, node_name: str, zone: str) -> Usable:
    """Choose the endpoints that this node uses: ready ones, by topology hints when these are
    complete, else terminating ones that still serve; the choice for the policy Local is made
    among the local endpoints alone."""
    cluster: tuple[Endpoint, ...] = ()
    local: tuple[Endpoint, ...] = ()
    anywhere = False
    if port.uses_cluster_endpoints:
        ready = tuple(e for e in endpoints if e.ready)
        cluster = _by_hints(ready, node_name, zone) or _draining(endpoints)
        anywhere = bool(cluster)
    if port.uses_local_endpoints:
        here = tuple(e for e in endpoints if e.local)
        local = tuple(e for e in here if e.ready) or _draining(here)
        anywhere = anywhere or any(e.ready or (e.serving and e.terminating) for e in endpoints)
    reachable = {e.address: e for e in (*cluster, *local)}
    serving = tuple(dict.fromkeys(e.ip for e in endpoints if e.serving)) if port.protocol == "udp" else ()
    return Usable(cluster, local, tuple(reachable[a] for a in sorted(reachable)), anywhere, serving)


def _draining(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    return tuple(e for e in endpoints if e.serving and e.terminating)


def _by_hints(ready: tuple[Endpoint, ...], node_name: str, zone: str) -> tuple[Endpoint, ...]:
    if all(e.nodes for e in ready):
        same_node = tuple(e for e in ready if node_name in e.nodes)
        if same_node:
            return same_node
    if zone and all(e.zones for e in ready):
        same_zone = tuple(e for e in ready if zone in e.zones)
        if same_zone:
            return same_zone
    return ready
