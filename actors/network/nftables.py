"""kube-proxy's rules for nftables: the same Services and endpoints, other words.

Owns the table `kube-proxy`: its fixed chains, maps from addresses to verdicts, and the chains of each
Service port. What is served where is decided as for iptables (`_service`, `_endpoint`); a change costs
what its Service costs. Must never run a program. Facts: kubernetes pkg/proxy/nftables/proxier.go, nft(8).

    service-ips      10.96.0.9 . tcp . 80 : goto service-2QZ4KYJQ-default/web/tcp/
    service chain    numgen random mod 2 vmap { 0 : goto endpoint-..., 1 : goto endpoint-... }
    endpoint chain   meta l4proto tcp dnat to 10.244.1.5:8080
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from actors.network._config import ProxyConfig
from actors.network._conntrack import StaleFlow
from actors.network._endpoint import Endpoint, Usable
from actors.network._ruleset import RuleSet
from actors.network._service import ServicePort

__all__ = ["TABLE", "NftDelta", "NftRules", "rules_for"]

TABLE = "kube-proxy"
NAME_MAX = 240
MARK_MASQ, REJECT = "mark-for-masquerade", "reject-chain"
SERVICE_IPS, NODE_PORTS = "service-ips", "service-nodeports"
NO_ENDPOINTS, NO_ENDPOINT_PORTS, FIREWALLED = "no-endpoint-services", "no-endpoint-nodeports", "firewall-ips"
CLUSTER_IPS, NODE_PORT_IPS = "cluster-ips", "nodeport-ips"
MAPS = {
    NO_ENDPOINTS: (
        "{addr} . inet_proto . inet_service : verdict",
        "vmap to drop or reject packets to services with no endpoints",
    ),
    NO_ENDPOINT_PORTS: (
        "inet_proto . inet_service : verdict",
        "vmap to drop or reject packets to service nodeports with no endpoints",
    ),
    FIREWALLED: (
        "{addr} . inet_proto . inet_service : verdict",
        "destinations that are subject to LoadBalancerSourceRanges",
    ),
    SERVICE_IPS: ("{addr} . inet_proto . inet_service : verdict", "ClusterIP, ExternalIP and LoadBalancer IP traffic"),
    NODE_PORTS: ("inet_proto . inet_service : verdict", "NodePort traffic"),
}
HOOKS = {
    # the firewall looks at destinations as clients wrote them; what has no endpoint was not translated
    "filter-prerouting-pre-dnat": (
        "type filter hook prerouting priority -110;",
        ("ct state new jump firewall-check",),
    ),
    "filter-output-pre-dnat": ("type filter hook output priority -110;", ("ct state new jump firewall-check",)),
    "filter-input": (
        "type filter hook input priority 0;",
        ("ct state new jump nodeport-endpoints-check", "ct state new jump service-endpoints-check"),
    ),
    "filter-forward": (
        "type filter hook forward priority 0;",
        ("ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"),
    ),
    "filter-output": (
        "type filter hook output priority 0;",
        ("ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"),
    ),
    "nat-prerouting": ("type nat hook prerouting priority -100;", ("jump services",)),
    "nat-output": ("type nat hook output priority -100;", ("jump services",)),
    "nat-postrouting": ("type nat hook postrouting priority 100;", ("jump masquerading",)),
}


def rules_for(config: ProxyConfig) -> RuleSet:
    """The empty rule set of the configuration's mode."""
    return NftRules(config) if config.mode == "nftables" else RuleSet(config)


class NftPort(msgspec.Struct, frozen=True):
    """The rules of one Service port. `sets`: name -> timeout in seconds. `elements`: (map or set, key)
    -> verdict, empty for an element of a set, or `comment "TEXT" : verdict`."""

    chains: dict[str, tuple[str, ...]]
    sets: dict[str, int]
    elements: dict[tuple[str, str], str]


Change = tuple[Any, Any]  # what was, what is; None for what is not there


