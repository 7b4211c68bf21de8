"""The rules of one Service port.

Owns the chains KUBE-SVC, KUBE-SVL, KUBE-EXT, KUBE-FW and KUBE-SEP and the port's lines in the
chains that all Services share. A rule is the text that iptables-save shows, without `-A CHAIN`.
Must never know another port. Facts: kubernetes pkg/proxy/iptables/proxier.go, syncProxyRules.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress

import msgspec

from actors.network._config import ProxyConfig
from actors.network._endpoint import Endpoint, Usable
from actors.network._service import ServicePort

__all__ = ["PortRules", "compile_port"]

SERVICES, NODE_PORTS = "KUBE-SERVICES", "KUBE-NODEPORTS"
EXTERNAL, FIREWALL = "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL"
MARK_MASQ = "KUBE-MARK-MASQ"


class PortRules(msgspec.Struct, frozen=True):
    """`chains`: the port's own nat chains, each whole. `nat` and `filter`: its rules in shared
    chains, as (chain, rule)."""

    chains: dict[str, tuple[str, ...]]
    nat: tuple[tuple[str, str], ...]
    filter: tuple[tuple[str, str], ...]


def chain_name(prefix: str, text: str) -> str:
    """`KUBE-SVC-LOLE4ISW44XBNF3G`: a prefix and 16 characters of the base32 of a SHA-256."""
    return prefix + base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:16]


def probability(n: int) -> str:
    """1/n as kube-proxy writes it."""
    return f"{1.0 / n:0.10f}"


def _host(ip: str) -> str:
    return f"{ip}/128" if ":" in ip else f"{ip}/32"


class _Port:
    """The names and texts that a port's rules are made of."""

    def __init__(self, port: ServicePort, config: ProxyConfig, large: bool) -> None:
        self.port, self.config, self.large = port, config, large
        self.name = port.name
        self.hashed = port.name + port.protocol
        self.svc, self.svl, self.ext, self.fw = (
            chain_name(f"KUBE-{kind}-", self.hashed) for kind in ("SVC", "SVL", "EXT", "FW")
        )

    def sep(self, endpoint: Endpoint) -> str:
        return chain_name("KUBE-SEP-", self.hashed + endpoint.address)

    def to(self, ip: str, comment: str, target: str, number: int = 0, before: str = "") -> str:
        """A rule for packets to this port (or `number`) on `ip` (any address if empty)."""
        number = number or self.port.port
        protocol = self.port.protocol
        where = f"-d {_host(ip)} " if ip else ""
        return (
            f'{before}{where}-p {protocol} -m comment --comment "{comment}" -m {protocol} --dport {number} -j {target}'
        )


def compile_port(port: ServicePort, usable: Usable, config: ProxyConfig, large: bool) -> PortRules:
    """The rules of `port`. `large`: the cluster is so big that endpoint rules go uncommented."""
    p = _Port(port, config, large)
    internal_ok = usable.anywhere and (bool(usable.local) or not port.internal_local)
    external_ok = usable.anywhere and (bool(usable.local) or not port.external_local)
    nat, filters = _shared_rules(p, usable.anywhere, internal_ok, external_ok)
    chains: dict[str, tuple[str, ...]] = {}
    if usable.anywhere and port.externally_accessible:
        chains[p.ext] = _external_chain(p, external_ok)
        if _has_firewall(port):
            chains[p.fw] = _firewall_chain(p)
    head = _cluster_ip_masquerade(p) if internal_ok else ()
    if usable.cluster and port.uses_cluster_endpoints:
        chains[p.svc] = (() if port.internal_local else head) + _balance(p, usable.cluster)
    if usable.local and port.uses_local_endpoints:
        chains[p.svl] = (head if port.internal_local else ()) + _balance(p, usable.local)
    for endpoint in usable.reachable:
        chains[p.sep(endpoint)] = _endpoint_chain(p, endpoint)
    return PortRules(chains, tuple(nat), tuple(filters))


def _has_firewall(port: ServicePort) -> bool:
    return bool(port.load_balancer_ips and port.source_ranges)


