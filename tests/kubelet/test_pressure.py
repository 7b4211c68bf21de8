"""Nodes that run out of memory, disk or process numbers evict pods in upstream's order and words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.kubelet._eviction import Shortage, shortages, victims

World = Any
CAPACITY = {"cpu": "4", "memory": "4Gi", "ephemeral-storage": "100Gi", "pods": "10"}


def condition(world: World, kind: str) -> str:
    conditions = world.get("nodes", "node-0", "")["status"]["conditions"]
    return next(str(c["status"]) for c in conditions if c["type"] == kind)


def test_a_threshold_is_a_quantity_or_a_share() -> None:
    have, uses = {"memory": 1000, "ephemeral-storage": 1000}, {"u": {"c": {"memory": 950, "ephemeral-storage": 850}}}
    assert shortages({"memory.available": "100", "nodefs.available": "10%"}, have, uses) == [
        Shortage("memory.available", 100, 50)
    ]
    assert [s.signal for s in shortages({"nodefs.available": "20%"}, have, uses)] == ["nodefs.available"]
    assert shortages({"pid.available": "10"}, have, uses) == []


def test_who_exceeds_his_request_goes_first_then_the_lowest_priority_then_the_largest() -> None:
    def pod(name: str, priority: int, request: str) -> dict[str, Any]:
        container = {"name": "c", "resources": {"requests": {"memory": request}}}
        return {
            "metadata": {"name": name, "uid": name},
            "spec": {"priority": priority, "containers": [container]},
            "status": {},
        }

    pods = {
        n: pod(n, p, r)
        for n, p, r in (
            ("within", 0, "500"),
            ("high", 10, "1"),
            ("small", 5, "90"),
            ("large", 5, "10"),
            ("critical", 2_000_001_000, "0"),
        )
    }
    uses = {name: {"c": {"memory": 100}} for name in pods}
    assert [p["metadata"]["name"] for p in victims(pods, uses, "memory")] == ["large", "small", "high", "within"]


@pytest.mark.parametrize(
    ("resource", "note", "config", "kind", "words"),
    [
        (
            "ephemeral-storage",
            {"kubekka.dev/usage-storage": "1Gi,20s=95Gi"},
            {},
            "DiskPressure",
            "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 5Gi. "
            "Container c was using 95Gi, request is 0, has larger consumption of ephemeral-storage. ",
        ),
        (
            "pids",
            {"kubekka.dev/usage-pids": "10,20s=960"},
            {"pid_max": 1000, "eviction_hard": {"pid.available": "5%"}},
            "PIDPressure",
            "The node was low on resource: pids. Threshold quantity: 50, available: 40. ",
        ),
    ],
)
def test_a_node_that_runs_out_evicts_and_says_so(
    make_world: Callable[..., World], resource: str, note: dict[str, str], config: dict[str, Any], kind: str, words: str
) -> None:
    world = make_world(capacity=CAPACITY, pressure_transition_s=60.0, **config)
    world.pod("web", annotations=note)
    world.until(lambda: world.phase() == "Running")
    world.until(lambda: world.phase() == "Failed", 60)
    images = sum(i.size_bytes for i in world.machine.images.images.values())  # they take room on the disk too
    words = words.replace(": 5Gi", f": {(5 * 2**30 - images) // 1024}Ki")
    assert (world.status()["reason"], world.status()["message"]) == ("Evicted", words)
    assert condition(world, kind) == "True"
    assert condition(world, "MemoryPressure") == "False"
    world.until(lambda: condition(world, kind) == "False", 120, 5)


def test_a_soft_threshold_waits_for_its_grace_time(make_world: Callable[..., World]) -> None:
    world = make_world(
        capacity=CAPACITY, eviction_soft={"memory.available": "1Gi"}, eviction_soft_grace_s={"memory.available": 60.0}
    )
    world.pod("web", annotations={"kubekka.dev/usage-memory": "3500Mi"})
    world.until(lambda: condition(world, "MemoryPressure") == "True", 30)
    world.sim.advance(40)
    assert world.phase() == "Running"
    world.until(lambda: world.phase() == "Failed", 60)


def test_a_container_that_exceeds_its_storage_limit_is_evicted(make_world: Callable[..., World]) -> None:
    world = make_world(capacity=CAPACITY)
    world.pod(
        "web",
        annotations={"kubekka.dev/usage-storage": "3Gi"},
        container={"resources": {"limits": {"ephemeral-storage": "2Gi"}}},
    )
    world.until(lambda: world.phase() == "Failed", 60)
    assert world.status()["message"] == 'Container c exceeded its local ephemeral storage limit "2Gi". '
    assert condition(world, "DiskPressure") == "False"
