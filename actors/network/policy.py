"""NetworkPolicy: may this packet leave its pod, and may it enter the other one?

Owns the meaning of policies, as pure functions on objects. It drops nothing itself. Facts:
https://kubernetes.io/docs/concepts/services-networking/network-policies/

A pod that no policy selects for a direction takes (or sends) everything. One that is selected takes
what at least one rule of at least one of these policies allows, and nothing else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from protocol.objects import labels, selector_of, spec

__all__ = ["End", "Policies", "Verdict"]

Object = Mapping[str, Any]


class End(msgspec.Struct, frozen=True):
    """One end of a connection: an address, and the pod that has it if there is one."""

    ip: str
    pod: Object | None = None


class Verdict(msgspec.Struct, frozen=True):
    """`allowed`, and the names of the policies (`namespace/name`) that decided: those that allow it,
    or those that select the pod and have no rule for it. None for a pod that no policy selects."""

    allowed: bool
    policies: tuple[str, ...] = ()


class Policies:
    """All NetworkPolicies, and the labels of namespaces that they may ask for."""

    def __init__(self, policies: Iterable[Object], namespaces: Iterable[Object] = ()) -> None:
        self._by_namespace: dict[str, list[Object]] = {}
        for policy in policies:
            self._by_namespace.setdefault(policy["metadata"].get("namespace", ""), []).append(policy)
        self._namespaces = {n["metadata"]["name"]: labels(dict(n)) for n in namespaces}

    def egress(self, source: End, target: End, protocol: str, port: int) -> Verdict:
        """May `source` send to `target`, whose port is `port`?"""
        return self._judge(source, target, target, "Egress", "egress", "to", protocol, port)

    def ingress(self, source: End, target: End, protocol: str, port: int) -> Verdict:
        """May `target` take from `source`?"""
        return self._judge(target, source, target, "Ingress", "ingress", "from", protocol, port)

    def _judge(
        self, subject: End, peer: End, target: End, kind: str, field: str, whom: str, protocol: str, port: int
    ) -> Verdict:
        if subject.pod is None or (spec(dict(subject.pod)).get("hostNetwork")):
            return Verdict(True)
        if peer.ip == subject.ip:
            return Verdict(True)  # a pod may always talk to itself
        selecting, allowing = [], []
        for policy in self._selecting(subject.pod, kind):
            name = f"{policy['metadata'].get('namespace', '')}/{policy['metadata']['name']}"
            selecting.append(name)
            rules = spec(dict(policy)).get(field) or ()
            if any(self._rule(rule, policy, whom, peer, target, protocol, port) for rule in rules):
                allowing.append(name)
        if not selecting:
            return Verdict(True)
        return Verdict(bool(allowing), tuple(allowing or selecting))

    def _selecting(self, pod: Object, kind: str) -> Iterable[Object]:
        for policy in self._by_namespace.get(pod["metadata"].get("namespace", ""), ()):
            wanted = spec(dict(policy))
            kinds = wanted.get("policyTypes") or (["Ingress", "Egress"] if wanted.get("egress") else ["Ingress"])
            if kind in kinds and selector_of(wanted.get("podSelector") or {}).matches(labels(dict(pod))):
                yield policy

    def _rule(self, rule: Object, policy: Object, whom: str, peer: End, target: End, protocol: str, port: int) -> bool:
        ports, peers = rule.get("ports") or (), rule.get(whom) or ()
        if ports and not any(_port_fits(entry, target, protocol, port) for entry in ports):
            return False
        return not peers or any(self._peer(entry, policy, peer) for entry in peers)

    def _peer(self, entry: Object, policy: Object, peer: End) -> bool:
        block = entry.get("ipBlock")
        if block is not None:
            address = ipaddress.ip_address(peer.ip)
            if address not in ipaddress.ip_network(block["cidr"], strict=False):
                return False
            return not any(address in ipaddress.ip_network(c, strict=False) for c in block.get("except") or ())
        if peer.pod is None:
            return False
        namespace = peer.pod["metadata"].get("namespace", "")
        if entry.get("namespaceSelector") is None:
            if namespace != policy["metadata"].get("namespace", ""):
                return False
        elif not selector_of(entry["namespaceSelector"]).matches(self._namespaces.get(namespace, {})):
            return False
        return selector_of(entry.get("podSelector") or {}).matches(labels(dict(peer.pod)))


def _port_fits(entry: Object, target: End, protocol: str, port: int) -> bool:
    if (entry.get("protocol") or "TCP").lower() != protocol:
        return False
    wanted = entry.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return port in _named(target.pod, wanted, protocol)
    return bool(wanted <= port <= entry.get("endPort", wanted))


def _named(pod: Object | None, name: str, protocol: str) -> list[int]:
    """The numbers that a port's name has on a pod."""
    containers = spec(dict(pod)).get("containers") or () if pod else ()
    return [
        p["containerPort"]
        for c in containers
        for p in c.get("ports") or ()
        if p.get("name") == name and (p.get("protocol") or "TCP").lower() == protocol
    ]
