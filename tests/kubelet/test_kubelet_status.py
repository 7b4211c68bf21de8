"""Phases, conditions and container statuses as functions of what runs."""

from __future__ import annotations

from typing import Any

import pytest

from actors.kubelet._backoff import Backoff
from actors.kubelet._plan import EXITED, RUNNING, Member, plan
from actors.kubelet._spec import container_kinds
from actors.kubelet._status import PodFacts, phase_of, pod_status, status_patch

Object = dict[str, Any]
NOW = 1_700_000_000.0


def pod(
    policy: str = "Always",
    mains: tuple[str, ...] = ("c",),
    init: tuple[str, ...] = (),
    sidecars: tuple[str, ...] = (),
    **spec: Any,
) -> Object:
    first = [{"name": n, "image": "i"} for n in init] + [
        {"name": n, "image": "i", "restartPolicy": "Always"} for n in sidecars
    ]
    return {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 2},
        "spec": {
            "restartPolicy": policy,
            "initContainers": first,
            "containers": [{"name": n, "image": "i"} for n in mains],
            **spec,
        },
    }


def members(p: Object, **states: Any) -> list[Member]:
    """States: "run", "ready", an exit code, or (exit code, waiting reason)."""
    found = []
    for index, (kind, spec) in enumerate(container_kinds(p)):
        member = Member(kind, index, spec)
        state = states.get(member.name)
        if state in ("run", "ready"):
            member.state, member.started, member.ready = RUNNING, state == "ready", state == "ready"
            member.started_at, member.container_id = NOW, "id"
        elif state is not None:
            code, waiting = state if isinstance(state, tuple) else (state, "")
            member.state, member.exit_code, member.container_id, member.finished_at = EXITED, code, "id", NOW
            member.terminated = {"exitCode": code}
            member.waiting = (waiting, "") if waiting else None
        found.append(member)
    return found


@pytest.mark.parametrize(
    ("p", "states", "phase"),
    [
        (pod(), {}, "Pending"), (pod(), {"c": "ready"}, "Running"), (pod(), {"c": (1, "CrashLoopBackOff")}, "Running"), (pod(), {"c": 0}, "Running"),
        (pod("Never"), {"c": 0}, "Succeeded"), (pod("Never"), {"c": 7}, "Failed"), (pod("OnFailure"), {"c": 0}, "Succeeded"), (pod("OnFailure"), {"c": 7}, "Running"),
        (pod("Never", ("c", "d")), {"c": 0, "d": "run"}, "Running"), (pod("Never", ("c", "d")), {"c": 1, "d": 0}, "Failed"), (pod("Never", ("c", "d")), {"c": "run"}, "Pending"),
        (pod(init=("i",)), {"i": "run"}, "Pending"), (pod("Never", init=("i",)), {"i": 1}, "Failed"), (pod(init=("i",)), {"i": (1, "CrashLoopBackOff")}, "Pending"),
        (pod(init=("i",)), {"i": 0, "c": "run"}, "Running"), (pod(sidecars=("s",)), {"s": "run"}, "Pending"), (pod("Never", sidecars=("s",)), {"s": "ready", "c": 0}, "Running"),
        (pod("Never", sidecars=("s",)), {"s": 137, "c": 0}, "Succeeded"),
    ],
)  # fmt: skip
def test_the_phase_follows_the_containers(p: Object, states: Object, phase: str) -> None:
    assert phase_of(p, members(p, **states), False) == phase


def conditions(p: Object, states: Object, **facts: Any) -> dict[str, tuple[str, str, str]]:
    known = PodFacts(("1.1.1.1",))
    known.sandbox_ready = True
    for name, value in facts.items():
        setattr(known, name, value)
    status = pod_status(p, members(p, **states), known, NOW)
    return {c["type"]: (c["status"], c.get("reason", ""), c.get("message", "")) for c in status["conditions"]}


def test_conditions_of_a_pod_that_is_up_are_all_true() -> None:
    assert set(conditions(pod(), {"c": "ready"}).values()) == {("True", "", "")}


def test_a_container_that_is_not_ready_is_named() -> None:
    found = conditions(pod(mains=("c", "d")), {"c": "ready", "d": "run"})
    assert (
        found["Ready"]
        == found["ContainersReady"]
        == ("False", "ContainersNotReady", "containers with unready status: [d]")
    )


def test_an_init_container_that_is_not_done_is_named() -> None:
    found = conditions(pod(init=("a", "b")), {"a": 0, "b": "run"})
    assert found["Initialized"] == ("False", "ContainersNotInitialized", "containers with incomplete status: [b]")


