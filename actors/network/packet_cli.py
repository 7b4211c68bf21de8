"""Following one packet through a cluster's rules, as a pure function.

Owns the naming of ends (`web`, `pod/p`, `node/n`, an address), the hops between hosts, and the words
of the account. Must never talk to a cluster: it is given objects as the API has them.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from actors.network._config import ProxyConfig, family_of
from actors.network._health import service_answer
from actors.network._ruleset import RuleSet
from actors.network.iptables_cli import objects_in
from actors.network.netfilter import Outcome, Packet, Tables, Walker
from actors.network.policy import End, Policies

__all__ = ["Hop", "Journey", "UnknownEnd", "follow"]

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


class _Cluster:
    """The objects, by what a packet's way asks for."""

    def __init__(self, objects: Iterable[Object], config: Object | None, seed: int) -> None:
        self.by_kind: dict[str, list[Object]] = {}
        for obj in objects_in(objects):
            self.by_kind.setdefault(str(obj.get("kind")), []).append(obj)
        self.config = config
        self.rng = random.Random(seed)
        self.walkers: dict[str, Walker] = {}
        self.rules: dict[str, RuleSet] = {}
        self.pods = {ip: pod for pod in self.by_kind.get("Pod", ()) for ip in _pod_ips(pod)}
        self.nodes = {ip: node for node in self.by_kind.get("Node", ()) for ip in _node_ips(node)}

    def named(self, kind: str, namespace: str, name: str) -> Object:
        for obj in self.by_kind.get(kind, ()):
            meta = obj["metadata"]
            if meta["name"] == name and meta.get("namespace", "") == namespace:
                return obj
        where = f' in namespace "{namespace}"' if namespace else ""
        raise UnknownEnd(f'{kind.lower()} "{name}" not found{where}')

    def walker(self, node: Object, family: str) -> Walker:
        """The host with the rules that its kube-proxy writes."""
        name = node["metadata"]["name"]
        key = f"{name} {family}"
        if key not in self.walkers:
            rules = RuleSet(ProxyConfig.load(self.config, node, name, family))
            for endpoint_slice in self.by_kind.get("EndpointSlice", ()):
                rules.set_slice(endpoint_slice)
            for service in self.by_kind.get("Service", ()):
                rules.set_service(service)
            self.rules[key] = rules
            tables = Tables()
            tables.restore(rules.text())
            self.walkers[key] = Walker(tables, _node_ips(node), rng=self.rng, now=lambda: 0.0)
        return self.walkers[key]

    def host_of(self, ip: str) -> Object | None:
        """The node that has an address, or whose pod has it."""
        if ip in self.nodes:
            return self.nodes[ip]
        pod = self.pods.get(ip)
        name = (pod.get("spec") or {}).get("nodeName") if pod else None
        return self.named("Node", "", name) if name else None


def _pod_ips(pod: Object) -> list[str]:
    state = pod.get("status") or {}
    if (pod.get("spec") or {}).get("hostNetwork"):
        return []
    return [p["ip"] for p in state.get("podIPs") or ()] or ([state["podIP"]] if state.get("podIP") else [])


def _node_ips(node: Object) -> list[str]:
    addresses = (node.get("status") or {}).get("addresses") or ()
    return [a["address"] for a in addresses if a.get("type") == "InternalIP"]


def follow(
    objects: Iterable[Object],
    source: str,
    target: str,
    *,
    namespace: str = "default",
    protocol: str = "tcp",
    config: Object | None = None,
    seed: int = 0,
    sport: int = 40000,
) -> Journey:
    """Send one packet. `source`: a pod's name (`web-1`, `ns/web-1`), `node/NAME`, or an address
    outside. `target`: `SERVICE:PORT`, `pod/NAME:PORT`, `node/NAME:PORT` or `ADDRESS:PORT`; a port
    may be a Service port's name. Raises UnknownEnd, and ConfigError for a bad `config`.
    """
    cluster = _Cluster(objects, config, seed)
    dst, dport = _target(cluster, target, namespace, protocol)
    src, host, from_node = _source(cluster, source, namespace, dst)
    packet = Packet(src, dst, protocol, sport, dport, in_interface="" if from_node else "cni0")
    hops: list[Hop] = []
    for _ in range(MAX_HOPS):
        walker = cluster.walker(host, family_of(packet.dst))
        outcome = walker.send(packet) if from_node and not hops else walker.forward(packet)
        hops.append(Hop(host["metadata"]["name"], packet, outcome))
        following = cluster.host_of(outcome.packet.dst)
        if outcome.verdict != "ACCEPT" or following is None or following is host:
            break
        host = following
        packet = msgspec.structs.replace(outcome.packet, in_interface="eth0", mark=0)
    denied, answer = _denial(cluster, src, hops), _health(cluster, hops[-1])
    return Journey(tuple(hops), _end(cluster, hops[-1].outcome), denied, answer)


