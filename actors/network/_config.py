"""What a kube-proxy is told: its configuration and the node that it runs on.

Owns the reading of a KubeProxyConfiguration (`kubeproxy.config.k8s.io/v1alpha1`) and of a Node
into one frozen value. Must never look at Services or endpoints.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

__all__ = ["ConfigError", "ProxyConfig", "family_of", "normal_cidr", "normal_ip"]

IPV4_LOOPBACK = "127.0.0.0/8"
PRIMARY = "primary"


class ConfigError(ValueError):
    """The kube-proxy configuration cannot be used; the text says which field and why."""


def family_of(address: str) -> str:
    """`IPv4` or `IPv6`, by the spelling of an address or CIDR."""
    return "IPv6" if ":" in address else "IPv4"


def normal_ip(address: str) -> str:
    """The canonical spelling of an address; decimal octets may have leading zeros.

    Raises ValueError for what is no IP address.
    """
    if ":" not in address:
        address = ".".join(str(int(octet)) for octet in address.split("."))
    return str(ipaddress.ip_address(address))


def normal_cidr(cidr: str) -> str:
    """The canonical spelling of a range, host bits cleared. Raises ValueError for no CIDR."""
    return str(ipaddress.ip_network(cidr.strip(), strict=False))


class ProxyConfig(msgspec.Struct, frozen=True):
    """One address family's view of a kube-proxy's configuration.

    `local_match`: the iptables match of traffic that comes from this cluster's (or node's) pods,
    as option and value (`("-s", "10.244.0.0/16")`), or None when there is no way to tell.
    `node_port_ips`: None when node ports are served on every local address, else the addresses.
    `service_cidrs`: where cluster IPs come from, for the mode nftables. `neighbours`: other nodes that
    share this one's kernel, so that their pods are as local.
    """

    node_name: str = ""
    family: str = "IPv4"
    node_ip: str = ""
    zone: str = ""
    local_match: tuple[str, str] | None = None
    masquerade_all: bool = False
    masquerade_bit: int = 14
    localhost_node_ports: bool = True
    node_port_ips: tuple[str, ...] | None = None
    service_cidrs: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    tcp_liberal: bool = False
    random_fully: bool = True
    large_cluster_endpoints: int = 1000
    mode: str = "iptables"
    sync_period_s: float = 30.0
    min_sync_period_s: float = 1.0

    @property
    def local_nodes(self) -> frozenset[str]:
        """The nodes whose pods are on this machine."""
        return frozenset((self.node_name, *self.neighbours)) - {""}

    @property
    def masquerade_mark(self) -> str:
        """The mark of packets to be masqueraded, as text: `0x4000`."""
        return f"{1 << self.masquerade_bit:#x}"

    @classmethod
    def load(
        cls,
        config: Mapping[str, Any] | None,
        node: Mapping[str, Any] | None,
        node_name: str = "",
        family: str = "IPv4",
    ) -> ProxyConfig:
        """Read a KubeProxyConfiguration and a Node object; either may be missing.

        Raises ConfigError. Defaults are upstream's (pkg/proxy/apis/config/v1alpha1/defaults.go).
        """
        config, node = config or {}, node or {}
        mode = config.get("mode") or "iptables"
        if mode not in ("iptables", "nftables"):
            raise ConfigError(f"mode {mode!r} is not supported: iptables and nftables rules are written")
        name = node_name or config.get("hostnameOverride") or node.get("metadata", {}).get("name", "")
        tables = config.get(mode) or {}
        bit = tables.get("masqueradeBit")
        bit = 14 if bit is None else bit
        if not isinstance(bit, int) or not 0 <= bit <= 31:
            raise ConfigError(f"{mode}.masqueradeBit: {bit!r} is not within the range [0, 31]")
        addresses = _node_addresses(node, family)
        node_ip = addresses[0] if addresses else ("127.0.0.1" if family == "IPv4" else "::1")
        ranges = list(config.get("nodePortAddresses") or ((PRIMARY,) if mode == "nftables" else ()))
        ips, covers_loopback = _node_port_addresses(ranges, addresses, node_ip, family)
        localhost = tables.get("localhostNodePorts", False if mode == "nftables" else None)
        localhost = (True if localhost is None else bool(localhost)) and family == "IPv4"
        labels = node.get("metadata", {}).get("labels") or {}
        return cls(
            node_name=name,
            mode=mode,
            family=family,
            node_ip=node_ip,
            zone=labels.get("topology.kubernetes.io/zone", ""),
            local_match=_local_match(config, node, family),
            masquerade_all=bool(tables.get("masqueradeAll")),
            masquerade_bit=bit,
            localhost_node_ports=localhost and covers_loopback,
            node_port_ips=ips,
            tcp_liberal=bool((config.get("conntrack") or {}).get("tcpBeLiberal")),
            sync_period_s=_seconds(tables.get("syncPeriod"), 30.0),
            min_sync_period_s=_seconds(tables.get("minSyncPeriod"), 1.0),
        )


def _node_addresses(node: Mapping[str, Any], family: str) -> list[str]:
    """The node's own addresses: internal ones first, as kube-proxy chooses its node IP."""
    found = node.get("status", {}).get("addresses") or []
    wanted = [a["address"] for kind in ("InternalIP", "ExternalIP") for a in found if a.get("type") == kind]
    return [normal_ip(a) for a in wanted if family_of(a) == family]


