"""The account of docs/services.md, end to end: Service, endpoints, rules, packet."""

from __future__ import annotations

from typing import Any

import pytest

from actors.apiserver import ApiServer, ApiServerConfig
from actors.client import OutsideClient
from actors.controllers import ControllerManager, Options
from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Child, Simulation
from actors.network import GetRules, KubeProxy
from actors.network.packet_cli import follow

Object = dict[str, Any]
CONTROLLERS = "serviceaccount-controller,endpoints-controller,endpointslice-controller,garbage-collector-controller"


class Cluster:
    """Control plane and one kube-proxy; the test is the kubelet."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        etcd = sim.spawn(Child("etcd", lambda: Etcd(EtcdConfig())))
        api = sim.spawn(Child("apiserver", lambda: ApiServer(ApiServerConfig(debug=True), etcd)))
        sim.spawn(Child("controllers", lambda: ControllerManager(api, Options(controllers=CONTROLLERS))))
        self.client = OutsideClient(sim, api)
        self.proxy = sim.spawn(Child("proxy", lambda: KubeProxy("a", api)))
        self.client.create("nodes", {"metadata": {"name": "a"}})
        addresses = [{"type": "InternalIP", "address": "192.168.0.1"}]
        self.client.patch("nodes", "a", "", {"status": {"addresses": addresses}}, subresource="status")
        sim.advance(1.0)

    def pod(self, name: str, ip: str, ready: bool = True, **labels: str) -> None:
        spec = {"nodeName": "a", "containers": [{"name": "c", "image": "i"}]}
        self.client.create("pods", {"metadata": {"name": name, "labels": labels}, "spec": spec}, "default")
        self.ready(name, ip, ready)

    def ready(self, name: str, ip: str, ready: bool) -> None:
        status = {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        }
        self.client.patch("pods", name, "default", {"status": status}, subresource="status")

    def reach(self, target: str = "web:80") -> str:
        self.sim.advance(1.0)
        words = {"Node": "nodes", "Service": "services", "EndpointSlice": "endpointslices", "Pod": "pods"}
        objects = [{"kind": kind, **item} for kind, word in words.items() for item in self.client.list(word)]
        return follow(objects, "client", target).lines()[-1]

    def rules(self) -> str:
        self.sim.advance(1.0)
        text: str = self.sim.ask(self.proxy, GetRules())
        return text


@pytest.fixture
def cluster(sim: Simulation) -> Cluster:
    found = Cluster(sim)
    found.pod("client", "10.244.0.9")
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    found.client.create("services", {"metadata": {"name": "web"}, "spec": spec}, "default")
    return found


def test_each_change_of_a_service_and_its_pods_reaches_the_rules_and_the_packet(cluster: Cluster) -> None:
    assert cluster.reach() == "rejected on a"
    cluster.pod("one", "10.244.0.1", ready=False, app="web")
    assert cluster.reach() == "rejected on a", "not ready yet"
    cluster.ready("one", "10.244.0.1", True)
    assert cluster.reach().startswith("delivered to pod default/one")
    assert "--to-destination 10.244.0.1:8080" in cluster.rules()

    cluster.pod("two", "10.244.0.2", app="web")
    cluster.client.delete("pods", "one", "default", grace_period_s=0)
    assert cluster.reach().startswith("delivered to pod default/two")
    assert "10.244.0.1:" not in cluster.rules()

    cluster.pod("other", "10.244.0.3", app="other")
    cluster.client.patch("services", "web", "default", {"spec": {"selector": {"app": "other"}}})
    assert cluster.reach().startswith("delivered to pod default/other")

    cluster.client.patch("services", "web", "default", {"spec": {"type": "NodePort"}})
    port = cluster.client.get("services", "web", "default")["spec"]["ports"][0]["nodePort"]
    assert cluster.reach(f"node/a:{port}").startswith("delivered to pod default/other")

    cluster.client.delete("services", "web", "default")
    assert "default/web" not in cluster.rules()
    assert cluster.client.list("endpointslices", label_selector="kubernetes.io/service-name=web") == []
    assert [e for e in cluster.client.list("endpoints", "default") if e["metadata"]["name"] == "web"] == []