class NftDelta(msgspec.Struct):
    """What a change did to chains, sets and elements."""

    family: str
    chains: dict[str, Change] = {}
    sets: dict[str, Change] = {}
    elements: dict[tuple[str, str], Change] = {}
    stale: list[StaleFlow] = []

    def __bool__(self) -> bool:
        return bool(self.chains or self.sets or self.elements)

    def joined(self, second: NftDelta) -> NftDelta:
        """One delta with the effect of two, one after the other."""
        parts = ((self.chains, second.chains), (self.sets, second.sets), (self.elements, second.elements))
        chains, sets, elements = (_joined(a, b) for a, b in parts)  # type: ignore[arg-type]
        return NftDelta(self.family, chains, sets, elements, [*self.stale, *second.stale])

    def restore_text(self) -> str:
        """Input for `nft -f`: one transaction. What refers to a thing goes before it, and comes after."""
        at = f"{self.family} {TABLE}"
        lines = [f"add set {at} {name} {_set(self.family, now)}" for name, (_, now) in self.sets.items() if now]
        lines += [f"add chain {at} {name}" for name, (_, now) in self.chains.items() if now is not None]
        lines += [f"flush chain {at} {name}" for name in self.chains if self.chains[name][0] is not None]
        lines += [f"add rule {at} {name} {rule}" for name, (_, now) in self.chains.items() for rule in now or ()]
        for (where, key), (was, _) in self.elements.items():
            if was is not None:
                lines.append(f"delete element {at} {where} {{ {key} }}")
        for (where, key), (_, now) in self.elements.items():
            if now is not None:
                lines.append(f"add element {at} {where} {{ {_element(key, now)} }}")
        lines += [f"delete chain {at} {name}" for name, (_, now) in self.chains.items() if now is None]
        lines += [f"delete set {at} {name}" for name, (_, now) in self.sets.items() if now is None]
        return "".join(line + "\n" for line in lines)


def _joined(first: Mapping[Any, Change], second: Mapping[Any, Change]) -> dict[Any, Change]:
    both = {k: (first[k][0] if k in first else was, now) for k, (was, now) in second.items()}
    return {k: change for k, change in {**first, **both}.items() if change[0] != change[1]}


def _element(key: str, verdict: str) -> str:
    if verdict.startswith("comment "):
        return f"{key} {verdict}"
    return f"{key} : {verdict}" if verdict else key


def _set(family: str, timeout_s: int) -> str:
    return f"{{ type {_addr(family)}; flags dynamic,timeout; timeout {timeout_s}s; }}"


def _addr(family: str) -> str:
    return "ipv4_addr" if family == "ip" else "ipv6_addr"


class NftRules(RuleSet):
    """Services, EndpointSlices and a configuration in; the nftables table out."""

    @property
    def family(self) -> str:
        """nft's word: `ip` or `ip6`."""
        return "ip" if self.config.family == "IPv4" else "ip6"

    def _compile_port(self, port: ServicePort, usable: Usable) -> NftPort:
        return _Port(port, usable, self.config, self.family).compile()

    def _difference(self, before: Mapping[Any, NftPort], after: Mapping[Any, NftPort]) -> NftDelta:  # type: ignore[override]
        old, new = _merged(before.values()), _merged(after.values())
        parts = (_changes(old.chains, new.chains), _changes(old.sets, new.sets), _changes(old.elements, new.elements))
        return NftDelta(self.family, *parts, [])

    def _no_change(self) -> NftDelta:
        return NftDelta(self.family, {}, {}, {}, [])

    def restore_text(self) -> str:
        """Input for `nft -f` that writes the whole table, in one transaction, whatever was there."""
        at = f"{self.family} {TABLE}"
        return f"add table {at}\ndelete table {at}\n{self.text()}"

    @staticmethod
    def jumps() -> list[tuple[str, str, str]]:
        """None: the table has its own hooks."""
        return []

    def sysctls(self) -> tuple[tuple[str, str], ...]:
        return ()

    def text(self, tables: Iterable[str] = ()) -> str:
        """The table as `nft list table` shows it. `tables`, a matter of iptables, says nothing here."""
        found = _merged(port for _, port in self._ports())
        blocks = [*self._sets(found), *self._maps(found), *self._fixed_chains()]
        blocks += [_block(f"chain {name}", rules) for name, rules in sorted(found.chains.items())]
        body = "\n\n".join(blocks)
        return f'table {self.family} {TABLE} {{\n\tcomment "rules for kube-proxy"\n\n{body}\n}}\n'

    def _ports(self) -> Iterable[tuple[Any, NftPort]]:
        for key in sorted(self._services):
            entry = self._services[key]
            for port in sorted(entry.compiled):
                yield (key, port), entry.compiled[port]

    def _sets(self, found: NftPort) -> Iterable[str]:
        kind = f"type {_addr(self.family)}"
        in_use = sorted({key for where, key in found.elements if where == CLUSTER_IPS})
        yield _block(f"set {CLUSTER_IPS}", [kind, 'comment "Active ClusterIPs"', *_elements(in_use)])
        ips = self.config.node_port_ips
        if ips is not None:
            usable = [ip for ip in ips if not ipaddress.ip_address(ip).is_loopback]
            comment = 'comment "IPs that accept NodePort traffic"'
            yield _block(f"set {NODE_PORT_IPS}", [kind, comment, *_elements(usable)])
        for name, timeout_s in sorted(found.sets.items()):
            yield _block(f"set {name}", [kind, "flags dynamic,timeout", f"timeout {timeout_s}s"])

    def _maps(self, found: NftPort) -> Iterable[str]:
        for name, (kind, comment) in MAPS.items():
            inside = [
                _element(key, verdict) for (where, key), verdict in sorted(found.elements.items()) if where == name
            ]
            kind = kind.format(addr=_addr(self.family))
            yield _block(f"map {name}", [f"type {kind}", f'comment "{comment}"', *_elements(inside)])

    def _fixed_chains(self) -> Iterable[str]:
        ip, mark = self.family, self.config.masquerade_mark
        key = f"{ip} daddr . meta l4proto . th dport vmap @"
        loopback = "ip daddr != 127.0.0.0/8" if ip == "ip" else "ip6 daddr != ::1"
        ports = "meta l4proto . th dport vmap @"
        # a packet that passes the input hook is local in any case
        local, arrived = f"fib daddr type local {loopback}", loopback
        if self.config.node_port_ips is not None:
            local = arrived = f"{ip} daddr @{NODE_PORT_IPS}"
        chains: dict[str, tuple[str, ...]] = {
            "service-endpoints-check": (key + NO_ENDPOINTS,),
            "nodeport-endpoints-check": (f"{arrived} {ports}{NO_ENDPOINT_PORTS}",),
            "firewall-check": (key + FIREWALLED,),
            "services": (key + SERVICE_IPS, f"{local} {ports}{NODE_PORTS}"),
            "cluster-ips-check": (
                f'{ip} daddr @{CLUSTER_IPS} reject comment "Reject traffic to invalid ports of ClusterIPs"',
                *self._unallocated(),
            ),
            "masquerading": (f"mark and {mark} == 0 return", f"mark set mark xor {mark}", "masquerade fully-random"),
            MARK_MASQ: (f"mark set mark or {mark}",),
            REJECT: ('comment "helper for @no-endpoint-services / @no-endpoint-nodeports"', "reject"),
        }
        for name, rules in chains.items():
            yield _block(f"chain {name}", rules)
        for name, (hook, rules) in HOOKS.items():
            yield _block(f"chain {name}", [hook, *rules])

    def _unallocated(self) -> Iterable[str]:
        ranges = ", ".join(self.config.service_cidrs)
        if ranges:
            yield f'{self.family} daddr {{ {ranges} }} drop comment "Drop traffic to unallocated ClusterIPs"'

    def counts(self) -> dict[str, int]:
        """None: upstream counts the rules of iptables only."""
        return {}


