"""The workload controllers under crashes, cuts and lost mail: safe at every moment, right in the end.

Watched without asking anybody: the pods of the API server's own store, after every small step.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from actors.client import StatusError

Object = dict[str, Any]
CONTROLLERS = (
    "deployment-controller,replicaset-controller,statefulset-controller,job-controller,"
    "garbage-collector-controller"
)


def is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def live(pods: list[Object]) -> list[Object]:
    return [p for p in pods if not p["metadata"].get("deletionTimestamp")]


class Storm:
    """Breaks something, lets a while pass in small steps, heals, again and again."""

    def __init__(self, world: Any, seed: int, faults: tuple[str, ...]) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.faults = faults

    def spells(self, count: int, steps: int = 12) -> Iterator[None]:
        """Yields after every step, with the world broken most of the time."""
        for _ in range(count):
            self.break_something()
            for _ in range(steps):
                self.world.sim.advance(self.random.choice((0.005, 0.02, 0.1)))
                yield
            self.world.sim.heal()
            for _ in range(steps // 2):
                self.world.sim.advance(0.1)
                yield

    def break_something(self) -> None:
        sim = self.world.sim
        fault = self.random.choice(self.faults)
        if fault == "controller":
            children = [c for c in self.world.manager.children.values() if c.is_alive()]
            sim.crash(self.random.choice(children), restart_after_s=self.random.choice((0.0, 0.05, 0.5)))
        elif fault == "manager":
            sim.crash(self.world.manager, restart_after_s=self.random.choice((0.0, 0.3)))
        elif fault == "apiserver":
            sim.crash(self.world.api, restart_after_s=self.random.choice((0.0, 0.1)))
        elif fault == "nodes":
            sim.crash(self.world.nodes, restart_after_s=0.2)
        elif fault == "cut":
            sim.partition("controllers", "apiserver")
        elif fault == "slow":
            sim.link("controllers", "apiserver", delay=(0.0, 0.2))
        elif fault == "loss":
            sim.link("controllers", "apiserver", delay=(0.0, 0.02), drop=0.1)

    def attempt(self, work: Any) -> None:
        """What a user tries until it is taken."""
        for _ in range(20):
            try:
                work()
                return
            except StatusError:
                self.world.sim.advance(0.5)
        raise AssertionError("the API server does not come back")


FAULTS = ("controller", "manager", "apiserver", "nodes", "cut", "slow", "loss", "nothing")


@pytest.mark.parametrize("seed", range(5))
def test_a_rolling_deployment_keeps_its_bounds_through_crashes(
    running: Any, workload: Any, seed: int
) -> None:
    world = running(CONTROLLERS, seed=seed)
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    world.create("deployments", workload("Deployment", "web", 4, strategy=strategy))
    world.eventually(lambda: sum(map(is_ready, world.pods(app="web"))) == 4)
    world.sim.advance(2)
    storm = Storm(world, seed, FAULTS)
    for number in range(3):
        image = f"nginx:{number + 2}"
        containers = [{"name": "c", "image": image}]
        body = {"spec": {"template": {"spec": {"containers": containers}}}}
        storm.attempt(lambda: world.patch("deployments", "web", body))  # noqa: B023
        for _ in storm.spells(3):
            pods = live(pods_of(world, "web"))
            wanted = sizes(world)
            assert sum(wanted.values()) <= 5, f"maxSurge holds (seed {seed})"
            assert sum(map(is_ready, pods)) >= 3, f"maxUnavailable holds (seed {seed})"
            # While the ReplicaSet controller is away an old set's pods outlive its wish for them,
            # but no set has more than it can ever have been told to.
            for name in wanted:
                assert sum(owner(p) == name for p in pods) <= 4, f"none too many (seed {seed})"
    world.eventually(lambda: images(world) == [image] * 4 and all(map(is_ready, world.pods(app="web"))), timeout_s=600)
    world.eventually(lambda: world.get("deployments", "web")["status"].get("availableReplicas") == 4, timeout_s=60)


def pods_of(world: Any, app: str) -> list[Object]:
    """Asked through the test's own client; waits out a crash of the API server."""
    for _ in range(50):
        try:
            found: list[Object] = world.list("pods", "default", label_selector=f"app={app}")
            return found
        except StatusError:
            world.sim.advance(0.1)
    raise AssertionError("the API server does not come back")


def sizes(world: Any) -> dict[str, int]:
    """What each ReplicaSet is told to have."""
    for _ in range(50):
        try:
            return {s["metadata"]["name"]: s["spec"]["replicas"] for s in world.list("replicasets", "default")}
        except StatusError:
            world.sim.advance(0.1)
    raise AssertionError("the API server does not come back")


def owner(pod: Object) -> str:
    return str(pod["metadata"]["ownerReferences"][0]["name"])


