"""The cluster DNS in step with the API, and on real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from actors.apiserver import ApiServer, ApiServerConfig
from actors.client import OutsideClient
from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Actor, ActorSystem, Child, LiveSystem, Simulation
from actors.network.dns import Answer, ClusterDns, Query, Record
from actors.network.dns._server import Server, forwarder, serve

NAME = "web.default.svc.cluster.local."


def start(system: ActorSystem, **options: Any) -> tuple[OutsideClient, Any]:
    etcd = system.spawn(Child("etcd", lambda: Etcd(EtcdConfig())))
    api = system.spawn(Child("apiserver", lambda: ApiServer(ApiServerConfig(debug=True), etcd)))
    return OutsideClient(system, api), system.spawn(Child("dns", lambda: ClusterDns(api, **options)))


def make_service(client: OutsideClient, name: str = "web", **spec: Any) -> None:
    base = {"clusterIP": "10.96.0.50", "ports": [{"name": "http", "port": 80}]}
    client.create("services", {"metadata": {"name": name}, "spec": {**base, **spec}}, "default")


def test_names_follow_services(sim: Simulation) -> None:
    client, ref = start(sim)
    assert sim.ask(ref, Query(NAME)).code == "NXDOMAIN"
    make_service(client)
    sim.advance(0.5)
    assert [r.data for r in sim.ask(ref, Query(NAME)).records] == ["10.96.0.50"]
    client.delete("services", "web", "default")
    sim.advance(0.5)
    assert sim.ask(ref, Query(NAME)).code == "NXDOMAIN"


def test_an_alias_is_followed_to_its_address(sim: Simulation) -> None:
    async def forward(name: str, kind: str) -> Answer:
        return Answer("NOERROR", (Record(name, kind, "192.0.2.1"),))

    client, ref = start(sim, forward=forward)
    make_service(client, "out", type="ExternalName", externalName="example.com", clusterIP=None, ports=None)
    sim.advance(0.5)
    answer = sim.ask(ref, Query("out.default.svc.cluster.local."))
    assert [(r.type, r.data) for r in answer.records] == [("CNAME", "example.com."), ("A", "192.0.2.1")]


def test_a_broken_upstream_is_a_server_failure(sim: Simulation) -> None:
    async def forward(name: str, kind: str) -> Answer:
        raise OSError("unreachable")

    _, ref = start(sim, forward=forward)
    assert sim.ask(ref, Query("example.com.")).code == "SERVFAIL"


@pytest.fixture
def served() -> Iterator[tuple[OutsideClient, Server, LiveSystem]]:
    # Not the `live` fixture: an API server's first start loads schemas, which is no affair of DNS.
    live = LiveSystem("dns", seed=1).start_thread()
    client, ref = start(live)
    server = serve(live, ref)
    yield client, server, live
    live.loop.call_soon_threadsafe(server.close)
    live.shutdown()


def ask(server: Server, name: str, kind: str = "A", tcp: bool = False) -> dns.message.Message:
    query = dns.message.make_query(name, kind)
    how = dns.query.tcp if tcp else dns.query.udp
    return how(query, server.address[0], timeout=5.0, port=server.address[1])


class Silent(Actor):
    """Stands where an API server would."""


class Forwarding(ClusterDns):
    """A DNS server without a cluster of its own."""

    def on_start(self) -> None:
        self.informers = ()


def answered(server: Server, name: str) -> dns.message.Message:
    """Ask until there is an answer: the zone follows the API a moment later."""
    for _ in range(500):
        response = ask(server, name, tcp=True)
        if response.answer:
            return response
    raise AssertionError(f"{name} is never answered")


@pytest.mark.parametrize("tcp", [False, True])
def test_real_clients_get_answers(served: tuple[OutsideClient, Server, LiveSystem], tcp: bool) -> None:
    client, server, _ = served
    make_service(client)
    answered(server, NAME)
    response = ask(server, NAME, tcp=tcp)
    assert response.answer[0].to_text() == f"{NAME} 30 IN A 10.96.0.50"
    assert response.flags & dns.flags.AA
    assert ask(server, "nope.default.svc.cluster.local.", tcp=tcp).rcode() == dns.rcode.NXDOMAIN


def test_an_answer_too_long_for_udp_is_marked_as_cut(served: tuple[OutsideClient, Server, LiveSystem]) -> None:
    client, server, _ = served
    make_service(client, "many", clusterIP="None")
    endpoints = [{"addresses": [f"10.244.{i // 200}.{i % 200 + 1}"], "conditions": {"ready": True}} for i in range(100)]
    body = {
        "metadata": {"name": "many-1", "labels": {"kubernetes.io/service-name": "many"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        "endpoints": endpoints,
    }
    client.create("endpointslices", body, "default")
    name = "many.default.svc.cluster.local."
    answered(server, name)
    assert ask(server, name).flags & dns.flags.TC
    assert len(ask(server, name, tcp=True).answer[0]) == 100


def test_other_names_are_forwarded_to_a_real_server(served: tuple[OutsideClient, Server, LiveSystem]) -> None:
    client, server, system = served
    make_service(client)
    answered(server, NAME)
    api = system.spawn(Child("nobody", Silent))
    forward = forwarder(system, [server.address])
    second = serve(system, system.spawn(Child("dns-2", lambda: Forwarding(api, "other.domain", forward=forward))))
    assert ask(second, NAME).answer[0].to_text() == f"{NAME} 30 IN A 10.96.0.50"
    assert ask(second, "x.other.domain.").rcode() == dns.rcode.NXDOMAIN
    system.loop.call_soon_threadsafe(second.close)


def test_nonsense_gets_no_answer_and_does_no_harm(served: tuple[OutsideClient, Server, LiveSystem]) -> None:
    import socket

    _, server, _ = served
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for junk in (b"", b"x", b"\xff" * 40, b"\x00" * 12):
            udp.sendto(junk, server.address)
    assert ask(server, "svc.cluster.local.").rcode() == dns.rcode.NOERROR


def test_clients_over_ipv6_get_answers(served: tuple[OutsideClient, Server, LiveSystem]) -> None:
    client, _, live = served
    make_service(client)
    ref = live.lookup("dns")
    try:
        six = serve(live, ref, "::1")
    except OSError as error:
        pytest.skip(f"no IPv6: {error}")
    answered(six, NAME)
    assert ask(six, NAME).answer[0].to_text() == f"{NAME} 30 IN A 10.96.0.50"
    assert ask(six, NAME, tcp=True).rcode() == dns.rcode.NOERROR
    live.loop.call_soon_threadsafe(six.close)


def test_a_negative_answer_says_how_long_it_holds(served: tuple[OutsideClient, Server, LiveSystem]) -> None:
    _, server, _ = served
    response = ask(server, "nope.default.svc.cluster.local.")
    assert response.rcode() == dns.rcode.NXDOMAIN
    assert response.authority[0].to_text().startswith("cluster.local. 30 IN SOA ns.dns.cluster.local. ")


def test_the_addresses_of_a_headless_service_come_in_changing_order(sim: Simulation) -> None:
    client, ref = start(sim)
    make_service(client, "many", clusterIP="None")
    body = {
        "metadata": {"name": "many-1", "labels": {"kubernetes.io/service-name": "many"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": [f"10.244.0.{n}"], "conditions": {"ready": True}} for n in range(1, 9)],
    }
    client.create("endpointslices", body, "default")
    sim.advance(1.0)
    orders = {sim.ask(ref, Query("many.default.svc.cluster.local.")).records for _ in range(10)}
    assert len(orders) > 1
    assert len({frozenset(order) for order in orders}) == 1
