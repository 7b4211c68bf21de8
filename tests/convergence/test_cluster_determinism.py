"""A whole cluster replays from its seed."""

from __future__ import annotations

from test_single_crash import MANIFEST

from cluster import SimulatedCluster


def run(seed: int) -> str:
    cluster = SimulatedCluster(seed=seed, nodes=3, debug=True)
    cluster.apply(MANIFEST)
    cluster.sim.advance(10.0)
    cluster.sim.partition("node-1")
    cluster.sim.advance(500.0)
    cluster.sim.heal()
    cluster.sim.advance(60.0)
    return cluster.sim.digest()


def test_one_seed_gives_one_history_of_the_cluster() -> None:
    assert run(1) == run(1)


def test_another_seed_gives_another() -> None:
    assert run(1) != run(2)
