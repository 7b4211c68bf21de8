"""kube-proxy's table for nftables: as text, change by change, and as nft itself sees it."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from actors.kernel import Child, Simulation
from actors.network._config import ConfigError, ProxyConfig
from actors.network.applier import Apply, NftApplier
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
    assert '10.96.0.9 . tcp . 80 comment "default/web:http" : goto reject-chain' in text
    assert 'tcp . 30080 comment "default/web:http" : goto reject-chain' in text


def test_policy_local_without_local_endpoints_drops_what_comes_from_outside() -> None:
    text = rules_of(service(nodePort=30080, externalTrafficPolicy="Local"), endpoints("10.244.1.6")).text()
    assert 'tcp . 30080 comment "default/web:http" : drop' in text
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


def test_packets_to_addresses_that_no_service_has_are_dropped() -> None:
    config = msgspec.structs.replace(CONFIG, service_cidrs=("10.96.0.0/16", "10.112.0.0/20"))
    rule = 'ip daddr { 10.96.0.0/16, 10.112.0.0/20 } drop comment "Drop traffic to unallocated ClusterIPs"'
    found = lines(rules_of(service(), config=config))
    assert found.index(rule) == 1 + next(
        i for i, line in enumerate(found) if line.endswith('invalid ports of ClusterIPs"')
    )
    assert not any("unallocated" in line for line in lines(rules_of(service())))


def test_ports_of_a_node_are_of_all_its_addresses_or_of_some() -> None:
    every = lines(rules_of(config=msgspec.structs.replace(CONFIG, node_port_ips=None)))
    assert "fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports" in every
    assert "ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @no-endpoint-nodeports" in every
    some = lines(rules_of())
    assert "ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports" in some
    assert "ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports" in some


def test_a_kernel_that_still_holds_chains_gets_them_deleted_later(sim: Simulation) -> None:
    told: list[str] = []

    def run(arguments: Sequence[str], stdin: str) -> tuple[int, str]:
        busy = "delete chain" in stdin and "add element" in stdin
        told.append(stdin if not busy else "")
        return (1, "Could not process rule: Device or resource busy") if busy else (0, "")

    applier = sim.spawn(Child("applier", lambda: NftApplier(run=run)))
    change = "add element ip t m { 1 : goto b }\ndelete chain ip t a\n"
    sim.ask(applier, Apply(change))
    assert told == ["", "add element ip t m { 1 : goto b }\nflush chain ip t a\n"]
    sim.ask(applier, Apply("add rule ip t c accept\n"))
    assert told[2:] == ["delete chain ip t a\n", "add rule ip t c accept\n"]


def test_a_chain_that_is_needed_again_is_not_deleted(sim: Simulation) -> None:
    told: list[str] = []

    def run(arguments: Sequence[str], stdin: str) -> tuple[int, str]:
        told.append(stdin)
        return (1, "Device or resource busy") if "delete chain" in stdin else (0, "")

    applier = sim.spawn(Child("applier", lambda: NftApplier(run=run)))
    sim.ask(applier, Apply("delete chain ip t a\n"))
    sim.ask(applier, Apply("add chain ip t a\n"))
    assert told == ["delete chain ip t a\n", "flush chain ip t a\n", "add chain ip t a\n"]


def test_the_service_ranges_come_from_the_api(sim: Simulation) -> None:
    from actors.apiserver import ApiServer, ApiServerConfig
    from actors.client import OutsideClient
    from actors.etcd import Etcd, EtcdConfig
    from actors.network import GetRules, KubeProxy

    etcd = sim.spawn(Child("etcd", lambda: Etcd(EtcdConfig())))
    api = sim.spawn(Child("apiserver", lambda: ApiServer(ApiServerConfig(debug=True), etcd)))
    client = OutsideClient(sim, api)
    client.create("nodes", {"metadata": {"name": "n"}})
    proxy = sim.spawn(Child("proxy", lambda: KubeProxy("n", api, {"mode": "nftables"})))
    assert "ip daddr { 10.96.0.0/16 } drop" in sim.ask(proxy, GetRules())
    client.create("servicecidrs", {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.112.0.0/20", "fd00:96::/112"]}})
    sim.advance(1.0)
    assert "ip daddr { 10.112.0.0/20, 10.96.0.0/16 } drop" in sim.ask(proxy, GetRules())
