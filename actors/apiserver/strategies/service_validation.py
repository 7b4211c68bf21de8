"""Validation of Services.

Owns the causes of `validateService` in upstream's order, also for updates and the status.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._addresses import cidr_problem, strict_ip
from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._meta import validate_labels
from actors.apiserver.strategies.endpoints import reserved_address
from actors.apiserver.strategies.pod_probes import validate_port
from protocol.names import dns1123_label, dns1123_subdomain, port_number, qualified_name

__all__ = ["externally_accessible", "is_headless", "needs_health_check", "validate_cluster_ips", "validate_service"]

Object = dict[str, Any]

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_AFFINITIES = ("ClientIP", "None")
_FAMILIES = ("IPv4", "IPv6")
_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_TRAFFIC = ("Cluster", "Local")
_DISTRIBUTION = ("PreferClose", "PreferSameZone", "PreferSameNode")
_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_HINTS = "service.kubernetes.io/topology-aware-hints"
_MODE = "service.kubernetes.io/topology-mode"
_ONLY_BALANCER = "may only be used when `type` is 'LoadBalancer'"


def is_headless(spec: Object) -> bool:
    """No cluster IP by choice."""
    return spec.get("clusterIPs") == ["None"]


def externally_accessible(spec: Object) -> bool:
    """Reachable from outside of the cluster."""
    kind = spec.get("type")
    return kind in ("LoadBalancer", "NodePort") or (
        kind == "ClusterIP" and bool(spec.get("externalIPs"))
    )


def needs_health_check(spec: Object) -> bool:
    """Load balancers that keep client addresses must know which nodes have endpoints."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def validate_service(service: Object, old: Object | None) -> list[FieldError]:
    """A Service without its metadata."""
    spec = service.get("spec") or {}
    before = (old or {}).get("spec") or {}
    annotations = service["metadata"].get("annotations") or {}
    errors = _check_annotations(annotations)
    ports = spec.get("ports") or []
    headless = is_headless(spec)
    kind = spec.get("type", "")
    if not ports and not headless and kind != "ExternalName":
        errors.append(required("spec.ports"))
    errors += _check_type_fields(spec, kind, headless)
    errors += _check_ports(ports)
    errors += validate_labels(spec.get("selector"), "spec.selector")
    errors += _check_affinity(spec)
    errors += validate_cluster_ips(service, old)
    known = before.get("externalIPs") or []
    for index, address in enumerate(spec.get("externalIPs") or ()):
        at = f"spec.externalIPs[{index}]"
        problems = () if address in known else strict_ip(address)
        errors += [invalid(at, address, m) for m in problems] or reserved_address(address, at)
    if kind not in _TYPES:
        errors.append(not_supported("spec.type", kind, _TYPES) if kind else required("spec.type"))
    errors += _check_node_ports(ports, kind)
    errors += _check_balancer(spec, before, annotations, old)
    errors += _check_traffic(spec)
    return errors


def _check_annotations(annotations: Object) -> list[FieldError]:
    if _HINTS in annotations and _MODE in annotations and annotations[_HINTS] != annotations[_MODE]:
        detail = f"must match annotations[{_HINTS}] when both are specified"
        return [invalid(f"metadata.annotations[{_MODE}]", annotations[_MODE], detail)]
    return []


