"""`kubekka processes POD` shows the tree that each runtime builds."""

from __future__ import annotations

from typing import Any

import pytest

from cli.processes import render
from cluster import SimulatedCluster

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {"nodeName": "node-0", "containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "x:1"}]},
}


def processes(guise: str) -> list[dict[str, Any]]:
    cluster = SimulatedCluster(nodes=1, guise=guise)
    cluster.apply(POD)
    cluster.wait("pods/web", "Ready")
    found = cluster.client.run(lambda c: c.get_subresource("nodes", "node-0", "", "proxy/processes/default/web"))
    return list(found["processes"])


@pytest.mark.parametrize(("guise", "shims"), [("containerd", 1), ("docker", 3), ("runc", 0), ("rkt", 1)])
def test_each_runtime_builds_its_own_tree(guise: str, shims: int) -> None:
    found = processes(guise)
    pids = {p["pid"] for p in found}
    assert sum(p["parent"] not in pids and p["pid"] > 1_000_000 for p in found) == shims
    own = {p["container"]: p for p in found if p["container"] in ("a", "b")}
    assert own["a"]["namespaces"]["net"] == own["b"]["namespaces"]["net"]
    assert own["a"]["namespaces"]["mnt"] != own["b"]["namespaces"]["mnt"]
    if guise == "rkt":
        assert any("systemd" in p["command"] for p in found)
    else:
        assert any(p["command"] == "/pause" for p in found)


def test_children_stand_below_their_parents() -> None:
    lines = render(processes("containerd")).splitlines()
    assert "containerd-shim-runc-v2" in lines[1]
    assert all("`- " in line for line in lines[2:])
