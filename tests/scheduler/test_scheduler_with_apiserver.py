"""The scheduler against the real API server and store, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from actors.apiserver import ApiServer, ApiServerConfig
from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Child, Ref, Simulation
from actors.scheduler import Scheduler
from protocol.api import ApiRequest, Resource

Object = dict[str, Any]
RESOURCES = {"nodes": Resource("", "v1", "nodes"), "pods": Resource("", "v1", "pods"), "events": Resource("", "v1", "events")}


class Plane:
    def __init__(self, seed: int) -> None:
        self.sim = Simulation(seed=seed)
        etcd = self.sim.spawn(Child("etcd", lambda: Etcd(EtcdConfig())))
        config = ApiServerConfig(admission=(), debug=True)
        self.api: Ref = self.sim.spawn(Child("apiserver", lambda: ApiServer(config, etcd)))
        self.scheduler: Ref = self.sim.spawn(Child("scheduler", lambda: Scheduler(self.api)))
        self.sim.advance(2)

    def ask(self, verb: str, what: str, name: str = "", body: Any = None) -> Any:
        namespace = "" if what == "nodes" else "default"
        return self.sim.ask(self.api, ApiRequest(verb, RESOURCES[what], namespace, name, "", body))

    def node(self, name: str, cpu: str) -> None:
        offered = {"cpu": cpu, "memory": "4Gi", "pods": "10"}
        meta = {"name": name, "labels": {"topology.kubernetes.io/zone": "z1"}}
        self.ask("create", "nodes", body={"apiVersion": "v1", "kind": "Node", "metadata": meta, "status": {"allocatable": offered, "capacity": offered}})

    def pod(self, name: str, cpu: str, **spec: Any) -> None:
        container = {"name": "c", "image": "nginx", "resources": {"requests": {"cpu": cpu}}}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec}}
        self.ask("create", "pods", body=body)

    def condition(self, name: str) -> Object:
        conditions = self.ask("get", "pods", name).get("status", {}).get("conditions") or []
        return next((c for c in conditions if c["type"] == "PodScheduled"), {})


@pytest.mark.parametrize("seed", range(3))
def test_placing_waiting_and_preempting_as_the_api_shows_it(seed: int) -> None:
    plane = Plane(seed)
    plane.node("a", "2")
    for i in range(3):
        plane.pod(f"p{i}", "1")
    plane.sim.advance(3)
    pods = plane.ask("list", "pods")["items"]
    assert [p["spec"].get("nodeName") for p in pods].count("a") == 2
    waiting = next(p["metadata"]["name"] for p in pods if not p["spec"].get("nodeName"))
    condition = plane.condition(waiting)
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert condition["message"].startswith("0/1 nodes are available: 1 Insufficient cpu.")
    plane.pod("high", "1", priority=1000)
    plane.sim.advance(10)
    high = plane.ask("get", "pods", "high")
    assert high["spec"]["nodeName"] == "a"
    assert "nominatedNodeName" not in high["status"]
    assert plane.condition("high")["status"] == "True"
    events = {(e["reason"], e["involvedObject"]["name"]) for e in plane.ask("list", "events")["items"]}
    assert {("Scheduled", "high"), ("FailedScheduling", "high"), ("FailedScheduling", waiting)} <= events
    assert [reason for reason, _ in events].count("Preempted") == 1


def test_a_crashed_api_server_loses_no_pod() -> None:
    plane = Plane(0)
    plane.node("a", "4")
    plane.pod("before", "1")
    plane.sim.advance(2)
    plane.sim.crash(plane.api)
    plane.sim.advance(5)
    plane.pod("after", "1")
    plane.sim.advance(30)
    assert [p["spec"].get("nodeName") for p in plane.ask("list", "pods")["items"]] == ["a", "a"]
