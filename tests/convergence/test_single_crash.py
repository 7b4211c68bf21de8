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


def test_the_cluster_goes_on_whichever_actor_crashes(paths: list[str], tmp_path: Path) -> None:
    assert len(paths) > 50
    for number, path in enumerate(paths):
        cluster = running_cluster(tmp_path / str(number))
        ref = cluster.sim.lookup(path)
        assert ref is not None, path
        cluster.sim.crash(ref, restart_after_s=2.0)
        cluster.sim.advance(20.0)
        cluster.client.patch("deployments", "web", "default", {"spec": {"replicas": 3}})
        cluster.wait("deployments/web", lambda d: d["status"].get("readyReplicas") == 3, timeout_s=600)
        assert cluster.sim.failure is None, path


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
