"""One kube-proxy, both address families, a real kernel: a dual-stack Service from the API to packets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from actors.apiserver import ApiServer, ApiServerConfig
from actors.client import OutsideClient
from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Child, LiveSystem, Ref
from actors.network.applier import CleanUp, IptablesApplier, all_jumps
from actors.network.applying import applying_proxy

FAMILIES = ("IPv4", "IPv6")
PREFIX = "fd00:244:0:1::"
NODE6, OUTSIDE6 = "fd00:77::2", "fd00:77::100"


@pytest.fixture(scope="module")
def both(lab: Any) -> Any:
    """The lab, whose node, pods and outside have IPv6 addresses too; -> the pods' addresses by family."""
    lab.node.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    for namespace, address in ((lab.node, NODE6), (lab.outside, OUTSIDE6)):
        namespace.run("ip", "addr", "add", f"{address}/64", "dev", "eth0", "nodad")
    lab.outside.run("ip", "route", "add", "fd00:244::/48", "via", NODE6)
    lab.node.run("ip", "addr", "add", f"{PREFIX}1/64", "dev", "cni0", "nodad")
    found = {"IPv4": dict(lab.ips), "IPv6": {}}
    for number, (name, pod) in enumerate(lab.pods.items(), 2):
        pod.run("ip", "addr", "add", f"{PREFIX}{number}/64", "dev", "eth0", "nodad")
        pod.run("ip", "route", "add", "::/0", "via", f"{PREFIX}1", "dev", "eth0")
        found["IPv6"][name] = f"{PREFIX}{number}"
    for ip in found["IPv6"].values():
        assert any(lab.outside.ask(ip, 8080, "udp") != "lost" for _ in range(10))
    return found


class World:
    """An API server and the kube-proxy of the lab's node."""

    def __init__(self, lab: Any, system: LiveSystem, mode: str) -> None:
        etcd = system.spawn(Child("etcd", lambda: Etcd(EtcdConfig())))
        api = system.spawn(Child("apiserver", lambda: ApiServer(ApiServerConfig(debug=True), etcd)))
        self.client = OutsideClient(system, api)
        self.client.create("nodes", {"metadata": {"name": "node"}})
        addresses = [{"type": "InternalIP", "address": ip} for ip in (lab.plan.node, NODE6)]
        self.client.patch("nodes", "node", "", {"status": {"addresses": addresses}}, subresource="status")
        config = {"clusterCIDR": "10.244.0.0/16,fd00:244::/48", "mode": mode, mode: {"minSyncPeriod": "0s"}}
        make = applying_proxy("node", api, config, netns=lab.node.path)
        self.proxy: Ref = system.spawn(Child("proxy", make))


@pytest.fixture(params=["iptables", "nftables"])
def world(lab: Any, both: Any, request: pytest.FixtureRequest) -> Iterator[World]:
    # not the `live` fixture: an API server's first start loads schemas, which is no affair of this
    system = LiveSystem("dual", seed=1).start_thread()
    yield World(lab, system, request.param)
    system.lookup("proxy").stop(timeout=10.0)  # type: ignore[union-attr]
    for family in FAMILIES:
        applier = system.spawn(Child(f"cleanup-{family}", lambda f=family: IptablesApplier(f, netns=lab.node.path)))
        applier.ask(CleanUp(all_jumps()), timeout=20.0)
    system.shutdown()
    for table in ("ip", "ip6"):
        lab.node.run("nft", "delete", "table", table, "kube-proxy", check=False)


def slice_of(ips: list[str], family: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"web-{family.lower()}", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": family,
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [ip], "nodeName": "node", "conditions": {"ready": True}} for ip in ips],
    }


def until(condition: Any) -> None:
    for _ in range(100):
        if condition():
            return
        threading.Event().wait(0.05)
    raise AssertionError("not within some seconds")


def test_a_dual_stack_service_is_reached_over_both_families(lab: Any, both: Any, world: World) -> None:
    cluster_ips = {"IPv4": "10.96.0.77", "IPv6": "fd00:96::77"}
    world.client.create("servicecidrs", {"metadata": {"name": "six"}, "spec": {"cidrs": ["fd00:96::/112"]}})
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    world.client.patch("servicecidrs", "six", "", {"status": {"conditions": [ready]}}, subresource="status")
    spec = {
        "type": "NodePort",
        "ipFamilyPolicy": "RequireDualStack",
        "ipFamilies": list(FAMILIES),
        "clusterIP": cluster_ips["IPv4"],
        "clusterIPs": list(cluster_ips.values()),
        "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP", "nodePort": 30777}],
    }
    world.client.create("services", {"metadata": {"name": "web"}, "spec": spec}, "default")
    for family in FAMILIES:
        world.client.create("endpointslices", slice_of([both[family]["pod-1"]], family), "default")
    client = lab.pods["pod-0"]
    nodes = {"IPv4": lab.plan.node, "IPv6": NODE6}
    for family in FAMILIES:
        until(lambda f=family: client.ask(cluster_ips[f], 80, timeout_s=0.3) == f"pod-1 {both[f]['pod-0']}")
        assert lab.outside.ask(nodes[family], 30777).startswith("pod-1 "), family
        assert lab.pods["pod-1"].ask(cluster_ips[family], 80).startswith("pod-1 "), "hairpin"
    body = {"endpoints": slice_of([both["IPv6"]["pod-2"]], "IPv6")["endpoints"]}
    world.client.patch("endpointslices", "web-ipv6", "default", body)
    until(lambda: client.ask(cluster_ips["IPv6"], 80, timeout_s=0.3).startswith("pod-2 "))
    assert client.ask(cluster_ips["IPv4"], 80).startswith("pod-1 "), "the other family is as it was"
    world.client.delete("services", "web", "default")
    for family in FAMILIES:
        until(lambda f=family: "pod" not in client.ask(cluster_ips[f], 80, timeout_s=0.2))
