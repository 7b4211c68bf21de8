"""What may change of a Service, and its status.

Owns the immutability of addresses and families and the load balancer's status.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._addresses import parse_ip, strict_ip
from actors.apiserver.strategies._errors import FieldError, forbidden, invalid, not_supported, required
from actors.apiserver.strategies.service_validation import (
    check_class,
    is_headless,
    needs_health_check,
    validate_service,
)
from protocol.names import dns1123_subdomain

__all__ = ["ingress_addresses", "validate_load_balancer_status", "validate_service_update"]

Object = dict[str, Any]
_MODES = ("Proxy", "VIP")
_ONCE = "may not change once set"


def validate_service_update(new: Object, old: Object) -> list[FieldError]:
    """What of a Service may change, and the new one by itself."""
    spec, before = new["spec"], old["spec"]
    errors: list[FieldError] = []
    if "ExternalName" not in (spec.get("type"), before.get("type")):
        headless, was = is_headless(spec), is_headless(before)
        if not (headless and was):
            errors += _changed_addresses(spec, before)
        if not headless and not was:
            errors += _changed_families(spec, before)
    balancers = spec.get("type") == before.get("type") == "LoadBalancer"
    if balancers and spec.get("loadBalancerClass") != before.get("loadBalancerClass"):
        errors.append(invalid("spec.loadBalancerClass", spec.get("loadBalancerClass"), _ONCE))
    errors += check_class(spec)
    if needs_health_check(spec) and needs_health_check(before):
        if spec.get("healthCheckNodePort") != before.get("healthCheckNodePort"):
            errors.append(forbidden("spec.healthCheckNodePort", "field is immutable"))
    return errors + validate_service(new, old)


def _changed_addresses(spec: Object, before: Object) -> list[FieldError]:
    now, was = spec.get("clusterIPs") or [], before.get("clusterIPs") or []
    shown = now or None
    errors: list[FieldError] = []
    if len(now) == len(was):
        for index, address in enumerate(was):
            if address != now[index]:
                errors.append(invalid(f"spec.clusterIPs[{index}]", shown, _ONCE))
        return errors
    if len(was) > len(now) and not now:
        detail = "primary clusterIP can not be unset"
        errors.append(invalid("spec.clusterIPs[0]", shown, detail))
    if was and now and now[0] != was[0]:
        errors.append(invalid("spec.clusterIPs[0]", shown, _ONCE))
    if len(was) > len(now) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        errors.append(invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), detail))
    return errors


def _changed_families(spec: Object, before: Object) -> list[FieldError]:
    now, was = spec.get("ipFamilies") or [], before.get("ipFamilies") or []
    at, shown = "spec.ipFamilies[0]", now or None
    errors: list[FieldError] = []
    if len(now) == len(was):
        return [invalid(at, shown, _ONCE) for one, two in zip(was, now, strict=True) if one != two]
    if len(was) > len(now) and not spec.get("clusterIPs"):
        errors.append(invalid(at, shown, "primary ipFamily can not be unset"))
    if was and now and now[0] != was[0]:
        errors.append(invalid(at, spec.get("clusterIPs"), _ONCE))
    if len(was) > len(now) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        errors.append(invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), detail))
    return errors


def validate_load_balancer_status(new: Object, old: Object) -> list[FieldError]:
    """What a load balancer's controller reports."""
    at = "status.loadBalancer.ingress"
    now, was = (
        ((o.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [] for o in (new, old)
    )
    if now and (new.get("spec") or {}).get("type") != "LoadBalancer":
        return [forbidden(at, "may only be used when `spec.type` is 'LoadBalancer'")]
    known = {item.get("ip") for item in was}
    errors: list[FieldError] = []
    for index, ingress in enumerate(now):
        where = f"{at}[{index}]"
        address, mode, name = ingress.get("ip", ""), ingress.get("ipMode"), ingress.get("hostname", "")
        if address and address not in known:
            errors += [invalid(where + ".ip", address, message) for message in strict_ip(address)]
        if mode is None:
            if address:
                errors.append(required(where + ".ipMode", "must be specified when `ip` is set"))
        elif not address:
            errors.append(forbidden(where + ".ipMode", "may not be specified when `ip` is not set"))
        elif mode not in _MODES:
            errors.append(not_supported(where + ".ipMode", mode, _MODES))
        if name:
            errors += [invalid(where + ".hostname", name, m) for m in dns1123_subdomain(name)]
            if parse_ip(name) is not None:
                detail = "must be a DNS name, not an IP address"
                errors.append(invalid(where + ".hostname", name, detail))
    return errors


def ingress_addresses(obj: Object) -> list[str]:
    """Addresses, or names where there are none, of a load balancer's status."""
    balancer = (obj.get("status") or {}).get("loadBalancer") or {}
    found = (item.get("ip") or item.get("hostname") or "" for item in balancer.get("ingress") or ())
    return [address for address in found if address]
