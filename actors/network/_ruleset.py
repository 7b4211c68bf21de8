"""The rule set of one node, kept up to date change by change.

Owns which Services and slices are known, their compiled rules, and the text of both tables.
Must never touch the kernel's tables or the API. A change costs what the Service it concerns
costs, however many others there are; only crossing the size at which endpoint comments are
dropped compiles everything anew.

    before                                a slice of default/web gains 10.244.2.7
    ------------------------------        ------------------------------------------------
    nat KUBE-SVC-LOLE...: -> SEP-XQWD     Delta.nat  = {KUBE-SVC-LOLE...: (two rungs),
        KUBE-SEP-XQWD...                                KUBE-SEP-CBPC...: (masq, dnat)}
        KUBE-SERVICES: 10,000 rules       KUBE-SERVICES is not in the delta
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from actors.network._config import ProxyConfig
from actors.network._conntrack import Front, Served, fronts, stale_flows
from actors.network._delta import Delta, difference
from actors.network._endpoint import SliceView, Usable, merge, select, view_of
from actors.network._portrules import (
    EXTERNAL,
    FIREWALL,
    MARK_MASQ,
    NODE_PORTS,
    SERVICES,
    PortRules,
    compile_port,
)
from actors.network._service import ServicePort, ports_of

__all__ = ["Delta", "RuleSet"]

Key = tuple[str, str]  # namespace, name
PortKey = tuple[str, str, str, str]  # namespace, Service, port name, protocol

POSTROUTING, FORWARD, KUBELET_FIREWALL, CANARY = (
    "KUBE-POSTROUTING",
    "KUBE-FORWARD",
    "KUBE-FIREWALL",
    "KUBE-PROXY-CANARY",
)
NAT_CHAINS = (SERVICES, NODE_PORTS, POSTROUTING, MARK_MASQ)
FILTER_CHAINS = (SERVICES, EXTERNAL, FORWARD, NODE_PORTS, FIREWALL, KUBELET_FIREWALL)
_PORTALS = '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'
_NEW = "-m conntrack --ctstate NEW "
_VISIBLE = _NEW + '-m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES'
_BALANCER = _NEW + '-m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL'
JUMPS: dict[str, dict[str, tuple[str, ...]]] = {
    "nat": {
        "PREROUTING": (_PORTALS,),
        "INPUT": (),
        "OUTPUT": (_PORTALS,),
        "POSTROUTING": ('-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',),
    },
    "filter": {
        "INPUT": (
            "-j KUBE-FIREWALL",
            _BALANCER,
            '-m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS',
            _VISIBLE,
        ),
        "FORWARD": (
            _BALANCER,
            '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
            _NEW + _PORTALS,
            _VISIBLE,
        ),
        "OUTPUT": ("-j KUBE-FIREWALL", _BALANCER, _NEW + _PORTALS),
    },
}


class _Service:
    """One Service with its slices and what was compiled from them."""

    __slots__ = ("compiled", "endpoints", "ports", "slices", "usable")

    def __init__(self) -> None:
        self.ports: dict[tuple[str, str], ServicePort] = {}
        self.slices: dict[str, SliceView] = {}
        self.compiled: dict[tuple[str, str], Any] = {}
        self.usable: dict[tuple[str, str], Usable] = {}
        self.endpoints = 0

    def served(self) -> dict[tuple[str, str], tuple[ServicePort, Usable]]:
        """The ports with the endpoints that they lead to."""
        return {key: (self.ports[key], usable) for key, usable in self.usable.items() if key in self.ports}


class RuleSet:
    """Services, EndpointSlices and a configuration in; iptables rules out."""

    def __init__(self, config: ProxyConfig) -> None:
        self.config = config
        self._local_nodes = config.local_nodes
        self.total_endpoints = 0
        self._large = False
        self._services: dict[Key, _Service] = {}
        self._slices: dict[Key, Key] = {}  # slice -> its Service
        self.health_ports: dict[Key, int] = {}  # Service -> its health check node port

    # -- changes ---------------------------------------------------------------------------

    def set_service(self, service: Mapping[str, Any]) -> Delta:
        """A Service was added or changed."""
        key = (service["metadata"].get("namespace", ""), service["metadata"]["name"])
        return self._set_ports(key, ports_of(service, self.config.family))

    def delete_service(self, namespace: str, name: str) -> Delta:
        """A Service is gone; its slices may outlive it."""
        return self._set_ports((namespace, name), {})

    def set_slice(self, endpoint_slice: Mapping[str, Any]) -> Delta:
        """An EndpointSlice was added or changed."""
        meta = endpoint_slice["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        view = view_of(endpoint_slice, self.config.family, self._local_nodes)
        delta = self._no_change()
        before = self._slices.get(key)
        if before is not None and (view is None or view.service != before):
            delta = self.delete_slice(*key)
        if view is None:
            return delta
        entry = self._services.setdefault(view.service, _Service())
        if entry.slices.get(key[1]) == view:
            return delta
        entry.slices[key[1]] = view
        self._slices[key] = view.service
        return delta.joined(self._recompile(entry))

    def delete_slice(self, namespace: str, name: str) -> Delta:
        """An EndpointSlice is gone."""
        service = self._slices.pop((namespace, name), None)
        if service is None:
            return self._no_change()
        entry = self._services[service]
        del entry.slices[name]
        return self._drop_if_empty(service, entry, self._recompile(entry))

    def reconfigure(self, config: ProxyConfig) -> bool:
        """Take another configuration (a changed Node); True when all rules must be written anew."""
        if config == self.config:
            return False
        self.config = config
        for entry in self._services.values():
            self._compile_entry(entry)
        return True

    def _set_ports(self, key: Key, ports: dict[tuple[str, str], ServicePort]) -> Delta:
        entry = self._services.get(key)
        if entry is None:
            if not ports:
                return self._no_change()
            entry = self._services[key] = _Service()
        if entry.ports == ports:
            return self._no_change()
        served = entry.served()
        entry.ports = ports
        health = max((port.health_check_node_port for port in ports.values()), default=0)
        if health:
            self.health_ports[key] = health
        else:
            self.health_ports.pop(key, None)
        return self._drop_if_empty(key, entry, self._recompile(entry, served))

    def _drop_if_empty(self, key: Key, entry: _Service, delta: Delta) -> Delta:
        if not entry.ports and not entry.slices:
            self._services.pop(key, None)
        return delta

    # -- compiling -------------------------------------------------------------------------

    def _recompile(self, entry: _Service, served: Served | None = None) -> Delta:
        """`served`: what the Service's ports led to before, where the ports have changed."""
        before = entry.compiled
        served = entry.served() if served is None else served
        self._compile_entry(entry)
        delta = self._difference(before, entry.compiled)
        delta.stale = stale_flows(served, entry.served())
        large = self.total_endpoints > self.config.large_cluster_endpoints
        if large != self._large:
            self._large = large
            for other in self._services.values():
                before = other.compiled
                self._compile_entry(other)
                delta = delta.joined(self._difference(before, other.compiled))
        return delta

    def _compile_entry(self, entry: _Service) -> None:
        config, count = self.config, 0
        entry.compiled, entry.usable = {}, {}
        for key, port in entry.ports.items():
            endpoints = merge((entry.slices[n] for n in sorted(entry.slices)), key)
            count += len(endpoints)
            usable = select(endpoints, port, config.node_name, config.zone)
            entry.usable[key] = usable
            entry.compiled[key] = self._compile_port(port, usable)
        self.total_endpoints += count - entry.endpoints
        entry.endpoints = count

    def _compile_port(self, port: ServicePort, usable: Usable) -> Any:
        return compile_port(port, usable, self.config, self._large)

    @staticmethod
    def _difference(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> Any:
        return difference(before, after)

    def _no_change(self) -> Any:
        return Delta({}, [], [], [])

    # -- what a node's health checks and metrics ask -----------------------------------------

    def local_ready(self, service: Key) -> int:
        """How many addresses on this node stand ready behind a Service, whatever its ports."""
        entry = self._services.get(service)
        views = entry.slices.values() if entry is not None else ()
        ports = entry.ports if entry is not None else {}
        return len({e.ip for v in views for key in ports for e in v.endpoints.get(key, ()) if e.local and e.ready})

    def without_local(self) -> dict[str, int]:
        """Ports whose traffic policy is Local, by which one, and which have endpoints, but none here."""
        found = {"internal": 0, "external": 0}
        for entry in self._services.values():
            for port, usable in entry.served().values():
                if usable.anywhere and not usable.local:
                    found["internal"] += port.internal_local
                    found["external"] += port.external_local
        return found

    def counts(self) -> dict[str, int]:
        """Rules by table, those included that stand whatever Services there are."""
        nat: dict[str, list[str]] = {c: [] for c in NAT_CHAINS}
        filters: dict[str, list[str]] = {c: [] for c in FILTER_CHAINS}
        self._write_fixed(nat, filters)
        found = {"filter": sum(map(len, filters.values())), "nat": sum(map(len, nat.values()))}
        for rules in self._compiled():
            found["filter"] += len(rules.filter)
            found["nat"] += len(rules.nat) + sum(map(len, rules.chains.values()))
        return found

    def udp_fronts(self) -> tuple[Front, ...]:
        """All places of UDP Services, with those who serve them."""
        return tuple(front for entry in self._services.values() for front in fronts(entry.served()))

    # -- text ------------------------------------------------------------------------------

    def tables(self) -> dict[str, dict[str, list[str]]]:
        """Both tables whole: table -> chain -> rules, built-in chains with their jumps included."""
        nat: dict[str, list[str]] = {c: list(r) for c, r in JUMPS["nat"].items()}
        filters: dict[str, list[str]] = {c: list(r) for c, r in JUMPS["filter"].items()}
        nat.update({c: [] for c in (*NAT_CHAINS, CANARY)})
        filters.update({c: [] for c in (*FILTER_CHAINS, CANARY)})
        for rules in self._compiled():
            for chain, rule in rules.nat:
                nat[chain].append(rule)
            for chain, rule in rules.filter:
                filters[chain].append(rule)
            for chain, body in rules.chains.items():
                nat[chain] = list(body)
        self._write_fixed(nat, filters)
        return {"nat": nat, "filter": filters}

    def _compiled(self) -> Iterable[PortRules]:
        for key in sorted(self._services):
            entry = self._services[key]
            for port in sorted(entry.compiled):
                yield entry.compiled[port]

    def _write_fixed(self, nat: dict[str, list[str]], filters: dict[str, list[str]]) -> None:
        """The rules that stand whatever Services there are."""
        config, mark = self.config, self.config.masquerade_mark
        fully = " --random-fully" if config.random_fully else ""
        nat[POSTROUTING] += [
            f"-m mark ! --mark {mark}/{mark} -j RETURN",
            f"-j MARK --set-xmark {mark}/0x0",
            f'-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE{fully}',
        ]
        nat[MARK_MASQ].append(f"-j MARK --set-xmark {mark}/{mark}")
        nat[SERVICES] += self._closing_rules()
        if config.localhost_node_ports:
            filters[KUBELET_FIREWALL].append(
                '! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" '
                "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
            )
        if not config.tcp_liberal:
            filters[FORWARD].append("-m conntrack --ctstate INVALID -j DROP")
        filters[FORWARD] += [
            f'-m comment --comment "kubernetes forwarding rules" -m mark --mark {mark}/{mark} -j ACCEPT',
            '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
        ]

    def _closing_rules(self) -> list[str]:
        config = self.config
        comment = '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
        if config.node_port_ips is None:
            unless = "" if config.localhost_node_ports else "! -d 127.0.0.0/8 "
            if config.family == "IPv6":
                unless = "! -d ::1/128 "
            return [f"{unless}{comment} -m addrtype --dst-type LOCAL -j {NODE_PORTS}"]
        rules, bits = [], 32 if config.family == "IPv4" else 128
        for ip in config.node_port_ips:
            loopback = ip.startswith("127.") or ip == "::1"
            if loopback and not config.localhost_node_ports:
                continue
            rules.append(f"-d {ip}/{bits} {comment} -j {NODE_PORTS}")
        return rules

    def restore_text(self) -> str:
        """Input for `iptables-restore --noflush` that writes all own chains; the jumps to them from
        the built-in chains are not in it (`jumps` has these)."""
        lines = []
        for table, chains in self.tables().items():
            own = sorted(c for c in chains if c not in JUMPS[table])
            lines.append(f"*{table}")
            lines += [f":{chain} - [0:0]" for chain in own]
            lines += [f"-A {chain} {rule}" for chain in own for rule in chains[chain]]
            lines.append("COMMIT")
        return "".join(line + "\n" for line in lines)

    @staticmethod
    def jumps() -> list[tuple[str, str, str]]:
        """(table, built-in chain, rule), in the order in which they should stand."""
        return [(t, chain, rule) for t, chains in JUMPS.items() for chain, rules in chains.items() for rule in rules]

    def sysctls(self) -> tuple[tuple[str, str], ...]:
        """Kernel settings without which the rules do not work: node ports on loopback addresses need
        their packets to be routed."""
        return (("net.ipv4.conf.all.route_localnet", "1"),) if self.config.localhost_node_ports else ()

    def text(self, tables: Iterable[str] = ("nat", "filter")) -> str:
        """`iptables-restore` text of whole tables, in iptables-save's spelling."""
        content, lines = self.tables(), []
        for table in tables:
            chains = content[table]
            builtin = [c for c in chains if c in JUMPS[table]]
            own = sorted(c for c in chains if c not in JUMPS[table])
            lines.append(f"*{table}")
            lines += [f":{chain} ACCEPT [0:0]" for chain in builtin]
            lines += [f":{chain} - [0:0]" for chain in own]
            lines += [f"-A {chain} {rule}" for chain in (*builtin, *own) for rule in chains[chain]]
            lines.append("COMMIT")
        return "".join(line + "\n" for line in lines)
