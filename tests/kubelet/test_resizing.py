"""In-place resize: what is asked for, what is given, and what is told meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from actors.kubelet import KubeletConfig

World = Any
Object = dict[str, Any]


def cpu(amount: str) -> Object:
    return {"requests": {"cpu": amount, "memory": "64Mi"}, "limits": {"cpu": amount, "memory": "64Mi"}}


def resize(world: World, name: str, resources: Object) -> None:
    body = {"spec": {"containers": [{"name": "c", "resources": resources}]}}
    world.do(
        world.client.patch(
            "pods", name, "default", body, patch_type="application/strategic-merge-patch+json", subresource="resize"
        )
    )


def pending(world: World, name: str) -> Object | None:
    found = [c for c in world.status(name)["conditions"] if c["type"] == "PodResizePending"]
    return found[0] if found else None


def started(world: World, name: str, amount: str, **container: Any) -> None:
    world.pod(name, container={"resources": cpu(amount), **container})
    world.until(lambda: world.ready(name))


def test_a_resize_that_fits_is_done_in_place_and_told(world: World) -> None:
    started(world, "web", "100m")
    ident = world.container("web")["containerID"]
    resize(world, "web", cpu("300m"))
    world.until(lambda: world.container("web")["resources"]["limits"]["cpu"] == "300m")
    now = world.container("web")
    assert (now["containerID"], now["restartCount"]) == (ident, 0)
    assert now["allocatedResources"] == {"cpu": "300m", "memory": "64Mi"}
    world.until(lambda: "ResizeCompleted" in world.reasons("web"))
    reasons = world.reasons("web")
    assert "ResizeStarted" in reasons
    text = next(m for m in world.messages("web") if m.startswith("Pod resize completed: "))
    told = json.loads(text.partition(": ")[2])
    assert told == {"containers": [{"name": "c", "resources": cpu("300m")}], "generation": 2}
    world.sim.advance(2)
    assert not [c for c in world.status("web")["conditions"] if c["type"].startswith("PodResize")]
    assert world.status("web")["observedGeneration"] == 2


def test_what_the_node_could_never_give_is_infeasible_and_nothing_changes(world: World) -> None:
    started(world, "web", "100m")
    resize(world, "web", cpu("1000"))
    world.until(lambda: pending(world, "web") is not None)
    condition = pending(world, "web")
    assert condition is not None
    capacity = world.get("nodes", "node-0", "")["status"]["allocatable"]["cpu"]
    assert condition["reason"] == "Infeasible"
    assert condition["message"] == (
        f"Node didn't have enough capacity: cpu, requested: 1000000, capacity: {int(capacity) * 1000}"
    )
    assert condition["observedGeneration"] == 2
    assert world.container("web")["resources"]["limits"]["cpu"] == "100m"
    world.until(lambda: "ResizeInfeasible" in world.reasons("web"))
    resize(world, "web", cpu("100m"))
    world.until(lambda: pending(world, "web") is None)


def test_a_resize_without_room_waits_until_another_pod_has_gone(make_world: Callable[..., World]) -> None:
    world = make_world(capacity={**KubeletConfig().capacity, "cpu": "2"})
    started(world, "web", "500m")
    started(world, "other", "1")
    resize(world, "web", cpu("1500m"))
    world.until(lambda: pending(world, "web") is not None)
    condition = pending(world, "web")
    assert condition is not None
    assert (condition["reason"], condition["message"]) == (
        "Deferred",
        "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000",
    )
    assert world.container("web")["allocatedResources"]["cpu"] == "500m"
    world.do(world.client.delete("pods", "other", "default", grace_period_s=0))
    world.until(lambda: world.container("web")["allocatedResources"]["cpu"] == "1500m")
    world.until(lambda: pending(world, "web") is None)
    assert world.container("web")["restartCount"] == 0


def test_a_crash_of_the_kubelet_neither_forgets_nor_grants_what_was_put_off(make_world: Callable[..., World]) -> None:
    world = make_world(capacity={**KubeletConfig().capacity, "cpu": "2"})
    started(world, "web", "500m")
    started(world, "other", "1")
    resize(world, "web", cpu("1500m"))
    world.until(lambda: pending(world, "web") is not None)
    world.sim.crash(world.kubelet)
    world.sim.advance(20)
    assert world.phase("web") == "Running"
    assert world.container("web")["allocatedResources"]["cpu"] == "500m"
    assert pending(world, "web") is not None
    assert world.reasons("web").count("ResizeDeferred") == 1
    world.do(world.client.delete("pods", "other", "default", grace_period_s=0))
    world.until(lambda: world.container("web")["allocatedResources"]["cpu"] == "1500m")


def test_only_the_resource_whose_policy_says_so_restarts_the_container(world: World) -> None:
    started(world, "web", "100m", resizePolicy=[{"resourceName": "memory", "restartPolicy": "RestartContainer"}])
    resize(world, "web", cpu("200m"))
    world.until(lambda: world.container("web").get("resources", {}).get("limits", {}).get("cpu") == "200m")
    world.sim.advance(3)
    assert world.container("web")["restartCount"] == 0
    more = {"requests": {"cpu": "200m", "memory": "128Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}
    resize(world, "web", more)
    world.until(lambda: world.container("web")["restartCount"] == 1 and world.ready("web"))
    assert world.container("web")["resources"] == more
    world.until(
        lambda: (
            world.reasons("web").count("ResizeCompleted") == 2
            or any(
                e["reason"] == "ResizeCompleted" and "128Mi" in e["message"]
                for e in world.do(world.client.list("events", "default"))["items"]
            )
        )
    )


def level(world: World, cpu_request: str) -> None:
    body = {"spec": {"resources": {"requests": {"cpu": cpu_request}}}}
    world.do(
        world.client.patch(
            "pods", "web", "default", body, patch_type="application/strategic-merge-patch+json", subresource="resize"
        )
    )


def test_the_pod_as_a_whole_can_be_resized(make_world: Callable[..., World]) -> None:
    world = make_world(capacity={"cpu": "4", "memory": "8Gi", "pods": "10"})
    amounts = {"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"cpu": "8", "memory": "64Mi"}}
    world.pod(resources=amounts)
    world.until(world.ready)
    assert world.status()["resources"] == amounts
    assert world.status()["allocatedResources"] == amounts["requests"]
    level(world, "2")
    world.until(lambda: world.status()["allocatedResources"]["cpu"] == "2")
    assert "ResizeCompleted" in world.reasons()
    world.pod("other", container={"resources": {"requests": {"cpu": "1500m"}}})
    world.until(lambda: world.ready("other"))
    level(world, "3")
    world.until(lambda: pending(world, "web") is not None)
    assert (pending(world, "web") or {})["reason"] == "Deferred"
    world.sim.crash(world.kubelet)
    world.sim.advance(3)
    assert world.status()["allocatedResources"]["cpu"] == "2", "what was given outlives the kubelet"
    world.do(world.client.delete("pods", "other", "default", grace_period_s=0))
    world.until(lambda: world.status()["allocatedResources"]["cpu"] == "3")
    assert pending(world, "web") is None


def test_a_container_that_has_ended_keeps_what_was_allocated_to_it(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.pod("web", "true", restartPolicy="Never", container={"resources": cpu("1")})
    world.until(lambda: world.phase() == "Succeeded")
    assert world.container()["resources"] == cpu("1")
