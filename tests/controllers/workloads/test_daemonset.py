"""The DaemonSet controller, on a real API server."""

from __future__ import annotations

from typing import Any

CONTROLLERS = "daemonset-controller"


def add_node(world: Any, name: str, taints: list[dict[str, str]] | None = None, **labels: str) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
    world.create("nodes", node)
    world.patch("nodes", name, {"spec": {"taints": taints}})  # without the taint of a new node


def where(world: Any) -> list[str]:
    return sorted(p["spec"].get("nodeName", "") for p in world.pods(app="ds"))


def status(world: Any) -> dict[str, Any]:
    found: dict[str, Any] = world.get("daemonsets", "ds").get("status") or {}
    return found


def set_image(world: Any, image: str) -> None:
    body = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    world.patch("daemonsets", "ds", body)


def test_every_node_gets_a_pod_and_new_nodes_too(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    add_node(world, "a")
    add_node(world, "b")
    world.create("daemonsets", workload("DaemonSet", "ds"))
    world.eventually(lambda: where(world) == ["a", "b"])
    add_node(world, "c")
    world.eventually(lambda: where(world) == ["a", "b", "c"])
    world.eventually(lambda: status(world).get("numberAvailable") == 3)
    assert status(world) == {
        "currentNumberScheduled": 3,
        "desiredNumberScheduled": 3,
        "numberAvailable": 3,
        "numberMisscheduled": 0,
        "numberReady": 3,
        "observedGeneration": 1,
        "updatedNumberScheduled": 3,
    }
    pod = world.pods(app="ds")[0]
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms["nodeSelectorTerms"] == [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [pod["spec"]["nodeName"]]}]}
    ]


def test_selectors_and_taints_decide_which_nodes(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    taint = {"key": "only", "value": "x", "effect": "NoSchedule"}
    add_node(world, "plain", zone="b")
    add_node(world, "tainted", [taint], zone="b")
    add_node(world, "elsewhere", zone="a")
    daemon = workload("DaemonSet", "ds")
    daemon["spec"]["template"]["spec"]["nodeSelector"] = {"zone": "b"}
    world.create("daemonsets", daemon)
    world.eventually(lambda: where(world) == ["plain"])
    world.patch("nodes", "tainted", {"spec": {"taints": None}})
    world.eventually(lambda: where(world) == ["plain", "tainted"])
    unschedulable = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    world.patch("nodes", "tainted", {"spec": {"unschedulable": True, "taints": [unschedulable]}})
    world.sim.advance(2)
    assert where(world) == ["plain", "tainted"]
    world.patch("nodes", "plain", {"metadata": {"labels": {"zone": "a"}}})
    world.eventually(lambda: where(world) == ["tainted"])


def test_an_update_takes_one_node_down_at_a_time(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    for name in "abc":
        add_node(world, name)
    world.create("daemonsets", workload("DaemonSet", "ds"))
    world.eventually(lambda: status(world).get("numberAvailable") == 3)
    set_image(world, "nginx:2")
    least = 3
    for _ in range(150):
        world.sim.advance(0.01)
        least = min(least, sum(p["status"].get("phase") == "Running" for p in world.pods(app="ds")))
    assert least == 2
    assert {p["spec"]["containers"][0]["image"] for p in world.pods(app="ds")} == {"nginx:2"}
    assert sorted(r["revision"] for r in world.list("controllerrevisions")) == [1, 2]


def test_with_surge_the_new_pod_comes_before_the_old_one_goes(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    for name in "ab":
        add_node(world, name)
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    world.create("daemonsets", workload("DaemonSet", "ds", updateStrategy=strategy))
    world.eventually(lambda: status(world).get("numberAvailable") == 2)
    set_image(world, "nginx:2")
    least, most = 9, 0
    for _ in range(200):
        world.sim.advance(0.01)
        up = [p for p in world.pods(app="ds") if p["status"].get("phase") == "Running"]
        least, most = min(least, len(up)), max(most, len(world.pods(app="ds")))
    assert (least, most) == (2, 3)
    assert {p["spec"]["containers"][0]["image"] for p in world.pods(app="ds")} == {"nginx:2"}


def test_a_failed_pod_is_replaced(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    add_node(world, "a")
    world.create("daemonsets", workload("DaemonSet", "ds"))
    world.eventually(lambda: status(world).get("numberAvailable") == 1)
    failed = world.pods(app="ds")[0]["metadata"]["name"]
    world.set_status("pods", failed, {"phase": "Failed"})
    world.eventually(lambda: world.get("pods", failed) is None and where(world) == ["a"])
    assert world.events("FailedDaemonPod") == [
        f"Warning FailedDaemonPod DaemonSet/ds: Found failed daemon pod default/{failed} on node a,"
        " will try to kill it"
    ]


def test_on_delete_waits_for_pods_to_be_deleted(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    add_node(world, "a")
    world.create("daemonsets", workload("DaemonSet", "ds", updateStrategy={"type": "OnDelete"}))
    world.eventually(lambda: status(world).get("numberAvailable") == 1)
    set_image(world, "nginx:2")
    world.sim.advance(3)
    (pod,) = world.pods(app="ds")
    assert pod["spec"]["containers"][0]["image"] == "nginx:1"
    world.delete("pods", pod["metadata"]["name"])
    world.eventually(
        lambda: [p["spec"]["containers"][0]["image"] for p in world.pods(app="ds")] == ["nginx:2"]
    )
