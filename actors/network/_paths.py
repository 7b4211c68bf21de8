"""The ways of packets through a cluster: from hop to hop over the hosts' rules.

Owns the naming of ends (`web`, `pod/p`, `node/n`, an address), the hops between hosts, and what
NetworkPolicies and health checks say at the end. Must never talk to a cluster: it is given objects as
the API has them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from actors.network._addresses import node_ips, pod_ips
from actors.network._config import ProxyConfig, family_of
from actors.network._health import service_answer
from actors.network._ruleset import RuleSet
from actors.network.netfilter import Outcome, Packet, Tables, Walker
from actors.network.policy import End, Policies

__all__ = ["Hop", "Journey", "Paths", "UnknownEnd"]

MAX_HOPS = 5
Object = Mapping[str, Any]


class UnknownEnd(LookupError):
    """What was named as an end of the packet's way is not there; the text says what it is."""


class Hop(msgspec.Struct, frozen=True):
    """What one host did with the packet. `host` is a node's name."""

    host: str
    before: Packet
    outcome: Outcome


class Journey(msgspec.Struct, frozen=True):
    """All hops, and where the packet ended: a pod's `namespace/name`, `node NAME`, an address
    outside of the cluster, or nowhere (empty). `denied`: the NetworkPolicies that stopped it. `answer`:
    what a health check node port there says."""

    hops: tuple[Hop, ...]
    end: str
    denied: str = ""
    answer: str = ""

    @property
    def delivered(self) -> bool:
        return self.hops[-1].outcome.verdict == "ACCEPT" and not self.denied

    def lines(self) -> list[str]:
        """The account, line by line."""
        found: list[str] = []
        for hop in self.hops:
            found.append(f"{hop.host}: {hop.before}")
            chain = ""
            for step in hop.outcome.steps:
                if f"{step.table} {step.chain}" != chain:
                    chain = f"{step.table} {step.chain}"
                    found.append(f"  {chain}")
                effect = f"   => {step.effect}" if step.effect else ""
                found.append(f"    {step.number:>4}  {step.rule}{effect}")
        last = self.hops[-1].outcome
        if self.denied:
            found.append(self.denied)
        elif self.delivered:
            found.append(f"delivered to {self.end} as {last.packet}")
            found += [self.answer] if self.answer else []
        else:
            lost = "rejected" if last.verdict == "REJECT" else "dropped"
            found.append(f"{lost} on {self.hops[-1].host}")
        return found


class Paths:
    """The objects, by what a packet's way asks for. `pods` and `nodes` by address; `pod` and `node` find
    one by its name, or None. `now`: seconds, and `recent`: by host and family, for what the hosts
    remember of clients."""

    def __init__(
        self,
        *,
        pods: Mapping[str, Object],
        nodes: Mapping[str, Object],
        pod: Callable[[str, str], Object | None],
        node: Callable[[str], Object | None],
        services: Iterable[Object],
        slices: Iterable[Object],
        policies: Policies,
        config: Object | None,
        rng: random.Random,
        now: Callable[[], float] = lambda: 0.0,
        recent: Callable[[str], dict[str, dict[str, float]]] = lambda host: {},
    ) -> None:
        self.pods, self.nodes, self.pod, self.node = pods, nodes, pod, node
        self.services, self.slices, self.policies = list(services), list(slices), policies
        self.config, self.rng, self.now, self.recent = config, rng, now, recent
        self.walkers: dict[str, Walker] = {}
        self.rules: dict[str, RuleSet] = {}

    def service(self, namespace: str, name: str) -> Object | None:
        return next((s for s in self.services if _named(s) == (namespace, name)), None)

    def walker(self, node: Object, family: str) -> Walker:
        """The host with the rules that its kube-proxy writes."""
        name = node["metadata"]["name"]
        key = f"{name} {family}"
        if key not in self.walkers:
            rules = RuleSet(ProxyConfig.load(self.config, node, name, family))
            for endpoint_slice in self.slices:
                rules.set_slice(endpoint_slice)
            for service in self.services:
                rules.set_service(service)
            self.rules[key] = rules
            tables = Tables()
            tables.restore(rules.text())
            walker = self.walkers[key] = Walker(tables, node_ips(node), rng=self.rng, now=self.now)
            walker.recent = self.recent(key)
        return self.walkers[key]

    def host_of(self, ip: str) -> Object | None:
        """The node that has an address, or whose pod has it."""
        if ip in self.nodes:
            return self.nodes[ip]
        pod = self.pods.get(ip)
        name = (pod.get("spec") or {}).get("nodeName") if pod else None
        return self.node(name) if name else None

    def follow(
        self, source: str, target: str, namespace: str = "default", protocol: str = "tcp", sport: int = 40000
    ) -> Journey:
        """Send one packet; see `packet_cli.follow`."""
        dst, dport = _target(self, target, namespace, protocol)
        src, host, from_node = _source(self, source, namespace, dst)
        packet = Packet(src, dst, protocol, sport, dport, in_interface="" if from_node else "cni0")
        hops: list[Hop] = []
        for _ in range(MAX_HOPS):
            walker = self.walker(host, family_of(packet.dst))
            outcome = walker.send(packet) if from_node and not hops else walker.forward(packet)
            hops.append(Hop(host["metadata"]["name"], packet, outcome))
            following = self.host_of(outcome.packet.dst)
            if outcome.verdict != "ACCEPT" or following is None or following is host:
                break
            host = following
            packet = msgspec.structs.replace(outcome.packet, in_interface="eth0", mark=0)
        denied, answer = _denial(self, src, hops), _health(self, hops[-1])
        return Journey(tuple(hops), _end(self, hops[-1].outcome), denied, answer)


