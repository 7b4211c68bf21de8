"""Images that nobody uses go when the disk is full, the oldest use first."""

from __future__ import annotations

from typing import Any

from actors.kubelet._image_gc import ImageRecords, in_use
from protocol.cri import ContainerStatus, Image

World = Any


def image(name: str, size: int = 100, pinned: bool = False) -> Image:
    return Image(f"sha256:{name}", (f"{name}:1",), (f"{name}@sha256:d{name}",), size, pinned)


A, B, C, PINNED = image("a"), image("b"), image("c"), image("p", pinned=True)


def names(images: list[Image]) -> list[str]:
    return [i.id.removeprefix("sha256:") for i in images]


def test_in_use_is_what_a_container_is_made_of_by_whatever_name() -> None:
    made = [
        ContainerStatus("1", "s", "u", "c", 0, "CONTAINER_EXITED", "b:1", "b@sha256:db", 0.0),
        ContainerStatus("2", "s", "u", "d", 0, "CONTAINER_RUNNING", "x", "sha256:c", 0.0),
    ]
    assert in_use([A, B, C], made) == {"sha256:b", "sha256:c"}


def test_the_least_recently_used_goes_first_and_none_that_is_new_pinned_or_in_use() -> None:
    records = ImageRecords()
    records.look([A, B, PINNED], {"sha256:a", "sha256:b"}, 0.0)
    records.look([A, B, PINNED], {"sha256:a"}, 50.0)
    records.look([A, B, C, PINNED], set(), 100.0)
    records.look([A, B, C, PINNED], set(), 200.0)
    chosen, room = records.to_free(150, 200.0, 120.0)
    assert (names(chosen), room) == (["b", "a"], 200), "c is younger than two minutes"
    assert names(records.to_free(50, 200.0, 120.0)[0]) == ["b"]
    assert names(records.to_free(1000, 200.0, 0.0)[0]) == ["c", "b", "a"], "c has never been used"
    records.look([A, B, C], {"sha256:b"}, 300.0)
    assert names(records.to_free(1000, 300.0, 0.0)[0]) == ["c", "a"]


def test_what_nobody_has_used_for_too_long_goes_in_any_case() -> None:
    records = ImageRecords()
    records.look([A, B], {"sha256:a"}, 0.0)
    records.look([A, B], {"sha256:a"}, 500.0)
    records.look([A, B], set(), 600.0)
    assert names(records.too_old(600.0, 550.0)) == ["b"]
    assert records.too_old(600.0, 0.0) == []


def tags(world: World) -> set[str]:
    return {t.rpartition("/")[2] for i in world.machine.images.images.values() for t in i.repo_tags}


def test_a_full_disk_loses_images_of_pods_that_have_gone(make_world: Any) -> None:
    world = make_world(
        capacity={"cpu": "4", "memory": "8Gi", "pods": "9", "ephemeral-storage": "400Mi"}, eviction_hard={}
    )
    for name in ("one", "two", "three"):
        world.pod(name, container={"image": f"{name}:1"})
        world.until(lambda name=name: world.ready(name))
    sizes = sum(i.size_bytes for i in world.machine.images.images.values())
    assert sizes > 400 * 2**20 * 0.85 * 0.5
    for name in ("two", "three"):
        world.do(world.client.delete("pods", name, "default", grace_period_s=0))
    world.sim.advance(700)
    left = sum(i.size_bytes for i in world.machine.images.images.values())
    assert left < 400 * 2**20 * 0.86
    assert "one:1" in tags(world), "in use"


def test_a_disk_that_stays_full_is_told_of(make_world: Any) -> None:
    world = make_world(
        capacity={"cpu": "4", "memory": "8Gi", "pods": "9", "ephemeral-storage": "20Mi"}, eviction_hard={}
    )
    world.pod("one", container={"image": "one:1"})
    world.until(lambda: world.ready("one"))
    world.sim.advance(700)
    reasons = world.reasons("node-0")
    assert "FreeDiskSpaceFailed" in reasons
    assert "ImageGCFailed" in reasons
    assert "one:1" in tags(world)


def test_under_disk_pressure_images_go_before_pods(make_world: Any) -> None:
    world = make_world(
        capacity={"cpu": "4", "memory": "8Gi", "pods": "9", "ephemeral-storage": "1Gi"},
        eviction_hard={"nodefs.available": "10%"},
    )
    world.pod("old", container={"image": "old:1"})
    world.until(lambda: world.ready("old"))
    world.do(world.client.delete("pods", "old", "default", grace_period_s=0))
    world.machine.images.pull("new:1")
    images = world.machine.images.images.values()
    old = world.machine.images.status("old:1").size_bytes
    left = 2**30 // 10 - old // 2  # too little with the old image, enough without
    storage = 2**30 - sum(i.size_bytes for i in images) - left
    world.pod("new", annotations={"kubekka.dev/usage-storage": str(storage)}, container={"image": "new:1"})
    world.until(lambda: "old:1" not in tags(world), 60)
    world.sim.advance(30)
    assert world.phase("new") == "Running"
    assert "EvictionThresholdMet" in world.reasons("node-0")


def test_a_kubelet_that_watches_its_node_tells_how_it_began(make_world: Any) -> None:
    world = make_world(watch_node=True)
    world.until(lambda: "NodeReady" in world.reasons("node-0"))
    assert {"Starting", "NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"} <= set(
        world.reasons("node-0")
    )
    assert "Node node-0 status is now: NodeReady" in world.messages("node-0")


def test_images_that_are_not_the_nodes_alone_stay(make_world: Any) -> None:
    capacity = {"cpu": "4", "memory": "8Gi", "pods": "9", "ephemeral-storage": "20Mi"}
    world = make_world(capacity=capacity, eviction_hard={"nodefs.available": "10%"}, image_gc=False)
    world.machine.images.pull("mine:1")
    world.sim.advance(700)
    assert "mine:1" in tags(world)
