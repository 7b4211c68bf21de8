"""Services as a kube-proxy sees them: one entry for each port.

Owns which Services are proxied at all and what of a Service matters for rules. Must never look at
endpoints. Facts: kubernetes pkg/proxy/serviceport.go, pkg/api/v1/service/util.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from actors.network._config import family_of, normal_cidr, normal_ip

__all__ = ["HEADLESS_LABEL", "PROXY_NAME_LABEL", "ServicePort", "ports_of"]

PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"


class ServicePort(msgspec.Struct, frozen=True):
    """One port of one Service, of one address family. `protocol` is in lower case."""

    namespace: str
    service: str
    port_name: str
    protocol: str
    cluster_ip: str
    port: int
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    health_check_node_port: int = 0
    affinity_seconds: int = 0  # 0: no session affinity
    external_local: bool = False
    internal_local: bool = False

    @property
    def name(self) -> str:
        """`namespace/service:port`, or `namespace/service` for a port without a name."""
        suffix = f":{self.port_name}" if self.port_name else ""
        return f"{self.namespace}/{self.service}{suffix}"

    @property
    def externally_accessible(self) -> bool:
        return bool(self.node_port or self.load_balancer_ips or self.external_ips)

    @property
    def uses_cluster_endpoints(self) -> bool:
        """External traffic of local pods is short-cut to the cluster-wide endpoints even under
        the policy Local, hence the second half."""
        return not self.internal_local or self.externally_accessible

    @property
    def uses_local_endpoints(self) -> bool:
        return self.internal_local or (self.external_local and self.externally_accessible)


def ports_of(service: Mapping[str, Any], family: str) -> dict[tuple[str, str], ServicePort]:
    """The proxied ports of a Service by (port name, protocol); empty for a Service that is
    headless, an ExternalName, of the other family, or left to another proxy."""
    meta, spec = service["metadata"], service.get("spec") or {}
    labels = meta.get("labels") or {}
    if PROXY_NAME_LABEL in labels or HEADLESS_LABEL in labels:
        return {}
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") in (None, "", "None"):
        return {}
    cluster_ip = _cluster_ip(spec, family)
    if not cluster_ip:
        return {}
    shared = _shared_fields(service, family)
    found = {}
    for port in spec.get("ports") or ():
        protocol = (port.get("protocol") or "TCP").lower()
        entry = ServicePort(
            namespace=meta.get("namespace", ""),
            service=meta["name"],
            port_name=port.get("name") or "",
            protocol=protocol,
            cluster_ip=cluster_ip,
            port=port["port"],
            node_port=port.get("nodePort") or 0,
            **shared,
        )
        found[entry.port_name, protocol] = entry
    return found


def _shared_fields(service: Mapping[str, Any], family: str) -> dict[str, Any]:
    """The fields that all ports of a Service have in common."""
    spec = service.get("spec") or {}
    kind = spec.get("type") or "ClusterIP"
    outside = kind in ("LoadBalancer", "NodePort") or bool(spec.get("externalIPs"))
    external_local = outside and spec.get("externalTrafficPolicy") == "Local"
    affinity = 0
    if spec.get("sessionAffinity") == "ClientIP":
        client_ip = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        affinity = client_ip.get("timeoutSeconds") or 10800
    health = spec.get("healthCheckNodePort") or 0
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    vips = [i["ip"] for i in ingress if i.get("ip") and i.get("ipMode") in (None, "VIP")]
    return {
        "external_ips": _ips(spec.get("externalIPs") or (), family),
        "load_balancer_ips": _ips(vips, family),
        "source_ranges": _ranges(spec.get("loadBalancerSourceRanges") or (), family),
        "health_check_node_port": health if external_local and kind == "LoadBalancer" else 0,
        "affinity_seconds": affinity,
        "external_local": external_local,
        "internal_local": spec.get("internalTrafficPolicy") == "Local",
    }


def _cluster_ip(spec: Mapping[str, Any], family: str) -> str:
    listed = spec.get("clusterIPs") or [spec["clusterIP"]]
    families = spec.get("ipFamilies") or [family_of(ip) for ip in listed]
    for ip, of in zip(listed, families):
        if of == family and ip and ip != "None":
            return normal_ip(ip)
    return ""


def _ips(addresses: Iterable[str], family: str) -> tuple[str, ...]:
    found = []
    for address in addresses:
        try:
            if family_of(address) == family:
                found.append(normal_ip(address))
        except ValueError:
            continue  # the API server lets old objects with odd addresses be: no rule for them
    return tuple(found)


def _ranges(cidrs: Iterable[str], family: str) -> tuple[str, ...]:
    found = []
    for cidr in cidrs:
        try:
            if family_of(cidr) == family:
                found.append(normal_cidr(cidr))
        except ValueError:
            continue
    return tuple(found)
