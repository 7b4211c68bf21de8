"""One reconcile's picture of a Job: what has ended, what runs, and whether its fate is decided.

Owns the reading and the judgement. It writes nothing and plans nothing; `_jobstate` goes on from
here.
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.controllers._jobconditions import (
    FAILURE_TARGET,
    SUCCESS_CRITERIA,
    condition_entry,
    is_suspended,
)
from actors.controllers._jobindexes import Indexes
from actors.controllers._jobpods import (
    completion_index,
    counts_as_failed,
    failure_count,
    failure_verdict,
    has_finalizer,
    is_indexed,
    per_index_limit,
    restarts_exceed,
    success_rule,
)
from actors.controllers._pods import epoch, is_active, is_ready
from protocol.objects import Object, deleting, find_condition, spec, status, uid

__all__ = ["JobPicture"]


class JobPicture:
    """See the module. `unfinalized` are uids of pods that were freed though the store does not
    show it yet; `now` in seconds since the epoch, `now_text` the same as RFC 3339."""

    def __init__(
        self, job: Object, pods: list[Object], unfinalized: set[str], now: float, now_text: str
    ) -> None:
        self.job = job
        self.pods = pods
        self.unfinalized = unfinalized
        self.now = now
        self.now_text = now_text
        old = status(job)
        self.old = old
        self.conditions: list[Object] = list(old.get("conditions") or ())
        self.changed = False
        self.finished = False
        self.final: Object | None = None
        self.start_time: str | None = old.get("startTime")
        if self.start_time is None and not is_suspended(job):
            self.start_time = now_text
        uncounted = old.get("uncountedTerminatedPods") or {}
        self.uncounted_succeeded: list[str] = list(uncounted.get("succeeded") or ())
        self.uncounted_failed: list[str] = list(uncounted.get("failed") or ())
        self._drop_freed()
        self.completions: int | None = spec(job).get("completions")
        self.parallelism: int = spec(job).get("parallelism", 1)
        self.per_index_limit = per_index_limit(job)
        self.active_pods = [p for p in pods if is_active(p)]
        self.active = len(self.active_pods)
        self.ready = sum(is_ready(p) for p in self.active_pods)
        self.terminating = sum(
            deleting(p) and status(p).get("phase") not in ("Succeeded", "Failed") for p in pods
        )
        self._find_ended()
        self.verdict = self._judge()

    def _drop_freed(self) -> None:
        """Uncounted pods whose finalizer is gone are counted now: the store may be a step behind
        the counts but the write that follows would then be refused."""
        kept = {uid(p) for p in self.pods if has_finalizer(p) and uid(p) not in self.unfinalized}
        succeeded = [u for u in self.uncounted_succeeded if u in kept]
        failed = [u for u in self.uncounted_failed if u in kept]
        self.counted_failed = (self.old.get("failed") or 0) + (
            len(self.uncounted_failed) - len(failed)
        )
        self.counted_succeeded = (self.old.get("succeeded") or 0) + (
            len(self.uncounted_succeeded) - len(succeeded)
        )
        self.uncounted_succeeded, self.uncounted_failed = succeeded, failed

    def _find_ended(self) -> None:
        """Pods that have ended and are neither counted nor about to be."""
        known = {*self.uncounted_succeeded, *self.uncounted_failed}
        fresh = [
            p
            for p in self.pods
            if has_finalizer(p) and uid(p) not in self.unfinalized and uid(p) not in known
        ]
        self.new_succeeded = [p for p in fresh if status(p).get("phase") == "Succeeded"]
        self.new_failed = [p for p in fresh if counts_as_failed(p, self.job)]
        counted = [p for p in self.new_failed if self._counts(p)]
        self.failed = self.counted_failed + len(self.uncounted_failed) + len(counted)
        self.indexes = Indexes()
        self.failed_indexes = Indexes()
        if is_indexed(self.job):
            wanted = self.completions or 0
            done = [i for i in map(completion_index, self._succeeded_pods()) if 0 <= i < wanted]
            self.indexes = Indexes.parse(self.old.get("completedIndexes") or "", wanted).with_(done)
            self.succeeded = len(self.indexes)
            if self.per_index_limit is not None:
                before = Indexes.parse(self.old.get("failedIndexes") or "", wanted)
                self.failed_indexes = before.with_(self._exhausted(wanted))
        else:
            self.succeeded = (
                self.counted_succeeded + len(self.uncounted_succeeded) + len(self.new_succeeded)
            )

    def _succeeded_pods(self) -> list[Object]:
        return [
            p
            for p in self.pods
            if status(p).get("phase") == "Succeeded" and uid(p) not in self.unfinalized
        ]

    def _counts(self, pod: Object) -> bool:
        """Whether the failure policy lets this failure count."""
        return failure_verdict(self.job, pod)[0] != "Ignore"

    def _exhausted(self, wanted: int) -> Iterable[int]:
        """Indexes that have failed too often, or by order of the failure policy."""
        limit = self.per_index_limit or 0
        for pod in self.new_failed:
            index = completion_index(pod)
            if not 0 <= index < wanted or index in self.indexes:
                continue
            action = failure_verdict(self.job, pod)[0]
            failures = failure_count(pod) + (action != "Ignore")
            if action == "FailIndex" or failures > limit:
                yield index

    # --- judgement ------------------------------------------------------------------------------

    def _judge(self) -> Object | None:
        """The interim condition that the Job has or deserves, if its fate is decided."""
        for kind in (SUCCESS_CRITERIA, FAILURE_TARGET):
            present = find_condition(self.conditions, kind)
            if present is not None and present.get("status") == "True":
                return present
        reason, message = self._failure()
        if reason:
            return condition_entry(FAILURE_TARGET, "True", reason, message, self.now_text)
        if is_indexed(self.job):
            rule = success_rule(self.job, self.indexes)
            if rule is not None:
                message = f"Matched rules at index {rule}"
                return condition_entry(
                    SUCCESS_CRITERIA, "True", "SuccessPolicy", message, self.now_text
                )
        return None

    def _failure(self) -> tuple[str, str]:
        """(reason, message) why the Job has failed, or empty texts."""
        for pod in self.pods:
            if counts_as_failed(pod, self.job):
                action, message = failure_verdict(self.job, pod)
                if action == "FailJob":
                    return "PodFailurePolicy", message
        limit = spec(self.job).get("backoffLimit", 6)
        if self.failed > limit or restarts_exceed(self.job, self.pods):
            return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        if self._past_deadline():
            return "DeadlineExceeded", "Job was active longer than specified deadline"
        if self.per_index_limit is not None and len(self.failed_indexes):
            most = spec(self.job).get("maxFailedIndexes")
            if most is not None and len(self.failed_indexes) > most:
                return (
                    "MaxFailedIndexesExceeded",
                    "Job has exceeded the specified maximal number of failed indexes",
                )
            if len(self.failed_indexes) + self.succeeded >= (self.completions or 0):
                return "FailedIndexes", "Job has failed indexes"
        return "", ""

    def _past_deadline(self) -> bool:
        limit_s = spec(self.job).get("activeDeadlineSeconds")
        started = self.old.get("startTime")
        if limit_s is None or not started or is_suspended(self.job):
            return False
        return self.now - epoch(started) >= limit_s

    def is_complete(self) -> bool:
        """Whether enough pods have succeeded and none is running."""
        if self.active > 0:
            return False
        if self.completions is None:
            return self.succeeded > 0
        return self.succeeded >= self.completions