def images(world: Any) -> list[str]:
    return [p["spec"]["containers"][0]["image"] for p in world.pods(app="web")]


@pytest.mark.parametrize("seed", range(5))
def test_a_replica_set_ends_with_exactly_its_pods(running: Any, workload: Any, seed: int) -> None:
    world = running(CONTROLLERS, seed=seed)
    world.create("replicasets", workload("ReplicaSet", "rs", 5))
    storm = Storm(world, seed, FAULTS)
    for round_ in range(3):
        wanted = storm.random.randrange(1, 12)
        storm.attempt(lambda: world.patch("replicasets", "rs", {"spec": {"replicas": wanted}}))  # noqa: B023
        for _ in storm.spells(2):
            pass
        pods = live(pods_of(world, "rs"))
        if pods and round_ == 1:
            gone = storm.random.choice(pods)["metadata"]["name"]
            storm.attempt(lambda: world.get("pods", gone) is None or world.delete("pods", gone))  # noqa: B023
    world.eventually(lambda: len(world.pods(app="rs")) == wanted, timeout_s=600)
    world.sim.advance(30)
    assert len(world.list("pods", "default")) == wanted
    status = world.get("replicasets", "rs")["status"]
    assert (status["replicas"], status.get("readyReplicas")) == (wanted, wanted)


@pytest.mark.parametrize("seed", range(5))
def test_a_stateful_set_never_has_a_pod_before_the_ones_it_follows_are_ready(
    running: Any, workload: Any, seed: int
) -> None:
    world = running(CONTROLLERS, seed=seed)
    world.create("statefulsets", workload("StatefulSet", "db", 4, serviceName="db"))
    storm = Storm(world, seed, tuple(f for f in FAULTS if f != "nodes"))
    created: dict[str, str] = {}
    for _ in storm.spells(6):
        pods = {p["metadata"]["name"]: p for p in pods_of(world, "db")}
        for name, pod in pods.items():
            uid = pod["metadata"]["uid"]
            if created.get(name) == uid:
                continue
            created[name] = uid
            before = [pods.get(f"db-{i}") for i in range(int(name.removeprefix("db-")))]
            assert all(p is not None and is_ready(p) for p in before), f"in order (seed {seed})"
    world.eventually(lambda: sum(map(is_ready, world.pods(app="db"))) == 4, timeout_s=600)
    containers = [{"name": "c", "image": "nginx:2"}]
    body = {"spec": {"template": {"spec": {"containers": containers}}}}
    storm.attempt(lambda: world.patch("statefulsets", "db", body))
    for _ in storm.spells(6):
        pods_now = pods_of(world, "db")
        assert sum(is_ready(p) and not p["metadata"].get("deletionTimestamp") for p in pods_now) >= 3
    world.eventually(
        lambda: [p["spec"]["containers"][0]["image"] for p in world.pods(app="db")] == ["nginx:2"] * 4,
        timeout_s=600,
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_job_counts_every_pod_exactly_once(running: Any, template: Any, seed: int) -> None:
    world = running(CONTROLLERS, seed=seed)
    fate = random.Random(seed)
    fates: dict[str, str] = {}
    world.rules.fate = lambda pod: fates.setdefault(
        pod["metadata"]["uid"], "Failed" if fate.random() < 0.2 else "Succeeded"
    )
    pod = template("job", restartPolicy="Never")
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j"},
        "spec": {"completions": 12, "parallelism": 4, "backoffLimit": 50, "template": pod},
    }
    world.create("jobs", job)
    storm = Storm(world, seed, FAULTS)
    for _ in storm.spells(12):
        running_now = [p for p in live(pods_of(world, "job")) if p["status"].get("phase") in ("Pending", "Running")]
        assert len(running_now) <= 4, f"parallelism holds (seed {seed})"

    def done() -> bool:
        conditions = (world.get("jobs", "j").get("status") or {}).get("conditions") or ()
        return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)

    world.eventually(done, timeout_s=3000)
    world.sim.advance(30)
    pods = world.list("pods", "default")
    phases = [p["status"]["phase"] for p in pods]
    status = world.get("jobs", "j")["status"]
    # A pod that was one too many is freed before it is deleted: if that delete is lost and the pod
    # runs to its end meanwhile, it counts for nothing.
    assert status["succeeded"] == 12
    assert 12 <= phases.count("Succeeded") <= 16
    # One that still ran when the Job had what it wants was deleted and counts as failed.
    deletions = [e for e in world.list("events", "default") if e["reason"] == "SuccessfulDelete"]
    gone = sum(e.get("count") or 1 for e in deletions)
    assert status.get("failed", 0) <= phases.count("Failed") + gone
    assert phases.count("Failed") <= status.get("failed", 0) + 4
    assert status["uncountedTerminatedPods"] == {}
    assert not any(p["metadata"].get("finalizers") for p in pods)
