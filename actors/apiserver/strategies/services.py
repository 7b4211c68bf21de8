"""Service: the strategy.

Owns its defaults, what is dropped with a change of type, status rules, warnings, columns and
selectable fields. Addresses and ports are given out in `service_allocation`, validation is in
`service_validation`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._errors import FieldError
from actors.apiserver.strategies._meta import NameRule
from actors.apiserver.strategies._selectors import format_labels
from actors.apiserver.strategies._warnings import cidr_warnings, ip_warnings
from actors.apiserver.strategies.service_allocation import (
    allocate_for_create,
    allocate_for_update,
    externally_accessible,
    needs_cluster_ip,
    needs_health_check,
    needs_node_port,
    release,
)
from actors.apiserver.strategies.service_updates import validate_load_balancer_status, validate_service_update
from actors.apiserver.strategies.service_validation import validate_service
from protocol.names import dns_label_name

__all__ = ["ServiceStrategy"]


class ServiceStrategy(Strategy):
    """Service."""

    name_rule: ClassVar[NameRule] = staticmethod(dns_label_name)
    has_status = True
    allow_create_on_update = True
    standard_finalizers_only = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        _default_affinity(spec)
        if not spec.get("type"):
            spec["type"] = "ClusterIP"
        for port in spec.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"
            if port.get("targetPort") in (None, 0, ""):
                port["targetPort"] = port.get("port", 0)
        if externally_accessible(spec) and not spec.get("externalTrafficPolicy"):
            spec["externalTrafficPolicy"] = "Cluster"
        if needs_cluster_ip(spec):
            spec.setdefault("internalTrafficPolicy", "Cluster")
        if spec["type"] == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)
            balancer = (obj.get("status") or {}).get("loadBalancer") or {}
            for ingress in balancer.get("ingress") or ():
                if ingress.get("ip"):
                    ingress.setdefault("ipMode", "VIP")

    def reset_status(self, obj: Object) -> None:
        obj["status"] = {"loadBalancer": {}}

    def begin_create(self, obj: Object, ctx: Context) -> list[FieldError]:
        return allocate_for_create(obj, ctx)

    def begin_update(self, new: Object, old: Object, ctx: Context) -> list[FieldError]:
        return allocate_for_update(new, old, ctx)

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        if old is not None:
            _drop_for_type(new["spec"], old["spec"])

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + validate_service(obj, None)

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + validate_service_update(new, old)

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + validate_load_balancer_status(new, old)

    def release(self, obj: Object, ctx: Context) -> None:
        """Give back what a deleted service had."""
        release(obj["spec"], ctx)

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        return _warnings(new)

    def columns(self) -> tuple[Column, ...]:
        return _COLUMNS

    def row(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        addresses = spec.get("clusterIPs") or []
        return [
            obj["metadata"].get("name", ""),
            spec.get("type", ""),
            addresses[0] if addresses else "<none>",
            _external_ip(spec, obj.get("status") or {}),
            ",".join(_port_cell(port) for port in spec.get("ports") or ()) or "<none>",
            self.age(obj, now),
            format_labels(spec.get("selector")),
        ]

    def fields(self, obj: Object) -> dict[str, str]:
        spec = obj.get("spec") or {}
        return {
            **super().fields(obj),
            "spec.clusterIP": spec.get("clusterIP", ""),
            "spec.type": spec.get("type", ""),
        }


def _default_affinity(spec: Object) -> None:
    affinity = spec.get("sessionAffinity") or "None"
    spec["sessionAffinity"] = affinity
    if affinity == "None":
        spec.pop("sessionAffinityConfig", None)
    elif affinity == "ClientIP":
        client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        if client.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}


def _drop_for_type(new: Object, old: Object) -> None:
    """Fields that belonged to the former type go, unless the client changed them itself."""

    def drop(*names: str) -> None:
        for name in names:
            if new.get(name) == old.get(name):
                new.pop(name, None)

    if needs_cluster_ip(old) and not needs_cluster_ip(new):
        if new.get("clusterIP") == old.get("clusterIP"):
            drop("clusterIP", "clusterIPs")
        drop("ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy")
    if needs_node_port(old) and not needs_node_port(new) and _same_node_ports(new, old):
        for port in new.get("ports") or ():
            port.pop("nodePort", None)
    if needs_health_check(old) and not needs_health_check(new):
        drop("healthCheckNodePort")
    if old.get("type") == "LoadBalancer" != new.get("type"):
        drop("allocateLoadBalancerNodePorts", "loadBalancerClass")
    if externally_accessible(old) and not externally_accessible(new):
        drop("externalTrafficPolicy")


def _same_node_ports(new: Object, old: Object) -> bool:
    now, was = ({p.get("nodePort", 0) for p in s.get("ports") or ()} - {0} for s in (new, old))
    return now == was


def _warnings(service: Object) -> list[str]:
    spec = service.get("spec") or {}
    out: list[str] = []
    annotations = service["metadata"].get("annotations") or {}
    if "service.kubernetes.io/topology-aware-hints" in annotations:
        out.append(
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
            "service.kubernetes.io/topology-mode instead"
        )
    kind, address = spec.get("type"), spec.get("clusterIP", "")
    headless = kind == "ClusterIP" and address == "None"
    if address and address != "None":
        for index, cluster_ip in enumerate(spec.get("clusterIPs") or ()):
            out += ip_warnings(f"spec.clusterIPs[{index}]", cluster_ip)
    if headless:
        if spec.get("loadBalancerIP"):
            out.append("spec.loadBalancerIP is ignored for headless services")
        if spec.get("externalIPs"):
            out.append("spec.externalIPs is ignored for headless services")
        if spec.get("sessionAffinity") not in (None, "", "None"):
            out.append("spec.SessionAffinity is ignored for headless services")
    for index, external in enumerate(spec.get("externalIPs") or ()):
        out += ip_warnings(f"spec.externalIPs[{index}]", external)
    if spec.get("externalIPs") and not headless and kind != "ExternalName":
        out.append(
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
        )
    if spec.get("loadBalancerIP"):
        out += ip_warnings("spec.loadBalancerIP", spec["loadBalancerIP"])
    for index, cidr in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        out += cidr_warnings(f"spec.loadBalancerSourceRanges[{index}]", cidr)
    if kind == "ExternalName" and spec.get("externalIPs"):
        out.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if kind != "ExternalName" and spec.get("externalName"):
        out.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        out.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return out


def _port_cell(port: Object) -> str:
    node_port = port.get("nodePort", 0)
    number = f"{port.get('port', 0)}:{node_port}" if node_port > 0 else str(port.get("port", 0))
    return f"{number}/{port.get('protocol', '')}"


def balancer_addresses(status: Object) -> list[str]:
    """Addresses or names of a load balancer, each once, sorted."""
    ingress = (status.get("loadBalancer") or {}).get("ingress") or ()
    return sorted({item.get("ip") or item.get("hostname") or "" for item in ingress} - {""})


def _external_ip(spec: Object, status: Object) -> str:
    kind, external = spec.get("type"), spec.get("externalIPs") or []
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(external) or "<none>"
    if kind == "LoadBalancer":
        return ",".join([*balancer_addresses(status), *external]) or "<pending>"
    return spec.get("externalName", "") if kind == "ExternalName" else "<unknown>"


_COLUMNS = (
    NAME,
    Column("Type", "string", "", "How the service is reached."),
    Column("Cluster-IP", "string", "", "Address inside of the cluster."),
    Column("External-IP", "string", "", "Addresses outside of the cluster."),
    Column("Port(s)", "string", "", "Ports, with node ports and protocols."),
    AGE,
    Column("Selector", "string", "", "Labels of the pods behind it.", 1),
)
