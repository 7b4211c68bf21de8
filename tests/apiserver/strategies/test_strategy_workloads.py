"""Workloads and batch kinds: generations, selectors, what may change, statuses."""

from __future__ import annotations

from typing import Any

import pytest


def workload(template: Any, **spec: Any) -> dict[str, Any]:
    body = {"selector": {"matchLabels": {"app": "a"}}, "template": template, **spec}
    return {"metadata": {"name": "w"}, "spec": body}


def test_a_changed_spec_counts_a_generation_and_a_changed_label_does_not(kit: Any, template: Any) -> None:
    one = kit("deployments")
    old = one.create(workload(template()))
    scaled = one.update(old, lambda obj: obj["spec"].update(replicas=3))
    labelled = one.update(old, lambda obj: obj["metadata"].update(labels={"a": "b"}))
    assert scaled["metadata"]["generation"] == 2
    assert labelled["metadata"]["generation"] == 1


def test_annotations_of_a_deployment_count_as_a_change(kit: Any, template: Any) -> None:
    one = kit("deployments")
    old = one.create(workload(template()))
    noted = one.update(old, lambda obj: obj["metadata"].update(annotations={"a": "b"}))
    assert noted["metadata"]["generation"] == 2


@pytest.mark.parametrize("word", ["deployments", "replicasets", "statefulsets", "daemonsets"])
def test_a_selector_must_match_the_template(kit: Any, template: Any, word: str) -> None:
    body = workload(template())
    body["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    (error,) = kit(word).wrong(body)
    assert error == (
        'spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match '
        "template `labels`"
    )


@pytest.mark.parametrize("word", ["deployments", "replicasets", "daemonsets"])
def test_a_selector_never_changes(kit: Any, template: Any, word: str) -> None:
    one = kit(word)
    old = one.create(workload(template()))

    def reselect(obj: Any) -> None:
        obj["spec"]["selector"]["matchLabels"]["tier"] = "t"
        obj["spec"]["template"]["metadata"]["labels"]["tier"] = "t"

    (error,) = one.refused(old, reselect)
    assert error.startswith("spec.selector: Invalid value: ")
    assert error.endswith(": field is immutable")


def test_a_rollout_must_be_able_to_move(kit: Any, template: Any) -> None:
    rolling = {"maxSurge": 0, "maxUnavailable": 0}
    body = workload(template(), strategy={"rollingUpdate": rolling})
    assert kit("deployments").wrong(body) == [
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"
    ]


def test_pods_of_a_stateful_set_mount_the_volumes_of_its_claims(kit: Any, template: Any) -> None:
    made = template()
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/d"}]
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    body = workload(made, volumeClaimTemplates=[claim])
    assert kit("statefulsets").wrong(body) == []
    assert kit("deployments").wrong(workload(made)) == [
        'spec.template.spec.containers[0].volumeMounts[0].name: Not found: "data"'
    ]


def test_a_stateful_set_keeps_its_service_name(kit: Any, template: Any) -> None:
    one = kit("statefulsets")
    old = one.create(workload(template(), serviceName="s"))
    (error,) = one.refused(old, lambda obj: obj["spec"].update(serviceName="t"))
    assert error.startswith("spec: Forbidden: updates to statefulset spec for fields other than")
    assert one.update(old, lambda obj: obj["spec"].update(replicas=0))


def test_a_daemon_set_counts_changes_of_its_template(kit: Any, template: Any) -> None:
    one, key = kit("daemonsets"), "deprecated.daemonset.template.generation"
    old = one.create(workload(template()))
    new = one.update(old, lambda obj: obj["spec"]["template"]["metadata"]["labels"].update(b="c"))
    assert (old["metadata"]["annotations"][key], new["metadata"]["annotations"][key]) == ("1", "2")
    assert "annotations" not in one.strategy.internal_metadata(new)


def job(template: Any, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "j"}, "spec": {"template": template(restartPolicy="Never"), **spec}}


def test_a_job_selects_its_pods_by_its_uid(kit: Any, template: Any) -> None:
    made = kit("jobs").create(job(template))
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}
    assert labels["job-name"] == labels["batch.kubernetes.io/job-name"] == "j"


