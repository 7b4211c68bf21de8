"""Nodes taken on by their annotation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from actors.kernel import Child
from actors.kubelet import NodeManager
from actors.runtime import simulated_machine

World = Any
Object = dict[str, Any]


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    made = make_world()
    made.manager = made.sim.spawn(
        Child(
            "nodes", lambda: NodeManager(made.apiserver, partial(simulated_machine, "sim"), "example.com/kubelet=run")
        )
    )
    return made


def make_node(world: World, name: str, **annotations: str) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {k.replace("example_", "example.com/"): v for k, v in annotations.items()},
        },
    }
    world.do(world.client.create("nodes", body))


def ready(world: World, name: str) -> bool:
    node = world.get("nodes", name, "") or {}
    return any(
        c["type"] == "Ready" and c["status"] == "True" for c in (node.get("status") or {}).get("conditions") or ()
    )


def annotate(world: World, name: str, value: str) -> None:
    world.do(world.client.patch("nodes", name, "", {"metadata": {"annotations": {"example.com/kubelet": value}}}))


def bound(world: World, name: str, node: str) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": False,
            "containers": [{"name": "c", "image": "a:1"}],
        },
    }
    world.do(world.client.create("pods", body))


def test_a_node_with_the_annotation_comes_up_with_the_capacity_it_names(world: World) -> None:
    make_node(world, "extra", example_kubelet="run", example_capacity="cpu=2,memory=4Gi,pods=5")
    world.until(lambda: ready(world, "extra"), 5)
    node = world.get("nodes", "extra", "")
    assert node["status"]["allocatable"] == node["status"]["capacity"] == {"cpu": "2", "memory": "4Gi", "pods": "5"}
    info = node["status"]["nodeInfo"]
    assert (info["containerRuntimeVersion"], info["kubeletVersion"], info["osImage"], info["machineID"]) == (
        "sim://1",
        "v1.36.2",
        "sim",
        "sim",
    )
    assert world.get("leases", "extra", "kube-node-lease")["spec"]["holderIdentity"] == "extra"


def test_a_node_without_it_is_left_alone(world: World) -> None:
    make_node(world, "other", example_kubelet="stop")
    make_node(world, "plain")
    world.sim.advance(30)
    assert not ready(world, "other")
    assert not ready(world, "plain")


def test_a_stopped_node_is_silent_and_reports_at_once_when_it_runs_again(world: World) -> None:
    make_node(world, "extra", example_kubelet="run")
    world.until(lambda: ready(world, "extra"), 5)
    bound(world, "web", "extra")
    world.until(world.ready, 5)
    annotate(world, "extra", "stop")
    world.sim.advance(1)
    renewed = world.get("leases", "extra", "kube-node-lease")["spec"]["renewTime"]
    world.do(world.client.delete("pods", "web", "default"))
    world.sim.advance(60)
    assert world.get("leases", "extra", "kube-node-lease")["spec"]["renewTime"] == renewed
    assert world.get("pods", "web") is not None
    annotate(world, "extra", "run")
    world.until(lambda: world.get("pods", "web") is None, 3)
    assert world.get("leases", "extra", "kube-node-lease")["spec"]["renewTime"] > renewed


def test_deleting_the_node_ends_its_machine(world: World) -> None:
    make_node(world, "extra", example_kubelet="run")
    world.until(lambda: ready(world, "extra"), 5)
    world.do(world.client.delete("nodes", "extra", ""))
    world.sim.advance(5)
    assert not [a for a in world.sim.actors if a.startswith("nodes/")]
    make_node(world, "extra", example_kubelet="run")
    world.until(lambda: ready(world, "extra"), 5)


def test_a_manager_that_crashes_takes_its_nodes_on_again(world: World) -> None:
    make_node(world, "extra", example_kubelet="run")
    world.until(lambda: ready(world, "extra"), 5)
    world.sim.crash(world.manager)
    world.sim.advance(5)
    bound(world, "web", "extra")
    world.until(world.ready, 5)


def test_pods_of_different_nodes_have_different_addresses(world: World) -> None:
    for name in ("one", "two"):
        make_node(world, name, example_kubelet="run")
    world.until(lambda: ready(world, "one") and ready(world, "two"), 5)
    bound(world, "a", "one")
    bound(world, "b", "two")
    world.until(lambda: world.ready("a") and world.ready("b"), 5)
    assert world.status("a")["podIP"] != world.status("b")["podIP"]


def test_containers_that_were_lost_with_their_machine_count_as_restarted(world: World) -> None:
    make_node(world, "extra", example_kubelet="run")
    world.until(lambda: ready(world, "extra"), 5)
    bound(world, "web", "extra")
    world.until(world.ready, 5)
    before = world.container()["containerID"]
    world.sim.crash(world.manager)  # the manager's machines go with it
    world.until(lambda: world.container()["containerID"] != before and world.ready(), 10)
    assert world.container()["restartCount"] == 1
    assert world.container()["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"


def test_pods_get_addresses_of_the_range_that_the_cluster_gave_the_node(world: World) -> None:
    make_node(world, "extra", example_kubelet="run")
    world.do(
        world.client.patch("nodes", "extra", "", {"spec": {"podCIDR": "10.99.3.0/24", "podCIDRs": ["10.99.3.0/24"]}})
    )
    world.until(lambda: ready(world, "extra"), 5)
    world.sim.advance(1)
    bound(world, "web", "extra")
    world.until(world.ready, 5)
    assert world.status()["podIP"].startswith("10.99.3.")
