"""Of two controller managers one works: the one that holds the Lease."""

from __future__ import annotations

from typing import Any

import pytest

from actors.controllers import ControllerManager, Options
from actors.kernel import Child

Object = dict[str, Any]
CONTROLLERS = "serviceaccount-controller,replicaset-controller,job-controller,storage-version-migrator-controller"


class Pair:
    """Two managers, `one` and `two`, on hosts of their own."""

    def __init__(self, plane: Any) -> None:
        self.plane = plane
        self.sim = plane.sim
        options = Options(controllers=CONTROLLERS, leader_elect=True)
        self.refs = {
            name: self.sim.spawn(
                Child(name, lambda name=name: ControllerManager(plane.api, options, identity=name)), host=name
            )
            for name in ("one", "two")
        }

    def holder(self) -> str:
        lease = self.plane.get("leases", "kube-controller-manager", "kube-system")
        return str((lease or {}).get("spec", {}).get("holderIdentity") or "")

    def works(self, name: str) -> bool:
        return self.sim.lookup(f"{name}/replicaset-controller") is not None

    def working(self) -> list[str]:
        return [name for name in self.refs if self.works(name)]

    def replicas(self, name: str, count: int) -> None:
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"replicas": count, "selector": {"matchLabels": labels}, "template": template}
        self.plane.create("replicasets", {"metadata": {"name": name}, "spec": spec})

    def pods(self, name: str) -> int:
        return len(self.plane.list("pods", "default", label_selector=f"app={name}"))


@pytest.fixture
def pair(plane: Any) -> Pair:
    made = Pair(plane("root-ca-certificate-publisher-controller"))
    made.plane.eventually(lambda: made.working())
    return made


def other(name: str) -> str:
    return "two" if name == "one" else "one"


def test_the_holder_works_and_the_other_waits(pair: Pair) -> None:
    first = pair.holder()
    pair.replicas("a", 3)
    pair.plane.eventually(lambda: pair.pods("a") == 3)
    pair.sim.advance(60)
    assert pair.holder() == first
    assert pair.working() == [first]


def test_when_the_holder_crashes_the_other_takes_over_once_the_lease_has_lapsed(pair: Pair) -> None:
    first = pair.holder()
    pair.sim.crash(pair.refs[first], restart_after_s=None)
    pair.replicas("a", 3)
    pair.sim.advance(10)
    assert pair.pods("a") == 0
    pair.plane.eventually(lambda: pair.pods("a") == 3)
    assert pair.holder() == other(first)
    assert pair.plane.get("leases", "kube-controller-manager", "kube-system")["spec"]["leaseTransitions"] == 1


def test_one_that_is_cut_off_stops_before_the_other_begins(pair: Pair) -> None:
    first = pair.holder()
    pair.sim.partition(first)
    for _ in range(400):
        pair.sim.advance(0.1)
        assert len(pair.working()) <= 1
        if pair.working() == [other(first)]:
            break
    assert pair.holder() == other(first)
    pair.replicas("a", 3)
    pair.plane.eventually(lambda: pair.pods("a") == 3)
    pair.sim.heal()
    pair.sim.advance(60)
    assert pair.working() == [other(first)]
    assert pair.pods("a") == 3


def test_one_that_is_stopped_gives_the_lease_up_at_once(pair: Pair) -> None:
    first = pair.holder()
    pair.sim.do(stopped(pair.refs[first]))
    pair.plane.eventually(lambda: pair.working() == [other(first)], timeout_s=8.0)


async def stopped(ref: Any) -> None:
    await ref.request_stop()