def _health(cluster: _Cluster, last: Hop) -> str:
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


def _denial(cluster: _Cluster, src: str, hops: list[Hop]) -> str:
    """What NetworkPolicies say of the connection: between the pods, after all translation."""
    last = hops[-1].outcome
    if last.verdict != "ACCEPT":
        return ""
    policies = Policies(cluster.by_kind.get("NetworkPolicy", ()), cluster.by_kind.get("Namespace", ()))
    packet = last.packet
    target = End(packet.dst, cluster.pods.get(packet.dst))
    leaving = policies.egress(End(src, cluster.pods.get(src)), target, packet.protocol, packet.dport)
    if not leaving.allowed:
        return f"denied on the way out by {', '.join(leaving.policies)}"
    entering = policies.ingress(End(packet.src, cluster.pods.get(packet.src)), target, packet.protocol, packet.dport)
    if packet.src in cluster.nodes and cluster.host_of(packet.dst) is cluster.nodes[packet.src]:
        return ""  # a pod's own node may always reach it
    return "" if entering.allowed else f"denied on the way in by {', '.join(entering.policies)}"


def _end(cluster: _Cluster, outcome: Outcome) -> str:
    if outcome.verdict != "ACCEPT":
        return ""
    pod = cluster.pods.get(outcome.packet.dst)
    if pod is not None:
        return f"pod {pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}"
    node = cluster.nodes.get(outcome.packet.dst)
    return f"node {node['metadata']['name']}" if node else f"{outcome.packet.dst} outside of the cluster"


def _source(cluster: _Cluster, source: str, namespace: str, dst: str) -> tuple[str, Object, bool]:
    """-> address, the host where the packet enters, whether that host itself sends it."""
    if source.startswith("node/"):
        node = cluster.named("Node", "", source.removeprefix("node/"))
        return _of_family(_node_ips(node), dst, source), node, True
    if _is_address(source):
        host = cluster.host_of(source) or cluster.host_of(dst) or next(iter(cluster.by_kind.get("Node", ())), None)
        if host is None:
            raise UnknownEnd("there is no node that the packet could reach")
        return source, host, source in cluster.nodes
    space, _, name = source.removeprefix("pod/").rpartition("/")
    pod = cluster.named("Pod", space or namespace, name)
    node_name = (pod.get("spec") or {}).get("nodeName")
    ips = _pod_ips(pod) or [p["ip"] for p in (pod.get("status") or {}).get("podIPs") or ()]
    if not node_name or not ips:
        raise UnknownEnd(f'pod "{name}" has no address yet')
    own = bool((pod.get("spec") or {}).get("hostNetwork"))
    return _of_family(ips, dst, source), cluster.named("Node", "", node_name), own


def _target(cluster: _Cluster, target: str, namespace: str, protocol: str) -> tuple[str, int]:
    host, colon, port = target.rpartition(":")
    if not colon:
        raise UnknownEnd(f"{target!r} names no port: write NAME:PORT")
    host = host.strip("[]")
    if _is_address(host):
        return host, _number(port)
    if host.startswith("node/"):
        return _node_ips(cluster.named("Node", "", host.removeprefix("node/")))[0], _number(port)
    if host.startswith("pod/"):
        space, _, name = host.removeprefix("pod/").rpartition("/")
        ips = _pod_ips(cluster.named("Pod", space or namespace, name))
        if not ips:
            raise UnknownEnd(f'pod "{name}" has no address yet')
        return ips[0], _number(port)
    name, _, rest = host.removeprefix("svc/").removeprefix("service/").partition(".")
    space = rest.split(".")[0] if rest else namespace
    if "/" in name:
        space, _, name = name.partition("/")
    service = cluster.named("Service", space, name)
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
