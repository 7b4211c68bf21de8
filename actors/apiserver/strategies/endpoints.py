"""Endpoints and EndpointSlice.

Owns which addresses and ports a Service's backends may have.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from actors.apiserver.strategies._addresses import parse_ip, strict_ip
from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
    too_many,
)
from actors.apiserver.strategies._meta import immutable
from actors.apiserver.strategies._tables import more
from actors.apiserver.strategies._warnings import ip_warnings
from protocol.names import (
    dns1123_label,
    dns1123_subdomain,
    label_value,
    port_number,
    qualified_name,
)

__all__ = ["EndpointSliceStrategy", "EndpointsStrategy", "reserved_address"]

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_MAX_ENDPOINTS = 1000
_MAX_ADDRESSES = 100
_MAX_PORTS = 20000
_MAX_TOPOLOGY = 16
_MAX_HINTS = 8


def reserved_address(value: str, path: str) -> list[FieldError]:
    """Addresses that no backend can have."""
    parsed = parse_ip(value)
    if parsed is None:
        return [invalid(path, value, "must be a valid IP address")]
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    errors: list[FieldError] = []
    if parsed.is_unspecified:
        errors.append(invalid(path, value, f"may not be unspecified ({value})"))
    if parsed.is_loopback:
        detail = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
        errors.append(invalid(path, value, detail))
    if parsed.is_link_local:
        detail = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        errors.append(invalid(path, value, detail))
    multicast = ("224.0.0.0/24",) if parsed.version == 4 else ("ff02::/16",)
    if any(parsed in ipaddress.ip_network(network) for network in multicast):
        detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        errors.append(invalid(path, value, detail))
    return errors


def _address(address: Object, path: str) -> list[FieldError]:
    value = address.get("ip", "")
    errors = [invalid(path + ".ip", value, message) for message in strict_ip(value)]
    if name := address.get("hostname"):
        errors += [invalid(path + ".hostname", name, message) for message in dns1123_label(name)]
    name = address.get("nodeName")
    if name is not None:
        errors += [invalid(path + ".nodeName", name, m) for m in dns1123_subdomain(name)]
    return errors + reserved_address(value, path + ".ip")


def _port(port: Object, needs_name: bool, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    name, protocol = port.get("name", ""), port.get("protocol", "")
    if needs_name and not name:
        errors.append(required(path + ".name"))
    elif name:
        errors += [invalid(path + ".name", name, message) for message in dns1123_label(name)]
    number = port.get("port", 0)
    errors += [invalid(path + ".port", number, message) for message in port_number(number)]
    if protocol not in _PROTOCOLS:
        at = path + ".protocol"
        errors.append(not_supported(at, protocol, _PROTOCOLS) if protocol else required(at))
    app = port.get("appProtocol")
    if app is not None:
        errors += [invalid(path + ".appProtocol", app, message) for message in qualified_name(app)]
    return errors


def _subsets(subsets: list[Object]) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, subset in enumerate(subsets):
        at = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            errors.append(required(at, "must specify `addresses` or `notReadyAddresses`"))
        for kind in ("addresses", "notReadyAddresses"):
            for number, address in enumerate(subset.get(kind) or ()):
                errors += _address(address, f"{at}.{kind}[{number}]")
        ports = subset.get("ports") or []
        for number, port in enumerate(ports):
            errors += _port(port, len(ports) > 1, f"{at}.ports[{number}]")
    return errors


class EndpointsStrategy(Strategy):
    """Endpoints, the older of the two."""

    allow_create_on_update = True
    standard_finalizers_only = True

    def default(self, obj: Object) -> None:
        for subset in obj.get("subsets") or ():
            for port in subset.get("ports") or ():
                port.setdefault("protocol", "TCP")

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + _subsets(obj.get("subsets") or [])

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old) + self.check_meta(new)
        if (new.get("subsets") or []) == (old.get("subsets") or []):
            return errors
        return errors + _subsets(new.get("subsets") or [])

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        out: list[str] = []
        for index, subset in enumerate(new.get("subsets") or ()):
            for kind in ("addresses", "notReadyAddresses"):
                for number, address in enumerate(subset.get(kind) or ()):
                    at = f"subsets[{index}].{kind}[{number}].ip"
                    out += ip_warnings(at, address.get("ip", ""))
        return out

    def columns(self) -> tuple[Column, ...]:
        return (NAME, Column("Endpoints", "string", "", "Addresses and ports of backends."), AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        cells: list[str] = []
        for subset in obj.get("subsets") or ():
            addresses = [address.get("ip", "") for address in subset.get("addresses") or ()]
            ports = subset.get("ports") or []
            if not ports:
                cells += addresses
            for port in ports:
                cells += [_host_port(address, port.get("port", 0)) for address in addresses]
        return [obj["metadata"].get("name", ""), more(cells, 3, "<none>"), self.age(obj, now)]


def _host_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


# --- endpoint slices ----------------------------------------------------------------------------


class EndpointSliceStrategy(Strategy):
    """EndpointSlice."""

    has_generation = True

    def default(self, obj: Object) -> None:
        for port in obj.get("ports") or ():
            if port.get("name") is None:
                port["name"] = ""
            if not port.get("protocol"):
                port["protocol"] = "TCP"

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        """Slices of users, not of controllers, say so, and old topology labels follow fields."""
        for endpoint in new.get("endpoints") or ():
            topology = endpoint.get("deprecatedTopology")
            if topology:
                topology.pop("kubernetes.io/hostname", None)

    def bumps_generation(self, new: Object, old: Object) -> bool:
        keys = ("endpoints", "ports", "addressType")
        changed = any((new.get(key) or None) != (old.get(key) or None) for key in keys)
        return changed or _relevant_meta(new) != _relevant_meta(old)

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj)
        kind = obj.get("addressType", "")
        if kind not in _ADDRESS_TYPES:
            at = "addressType"
            errors.append(not_supported(at, kind, _ADDRESS_TYPES) if kind else required(at))
        errors += _slice_endpoints(obj.get("endpoints") or [], kind)
        return errors + _slice_ports(obj.get("ports") or [])

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check(new)
        kind = new.get("addressType", "")
        return errors + immutable(kind, old.get("addressType", ""), "addressType")

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        out: list[str] = []
        if new.get("addressType") == "FQDN":
            out.append("addressType: FQDN endpoints are deprecated")
        for index, endpoint in enumerate(new.get("endpoints") or ()):
            for number, address in enumerate(endpoint.get("addresses") or ()):
                if new.get("addressType") != "FQDN":
                    out += ip_warnings(f"endpoints[{index}].addresses[{number}]", address)
        return out

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("AddressType", "string", "", "Kind of the addresses."),
            Column("Ports", "string", "", "Ports of all endpoints."),
            Column("Endpoints", "string", "", "Addresses."),
            AGE,
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        ports = []
        for port in obj.get("ports") or ():
            number, name = port.get("port"), port.get("name")
            ports.append(str(number) if number is not None else name if name is not None else "*")
        addresses = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
        return [
            obj["metadata"].get("name", ""),
            obj.get("addressType", ""),
            more(ports, 3, "<unset>"),
            more(addresses, 3, "<unset>"),
            self.age(obj, now),
        ]


def _relevant_meta(obj: Object) -> Object:
    return {key: obj["metadata"].get(key) or None for key in ("labels", "annotations")}


def _slice_endpoints(endpoints: list[Object], kind: str) -> list[FieldError]:
    if len(endpoints) > _MAX_ENDPOINTS:
        return [too_many("endpoints", len(endpoints), _MAX_ENDPOINTS)]
    errors: list[FieldError] = []
    for index, endpoint in enumerate(endpoints):
        at = f"endpoints[{index}]"
        errors += _slice_addresses(endpoint.get("addresses") or [], kind, at + ".addresses")
        name = endpoint.get("nodeName")
        if name is not None:
            errors += [invalid(at + ".nodeName", name, m) for m in dns1123_subdomain(name)]
        topology = endpoint.get("deprecatedTopology") or {}
        where = at + ".deprecatedTopology"
        if len(topology) > _MAX_TOPOLOGY:
            errors.append(too_many(where, len(topology), _MAX_TOPOLOGY))
        for key, value in topology.items():
            errors += [invalid(where, key, message) for message in qualified_name(key)]
            errors += [invalid(where, value, message) for message in label_value(value)]
        name = endpoint.get("hostname")
        if name is not None:
            errors += [invalid(at + ".hostname", name, m) for m in dns1123_label(name)]
        errors += _hints(endpoint.get("hints"), at + ".hints")
    return errors


def _slice_addresses(addresses: list[str], kind: str, path: str) -> list[FieldError]:
    if not addresses:
        return [required(path, "must contain at least 1 address")]
    if len(addresses) > _MAX_ADDRESSES:
        return [too_many(path, len(addresses), _MAX_ADDRESSES)]
    errors: list[FieldError] = []
    for index, address in enumerate(addresses):
        at = f"{path}[{index}]"
        if kind == "FQDN":
            errors += [invalid(at, address, message) for message in dns1123_subdomain(address)]
        elif kind in ("IPv4", "IPv6"):
            errors += [invalid(at, address, message) for message in strict_ip(address)]
            parsed = parse_ip(address)
            if parsed is not None and parsed.version != int(kind[-1]):
                errors.append(invalid(at, address, f"must be an {kind} address"))
            errors += reserved_address(address, at)
    return errors


def _hints(hints: Object | None, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for kind, check in (("forZones", label_value), ("forNodes", dns1123_subdomain)):
        items = (hints or {}).get(kind) or []
        at = f"{path}.{kind}"
        if len(items) > _MAX_HINTS:
            errors.append(too_many(at, len(items), _MAX_HINTS))
            return errors
        seen: set[str] = set()
        for index, item in enumerate(items):
            name = item.get("name", "")
            where = f"{at}[{index}].name"
            if name in seen:
                errors.append(duplicate(where, name))
            seen.add(name)
            errors += [invalid(where, name, message) for message in check(name)]
    return errors


def _slice_ports(ports: list[Object]) -> list[FieldError]:
    if len(ports) > _MAX_PORTS:
        return [too_many("ports", len(ports), _MAX_PORTS)]
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        at = f"ports[{index}]"
        name, protocol = port.get("name") or "", port.get("protocol") or ""
        if name:
            errors += [invalid(at + ".name", name, message) for message in dns1123_label(name)]
        if name in names:
            errors.append(duplicate(at + ".name", name))
        names.add(name)
        if protocol not in _PROTOCOLS:
            where = at + ".protocol"
            errors.append(not_supported(where, protocol, _PROTOCOLS) if protocol else required(where))
        number = port.get("port")
        if number is not None:
            errors += [invalid(at + ".port", number, message) for message in port_number(number)]
        app = port.get("appProtocol")
        if app is not None:
            errors += [invalid(at + ".appProtocol", app, m) for m in qualified_name(app)]
    return errors
