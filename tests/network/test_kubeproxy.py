"""The kube-proxy actor: rules in step with the API."""

from __future__ import annotations

from typing import Any

import pytest

from actors.apiserver import ApiServer, ApiServerConfig
from actors.client import OutsideClient
from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Actor, Child, Ref, Simulation, handles
from actors.network import GetRules, KubeProxy
from actors.network.applier import Apply, ApplyError, Check, Install
from actors.network.netfilter import Packet, Tables, Walker

Object = dict[str, Any]


class World:
    """An API server and one kube-proxy that writes to a simulated netfilter."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        etcd = sim.spawn(Child("etcd", lambda: Etcd(EtcdConfig())))
        self.api = sim.spawn(Child("apiserver", lambda: ApiServer(ApiServerConfig(debug=True), etcd)), host="apiserver")
        self.client = OutsideClient(sim, self.api)
        self.tables = Tables()
        self.restores: list[str] = []
        self.proxy: Ref = sim.spawn(
            Child("proxy", lambda: KubeProxy("n", self.api, {"clusterCIDR": "10.244.0.0/16"}, backend=self.restore)),
            host="n",
        )
        self.client.create("nodes", {"metadata": {"name": "n"}})
        self.settle()

    def restore(self, text: str) -> None:
        self.restores.append(text)
        self.tables.restore(text, noflush=len(self.restores) > 1 and ":PREROUTING" not in text)

    def settle(self, seconds: float = 3.0) -> None:
        self.sim.advance(seconds)

    def service(self, name: str, ip: str) -> None:
        spec = {"clusterIP": ip, "ports": [{"port": 80, "protocol": "TCP"}]}
        self.client.create("services", {"metadata": {"name": name}, "spec": spec}, "default")

    def endpoints(self, name: str, *ips: str) -> None:
        body: Object = {
            "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [ip], "conditions": {"ready": True}} for ip in ips],
        }
        if any(s["metadata"]["name"] == f"{name}-1" for s in self.client.list("endpointslices", "default")):
            self.client.patch("endpointslices", f"{name}-1", "default", {"endpoints": body["endpoints"]})
        else:
            self.client.create("endpointslices", body, "default")

    def reaches(self, ip: str) -> str:
        walker = Walker(self.tables, ["192.168.0.2"], rng=self.sim.random, now=self.sim.clock.monotonic)
        outcome = walker.forward(Packet("10.244.0.99", ip, "tcp", 40000, 80))
        return outcome.packet.dst if outcome.verdict == "ACCEPT" else outcome.verdict


@pytest.fixture
def world(sim: Simulation) -> World:
    return World(sim)


def test_rules_follow_services_and_endpoints(world: World) -> None:
    world.service("web", "10.96.0.20")
    world.settle()
    assert world.reaches("10.96.0.20") == "REJECT"
    world.endpoints("web", "10.244.0.5")
    world.settle()
    assert world.reaches("10.96.0.20") == "10.244.0.5"
    world.endpoints("web", "10.244.0.6")
    world.settle()
    assert world.reaches("10.96.0.20") == "10.244.0.6"
    world.client.delete("services", "web", "default")
    world.settle()
    assert world.reaches("10.96.0.20") == "10.96.0.20", "the packet passes untouched"


def test_an_endpoint_change_is_written_without_the_other_services(world: World) -> None:
    for i in range(5):
        world.service(f"s{i}", f"10.96.0.{20 + i}")
        world.endpoints(f"s{i}", f"10.244.0.{20 + i}")
    world.settle()
    before = len(world.restores)
    world.endpoints("s0", "10.244.0.20", "10.244.0.99")
    world.settle()
    written = "".join(world.restores[before:])
    assert "KUBE-SERVICES" not in written
    assert "10.244.0.99:8080" in written
    assert "10.244.0.21" not in written


def test_many_changes_within_a_second_are_one_write(world: World) -> None:
    world.service("web", "10.96.0.20")
    world.settle()
    before = len(world.restores)
    for i in range(10):
        world.endpoints("web", f"10.244.0.{i + 1}")
    world.settle()
    assert len(world.restores) == before + 1


def test_rules_are_right_after_a_crash_of_the_proxy(world: World) -> None:
    world.service("web", "10.96.0.20")
    world.endpoints("web", "10.244.0.5")
    world.settle()
    world.sim.crash(world.proxy, restart_after_s=1.0)
    world.endpoints("web", "10.244.0.6")
    world.settle()
    assert world.reaches("10.96.0.20") == "10.244.0.6"


def test_who_asks_gets_the_rules_as_text(world: World) -> None:
    world.service("web", "10.96.0.20")
    world.endpoints("web", "10.244.0.5")
    text = world.sim.ask(world.proxy, GetRules(("nat",)))
    assert text.startswith("*nat\n")
    assert "--to-destination 10.244.0.5:8080" in text
    assert "*filter" not in text


def test_a_flushed_kernel_is_written_anew_and_a_failing_one_again_later(sim: Simulation) -> None:
    calls: list[str] = []
    present = [True]
    fails = [True]

    class Applier(Actor):
        @handles(Install)
        def install(self, message: Install) -> None:
            calls.append("install")
            if fails[0]:
                fails[0] = False
                raise ApplyError("iptables-restore: exit status 4")

        @handles(Apply)
        def apply(self, message: Apply) -> None:
            calls.append("apply")

        @handles(Check)
        def check(self, message: Check) -> bool:
            return present[0]

    etcd = sim.spawn(Child("etcd", lambda: Etcd(EtcdConfig())))
    api = sim.spawn(Child("apiserver", lambda: ApiServer(ApiServerConfig(debug=True), etcd)))
    client = OutsideClient(sim, api)
    client.create("nodes", {"metadata": {"name": "n"}})
    applier = sim.spawn(Child("applier", Applier))
    sim.spawn(Child("proxy", lambda: KubeProxy("n", api, appliers={"IPv4": applier})))
    sim.advance(5.0)
    assert calls == ["install"]
    sim.advance(30.0)
    assert calls == ["install", "install"]
    client.create("services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}, "default")
    sim.advance(2.0)
    assert calls[2:] == ["apply"]
    present[0] = False
    sim.advance(31.0)
    assert calls[3:] == ["install"]
