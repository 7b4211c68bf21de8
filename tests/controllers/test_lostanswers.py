"""A creation whose answer was lost is not made twice, however long nobody can be asked about it."""

from __future__ import annotations

from history import History
from safety import World

from actors.kernel import Child
from cluster import SimulatedCluster
from protocol.conditions import API, ApiFault
from protocol.objects import Object

WEB: Object = {
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}},
    },
}


def test_a_creation_whose_answer_was_lost_is_waited_for_while_the_controllers_are_cut_off() -> None:
    cluster = SimulatedCluster(seed=1, nodes=2)
    cluster.sim.world[API] = (ApiFault(504, verbs=("create",), resources=("pods",), users=("system:*",), after=True),)
    etcd, world = cluster.sim.lookup("etcd"), World()
    assert etcd is not None
    cluster.sim.spawn(Child("history", lambda: History(etcd, world)), host="observer")
    cluster.apply(WEB)
    cluster.sim.run(until=lambda: bool(world.all("Pod")))  # before the controllers could hear of it
    del cluster.sim.world[API]
    cluster.sim.partition("controllers", "apiserver")
    cluster.sim.advance(20.0)
    cluster.sim.heal()  # but the watches are broken, and that is noticed later
    cluster.sim.advance(200.0)
    assert not world.broken
    assert len(world.all("Pod")) == 2
