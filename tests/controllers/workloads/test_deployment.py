"""The Deployment controller with the ReplicaSet controller, on a real API server."""

from __future__ import annotations

from typing import Any

CONTROLLERS = "deployment-controller,replicaset-controller"
REVISION = "deployment.kubernetes.io/revision"


def available(running: Any, name: str) -> int:
    return int((running.get("deployments", name).get("status") or {}).get("availableReplicas", 0))


def sizes(running: Any) -> dict[str, int]:
    """Wanted pods by image."""
    return {
        rs["spec"]["template"]["spec"]["containers"][0]["image"]: rs["spec"]["replicas"]
        for rs in running.list("replicasets", "default")
    }


def set_image(running: Any, name: str, image: str) -> None:
    containers = [{"name": "c", "image": image}]
    body = {"spec": {"template": {"spec": {"containers": containers}}}}
    running.patch("deployments", name, body)


def conditions(running: Any, name: str) -> dict[str, tuple[str, str]]:
    found = running.get("deployments", name)["status"].get("conditions") or ()
    return {c["type"]: (c["status"], c["reason"]) for c in found}


def test_a_deployment_makes_a_replica_set_named_by_the_hash_of_its_template(
    running: Any, workload: Any
) -> None:
    world = running(CONTROLLERS)
    world.create("deployments", workload("Deployment", "web", 3))
    world.eventually(lambda: available(world, "web") == 3)
    (rs,) = world.list("replicasets", "default")
    code = rs["metadata"]["labels"]["pod-template-hash"]
    assert rs["metadata"]["name"] == f"web-{code}"
    assert rs["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": code}
    assert rs["metadata"]["annotations"] == {
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
        REVISION: "1",
    }
    world.sim.advance(2)
    assert conditions(world, "web") == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    assert world.events("ScalingReplicaSet") == [
        f"Normal ScalingReplicaSet Deployment/web: Scaled up replica set web-{code} from 0 to 3"
    ]
    status = world.get("deployments", "web")["status"]
    assert {k: v for k, v in status.items() if k != "conditions"} == {
        "availableReplicas": 3,
        "observedGeneration": 1,
        "readyReplicas": 3,
        "replicas": 3,
        "terminatingReplicas": 0,
        "updatedReplicas": 3,
    }


