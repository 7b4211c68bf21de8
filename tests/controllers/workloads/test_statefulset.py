"""The StatefulSet controller, on a real API server."""

from __future__ import annotations

from typing import Any

CONTROLLERS = "statefulset-controller"


def status(running: Any, name: str = "db") -> dict[str, Any]:
    found: dict[str, Any] = running.get("statefulsets", name).get("status") or {}
    return found


def names(running: Any) -> list[str]:
    return [p["metadata"]["name"] for p in running.pods()]


def images(running: Any) -> list[str]:
    return [p["spec"]["containers"][0]["image"] for p in running.pods()]


def set_image(running: Any, image: str) -> None:
    body = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    running.patch("statefulsets", "db", body)


def sts(workload: Any, replicas: int, **spec: Any) -> dict[str, Any]:
    made: dict[str, Any] = workload("StatefulSet", "db", replicas, serviceName="db", **spec)
    return made


def test_pods_come_one_after_the_other_and_go_in_reverse(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    world.create("statefulsets", sts(workload, 3))
    seen: list[list[str]] = []
    for _ in range(60):
        world.sim.advance(0.01)
        if not seen or names(world) != seen[-1]:
            seen.append(names(world))
    assert seen[-3:] == [["db-0"], ["db-0", "db-1"], ["db-0", "db-1", "db-2"]]
    pod = world.get("pods", "db-1")
    assert pod["spec"]["hostname"] == "db-1"
    assert pod["spec"]["subdomain"] == "db"
    assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
    world.patch("statefulsets", "db", {"spec": {"replicas": 1}})
    world.eventually(lambda: status(world).get("replicas") == 1)
    assert names(world) == ["db-0"]
    assert world.events("SuccessfulDelete") == [
        "Normal SuccessfulDelete StatefulSet/db: Delete Pod db-1 in StatefulSet db successful",
        "Normal SuccessfulDelete StatefulSet/db: Delete Pod db-2 in StatefulSet db successful",
    ]


def test_an_unready_pod_holds_up_those_after_it(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    world.rules.ready = lambda pod: False
    world.create("statefulsets", sts(workload, 3))
    world.sim.advance(5)
    assert names(world) == ["db-0"]
    found = status(world)
    assert found["availableReplicas"] == 0
    assert "readyReplicas" not in found


def test_in_parallel_all_come_at_once(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    world.rules.ready = lambda pod: False
    world.create("statefulsets", sts(workload, 3, podManagementPolicy="Parallel"))
    world.eventually(lambda: names(world) == ["db-0", "db-1", "db-2"])


def test_an_update_goes_from_the_highest_ordinal_to_the_partition(
    running: Any, workload: Any
) -> None:
    world = running(CONTROLLERS)
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    world.create("statefulsets", sts(workload, 3, updateStrategy=strategy))
    world.eventually(lambda: status(world).get("availableReplicas") == 3)
    set_image(world, "nginx:2")
    world.eventually(lambda: status(world).get("updatedReplicas") == 2)
    world.eventually(lambda: images(world) == ["nginx:1", "nginx:2", "nginx:2"])
    assert status(world)["currentRevision"] != status(world)["updateRevision"]
    world.patch("statefulsets", "db", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}})
    world.eventually(lambda: status(world).get("currentReplicas") == 3)
    assert images(world) == ["nginx:2"] * 3
    assert status(world)["currentRevision"] == status(world)["updateRevision"]


def test_max_unavailable_pods_are_replaced_at_a_time(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS, minor=37)
    rolling = {"maxUnavailable": 2}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    world.create("statefulsets", sts(workload, 4, updateStrategy=strategy, podManagementPolicy="Parallel"))
    world.eventually(lambda: status(world).get("availableReplicas") == 4)
    set_image(world, "nginx:2")
    least = 4
    for _ in range(200):
        world.sim.advance(0.01)
        up = [p for p in world.pods() if p["status"].get("phase") == "Running"]
        least = min(least, len(up))
    assert least == 2
    assert images(world) == ["nginx:2"] * 4


def test_max_unavailable_is_dropped_where_its_gate_is_off(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1, "maxUnavailable": 2}}
    world.create("statefulsets", sts(workload, 2, updateStrategy=strategy))
    kept = world.get("statefulsets", "db")["spec"]["updateStrategy"]
    assert kept == {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}


