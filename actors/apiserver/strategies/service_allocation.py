"""Cluster IPs, IP families and node ports of Services.

Owns how these fields depend on each other and when addresses and ports are taken and given back
(`pkg/registry/core/service/storage/alloc.go`). The pools themselves are the `Context`'s allocators.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._addresses import parse_ip
from actors.apiserver.strategies._context import AllocationError, Context
from actors.apiserver.strategies._errors import FieldError, invalid
from actors.apiserver.strategies.service_validation import (
    externally_accessible,
    is_headless,
    needs_health_check,
    validate_cluster_ips,
)

__all__ = [
    "allocate_for_create",
    "allocate_for_update",
    "externally_accessible",
    "needs_cluster_ip",
    "needs_health_check",
    "needs_node_port",
    "release",
]

Object = dict[str, Any]

_IN_CLUSTER = ("ClusterIP", "NodePort", "LoadBalancer")


def needs_cluster_ip(spec: Object) -> bool:
    """All types but ExternalName."""
    return spec.get("type") in _IN_CLUSTER


def needs_node_port(spec: Object) -> bool:
    """NodePort, and LoadBalancer unless it declines."""
    kind = spec.get("type")
    return kind == "NodePort" or (
        kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
    )


def allocate_for_create(service: Object, ctx: Context) -> list[FieldError]:
    """Fill in families, addresses and ports of a new Service."""
    spec = service["spec"]
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    errors = _fill_families(service, None, ctx)
    if errors:
        return errors
    if needs_cluster_ip(spec):
        errors += _take_addresses(service, spec, ctx, set())
    if not errors and needs_node_port(spec):
        errors += _take_ports(spec, ctx, {})
    if not errors and needs_health_check(spec):
        errors += _take_health_port(spec, ctx)
    return errors


def allocate_for_update(new: Object, old: Object, ctx: Context) -> list[FieldError]:
    """Keep what the client left out, take what is new, release what is not needed any more."""
    spec, before = new["spec"], old["spec"]
    _sync_addresses(spec, before)
    _keep_allocated(spec, before)
    errors = _fill_families(new, old, ctx)
    if errors:
        return errors
    held = set(before.get("clusterIPs") or ()) if needs_cluster_ip(before) else set()
    if needs_cluster_ip(spec):
        unchanged = spec.get("clusterIPs") and set(spec["clusterIPs"]) <= held
        if not held or (not unchanged and not is_headless(before) and _grows(spec, before)):
            errors += _take_addresses(new, spec, ctx, held)
    for address in held - set(spec.get("clusterIPs") or () if needs_cluster_ip(spec) else ()):
        if address != "None" and not errors and not needs_cluster_ip(spec):
            ctx.allocators.release_ip(address)
    if errors:
        return errors
    return errors + _update_ports(spec, before, ctx)


def release(spec: Object, ctx: Context) -> None:
    """Give back all that a deleted Service had."""
    if needs_cluster_ip(spec):
        for address in spec.get("clusterIPs") or ():
            if address not in ("None", ""):
                ctx.allocators.release_ip(address)
    for port in spec.get("ports") or ():
        if port.get("nodePort"):
            ctx.allocators.release_port(port["nodePort"])
    if spec.get("healthCheckNodePort"):
        ctx.allocators.release_port(spec["healthCheckNodePort"])


# --- addresses ----------------------------------------------------------------------------------


def _grows(spec: Object, before: Object) -> bool:
    """A second address is wanted, or the first one is not there."""
    return len(spec.get("ipFamilies") or ()) > len(before.get("clusterIPs") or ()) or not spec.get(
        "clusterIPs"
    )


def _sync_addresses(spec: Object, before: Object) -> None:
    """`clusterIP` and `clusterIPs[0]` are one thing: follow the one that the client changed."""
    now, was = spec.get("clusterIP", ""), before.get("clusterIP", "")
    many, were = spec.get("clusterIPs") or [], before.get("clusterIPs") or []
    if now == was:
        return
    if not now and many == were:
        spec.pop("clusterIPs", None)
    elif (now and many == were) or (now and not many):
        spec["clusterIPs"] = [now]


def _keep_allocated(spec: Object, before: Object) -> None:
    if needs_cluster_ip(before) and needs_cluster_ip(spec):
        if not spec.get("clusterIP") and before.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
        if not spec.get("clusterIPs") and spec.get("clusterIP") == before.get("clusterIP"):
            if before.get("clusterIPs"):
                spec["clusterIPs"] = list(before["clusterIPs"])
    if needs_node_port(before) and needs_node_port(spec):
        _keep_node_ports(spec, before)
    if needs_health_check(before) and needs_health_check(spec):
        if not spec.get("healthCheckNodePort") and before.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = before["healthCheckNodePort"]


def _keep_node_ports(spec: Object, before: Object) -> None:
    """A port keeps its node port by name, unless another port has it now."""

    def in_use(given: Object) -> set[int]:
        return {port["nodePort"] for port in given.get("ports") or () if port.get("nodePort")}

    used = in_use(before) & in_use(spec)
    by_name = {port.get("name", ""): port.get("nodePort", 0) for port in before.get("ports") or ()}
    for port in spec.get("ports") or ():
        if not port.get("nodePort"):
            known = by_name.get(port.get("name", ""), 0)
            if known and known not in used:
                port["nodePort"] = known
                used.add(known)


def _family_of(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _fill_families(service: Object, old: Object | None, ctx: Context) -> list[FieldError]:
    """Infer `ipFamilies` and `ipFamilyPolicy` from each other, the addresses and the cluster."""
    spec = service["spec"]
    if not needs_cluster_ip(spec):
        return []
    errors = validate_cluster_ips(service, old)
    if errors:
        return errors
    if old is not None:
        _trim_to_single_stack(spec, old["spec"])
    addresses = spec.get("clusterIPs") or []
    families = list(spec.get("ipFamilies") or ())
    for index, address in enumerate(addresses):
        if address != "None" and index >= len(families) and parse_ip(address) is not None:
            families.append(_family_of(address))
    cluster = ctx.allocators.ip_families()
    headless = addresses[:1] == ["None"]
    if headless and not spec.get("selector"):
        policy = spec.setdefault("ipFamilyPolicy", "RequireDualStack")
        if not families:
            families = [cluster[0]]
        if policy != "SingleStack" and len(families) == 1:
            families.append("IPv6" if families[0] == "IPv4" else "IPv4")
        spec["ipFamilies"] = families
        return []
    if not spec.get("ipFamilyPolicy"):
        dual = len(addresses) == 2 or len(families) == 2
        spec["ipFamilyPolicy"] = "RequireDualStack" if dual else "SingleStack"
    return _fit_cluster(spec, families, cluster)


def _fit_cluster(spec: Object, families: list[str], cluster: tuple[str, ...]) -> list[FieldError]:
    policy = spec["ipFamilyPolicy"]
    errors: list[FieldError] = []
    addresses = spec.get("clusterIPs") or []
    if policy == "SingleStack":
        if len(addresses) == 2:
            detail = "must be RequireDualStack or PreferDualStack when multiple cluster IPs are specified"
            errors.append(invalid("spec.ipFamilyPolicy", policy, detail))
        if len(families) == 2:
            detail = "must be RequireDualStack or PreferDualStack when multiple IP families are specified"
            errors.append(invalid("spec.ipFamilyPolicy", policy, detail))
    if policy == "RequireDualStack" and len(cluster) < 2:
        detail = "this cluster is not configured for dual-stack services"
        errors.append(invalid("spec.ipFamilyPolicy", policy, detail))
    for index, family in enumerate(families):
        if family not in cluster:
            detail = "not configured on this cluster"
            errors.append(invalid(f"spec.ipFamilies[{index}]", family, detail))
    if errors:
        return errors
    if not families:
        families.append(cluster[0])
    if policy != "SingleStack" and len(families) == 1 and len(cluster) == 2:
        families.append("IPv6" if families[0] == "IPv4" else "IPv4")
    spec["ipFamilies"] = families
    return []


def _trim_to_single_stack(spec: Object, before: Object) -> None:
    """A change to SingleStack drops the second address and family that were only repeated."""
    if spec.get("ipFamilyPolicy") != "SingleStack":
        return
    for key in ("clusterIPs", "ipFamilies"):
        if len(spec.get(key) or ()) == 2 and spec.get(key) == before.get(key):
            spec[key] = spec[key][:1]


def _take_addresses(
    service: Object, spec: Object, ctx: Context, held: set[str]
) -> list[FieldError]:
    wanted = list(spec.get("clusterIPs") or ())
    if wanted[:1] == ["None"]:
        return []
    meta = service["metadata"]
    taken: list[str] = []
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        asked = wanted[index] if index < len(wanted) else ""
        if asked and asked in held:
            taken.append(asked)
            continue
        try:
            taken.append(
                ctx.allocators.allocate_ip(
                    family, asked, meta.get("namespace", ""), meta.get("name", "")
                )
            )
        except AllocationError as error:
            for address in taken:
                if address not in held:
                    ctx.allocators.release_ip(address)
            what = f"failed to allocate IP {asked}: {error}" if asked else f"failed to allocate a serviceIP: {error}"
            return [invalid("spec.clusterIPs", wanted or None, what)]
    spec["clusterIPs"] = taken
    spec["clusterIP"] = taken[0]
    return []


# --- ports --------------------------------------------------------------------------------------


def _take_ports(spec: Object, ctx: Context, held: dict[int, str]) -> list[FieldError]:
    """Node ports for all ports without one, and those that are asked for by number.

    Two ports of one Service may share a number when their protocols differ.
    """
    errors: list[FieldError] = []
    by_port: dict[tuple[int, str], int] = {}
    mine = dict.fromkeys(held, "")
    for index, port in enumerate(spec.get("ports") or ()):
        wanted, protocol = port.get("nodePort", 0), port.get("protocol", "TCP")
        if wanted and wanted in mine:
            continue
        shared = next((n for (p, q), n in by_port.items() if p == port.get("port") and q != protocol), 0)
        if not wanted and shared:
            port["nodePort"] = shared
            continue
        try:
            number = ctx.allocators.allocate_port(wanted, protocol)
        except AllocationError as error:
            at = f"spec.ports[{index}].nodePort"
            errors.append(invalid(at, wanted, str(error)))
            break
        port["nodePort"] = number
        mine[number] = protocol
        by_port[(port.get("port", 0), protocol)] = number
    return errors


def _take_health_port(spec: Object, ctx: Context) -> list[FieldError]:
    wanted = spec.get("healthCheckNodePort", 0)
    try:
        spec["healthCheckNodePort"] = ctx.allocators.allocate_port(wanted, "TCP")
    except AllocationError as error:
        detail = f"failed to allocate requested HealthCheck NodePort {wanted}: {error}"
        return [FieldError("InternalError", "spec.healthCheckNodePort", detail)]
    return []


def _update_ports(spec: Object, before: Object, ctx: Context) -> list[FieldError]:
    held = {
        port["nodePort"]: port.get("protocol", "TCP")
        for port in before.get("ports") or ()
        if port.get("nodePort")
    }
    errors: list[FieldError] = []
    kept: set[int] = set()
    if needs_node_port(spec):
        errors += _take_ports(spec, ctx, held)
        kept = {port.get("nodePort", 0) for port in spec.get("ports") or ()}
    elif spec.get("type") == "LoadBalancer":
        kept = {port.get("nodePort", 0) for port in spec.get("ports") or ()}
        extra = [p for p in spec.get("ports") or () if p.get("nodePort") and p["nodePort"] not in held]
        if extra:
            errors += _take_ports({"ports": extra}, ctx, held)
    if not errors:
        for number in held:
            if number not in kept:
                ctx.allocators.release_port(number)
    had, needs = needs_health_check(before), needs_health_check(spec)
    if not errors and needs and not had:
        errors += _take_health_port(spec, ctx)
    if not errors and had and not needs and before.get("healthCheckNodePort"):
        ctx.allocators.release_port(before["healthCheckNodePort"])
    return errors
