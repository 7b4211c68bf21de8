"""The rules that a kube-proxy writes for Services and EndpointSlices."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from actors.network.iptables_cli import ConfigError, UnknownNode, render

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "iptables"
CASES = sorted(GOLDEN.glob("[0-9]*.json")) if GOLDEN.is_dir() else []
NODE = {
    "kind": "Node",
    "metadata": {"name": "node-a", "labels": {"topology.kubernetes.io/zone": "zone-a"}},
    "status": {"addresses": [{"type": "InternalIP", "address": "192.168.0.2"}]},
}
CONFIG = {"clusterCIDR": "10.244.0.0/16"}


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    status = spec.pop("status", {})
    base = {"clusterIP": "10.96.0.7", "ports": [{"port": 80, "protocol": "TCP"}]}
    return {
        "kind": "Service",
        "metadata": {"namespace": "default", "name": name},
        "spec": {**base, **spec},
        "status": status,
    }


def endpoint_slice(
    *addresses: str,
    name: str = "web-1",
    service: str = "web",
    node: str = "node-a",
    kind: str = "IPv4",
    **conditions: bool,
) -> dict[str, Any]:
    endpoints = [{"addresses": [a], "nodeName": node, "conditions": {"ready": True, **conditions}} for a in addresses]
    return {
        "kind": "EndpointSlice",
        "metadata": {"namespace": "default", "name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": kind,
        "endpoints": endpoints,
        "ports": [{"name": "", "protocol": "TCP", "port": 8080}],
    }


def rules(*objects: dict[str, Any], table: str = "nat", **config: Any) -> list[str]:
    return render([NODE, *objects], "node-a", {**CONFIG, **config}, [table]).splitlines()


def chain(lines: list[str], start: str) -> list[str]:
    return [line for line in lines if line.startswith(f"-A {start}")]


@pytest.mark.skipif(not CASES, reason="recorded rules are not here")
@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_rules_are_those_of_a_real_kube_proxy(path: Path) -> None:
    spec = importlib.util.spec_from_file_location("check_iptables", GOLDEN / "check_iptables.py")
    assert spec is not None
    assert spec.loader is not None
    checker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checker)
    case = json.loads(path.read_text())
    objects = [case["node"], *case["services"], *case["endpointslices"]]
    text = render(objects, case["node"]["metadata"]["name"], case["kube_proxy_config"])
    assert {t: checker.compare(case["expect"][t], text, t) for t in case["expect"]} == {
        "nat": [],
        "filter": [],
    }


def test_a_list_object_is_unpacked() -> None:
    listed = {"kind": "List", "items": [NODE, service(), endpoint_slice("10.244.1.5")]}
    assert render([listed], "node-a", CONFIG) == render(
        [NODE, service(), endpoint_slice("10.244.1.5")], "node-a", CONFIG
    )


def test_an_unknown_node_is_refused() -> None:
    with pytest.raises(UnknownNode, match="node-z"):
        render([NODE], "node-z")


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"mode": "ipvs"}, "ipvs"),
        ({"iptables": {"masqueradeBit": 40}}, "masqueradeBit"),
        ({"detectLocalMode": "Nonsense"}, "Nonsense"),
        ({"detectLocalMode": "BridgeInterface"}, "bridgeInterface"),
        ({"nodePortAddresses": ["10.0.0.0/40"]}, "nodePortAddresses"),
        ({"iptables": {"syncPeriod": "soon"}}, "soon"),
    ],
)
def test_a_bad_configuration_is_refused_by_name(config: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        render([NODE], "node-a", config)


def test_affinity_uses_the_given_timeout() -> None:
    affine = service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 77}})
    ladder = chain(rules(affine, endpoint_slice("10.244.1.5", "10.244.1.6")), "KUBE-SVC-")
    assert [("--seconds 77 " in line, "--probability" in line) for line in ladder] == [
        (False, False),
        (True, False),
        (True, False),
        (False, True),
        (False, False),
    ]


def test_more_than_a_thousand_endpoints_drop_endpoint_comments_and_come_back() -> None:
    many = [f"10.244.{i // 250}.{i % 250 + 1}" for i in range(1001)]
    large = rules(service(), endpoint_slice(*many))
    assert not [line for line in chain(large, "KUBE-SEP-") if "--comment" in line]
    assert all("cluster IP" in line for line in chain(large, "KUBE-SVC-") if "--comment" in line)
    small = rules(service(), endpoint_slice(*many[:1000]))
    assert all("--comment" in line for line in chain(small, "KUBE-SEP-"))


def test_dual_stack_service_gets_rules_of_the_asked_family_only() -> None:
    dual = service(clusterIPs=["fd00::7", "10.96.0.7"], clusterIP="fd00::7", ipFamilies=["IPv6", "IPv4"])
    v6 = endpoint_slice("fd00:1::5", name="web-6", kind="IPv6")
    lines = rules(dual, endpoint_slice("10.244.1.5"), v6)
    assert "fd00" not in "\n".join(lines)
    assert chain(lines, "KUBE-SERVICES")[0].startswith("-A KUBE-SERVICES -d 10.96.0.7/32")
    text = render([NODE, dual, endpoint_slice("10.244.1.5"), v6], "node-a", CONFIG, ["nat"], family="IPv6")
    assert "10.244.1.5" not in text
    assert "--to-destination [fd00:1::5]:8080" in text


def test_source_range_with_the_node_lets_the_balancer_address_in() -> None:
    balanced = service(
        type="LoadBalancer",
        loadBalancerSourceRanges=[" 192.168.0.7/24"],
        status={"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}},
    )
    firewall = chain(rules(balanced, endpoint_slice("10.244.1.5")), "KUBE-FW-")
    assert [line.split()[3] for line in firewall[:2]] == ["192.168.0.0/24", "203.0.113.9/32"]


def test_local_policy_without_local_endpoint_drops_in_the_filter_table() -> None:
    outside = service(type="NodePort", externalTrafficPolicy="Local", ports=[{"port": 80, "nodePort": 30000}])
    remote = endpoint_slice("10.244.2.5", node="node-b")
    assert any(
        "has no local endpoints" in line and line.endswith("-j DROP")
        for line in chain(rules(outside, remote, table="filter"), "KUBE-EXTERNAL-SERVICES")
    )
    assert not [line for line in rules(outside, remote) if "KUBE-SVL" in line]


def test_localhost_node_ports_can_be_switched_off() -> None:
    closing = chain(rules(iptables={"localhostNodePorts": False}), "KUBE-SERVICES")[-1]
    assert "! -d 127.0.0.0/8" in closing
    assert not chain(rules(table="filter", iptables={"localhostNodePorts": False}), "KUBE-FIREWALL")


@pytest.mark.parametrize(
    "obj",
    [
        {"kind": "Service", "metadata": {"name": "x"}, "spec": {"clusterIP": "10.0.0.1", "ports": [{}]}},
        {"kind": "Service", "metadata": {"name": "x"}, "spec": {"clusterIP": "nonsense", "ports": [{"port": 1}]}},
        {"kind": "Service", "metadata": None},
        {"kind": "EndpointSlice", "metadata": {"name": "x"}, "endpoints": 3},
        {
            "kind": "EndpointSlice",
            "metadata": {"name": "x", "labels": {"kubernetes.io/service-name": "s"}},
            "ports": [3],
        },
    ],
)
def test_an_object_that_makes_no_sense_is_named_or_passed_over(obj: dict[str, Any]) -> None:
    try:
        render([NODE, obj], "node-a")
    except ConfigError as error:
        assert obj["kind"] in str(error)
