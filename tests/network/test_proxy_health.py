"""What load balancers and monitors hear from a kube-proxy."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from actors.apiserver import ApiServer, ApiServerConfig
from actors.client import OutsideClient
from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Actor, Child, LiveSystem, Ref, Simulation, handles
from actors.network import GetRules, HealthCheck, KubeProxy
from actors.network._health import HealthGet, Listen, ProxyHealth, go_time, service_answer
from actors.network.applier import Apply, ApplyError, Check, Install
from actors.network.health_server import HealthPorts, Where
from protocol.http import HttpReply

Object = dict[str, Any]
BALANCED = {
    "type": "LoadBalancer",
    "externalTrafficPolicy": "Local",
    "clusterIP": "10.96.0.20",
    "ports": [{"port": 80, "protocol": "TCP"}],
}


def slice_of(service: str, *endpoints: tuple[str, str, bool]) -> Object:
    return {
        "metadata": {"name": f"{service}-1", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [ip], "nodeName": on, "conditions": {"ready": ok}} for ip, on, ok in endpoints],
    }


def started(system: Simulation | LiveSystem, **options: Any) -> tuple[OutsideClient, Ref]:
    """An API server with the node `n`, and its kube-proxy."""
    etcd = system.spawn(Child("etcd", lambda: Etcd(EtcdConfig())))
    api = system.spawn(Child("apiserver", lambda: ApiServer(ApiServerConfig(debug=True), etcd)))
    client = OutsideClient(system, api)
    client.create("nodes", {"metadata": {"name": "n"}})
    return client, system.spawn(Child("proxy", lambda: KubeProxy("n", api, **options)))


def test_a_health_check_counts_ready_addresses_on_this_node(sim: Simulation) -> None:
    client, proxy = started(sim)
    made = client.create("services", {"metadata": {"name": "web"}, "spec": BALANCED}, "default")
    port = made["spec"]["healthCheckNodePort"]
    endpoints = [("10.244.0.5", "n", True), ("10.244.0.6", "n", False), ("10.244.1.7", "other", True)]
    client.create("endpointslices", slice_of("web", *endpoints), "default")
    sim.advance(2.0)
    reply = sim.ask(proxy, HealthCheck(port))
    assert reply.status == 200
    assert json.loads(reply.body) == {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": 1,
        "serviceProxyHealthy": True,
    }
    assert ("X-Load-Balancing-Endpoint-Weight", "1") in reply.headers
    client.patch("endpointslices", "web-1", "default", {"endpoints": slice_of("web", *endpoints[1:])["endpoints"]})
    sim.advance(2.0)
    assert sim.ask(proxy, HealthCheck(port)).status == 503
    assert sim.ask(proxy, HealthCheck(port + 1 if port < 32767 else port - 1)) is None


def test_the_body_is_spelt_as_load_balancers_know_it() -> None:
    body = service_answer("default", "wp-nginx-service", 1, True).body
    assert len(body) == 127
    assert body.startswith(b'{\n\t"service": {\n\t\t"namespace": "default",\n')
    assert service_answer("default", "web", 3, False).status == 503, "a sick proxy has no healthy endpoints"


def test_times_are_as_go_prints_them() -> None:
    assert go_time(1_700_000_000.5, 2.25) == "2023-11-14 22:13:20.5 +0000 UTC m=+2.250000000"
    assert go_time(1_700_000_000.0, 0.0).startswith("2023-11-14 22:13:20 +0000")
    assert go_time(None) == "0001-01-01 00:00:00 +0000 UTC"


def test_a_change_that_is_not_written_in_time_makes_the_proxy_sick() -> None:
    health = ProxyHealth(started=1000.0, timeout_s=60.0)
    assert health.healthz(1000.0).status == 200, "while it starts"
    health.updated("IPv4", 1001.0)
    health.queued("IPv4", 1010.0)
    assert health.healthz(1069.0).status == 200
    sick = health.healthz(1070.0)
    assert sick.status == 503
    assert json.loads(sick.body)["lastUpdated"].startswith("1970-01-01 00:16:41 ")
    health.queued("IPv4", 1071.0)
    assert health.livez(1071.0).status == 503, "the oldest change counts"
    health.updated("IPv4", 1072.0)
    assert health.livez(1072.0).status == 200
    assert health.answers == {("/healthz", 200): 2, ("/healthz", 503): 1, ("/livez", 503): 1, ("/livez", 200): 1}


@pytest.mark.parametrize(
    "node",
    [
        {"metadata": {"name": "n"}, "spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler"}]}},
        {"metadata": {"name": "n", "deletionTimestamp": "2026-01-01T00:00:00Z"}},
    ],
)
def test_a_node_that_goes_takes_no_new_connections_but_the_proxy_lives(node: Object) -> None:
    health = ProxyHealth(started=0.0)
    health.node(node)
    told = health.healthz(5.0)
    assert (told.status, json.loads(told.body)["nodeEligible"]) == (503, False)
    lives = health.livez(5.0)
    assert (lives.status, "nodeEligible" in json.loads(lives.body)) == (200, False)
    health.node({"metadata": {"name": "n"}, "spec": {}})
    assert health.healthz(6.0).status == 200


def test_rules_that_cannot_be_written_make_health_checks_fail(sim: Simulation) -> None:
    class Applier(Actor):
        works = True

        @handles(Install)
        def install(self, message: Install) -> None:
            self.apply(message)

        @handles(Apply)
        def apply(self, message: Any) -> None:
            if not Applier.works:
                raise ApplyError("iptables-restore: exit status 4")

        @handles(Check)
        def check(self, message: Check) -> bool:
            return True

    client, proxy = started(sim, appliers={"IPv4": Child("applier", Applier)})
    made = client.create("services", {"metadata": {"name": "web"}, "spec": BALANCED}, "default")
    client.create("endpointslices", slice_of("web", ("10.244.0.5", "n", True)), "default")
    sim.advance(5.0)
    ask = HealthCheck(made["spec"]["healthCheckNodePort"])
    assert sim.ask(proxy, ask).status == 200
    Applier.works = False
    client.create("services", {"metadata": {"name": "other"}, "spec": {"ports": [{"port": 80}]}}, "default")
    sim.advance(30.0)
    assert sim.ask(proxy, ask).status == 200, "not late yet"
    sim.advance(40.0)
    assert json.loads(sim.ask(proxy, ask).body)["serviceProxyHealthy"] is False
    Applier.works = True
    sim.advance(40.0)
    assert sim.ask(proxy, ask).status == 200


# -- on real ports -----------------------------------------------------------------------------


def get(address: tuple[str, int], path: str = "/") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*address, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def bound(live: LiveSystem) -> dict[str, tuple[str, int]]:
    ports = live.lookup("proxy/ports")
    assert ports is not None
    found: dict[str, tuple[str, int]] = ports.ask(Where(), timeout=5)
    return found


SERVING = (("healthz", "127.0.0.1", 0), ("metrics", "127.0.0.2", 0))


def test_a_proxy_serves_its_health_and_metrics(live: LiveSystem) -> None:
    _, proxy = started(live, config={"mode": "iptables"}, ports=Child("ports", HealthPorts), serving=SERVING)
    proxy.ask(GetRules(), timeout=5)
    places = bound(live)
    status, headers, body = get(places["healthz"], "/healthz")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body)["nodeEligible"] is True
    assert get(places["healthz"], "/livez?verbose")[0] == 200
    assert get(places["healthz"], "/")[0] == 404
    assert get(places["metrics"], "/proxyMode")[2] == b"iptables"
    text = get(places["metrics"], "/metrics")[2].decode()
    assert 'kubeproxy_proxy_healthz_total{code="200"} 1' in text
    assert 'kubeproxy_sync_proxy_rules_iptables_total{ip_family="IPv4",table="filter"} 4' in text


def test_one_connection_takes_several_requests(live: LiveSystem) -> None:
    _, proxy = started(live, ports=Child("ports", HealthPorts), serving=SERVING)
    proxy.ask(GetRules(), timeout=5)
    connection = http.client.HTTPConnection(*bound(live)["healthz"], timeout=5)
    for method in ("GET", "HEAD", "GET"):
        connection.request(method, "/livez")
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (200, method == "GET")
    connection.close()


def test_what_is_no_http_is_refused(live: LiveSystem) -> None:
    _, proxy = started(live, ports=Child("ports", HealthPorts), serving=SERVING)
    proxy.ask(GetRules(), timeout=5)
    with socket.create_connection(bound(live)["healthz"], 5) as raw:
        raw.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_services_port_opens_and_closes_with_it(live: LiveSystem) -> None:
    config = {"nodePortAddresses": ["127.0.0.0/8"], "iptables": {"minSyncPeriod": "0s"}}
    client, _ = started(live, config=config, ports=Child("ports", HealthPorts))
    made = client.create("services", {"metadata": {"name": "web"}, "spec": BALANCED}, "default")
    client.create("endpointslices", slice_of("web", ("10.244.0.5", "n", True)), "default")
    address = ("127.0.0.1", made["spec"]["healthCheckNodePort"])

    def answers(status: int) -> bool:
        try:
            return get(address)[0] == status
        except OSError:
            return status == 0

    wait(live, lambda: answers(200))
    client.patch("endpointslices", "web-1", "default", {"endpoints": []})
    wait(live, lambda: answers(503))
    client.delete("services", "web", "default")
    wait(live, lambda: answers(0))


def test_ports_may_be_in_a_nodes_own_network_namespace(lab: Any, live: LiveSystem) -> None:
    class Proxy(Actor):
        @handles(HealthGet)
        def get(self, message: HealthGet) -> HttpReply:
            return HttpReply(200, "text/plain", message.purpose.encode())

    proxy = live.spawn(Child("stand-in", Proxy))
    ports = live.spawn(Child("ports", lambda: HealthPorts(lab.node.path)))
    ports.ask(Listen({("0.0.0.0", 31234): "service/default/web"}, proxy), timeout=5)
    talk = lab.outside.connect(lab.plan.node, 31234)
    talk.socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while part := talk.socket.recv(4096):
        answer += part
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nservice/default/web")
    talk.close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", 31234), 0.5)


def test_a_port_that_is_taken_is_told_as_an_event_and_had_later(
    live: LiveSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.network.health_server.RETRY_S", 0.05)
    config = {"nodePortAddresses": ["127.0.0.0/8"], "iptables": {"minSyncPeriod": "0s"}}
    with taken_node_port() as (other, port):
        client, _ = started(live, config=config, ports=Child("ports", HealthPorts))
        client.create(
            "services", {"metadata": {"name": "web"}, "spec": {**BALANCED, "healthCheckNodePort": port}}, "default"
        )
        wait(live, lambda: bool(client.list("events", "default")))
        (event,) = client.list("events", "default")
        assert event["reason"] == "FailedToStartServiceHealthcheck"
        assert event["message"].startswith(f'node n failed to start healthcheck "default/web" on port {port}: ')
        other.close()
        wait(live, lambda: "service/default/web" in bound(live))
        assert get(("127.0.0.1", port))[0] == 503


@contextlib.contextmanager
def taken_node_port() -> Iterator[tuple[socket.socket, int]]:
    """A port of the node ports' range that somebody listens on."""
    with socket.socket() as other:
        for port in range(31500, 32700):
            with contextlib.suppress(OSError):
                other.bind(("127.0.0.1", port))
                other.listen()
                break
        yield other, port


def wait(live: LiveSystem, condition: Any, tries: int = 200) -> None:
    for _ in range(tries):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError("not within 4 s")
