"""Devices, cores and dynamic resources of a node, as pods and their status see them."""

from __future__ import annotations

from typing import Any

import pytest

World = Any
Object = dict[str, Any]
GPU = "example.com/gpu"


def asking(count: int) -> Object:
    return {"resources": {"limits": {GPU: str(count)}, "requests": {GPU: str(count)}}}


def node_amounts(world: World) -> tuple[Any, Any]:
    status = world.get("nodes", "node-0", "")["status"]
    return status["capacity"].get(GPU), status["allocatable"].get(GPU)


def env_of(world: World, name: str) -> dict[str, str]:
    return next(dict(c.config.envs) for c in world.machine.containers.values() if c.sandbox.config.name == name)


@pytest.fixture
def gpus(make_world: Any) -> World:
    return make_world(devices={GPU: 2})


def test_a_container_has_its_devices_and_says_which(gpus: World) -> None:
    assert node_amounts(gpus) == ("2", "2")
    gpus.pod("a", container=asking(1))
    gpus.until(lambda: gpus.ready("a"))
    assert env_of(gpus, "a")["EXAMPLE_COM_GPU"] == "gpu-0"
    told = [{"name": GPU, "resources": [{"resourceID": "gpu-0", "health": "Healthy"}]}]
    assert gpus.container("a")["allocatedResourcesStatus"] == told


def test_a_pod_whose_devices_are_not_there_is_refused_and_its_end_makes_room(gpus: World) -> None:
    gpus.pod("a", container=asking(2))
    gpus.until(lambda: gpus.ready("a"))
    gpus.pod("b", container=asking(1))
    gpus.until(lambda: gpus.phase("b") == "Failed")
    assert gpus.status("b")["reason"] == "UnexpectedAdmissionError"
    assert gpus.status("b")["message"] == (
        "Pod was rejected: Allocate failed due to requested number of devices unavailable for example.com/gpu. "
        "Requested: 1, Available: 0, which is unexpected"
    )
    gpus.do(gpus.client.delete("pods", "a", "default", grace_period_s=0))
    gpus.sim.advance(2)
    gpus.pod("c", container=asking(2))
    gpus.until(lambda: gpus.ready("c"))


def test_a_kubelet_that_comes_back_knows_who_has_what(gpus: World) -> None:
    gpus.pod("a", container=asking(1))
    gpus.until(lambda: gpus.ready("a"))
    gpus.sim.crash(gpus.kubelet)
    gpus.sim.advance(3)
    gpus.pod("b", container=asking(1))
    gpus.until(lambda: gpus.ready("b"))
    assert env_of(gpus, "b")["EXAMPLE_COM_GPU"] == "gpu-1"


def test_devices_come_and_fall_ill_by_annotation(make_world: Any) -> None:
    world = make_world(watch_node=True)

    def annotate(**notes: str) -> None:
        body = {"metadata": {"annotations": {f"kubekka.dev/{k.replace('_', '-')}": v for k, v in notes.items()}}}
        world.do(world.client.patch("nodes", "node-0", "", body))

    annotate(devices=f"{GPU}=2")
    world.until(lambda: node_amounts(world) == ("2", "2"))
    world.pod("a", container=asking(1))
    world.until(lambda: world.ready("a"))
    annotate(unhealthy_devices="gpu-0")
    world.until(lambda: node_amounts(world) == ("2", "1"))
    health = lambda: world.container("a")["allocatedResourcesStatus"][0]["resources"][0]["health"]  # noqa: E731
    world.until(lambda: health() == "Unhealthy")
    annotate(unhealthy_devices="")
    world.until(lambda: node_amounts(world) == ("2", "2") and health() == "Healthy")


def cpuset(world: World, name: str) -> str:
    found = next(c for c in world.machine.containers.values() if c.sandbox.config.name == name)
    return str(found.config.resources.unified["cpuset.cpus"])


def whole(cpu: str) -> Object:
    amounts = {"cpu": cpu, "memory": "64Mi"}
    return {"resources": {"requests": amounts, "limits": amounts}}


@pytest.fixture
def cores(make_world: Any) -> World:
    capacity = {"cpu": "4", "memory": "8Gi", "pods": "10"}
    return make_world(capacity=capacity, reserved={"cpu": "500m"}, cpu_manager_policy="static")