def _shared_rules(
    p: _Port, anywhere: bool, internal_ok: bool, external_ok: bool
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    port, name = p.port, p.name
    nat: list[tuple[str, str]] = []
    filters: list[tuple[str, str]] = []
    target, comment = ("DROP", f"{name} has no local endpoints") if anywhere else ("REJECT", f"{name} has no endpoints")
    if internal_ok:
        chain = p.svl if port.internal_local else p.svc
        nat.append((SERVICES, p.to(port.cluster_ip, f"{name} cluster IP", chain)))
    else:
        filters.append((SERVICES, p.to(port.cluster_ip, comment, target)))
    fronts = [(ip, "external IP", p.ext) for ip in port.external_ips]
    balanced = p.fw if _has_firewall(port) else p.ext
    fronts += [(ip, "loadbalancer IP", balanced) for ip in port.load_balancer_ips]
    for ip, what, chain in fronts:
        if anywhere:
            nat.append((SERVICES, p.to(ip, f"{name} {what}", chain)))
            if chain == p.fw:
                filters.append((FIREWALL, p.to(ip, f"{name} traffic not accepted by {p.fw}", "DROP")))
        if not external_ok:
            filters.append((EXTERNAL, p.to(ip, comment, target)))
    if port.node_port:
        if anywhere:
            nat.append((NODE_PORTS, p.to("", name, p.ext, port.node_port)))
        if not external_ok:
            filters.append((EXTERNAL, _node_port_filter(p, comment, target)))
    if port.health_check_node_port:
        rule = f'-p tcp -m comment --comment "{name} health check node port" -m tcp --dport {port.health_check_node_port} -j ACCEPT'
        filters.append((NODE_PORTS, rule))
    return nat, filters


def _node_port_filter(p: _Port, comment: str, target: str) -> str:
    protocol = p.port.protocol
    return (
        f'-p {protocol} -m comment --comment "{comment}" -m addrtype --dst-type LOCAL '
        f"-m {protocol} --dport {p.port.node_port} -j {target}"
    )


def _cluster_ip_masquerade(p: _Port) -> tuple[str, ...]:
    """Traffic to the cluster IP that does not come from pods may have to come back through this
    node, so it is masqueraded."""
    comment = f"{p.name} cluster IP"
    if p.config.masquerade_all:
        return (p.to(p.port.cluster_ip, comment, MARK_MASQ),)
    if p.config.local_match:
        option, value = p.config.local_match
        if option == "-s":
            return (p.to(p.port.cluster_ip, comment, MARK_MASQ, before=f"! -s {value} "),)
        rule = p.to(p.port.cluster_ip, comment, MARK_MASQ)
        where, rest = rule.split(" -p ", 1)
        return (f"{where} ! {option} {value} -p {rest}",)
    return ()


def _external_chain(p: _Port, external_ok: bool) -> tuple[str, ...]:
    name, rules = p.name, []
    if not p.port.external_local:
        rules.append(f'-m comment --comment "masquerade traffic for {name} external destinations" -j {MARK_MASQ}')
    else:
        if p.config.local_match:
            match = " ".join(p.config.local_match)
            rules.append(f'{match} -m comment --comment "pod traffic for {name} external destinations" -j {p.svc}')
        for what, target in (("masquerade", MARK_MASQ), ("route", p.svc)):
            rules.append(
                f'-m comment --comment "{what} LOCAL traffic for {name} external destinations" '
                f"-m addrtype --src-type LOCAL -j {target}"
            )
    if external_ok:
        rules.append(f"-j {p.svl if p.port.external_local else p.svc}")
    return tuple(rules)


def _firewall_chain(p: _Port) -> tuple[str, ...]:
    comment = f'-m comment --comment "{p.name} loadbalancer IP" -j {p.ext}'
    rules = [comment if cidr.endswith("/0") else f"-s {cidr} {comment}" for cidr in p.port.source_ranges]
    node = ipaddress.ip_address(p.config.node_ip) if p.config.node_ip else None
    if node and any(node in ipaddress.ip_network(cidr) for cidr in p.port.source_ranges):
        # a packet from this node to the balancer's address loops back with that very address
        rules += [f"-s {_host(ip)} {comment}" for ip in p.port.load_balancer_ips]
    rules.append(f'-m comment --comment "other traffic to {p.name} will be dropped by KUBE-PROXY-FIREWALL"')
    return tuple(rules)


def _balance(p: _Port, endpoints: tuple[Endpoint, ...]) -> tuple[str, ...]:
    rules = []
    targets = [(p.sep(e), "" if p.large else f'-m comment --comment "{p.name} -> {e.address}" ') for e in endpoints]
    if p.port.affinity_seconds:
        for chain, comment in targets:
            rules.append(
                f"{comment}-m recent --rcheck --seconds {p.port.affinity_seconds} --reap "
                f"--name {chain} {_whole_source(p)} -j {chain}"
            )
    for i, (chain, comment) in enumerate(targets):
        rest = len(targets) - i
        chance = f"-m statistic --mode random --probability {probability(rest)} " if rest > 1 else ""
        rules.append(f"{comment}{chance}-j {chain}")
    return tuple(rules)


def _endpoint_chain(p: _Port, endpoint: Endpoint) -> tuple[str, ...]:
    comment = "" if p.large else f'-m comment --comment "{p.name}" '
    chain, protocol = p.sep(endpoint), p.port.protocol
    remember = f"-m recent --set --name {chain} {_whole_source(p)} " if p.port.affinity_seconds else ""
    return (
        f"-s {_host(endpoint.ip)} {comment}-j {MARK_MASQ}",
        f"-p {protocol} {comment}{remember}-m {protocol} -j DNAT --to-destination {endpoint.address}",
    )


def _whole_source(p: _Port) -> str:
    mask = "255.255.255.255" if p.config.family == "IPv4" else "ffff:" * 7 + "ffff"
    return f"--mask {mask} --rsource"
