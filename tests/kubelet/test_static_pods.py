"""Static pods: run from a directory, shown in the API by mirror pods that decide nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.kernel import Child
from actors.kubelet import KubeletConfig, SimulatedNode
from actors.runtime import Machine, SimulatedRuntime
from protocol.cri import CONTAINER_RUNNING, ListContainers

World = Any
NAME = "web-node-0"


def manifest(*command: str, name: str = "web") -> str:
    container = {"name": "c", "image": "nginx:1", **({"command": list(command)} if command else {})}
    return yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "web.yaml").write_text(manifest())
    (tmp_path / "broken.yaml").write_text("{")
    return tmp_path


@pytest.fixture
def world(make_world: Callable[..., World], folder: Path) -> World:
    world = make_world(static_pod_path=str(folder))
    world.until(lambda: world.get("pods", NAME) is not None and world.ready(NAME))
    return world


def running(world: World) -> list[str]:
    return [c.id for c in world.sim.ask(world.runtime, ListContainers()) if c.state == CONTAINER_RUNNING]


def test_a_static_pod_is_shown_by_a_mirror_pod(world: World) -> None:
    pod = world.get("pods", NAME)
    notes = pod["metadata"]["annotations"]
    assert notes["kubernetes.io/config.source"] == "file"
    assert notes["kubernetes.io/config.mirror"] == notes["kubernetes.io/config.hash"] != pod["metadata"]["uid"]
    [owner] = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Node", "node-0", True)
    assert {"operator": "Exists", "effect": "NoExecute"} in pod["spec"]["tolerations"]
    assert pod["status"]["podIP"]


def test_a_mirror_pod_that_is_deleted_comes_back_and_the_container_runs_on(world: World) -> None:
    before, uid = running(world), world.get("pods", NAME)["metadata"]["uid"]
    world.do(world.client.delete("pods", NAME, "default"))
    world.until(
        lambda: (world.get("pods", NAME) or {}).get("metadata", {}).get("uid", uid) != uid and world.ready(NAME)
    )
    assert running(world) == before


def test_a_static_pod_goes_with_its_manifest(world: World, folder: Path) -> None:
    (folder / "web.yaml").unlink()
    world.until(lambda: world.get("pods", NAME) is None)
    assert running(world) == []


def test_a_changed_manifest_is_another_pod(world: World, folder: Path) -> None:
    before, uid = running(world), world.get("pods", NAME)["metadata"]["uid"]
    (folder / "web.yaml").write_text(manifest("sleep", "1000"))
    world.until(
        lambda: (world.get("pods", NAME) or {}).get("metadata", {}).get("uid", uid) != uid and world.ready(NAME)
    )
    assert len(running(world)) == 1
    assert running(world) != before


def test_static_containers_outlive_a_crash_of_the_kubelet(world: World) -> None:
    before = running(world)
    world.sim.crash(world.kubelet)
    world.sim.advance(10)
    assert running(world) == before
    assert world.ready(NAME)
    assert world.container(NAME)["restartCount"] == 0


def test_a_static_pod_runs_without_an_api_server(make_world: Callable[..., World], folder: Path) -> None:
    world = make_world()
    world.sim.partition("node-0", "control")
    machine, config = Machine(), KubeletConfig(static_pod_path=str(folder), pod_cidr="10.9.0.0/24")
    world.sim.spawn(
        Child("node-9", lambda: SimulatedNode("node-9", world.apiserver, lambda: SimulatedRuntime(machine), config)),
        host="node-9",
    )
    world.sim.partition("node-9", "control")
    world.sim.advance(5)
    found = world.sim.ask(world.sim.actors["node-9/runtime"], ListContainers())
    assert [c.state for c in found] == [CONTAINER_RUNNING]
    world.sim.heal()
    world.until(lambda: world.get("pods", "web-node-9") is not None and world.ready("web-node-9"))
