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