def _block(title: str, lines: Iterable[str]) -> str:
    return "\n".join([f"\t{title} {{", *(f"\t\t{line}" for line in lines), "\t}"])


def _elements(inside: list[str]) -> list[str]:
    return ["elements = { " + ",\n\t\t\t     ".join(inside) + " }"] if inside else []


def _merged(ports: Iterable[NftPort]) -> NftPort:
    found = NftPort({}, {}, {})
    for port in ports:
        found.chains.update(port.chains)
        found.sets.update(port.sets)
        found.elements.update(port.elements)
    return found


def _changes(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> dict[Any, Change]:
    found = {k: (before.get(k), v) for k, v in after.items() if before.get(k) != v}
    found.update({k: (v, None) for k, v in before.items() if k not in after})
    return found


def _hashed(name: str) -> str:
    digest = base64.b32encode(hashlib.sha256(name.encode()).digest()).decode()[:8]
    name = f"{digest}-{name}"
    return name if len(name) <= NAME_MAX else name[: NAME_MAX - 3] + "..."


class _Port:
    """One port's names, and its rules."""

    def __init__(self, port: ServicePort, usable: Usable, config: ProxyConfig, family: str) -> None:
        self.port, self.usable, self.config, self.family = port, usable, config, family
        self.name = f"{port.namespace}/{port.service}/{port.protocol}/{port.port_name}"
        base = _hashed(self.name)
        self.service, self.local, self.external, self.firewall = (
            f"{kind}-{base}" for kind in ("service", "local", "external", "firewall")
        )
        self.internal_ok = usable.anywhere and (bool(usable.local) or not port.internal_local)
        self.external_ok = usable.anywhere and (bool(usable.local) or not port.external_local)

    def _endpoint(self, kind: str, endpoint: Endpoint) -> str:
        return f"{kind}-" + _hashed(f"{self.name}__{endpoint.ip.replace(':', '.')}/{endpoint.port}")

    def compile(self) -> NftPort:
        port, usable = self.port, self.usable
        chains: dict[str, tuple[str, ...]] = {}
        internal = self.local if port.internal_local else self.service
        head = self._masquerade() if self.internal_ok else ()
        if usable.anywhere and port.externally_accessible:
            chains[self.external] = self._external()
        if port.load_balancer_ips and port.source_ranges:
            chains[self.firewall] = (self._guard(),)
        if usable.cluster and port.uses_cluster_endpoints:
            chains[self.service] = (head if internal == self.service else ()) + self._balance(usable.cluster)
        if usable.local and port.uses_local_endpoints:
            chains[self.local] = (head if internal == self.local else ()) + self._balance(usable.local)
        sets = {}
        for endpoint in usable.reachable:
            chains[self._endpoint("endpoint", endpoint)] = self._translate(endpoint)
            if port.affinity_seconds:
                sets[self._endpoint("affinity", endpoint)] = port.affinity_seconds
        return NftPort(chains, sets, self._elements(internal))

    def _elements(self, internal: str) -> dict[tuple[str, str], str]:
        port, anywhere = self.port, self.usable.anywhere
        lost = f'comment "{port.name}" : ' + ("drop" if anywhere else f"goto {REJECT}")
        found: dict[tuple[str, str], str] = {(CLUSTER_IPS, port.cluster_ip): ""}
        where, verdict = (SERVICE_IPS, f"goto {internal}") if self.internal_ok else (NO_ENDPOINTS, lost)
        found[where, self._key(port.cluster_ip)] = verdict
        for ip in (*port.external_ips, *port.load_balancer_ips):
            if anywhere:
                found[SERVICE_IPS, self._key(ip)] = f"goto {self.external}"
            if not self.external_ok:
                found[NO_ENDPOINTS, self._key(ip)] = lost
        for ip in port.load_balancer_ips if port.source_ranges else ():
            found[FIREWALLED, self._key(ip)] = f"goto {self.firewall}"
        if port.node_port:
            key = f"{port.protocol} . {port.node_port}"
            if anywhere:
                found[NODE_PORTS, key] = f"goto {self.external}"
            if not self.external_ok:
                found[NO_ENDPOINT_PORTS, key] = lost
        return found

    def _key(self, ip: str) -> str:
        return f"{ip} . {self.port.protocol} . {self.port.port}"

    def _masquerade(self) -> tuple[str, ...]:
        where = f"{self.family} daddr {self.port.cluster_ip} {self.port.protocol} dport {self.port.port}"
        if self.config.masquerade_all:
            return (f"{where} jump {MARK_MASQ}",)
        if self.config.local_match:
            return (f"{where} {self._from_pods('!= ')} jump {MARK_MASQ}",)
        return ()

    def _from_pods(self, operator: str = "") -> str:
        assert self.config.local_match is not None
        option, value = self.config.local_match
        if option == "-s":
            return f"{self.family} saddr {operator}{value}"
        return f'iifname {operator}"{value.replace("+", "*")}"'

    def _external(self) -> tuple[str, ...]:
        rules: list[str] = []
        if not self.port.external_local:
            rules.append(f"jump {MARK_MASQ}")
        else:
            if self.config.local_match:
                rules.append(f'{self._from_pods()} goto {self.service} comment "short-circuit pod traffic"')
            rules.append(f'fib saddr type local jump {MARK_MASQ} comment "masquerade local traffic"')
            rules.append(f'fib saddr type local goto {self.service} comment "short-circuit local traffic"')
        if self.external_ok:
            rules.append(f"goto {self.local if self.port.external_local else self.service}")
        return tuple(rules)

    def _guard(self) -> str:
        port = self.port
        sources = list(port.source_ranges)
        node = ipaddress.ip_address(self.config.node_ip) if self.config.node_ip else None
        if node and any(node in ipaddress.ip_network(cidr) for cidr in port.source_ranges):
            sources += port.load_balancer_ips  # a packet from this node loops back with that very address
        merged = ipaddress.collapse_addresses(ipaddress.ip_network(s) for s in sources)  # type: ignore[type-var]
        return f"{self.family} saddr != {{ {', '.join(str(n) for n in merged)} }} drop"

    def _balance(self, endpoints: tuple[Endpoint, ...]) -> tuple[str, ...]:
        rules = []
        if self.port.affinity_seconds:
            for e in endpoints:
                chosen = self._endpoint("affinity", e)
                rules.append(f"{self.family} saddr @{chosen} goto {self._endpoint('endpoint', e)}")
        targets = ", ".join(f"{i} : goto {self._endpoint('endpoint', e)}" for i, e in enumerate(endpoints))
        return (*rules, f"numgen random mod {len(endpoints)} vmap {{ {targets} }}")

    def _translate(self, endpoint: Endpoint) -> tuple[str, ...]:
        rules = [f"{self.family} saddr {endpoint.ip} jump {MARK_MASQ}"]
        if self.port.affinity_seconds:
            rules.append(f"update @{self._endpoint('affinity', endpoint)} {{ {self.family} saddr }}")
        return (*rules, f"meta l4proto {self.port.protocol} dnat to {endpoint.address}")