def test_readiness_gates_hold_back_the_pod_but_not_its_containers() -> None:
    p = pod(readinessGates=[{"conditionType": "lb"}, {"conditionType": "ok"}])
    p["status"] = {"conditions": [{"type": "ok", "status": "False"}]}
    found = conditions(p, {"c": "ready"})
    assert found["ContainersReady"][0] == "True"
    assert found["Ready"] == (
        "False",
        "ReadinessGatesNotReady",
        'corresponding condition of pod readiness gate "lb" does not exist., '
        'the status of pod readiness gate "ok" is not "True", but False',
    )
    assert found["ok"] == ("False", "", "")


@pytest.mark.parametrize(("code", "reason"), [(0, "PodCompleted"), (3, "PodFailed")])
def test_conditions_of_an_ended_pod_say_so(code: int, reason: str) -> None:
    found = conditions(pod("Never"), {"c": code}, terminal=True, sandbox_ready=False)
    assert found["Ready"] == found["ContainersReady"] == ("False", reason, "")
    assert found["PodReadyToStartContainers"][0] == "False"


def test_transition_times_stay_while_the_status_stays() -> None:
    p = pod()
    facts = PodFacts()
    p["status"] = pod_status(p, members(p, c="ready"), facts, NOW)
    later = pod_status(p, members(p, c="run"), facts, NOW + 60)
    times = {c["type"]: c["lastTransitionTime"] for c in later["conditions"]}
    assert times["Ready"] > times["Initialized"]
    assert all(c["observedGeneration"] == 2 for c in later["conditions"])
    assert later["startTime"] == p["status"]["startTime"]


def test_the_patch_holds_what_changed_and_nobody_elses_conditions() -> None:
    p = pod()
    facts = PodFacts(("1.1.1.1",))
    p["status"] = {**pod_status(p, members(p, c="ready"), facts, NOW), "nominatedNodeName": "x"}
    p["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True"})
    assert status_patch(p, pod_status(p, members(p, c="ready"), facts, NOW + 9)) is None
    patch = status_patch(p, pod_status(p, members(p, c="run"), facts, NOW + 9))
    assert patch is not None
    assert patch["metadata"]["uid"] == "u"
    assert [c["type"] for c in patch["status"]["conditions"]] == ["Ready", "ContainersReady"]
    assert set(patch["status"]) == {"conditions", "$setElementOrder/conditions", "containerStatuses"}


def test_waiting_containers_say_why() -> None:
    p = pod(init=("i",))
    status = pod_status(p, members(p), PodFacts(), NOW)
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    q = pod()
    q["spec"].pop("initContainers")
    assert pod_status(q, members(q), PodFacts(), NOW)["containerStatuses"][0]["state"] == {
        "waiting": {"reason": "ContainerCreating"}
    }


def starts(p: Object, states: Object, sandbox: bool = True, now: float = NOW + 1000) -> list[str]:
    return [m.name for m in plan(p, members(p, **states), sandbox, Backoff(), now).start]


def test_containers_start_together_after_the_init_containers_one_by_one() -> None:
    p = pod(mains=("c", "d"), init=("a", "b"))
    assert starts(p, {}) == ["a"]
    assert starts(p, {"a": "run"}) == []
    assert starts(p, {"a": 0}) == ["b"]
    assert starts(p, {"a": 0, "b": 0}) == ["c", "d"]


def test_a_sidecar_holds_up_what_follows_until_it_has_started() -> None:
    p = pod(sidecars=("s",))
    assert starts(p, {}) == ["s"]
    assert starts(p, {"s": "run"}) == []
    assert starts(p, {"s": "ready"}) == ["c"]
    assert starts(p, {"s": 1, "c": "ready"}) == ["s"]


def test_a_pod_ends_when_nothing_is_to_run_again() -> None:
    p = pod("Never", ("c", "d"), sidecars=("s",))
    assert not plan(p, members(p, s="ready", c=0, d="run"), True, Backoff(), NOW).ended
    assert plan(p, members(p, s="ready", c=0, d=1), True, Backoff(), NOW).ended
    assert plan(pod("Never", init=("i",)), members(pod("Never", init=("i",)), i=1), True, Backoff(), NOW).failed


def test_a_second_failure_waits_for_its_back_off() -> None:
    p, backoff = pod(), Backoff()
    assert plan(p, members(p, c=1), True, backoff, NOW).start
    backoff.advance("c", NOW)
    waiting = plan(p, members(p, c=1), True, backoff, NOW + 3)
    assert not waiting.start
    assert waiting.wake_in_s == pytest.approx(7)
    assert plan(p, members(p, c=1), True, backoff, NOW + 10).start


def test_a_sandbox_is_made_only_for_what_has_to_start() -> None:
    p = pod("Never")
    assert plan(p, members(p), False, Backoff(), NOW).sandbox
    assert not plan(p, members(p, c=0), False, Backoff(), NOW).sandbox