def _named(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _found(kind: str, obj: Object | None, name: str, namespace: str = "") -> Object:
    if obj is None:
        where = f' in namespace "{namespace}"' if namespace else ""
        raise UnknownEnd(f'{kind} "{name}" not found{where}')
    return obj


def _health(cluster: Paths, last: Hop) -> str:
    """What the kube-proxy of a node says to who came to a health check node port."""
    packet = last.outcome.packet
    rules = cluster.rules[f"{last.host} {family_of(packet.dst)}"]
    if last.outcome.verdict != "ACCEPT" or not last.outcome.local or packet.protocol != "tcp":
        return ""
    for name, port in rules.health_ports.items():
        if port == packet.dport:
            reply = service_answer(*name, rules.local_ready(name), True)
            return f"its kube-proxy answers {reply.status}: {' '.join(reply.body.decode().split())}"
    return ""


def _denial(cluster: Paths, src: str, hops: list[Hop]) -> str:
    """What NetworkPolicies say of the connection: between the pods, after all translation."""
    last = hops[-1].outcome
    if last.verdict != "ACCEPT":
        return ""
    policies, packet = cluster.policies, last.packet
    target = End(packet.dst, cluster.pods.get(packet.dst))
    leaving = policies.egress(End(src, cluster.pods.get(src)), target, packet.protocol, packet.dport)
    if not leaving.allowed:
        return f"denied on the way out by {', '.join(leaving.policies)}"
    entering = policies.ingress(End(packet.src, cluster.pods.get(packet.src)), target, packet.protocol, packet.dport)
    if packet.src in cluster.nodes and cluster.host_of(packet.dst) is cluster.nodes[packet.src]:
        return ""  # a pod's own node may always reach it
    return "" if entering.allowed else f"denied on the way in by {', '.join(entering.policies)}"


def _end(cluster: Paths, outcome: Outcome) -> str:
    if outcome.verdict != "ACCEPT":
        return ""
    pod = cluster.pods.get(outcome.packet.dst)
    if pod is not None:
        return f"pod {pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}"
    node = cluster.nodes.get(outcome.packet.dst)
    return f"node {node['metadata']['name']}" if node else f"{outcome.packet.dst} outside of the cluster"


def _node(cluster: Paths, name: str) -> Object:
    name = name.removeprefix("node/")
    return _found("node", cluster.node(name), name)


def _source(cluster: Paths, source: str, namespace: str, dst: str) -> tuple[str, Object, bool]:
    """-> address, the host where the packet enters, whether that host itself sends it."""
    if source.startswith("node/"):
        node = _node(cluster, source)
        return _of_family(node_ips(node), dst, source), node, True
    if _is_address(source):
        host = cluster.host_of(source) or cluster.host_of(dst) or next(iter(cluster.nodes.values()), None)
        if host is None:
            raise UnknownEnd("there is no node that the packet could reach")
        return source, host, source in cluster.nodes
    space, _, name = source.removeprefix("pod/").rpartition("/")
    pod = _found("pod", cluster.pod(space or namespace, name), name, space or namespace)
    node_name = (pod.get("spec") or {}).get("nodeName")
    ips = pod_ips(pod) or [p["ip"] for p in (pod.get("status") or {}).get("podIPs") or ()]
    if not node_name or not ips:
        raise UnknownEnd(f'pod "{name}" has no address yet')
    own = bool((pod.get("spec") or {}).get("hostNetwork"))
    return _of_family(ips, dst, source), _node(cluster, node_name), own


def _target(cluster: Paths, target: str, namespace: str, protocol: str) -> tuple[str, int]:
    host, colon, port = target.rpartition(":")
    if not colon:
        raise UnknownEnd(f"{target!r} names no port: write NAME:PORT")
    host = host.strip("[]")
    if _is_address(host):
        return host, _number(port)
    if host.startswith("node/"):
        return node_ips(_node(cluster, host))[0], _number(port)
    if host.startswith("pod/"):
        space, _, name = host.removeprefix("pod/").rpartition("/")
        ips = pod_ips(_found("pod", cluster.pod(space or namespace, name), name, space or namespace))
        if not ips:
            raise UnknownEnd(f'pod "{name}" has no address yet')
        return ips[0], _number(port)
    name, _, rest = host.removeprefix("svc/").removeprefix("service/").partition(".")
    space = rest.split(".")[0] if rest else namespace
    if "/" in name:
        space, _, name = name.partition("/")
    service = _found("service", cluster.service(space, name), name, space)
    spec = service.get("spec") or {}
    if spec.get("clusterIP") in (None, "", "None"):
        raise UnknownEnd(f'service "{name}" has no cluster IP')
    for entry in spec.get("ports") or ():
        if port in (str(entry["port"]), entry.get("name")) and (entry.get("protocol") or "TCP").lower() == protocol:
            return spec["clusterIP"], int(entry["port"])
    return spec["clusterIP"], _number(port)


def _number(port: str) -> int:
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise UnknownEnd(f"{port!r} is no port")
    return int(port)


def _is_address(text: str) -> bool:
    return ":" in text or (text.count(".") == 3 and text.replace(".", "").isdigit())


def _of_family(ips: list[str], dst: str, what: str) -> str:
    for ip in ips:
        if family_of(ip) == family_of(dst):
            return ip
    raise UnknownEnd(f"{what} has no {family_of(dst)} address")
