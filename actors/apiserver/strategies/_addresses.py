"""IP addresses and networks as texts.

Owns what is an address or a network, leniently, strictly and in canonical form.
"""

from __future__ import annotations

import ipaddress

from protocol.names import OK, Messages

__all__ = ["canonical_cidr", "canonical_ip", "cidr_problem", "go_ip_text", "is_legacy_ip", "parse_ip", "strict_ip"]



def parse_ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address as Go's lenient parser takes it: IPv4 parts may have leading zeros."""
    if ":" not in value:
        parts = value.split(".")
        if len(parts) != 4 or not all(p.isascii() and p.isdigit() and len(p) <= 16 for p in parts):
            return None
        numbers = [int(part) for part in parts]
        if max(numbers) > 255:
            return None
        return ipaddress.IPv4Address(".".join(map(str, numbers)))
    if "%" in value:
        return None
    try:
        return ipaddress.IPv6Address(value)
    except ValueError:
        return None


def strict_ip(value: str) -> Messages:
    """An address in a form that every parser reads alike (KEP-4858)."""
    parsed = parse_ip(value)
    if parsed is None:
        return ("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",)
    if parsed.version == 4 and str(parsed) != value:
        return ("must not have leading 0s",)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return ("must not be an IPv4-mapped IPv6 address",)
    return OK


def is_legacy_ip(value: str) -> bool:
    """An address that only the lenient parser takes."""
    return parse_ip(value) is not None and bool(strict_ip(value))


def cidr_problem(value: str, strict: bool = True) -> Messages:
    """A network such as `10.0.0.0/8`; strictly also without host bits or leading zeros."""
    wrong = ("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",)
    address, slash, length = value.partition("/")
    parsed = parse_ip(address)
    if parsed is None or not slash or not length.isascii() or not length.isdigit():
        return wrong
    bits = int(length)
    if bits > (32 if parsed.version == 4 else 128):
        return wrong
    if not strict:
        return OK
    if strict_ip(address) == ("must not have leading 0s",) or (len(length) > 1 and length[0] == "0"):
        return ("must not have leading 0s in IP or prefix length",)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return ("must not have an IPv4-mapped IPv6 address",)
    network = ipaddress.ip_network(f"{parsed}/{bits}", strict=False)
    if network.network_address != parsed:
        return ("must not have bits set beyond the prefix length",)
    return OK


def go_ip_text(parsed: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An address as Go's `net.IP` prints it: IPv4-mapped ones as IPv4."""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(parsed)


def canonical_ip(value: str) -> Messages:
    """An address in its one canonical form, as fields of newer kinds require."""
    problems = strict_ip(value)
    if problems:
        return problems
    parsed = parse_ip(value)
    text = go_ip_text(parsed) if parsed is not None else ""
    return OK if text == value else (f'must be in canonical form ("{text}")',)


def canonical_cidr(value: str) -> Messages:
    """A network in its one canonical form."""
    problems = cidr_problem(value)
    if problems:
        return problems
    text = str(ipaddress.ip_network(value, strict=False))
    return OK if text == value else (f'must be in canonical form ("{text}")',)
