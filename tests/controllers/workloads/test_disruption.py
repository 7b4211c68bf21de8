"""The disruption controller: what a budget allows."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.api import StatusError

CONTROLLERS = "disruption-controller,replicaset-controller"


def budget(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "b"},
        "spec": {"selector": {"matchLabels": {"app": "rs"}}, **spec},
    }


def numbers(world: Any) -> tuple[int, ...]:
    status = world.get("poddisruptionbudgets", "b").get("status") or {}
    fields = ("expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed")
    return tuple(status.get(f, -1) for f in fields)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"minAvailable": 2}, (3, 3, 2, 1)),
        ({"minAvailable": "50%"}, (3, 3, 2, 1)),
        ({"maxUnavailable": 1}, (3, 3, 2, 1)),
        ({"maxUnavailable": "100%"}, (3, 3, 0, 3)),
        ({"minAvailable": 5}, (3, 3, 5, 0)),
    ],
)
def test_what_is_allowed_follows_from_the_spec(
    running: Any, workload: Any, spec: dict[str, Any], expected: tuple[int, ...]
) -> None:
    world = running(CONTROLLERS)
    world.create("replicasets", workload("ReplicaSet", "rs", 3))
    world.create("poddisruptionbudgets", budget(**spec))
    world.eventually(lambda: numbers(world) == expected)
    condition = world.get("poddisruptionbudgets", "b")["status"]["conditions"][0]
    allowed = expected[3] > 0
    assert condition["status"] == str(allowed)
    assert condition["reason"] == ("SufficientPods" if allowed else "InsufficientPods")


def test_evictions_spend_the_budget(running: Any, workload: Any) -> None:
    world = running(CONTROLLERS)
    world.create("replicasets", workload("ReplicaSet", "rs", 3))
    world.create("poddisruptionbudgets", budget(maxUnavailable=1))
    world.eventually(lambda: numbers(world) == (3, 3, 2, 1))
    world.rules.ready = lambda pod: False  # replacements do not become ready
    first, second, _ = (p["metadata"]["name"] for p in world.pods(app="rs"))

    def evict(name: str) -> None:
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
        world.client.run(lambda c: c.create("pods", eviction, "default", name=name, subresource="eviction"))

    evict(first)
    world.eventually(lambda: numbers(world) == (3, 2, 2, 0))
    with pytest.raises(StatusError) as refusal:
        evict(second)
    assert refusal.value.code == 429


def test_a_budget_without_pods_allows_nothing(running: Any) -> None:
    world = running(CONTROLLERS)
    world.create("poddisruptionbudgets", budget(maxUnavailable=1))
    world.eventually(lambda: numbers(world) == (0, 0, 0, 0))
    world.eventually(lambda: world.events("NoPods"))


def test_pods_without_controller_make_a_share_unknowable_but_not_fatal(
    running: Any, template: Any
) -> None:
    world = running(CONTROLLERS)
    bare = {"apiVersion": "v1", "kind": "Pod", **template("rs")}
    bare["metadata"]["name"] = "bare"
    world.create("pods", bare)
    world.create("poddisruptionbudgets", budget(maxUnavailable=1))
    world.eventually(lambda: numbers(world)[3] == 0)
    world.eventually(lambda: world.events("UnmanagedPods"))


def test_a_pod_that_was_to_go_and_stayed_is_no_target_any_more(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    bare = {"apiVersion": "v1", "kind": "Pod", **template("x")}
    bare["metadata"]["name"] = "bare"
    world.create("pods", bare)
    world.eventually(lambda: world.get("pods", "bare")["status"].get("phase") == "Running")
    now = world.sim.clock.rfc3339()
    target = {"type": "DisruptionTarget", "status": "True", "reason": "Test", "lastTransitionTime": now}
    conditions = [*world.get("pods", "bare")["status"]["conditions"], target]
    world.set_status("pods", "bare", {"conditions": conditions})

    def state() -> str:
        found = world.get("pods", "bare")["status"]["conditions"]
        return next(c["status"] for c in found if c["type"] == "DisruptionTarget")  # type: ignore[no-any-return]

    world.sim.advance(100)
    assert state() == "True"
    world.eventually(lambda: state() == "False", timeout_s=40)
