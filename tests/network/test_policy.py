"""NetworkPolicies: who may talk to whom."""

from __future__ import annotations

from typing import Any

import pytest

from actors.network.packet_cli import follow
from actors.network.policy import End, Policies

Object = dict[str, Any]


def pod(name: str, ip: str, namespace: str = "default", **labels: str) -> End:
    ports = [{"name": "http", "containerPort": 8080}]
    spec = {"containers": [{"name": "c", "ports": ports}], "nodeName": "a"}
    meta = {"name": name, "namespace": namespace, "labels": labels}
    return End(ip, {"kind": "Pod", "metadata": meta, "spec": spec, "status": {"podIP": ip, "podIPs": [{"ip": ip}]}})


def policy(name: str = "p", selector: Object | None = None, **spec: Any) -> Object:
    meta = {"name": name, "namespace": "default"}
    return {"kind": "NetworkPolicy", "metadata": meta, "spec": {"podSelector": selector or {}, **spec}}


NAMESPACES = [
    {"metadata": {"name": "default", "labels": {"team": "a"}}},
    {"metadata": {"name": "other", "labels": {"team": "b"}}},
]
WEB = pod("web", "10.244.0.1", app="web")
FRIEND = pod("friend", "10.244.0.2", role="friend")
STRANGER = pod("stranger", "10.244.0.3", namespace="other", role="friend")
OUTSIDE = End("203.0.113.9")


def may_enter(source: End, *policies: Object, port: int = 8080, protocol: str = "tcp") -> bool:
    return Policies(policies, NAMESPACES).ingress(source, WEB, protocol, port).allowed


def test_without_a_policy_everything_enters() -> None:
    assert may_enter(OUTSIDE)


def test_a_policy_without_rules_lets_nothing_in_and_everything_out() -> None:
    deny = policy()
    assert not may_enter(FRIEND, deny)
    assert Policies([deny]).egress(WEB, OUTSIDE, "tcp", 80).allowed


def test_a_policy_for_other_pods_changes_nothing() -> None:
    assert may_enter(FRIEND, policy(selector={"matchLabels": {"app": "db"}}))


def test_a_pod_may_always_talk_to_itself() -> None:
    assert may_enter(WEB, policy())


def test_an_empty_rule_lets_everything_in() -> None:
    assert may_enter(OUTSIDE, policy(ingress=[{}]))


def test_policies_add_up() -> None:
    allow = policy("allow", ingress=[{"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}])
    assert may_enter(FRIEND, policy(), allow)
    assert Policies([policy(), allow]).ingress(FRIEND, WEB, "tcp", 80).policies == ("default/allow",)


@pytest.mark.parametrize(
    ("peer", "friend", "stranger", "outside"),
    [
        ({"podSelector": {}}, True, False, False),
        ({"namespaceSelector": {}}, True, True, False),
        ({"namespaceSelector": {"matchLabels": {"team": "b"}}}, False, True, False),
        (
            {"namespaceSelector": {"matchLabels": {"team": "b"}}, "podSelector": {"matchLabels": {"role": "x"}}},
            False,
            False,
            False,
        ),
        ({"ipBlock": {"cidr": "203.0.113.0/24"}}, False, False, True),
        ({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["203.0.113.0/24"]}}, True, True, False),
    ],
)
def test_peers_are_chosen_by_pod_namespace_and_address(
    peer: Object, friend: bool, stranger: bool, outside: bool
) -> None:
    rule = policy(ingress=[{"from": [peer]}])
    assert (may_enter(FRIEND, rule), may_enter(STRANGER, rule), may_enter(OUTSIDE, rule)) == (friend, stranger, outside)


@pytest.mark.parametrize(
    ("entry", "port", "protocol", "allowed"),
    [
        ({"port": 8080}, 8080, "tcp", True),
        ({"port": 8080}, 8081, "tcp", False),
        ({"port": 8080}, 8080, "udp", False),
        ({"port": 53, "protocol": "UDP"}, 53, "udp", True),
        ({"port": "http"}, 8080, "tcp", True),
        ({"port": "http"}, 80, "tcp", False),
        ({"port": 8000, "endPort": 9000}, 8500, "tcp", True),
        ({"port": 8000, "endPort": 9000}, 9001, "tcp", False),
        ({"protocol": "TCP"}, 1, "tcp", True),
    ],
)
def test_ports_are_numbers_names_or_ranges(entry: Object, port: int, protocol: str, allowed: bool) -> None:
    assert may_enter(FRIEND, policy(ingress=[{"ports": [entry]}]), port=port, protocol=protocol) is allowed


def test_egress_is_restricted_only_where_a_policy_says_so() -> None:
    only_dns = policy(policyTypes=["Egress"], egress=[{"ports": [{"port": 53, "protocol": "UDP"}]}])
    policies = Policies([only_dns])
    assert policies.egress(WEB, OUTSIDE, "udp", 53).allowed
    assert not policies.egress(WEB, OUTSIDE, "tcp", 80).allowed
    assert policies.ingress(OUTSIDE, WEB, "tcp", 80).allowed


def test_a_packet_to_a_service_is_judged_by_the_pod_that_it_reaches() -> None:
    node = {
        "kind": "Node",
        "metadata": {"name": "a"},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.168.0.1"}]},
    }
    spec = {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}
    service = {"kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": spec}
    endpoints = {
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [WEB.ip], "conditions": {"ready": True}}],
    }
    objects = [node, service, endpoints, WEB.pod, FRIEND.pod]
    assert follow(objects, "friend", "web:80").delivered
    denied = follow([*objects, policy(selector={"matchLabels": {"app": "web"}})], "friend", "web:80")
    assert not denied.delivered
    assert denied.lines()[-1] == "denied on the way in by default/p"
    allowed = follow([*objects, policy(ingress=[{"ports": [{"port": 8080}]}])], "friend", "web:80")
    assert allowed.delivered, "the port is the pod's, not the Service's"
