"""Warnings that several kinds share: deprecated node labels, addresses in odd forms.

Owns `pkg/api/node/util.go` and the warnings of `apimachinery/pkg/util/validation/ip.go`.
"""

from __future__ import annotations

import ipaddress

from actors.apiserver.strategies._addresses import go_ip_text, parse_ip
from actors.apiserver.strategies._errors import quote

__all__ = ["cidr_warnings", "ip_warnings", "node_label_warning"]

_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": (
        'deprecated since v1.17; use "topology.kubernetes.io/region" instead'
    ),
    "failure-domain.beta.kubernetes.io/zone": (
        'deprecated since v1.17; use "topology.kubernetes.io/zone" instead'
    ),
    "beta.kubernetes.io/instance-type": (
        'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead'
    ),
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": (
        "deprecated since v1.22; use Taints and Tolerations instead"
    ),
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}


def node_label_warning(key: str) -> str:
    """What is to be said about a node label, or nothing."""
    return _NODE_LABELS.get(key, "")


def ip_warnings(path: str, value: str) -> list[str]:
    """An address that is valid but not written in the one canonical way."""
    parsed = parse_ip(value)
    if parsed is None:
        return []
    text = go_ip_text(parsed)
    mapped = isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None
    if mapped or (parsed.version == 4 and text != value):
        return [
            f"{path}: non-standard IP address {quote(value)} will be considered invalid in a "
            f"future Kubernetes release: use {quote(text)}"
        ]
    if text != value:
        return [
            f"{path}: IPv6 address {quote(value)} should be in RFC 5952 canonical format "
            f"({quote(text)})"
        ]
    return []


def cidr_warnings(path: str, value: str) -> list[str]:
    """A network that is valid but ambiguous or not canonical."""
    address, _, length = value.partition("/")
    parsed = parse_ip(address)
    if parsed is None or not length.isdigit():
        return []
    network = ipaddress.ip_network(f"{parsed}/{int(length)}", strict=False)
    out: list[str] = []
    if network.network_address != parsed:
        single = f"{parsed}/{parsed.max_prefixlen}"
        out.append(
            f"{path}: CIDR value {quote(value)} is ambiguous in this context (should be "
            f"{quote(str(network))} or {quote(single)}?)"
        )
    if (parsed.version == 4 and str(parsed) != address) or str(int(length)) != length:
        out.append(
            f"{path}: non-standard CIDR value {quote(value)} will be considered invalid in a "
            f"future Kubernetes release: use {quote(str(network))}"
        )
    elif not out and parsed.version == 6 and str(network) != value:
        out.append(
            f"{path}: IPv6 CIDR value {quote(value)} should be in RFC 5952 canonical format "
            f"({quote(str(network))})"
        )
    return out
