"""What upstream's conformance suite asks of Services, endpoints and DNS, by programs in simulated pods."""

from __future__ import annotations

from typing import Any

import pytest

from tests.network.town import Town

Object = dict[str, Any]
TRIES = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do wget -T 1 -qO- http://{}; done"


@pytest.fixture(scope="module")
def town() -> Town:
    made = Town()
    for number in range(3):
        made.pod(f"host-{number}", labels={"app": "hosts"})
    made.pod("on-node", {"hostNetwork": True})
    for name in ("host-0", "host-1", "host-2", "on-node"):
        made.cluster.wait(f"pods/{name}", "Ready")
    made.settle()
    return made


def answers(town: Town, where: str, pod: str = "client") -> set[str]:
    return set(town.run(TRIES.format(where), pod)[0].split())


def patch(town: Town, name: str, spec: Object) -> Object:
    town.cluster.client.patch("services", name, "default", {"spec": spec})
    town.settle()
    found: Object = town.cluster.client.get("services", name, "default")
    return found


def node_ips(town: Town) -> list[str]:
    nodes = town.cluster.client.list("nodes")
    return [a["address"] for n in nodes for a in n["status"]["addresses"] if a["type"] == "InternalIP"]


HOSTS = {"host-0", "host-1", "host-2"}


def test_the_service_kubernetes_is_there_and_resolves(town: Town) -> None:
    client = town.cluster.client
    assert client.get("services", "kubernetes", "default")["spec"]["clusterIP"] == "10.96.0.1"
    assert client.get("endpoints", "kubernetes", "default")["subsets"]
    slices = client.list("endpointslices", "default", label_selector="kubernetes.io/service-name=kubernetes")
    assert slices[0]["endpoints"][0]["addresses"]
    for name in ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"):
        assert "Address: 10.96.0.1\n" in town.run(f"nslookup {name}")[0], name
    assert town.run("nc -z kubernetes 443; echo $?")[0] == "0\n"


def test_pods_have_their_own_name_in_the_hosts_file(town: Town) -> None:
    assert f"{town.ip('client')}\tclient\n" in town.run("cat /etc/hosts")[0]
    assert town.run("wget -qO- http://client")[0] == "client\n", "by that file: no name server knows it"


def test_an_external_name_is_an_alias_that_may_change_and_become_an_address(town: Town) -> None:
    town.service("dns-test", type="ExternalName", externalName="foo.example.com")
    town.settle()
    assert "Name:\tfoo.example.com\n" in town.run("nslookup dns-test")[0]
    patch(town, "dns-test", {"externalName": "bar.example.com"})
    assert "Name:\tbar.example.com\n" in town.run("nslookup dns-test")[0]
    made = patch(
        town, "dns-test", {"type": "ClusterIP", "externalName": None, "ports": [{"port": 80, "protocol": "TCP"}]}
    )
    assert f"Address: {made['spec']['clusterIP']}\n" in town.run("nslookup dns-test")[0]


def test_a_headless_service_names_its_pods(town: Town) -> None:
    town.service("sub", clusterIP="None", selector={"app": "named"}, ports=[{"name": "http", "port": 80}])
    town.pod("querier-2", {"hostname": "querier", "subdomain": "sub"}, labels={"app": "named"})
    town.cluster.wait("pods/querier-2", "Ready")
    town.settle()
    ip = town.ip("querier-2")
    for name in ("sub", "sub.default", "querier.sub", "querier.sub.default.svc.cluster.local", "sub.default.svc"):
        assert f"Address: {ip}\n" in town.run(f"nslookup {name}")[0], name
    assert town.run("hostname -f 2>/dev/null || hostname", "querier-2")[0].startswith("querier")
    assert "querier.sub.default.svc.cluster.local" in town.run("cat /etc/hosts", "querier-2")[0]


def test_a_pod_may_have_a_resolver_of_its_own(town: Town) -> None:
    config = {
        "nameservers": ["1.1.1.1"],
        "searches": ["resolv.conf.local"],
        "options": [{"name": "ndots", "value": "2"}],
    }
    town.pod("own-dns", {"dnsPolicy": "None", "dnsConfig": config})
    town.cluster.wait("pods/own-dns", "Ready")
    assert (
        town.run("cat /etc/resolv.conf", "own-dns")[0]
        == "search resolv.conf.local\nnameserver 1.1.1.1\noptions ndots:2\n"
    )


def slice_of(service: str, number: int, ip: str, port: int) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-{number}", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": f"p{number}", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [ip], "conditions": {"ready": True}}],
    }


