"""What follows from the picture of a Job: pods to make and to take, and counts to write.

Owns how many pods more there should be, and the bookkeeping of counts. It writes nothing: the
controller carries out what it says and tells it what was done.

A verdict passes through two conditions: the interim one (FailureTarget, SuccessCriteriaMet) is
written as soon as it is known and stops new pods, the final one (Failed, Complete) once all pods
have ended and been counted.
"""

from __future__ import annotations

from actors.controllers._jobconditions import (
    COMPLETE,
    FAILED,
    SUCCESS_CRITERIA,
    ensure_condition,
    is_suspended,
    remaining_backoff_s,
)
from actors.controllers._jobpicture import JobPicture
from actors.controllers._jobpods import (
    completion_index,
    counts_as_failed,
    failure_count,
    finished_at,
    has_finalizer,
    is_indexed,
    only_replaces_failed,
)
from actors.controllers._pods import is_active, is_ready
from protocol.objects import Object, deleting, find_condition, metadata, spec, status, uid

__all__ = ["JobState"]

UNCOUNTED_MAX = 500


class JobState(JobPicture):
    """See the module."""

    # --- pods to make and to take ---------------------------------------------------------------

    def _wanted_active(self) -> int:
        if is_suspended(self.job):
            return 0
        if self.completions is None:
            return self.active if self.succeeded > 0 else self.parallelism
        left = self.completions - self.succeeded - len(self.failed_indexes)
        return max(0, min(left, self.parallelism))

    def surplus(self) -> list[Object]:
        """Running pods that there are too many: doubles of an index and indexes out of range
        first, then those that have got least far."""
        count = max(0, self.active - self._wanted_active())
        chosen: list[Object] = []
        others: list[Object] = []
        if is_indexed(self.job):
            seen: set[int] = set()
            for pod in sorted(self.active_pods, key=_progress, reverse=True):
                index = completion_index(pod)
                useless = (
                    index < 0
                    or index >= (self.completions or 0)
                    or index in seen
                    or index in self.indexes
                    or index in self.failed_indexes
                )
                (chosen if useless else others).append(pod)
                seen.add(index)
        else:
            others = list(self.active_pods)
        if len(chosen) < count:
            chosen += sorted(others, key=_progress)[: count - len(chosen)]
        return chosen

    def missing(self) -> int:
        """How many pods more there should be."""
        held = self.terminating if only_replaces_failed(self.job) else 0
        return self._wanted_active() - held - self.active

    def pending_indexes(self, count: int) -> tuple[list[int], float | None]:
        """The first indexes that need a pod, and in how many seconds the next one may have one."""
        busy = {completion_index(p) for p in self.active_pods}
        if only_replaces_failed(self.job):
            busy |= {
                completion_index(p)
                for p in self.pods
                if deleting(p)
                and not is_active(p)
                and status(p).get("phase") not in ("Succeeded", "Failed")
            }
        found: list[int] = []
        wait_s: float | None = None
        for index in range(self.completions or 0):
            if len(found) == count:
                break
            if index in self.indexes or index in self.failed_indexes or index in busy:
                continue
            delay_s = self._index_backoff_s(index)
            if delay_s > 0:
                wait_s = delay_s if wait_s is None else min(wait_s, delay_s)
            else:
                found.append(index)
        return found, wait_s

    def _last_failure(self, index: int) -> Object | None:
        """The failed pod of an index that has not been replaced yet."""
        if self.per_index_limit is None:
            return None
        failed = [
            p
            for p in self.pods
            if completion_index(p) == index and counts_as_failed(p, self.job) and has_finalizer(p)
        ]
        return max(failed, key=failure_count, default=None)

    def failures_of(self, index: int) -> int | None:
        """How often an index has failed so far, where that is counted."""
        if self.per_index_limit is None:
            return None
        last = self._last_failure(index)
        return 0 if last is None else failure_count(last) + self._counts(last)

    def _index_backoff_s(self, index: int) -> float:
        last = self._last_failure(index)
        if last is None:
            return 0.0
        failures = self.failures_of(index) or 0
        return remaining_backoff_s(failures, finished_at(last, self.now), self.now)

    def _kept_for_replacement(self) -> set[str]:
        """Failed pods that carry their index's failure count until a pod replaces them."""
        if self.per_index_limit is None or self.verdict is not None:
            return set()
        kept = set()
        for index in {completion_index(p) for p in self.new_failed}:
            if index in self.indexes or index in self.failed_indexes:
                continue
            last = self._last_failure(index)
            replaced = any(
                completion_index(p) == index
                and last is not None
                and failure_count(p) >= failure_count(last) + self._counts(last)
                for p in self.active_pods
            )
            if last is not None and not replaced:
                kept.add(uid(last))
        return kept

    def newly_ended(self) -> list[tuple[float, str, bool]]:
        """(when, uid, whether it succeeded) of pods that ended since they were last counted."""
        return [
            (finished_at(p, self.now), uid(p), status(p).get("phase") == "Succeeded")
            for p in (*self.new_succeeded, *self.new_failed)
        ]

    # --- what the controller reports back -------------------------------------------------------

    def postpone(self) -> None:
        """The verdict stands, but its final condition must wait."""
        self.postponed = True

    postponed = False

    def removed(self, count: int, ready: int | None = None) -> None:
        """So many running pods were deleted just now."""
        self.active = max(0, self.active - count)
        self.ready = max(0, self.ready - (count if ready is None else ready))

    # --- counting -------------------------------------------------------------------------------

    def collect_ended(self) -> list[Object]:
        """Put what has ended among the uncounted; returns the pods to be freed."""
        over = self.verdict is not None and not self.postponed
        kept = self._kept_for_replacement()
        known = {*self.uncounted_succeeded, *self.uncounted_failed}
        free: list[Object] = []
        for pod in self.pods:
            if not has_finalizer(pod) or uid(pod) in self.unfinalized or uid(pod) in kept:
                continue
            failed = counts_as_failed(pod, self.job)
            succeeded = status(pod).get("phase") == "Succeeded"
            if not (failed or succeeded or over or deleting(self.job) or uid(pod) in known):
                continue
            if len(self.uncounted_succeeded) + len(self.uncounted_failed) >= UNCOUNTED_MAX:
                self.changed = True
                break
            free.append(pod)
            if uid(pod) in known:
                continue
            if succeeded:
                if not is_indexed(self.job):
                    self.uncounted_succeeded.append(uid(pod))
                    self.changed = True
            elif (failed or over) and self._is_failure(pod):
                self.uncounted_failed.append(uid(pod))
                self.changed = True
        self._write_interim()
        return free

    def _is_failure(self, pod: Object) -> bool:
        if is_indexed(self.job):
            index = completion_index(pod)
            if not 0 <= index < (self.completions or 0):
                return False
        return self._counts(pod)

    def _write_interim(self) -> None:
        """The interim condition goes into the status before any pod is freed."""
        if self.verdict is None:
            return
        if find_condition(self.conditions, self.verdict["type"]) is None:
            self.conditions.append(self.verdict)
            self.changed = True

    def needs_flush(self) -> bool:
        """Whether the status to be written differs from the one that was read or last written."""
        return self.as_status() != self.old

    def settle(self, freed: set[str]) -> None:
        """These pods have lost their finalizers: what was uncounted is counted."""
        self.old = self.as_status()
        succeeded = [u for u in self.uncounted_succeeded if u not in freed]
        failed = [u for u in self.uncounted_failed if u not in freed]
        self.counted_succeeded += len(self.uncounted_succeeded) - len(succeeded)
        self.counted_failed += len(self.uncounted_failed) - len(failed)
        self.uncounted_succeeded, self.uncounted_failed = succeeded, failed

    def finish(self) -> bool:
        """Set the final condition, if all is over and counted."""
        if self.verdict is None or self.postponed or self.active or self.terminating:
            return False
        if self.uncounted_succeeded or self.uncounted_failed:
            return False
        kind = COMPLETE if self.verdict["type"] == SUCCESS_CRITERIA else FAILED
        reason, message = self.verdict["reason"], self.verdict["message"]
        ensure_condition(self.conditions, kind, "True", reason, message, self.now_text)
        self.final = find_condition(self.conditions, kind)
        self.finished = True
        return True

    def as_status(self) -> Object:
        """The Job's status as it should be written now."""
        new: Object = {}
        if self.conditions:
            new["conditions"] = list(self.conditions)
        if self.start_time:
            new["startTime"] = self.start_time
        if self.finished and self.final is not None and self.final["type"] == COMPLETE:
            new["completionTime"] = self.final["lastTransitionTime"]
        counts = {
            "active": self.active,
            "succeeded": self.succeeded if is_indexed(self.job) else self.counted_succeeded,
            "failed": self.counted_failed,
        }
        new.update({field: n for field, n in counts.items() if n})
        new["ready"] = self.ready
        new["terminating"] = self.terminating
        if is_indexed(self.job):
            if len(self.indexes):
                new["completedIndexes"] = str(self.indexes)
            if self.per_index_limit is not None:
                new["failedIndexes"] = str(self.failed_indexes)
        uncounted = {
            "succeeded": self.uncounted_succeeded,
            "failed": self.uncounted_failed,
        }
        new["uncountedTerminatedPods"] = {k: list(v) for k, v in uncounted.items() if v}
        return new


def _progress(pod: Object) -> tuple[int, int, bool, str, str]:
    """How far a pod has got: the less, the sooner it goes."""
    phases = {"Pending": 0, "Unknown": 1, "Running": 2}
    return (
        bool(spec(pod).get("nodeName")),
        phases.get(status(pod).get("phase", "Pending"), 2),
        is_ready(pod),
        # Younger ones first: a later time must sort lower.
        "".join(chr(0x10FFFF - ord(c)) for c in metadata(pod).get("creationTimestamp") or ""),
        uid(pod),
    )
