"""Endpoints and EndpointSlices follow Services and pods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Object = dict[str, Any]
CONTROLLERS = "endpoints-controller,endpointslice-controller"


class Services:
    """A plane with two nodes, and pods whose state the test sets."""

    def __init__(self, plane: Callable[..., Any]) -> None:
        self.plane = plane(CONTROLLERS)
        for name, zone in (("n1", "z1"), ("n2", "z2")):
            self.plane.create("nodes", {"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}})
            ready = [{"type": "Ready", "status": "True"}]
            self.plane.set_status("nodes", name, {"allocatable": {"cpu": "4"}, "conditions": ready})

    def pod(
        self, name: str, ip: str = "", ready: bool = True, node: str = "n1", port: int = 8080, **labels: str
    ) -> None:
        container = {"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": port}]}
        spec = {"nodeName": node, "containers": [container]}
        self.plane.create("pods", {"metadata": {"name": name, "labels": labels or {"app": "s"}}, "spec": spec})
        if ip:
            self.state(name, ip, ready)

    def state(self, name: str, ip: str, ready: bool, phase: str = "Running") -> None:
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": self.plane.sim.clock.rfc3339()}
        status = {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [condition]}
        self.plane.set_status("pods", name, status)

    def service(self, name: str = "s", meta: Object | None = None, **spec: Any) -> None:
        base: Object = {"selector": {"app": "s"}, "ports": [{"port": 80, "targetPort": "http"}]}
        if spec.get("type") != "ExternalName":
            base.update(ipFamilies=["IPv4"], clusterIP="10.96.0.77")
        self.plane.create("services", {"metadata": {"name": name, **(meta or {})}, "spec": {**base, **spec}})

    def slices(self, service: str = "s") -> list[Object]:
        found: list[Object] = self.plane.list("endpointslices", label_selector=f"kubernetes.io/service-name={service}")
        return found

    def endpoints(self, service: str = "s") -> dict[str, tuple[bool, bool, bool]]:
        """pod -> ready, serving, terminating."""
        return {
            e["targetRef"]["name"]: tuple(e["conditions"][k] for k in ("ready", "serving", "terminating"))
            for s in self.slices(service)
            for e in s.get("endpoints") or ()
        }

    def subsets(self, service: str = "s") -> list[Object]:
        found = self.plane.get("endpoints", service)
        return (found or {}).get("subsets") or []

    def settle(self) -> None:
        self.plane.sim.advance(1.0)


@pytest.fixture
def services(plane: Callable[..., Any]) -> Services:
    return Services(plane)


def test_ready_and_unready_pods_are_told_apart(services: Services) -> None:
    services.pod("up", "10.0.0.1")
    services.pod("down", "10.0.0.2", ready=False)
    services.service()
    services.settle()
    assert services.endpoints() == {"up": (True, True, False), "down": (False, False, False)}
    (subset,) = services.subsets()
    assert [a["ip"] for a in subset["addresses"]] == ["10.0.0.1"]
    assert [a["targetRef"]["name"] for a in subset["notReadyAddresses"]] == ["down"]
    assert subset["ports"] == [{"port": 8080, "protocol": "TCP"}]


def test_slices_carry_zone_node_and_the_service_as_owner(services: Services) -> None:
    services.pod("up", "10.0.0.1", node="n2")
    services.service(meta={"labels": {"team": "a"}})
    services.settle()
    (only,) = services.slices()
    assert only["endpoints"][0]["zone"] == "z2"
    assert only["endpoints"][0]["nodeName"] == "n2"
    assert only["metadata"]["generateName"] == "s-"
    assert only["metadata"]["labels"]["team"] == "a"
    owner = only["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Service", "s", True)


def test_a_pod_that_turns_ready_moves_over(services: Services) -> None:
    services.pod("p", "10.0.0.1", ready=False)
    services.service()
    services.settle()
    services.state("p", "10.0.0.1", True)
    services.settle()
    assert services.endpoints() == {"p": (True, True, False)}
    assert "notReadyAddresses" not in services.subsets()[0]


def test_a_finished_pod_is_no_endpoint(services: Services) -> None:
    services.pod("p", "10.0.0.1")
    services.service()
    services.settle()
    services.state("p", "10.0.0.1", False, phase="Succeeded")
    services.settle()
    assert services.endpoints() == {}
    assert services.subsets() == []


def test_a_service_without_pods_keeps_one_empty_slice(services: Services) -> None:
    services.service()
    services.settle()
    (first,) = services.slices()
    assert not first.get("endpoints")
    services.pod("p", "10.0.0.1")
    services.settle()
    (second,) = services.slices()
    assert second["metadata"]["name"] == first["metadata"]["name"]
    services.plane.delete("pods", "p", grace_period_s=0)
    services.settle()
    (third,) = services.slices()
    assert not third.get("endpoints")


def test_a_named_port_with_two_numbers_makes_two_slices_and_subsets(services: Services) -> None:
    services.pod("a", "10.0.0.1", port=8080)
    services.pod("b", "10.0.0.2", port=9090)
    services.service()
    services.settle()
    assert sorted(s["ports"][0]["port"] for s in services.slices()) == [8080, 9090]
    assert sorted(s["ports"][0]["port"] for s in services.subsets()) == [8080, 9090]


def test_publishing_early_makes_unready_pods_ready_but_not_serving(services: Services) -> None:
    services.pod("p", "10.0.0.1", ready=False)
    services.service(clusterIP="None", publishNotReadyAddresses=True)
    services.settle()
    assert services.endpoints() == {"p": (True, False, False)}
    assert services.subsets()[0]["addresses"][0]["ip"] == "10.0.0.1"
    assert services.slices()[0]["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


@pytest.mark.parametrize("spec", [{"selector": None}, {"type": "ExternalName", "externalName": "example.com"}])
def test_services_without_selector_and_external_names_get_nothing(services: Services, spec: Object) -> None:
    services.pod("p", "10.0.0.1")
    services.service(**spec)
    services.settle()
    assert services.slices() == []
    assert services.plane.get("endpoints", "s") is None


def test_a_changed_selector_changes_the_endpoints(services: Services) -> None:
    services.pod("a", "10.0.0.1", app="s")
    services.pod("b", "10.0.0.2", app="t")
    services.service()
    services.settle()
    services.plane.patch("services", "s", {"spec": {"selector": {"app": "t"}}})
    services.settle()
    assert list(services.endpoints()) == ["b"]
    assert services.subsets()[0]["addresses"][0]["ip"] == "10.0.0.2"


def test_deleting_the_service_deletes_its_endpoints(services: Services) -> None:
    services.service()
    services.settle()
    services.plane.delete("services", "s")
    services.settle()
    assert services.plane.get("endpoints", "s") is None


def test_deleted_endpoints_and_slices_come_back(services: Services) -> None:
    services.pod("p", "10.0.0.1")
    services.service()
    services.settle()
    services.plane.delete("endpoints", "s")
    services.plane.delete("endpointslices", services.slices()[0]["metadata"]["name"])
    services.settle()
    assert services.subsets()
    assert list(services.endpoints()) == ["p"]


def test_a_pod_of_an_unknown_node_waits_for_the_node(services: Services) -> None:
    services.pod("p", "10.0.0.1", node="n3")
    services.service()
    services.settle()
    assert services.endpoints() == {}
    services.plane.create("nodes", {"metadata": {"name": "n3"}})
    services.plane.sim.advance(3.0)
    assert list(services.endpoints()) == ["p"]


def test_more_than_a_hundred_pods_are_spread_over_slices_without_duplicates(services: Services) -> None:
    for i in range(101):
        services.pod(f"p{i}", f"10.0.{i // 200}.{i % 200 + 1}")
    services.service()
    services.settle()
    assert sorted(len(s["endpoints"]) for s in services.slices()) == [1, 100]
    assert len(services.endpoints()) == 101


def test_endpoints_object_says_who_manages_it_and_when_it_changed(services: Services) -> None:
    services.pod("p", "10.0.0.1")
    services.service()
    services.settle()
    meta = services.plane.get("endpoints", "s")["metadata"]
    assert meta["labels"] == {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    assert list(meta["annotations"]) == ["endpoints.kubernetes.io/last-change-trigger-time"]


@pytest.mark.parametrize(
    ("distribution", "hints"),
    [
        ("PreferClose", {"forZones": [{"name": "z1"}]}),
        ("PreferSameZone", {"forZones": [{"name": "z1"}]}),
        ("PreferSameNode", {"forZones": [{"name": "z1"}], "forNodes": [{"name": "n1"}]}),
    ],
)
def test_traffic_distribution_gives_hints_and_its_end_takes_them(
    services: Services, distribution: str, hints: Object
) -> None:
    services.pod("p", "10.0.0.1")
    services.service(trafficDistribution=distribution)
    services.settle()
    assert services.slices()[0]["endpoints"][0]["hints"] == hints
    services.plane.patch("services", "s", {"spec": {"trafficDistribution": None}})
    services.settle()
    assert "hints" not in services.slices()[0]["endpoints"][0]


def test_automatic_hints_need_an_endpoint_for_each_zone(services: Services) -> None:
    services.pod("a", "10.0.0.1")
    services.service(meta={"annotations": {"service.kubernetes.io/topology-mode": "Auto"}})
    services.settle()
    assert services.plane.events("TopologyAwareHintsDisabled") == [
        "Warning TopologyAwareHintsDisabled Service/s: Insufficient number of endpoints (1 endpoints, 2 zones), "
        "addressType: IPv4"
    ]
    services.pod("b", "10.0.0.2", node="n2")
    services.settle()
    assert [e["hints"]["forZones"][0]["name"] for e in services.slices()[0]["endpoints"]] == ["z1", "z2"]
    assert services.plane.events("TopologyAwareHintsEnabled") == [
        "Normal TopologyAwareHintsEnabled Service/s: Topology Aware Hints has been enabled, addressType: IPv4"
    ]


def test_endpoints_are_right_after_the_controllers_crash(services: Services) -> None:
    services.service()
    services.pod("a", "10.0.0.1")
    services.settle()
    services.plane.sim.crash(services.plane.manager, restart_after_s=5.0)
    services.pod("b", "10.0.0.2")
    services.plane.delete("pods", "a", grace_period_s=0)
    services.plane.sim.advance(10.0)
    assert list(services.endpoints()) == ["b"]
    assert [a["targetRef"]["name"] for a in services.subsets()[0]["addresses"]] == ["b"]


def test_endpoints_that_people_write_without_a_service_are_left_alone(services: Services) -> None:
    subsets = [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 80}]}]
    services.plane.create("endpoints", {"metadata": {"name": "own"}, "subsets": subsets})
    services.settle()
    assert services.subsets("own") == [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 80, "protocol": "TCP"}]}]


def test_endpoints_of_a_service_that_went_while_the_controllers_were_down_go_too(services: Services) -> None:
    services.service()
    services.settle()
    services.plane.sim.crash(services.plane.manager, restart_after_s=5.0)
    services.plane.delete("services", "s")
    services.plane.sim.advance(10.0)
    assert services.plane.get("endpoints", "s") is None