@pytest.mark.parametrize("other", ["host-0", "host-1"])
def test_slices_made_by_hand_lead_each_port_to_its_own(town: Town, other: str) -> None:
    name = f"by-hand-{other}"
    town.service(
        name, ports=[{"name": "p1", "port": 80, "targetPort": 3000}, {"name": "p2", "port": 8080, "targetPort": 3001}]
    )
    town.cluster.apply([slice_of(name, 1, town.ip("host-0"), 3000), slice_of(name, 2, town.ip(other), 3001)])
    town.settle()
    assert answers(town, f"{name}:80") == {"host-0"}
    assert answers(town, f"{name}:8080") == {other}


def test_endpoints_made_by_hand_are_mirrored(town: Town) -> None:
    town.service("mirror", ports=[{"port": 80, "targetPort": 80, "protocol": "TCP"}])
    subset = {"addresses": [{"ip": town.ip("host-2")}], "ports": [{"port": 80, "protocol": "TCP"}]}
    town.cluster.apply({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "mirror"}, "subsets": [subset]})
    town.settle()
    assert answers(town, "mirror") == {"host-2"}
    town.cluster.client.delete("endpoints", "mirror", "default")
    town.settle()
    assert town.run("nc -z mirror 80; echo $?")[0].endswith("1\n")


@pytest.mark.parametrize("who", ["client", "on-node"])
@pytest.mark.parametrize("flag", ["", "-u"])
def test_pods_are_reached_from_pods_and_nodes(town: Town, who: str, flag: str) -> None:
    for host in sorted(HOSTS):
        assert town.run(f"nc {flag} -z -w 1 {town.ip(host)} 8080; echo $?", who)[0] == "0\n"
    assert town.run(f"curl -s http://{town.ip('host-1')}:8080/hostName", who)[0] == "host-1\n"


def test_a_cluster_ip_service_becomes_an_external_name(town: Town) -> None:
    town.service("change-1", selector={"app": "hosts"}, ports=[{"port": 80}])
    town.settle()
    assert answers(town, "change-1") == HOSTS
    made = patch(town, "change-1", {"type": "ExternalName", "externalName": "web.default.svc.cluster.local"})
    assert "clusterIP" not in made["spec"]
    out = town.run("wget -T 1 -qO- http://change-1:8080")[0]
    assert out == "wget: download timed out\n", "the alias is a Service's, which has no such port"
    assert town.run("wget -qO- http://change-1")[0] == "web\n"


def test_an_external_name_becomes_a_cluster_ip_and_a_node_port(town: Town) -> None:
    town.service("change-2", type="ExternalName", externalName="example.com")
    made = patch(
        town,
        "change-2",
        {"type": "ClusterIP", "externalName": None, "selector": {"app": "hosts"}, "ports": [{"port": 80}]},
    )
    assert answers(town, "change-2") == HOSTS
    assert answers(town, made["spec"]["clusterIP"]) == HOSTS
    made = patch(town, "change-2", {"type": "NodePort"})
    port = made["spec"]["ports"][0]["nodePort"]
    for ip in node_ips(town):
        assert answers(town, f"{ip}:{port}") == HOSTS
    made = patch(
        town,
        "change-2",
        {"type": "ExternalName", "externalName": "example.com", "clusterIP": "", "clusterIPs": None, "ports": None},
    )
    assert "clusterIP" not in made["spec"]
    assert town.run(f"nc -w 1 -z {node_ips(town)[0]} {port}; echo $?")[0].endswith("1\n"), "the port was released"


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort"])
def test_session_affinity_can_be_switched(town: Town, kind: str) -> None:
    name = f"sticky-{kind.lower()}"
    town.service(name, type=kind, sessionAffinity="ClientIP", selector={"app": "hosts"}, ports=[{"port": 80}])
    town.settle()
    made = town.cluster.client.get("services", name, "default")
    where = [name, made["spec"]["clusterIP"]]
    where += [f"{ip}:{made['spec']['ports'][0]['nodePort']}" for ip in node_ips(town)] if kind == "NodePort" else []
    for place in where:
        assert len(answers(town, place)) == 1, place
    patch(town, name, {"sessionAffinity": "None"})
    for place in where:
        assert answers(town, place) == HOSTS, place
    patch(town, name, {"sessionAffinity": "ClientIP"})
    assert len(answers(town, name)) == 1


def test_a_session_ends_after_its_time(town: Town) -> None:
    config = {"clientIP": {"timeoutSeconds": 10}}
    town.service(
        "short",
        sessionAffinity="ClientIP",
        sessionAffinityConfig=config,
        selector={"app": "hosts"},
        ports=[{"port": 80}],
    )
    town.settle()
    seen = set()
    for _ in range(12):
        seen |= {town.run("wget -qO- http://short")[0].strip()}
        town.cluster.sim.advance(11.0)
    assert len(seen) > 1


