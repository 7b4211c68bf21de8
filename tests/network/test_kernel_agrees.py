"""The simulated netfilter beside the kernel's: the same rules, the same packets, the same ends."""

from __future__ import annotations

import random
from typing import Any

import pytest

from actors.kernel import Child, LiveSystem
from actors.network._config import ProxyConfig
from actors.network._ruleset import RuleSet
from actors.network.applier import CleanUp, Install, IptablesApplier, all_jumps
from actors.network.netfilter import Packet, Tables, Walker

NODE_IP, OUTSIDE_IP, GATEWAY = "192.168.77.2", "192.168.77.100", "10.244.1.1"
EXTERNAL_IP, BALANCER_IP = "203.0.113.5", "203.0.113.6"
ROUNDS, SERVICES, PACKETS, CHANCES = 8, 4, 8, 40


def _service(rng: random.Random, number: int) -> dict[str, Any]:
    kind = rng.choice(("ClusterIP", "NodePort", "LoadBalancer"))
    port = {"port": 80, "protocol": "TCP"}
    spec: dict[str, Any] = {"type": kind, "clusterIP": f"10.96.1.{number}", "ports": [port]}
    status: dict[str, Any] = {}
    if kind != "ClusterIP":
        port["nodePort"] = 30100 + number
        spec["externalTrafficPolicy"] = rng.choice(("Cluster", "Local"))
    if kind == "LoadBalancer":
        status = {"loadBalancer": {"ingress": [{"ip": BALANCER_IP}]}} if number == 0 else {}
        spec["loadBalancerSourceRanges"] = rng.choice(([], [f"{OUTSIDE_IP}/32"], ["198.51.100.0/24", "10.244.0.0/16"]))
    if number == 1:
        spec["externalIPs"] = [EXTERNAL_IP]
    if rng.random() < 0.3:
        spec["sessionAffinity"] = "ClientIP"
    if rng.random() < 0.3:
        spec["internalTrafficPolicy"] = "Local"
    return {"metadata": {"namespace": "default", "name": f"s{number}"}, "spec": spec, "status": status}


def _slice(rng: random.Random, number: int, ips: list[str]) -> dict[str, Any]:
    chosen = rng.sample(ips, rng.randint(0, len(ips)))
    conditions = [
        {"ready": True},
        {"ready": False, "serving": True, "terminating": True},
        {"ready": False, "serving": False, "terminating": False},
    ]
    return {
        "metadata": {
            "namespace": "default",
            "name": f"s{number}-1",
            "labels": {"kubernetes.io/service-name": f"s{number}"},
        },
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [ip],
                "nodeName": rng.choice(("node", "other")),
                "conditions": rng.choices(conditions, (6, 2, 1))[0],
            }
            for ip in chosen
        ],
    }


class World:
    """Rules of random Services, in the kernel and in the simulation."""

    def __init__(self, lab: Any, rng: random.Random) -> None:
        self.lab = lab
        match = rng.choice((("-s", "10.244.0.0/16"), ("-i", "cni0"), None))
        localhost = rng.random() < 0.5
        config = ProxyConfig(
            node_name="node",
            node_ip=NODE_IP,
            local_match=match,
            masquerade_all=rng.random() < 0.3,
            localhost_node_ports=localhost,
        )
        self.rules = RuleSet(config)
        for number in range(SERVICES):
            self.rules.set_service(_service(rng, number))
            self.rules.set_slice(_slice(rng, number, list(lab.ips.values())))
        self.tables = Tables()
        self.tables.restore(self.rules.text())

    def simulated(self, source: str, ip: str, port: int) -> set[str]:
        """How a packet may end, whatever chance decides: `POD SEEN-AS`, `refused`, `lost`."""
        return {self._once(source, ip, port, seed) for seed in range(CHANCES)}

    def _once(self, source: str, ip: str, port: int, seed: int) -> str:
        towards = {OUTSIDE_IP: NODE_IP}
        walker = Walker(
            self.tables,
            (NODE_IP, GATEWAY, "127.0.0.1"),
            rng=random.Random(seed),
            now=lambda: 0.0,
            source_for=lambda dst: towards.get(dst, GATEWAY),
        )
        if source == "node":
            outcome = walker.send(Packet(NODE_IP if ip == NODE_IP else "192.168.77.2", ip, dport=port))
        elif source == "outside":
            outcome = walker.forward(Packet(OUTSIDE_IP, ip, dport=port, in_interface="eth0"))
        else:
            outcome = walker.forward(Packet(self.lab.ips[source], ip, dport=port, in_interface="cni0"))
        if outcome.verdict == "REJECT":
            return "refused"
        names = {ip: name for name, ip in self.lab.ips.items()}
        if outcome.verdict != "ACCEPT" or outcome.packet.dst not in names:
            return "refused" if outcome.verdict == "ACCEPT" and outcome.local else "lost"
        return f"{names[outcome.packet.dst]} {outcome.packet.src}"


def _packet(rng: random.Random) -> tuple[str, str, int]:
    source = rng.choice(("outside", "pod-0", "pod-1", "pod-2"))
    number = rng.randrange(SERVICES)
    front = rng.choice(("cluster", "node", "external", "balancer"))
    if front == "node":
        return source, NODE_IP, 30100 + number
    return source, {"cluster": f"10.96.1.{number}", "external": EXTERNAL_IP, "balancer": BALANCER_IP}[front], 80


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_packets_end_where_the_simulation_says(lab: Any, live: LiveSystem, seed: int) -> None:
    rng = random.Random(seed)
    for ip in (EXTERNAL_IP, BALANCER_IP):
        lab.outside.run("ip", "route", "replace", f"{ip}/32", "via", NODE_IP)
    world = World(lab, rng)
    applier = live.spawn(Child("applier", lambda: IptablesApplier(netns=lab.node.path)))
    applier.ask(Install(world.rules.restore_text(), tuple(world.rules.jumps())), timeout=20.0)
    try:
        for _ in range(PACKETS):
            source, ip, port = _packet(rng)
            expected = world.simulated(source, ip, port)
            namespace = lab.outside if source == "outside" else lab.pods[source]
            seen = namespace.ask(ip, port, timeout_s=0.25)
            assert seen in expected, f"{source} to {ip}:{port}: the kernel says {seen}, we {sorted(expected)}"
    finally:
        applier.ask(CleanUp(all_jumps()), timeout=20.0)
        lab.node.run("conntrack", "-F", check=False)