def test_on_delete_only_pods_that_one_deletes_are_updated(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    world.create("statefulsets", sts(workload, 2, updateStrategy={"type": "OnDelete"}))
    world.eventually(lambda: status(world).get("availableReplicas") == 2)
    set_image(world, "nginx:2")
    world.sim.advance(2)
    assert images(world) == ["nginx:1", "nginx:1"]
    world.delete("pods", "db-1")
    world.eventually(lambda: images(world) == ["nginx:1", "nginx:2"])
    world.eventually(lambda: status(world).get("updatedReplicas") == 1)


def test_going_back_to_an_earlier_template_uses_its_revision_again(
    running: Any, workload: Any
) -> None:
    world = running(CONTROLLERS)
    world.create("statefulsets", sts(workload, 1))
    world.eventually(lambda: status(world).get("availableReplicas") == 1)
    first = status(world)["currentRevision"]
    for image in ("nginx:2", "nginx:1"):
        set_image(world, image)
        world.eventually(lambda: images(world) == [image] and status(world).get("availableReplicas") == 1)  # noqa: B023
    world.eventually(lambda: status(world)["currentRevision"] == first)
    numbers = {r["metadata"]["name"]: r["revision"] for r in world.list("controllerrevisions")}
    assert sorted(numbers.values()) == [2, 3]
    assert numbers[first] == 3


def test_claims_are_made_per_ordinal_and_kept_or_owned_as_the_policy_says(
    running: Any, workload: Any
) -> None:
    world = running(CONTROLLERS)
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    policy = {"whenScaled": "Delete", "whenDeleted": "Retain"}
    made = sts(workload, 2, volumeClaimTemplates=[claim], persistentVolumeClaimRetentionPolicy=policy)
    mount = {"name": "data", "mountPath": "/data"}
    made["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [mount]
    world.create("statefulsets", made)
    world.eventually(lambda: names(world) == ["db-0", "db-1"])
    claims = [c["metadata"]["name"] for c in world.list("persistentvolumeclaims")]
    assert claims == ["data-db-0", "data-db-1"]
    volume = world.get("pods", "db-1")["spec"]["volumes"][0]
    assert volume["persistentVolumeClaim"]["claimName"] == "data-db-1"
    assert (
        "Normal SuccessfulCreate StatefulSet/db: Create Claim data-db-1 Pod db-1 in StatefulSet db success"
        in world.events("SuccessfulCreate")
    )
    world.eventually(lambda: status(world).get("availableReplicas") == 2)
    world.patch("statefulsets", "db", {"spec": {"replicas": 1}})
    world.eventually(lambda: names(world) == ["db-0"])
    owners = world.get("persistentvolumeclaims", "data-db-1")["metadata"]["ownerReferences"]
    assert [(o["kind"], o["name"]) for o in owners] == [("Pod", "db-1")]
    assert not world.get("persistentvolumeclaims", "data-db-0")["metadata"].get("ownerReferences")


def test_ordinals_begin_where_they_are_told(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    world.create("statefulsets", sts(workload, 2, ordinals={"start": 5}))
    world.eventually(lambda: names(world) == ["db-5", "db-6"])


def test_a_failed_pod_is_made_anew_under_its_name(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    world.create("statefulsets", sts(workload, 1))
    world.eventually(lambda: status(world).get("availableReplicas") == 1)
    uid = world.get("pods", "db-0")["metadata"]["uid"]
    world.set_status("pods", "db-0", {"phase": "Failed"})
    world.eventually(lambda: (p := world.get("pods", "db-0")) and p["metadata"]["uid"] != uid)
    assert any("is recreating failed Pod db-0" in e for e in world.events("RecreatingFailedPod"))