def test_one_port_number_may_serve_two_protocols(town: Town) -> None:
    ports = [{"name": "t", "port": 53, "protocol": "TCP"}, {"name": "u", "port": 53, "protocol": "UDP"}]
    town.service("both", selector={"app": "hosts"}, ports=ports)
    town.settle()
    assert town.run("nc -z both 53; echo $?; nc -u -z both 53; echo $?")[0] == "0\n0\n"


def test_endpoints_follow_pods_and_an_empty_service_has_an_empty_slice(town: Town) -> None:
    client = town.cluster.client
    town.service("later", selector={"app": "later"}, ports=[{"port": 80}])
    town.settle()
    (found,) = client.list("endpointslices", "default", label_selector="kubernetes.io/service-name=later")
    assert not found.get("endpoints")
    assert client.get("endpoints", "later", "default").get("subsets") in (None, [])
    town.pod("later-0", labels={"app": "later"})
    town.cluster.wait("pods/later-0", "Ready")
    town.settle()
    assert answers(town, "later") == {"later-0"}
    client.delete("services", "later", "default")
    town.settle()
    assert not client.list("endpointslices", "default", label_selector="kubernetes.io/service-name=later")
    assert town.run("wget -qO- http://later; echo $?")[0] == "wget: bad address 'later'\n1\n"


def test_the_status_of_a_service_has_a_life_of_its_own(town: Town) -> None:
    client = town.cluster.client
    town.service("status", type="LoadBalancer", ports=[{"port": 80}], selector={"app": "hosts"})
    ingress = [{"ip": "203.0.113.1"}]
    client.patch(
        "services", "status", "default", {"status": {"loadBalancer": {"ingress": ingress}}}, subresource="status"
    )
    made = client.get("services", "status", "default")
    assert made["status"]["loadBalancer"]["ingress"] == [{"ip": "203.0.113.1", "ipMode": "VIP"}]
    town.settle()
    assert answers(town, "203.0.113.1") == HOSTS
    body = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1", "ipMode": "Proxy"}]}}}
    client.patch("services", "status", "default", body, subresource="status")
    town.settle()
    assert town.run("wget -qO- http://203.0.113.1")[0] == "", "a proxy outside answers, not the rules"


def test_services_go_by_collection(town: Town) -> None:
    client = town.cluster.client
    for number in range(3):
        town.make("Service", f"e2e-{number}", {"ports": [{"port": 80}]}, labels={"e2e": str(number == 0)})
    client.delete_collection("services", "default", labelSelector="e2e=False")
    names = {s["metadata"]["name"] for s in client.list("services", "default")}
    assert "e2e-0" in names
    assert not names & {"e2e-1", "e2e-2"}


def test_a_policy_of_internal_traffic_keeps_it_on_the_node(town: Town) -> None:
    town.service("near", internalTrafficPolicy="Local", selector={"app": "hosts"}, ports=[{"port": 80}])
    town.settle()
    pods = town.cluster.client.list("pods", "default", label_selector="app=hosts")
    here = town.cluster.client.get("pods", "client", "default")["spec"]["nodeName"]
    local = {p["metadata"]["name"] for p in pods if p["spec"]["nodeName"] == here}
    assert answers(town, "near") == local
    assert local != HOSTS


def test_host_ports_may_share_a_number(town: Town) -> None:
    node = {"nodeName": town.cluster.client.list("nodes")[0]["metadata"]["name"]}
    for name, ip, protocol in (("hp1", "127.0.0.1", "TCP"), ("hp2", "172.18.0.2", "TCP"), ("hp3", "172.18.0.2", "UDP")):
        port = {"containerPort": 8080, "hostPort": 54323, "hostIP": ip, "protocol": protocol}
        container = {"name": "c", "image": "busybox", "command": ["sleep", "9999"], "ports": [port]}
        town.pod(name, {"containers": [container], **node})
        town.cluster.wait(f"pods/{name}", "Ready")


def test_the_time_from_a_service_to_its_endpoints_is_short(town: Town) -> None:
    sim = town.cluster.sim
    taken = []
    for number in range(20):
        began = sim.clock.monotonic()
        town.service(f"latency-{number}", selector={"app": "hosts"}, ports=[{"port": 80}])
        town.cluster.wait(f"endpoints/latency-{number}", lambda found: bool(found.get("subsets")))
        taken.append(sim.clock.monotonic() - began)
    assert sorted(taken)[10] < 5.0