def test_a_job_restarts_its_pods_itself(kit: Any, template: Any) -> None:
    body = {"metadata": {"name": "j"}, "spec": {"template": template()}}
    assert kit("jobs").wrong(body) == [
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
    ]


def test_a_failure_policy_needs_one_reason_for_each_rule(kit: Any, template: Any) -> None:
    body = job(template, podFailurePolicy={"rules": [{"action": "Ignore"}]})
    assert kit("jobs").wrong(body) == [
        "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and "
        "OnPodConditions is required"
    ]


@pytest.mark.parametrize(
    ("indexes", "problem"),
    [
        ("1,1", "non-increasing order, previous: 1, current: 1"),
        ("0-9", 'too large index: "9"'),
        ("a", 'cannot convert string to integer for index: "a"'),
        ("3-2", "non-increasing order, previous: 3, current: 2"),
    ],
)
def test_indexes_of_a_success_policy_must_exist_in_order(kit: Any, template: Any, indexes: str, problem: str) -> None:
    policy = {"rules": [{"succeededIndexes": indexes}]}
    body = job(template, completionMode="Indexed", completions=5, successPolicy=policy)
    assert kit("jobs").wrong(body) == [
        f'spec.successPolicy.rules[0].succeededIndexes: Invalid value: "{indexes}": error parsing '
        f"succeededIndexes: {problem}"
    ]


def conditions(*kinds: str) -> list[dict[str, str]]:
    return [{"type": kind, "status": "True"} for kind in kinds]


def test_a_job_is_complete_with_a_time_and_a_reason_before(kit: Any, template: Any) -> None:
    one = kit("jobs")
    old = one.create(job(template))
    times = {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:05Z"}

    def complete(obj: Any, *kinds: str, **more: Any) -> None:
        obj["status"] = {"conditions": conditions(*kinds), **times, **more}

    done = one.update(old, lambda obj: complete(obj, "SuccessCriteriaMet", "Complete"), "status")
    assert one.refused(old, lambda obj: complete(obj, "Complete"), "status") == [
        "status.conditions: Invalid value: cannot set Complete=True condition without the "
        "SuccessCriteriaMet=true condition"
    ]
    assert one.refused(old, lambda obj: complete(obj, "SuccessCriteriaMet", "Complete", active=1), "status") == [
        "status.active: Invalid value: 1: active>0 is invalid for finished job"
    ]
    assert "status.conditions: Invalid value: cannot disable the terminal Complete=True condition" in one.refused(
        done, lambda obj: obj["status"].update(conditions=[]), "status"
    )


@pytest.mark.parametrize(
    ("schedule", "valid"),
    [("*/5 * * * *", True), ("@daily", True), ("@every 5m", True), ("* * *", False), ("61 * * * *", False), ("@often", False)],
)
def test_a_cron_job_has_a_schedule_that_can_be_read(kit: Any, template: Any, schedule: str, valid: bool) -> None:
    body = {
        "metadata": {"name": "c"},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": template(restartPolicy="Never")}}},
    }
    assert (kit("cronjobs").wrong(body) == []) is valid


def test_a_time_zone_must_be_known(kit: Any, template: Any) -> None:
    spec = {"schedule": "@daily", "jobTemplate": {"spec": {"template": template(restartPolicy="Never")}}}
    one = kit("cronjobs")
    assert one.wrong({"metadata": {"name": "c"}, "spec": {**spec, "timeZone": "Europe/Zurich"}}) == []
    assert one.wrong({"metadata": {"name": "c"}, "spec": {**spec, "timeZone": "Mars/Olympus"}}) == [
        'spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus'
    ]


@pytest.mark.parametrize("word", ["replicasets", "deployments", "statefulsets"])
def test_a_status_with_fewer_than_no_replicas_is_refused(kit: Any, template: Any, word: str) -> None:
    one = kit(word)
    spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template(), "serviceName": "s"}
    old = one.create({"metadata": {"name": "x"}, "spec": spec})
    errors = one.refused(old, lambda obj: obj["status"].update(replicas=-1), "status")
    assert errors[0].startswith("status.replicas: Invalid value: -1")
