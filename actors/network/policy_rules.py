"""NetworkPolicies as packet rules of one node.

Owns which rules stand for the policies that select this node's pods: chains of the mangle table, which
a forwarded packet passes after its destination was translated and before kube-proxy accepts anything.
What a policy means is written in `policy`; a test holds both against each other. Must never run a
program. Packets of a connection that was allowed pass; a node's own packets to its pods are not
forwarded, so they always pass.

    KUBE-NETPOL            established: return; -s POD: its egress chain; -d POD: its ingress chain
    KUBE-NETPOL-(pod)      no mark; one chain per policy; without a mark: drop
    KUBE-NETPOL-(policy)   each peer and port that is allowed: set the mark
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from actors.network._config import family_of
from protocol.objects import labels, selector_of

__all__ = ["JUMPS", "PolicyRules"]

Object = Mapping[str, Any]
TOP = "KUBE-NETPOL"
ALLOWED = "0x20000/0x20000"
UNMARK, MARK = "-j MARK --set-xmark 0x0/0x20000", f"-j MARK --set-xmark {ALLOWED}"
JUMPS = (("mangle", "FORWARD", f'-m comment --comment "network policies" -j {TOP}'),)
NEIGHBOUR_DISCOVERY = (133, 134, 135, 136)  # solicitations and advertisements of routers and neighbours
DIRECTIONS = {"Egress": ("egress", "to", "-s", "-d"), "Ingress": ("ingress", "from", "-d", "-s")}


def _chain(text: str) -> str:
    return f"{TOP}-" + base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:16]


def _key(obj: Object) -> str:
    return f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"


def _ips(pod: Object, family: str) -> list[str]:
    """The pod's own addresses; a pod that has ended, or lives in its node's network, has none."""
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    if spec.get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed"):
        return []
    listed = [p["ip"] for p in status.get("podIPs") or () if p.get("ip")]
    listed = listed or ([status["podIP"]] if status.get("podIP") else [])
    return [ip for ip in listed if family_of(ip) == family]


class PolicyRules:
    """Policies, Namespaces and Pods in (`objects[resource][key]`); `iptables-restore` text out."""

    def __init__(self, node_name: str, family: str = "IPv4", neighbours: tuple[str, ...] = ()) -> None:
        self.nodes, self.family = frozenset((node_name, *neighbours)), family
        self.policies: dict[str, Object] = {}
        self.namespaces: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        self.objects = {"networkpolicies": self.policies, "namespaces": self.namespaces, "pods": self.pods}
        self._written: set[str] = set()

    def chains(self) -> dict[str, list[str]]:
        """All chains, the one that FORWARD jumps to first."""
        top = ["-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"]
        if self.family == "IPv6":  # neighbours on a bridge look for each other through this hook
            top += [f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN" for kind in NEIGHBOUR_DISCOVERY]
        found: dict[str, list[str]] = {TOP: top}
        for key in sorted(self.pods):
            pod = self.pods[key]
            ips = _ips(pod, self.family)
            if (pod.get("spec") or {}).get("nodeName") not in self.nodes or not ips:
                continue
            for kind in DIRECTIONS:
                self._pod(found, top, pod, key, ips, kind)
        top.append(UNMARK)
        return found

    def _pod(
        self, found: dict[str, list[str]], top: list[str], pod: Object, key: str, ips: list[str], kind: str
    ) -> None:
        selecting = [p for _, p in sorted(self.policies.items()) if self._selects(p, pod, kind)]
        if not selecting:
            return
        own = DIRECTIONS[kind][2]
        name = _chain(f"{kind} {key}")
        body = [f"-s {ip} -d {ip} -j RETURN" for ip in ips]  # a pod may always talk to itself
        body.append(UNMARK)
        for policy in selecting:
            chain = _chain(f"{kind} {key} {_key(policy)}")
            found[chain] = list(self._allowed(found, policy, pod, chain, kind))
            body.append(f'-m comment --comment "policy {_key(policy)}" -j {chain}')
        denied = f'-m comment --comment "{kind.lower()} of {key} is not allowed"'
        body.append(f"{denied} -m mark ! --mark {ALLOWED} -j DROP")
        found[name] = body
        top += [f'{own} {ip} -m comment --comment "{kind.lower()} of {key}" -j {name}' for ip in ips]

    def _selects(self, policy: Object, pod: Object, kind: str) -> bool:
        if policy["metadata"].get("namespace") != pod["metadata"].get("namespace"):
            return False
        spec = policy.get("spec") or {}
        kinds = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
        return kind in kinds and selector_of(spec.get("podSelector") or {}).matches(labels(dict(pod)))

    def _allowed(
        self, found: dict[str, list[str]], policy: Object, pod: Object, chain: str, kind: str
    ) -> Iterable[str]:
        """The rules of one policy for one pod; each sets the mark."""
        field, whom, _, other = DIRECTIONS[kind]
        for number, rule in enumerate((policy.get("spec") or {}).get(field) or ()):
            ports, peers = rule.get("ports") or (), rule.get(whom) or ()
            if not peers:
                # nobody in particular; a named port of nobody in particular is each pod's own
                named = kind == "Egress" and any(isinstance(p.get("port"), str) for p in ports)
                targets = [(f"{other} {ip} ", peer) for peer in self._every_pod() for ip in _ips(peer, self.family)]
                for match, peer in targets if named else ():
                    yield from (f"{match}{m}{MARK}" for m in _port_matches(ports, peer, only_named=True))
                yield from (f"{m}{MARK}" for m in _port_matches(ports, pod if kind == "Ingress" else None))
            for at, peer in enumerate(peers):
                if peer.get("ipBlock") is not None:
                    yield from self._block(found, peer["ipBlock"], ports, pod, f"{chain} {number} {at}", kind)
                    continue
                for chosen in self._peers(peer, policy):
                    matches = _port_matches(ports, pod if kind == "Ingress" else chosen)
                    for ip in _ips(chosen, self.family):
                        yield from (f"{other} {ip} {m}{MARK}" for m in matches)

    def _block(
        self, found: dict[str, list[str]], block: Object, ports: Any, pod: Object, text: str, kind: str
    ) -> Iterable[str]:
        """A range of addresses; with exceptions it has a chain of its own, which these leave at once."""
        other = DIRECTIONS[kind][3]
        if family_of(block["cidr"]) != self.family:
            return
        cidr = ipaddress.ip_network(block["cidr"], strict=False)
        matches = _port_matches(ports, pod if kind == "Ingress" else None)
        exceptions = [c for c in block.get("except") or () if family_of(c) == self.family]
        if not exceptions:
            yield from (f"{other} {cidr} {m}{MARK}" for m in matches)
            return
        chain = _chain(text)
        returns = [f"{other} {ipaddress.ip_network(c, strict=False)} -j RETURN" for c in exceptions]
        found[chain] = [*returns, *(f"{m}{MARK}" for m in matches)]
        yield f"{other} {cidr} -j {chain}"

    def _every_pod(self) -> Iterable[Object]:
        return (self.pods[key] for key in sorted(self.pods))

    def _peers(self, peer: Object, policy: Object) -> Iterable[Object]:
        """The pods that a peer's selectors mean."""
        of_namespace = peer.get("namespaceSelector")
        wanted = selector_of(peer.get("podSelector") or {})
        for pod in self._every_pod():
            namespace = pod["metadata"].get("namespace", "")
            if of_namespace is None:
                if namespace != policy["metadata"].get("namespace", ""):
                    continue
            elif not selector_of(of_namespace).matches(labels(dict(self.namespaces.get(namespace, {})))):
                continue
            if wanted.matches(labels(dict(pod))):
                yield pod

    def restore_text(self) -> str:
        """Input for `iptables-restore --noflush`: all chains, and the end of those that this object
        wrote before and needs no more."""
        chains = self.chains()
        gone = sorted(self._written - set(chains))
        self._written = set(chains)
        lines = ["*mangle", *(f":{c} - [0:0]" for c in (*chains, *gone))]
        lines += [f"-A {chain} {rule}" for chain, rules in chains.items() for rule in rules]
        lines += [f"-X {chain}" for chain in gone]
        return "".join(line + "\n" for line in (*lines, "COMMIT"))


def _port_matches(ports: Any, target: Object | None, *, only_named: bool = False) -> list[str]:
    """Matches of a rule's ports, each ending with a space; one empty match if it names none. A named
    port is what `target` calls so: nothing, without a target."""
    if not ports:
        return [""]
    found = []
    for entry in ports:
        protocol, port = (entry.get("protocol") or "TCP").lower(), entry.get("port")
        if isinstance(port, str):
            numbers = [str(n) for n in _named(target, port, protocol)]
        elif only_named:
            continue
        else:
            numbers = [] if port is None else [f"{port}:{entry['endPort']}" if entry.get("endPort") else str(port)]
            if port is None:
                found.append(f"-p {protocol} ")
        found += [f"-p {protocol} -m {protocol} --dport {n} " for n in numbers]
    return found


def _named(pod: Object | None, name: str, protocol: str) -> list[int]:
    spec = (pod or {}).get("spec") or {}
    return [
        p["containerPort"]
        for c in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
        for p in c.get("ports") or ()
        if p.get("name") == name and (p.get("protocol") or "TCP").lower() == protocol
    ]
