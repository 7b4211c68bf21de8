"""Nodes that fall silent: conditions, taints, eviction, and their return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Object = dict[str, Any]
CONTROLLERS = "node-lifecycle-controller,taint-eviction-controller,pod-garbage-collector-controller,ttl-controller"
UNREACHABLE, NOT_READY = "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"


class Nodes:
    """A plane whose kubelets are the test: they renew leases and post status."""

    def __init__(self, plane: Callable[..., Any], count: int = 3, **options: Any) -> None:
        self.plane = plane(CONTROLLERS, node_monitor_grace_period=16.0, **options)
        self.names = [f"n{i}" for i in range(count)]
        for name in self.names:
            labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
            self.plane.create("nodes", {"metadata": {"name": name, "labels": labels}})
            self.post(name)

    def post(self, name: str, ready: str = "True") -> None:
        now = self.plane.sim.clock.rfc3339()
        types = {"Ready": ready, "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
        conditions = [
            {"type": t, "status": s, "lastHeartbeatTime": now, "lastTransitionTime": now, "reason": "R", "message": "m"}
            for t, s in types.items()
        ]
        self.plane.set_status("nodes", name, {"conditions": conditions})

    def renew(self, *names: str) -> None:
        for name in names:
            spec = {
                "holderIdentity": name,
                "renewTime": self.plane.sim.clock.rfc3339_micro(),
                "leaseDurationSeconds": 40,
            }
            if self.plane.get("leases", name, "kube-node-lease") is None:
                self.plane.create("leases", {"metadata": {"name": name}, "spec": spec}, "kube-node-lease")
            else:
                self.plane.patch("leases", name, {"spec": spec}, "kube-node-lease")

    def live(self, seconds: float, *silent: str) -> None:
        """Let time pass while all but `silent` renew their leases."""
        for _ in range(int(seconds / 5)):
            self.renew(*(n for n in self.names if n not in silent))
            self.plane.sim.advance(5.0)

    def pod(self, name: str, node: str = "n0", tolerations: list[Object] | None = None) -> None:
        spec: Object = {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}
        if tolerations is not None:
            spec["tolerations"] = tolerations
        self.plane.create("pods", {"metadata": {"name": name}, "spec": spec})
        conditions = [{"type": t, "status": "True"} for t in ("Ready", "ContainersReady")]
        self.plane.set_status("pods", name, {"phase": "Running", "conditions": conditions})

    def taints(self, name: str) -> list[str]:
        node = self.plane.get("nodes", name)
        return sorted(f"{t['key']}:{t['effect']}" for t in node["spec"].get("taints") or ())

    def conditions(self, name: str) -> dict[str, tuple[str, str, str]]:
        node = self.plane.get("nodes", name)
        return {c["type"]: (c["status"], c["reason"], c["message"]) for c in node["status"]["conditions"]}


@pytest.fixture
def nodes(plane: Callable[..., Any]) -> Nodes:
    return Nodes(plane)


def tolerate(seconds: int | None, *keys: str) -> list[Object]:
    extra = {} if seconds is None else {"tolerationSeconds": seconds}
    return [{"key": k, "operator": "Exists", "effect": "NoExecute", **extra} for k in keys]


def test_renewed_leases_keep_nodes_ready(nodes: Nodes) -> None:
    nodes.live(120.0)
    assert all(nodes.conditions(n)["Ready"][0] == "True" for n in nodes.names)
    assert all(nodes.taints(n) == [] for n in nodes.names)


def test_a_silent_node_is_unknown_tainted_and_its_pods_not_ready(nodes: Nodes) -> None:
    nodes.pod("patient", tolerations=tolerate(300, UNREACHABLE, NOT_READY))
    nodes.live(10.0)
    nodes.live(40.0, "n0")
    unknown = ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
    assert set(nodes.conditions("n0").values()) == {unknown}
    assert nodes.taints("n0") == [f"{UNREACHABLE}:NoExecute", f"{UNREACHABLE}:NoSchedule"]
    pod = nodes.plane.get("pods", "patient")
    assert {c["type"]: c["status"] for c in pod["status"]["conditions"]} == {
        "Ready": "False",
        "ContainersReady": "True",
    }
    assert "deletionTimestamp" not in pod["metadata"]
    assert nodes.plane.events("NodeNotReady") == [
        "Normal NodeNotReady Node/n0: Node n0 status is now: NodeNotReady",
        "Warning NodeNotReady Pod/patient: Node is not ready",
    ]


def test_a_pod_leaves_after_its_toleration_seconds(nodes: Nodes) -> None:
    nodes.pod("brief", tolerations=tolerate(2, UNREACHABLE, NOT_READY))
    nodes.live(40.0, "n0")
    pod = nodes.plane.get("pods", "brief")
    assert pod["metadata"]["deletionTimestamp"]
    target = pod["status"]["conditions"][-1]
    assert (target["type"], target["observedGeneration"]) == ("DisruptionTarget", 1)
    assert (target["status"], target["reason"]) == ("True", "DeletionByTaintManager")
    assert target["message"] == "Taint manager: deleting due to NoExecute taint"
    assert nodes.plane.events("TaintManagerEviction") == [
        "Normal TaintManagerEviction Pod/brief: Marking for deletion Pod default/brief"
    ]


def test_a_node_that_returns_loses_its_taints_and_evictions_are_cancelled(nodes: Nodes) -> None:
    nodes.pod("patient", tolerations=tolerate(300, UNREACHABLE, NOT_READY))
    nodes.live(40.0, "n0")
    assert nodes.taints("n0")
    nodes.post("n0")
    nodes.live(10.0)
    assert nodes.taints("n0") == []
    nodes.live(320.0)
    assert "deletionTimestamp" not in nodes.plane.get("pods", "patient")["metadata"]
    assert "Cancelling deletion of Pod default/patient" in " ".join(nodes.plane.events("TaintManagerEviction"))


def test_a_kubelet_that_reports_not_ready_gets_the_other_taint(nodes: Nodes) -> None:
    nodes.live(10.0)
    nodes.post("n0", ready="False")
    nodes.live(15.0)
    assert nodes.taints("n0") == [f"{NOT_READY}:NoExecute", f"{NOT_READY}:NoSchedule"]
    nodes.live(40.0, "n0")
    assert nodes.taints("n0") == [f"{UNREACHABLE}:NoExecute", f"{UNREACHABLE}:NoSchedule"]


def test_when_all_nodes_fall_silent_nobody_is_evicted(nodes: Nodes) -> None:
    nodes.pod("brief", tolerations=tolerate(1, UNREACHABLE, NOT_READY))
    nodes.live(10.0)
    nodes.live(120.0, *nodes.names)
    assert all(f"{UNREACHABLE}:NoExecute" not in nodes.taints(n) for n in nodes.names)
    assert "deletionTimestamp" not in nodes.plane.get("pods", "brief")["metadata"]
    nodes.post("n1")
    nodes.live(60.0, "n0", "n2")
    assert f"{UNREACHABLE}:NoExecute" in nodes.taints("n0")
    assert nodes.plane.get("pods", "brief")["metadata"].get("deletionTimestamp")


def test_nodes_of_a_zone_are_tainted_one_in_ten_seconds(plane: Callable[..., Any]) -> None:
    nodes = Nodes(plane, 8)
    nodes.live(10.0)
    silent = ("n0", "n1", "n2")
    tainted = []
    for _ in range(12):
        nodes.live(5.0, *silent)
        tainted.append(sum(f"{UNREACHABLE}:NoExecute" in nodes.taints(n) for n in silent))
    assert tainted[-1] == 3
    assert tainted[tainted.index(1) + 1] == 1, "the second follows ten seconds after the first"


def test_a_controller_that_was_cut_off_does_not_take_it_out_on_the_nodes(nodes: Nodes) -> None:
    nodes.live(10.0)
    nodes.plane.sim.partition("controllers", "apiserver")
    nodes.live(100.0)
    nodes.plane.sim.heal()
    for _ in range(12):
        nodes.live(5.0)
        assert all(nodes.conditions(n)["Ready"][0] == "True" for n in nodes.names)
    assert nodes.plane.events("NodeNotReady") == []
    nodes.live(40.0, "n0")
    assert nodes.conditions("n0")["Ready"][0] == "Unknown", "and it still notices who is silent"


def test_nobody_is_evicted_for_a_taint_that_went_while_the_controllers_were_cut_off(nodes: Nodes) -> None:
    nodes.pod("patient", tolerations=tolerate(20, "mine"))
    nodes.live(5.0)
    taint = {"key": "mine", "value": "x", "effect": "NoExecute"}
    nodes.plane.patch("nodes", "n0", {"spec": {"taints": [taint]}})
    nodes.live(5.0)
    nodes.plane.sim.partition("controllers", "apiserver")
    nodes.live(5.0)
    nodes.plane.patch("nodes", "n0", {"spec": {"taints": None}})
    nodes.live(30.0)
    nodes.plane.sim.heal()
    nodes.live(120.0)
    assert "deletionTimestamp" not in nodes.plane.get("pods", "patient")["metadata"]


def test_a_kubelet_that_never_spoke_is_given_up_after_the_startup_grace(nodes: Nodes) -> None:
    nodes.plane.create("nodes", {"metadata": {"name": "mute"}})
    nodes.live(70.0)
    assert nodes.conditions("mute")["Ready"] == (
        "Unknown",
        "NodeStatusNeverUpdated",
        "Kubelet never posted node status.",
    )


def test_a_cordoned_node_gets_the_unschedulable_taint_and_loses_it(nodes: Nodes) -> None:
    nodes.plane.patch("nodes", "n0", {"spec": {"unschedulable": True}})
    nodes.live(5.0)
    assert nodes.taints("n0") == ["node.kubernetes.io/unschedulable:NoSchedule"]
    nodes.plane.patch("nodes", "n0", {"spec": {"unschedulable": None}})
    nodes.live(5.0)
    assert nodes.taints("n0") == []


def test_nodes_get_beta_labels_and_the_ttl_annotation(nodes: Nodes) -> None:
    nodes.live(5.0)
    meta = nodes.plane.get("nodes", "n0")["metadata"]
    assert meta["labels"]["beta.kubernetes.io/os"] == "linux"
    assert meta["labels"]["beta.kubernetes.io/arch"] == "amd64"
    assert meta["annotations"]["node.alpha.kubernetes.io/ttl"] == "0"


def test_an_untolerated_taint_of_a_person_evicts_at_once(nodes: Nodes) -> None:
    nodes.pod("a", tolerations=tolerate(None, "mine"))
    nodes.pod("b")
    nodes.live(5.0)
    nodes.plane.patch("nodes", "n0", {"spec": {"taints": [{"key": "mine", "value": "x", "effect": "NoExecute"}]}})
    nodes.live(5.0)
    assert "deletionTimestamp" not in nodes.plane.get("pods", "a")["metadata"]
    b = nodes.plane.get("pods", "b")
    assert b is None or b["metadata"]["deletionTimestamp"]


def test_pods_of_a_deleted_node_are_collected_within_a_minute_or_so(nodes: Nodes) -> None:
    nodes.pod("lost")
    nodes.live(5.0)
    nodes.plane.delete("nodes", "n0")
    nodes.names.remove("n0")
    nodes.live(30.0)
    assert nodes.plane.get("pods", "lost") is not None
    nodes.live(60.0)
    assert nodes.plane.get("pods", "lost") is None
    assert any("Removing Node n0 from Controller" in e for e in nodes.plane.events("RemovingNode"))


def test_finished_pods_above_the_threshold_go_oldest_first(plane: Callable[..., Any]) -> None:
    nodes = Nodes(plane, 1, terminated_pod_gc_threshold=2)
    for name in ("p0", "p1", "p2", "p3"):
        nodes.pod(name)
        nodes.plane.set_status("pods", name, {"phase": "Succeeded"})
        nodes.plane.sim.advance(2.0)
    nodes.live(25.0)
    assert sorted(p["metadata"]["name"] for p in nodes.plane.list("pods", "default")) == ["p2", "p3"]