def test_a_rolling_update_keeps_its_bounds_at_every_moment(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    world.create("deployments", workload("Deployment", "web", 3, strategy=strategy))
    world.eventually(lambda: available(world, "web") == 3)
    set_image(world, "web", "nginx:2")
    for _ in range(400):
        world.sim.advance(0.01)
        pods = world.pods(app="web")
        ready = [p for p in pods if any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions") or ())]
        assert len(pods) <= 4
        assert len(ready) >= 3
        if sizes(world) == {"nginx:1": 0, "nginx:2": 3} and len(pods) == 3:
            break
    assert sizes(world) == {"nginx:1": 0, "nginx:2": 3}
    world.sim.advance(2)
    messages = {e.split("replica set ")[1].split(" ", 1)[1] for e in world.events("ScalingReplicaSet")}
    assert messages == {"from 0 to 3", "from 0 to 1", "from 3 to 2", "from 1 to 2", "from 2 to 1", "from 2 to 3", "from 1 to 0"}


def test_a_rollout_that_cannot_go_on_stops_at_its_bounds(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    world.rules.ready = lambda pod: pod["spec"]["containers"][0]["image"] != "nginx:broken"
    world.create("deployments", workload("Deployment", "web", 7))
    world.eventually(lambda: available(world, "web") == 7)
    set_image(world, "web", "nginx:broken")
    world.sim.advance(20)
    assert sizes(world) == {"nginx:1": 6, "nginx:broken": 3}
    assert conditions(world, "web")["Progressing"] == ("True", "ReplicaSetUpdated")


def test_lack_of_progress_is_reported_after_the_deadline(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    world.rules.ready = lambda pod: False
    world.create("deployments", workload("Deployment", "web", 1, progressDeadlineSeconds=30))
    world.sim.advance(25)
    assert conditions(world, "web")["Progressing"] == ("True", "ReplicaSetUpdated")
    world.sim.advance(10)
    assert conditions(world, "web")["Progressing"] == ("False", "ProgressDeadlineExceeded")


def test_scaling_in_mid_rollout_shares_out_in_proportion(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    world.rules.ready = lambda pod: pod["spec"]["containers"][0]["image"] != "nginx:broken"
    strategy = {"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    world.create("deployments", workload("Deployment", "web", 10, strategy=strategy))
    world.eventually(lambda: available(world, "web") == 10)
    set_image(world, "web", "nginx:broken")
    world.eventually(lambda: sizes(world) == {"nginx:1": 8, "nginx:broken": 5})
    world.patch("deployments", "web", {"spec": {"replicas": 15}})
    world.eventually(lambda: sizes(world) == {"nginx:1": 11, "nginx:broken": 7})
    annotations = [rs["metadata"]["annotations"] for rs in world.list("replicasets", "default")]
    assert {a["deployment.kubernetes.io/desired-replicas"] for a in annotations} == {"15"}
    assert {a["deployment.kubernetes.io/max-replicas"] for a in annotations} == {"18"}


def test_a_template_used_again_gets_a_new_revision_and_remembers_the_old(
    running: Any, workload: Any
) -> None:
    world = running(CONTROLLERS)
    world.create("deployments", workload("Deployment", "web", 1))
    world.eventually(lambda: available(world, "web") == 1)
    for image in ("nginx:2", "nginx:1"):
        set_image(world, "web", image)
        world.eventually(lambda: sizes(world).get(image) == 1 and sum(sizes(world).values()) == 1)  # noqa: B023
    world.sim.advance(1)
    revisions = {
        rs["spec"]["template"]["spec"]["containers"][0]["image"]: (
            rs["metadata"]["annotations"][REVISION],
            rs["metadata"]["annotations"].get("deployment.kubernetes.io/revision-history"),
        )
        for rs in world.list("replicasets", "default")
    }
    assert revisions == {"nginx:1": ("3", "1"), "nginx:2": ("2", None)}
    assert world.get("deployments", "web")["metadata"]["annotations"][REVISION] == "3"


def test_a_paused_deployment_scales_but_does_not_roll(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    world.create("deployments", workload("Deployment", "web", 2))
    world.eventually(lambda: available(world, "web") == 2)
    world.patch("deployments", "web", {"spec": {"paused": True}})
    set_image(world, "web", "nginx:2")
    world.patch("deployments", "web", {"spec": {"replicas": 4}})
    world.eventually(lambda: available(world, "web") == 4)
    assert sizes(world) == {"nginx:1": 4}
    assert conditions(world, "web")["Progressing"] == ("Unknown", "DeploymentPaused")
    world.patch("deployments", "web", {"spec": {"paused": False}})
    world.eventually(lambda: sizes(world) == {"nginx:1": 0, "nginx:2": 4})
    world.eventually(lambda: conditions(world, "web")["Progressing"] == ("True", "NewReplicaSetAvailable"))


def test_recreate_has_no_pod_of_the_new_template_beside_one_of_the_old(
    running: Any, workload: Any
) -> None:
    world = running(CONTROLLERS)
    world.create("deployments", workload("Deployment", "web", 3, strategy={"type": "Recreate"}))
    world.eventually(lambda: available(world, "web") == 3)
    set_image(world, "web", "nginx:2")
    for _ in range(300):
        world.sim.advance(0.01)
        images = {p["spec"]["containers"][0]["image"] for p in world.list("pods", "default")}
        assert len(images) <= 1
    assert available(world, "web") == 3


def test_pods_count_as_available_after_min_ready_seconds(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    world.create("deployments", workload("Deployment", "web", 2, minReadySeconds=10))
    world.sim.advance(8)
    assert world.get("deployments", "web")["status"]["readyReplicas"] == 2
    assert available(world, "web") == 0
    world.sim.advance(5)
    assert available(world, "web") == 2


def test_only_so_many_old_replica_sets_are_kept(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    world.create("deployments", workload("Deployment", "web", 1, revisionHistoryLimit=1))
    for image in ("nginx:2", "nginx:3", "nginx:4"):
        world.eventually(lambda: available(world, "web") == 1)
        set_image(world, "web", image)
        world.eventually(lambda: sizes(world).get(image) == 1 and sum(sizes(world).values()) == 1)  # noqa: B023
    world.eventually(lambda: sizes(world) == {"nginx:3": 0, "nginx:4": 1})


def test_a_replica_set_that_matches_is_adopted_and_used_as_it_is(
    running: Any, workload: Any
) -> None:
    world = running(CONTROLLERS)
    orphan = workload("ReplicaSet", "web", 2)
    orphan["metadata"] = {"name": "mine", "labels": {"app": "web"}}
    world.create("replicasets", orphan)
    world.eventually(lambda: len(world.pods(app="web")) == 2)
    world.create("deployments", workload("Deployment", "web", 2))
    world.eventually(lambda: available(world, "web") == 2)
    (rs,) = world.list("replicasets", "default")
    assert rs["metadata"]["name"] == "mine"
    assert rs["metadata"]["ownerReferences"][0]["name"] == "web"
    assert rs["metadata"]["labels"] == {"app": "web"}


def test_a_name_taken_by_another_template_is_counted_as_a_collision(
    running: Any, workload: Any
) -> None:
    world = running(CONTROLLERS)
    world.create("deployments", workload("Deployment", "web", 1))
    world.eventually(lambda: available(world, "web") == 1)
    world.delete("deployments", "web")  # nobody collects its ReplicaSet here
    world.eventually(lambda: world.get("deployments", "web") is None)
    world.create("deployments", workload("Deployment", "web", 1))
    world.eventually(lambda: available(world, "web") == 1)
    assert world.get("deployments", "web")["status"]["collisionCount"] == 1


def test_a_replica_set_that_cannot_create_pods_shows_in_the_deployment(
    running: Any, workload: Any
) -> None:
    world = running(CONTROLLERS)
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    }
    world.create("resourcequotas", quota)
    world.set_status("resourcequotas", "none", {"hard": {"pods": "0"}, "used": {"pods": "0"}})
    world.create("deployments", workload("Deployment", "web", 2))
    world.eventually(lambda: conditions(world, "web").get("ReplicaFailure") == ("True", "FailedCreate"))
    assert any("exceeded quota: none" in e for e in world.events("FailedCreate"))
    world.delete("resourcequotas", "none")
    world.eventually(lambda: available(world, "web") == 2, timeout_s=120)
    assert "ReplicaFailure" not in conditions(world, "web")
