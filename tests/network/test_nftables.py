"""kube-proxy's table for nftables: as text, change by change, and as nft itself sees it."""

from __future__ import annotations

import random
import shutil
import subprocess
from typing import Any

import pytest

from actors.network._config import ConfigError, ProxyConfig
from actors.network.nftables import NftRules, rules_for

CONFIG = ProxyConfig.load(
    {"mode": "nftables", "clusterCIDR": "10.244.0.0/16"},
    {
        "metadata": {"name": "node"},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.168.77.2"}]},
    },
)
needs_nft = pytest.mark.skipif(
    shutil.which("nft") is None
    or subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode != 0,
    reason="needs nft and root",
)


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    status = spec.pop("status", {})
    port = {"name": "http", "port": 80, "nodePort": spec.pop("nodePort", 0)}
    base = {"type": "NodePort" if port["nodePort"] else "ClusterIP", "clusterIP": "10.96.0.9", "ports": [port]}
    return {"metadata": {"namespace": "default", "name": name}, "spec": {**base, **spec}, "status": status}


def endpoints(*ips: str, name: str = "web", local: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": [ip], "nodeName": "node" if ip in local else "other"} for ip in ips],
    }


def lines(rules: NftRules) -> list[str]:
    return [line.strip() for line in rules.text().splitlines()]


def rules_of(*objects: dict[str, Any], config: ProxyConfig = CONFIG) -> NftRules:
    rules = rules_for(config)
    assert isinstance(rules, NftRules)
    for obj in objects:
        (rules.set_slice if "endpoints" in obj else rules.set_service)(obj)
    return rules


def test_the_mode_of_the_configuration_chooses() -> None:
    assert isinstance(rules_for(CONFIG), NftRules)
    assert not isinstance(rules_for(ProxyConfig()), NftRules)
    with pytest.raises(ConfigError, match="ipvs"):
        ProxyConfig.load({"mode": "ipvs"}, None)


def test_a_cluster_ip_leads_by_a_map_to_a_chain_that_draws_an_endpoint() -> None:
    text = rules_of(service(), endpoints("10.244.0.5", "10.244.1.6")).text()
    assert "10.96.0.9 . tcp . 80 : goto service-" in text
    assert "-default/web/tcp/http {" in text
    assert "numgen random mod 2 vmap { 0 : goto endpoint-" in text
    assert "meta l4proto tcp dnat to 10.244.0.5:8080" in text
    assert "ip daddr 10.96.0.9 tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade" in text


def test_without_endpoints_the_address_is_rejected() -> None:
    text = rules_of(service(nodePort=30080)).text()
    assert "10.96.0.9 . tcp . 80 : goto reject-chain" in text
    assert "tcp . 30080 : goto reject-chain" in text


def test_policy_local_without_local_endpoints_drops_what_comes_from_outside() -> None:
    text = rules_of(service(nodePort=30080, externalTrafficPolicy="Local"), endpoints("10.244.1.6")).text()
    assert "tcp . 30080 : drop" in text
    assert "fib saddr type local goto service-" in text


def test_affinity_has_a_set_per_endpoint_that_forgets() -> None:
    text = rules_of(service(sessionAffinity="ClientIP"), endpoints("10.244.1.6")).text()
    assert "timeout 10800s" in text
    assert "update @affinity-" in text


def test_node_ports_are_served_on_the_primary_address_unless_configured() -> None:
    assert "elements = { 192.168.77.2 }" in lines(rules_of())
    every = ProxyConfig.load({"mode": "nftables", "nodePortAddresses": ["0.0.0.0/0"]}, None)
    assert any(
        line.startswith("fib daddr type local ip daddr != 127.0.0.0/8") for line in lines(rules_of(config=every))
    )


def test_a_change_names_only_its_own_service() -> None:
    rules = rules_of(service(), endpoints("10.244.0.5"), service("other", clusterIP="10.96.0.10"))
    text = rules.set_slice(endpoints("10.244.0.5", "10.244.0.6")).restore_text()
    assert "other" not in text
    assert "service-ips" not in text, "the address still leads to the same chain"


def test_a_change_and_its_undoing_leave_nothing_to_do() -> None:
    rules = rules_of(service(), endpoints("10.244.0.5"))
    there = rules.set_slice(endpoints("10.244.0.6"))
    assert not there.joined(rules.set_slice(endpoints("10.244.0.5")))


def random_object(rng: random.Random) -> dict[str, Any]:
    number = rng.randrange(4)
    name = f"s{number}"
    if rng.random() < 0.6:
        ips = [f"10.244.0.{i}" for i in rng.sample(range(2, 9), rng.randint(0, 4))]
        return endpoints(*ips, name=name, local=tuple(ips[:1]))
    extra: dict[str, Any] = {}
    if rng.random() < 0.5:
        extra |= {"nodePort": 30080 + number, "externalTrafficPolicy": rng.choice(("Local", "Cluster"))}
    if rng.random() < 0.3:
        extra |= {"sessionAffinity": "ClientIP"}
    if rng.random() < 0.3:
        extra |= {"externalIPs": [f"203.0.113.{number}"]}
    if rng.random() < 0.3:
        ranges = rng.sample(["192.168.77.0/24", "198.51.100.0/24", "198.51.0.0/16", "0.0.0.0/0"], 2)
        balancer = {"loadBalancer": {"ingress": [{"ip": f"203.0.113.{10 + number}"}]}}
        extra |= {"type": "LoadBalancer", "loadBalancerSourceRanges": ranges, "status": balancer}
    return service(name, clusterIP=f"10.96.1.{number}", **extra)


def in_kernel(*texts: str) -> str:
    """What nft lists after these inputs, one after the other, in a namespace of its own."""
    script = "".join(f"nft -f - <<'END' || exit 1\n{text}\nEND\n" for text in texts) + "nft list table ip kube-proxy"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return "\n".join(sorted(line.strip().rstrip(",") for line in done.stdout.splitlines()))


@needs_nft
@pytest.mark.parametrize("seed", range(6))
def test_changes_lead_to_what_writing_everything_anew_gives(seed: int) -> None:
    rng = random.Random(seed)
    rules = rules_of()
    texts = [rules.restore_text()]
    for _ in range(25):
        obj = random_object(rng)
        if "endpoints" in obj:
            delta = rules.set_slice(obj)
        elif rng.random() < 0.2:
            delta = rules.delete_service("default", obj["metadata"]["name"])
        else:
            delta = rules.set_service(obj)
        if delta:
            texts.append(delta.restore_text())
    assert len(texts) > 5
    assert in_kernel(*texts) == in_kernel(rules.restore_text())
