"""The DNS that a cluster comes with: the Service kube-dns, names in the simulation and on a real port."""

from __future__ import annotations

from typing import Any

import dns.message
import dns.query
import dns.rcode

from actors.kernel import Child
from actors.network.dns import DnsService
from cluster import Cluster, SimulatedCluster
from protocol.dns import Query

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"clusterIP": "10.96.3.4", "ports": [{"name": "http", "port": 80}]},
}


def test_pods_find_kube_dns_where_their_resolv_conf_says() -> None:
    cluster = SimulatedCluster(nodes=1)
    service = cluster.wait("services/kube-dns", namespace="kube-system")
    assert service["spec"]["clusterIP"] == "10.96.0.10"
    assert [(p["port"], p["protocol"]) for p in service["spec"]["ports"]] == [(53, "UDP"), (53, "TCP")]
    [found] = cluster.wait(
        "endpointslices", bool, namespace="kube-system", label_selector="kubernetes.io/service-name=kube-dns"
    )
    assert found["endpoints"][0]["addresses"] == ["172.18.0.1"]


def test_names_are_answered_in_the_simulation() -> None:
    cluster = SimulatedCluster(nodes=1)
    cluster.apply(SERVICE)
    cluster.sim.advance(2.0)
    answer = cluster.sim.ask(cluster.sim.lookup("dns"), Query("web.default.svc.cluster.local."))
    assert [r.data for r in answer.records] == ["10.96.3.4"]


def test_a_cluster_can_do_without() -> None:
    cluster = SimulatedCluster(nodes=1, dns=False)
    cluster.sim.advance(5.0)
    names = [s["metadata"]["name"] for s in cluster.client.list("services", "kube-system")]
    assert "kube-dns" not in names
    assert cluster.sim.lookup("dns") is None


def test_names_are_answered_on_a_real_port() -> None:
    with Cluster(nodes=0, dns_port=0) as cluster:
        cluster.apply(SERVICE)
        host, port = cluster.dns_address
        for ask in (dns.query.udp, dns.query.tcp):
            assert _first(ask, "web.default.svc.cluster.local.", "A", host, port) == "10.96.3.4"
            assert _first(ask, "4.3.96.10.in-addr.arpa.", "PTR", host, port) == "web.default.svc.cluster.local."


def _first(ask: Any, name: str, kind: str, host: str, port: int) -> str:
    """The first record's data, once the name is there: the DNS hears of a Service a moment later."""
    for _ in range(100):
        answer = ask(dns.message.make_query(name, kind), host, port=port, timeout=2.0)
        if answer.answer:
            return str(answer.answer[0][0])
    raise AssertionError(f"{name} is not found: {dns.rcode.to_text(answer.rcode())}")


def test_other_names_are_forwarded() -> None:
    with Cluster(nodes=0, dns_port=0) as upstream:
        upstream.apply(SERVICE)
        host, port = upstream.dns_address
        assert _first(dns.query.udp, "web.default.svc.cluster.local.", "A", host, port)
        # the other cluster does not own this reverse name, so it asks
        with Cluster(nodes=0, dns_port=0, dns_forward=((host, port),)) as cluster:
            there, at = cluster.dns_address
            name = "4.3.96.10.in-addr.arpa."
            assert _first(dns.query.udp, name, "PTR", there, at) == "web.default.svc.cluster.local."


def test_after_a_restart_elsewhere_the_endpoints_follow(tmp_path: Any) -> None:
    for address in ("10.1.2.3", "10.1.2.4"):
        with Cluster(nodes=0, data_dir=tmp_path, dns=False) as cluster:
            cluster.system.spawn(Child("again", lambda a=address: DnsService(cluster.parts.apiserver, a)))
            cluster.wait(
                "endpointslices",
                lambda found, a=address: [s["endpoints"][0]["addresses"] for s in found] == [[a]],
                namespace="kube-system",
            )
