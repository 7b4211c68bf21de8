"""A crash of any single actor is survived."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster import SimulatedCluster
from protocol.objects import Object

MANIFEST: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "nginx"}]},
        },
    },
}


def running_cluster(data_dir: Path) -> SimulatedCluster:
    cluster = SimulatedCluster(seed=3, nodes=2, data_dir=data_dir, unsafe_no_fsync=True, debug=True)
    cluster.apply(MANIFEST)
    cluster.wait("deployments/web", lambda d: d["status"].get("readyReplicas") == 2)
    cluster.sim.advance(5.0)
    return cluster


def actor_paths(tmp: Path) -> list[str]:
    cluster = running_cluster(tmp)
    return [path for path in cluster.sim.actors if path not in ("root", "desk")]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return actor_paths(tmp_path_factory.mktemp("paths"))


PER_CLUSTER = 10


def test_the_cluster_goes_on_whichever_actor_crashes(paths: list[str], tmp_path: Path) -> None:
    assert len(paths) > 50
    paths.sort(key=lambda path: "web-" not in path)  # pods do not outlive the others' turns
    crashed = 0
    for first in range(0, len(paths), PER_CLUSTER):
        cluster = running_cluster(tmp_path / str(first))
        for path in paths[first : first + PER_CLUSTER]:
            crashed += crash_one(cluster, path)
    assert crashed >= len(paths) - 1


def crash_one(cluster: SimulatedCluster, path: str) -> bool:
    """Answers False if there is no such actor any more."""
    ref = cluster.sim.lookup(path)
    if ref is None:
        return False
    cluster.sim.crash(ref, restart_after_s=2.0)
    cluster.sim.advance(20.0)
    wanted = 5 - cluster.client.get("deployments", "web", "default")["spec"]["replicas"]
    cluster.client.patch("deployments", "web", "default", {"spec": {"replicas": wanted}})
    cluster.wait("deployments/web", lambda d: d["status"].get("readyReplicas") == wanted, timeout_s=600)
    cluster.wait("pods", lambda pods: len(pods) == wanted, timeout_s=600)
    assert cluster.sim.failure is None, path
    return True


def test_a_component_that_crashes_by_itself_comes_back(tmp_path: Path) -> None:
    """Not injected from outside: a told message that its handler chokes on."""
    cluster = running_cluster(tmp_path)
    for path in ("scheduler", "controller-manager/deployment-controller", "node-0/kubelet"):
        cell = cluster.sim.actors[path]
        before = cell.incarnation
        cell.crash(RuntimeError("on request"))
        cluster.sim.advance(10.0)
        assert cluster.sim.actors[path].incarnation > before
    cluster.client.patch("deployments", "web", "default", {"spec": {"replicas": 4}})
    cluster.wait("deployments/web", lambda d: d["status"].get("readyReplicas") == 4, timeout_s=60)