def _node_port_addresses(
    ranges: Sequence[str], addresses: Sequence[str], node_ip: str, family: str
) -> tuple[tuple[str, ...] | None, bool]:
    """-> the addresses that serve node ports (None: all), and whether loopback is among the ranges."""
    if not ranges:
        return None, True
    if list(ranges) == [PRIMARY]:
        ranges = [f"{node_ip}/{32 if family == 'IPv4' else 128}"]
    try:
        nets = [ipaddress.ip_network(r.strip(), strict=False) for r in ranges if family_of(r) == family]
    except ValueError as error:
        raise ConfigError(f"nodePortAddresses: {error}") from error
    if any(net.prefixlen == 0 for net in nets):
        return None, True
    if not nets:  # ranges of the other family only: this one serves all its addresses
        return None, True
    loopback = ipaddress.ip_address("127.0.0.0" if family == "IPv4" else "::1")
    local = ["127.0.0.1" if family == "IPv4" else "::1", *dict.fromkeys(addresses)]
    chosen = tuple(a for a in local if any(ipaddress.ip_address(a) in net for net in nets))
    return chosen, any(net.network_address.is_loopback or loopback in net for net in nets)


def _local_match(config: Mapping[str, Any], node: Mapping[str, Any], family: str) -> tuple[str, str] | None:
    """How this proxy recognises traffic of local pods (`detectLocalMode`)."""
    mode = config.get("detectLocalMode") or "ClusterCIDR"
    detect = config.get("detectLocal") or {}
    if mode == "ClusterCIDR":
        listed = detect.get("clusterCIDRs") or (config.get("clusterCIDR") or "").split(",")
        return _source([c for c in listed if c.strip()], family)
    if mode == "NodeCIDR":
        spec = node.get("spec") or {}
        listed = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
        return _source(listed, family)
    if mode == "BridgeInterface":
        return _interface("bridgeInterface", detect.get("bridgeInterface"), "")
    if mode == "InterfaceNamePrefix":
        return _interface("interfaceNamePrefix", detect.get("interfaceNamePrefix"), "+")
    raise ConfigError(
        f"detectLocalMode: {mode!r} is not one of ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix"
    )


def _source(cidrs: Sequence[str], family: str) -> tuple[str, str] | None:
    for cidr in cidrs:
        if family_of(cidr) == family:
            try:
                return "-s", normal_cidr(cidr)
            except ValueError as error:
                raise ConfigError(f"detectLocal: {error}") from error
    return None


def _interface(field: str, name: str | None, suffix: str) -> tuple[str, str]:
    if not name:
        raise ConfigError(f"detectLocal.{field} is required with this detectLocalMode")
    return "-i", name + suffix


def _seconds(duration: Any, default: float) -> float:
    """A Go duration as the configuration spells it ("30s", "1m0s", "500ms") in seconds."""
    if not duration:
        return default
    total, number, unit, text = 0.0, "", "", str(duration)
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
    for char in text + "\0":
        if char.isdigit() or char in ".\0":
            if unit:
                if unit not in units or not number:
                    raise ConfigError(f"{text!r} is not a duration")
                total += float(number) * units[unit]
                number = unit = ""
            number += char if char != "\0" else ""
        else:
            unit += char
    if number.strip("0."):
        raise ConfigError(f"{text!r} is not a duration: unit missing")
    return total