def _check_type_fields(spec: Object, kind: str, headless: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    if kind in ("LoadBalancer", "NodePort"):
        if headless:
            detail = f"may not be set to 'None' for {kind} services"
            errors.append(invalid("spec.clusterIPs[0]", "None", detail))
    elif kind == "ExternalName":
        for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(name):
                detail = "may not be set for ExternalName services"
                errors.append(forbidden(f"spec.{name}", detail))
        target = spec.get("externalName", "").removesuffix(".")
        if target:
            errors += [invalid("spec.externalName", target, m) for m in dns1123_subdomain(target)]
        else:
            errors.append(required("spec.externalName"))
    return errors


def _check_ports(ports: list[Object]) -> list[FieldError]:
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        at = f"spec.ports[{index}]"
        name, protocol = port.get("name", ""), port.get("protocol", "")
        if name:
            errors += [invalid(at + ".name", name, message) for message in dns1123_label(name)]
            if name in names:
                errors.append(duplicate(at + ".name", name))
            names.add(name)
        elif len(ports) > 1:
            errors.append(required(at + ".name"))
        number = port.get("port", 0)
        errors += [invalid(at + ".port", number, message) for message in port_number(number)]
        if protocol not in _PROTOCOLS:
            where = at + ".protocol"
            errors.append(not_supported(where, protocol, _PROTOCOLS) if protocol else required(where))
        errors += validate_port(port.get("targetPort", 0), at + ".targetPort")
        app = port.get("appProtocol")
        if app is not None:
            errors += [invalid(at + ".appProtocol", app, m) for m in qualified_name(app)]
    return errors


def _check_affinity(spec: Object) -> list[FieldError]:
    affinity, config = spec.get("sessionAffinity", ""), spec.get("sessionAffinityConfig")
    errors: list[FieldError] = []
    at = "spec.sessionAffinityConfig"
    if affinity not in _AFFINITIES:
        where = "spec.sessionAffinity"
        errors.append(not_supported(where, affinity, _AFFINITIES) if affinity else required(where))
    if affinity == "ClientIP":
        detail = "when session affinity type is ClientIP"
        if config is None:
            errors.append(required(at, detail))
        elif config.get("clientIP") is None:
            errors.append(required(at + ".clientIP", detail))
        elif (seconds := config["clientIP"].get("timeoutSeconds")) is None:
            errors.append(required(at + ".clientIP.timeoutSeconds", detail))
        elif not 0 < seconds <= 86400:
            text = "must be greater than 0 and less than 86400"
            errors.append(invalid(at + ".clientIP.timeoutSeconds", seconds, text))
    elif affinity == "None" and config is not None:
        errors.append(forbidden(at, "must not be set when session affinity is None"))
    return errors


def validate_cluster_ips(service: Object, old: Object | None) -> list[FieldError]:
    """`clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy` together."""
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return []
    at = "spec.clusterIPs"
    one, many = spec.get("clusterIP", ""), spec.get("clusterIPs") or []
    errors: list[FieldError] = []
    if one:
        if not many:
            errors.append(required(at))
        elif many[0] != one:
            errors.append(invalid(at, many, "first value must match `clusterIP`"))
    elif many:
        errors.append(invalid(at, many, "must be empty when `clusterIP` is not specified"))
    families = spec.get("ipFamilies") or []
    for index, family in enumerate(families):
        where = f"spec.ipFamilies[{index}]"
        if family not in _FAMILIES:
            errors.append(not_supported(where, family, _FAMILIES))
        if family in families[:index]:
            errors.append(duplicate(where, family))
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _POLICIES:
        errors.append(not_supported("spec.ipFamilyPolicy", policy, _POLICIES))
    found, broken = _check_addresses(many, ((old or {}).get("spec") or {}).get("clusterIPs") or [])
    errors += found
    if broken:
        return errors
    if len(many) > 1 and len({":" in address for address in many}) != 2:
        detail = "may specify no more than one IP for each IP family"
        errors.append(invalid(at, many, detail))
    if not is_headless(spec):
        for index, (address, family) in enumerate(zip(many, families, strict=False)):
            if family in _FAMILIES and (":" in address) != (family == "IPv6"):
                detail = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
                errors.append(invalid(f"{at}[{index}]", address, detail))
    return errors


def _check_addresses(many: list[str], known: list[str]) -> tuple[list[FieldError], bool]:
    errors: list[FieldError] = []
    broken = False
    for index, address in enumerate(many):
        if index == 0 and address == "None":
            if len(many) > 1:
                broken = True
                detail = "'None' must be the first and only value"
                errors.append(invalid("spec.clusterIPs", many, detail))
            continue
        if address not in known:
            problems = strict_ip(address)
            broken = broken or bool(problems)
            errors += [invalid(f"spec.clusterIPs[{index}]", address, m) for m in problems]
    if len(many) > 2:
        errors.append(invalid("spec.clusterIPs", many, "may only hold up to 2 values"))
    return errors, broken


def _check_node_ports(ports: list[Object], kind: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if kind == "ClusterIP":
        detail = "may not be used when `type` is 'ClusterIP'"
        errors += [
            forbidden(f"spec.ports[{index}].nodePort", detail)
            for index, port in enumerate(ports)
            if port.get("nodePort")
        ]
    taken: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        key = (port.get("protocol", ""), port.get("nodePort", 0))
        if key[1] and key in taken:
            errors.append(duplicate(f"spec.ports[{index}].nodePort", key[1]))
        taken.add(key)
    taken = set()
    for index, port in enumerate(ports):
        key = (port.get("protocol", ""), port.get("port", 0))
        if key in taken:
            shown = {
                "Name": "",
                "Protocol": key[0],
                "AppProtocol": None,
                "Port": key[1],
                "TargetPort": 0,
                "NodePort": 0,
            }
            errors.append(duplicate(f"spec.ports[{index}]", shown))
        taken.add(key)
    return errors


def _check_balancer(
    spec: Object, before: Object, annotations: Object, old: Object | None
) -> list[FieldError]:
    kind = spec.get("type")
    errors: list[FieldError] = []
    ranges = spec.get("loadBalancerSourceRanges") or []
    if ranges:
        at = "spec.LoadBalancerSourceRanges"
        if kind != "LoadBalancer":
            errors.append(forbidden(at, _ONLY_BALANCER))
        known = [text.strip() for text in before.get("loadBalancerSourceRanges") or ()]
        for index, text in enumerate(ranges):
            value = text.strip()
            if value not in known:
                errors += [invalid(f"{at}[{index}]", value, m) for m in cidr_problem(value)]
    elif _RANGES in annotations:
        at = f"metadata.annotations[{_RANGES}]"
        if kind != "LoadBalancer":
            errors.append(forbidden(at, _ONLY_BALANCER))
        was = ((old or {}).get("metadata") or {}).get("annotations") or {}
        text = annotations[_RANGES].strip()
        if text and was.get(_RANGES) != annotations[_RANGES]:
            for part in text.split(","):
                value = part.strip()
                errors += [invalid(at, value, message) for message in cidr_problem(value)]
    allocate = spec.get("allocateLoadBalancerNodePorts")
    if allocate is not None and kind != "LoadBalancer":
        errors.append(forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCER))
    if allocate is None and kind == "LoadBalancer":
        errors.append(required("allocateLoadBalancerNodePorts"))
    return errors + check_class(spec)


def check_class(spec: Object) -> list[FieldError]:
    name = spec.get("loadBalancerClass")
    if name is None:
        return []
    if spec.get("type") != "LoadBalancer":
        return [forbidden("spec.loadBalancerClass", _ONLY_BALANCER)]
    return [invalid("spec.loadBalancerClass", name, message) for message in qualified_name(name)]


def _check_traffic(spec: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    at, policy = "spec.externalTrafficPolicy", spec.get("externalTrafficPolicy", "")
    if not externally_accessible(spec):
        if policy:
            detail = "may only be set for externally-accessible services"
            errors.append(invalid(at, policy, detail))
    elif policy not in _TRAFFIC:
        errors.append(not_supported(at, policy, _TRAFFIC) if policy else required(at))
    at, port = "spec.healthCheckNodePort", spec.get("healthCheckNodePort", 0)
    if not needs_health_check(spec):
        if port:
            detail = (
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            )
            errors.append(invalid(at, port, detail))
    elif not port:
        errors.append(required(at))
    else:
        errors += [invalid(at, port, message) for message in port_number(port)]
    at, internal = "spec.internalTrafficPolicy", spec.get("internalTrafficPolicy")
    if internal is None:
        if spec.get("type") in ("NodePort", "LoadBalancer", "ClusterIP"):
            errors.append(required(at))
    elif internal not in _TRAFFIC:
        errors.append(not_supported(at, internal, _TRAFFIC))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTION:
        errors.append(not_supported("spec.trafficDistribution", distribution, _DISTRIBUTION))
    return errors
