"""The ReplicaSet and ReplicationController controllers, on a real API server."""

from __future__ import annotations

from typing import Any

from actors.controllers._pods import deletion_order


def test_a_deleted_pod_is_replaced(running: Any, workload: Any) -> None:
    world = running("replicaset-controller")
    world.create("replicasets", workload("ReplicaSet", "rs", 3))
    world.eventually(lambda: len(world.pods(app="rs")) == 3)
    gone = world.pods(app="rs")[0]["metadata"]["name"]
    world.delete("pods", gone)
    world.eventually(lambda: world.get("pods", gone) is None and len(world.pods(app="rs")) == 3)
    status = world.eventually(lambda: (s := world.get("replicasets", "rs")["status"]).get("readyReplicas") == 3 and s)
    assert status == {
        "replicas": 3,
        "fullyLabeledReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "terminatingReplicas": 0,
        "observedGeneration": 1,
    }


def test_orphans_that_match_are_adopted_and_pods_that_do_not_any_more_are_let_go(
    running: Any, workload: Any, template: Any
) -> None:
    world = running("replicaset-controller")
    stray = {"apiVersion": "v1", "kind": "Pod", **template("rs")}
    stray["metadata"]["name"] = "stray"
    world.create("pods", stray)
    world.create("replicasets", workload("ReplicaSet", "rs", 2))
    world.eventually(lambda: len(world.pods(app="rs")) == 2)
    world.sim.advance(1)
    assert len(world.pods(app="rs")) == 2
    owner = world.get("pods", "stray")["metadata"]["ownerReferences"]
    assert [(o["kind"], o["name"], o["controller"]) for o in owner] == [("ReplicaSet", "rs", True)]
    world.patch("pods", "stray", {"metadata": {"labels": {"app": "other"}}})
    world.eventually(lambda: len(world.pods(app="rs")) == 2)
    world.eventually(lambda: not world.get("pods", "stray")["metadata"].get("ownerReferences"))


def test_the_pod_that_never_started_is_the_one_to_go(
    running: Any, workload: Any, template: Any
) -> None:
    world = running("replicaset-controller")
    world.create("replicasets", workload("ReplicaSet", "rs", 2))
    world.eventually(lambda: world.get("replicasets", "rs")["status"].get("readyReplicas") == 2)
    world.rules.ready = lambda pod: pod["metadata"]["name"] != "late"
    late = {"apiVersion": "v1", "kind": "Pod", **template("rs")}
    late["metadata"]["name"] = "late"
    world.create("pods", late)
    world.eventually(lambda: world.get("pods", "late") is None)
    assert world.events("SuccessfulDelete") == [
        "Normal SuccessfulDelete ReplicaSet/rs: Deleted pod: late"
    ]


def test_a_replication_controller_keeps_its_pods_too(running: Any, template: Any) -> None:
    world = running("replicationcontroller-controller")
    rc = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "rc"},
        "spec": {"replicas": 2, "selector": {"app": "rc"}, "template": template("rc")},
    }
    world.create("replicationcontrollers", rc)
    world.eventually(lambda: len(world.pods(app="rc")) == 2)
    world.patch("replicationcontrollers", "rc", {"spec": {"replicas": 1}})
    world.eventually(lambda: len(world.pods(app="rc")) == 1)
    status = world.eventually(
        lambda: (s := world.get("replicationcontrollers", "rc")["status"]).get("replicas") == 1 and s
    )
    assert status["observedGeneration"] == 2


def test_hundreds_of_pods_are_made_without_one_too_many(running: Any, workload: Any) -> None:
    world = running("replicaset-controller")
    world.create("replicasets", workload("ReplicaSet", "rs", 600))
    world.eventually(lambda: world.get("replicasets", "rs")["status"].get("replicas") == 600)
    made = {p["metadata"]["name"] for p in world.list("pods", "default")}
    assert len(made) == 600
    world.sim.advance(2)
    assert {p["metadata"]["name"] for p in world.list("pods", "default")} == made


def pod(name: str, node: str = "n", ready: str = "", **more: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": ready}] if ready else []
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "creationTimestamp": more.pop("created", "2026-01-01T00:00:00Z"),
            "annotations": more.pop("annotations", {}),
        },
        "spec": {"nodeName": node},
        "status": {"phase": more.pop("phase", "Running"), "conditions": conditions, **more},
    }


def test_the_order_in_which_pods_are_given_up() -> None:
    old, new = "2026-01-01T00:00:00Z", "2026-01-01T09:00:00Z"
    restarted = [{"name": "c", "restartCount": 5}]
    cost = "controller.kubernetes.io/pod-deletion-cost"
    wanted = [
        pod("unassigned", node=""),
        pod("pending", phase="Pending"),
        pod("unknown", phase="Unknown"),
        pod("unready"),
        pod("cheap", ready=old, annotations={cost: "-5"}),
        pod("crowded", node="full", ready=old),
        pod("new", ready=new),
        pod("restarted", ready=old, containerStatuses=restarted),
        pod("young", ready=old, created=new),
        pod("last", ready=old),
        pod("dear", node="full", ready=old, annotations={cost: "5"}),
    ]
    crowd = {"full": 3, "n": 1}
    ordered = deletion_order(list(reversed(wanted)), lambda n: crowd.get(n, 0), 1767258000.0)
    assert [p["metadata"]["name"] for p in ordered] == [p["metadata"]["name"] for p in wanted]
