"""Packets that walk through the printed rules."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.network._config import ProxyConfig
from actors.network._ruleset import RuleSet
from actors.network.netfilter import Outcome, Packet, RestoreError, Tables, UnsupportedRule, Walker

NODE = "192.168.0.2"
CONFIG = ProxyConfig(node_name="n", node_ip=NODE, local_match=("-s", "10.244.0.0/16"))


class Host:
    """A node with its kube-proxy's rules in its tables."""

    def __init__(self, seed: int = 0) -> None:
        self.rules = RuleSet(CONFIG)
        self.tables = Tables()
        self.tables.restore(self.rules.text())
        self.time = 0.0
        self.walker = Walker(self.tables, [NODE], rng=random.Random(seed), now=lambda: self.time)

    def service(self, **spec: Any) -> None:
        base = {"clusterIP": "10.96.0.1", "ports": [{"port": 80, "protocol": "TCP"}], "type": "ClusterIP"}
        status = spec.pop("status", {})
        service = {"metadata": {"namespace": "d", "name": "web"}, "spec": {**base, **spec}, "status": status}
        self.tables.restore(self.rules.set_service(service).restore_text(), noflush=True)

    def endpoints(self, *hosts: int, local: bool = True) -> None:
        endpoints = [
            {"addresses": [f"10.244.0.{h}"], "nodeName": "n" if local else "m", "conditions": {"ready": True}}
            for h in hosts
        ]
        body = {
            "metadata": {"namespace": "d", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": endpoints,
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        }
        self.tables.restore(self.rules.set_slice(body).restore_text(), noflush=True)

    def pod(self, sport: int = 40000, dst: str = "10.96.0.1", dport: int = 80, src: str = "10.244.0.99") -> Outcome:
        return self.walker.forward(Packet(src, dst, "tcp", sport, dport))


def test_a_packet_to_the_cluster_ip_ends_at_an_endpoint_with_its_source_kept() -> None:
    host = Host()
    host.service()
    host.endpoints(5)
    outcome = host.pod()
    assert (outcome.verdict, outcome.packet.dst, outcome.packet.dport) == ("ACCEPT", "10.244.0.5", 8080)
    assert outcome.packet.src == "10.244.0.99"
    assert [s.chain[:8] for s in outcome.steps[:4]] == ["PREROUTI", "KUBE-SER", "KUBE-SVC", "KUBE-SEP"]


def test_traffic_from_outside_of_the_pods_is_masqueraded() -> None:
    host = Host()
    host.service()
    host.endpoints(5)
    assert host.pod(src="172.16.0.1").packet.src == NODE


def test_a_pod_that_reaches_itself_is_masqueraded() -> None:
    host = Host()
    host.service()
    host.endpoints(99)
    assert host.pod().packet.src == NODE


def test_the_reply_comes_from_the_cluster_ip() -> None:
    host = Host()
    host.service()
    host.endpoints(5)
    host.pod()
    reply = host.walker.forward(Packet("10.244.0.5", "10.244.0.99", "tcp", 8080, 40000))
    assert reply.established
    assert (reply.packet.src, reply.packet.sport) == ("10.96.0.1", 80)


def test_the_reply_of_a_masqueraded_connection_finds_its_client() -> None:
    host = Host()
    host.service()
    host.endpoints(5)
    sent = host.pod(src="172.16.0.1").packet
    reply = host.walker.forward(Packet(sent.dst, sent.src, "tcp", sent.dport, sent.sport))
    assert (reply.verdict, reply.packet.dst, reply.packet.dport) == ("ACCEPT", "172.16.0.1", 40000)
    assert not reply.local


def test_a_connection_keeps_its_endpoint_when_others_come() -> None:
    host = Host()
    host.service()
    host.endpoints(5)
    host.pod(sport=1)
    host.endpoints(5, 6, 7, 8)
    assert host.pod(sport=1).packet.dst == "10.244.0.5"
    assert host.pod(sport=1).established


def test_a_service_without_endpoints_rejects() -> None:
    host = Host()
    host.service()
    assert host.pod().verdict == "REJECT"
    host.endpoints(5)
    assert host.pod().verdict == "ACCEPT"
    host.endpoints()
    assert host.pod(sport=2).verdict == "REJECT"


def test_new_connections_spread_evenly_over_endpoints() -> None:
    host = Host(seed=3)
    host.service()
    host.endpoints(1, 2, 3, 4)
    counts: dict[str, int] = {}
    for sport in range(4000):
        chosen = host.pod(sport=sport).packet.dst
        counts[chosen] = counts.get(chosen, 0) + 1
    assert len(counts) == 4
    assert all(850 <= n <= 1150 for n in counts.values()), counts


def test_affinity_sends_a_client_to_the_same_endpoint_until_it_has_been_away() -> None:
    host = Host(seed=1)
    host.service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}})
    host.endpoints(*range(1, 51))
    first = host.pod(sport=1).packet.dst
    assert {host.pod(sport=s).packet.dst for s in range(2, 30)} == {first}
    host.time = 61.0
    assert {host.pod(sport=s).packet.dst for s in range(100, 101)} != {first}


