"""The Job and TTL-after-finished controllers, on a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from actors.controllers._jobindexes import Indexes

CONTROLLERS = "job-controller"


def make(template: Any, name: str = "j", **spec: Any) -> dict[str, Any]:
    pod = template(name, restartPolicy="Never")
    pod["metadata"] = {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": pod, **spec},
    }


def status(world: Any, name: str = "j") -> dict[str, Any]:
    found: dict[str, Any] = world.get("jobs", name).get("status") or {}
    return found


def conditions(world: Any, name: str = "j") -> list[tuple[str, str]]:
    return [(c["type"], c["reason"]) for c in status(world, name).get("conditions") or ()]


def fates(world: Any, fate: str = "Succeeded") -> None:
    world.rules.fate = lambda pod: fate


def test_a_job_runs_its_pods_and_counts_each_once(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    fates(world)
    world.create("jobs", make(template, completions=5, parallelism=2))
    most = 0
    for _ in range(600):
        world.sim.advance(0.02)
        most = max(most, status(world).get("active", 0))
    assert most == 2
    found = status(world)
    assert (found["succeeded"], found["ready"], found["terminating"]) == (5, 0, 0)
    assert found["uncountedTerminatedPods"] == {}
    assert "active" not in found
    assert "failed" not in found
    assert conditions(world) == [
        ("SuccessCriteriaMet", "CompletionsReached"),
        ("Complete", "CompletionsReached"),
    ]
    pods = world.pods()
    assert len(pods) == 5
    assert not any(p["metadata"].get("finalizers") for p in pods)
    assert world.events("Completed") == ["Normal Completed Job/j: Job completed"]


def test_failures_back_off_and_end_the_job_at_the_limit(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    fates(world, "Failed")
    world.create("jobs", make(template, backoffLimit=1))
    world.sim.advance(5)
    assert status(world)["failed"] == 1
    assert len(world.pods()) == 1  # the second try waits for ten seconds
    world.eventually(lambda: ("Failed", "BackoffLimitExceeded") in conditions(world))
    assert status(world)["failed"] == 2
    assert conditions(world)[0] == ("FailureTarget", "BackoffLimitExceeded")
    assert world.events("BackoffLimitExceeded") == [
        "Warning BackoffLimitExceeded Job/j: Job has reached the specified backoff limit"
    ]


def test_the_deadline_ends_a_job_and_its_pods(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    world.create("jobs", make(template, activeDeadlineSeconds=5))
    world.eventually(lambda: ("Failed", "DeadlineExceeded") in conditions(world))
    assert world.list("pods", "default") == []
    assert status(world)["failed"] == 1


def test_a_suspended_job_has_no_pods_until_it_is_resumed(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    world.create("jobs", make(template, suspend=True, parallelism=2, completions=2))
    world.eventually(lambda: conditions(world) == [("Suspended", "JobSuspended")])
    assert "startTime" not in status(world)
    world.patch("jobs", "j", {"spec": {"suspend": False}})
    world.eventually(lambda: status(world).get("ready") == 2)
    assert conditions(world) == [("Suspended", "JobResumed")]
    assert status(world)["startTime"]
    world.patch("jobs", "j", {"spec": {"suspend": True}})
    world.eventually(lambda: world.list("pods", "default") == [])
    world.eventually(lambda: "startTime" not in status(world))
    assert "failed" not in status(world)


def test_the_failure_policy_can_fail_the_job_at_once(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    fates(world, "Failed")
    world.rules.exit_code = lambda pod: 42
    codes = {"containerName": "c", "operator": "In", "values": [42]}
    policy = {"rules": [{"action": "FailJob", "onExitCodes": codes}]}
    world.create("jobs", make(template, backoffLimit=6, podFailurePolicy=policy))
    world.eventually(lambda: ("Failed", "PodFailurePolicy") in conditions(world))
    (pod,) = world.pods()
    message = status(world)["conditions"][-1]["message"]
    assert message == (
        f"Container c for pod default/{pod['metadata']['name']} failed with exit code 42"
        " matching FailJob rule at index 0"
    )


def test_failures_that_the_policy_ignores_do_not_count(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    fates(world, "Failed")
    codes = {"operator": "In", "values": [1]}
    policy = {"rules": [{"action": "Ignore", "onExitCodes": codes}]}
    world.create("jobs", make(template, backoffLimit=0, podFailurePolicy=policy))
    world.sim.advance(25)
    assert "failed" not in status(world)
    assert ("Failed", "BackoffLimitExceeded") not in conditions(world)
    fates(world, "Succeeded")
    world.look()
    world.eventually(lambda: ("Complete", "CompletionsReached") in conditions(world), timeout_s=120)


def test_an_indexed_job_gives_each_index_its_pod(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    fates(world)
    world.create("jobs", make(template, completions=4, parallelism=4, completionMode="Indexed"))
    world.eventually(lambda: ("Complete", "CompletionsReached") in conditions(world))
    assert status(world)["completedIndexes"] == "0-3"
    index = "batch.kubernetes.io/job-completion-index"
    pods = world.pods()
    assert sorted(p["metadata"]["annotations"][index] for p in pods) == ["0", "1", "2", "3"]
    for pod in pods:
        number = pod["metadata"]["annotations"][index]
        assert pod["spec"]["hostname"] == f"j-{number}"
        assert pod["metadata"]["name"].startswith(f"j-{number}-")
        environment = {e["name"] for e in pod["spec"]["containers"][0]["env"]}
        assert environment == {"JOB_COMPLETION_INDEX"}


def test_each_index_has_its_own_limit(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    index = "batch.kubernetes.io/job-completion-index"
    world.rules.fate = lambda pod: (
        "Failed" if pod["metadata"]["annotations"][index] == "1" else "Succeeded"
    )
    spec = {"completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1}
    world.create("jobs", make(template, **spec))
    world.eventually(lambda: ("Failed", "FailedIndexes") in conditions(world), timeout_s=60)
    found = status(world)
    assert (found["completedIndexes"], found["failedIndexes"]) == ("0,2", "1")
    assert (found["succeeded"], found["failed"]) == (2, 2)


def test_the_success_policy_ends_the_job_early(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    index = "batch.kubernetes.io/job-completion-index"
    world.rules.fate = lambda pod: (
        "Succeeded" if pod["metadata"]["annotations"][index] == "0" else ""
    )
    policy = {"rules": [{"succeededIndexes": "0"}]}
    spec = {"completions": 3, "parallelism": 3, "completionMode": "Indexed", "successPolicy": policy}
    world.create("jobs", make(template, **spec))
    world.eventually(lambda: ("Complete", "SuccessPolicy") in conditions(world))
    assert status(world)["succeeded"] == 1
    assert status(world)["conditions"][-1]["message"] == "Matched rules at index 0"
    assert len(world.pods()) == 1


def test_without_completions_one_success_is_enough(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    world.create("jobs", make(template, parallelism=2))
    world.patch("jobs", "j", {"spec": {"parallelism": 3}})
    world.eventually(lambda: status(world).get("active") == 1 or status(world).get("active") == 3)
    fates(world)
    world.look()
    world.eventually(lambda: any(kind == "Complete" for kind, _ in conditions(world)))


def test_with_pod_replacement_policy_failed_a_pod_that_is_going_is_waited_for(
    running: Any, template: Any
) -> None:
    world = running(CONTROLLERS)
    world.rules.stop_s = 20.0
    world.create("jobs", make(template, podReplacementPolicy="Failed"))
    world.eventually(lambda: status(world).get("ready") == 1)
    world.delete("pods", world.pods()[0]["metadata"]["name"])
    world.sim.advance(10)
    assert world.pods() == []
    assert status(world)["terminating"] == 1


def test_deleting_a_job_leaves_no_finalizer_behind(running: Any, template: Any) -> None:
    world = running(CONTROLLERS)
    world.create("jobs", make(template, parallelism=2, completions=2))
    world.eventually(lambda: status(world).get("ready") == 2)
    world.delete("jobs", "j", propagation="Background")
    world.eventually(lambda: world.get("jobs", "j") is None)
    world.eventually(lambda: not any(p["metadata"].get("finalizers") for p in world.pods()))


def test_a_finished_job_is_deleted_when_its_time_has_come(running: Any, template: Any) -> None:
    world = running("job-controller,ttl-after-finished-controller,garbage-collector-controller")
    fates(world)
    world.create("jobs", make(template, ttlSecondsAfterFinished=30))
    world.eventually(lambda: ("Complete", "CompletionsReached") in conditions(world))
    world.sim.advance(25)
    assert world.get("jobs", "j") is not None
    world.eventually(lambda: world.get("jobs", "j") is None, timeout_s=20)


@pytest.mark.parametrize(
    ("text", "members"),
    [("", []), ("0", [0]), ("0,2-4", [0, 2, 3, 4]), ("1-2", [1, 2]), ("7-9", [7])],
)
def test_index_sets_are_read_up_to_the_number_of_completions(text: str, members: list[int]) -> None:
    assert list(Indexes.parse(text, 8)) == members


def test_index_sets_are_written_as_runs() -> None:
    assert str(Indexes([0, 1, 3, 4, 5, 9])) == "0,1,3-5,9"
