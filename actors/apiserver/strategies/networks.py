"""NetworkPolicy, ServiceCIDR and IPAddress.

Owns peers and ports of policies, and the ranges and addresses of Services as objects.
"""

from __future__ import annotations

import ipaddress
from typing import Any, ClassVar

from actors.apiserver.strategies._addresses import canonical_cidr, canonical_ip, cidr_problem, parse_ip
from actors.apiserver.strategies._base import AGE, NAME, Column, Object, Strategy
from actors.apiserver.strategies._dump import internal_form
from actors.apiserver.strategies._errors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._meta import FIELD_IS_IMMUTABLE, NameRule
from actors.apiserver.strategies._selectors import format_selector, validate_selector
from actors.apiserver.strategies._warnings import cidr_warnings
from protocol.names import Messages, dns1123_subdomain, path_segment_name, port_name, port_number

__all__ = ["IPAddressStrategy", "NetworkPolicyStrategy", "ServiceCIDRStrategy"]

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_POLICY_TYPES = ("Ingress", "Egress")


class NetworkPolicyStrategy(Strategy):
    """NetworkPolicy."""

    has_generation = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("podSelector", {})
        for direction in ("ingress", "egress"):
            for rule in spec.get(direction) or ():
                for port in rule.get("ports") or ():
                    if port.get("protocol") is None:
                        port["protocol"] = "TCP"
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + self._check_spec(obj.get("spec") or {})

    def _check_spec(self, spec: Object) -> list[FieldError]:
        errors = validate_selector(spec.get("podSelector"), "spec.podSelector")
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for index, rule in enumerate(spec.get(direction) or ()):
                at = f"spec.{direction}[{index}]"
                for number, port in enumerate(rule.get("ports") or ()):
                    errors += _port(port, f"{at}.ports[{number}]")
                for number, peer in enumerate(rule.get(peers) or ()):
                    errors += _peer(peer, f"{at}.{peers}[{number}]")
        types = spec.get("policyTypes") or []
        if len(types) > 2:
            detail = "may not specify more than two policyTypes"
            return [*errors, invalid("spec.policyTypes", types, detail)]
        for index, kind in enumerate(types):
            if kind not in _POLICY_TYPES:
                errors.append(not_supported(f"spec.policyTypes[{index}]", kind, _POLICY_TYPES))
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + self._check_spec(new.get("spec") or {})

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        out: list[str] = []
        spec = new.get("spec") or {}
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for index, rule in enumerate(spec.get(direction) or ()):
                for number, peer in enumerate(rule.get(peers) or ()):
                    block = peer.get("ipBlock")
                    if block is None:
                        continue
                    at = f"spec.{direction}[{index}].{peers}[{number}].ipBlock"
                    out += cidr_warnings(at + ".cidr", block.get("cidr", ""))
                    for place, cidr in enumerate(block.get("except") or ()):
                        out += cidr_warnings(f"{at}.except[{place}]", cidr)
        return out

    def columns(self) -> tuple[Column, ...]:
        return (NAME, Column("Pod-Selector", "string", "", "Pods that it applies to."), AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        selector = (obj.get("spec") or {}).get("podSelector") or {}
        return [obj["metadata"].get("name", ""), format_selector(selector), self.age(obj, now)]


def _port(port: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in _PROTOCOLS:
        errors.append(not_supported(path + ".protocol", protocol, _PROTOCOLS))
    if number is None:
        if end is not None:
            detail = "may not be specified when `port` is not specified"
            errors.append(invalid(path + ".endPort", end, detail))
        return errors
    at = path + ".port"
    if isinstance(number, int):
        errors += [invalid(at, number, message) for message in port_number(number)]
        if end is not None:
            if end < number:
                detail = "must be greater than or equal to `port`"
                errors.append(invalid(path + ".endPort", number, detail))
            errors += [invalid(path + ".endPort", end, message) for message in port_number(end)]
        return errors
    if end is not None:
        detail = "may not be specified when `port` is non-numeric"
        errors.append(invalid(path + ".endPort", end, detail))
    return errors + [invalid(at, number, message) for message in port_name(number)]


def _peer(peer: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    kinds = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if key in peer]
    for key in kinds[:2]:
        if key != "ipBlock":
            errors += validate_selector(peer[key], f"{path}.{key}")
    if "ipBlock" in peer:
        errors += _block(peer["ipBlock"], path + ".ipBlock")
    if not kinds:
        errors.append(required(path, "must specify a peer"))
    elif "ipBlock" in kinds and len(kinds) > 1:
        errors.append(forbidden(path, "may not specify both ipBlock and another peer"))
    return errors


def _block(block: Object, path: str) -> list[FieldError]:
    cidr = block.get("cidr", "")
    if not cidr:
        return [required(path + ".cidr")]
    errors = [invalid(path + ".cidr", cidr, message) for message in cidr_problem(cidr)]
    if errors:
        return errors
    outer = ipaddress.ip_network(cidr, strict=False)
    for index, text in enumerate(block.get("except") or ()):
        at = f"{path}.except[{index}]"
        problems = cidr_problem(text)
        if problems:
            errors += [invalid(at, text, message) for message in problems]
            continue
        inner = ipaddress.ip_network(text, strict=False)
        fits = inner.version == outer.version and inner.prefixlen > outer.prefixlen
        if not fits or inner.network_address not in outer:
            errors.append(invalid(at, text, "must be a strict subset of `cidr`"))
    return errors


# --- ranges and addresses of Services -----------------------------------------------------------


class ServiceCIDRStrategy(Strategy):
    """ServiceCIDR."""

    has_status = True
    status_keeps_metadata = True

    def reset_status(self, obj: Object) -> None:
        """Upstream takes the status that users send."""

    def keep_status(self, new: Object, old: Object) -> None:
        """Upstream takes the status that users send."""

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + _cidrs((obj.get("spec") or {}).get("cidrs") or [])

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        now, was = ((o.get("spec") or {}).get("cidrs") or [] for o in (new, old))
        at = "spec.cidrs"
        grows = len(was) == 1 and len(now) == 2
        if len(now) != len(was) and not grows:
            return [*errors, invalid(at, now or None, FIELD_IS_IMMUTABLE)]
        for index, cidr in enumerate(was):
            if now[index] != cidr:
                errors.append(invalid(f"{at}[{index}]", now[index], FIELD_IS_IMMUTABLE))
        return errors + _cidrs(now) if grows else errors

    def columns(self) -> tuple[Column, ...]:
        return (NAME, Column("CIDRs", "string", "", "Ranges of addresses."), AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        cidrs = (obj.get("spec") or {}).get("cidrs") or ()
        return [obj["metadata"].get("name", ""), ",".join(cidrs), self.age(obj, now)]


def _cidrs(cidrs: list[str]) -> list[FieldError]:
    """One range, or one of each family."""
    at = "spec.cidrs"
    if not cidrs:
        return [required(at, "at least one CIDR required")]
    if len(cidrs) > 2:
        return [invalid(at, {"CIDRs": cidrs}, "may only hold up to 2 values")]
    if len(cidrs) == 2 and len({_family(cidr) for cidr in cidrs} & {4, 6}) != 2:
        detail = (
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and "
            "2001:db8::/64"
        )
        return [invalid(at, {"CIDRs": cidrs}, detail)]
    errors: list[FieldError] = []
    for index, cidr in enumerate(cidrs):
        errors += [invalid(f"{at}[{index}]", cidr, m) for m in canonical_cidr(cidr)]
    return errors


def _family(cidr: str) -> int:
    """4 or 6, or 0 for what is no range."""
    if cidr_problem(cidr, strict=False):
        return 0
    return 6 if ":" in cidr else 4


def _address_name(name: str, _prefix: bool) -> Messages:
    parsed = parse_ip(name)
    if parsed is None:
        return ("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",)
    return canonical_ip(name)


class IPAddressStrategy(Strategy):
    """IPAddress."""

    name_rule: ClassVar[NameRule] = staticmethod(_address_name)

    def check(self, obj: Object) -> list[FieldError]:
        reference = (obj.get("spec") or {}).get("parentRef")
        errors = self.check_meta(obj)
        path = "spec.parentRef"
        if reference is None:
            return [*errors, required(path)]
        for key in ("group", "resource", "name", "namespace"):
            value = reference.get(key, "")
            at = f"{path}.{key}"
            if value and key == "group":
                errors += [invalid(at, value, message) for message in dns1123_subdomain(value)]
            elif value:
                errors += [invalid(at, value, m) for m in path_segment_name(value, False)]
            elif key in ("resource", "name"):
                errors.append(required(at))
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        now, was = ((o.get("spec") or {}).get("parentRef") for o in (new, old))
        shown = internal_form("networking.ParentReference", now) if now is not None else None
        return [*errors, invalid("spec.parentRef", shown, FIELD_IS_IMMUTABLE)] if now != was else errors

    def fields(self, obj: Object) -> dict[str, str]:
        name = obj["metadata"].get("name", "")
        family = "IPv6" if ":" in name else "IPv4"
        return {**super().fields(obj), "ipaddress.kubernetes.io/ip-family": family}

    def columns(self) -> tuple[Column, ...]:
        """Rows have one cell more: upstream prints an age without a column for it."""
        return (NAME, Column("ParentRef", "string", "", "Object that has the address."))

    def row(self, obj: Object, now: float) -> list[Any]:
        reference = (obj.get("spec") or {}).get("parentRef")
        cell = "<none>"
        if reference is not None:
            group, resource = reference.get("group", ""), reference.get("resource", "")
            parts = [(f"{resource}.{group}" if group else resource).lower()]
            parts += [reference[key] for key in ("namespace", "name") if reference.get(key)]
            cell = "/".join(parts)
        return [obj["metadata"].get("name", ""), cell, self.age(obj, now)]
