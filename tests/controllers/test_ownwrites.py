"""A controller acts on nothing that is older than what it wrote itself."""

from __future__ import annotations

from pathlib import Path

from actors.controllers._ownwrites import FORGOTTEN_AFTER_S, OwnWrites
from cluster import SimulatedCluster
from protocol.objects import Object


class Stores:
    def __init__(self) -> None:
        self.revisions = {"jobs": 5, "pods": 5}
        self.now = 0.0
        self.writes = OwnWrites(self.revisions.__getitem__, lambda: self.now)


def answer(revision: str) -> Object:
    return {"metadata": {"resourceVersion": revision}}


def test_a_write_is_waited_for_until_the_store_has_come_so_far() -> None:
    stores = Stores()
    stores.writes.wrote("a/x", "jobs", answer("7"))
    assert not stores.writes.shows("a/x")
    stores.revisions["jobs"] = 7
    assert stores.writes.shows("a/x")


def test_every_store_that_was_written_to_must_have_come_so_far() -> None:
    stores = Stores()
    stores.writes.wrote("a/x", "jobs", answer("7"))
    stores.writes.wrote("a/x", "pods", answer("8"))
    stores.revisions["jobs"] = 9
    assert not stores.writes.shows("a/x")
    stores.revisions["pods"] = 9
    assert stores.writes.shows("a/x")


def test_of_several_writes_the_last_one_counts_and_of_one_key_only() -> None:
    stores = Stores()
    stores.writes.wrote("a/x", "pods", answer("9"))
    stores.writes.wrote("a/x", "pods", answer("8"))
    stores.revisions["pods"] = 8
    assert not stores.writes.shows("a/x")
    assert stores.writes.shows("a/y")


def test_an_answer_without_a_revision_is_nothing_to_wait_for() -> None:
    stores = Stores()
    stores.writes.wrote("a/x", "pods", {"kind": "Status", "metadata": {}})
    assert stores.writes.shows("a/x")


def test_a_store_that_never_comes_so_far_holds_nobody_up_for_ever() -> None:
    stores = Stores()
    stores.writes.wrote("a/x", "pods", answer("7000"))
    stores.now = FORGOTTEN_AFTER_S + 1.0
    assert stores.writes.shows("a/x")


def test_a_job_whose_counts_are_not_seen_makes_no_pod_too_many(tmp_path: Path) -> None:
    """Its pods end, are counted and freed, while what the controller sees of the Job stands still."""
    cluster = SimulatedCluster(seed=1, nodes=2)
    container = {"name": "c", "image": "b", "command": ["sleep", "2"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    cluster.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "sums"},
            "spec": {"completions": 2, "parallelism": 2, "template": template},
        }
    )
    cluster.wait("jobs/sums", lambda job: job["status"].get("active") == 2)
    informer = cluster.sim.lookup("controller-manager/informer-jobs.batch")
    assert informer is not None
    cluster.sim.advance(0.5)
    cluster.sim.crash(informer, restart_after_s=20.0)
    cluster.sim.advance(15.0)
    pods = cluster.client.list("pods", "default")
    assert [p["status"]["phase"] for p in pods] == ["Succeeded", "Succeeded"]
    cluster.wait("jobs/sums", lambda job: job["status"].get("succeeded") == 2, timeout_s=60)
    assert len(cluster.client.list("pods", "default")) == 2
