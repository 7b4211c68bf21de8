"""The pods of a Job: how they are made, when they count as failed, what policies say of them.

Pure functions on frozen objects; the present time is an argument.
https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from actors.controllers._jobindexes import Indexes
from actors.controllers._pods import epoch, pod_from_template
from protocol.objects import Object, deleting, labels, metadata, name, namespace, spec, status
from protocol.objects import annotations as annotations_of

__all__ = [
    "COMPLETION_INDEX",
    "FINALIZER",
    "completion_index",
    "counts_as_failed",
    "failure_count",
    "failure_verdict",
    "finished_at",
    "has_finalizer",
    "is_indexed",
    "job_pod",
    "only_replaces_failed",
    "per_index_limit",
    "restarts_exceed",
    "success_rule",
]

FINALIZER = "batch.kubernetes.io/job-tracking"
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
FAILURE_COUNT = "batch.kubernetes.io/job-index-failure-count"
IGNORED_COUNT = "batch.kubernetes.io/job-index-ignored-failure-count"
INDEX_ENVIRONMENT = "JOB_COMPLETION_INDEX"


def is_indexed(job: Object) -> bool:
    return spec(job).get("completionMode") == "Indexed"


def per_index_limit(job: Object) -> int | None:
    """How often each index may fail; None where only the whole Job has a limit."""
    return spec(job).get("backoffLimitPerIndex") if is_indexed(job) else None


def only_replaces_failed(job: Object) -> bool:
    """Whether a pod that is terminating is still waited for before it is replaced."""
    of = spec(job)
    return of.get("podReplacementPolicy") == "Failed" or of.get("podFailurePolicy") is not None


def has_finalizer(pod: Object) -> bool:
    """Whether the pod is still to be counted."""
    return FINALIZER in (metadata(pod).get("finalizers") or ())


def counts_as_failed(pod: Object, job: Object) -> bool:
    """Whether the pod has failed, or is going and will never succeed."""
    phase = status(pod).get("phase")
    if phase == "Failed":
        return True
    if only_replaces_failed(job):
        return False
    return deleting(pod) and phase != "Succeeded"


def completion_index(pod: Object) -> int:
    """The index that an Indexed Job's pod works on, -1 if it does not say."""
    text = annotations_of(pod).get(COMPLETION_INDEX, labels(pod).get(COMPLETION_INDEX, ""))
    try:
        return int(text)
    except ValueError:
        return -1


def failure_count(pod: Object) -> int:
    """How often the pod's index had failed when it was made."""
    try:
        return int(annotations_of(pod).get(FAILURE_COUNT, "0"))
    except ValueError:
        return 0


def finished_at(pod: Object, now: float) -> float:
    """When the pod ended, in seconds since the epoch: by its containers, else by its conditions."""
    ends = [
        terminated["finishedAt"]
        for field in ("containerStatuses", "initContainerStatuses")
        for entry in status(pod).get(field) or ()
        if (terminated := (entry.get("state") or {}).get("terminated"))
        and terminated.get("finishedAt")
    ]
    if ends:
        return max(epoch(text) for text in ends)
    for entry in status(pod).get("conditions") or ():
        if entry.get("type") == "Ready" and entry.get("lastTransitionTime"):
            return epoch(entry["lastTransitionTime"])
    going = metadata(pod).get("deletionTimestamp")
    return min(epoch(going), now) if going else now


def job_pod(job: Object, index: int | None, failures: int | None) -> Object:
    """A pod of the Job, not created yet; `index` for an Indexed one, `failures` of that index."""
    pod = pod_from_template(spec(job).get("template") or {}, job)
    meta = pod["metadata"]
    meta["finalizers"] = [*(meta.get("finalizers") or ()), FINALIZER]
    if index is None:
        return pod
    meta["annotations"] = {**(meta.get("annotations") or {}), COMPLETION_INDEX: str(index)}
    meta["labels"] = {**(meta.get("labels") or {}), COMPLETION_INDEX: str(index)}
    meta["generateName"] = f"{name(job)}-{index}-"
    if failures is not None:
        meta["annotations"][FAILURE_COUNT] = str(failures)
    pod["spec"] = {**spec(pod), "hostname": f"{name(job)}-{index}"}
    for field in ("initContainers", "containers"):
        if pod["spec"].get(field):
            pod["spec"][field] = [_with_index(c) for c in pod["spec"][field]]
    return pod


