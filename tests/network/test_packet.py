"""Following a packet from end to end over the hosts of a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from actors.network.packet_cli import UnknownEnd, follow

Object = dict[str, Any]


def node(name: str, ip: str) -> Object:
    return {
        "kind": "Node",
        "metadata": {"name": name},
        "status": {"addresses": [{"type": "InternalIP", "address": ip}]},
    }


def pod(name: str, ip: str, host: str, **spec: Any) -> Object:
    status = {"podIP": ip, "podIPs": [{"ip": ip}]}
    return {
        "kind": "Pod",
        "metadata": {"namespace": "default", "name": name},
        "spec": {"nodeName": host, **spec},
        "status": status,
    }


def cluster(*backends: tuple[str, str], **spec: Any) -> list[Object]:
    base = {"clusterIP": "10.96.0.9", "type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}
    endpoints = [
        {
            "addresses": [ip],
            "nodeName": host,
            "conditions": {"ready": True},
            "targetRef": {"kind": "Pod", "name": f"web-{i}"},
        }
        for i, (ip, host) in enumerate(backends)
    ]
    return [
        node("a", "192.168.0.1"),
        node("b", "192.168.0.2"),
        pod("client", "10.244.1.9", "a"),
        pod("host", "192.168.0.1", "a", hostNetwork=True),
        *(pod(f"web-{i}", ip, host) for i, (ip, host) in enumerate(backends)),
        {"kind": "Service", "metadata": {"namespace": "default", "name": "web"}, "spec": {**base, **spec}},
        {
            "kind": "EndpointSlice",
            "metadata": {"namespace": "default", "name": "web-x", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints,
        },
    ]


CONFIG = {"clusterCIDR": "10.244.0.0/16"}


def test_a_pod_reaches_a_pod_on_another_node_through_the_service() -> None:
    journey = follow(cluster(("10.244.2.5", "b")), "client", "web:80", config=CONFIG)
    assert journey.end == "pod default/web-0"
    assert [hop.host for hop in journey.hops] == ["a", "b"]
    assert journey.hops[-1].outcome.packet.src == "10.244.1.9"
    text = "\n".join(journey.lines())
    assert "nat KUBE-SERVICES" in text
    assert "=> destination 10.244.2.5:8080" in text


def test_a_port_may_be_named() -> None:
    assert follow(cluster(("10.244.2.5", "b")), "client", "web:http", config=CONFIG).end == "pod default/web-0"


def test_a_node_port_of_one_node_leads_to_a_pod_of_another() -> None:
    journey = follow(cluster(("10.244.2.5", "b")), "172.16.0.7", "node/a:30080", config=CONFIG)
    assert [hop.host for hop in journey.hops] == ["a", "b"]
    assert journey.hops[-1].outcome.packet.src == "192.168.0.1", "masqueraded, so that the answer comes back this way"


def test_a_process_of_the_node_and_a_pod_in_its_network_start_at_output() -> None:
    for source in ("node/a", "host"):
        journey = follow(cluster(("10.244.2.5", "b")), source, "web:80", config=CONFIG)
        assert journey.hops[0].outcome.steps[0].chain == "OUTPUT"
        assert journey.end == "pod default/web-0"


def test_without_endpoints_the_packet_is_rejected() -> None:
    journey = follow(cluster(), "client", "web:80", config=CONFIG)
    assert not journey.delivered
    assert journey.lines()[-1] == "rejected on a"


def test_the_seed_decides_the_endpoint() -> None:
    backends = [(f"10.244.2.{i}", "b") for i in range(1, 30)]
    ends = {seed: follow(cluster(*backends), "client", "web:80", config=CONFIG, seed=seed).end for seed in range(8)}
    assert len(set(ends.values())) > 1
    again = follow(cluster(*backends), "client", "web:80", config=CONFIG, seed=3)
    assert again.end == ends[3]


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ("nobody", "web:80", 'pod "nobody" not found in namespace "default"'),
        ("client", "nothing:80", 'service "nothing" not found'),
        ("client", "web", "names no port"),
        ("client", "web:x", "is no port"),
        ("client", "node/z:1", 'node "z" not found'),
    ],
)
def test_ends_that_are_not_there_are_named(source: str, target: str, text: str) -> None:
    with pytest.raises(UnknownEnd, match=text):
        follow(cluster(("10.244.2.5", "b")), source, target)


def test_a_health_check_node_port_tells_where_the_endpoints_are() -> None:
    balanced = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31999}
    objects = cluster(("10.244.1.5", "a"), **balanced)
    here = follow(objects, "node/b", "node/a:31999", config=CONFIG)
    assert here.lines()[-1].startswith("its kube-proxy answers 200: ")
    assert '"localEndpoints": 1' in here.answer
    elsewhere = follow(objects, "client", "node/b:31999", config=CONFIG)
    assert elsewhere.answer.startswith("its kube-proxy answers 503: ")
    assert '"localEndpoints": 0' in elsewhere.answer
    assert follow(objects, "client", "node/b:31998", config=CONFIG).answer == ""