def test_a_node_port_is_reached_at_the_nodes_address_only() -> None:
    host = Host()
    host.service(type="NodePort", ports=[{"port": 80, "nodePort": 30080, "protocol": "TCP"}])
    host.endpoints(5)
    outcome = host.pod(src="172.16.0.1", dst=NODE, dport=30080)
    assert (outcome.packet.dst, outcome.packet.src) == ("10.244.0.5", NODE)
    assert host.pod(src="172.16.0.1", dst="192.168.0.3", dport=30080).packet.dst == "192.168.0.3"


def test_local_policy_keeps_the_source_and_drops_without_local_endpoint() -> None:
    host = Host()
    host.service(
        type="NodePort", externalTrafficPolicy="Local", ports=[{"port": 80, "nodePort": 30080, "protocol": "TCP"}]
    )
    host.endpoints(5)
    assert host.pod(src="172.16.0.1", dst=NODE, dport=30080).packet.src == "172.16.0.1"
    host.endpoints(5, local=False)
    assert host.pod(sport=2, src="172.16.0.1", dst=NODE, dport=30080).verdict == "DROP"
    assert host.pod(sport=3, dst=NODE, dport=30080).packet.dst == "10.244.0.5", "pods take the short way"


def test_source_ranges_drop_strangers() -> None:
    host = Host()
    host.service(
        type="LoadBalancer",
        loadBalancerSourceRanges=["203.0.113.0/24"],
        status={"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}},
    )
    host.endpoints(5)
    assert host.pod(src="203.0.113.7", dst="198.51.100.9").packet.dst == "10.244.0.5"
    assert host.pod(src="172.16.0.1", dst="198.51.100.9").verdict == "DROP"


def test_the_hosts_own_packets_pass_the_output_chains() -> None:
    host = Host()
    host.service()
    host.endpoints(5)
    outcome = host.walker.send(Packet(NODE, "10.96.0.1", "tcp", 40000, 80))
    assert outcome.packet.dst == "10.244.0.5"
    assert outcome.steps[0].chain == "OUTPUT"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("*nat\n-A NOPE -j RETURN\nCOMMIT\n", "line 2"),
        ("*nat\n:A - [0:0]\n-A A -j B\nCOMMIT\n", "jumps to B"),
        ("*nat\n", "not committed"),
        ("*raw\nCOMMIT\n", "no table 'raw'"),
        ("*nat\n-D PREROUTING -j ACCEPT\nCOMMIT\n", "no such rule"),
    ],
)
def test_a_bad_restore_is_refused_and_changes_nothing(text: str, message: str) -> None:
    tables = Tables()
    tables.restore("*nat\n:X - [0:0]\n-A X -j RETURN\nCOMMIT\n")
    before = tables.save("nat")
    with pytest.raises(RestoreError, match=message):
        tables.restore(text, noflush=True)
    assert tables.save("nat") == before


def test_what_is_not_modelled_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedRule, match="string"):
        Tables().restore("*filter\n-A INPUT -m string --string x -j DROP\nCOMMIT\n")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(st.integers(1, 9), max_size=5), min_size=1, max_size=8))
def test_restoring_changes_one_by_one_equals_restoring_the_whole(sets: list[set[int]]) -> None:
    host = Host()
    host.service(type="NodePort", ports=[{"port": 80, "nodePort": 30080, "protocol": "TCP"}])
    for hosts in sets:
        host.endpoints(*sorted(hosts))
    whole = Tables()
    whole.restore(host.rules.text())
    for table in ("nat", "filter"):
        assert sorted(host.tables.save(table)) == sorted(whole.save(table))