def _with_index(container: Object) -> Object:
    environment = container.get("env") or []
    if any(e.get("name") == INDEX_ENVIRONMENT for e in environment):
        return container
    source = {"fieldRef": {"fieldPath": f"metadata.annotations['{COMPLETION_INDEX}']"}}
    entry = {"name": INDEX_ENVIRONMENT, "valueFrom": source}
    return {**container, "env": [*environment, entry]}


def restarts_exceed(job: Object, pods: Iterable[Object]) -> bool:
    """With restartPolicy OnFailure: whether the restarts in place are more than the limit."""
    template_spec = (spec(job).get("template") or {}).get("spec") or {}
    if template_spec.get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(
        entry.get("restartCount", 0)
        for pod in pods
        if status(pod).get("phase") in ("Running", "Pending")
        for field in ("initContainerStatuses", "containerStatuses")
        for entry in status(pod).get(field) or ()
    )
    limit = spec(job).get("backoffLimit", 6)
    return restarts > 0 if limit == 0 else restarts >= limit


# --- policies -----------------------------------------------------------------------------------


def failure_verdict(job: Object, pod: Object) -> tuple[str, str]:
    """(action, message) of the pod failure policy for a failed pod; the action is Count, Ignore,
    FailIndex or FailJob, and the message is why the Job fails."""
    policy = spec(job).get("podFailurePolicy") or {}
    for number, rule in enumerate(policy.get("rules") or ()):
        action = rule.get("action", "Count")
        who = f"{namespace(pod)}/{name(pod)}"
        if rule.get("onExitCodes"):
            match = _exit_code_match(pod, rule["onExitCodes"])
            if match is not None:
                code = match["state"]["terminated"]["exitCode"]
                return action, (
                    f"Container {match['name']} for pod {who} failed with exit code {code}"
                    f" matching {action} rule at index {number}"
                )
        elif rule.get("onPodConditions"):
            found = _condition_match(pod, rule["onPodConditions"])
            if found:
                return action, (
                    f"Pod {who} has condition {found} matching {action} rule at index {number}"
                )
    return "Count", ""


def _exit_code_match(pod: Object, wanted: Object) -> Object | None:
    values = wanted.get("values") or ()
    for field in ("containerStatuses", "initContainerStatuses"):
        for entry in status(pod).get(field) or ():
            terminated = (entry.get("state") or {}).get("terminated")
            if not terminated or not terminated.get("exitCode"):
                continue
            if wanted.get("containerName") not in (None, "", entry.get("name")):
                continue
            if (terminated["exitCode"] in values) == (wanted.get("operator") == "In"):
                return entry  # type: ignore[no-any-return]
    return None


def _condition_match(pod: Object, patterns: Iterable[Object]) -> str:
    for condition in status(pod).get("conditions") or ():
        for pattern in patterns:
            if condition.get("type") == pattern.get("type"):
                if condition.get("status") == (pattern.get("status") or "True"):
                    return str(condition["type"])
    return ""


def success_rule(job: Object, succeeded: Indexes) -> int | None:
    """The number of the first rule of the success policy that is met."""
    policy: dict[str, Any] = spec(job).get("successPolicy") or {}
    for number, rule in enumerate(policy.get("rules") or ()):
        matching = list(succeeded)
        wanted = len(matching) + 1
        if rule.get("succeededIndexes"):
            among = Indexes.parse(rule["succeededIndexes"], spec(job).get("completions") or 0)
            matching = [i for i in matching if i in among]
            wanted = len(among)
        if rule.get("succeededCount") is not None:
            wanted = rule["succeededCount"]
        if len(matching) >= wanted:
            return number
    return None
