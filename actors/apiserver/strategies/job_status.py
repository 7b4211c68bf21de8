"""What a job's status may say, and how it may change.

Owns the rules for counters, indexes, times and conditions (`pkg/apis/batch/validation` with the
options of `pkg/registry/batch/job`). A rule is applied when what it is about has changed, so that
old objects can still be written.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._errors import (
    OMIT,
    FieldError,
    duplicate,
    invalid,
    required,
)
from actors.apiserver.strategies._meta import nonnegative
from actors.apiserver.strategies.job_spec import count_indexes, parse_interval

__all__ = ["condition_true", "validate_job_status"]

Object = dict[str, Any]

_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")
_TERMINAL = ("Failed", "Complete", "FailureTarget")


def condition_true(status: Object, kind: str) -> bool:
    """Whether a condition holds."""
    return any(
        condition.get("type") == kind and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )


class _Change:
    """The old and the new status, and what differs between them."""

    def __init__(self, new: Object, old: Object) -> None:
        self.spec: Object = new.get("spec") or {}
        self.now: Object = new.get("status") or {}
        self.was: Object = old.get("status") or {}
        self.indexed = self.spec.get("completionMode") == "Indexed"

    def of(self, *fields: str) -> bool:
        """Whether one of the fields changed."""
        return any(self.now.get(field) != self.was.get(field) for field in fields)

    def turned(self, *kinds: str) -> bool:
        """Whether one of the conditions changed."""
        return any(self.holds(kind) != self.held(kind) for kind in kinds)

    def holds(self, kind: str) -> bool:
        """Whether a condition holds now."""
        return condition_true(self.now, kind)

    def held(self, kind: str) -> bool:
        """Whether a condition held before."""
        return condition_true(self.was, kind)

    @property
    def finished(self) -> bool:
        """Whether the job is over."""
        return self.holds("Complete") or self.holds("Failed")

    @property
    def finishing(self) -> bool:
        """Whether that changed."""
        return self.finished != (self.held("Complete") or self.held("Failed"))


def _conditions(detail: str) -> FieldError:
    return invalid("status.conditions", OMIT, detail)


def validate_job_status(new: Object, old: Object) -> list[FieldError]:
    """The status of a job that replaces an older one."""
    change = _Change(new, old)
    errors: list[FieldError] = []
    for name in _COUNTS:
        errors += nonnegative(change.now.get(name), f"status.{name}")
    errors += _uncounted(change.now)
    errors += _times(change)
    errors += _verdicts(change)
    errors += _finished(change)
    errors += _indexes(change)
    errors += _counters(change)
    return errors + _transitions(change)


def _uncounted(status: Object) -> list[FieldError]:
    pods = status.get("uncountedTerminatedPods") or {}
    errors: list[FieldError] = []
    seen: set[str] = set()
    for key in ("succeeded", "failed"):
        for index, uid in enumerate(pods.get(key) or ()):
            at = f"status.uncountedTerminatedPods.{key}[{index}]"
            if not uid:
                errors.append(invalid(at, uid, "must not be empty"))
            elif uid in seen:
                errors.append(duplicate(at, uid))
            seen.add(uid)
    return errors


def _times(change: _Change) -> list[FieldError]:
    start, end = change.now.get("startTime"), change.now.get("completionTime")
    complete, at = change.holds("Complete"), "status.completionTime"
    errors: list[FieldError] = []
    if change.turned("Complete", "Failed") and complete and change.holds("Failed"):
        errors.append(_conditions("cannot set Complete=True and Failed=true conditions"))
    if change.turned("Complete", "FailureTarget") and complete and change.holds("FailureTarget"):
        errors.append(_conditions("cannot set Complete=True and FailureTarget=true conditions"))
    if change.turned("Complete") or change.of("completionTime"):
        if end is not None and not complete:
            detail = "cannot set completionTime when there is no Complete=True condition"
            errors.append(invalid(at, end, detail))
        if end is None and complete:
            errors.append(required(at, "completionTime is required for Complete jobs"))
    if change.of("startTime", "completionTime") and start and end and end < start:
        errors.append(invalid(at, end, "must be equal to or after `startTime`"))
    return errors


def _verdicts(change: _Change) -> list[FieldError]:
    errors: list[FieldError] = []
    failed, complete = change.holds("Failed"), change.holds("Complete")
    if (change.turned("Failed") or change.of("failedIndexes")) and failed:
        if not change.holds("FailureTarget"):
            detail = "cannot set Failed=True condition without the FailureTarget=true condition"
            errors.append(_conditions(detail))
    if change.turned("Complete", "SuccessCriteriaMet") and complete:
        if not change.holds("SuccessCriteriaMet"):
            detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
            errors.append(_conditions(detail))
    return errors


def _finished(change: _Change) -> list[FieldError]:
    """A finished job has no pods left."""
    if not change.finished:
        return []
    now, finishing = change.now, change.finishing
    errors: list[FieldError] = []
    active, pods = now.get("active", 0), now.get("uncountedTerminatedPods") or {}
    if (finishing or change.of("active")) and active > 0:
        errors.append(invalid("status.active", active, "active>0 is invalid for finished job"))
    idle = change.spec.get("suspend") and change.spec.get("completions") == 0
    if (finishing or change.of("startTime")) and not now.get("startTime") and not idle:
        errors.append(required("status.startTime", "startTime is required for finished job"))
    if (finishing or change.of("uncountedTerminatedPods")) and any(pods.values()):
        shown = {"Succeeded": pods.get("succeeded"), "Failed": pods.get("failed")}
        at = "status.uncountedTerminatedPods"
        errors.append(invalid(at, shown, "must be empty for finished job"))
    return errors


def _indexes(change: _Change) -> list[FieldError]:
    now, completions = change.now, change.spec.get("completions")
    completed, failed = now.get("completedIndexes", ""), now.get("failedIndexes")
    limited = change.spec.get("backoffLimitPerIndex") is not None
    errors: list[FieldError] = []
    if change.of("completedIndexes") and completions is not None:
        if problem := count_indexes(completed, completions)[1]:
            detail = f"error parsing completedIndexes: {problem}"
            errors.append(invalid("status.completedIndexes", completed, detail))
    if change.of("failedIndexes") and completions is not None and limited and failed is not None:
        if problem := count_indexes(failed, completions)[1]:
            detail = f"error parsing failedIndexes: {problem}"
            errors.append(invalid("status.failedIndexes", failed, detail))
    if change.of("completedIndexes") and completed and not change.indexed:
        detail = "cannot set non-empty completedIndexes when non-indexed completion mode"
        errors.append(invalid("status.completedIndexes", completed, detail))
    if change.of("failedIndexes") and failed is not None and not limited:
        detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        errors.append(invalid("status.failedIndexes", failed, detail))
    if change.of("failedIndexes", "completedIndexes") and completions is not None and failed:
        both = _common(completed, failed, completions)
        if both is not None:
            detail = f"failedIndexes and completedIndexes overlap at index: {both}"
            errors.append(invalid("status.failedIndexes", failed, detail))
    return errors


def _intervals(text: str, completions: int) -> list[tuple[int, int]]:
    """The well-formed intervals of a text."""
    found: list[tuple[int, int]] = []
    for part in text.split(",") if text else ():
        try:
            found.append(parse_interval(part, completions))
        except ValueError:
            continue
    return found


def _common(completed: str, failed: str, completions: int) -> int | None:
    """The first index in both texts."""
    done, broken = _intervals(completed, completions), _intervals(failed, completions)
    while done and broken:
        (low, high), (first, last) = done[0], broken[0]
        if low <= last and first <= high:
            return max(low, first)
        (done if low <= first else broken).pop(0)
    return None


def _counters(change: _Change) -> list[FieldError]:
    now, finishing = change.now, change.finishing
    terminating, ready = now.get("terminating") or 0, now.get("ready")
    errors: list[FieldError] = []
    if (finishing or change.of("terminating")) and change.finished and terminating > 0:
        detail = "terminating>0 is invalid for finished job"
        errors.append(invalid("status.terminating", terminating, detail))
    if change.of("ready", "active") and ready is not None and ready > now.get("active", 0):
        detail = "cannot set more ready pods than active"
        errors.append(invalid("status.ready", ready, detail))
    met = change.holds("SuccessCriteriaMet")
    for kind in ("Failed", "FailureTarget"):
        if met and change.holds(kind):
            detail = f"cannot set SuccessCriteriaMet=True and {kind}=true conditions"
            errors.append(_conditions(detail))
    if change.spec.get("successPolicy") is not None and not met and change.holds("Complete"):
        detail = (
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        )
        errors.append(_conditions(detail))
    return errors


def _transitions(change: _Change) -> list[FieldError]:
    """What no write takes back."""
    now, was, spec = change.now, change.was, change.spec
    errors = [
        _conditions(f"cannot disable the terminal {kind}=True condition")
        for kind in _TERMINAL
        if change.held(kind) and not change.holds(kind)
    ]
    scalable = change.indexed and spec.get("completions") == spec.get("parallelism")
    for key in ("failed", "succeeded"):
        if now.get(key, 0) < was.get(key, 0) and not (key == "succeeded" and scalable):
            detail = f"cannot decrease the {key} counter"
            errors.append(invalid(f"status.{key}", now.get(key, 0), detail))
    end, before = now.get("completionTime"), was.get("completionTime")
    if end is not None and before is not None and end != before:
        errors.append(invalid("status.completionTime", end, "field is immutable"))
    if was.get("startTime") and change.of("startTime") and not spec.get("suspend"):
        detail = "startTime cannot be removed for unsuspended job"
        errors.append(required("status.startTime", detail))
    if change.held("SuccessCriteriaMet") and not change.holds("SuccessCriteriaMet"):
        errors.append(_conditions("cannot disable the SuccessCriteriaMet=True condition"))
    if change.held("Complete") and not change.held("SuccessCriteriaMet"):
        if change.holds("SuccessCriteriaMet"):
            detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
            errors.append(_conditions(detail))
    return errors