def test_whole_cores_are_taken_from_those_that_others_share(cores: World) -> None:
    cores.pod("shared")
    cores.until(lambda: cores.ready("shared"))
    assert cpuset(cores, "shared") == "0-3"
    cores.pod("own", container=whole("2"))
    cores.until(lambda: cores.ready("own"))
    assert cpuset(cores, "own") == "1-2"
    cores.until(lambda: cpuset(cores, "shared") == "0,3")
    cores.do(cores.client.delete("pods", "own", "default", grace_period_s=0))
    cores.until(lambda: cpuset(cores, "shared") == "0-3")


def test_cores_stay_with_their_container_when_the_kubelet_comes_back(cores: World) -> None:
    cores.pod("own", container=whole("2"))
    cores.until(lambda: cores.ready("own"))
    cores.sim.crash(cores.kubelet)
    cores.sim.advance(3)
    cores.pod("more", container=whole("1"))
    cores.until(lambda: cores.ready("more"))
    assert cpuset(cores, "more") == "3"


def test_who_wants_more_cores_than_can_be_given_is_refused(cores: World) -> None:
    cores.pod("a", container=whole("2"))
    cores.until(lambda: cores.ready("a"))
    cores.pod("b", container=whole("2"))
    cores.until(lambda: cores.phase("b") == "Failed")
    assert "not enough cpus available to satisfy request: requested=2, available=1" in cores.status("b")["message"]


def test_podresources_tells_of_devices_and_cores(make_world: Any) -> None:
    from actors.kubelet.devices._messages import ListPodResources

    world = make_world(
        devices={GPU: 2},
        reserved={"cpu": "1"},
        cpu_manager_policy="static",
        capacity={"cpu": "4", "memory": "8Gi", "pods": "9"},
    )
    both = whole("1")["resources"]["limits"] | {GPU: "1"}
    world.pod("a", container={"resources": {"limits": both, "requests": both}})
    world.until(lambda: world.ready("a"))
    told = world.sim.ask(world.kubelet, ListPodResources())
    assert told["pods"] == [("default", "a", [("c", {GPU: ("gpu-0",)}, [1], [])])]
    assert told["devices"] == {GPU: ["gpu-0", "gpu-1"]}
    assert told["cpus"] == [1, 2, 3]


def claim(world: World, reserve_for: Object | None) -> None:
    spec = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}
    body = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": "claim", "namespace": "default"},
        "spec": spec,
    }
    made = world.do(world.client.create("resourceclaims", body))
    if reserve_for is None:
        return
    result = {"request": "r", "driver": "gpu.example.com", "pool": "node-0", "device": "gpu-0"}
    status: Object = {"allocation": {"devices": {"results": [result]}}}
    meta = reserve_for["metadata"]
    status["reservedFor"] = [{"resource": "pods", "name": meta["name"], "uid": meta["uid"]}]
    body = {"metadata": {"uid": made["metadata"]["uid"]}, "status": status}
    world.do(world.client.patch("resourceclaims", "claim", "default", body, subresource="status"))


def with_claim(world: World) -> Object:
    return world.pod(  # type: ignore[no-any-return]
        "a",
        resourceClaims=[{"name": "g", "resourceClaimName": "claim"}],
        container={"resources": {"claims": [{"name": "g"}]}},
    )


def test_a_pod_starts_once_its_claim_is_reserved_for_it_and_the_devices_are_said_to_be_ready(world: World) -> None:
    made = with_claim(world)
    world.until(lambda: "FailedPrepareDynamicResources" in world.reasons("a"))
    assert not world.machine.sandboxes
    claim(world, made)
    world.until(lambda: world.ready("a"), 20)
    status = world.get("resourceclaims", "claim")["status"]
    assert [(d["device"], d["conditions"][0]["type"]) for d in status["devices"]] == [("gpu-0", "Ready")]


def test_a_claim_that_is_not_the_pods_or_has_no_driver_here_is_not_prepared(make_world: Any) -> None:
    world = make_world(dra_drivers=())
    made = with_claim(world)
    claim(world, {"metadata": {"name": "other", "uid": "other"}})
    world.until(lambda: any("is not allowed to use ResourceClaim claim" in m for m in world.messages("a")))
    body = {"status": {"reservedFor": [{"resource": "pods", "name": "a", "uid": made["metadata"]["uid"]}]}}
    world.do(world.client.patch("resourceclaims", "claim", "default", body, subresource="status"))
    world.until(lambda: any("DRA driver gpu.example.com is not registered" in m for m in world.messages("a")), 30)
