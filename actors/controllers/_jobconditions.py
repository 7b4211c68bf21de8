"""Conditions of a Job, and how long failures hold it back.

Pure functions and names; upstream's texts are with those who set the conditions.
"""

from __future__ import annotations

from protocol.objects import Object, find_condition, spec

__all__ = [
    "COMPLETE",
    "FAILED",
    "FAILURE_TARGET",
    "SUCCESS_CRITERIA",
    "condition_entry",
    "ensure_condition",
    "is_suspended",
    "remaining_backoff_s",
]

COMPLETE = "Complete"
FAILED = "Failed"
FAILURE_TARGET = "FailureTarget"
SUCCESS_CRITERIA = "SuccessCriteriaMet"
BACKOFF_BASE_S = 10.0
BACKOFF_MAX_S = 600.0


def is_suspended(job: Object) -> bool:
    return bool(spec(job).get("suspend"))


def condition_entry(kind: str, state: str, reason: str, message: str, now: str) -> Object:
    return {
        "type": kind,
        "status": state,
        "lastProbeTime": now,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }


def ensure_condition(
    conditions: list[Object], kind: str, state: str, reason: str, message: str, now: str
) -> bool:
    """Have a condition with this status; one that would be False is not added. True if changed."""
    present = find_condition(conditions, kind)
    if present is None:
        if state == "False":
            return False
        conditions.append(condition_entry(kind, state, reason, message, now))
        return True
    if (present.get("status"), present.get("reason"), present.get("message")) == (
        state,
        reason,
        message,
    ):
        return False
    conditions[conditions.index(present)] = condition_entry(kind, state, reason, message, now)
    return True


def remaining_backoff_s(failures: int, last_failure: float, now: float) -> float:
    """10 s after the first failure, then 20 s, 40 s, ... up to ten minutes."""
    if failures == 0:
        return 0.0
    wait_s: float = min(BACKOFF_BASE_S * 2 ** min(failures - 1, 20), BACKOFF_MAX_S)
    return last_failure + wait_s - now
