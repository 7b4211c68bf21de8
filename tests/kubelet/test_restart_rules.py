"""Containers' own restart rules, and those that restart the whole pod."""

from __future__ import annotations

from typing import Any

import pytest

from actors.kubelet._spec import restart_action, should_restart

World = Any
Object = dict[str, Any]


def rule(action: str, *values: int, operator: str = "In") -> Object:
    return {"action": action, "exitCodes": {"operator": operator, "values": list(values)}}


def ruled(*rules: Object, policy: str = "Never") -> Object:
    return {"restartPolicy": policy, "restartPolicyRules": list(rules)}


POD: Object = {"spec": {"restartPolicy": "Never"}}


@pytest.mark.parametrize(
    ("container", "code", "again"),
    [
        (ruled(rule("Restart", 42)), 42, True),
        (ruled(rule("Restart", 42)), 1, False),
        (ruled(rule("Restart", 42)), 0, False),
        (ruled(rule("Restart", 0, operator="NotIn")), 7, True),
        (ruled(rule("Restart", 0, operator="NotIn")), 0, False),
        (ruled(rule("Restart", 42), policy="Always"), 1, True),
        (ruled(rule("Restart", 42), policy="OnFailure"), 0, False),
        (ruled(rule("RestartAllContainers", 42)), 42, True),
        ({}, 42, False),
    ],
)
def test_a_rule_that_matches_restarts_else_the_policy_decides(container: Object, code: int, again: bool) -> None:
    assert should_restart(POD, "main", container, code) is again


def test_the_first_rule_that_matches_decides() -> None:
    container = ruled(rule("Restart", 1, 2), rule("RestartAllContainers", 2, 3))
    assert [restart_action(container, code) for code in (1, 2, 3, 4)] == [
        "Restart",
        "Restart",
        "RestartAllContainers",
        "",
    ]


def restarting_pod(world: World, **more: Any) -> None:
    trigger = {
        "name": "t",
        "image": "busybox",
        "command": ["sh", "-c", "sleep 5; exit 42"],
        **ruled(rule("RestartAllContainers", 42)),
    }
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hooked >> /d/log"]}}}
    mounts = [{"name": "v", "mountPath": "/d"}]
    first = {"name": "i", "image": "busybox", "command": ["sh", "-c", "echo init >> /d/log"], "volumeMounts": mounts}
    world.do(
        world.client.create(
            "pods",
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {
                    "nodeName": "node-0",
                    "automountServiceAccountToken": False,
                    "restartPolicy": "Never",
                    "volumes": [{"name": "v", "emptyDir": {}}],
                    "initContainers": [first],
                    "containers": [{"name": "c", "image": "nginx", "lifecycle": hook, "volumeMounts": mounts}, trigger],
                    **more,
                },
            },
        )
    )


def counts(world: World) -> dict[str, int]:
    status = world.status()
    every = [*(status.get("initContainerStatuses") or ()), *status["containerStatuses"]]
    return {c["name"]: c["restartCount"] for c in every}


def test_all_containers_begin_anew_in_the_same_sandbox_with_the_same_volumes(world: World) -> None:
    restarting_pod(world)
    world.until(lambda: world.ready())
    assert world.condition("AllContainersRestarting") == "False"
    ip = world.status()["podIP"]
    world.until(lambda: world.ready() and counts(world) == {"i": 1, "c": 1, "t": 1}, 20)
    assert world.status()["podIP"] == ip
    assert world.phase() == "Running"
    assert world.container(container="t")["lastState"]["terminated"]["exitCode"] == 42
    assert world.container(container="c")["lastState"]["terminated"]["exitCode"] == 137
    store = next(iter(next(iter(world.machine.sandboxes.values())).stores.values()))
    assert store["log"] == b"init\ninit\n", "no hook runs before such a restart"


def test_the_next_restarts_wait_longer_and_longer(world: World) -> None:
    restarting_pod(world)
    world.until(lambda: world.ready() and counts(world)["t"] == 1, 20)
    world.until(lambda: "CrashLoopBackOff" in str(world.container(container="t")["state"]), 20)
    assert "running" in world.container(container="c")["state"], "the others run on meanwhile"
    began = world.sim.clock.monotonic()
    world.until(lambda: counts(world) == {"i": 2, "c": 2, "t": 2}, 30)
    assert world.sim.clock.monotonic() - began > 5


def test_a_kubelet_that_crashes_in_the_middle_goes_on_with_it(world: World) -> None:
    restarting_pod(world, terminationGracePeriodSeconds=8)
    world.do(
        world.client.patch("pods", "web", "default", {"metadata": {"annotations": {"kubekka.dev/on-term.c": "ignore"}}})
    )
    world.until(lambda: world.condition("AllContainersRestarting") == "True", 20)
    world.sim.crash(world.kubelet)
    world.until(lambda: world.ready() and counts(world) == {"i": 1, "c": 1, "t": 1}, 40)
    assert world.condition("AllContainersRestarting") == "False"
    assert len(world.machine.sandboxes) == 1
