"""The Job controller: pods that run to their end, each counted exactly once.

Every pod of a Job carries a finalizer, so that none can vanish before it is counted. Counting goes
in three steps, each of which may be the last one that happens: the uids of ended pods are written
to `status.uncountedTerminatedPods`; their finalizers are removed; they move from there into the
counts, with a write that fails if the status is not the one that was read.
https://kubernetes.io/docs/concepts/workloads/controllers/job/ , upstream's `pkg/controller/job`.
"""

from __future__ import annotations

from actors.client import UidExpectations
from actors.controllers._jobconditions import (
    COMPLETE,
    FAILED,
    SUCCESS_CRITERIA,
    condition_entry,
    ensure_condition,
    is_suspended,
    remaining_backoff_s,
)
from actors.controllers._jobcounting import JobCounting
from actors.controllers._jobpods import FINALIZER, has_finalizer, is_indexed, job_pod
from actors.controllers._jobstate import JobState
from actors.controllers._ownership import Claimer, owner_of
from actors.controllers._pods import by_owner_or_orphan, epoch, is_ready
from actors.controllers._reconcile import Context, outcome_unknown
from actors.controllers._selectors import cached_selector
from protocol.api import StatusError
from protocol.objects import (
    Object,
    controller_of,
    deleting,
    find_condition,
    key,
    labels,
    name,
    namespace,
    spec,
    split_key,
    status,
    uid,
)

__all__ = ["JobController"]

BATCH_S = 0.05  # pods of a Job end in bursts; upstream waits a second for them
PER_SYNC_MAX = 500
OURS = "kubernetes.io/job-controller"
ORPHAN = "orphan pod "


class JobController(JobCounting):
    """See the module. Keys are Jobs' keys, and `orphan pod <key>` for pods whose Job is gone."""

    component = "job-controller"
    resources = ("jobs", "pods")
    interval_s = BATCH_S

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.jobs = self.store("jobs")
        self.pods = self.store("pods")
        self.pods.add_index("owner", by_owner_or_orphan)
        self.expectations = UidExpectations(self.clock.monotonic)
        self._failures: dict[str, tuple[int, float, frozenset[str]]] = {}
        self.on_change("jobs", self._job_changed)
        self.on_change("pods", self._pod_changed)

    # --- what changes mean ----------------------------------------------------------------------

    def _job_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(key(new), urgent=old is None or spec(old) != spec(new))
            return
        assert old is not None
        self._forget(key(old), uid(old))
        for pod in self.pods.by("owner", uid(old)):
            self._pod_lost_its_job(pod)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        assert pod is not None
        reference = controller_of(pod)
        if reference is None:
            former = self._job_of(old) if old is not None else None
            if former is not None:
                self.queue.add(key(former))
            if new is not None and (old is None or labels(old) != labels(new)):
                self._look_at_matching(new)
            return
        if reference.get("kind") != "Job":
            return
        job = self._job_of(pod)
        if job is None:
            if new is not None:
                self._pod_lost_its_job(new)
            return
        job_key = key(job)
        if new is None or not has_finalizer(new):
            self.unfinalized.get(job_key, set()).discard(uid(pod))
        if new is None or deleting(new):
            self.expectations.uid_deletion_observed(job_key, uid(pod))
        elif old is None:
            self.expectations.creation_observed(job_key)
        self.queue.add(job_key)

    def _job_of(self, pod: Object) -> Object | None:
        return owner_of(pod, "Job", self.jobs)

    def _pod_lost_its_job(self, pod: Object) -> None:
        """Nobody will count it: let it go."""
        if has_finalizer(pod) and not self._unsynced:
            self.queue.add(ORPHAN + key(pod))

    def _look_at_matching(self, orphan: Object) -> None:
        for job in self.jobs.in_namespace(namespace(orphan)):
            if cached_selector(spec(job).get("selector")).matches(labels(orphan)):
                self.queue.add(key(job))

    def synced(self) -> None:
        for pod in self.pods:
            reference = controller_of(pod)
            if reference is not None and reference.get("kind") == "Job":
                if self._job_of(pod) is None:
                    self._pod_lost_its_job(pod)

    def _forget(self, job_key: str, job_uid: str) -> None:
        self.expectations.delete(job_key)
        self.unfinalized.pop(job_key, None)
        self._failures.pop(job_uid, None)

    # --- reconcile ------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> None:
        if key.startswith(ORPHAN):
            await self._release_orphan(key.removeprefix(ORPHAN))
            return
        job = self.jobs.get(key)
        if job is None:
            self.own_writes.forget(key)
        elif self.lags(key):
            return
        if job is None or spec(job).get("managedBy") not in (None, OURS):
            return
        conditions = status(job).get("conditions")
        if any(
            (find_condition(conditions, kind) or {}).get("status") == "True"
            for kind in (COMPLETE, FAILED)
        ):
            self._failures.pop(uid(job), None)
            await self._release_leftovers(job)
            return
        settled = self.expects_nothing(self.expectations, key)
        removed = self.unfinalized.setdefault(key, set())
        pods = await self._claim(job)
        state = JobState(job, pods, removed, self.clock.now(), self.clock.rfc3339())
        self._note_failures(state)
        failure = await self._act(key, state, settled)
        await self.count(key, state)
        if failure is not None:
            raise failure
        self._watch_deadline(key, state)

    async def _claim(self, job: Object) -> list[Object]:
        selector = cached_selector(spec(job).get("selector"))
        owned = self.pods.by("owner", uid(job))
        orphans = [
            pod
            for pod in self.pods.by("owner", f"orphan/{namespace(job)}")
            if selector.matches(labels(pod))
        ]
        claimer = Claimer(self.client, "pods", job, "jobs", selector, finalizer=FINALIZER)
        return await claimer.claim([*owned, *orphans])

    async def _act(self, key: str, state: JobState, settled: bool) -> StatusError | None:
        """Create or delete pods as the state demands; returns the first failure."""
        failure: StatusError | None = None
        if state.verdict is not None:
            failure, deleted = await self._delete_active(state)
            if deleted < state.active or not settled:
                # Not over yet: there may be pods that have not been seen.
                state.postpone()
            state.removed(deleted)
            return failure
        managed = settled and not deleting(state.job)
        if managed:
            failure = await self._manage(key, state)
        if state.is_complete():
            state.verdict = condition_entry(
                SUCCESS_CRITERIA,
                "True",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
                state.now_text,
            )
        elif managed:
            self._note_suspension(state)
        return failure

    def _note_suspension(self, state: JobState) -> None:
        if is_suspended(state.job):
            reason = ("True", "JobSuspended", "Job suspended")
            if ensure_condition(state.conditions, "Suspended", *reason, state.now_text):
                state.start_time = None
                state.changed = True
                self.recorder.event(state.job, "Normal", "Suspended", "Job suspended")
        else:
            reason = ("False", "JobResumed", "Job resumed")
            if ensure_condition(state.conditions, "Suspended", *reason, state.now_text):
                state.start_time = state.now_text
                state.changed = True
                self.recorder.event(state.job, "Normal", "Resumed", "Job resumed")

    async def _manage(self, key: str, state: JobState) -> StatusError | None:
        doomed = state.surplus()[:PER_SYNC_MAX]
        if doomed:
            self.expectations.expect_deletions(key, [uid(p) for p in doomed])
            results = await self.gather(*(self._retire(key, state.job, p) for p in doomed))
            gone = [p for p, error in zip(doomed, results, strict=True) if error is None]
            state.removed(len(gone), sum(is_ready(p) for p in gone))
            return next((e for e in results if e is not None), None)
        if is_suspended(state.job):
            return None
        count = min(state.missing(), PER_SYNC_MAX)
        if count <= 0:
            return None
        if state.per_index_limit is None:
            wait_s = self._backoff_s(state)
            if wait_s > 0:
                self.queue.add_after(key, wait_s)
                return None
        return await self._create(key, state, count)

    async def _create(self, key: str, state: JobState, count: int) -> StatusError | None:
        wanted: list[int | None] = [None] * count
        if is_indexed(state.job):
            indexes, wait_s = state.pending_indexes(count)
            wanted = list(indexes)
            if wait_s is not None:
                self.queue.add_after(key, wait_s)
            if not wanted:
                return None
        self.expectations.expect(key, creations=len(wanted))
        at, size = 0, 1
        while at < len(wanted):
            batch = wanted[at : at + size]
            errors = await self.gather(*(self._create_one(state, index) for index in batch))
            failed = [e for e in errors if e is not None]
            state.active += len(batch) - len(failed)
            at += len(batch)
            if failed:
                lost = sum(map(outcome_unknown, failed))
                if lost:
                    self.background(self.lower_later(self.expectations, key, creations=lost))
                self.expectations.creation_observed(key, len(failed) - lost + len(wanted) - at)
                return failed[0]
            size *= 2
        return None

    async def _create_one(self, state: JobState, index: int | None) -> StatusError | None:
        failures = None if index is None else state.failures_of(index)
        try:
            created = await self.client.create("pods", job_pod(state.job, index, failures))
            self.own_writes.wrote(key(state.job), "pods", created)
        except StatusError as error:
            causes = (error.status.get("details") or {}).get("causes") or ()
            if not any(c.get("reason") == "NamespaceTerminating" for c in causes):
                self.recorder.event(
                    state.job, "Warning", "FailedCreate", f"Error creating: {error.message}"
                )
            return error
        self.recorder.event(
            state.job, "Normal", "SuccessfulCreate", f"Created pod: {name(created)}"
        )
        return None

    async def _delete_active(self, state: JobState) -> tuple[StatusError | None, int]:
        """The Job is over: whatever still runs is deleted, and counts as failed."""
        results = await self.gather(*(self._delete(state.job, p) for p in state.active_pods))
        errors = [e for e in results if e is not None]
        return (errors[0] if errors else None), len(results) - len(errors)

    async def _retire(self, job_key: str, job: Object, pod: Object) -> StatusError | None:
        """Delete a pod that the Job does not need now; it counts as nothing."""
        try:
            await self.unfinalize(job_key, pod)
        except StatusError as error:
            self.expectations.uid_deletion_observed(job_key, uid(pod))
            return error
        error_or_none = await self._delete(job, pod)
        if error_or_none is not None and outcome_unknown(error_or_none):
            self.background(self.lower_later(self.expectations, job_key, uids=[uid(pod)]))
        elif error_or_none is not None:
            self.expectations.uid_deletion_observed(job_key, uid(pod))
        return error_or_none

    async def _delete(self, job: Object, pod: Object) -> StatusError | None:
        try:
            gone = await self.client.delete("pods", name(pod), namespace(pod), uid=uid(pod))
            self.own_writes.wrote(key(job), "pods", gone)
        except StatusError as error:
            if error.code == 404:
                return None
            self.recorder.event(
                job, "Warning", "FailedDelete", f"Error deleting: {error.message}"
            )
            return error
        self.recorder.event(job, "Normal", "SuccessfulDelete", f"Deleted pod: {name(pod)}")
        return None

    # --- back-off and deadlines -----------------------------------------------------------------

    def _note_failures(self, state: JobState) -> None:
        """Failures since the last success, and when the last one was."""
        job_uid = uid(state.job)
        count, at, seen = self._failures.get(job_uid, (0, 0.0, frozenset()))
        ended = [(t, u, ok) for t, u, ok in state.newly_ended() if u not in seen]
        if not ended:
            return
        for time, _, succeeded in sorted(ended):
            count, at = (0, at) if succeeded else (count + 1, max(at, time))
        self._failures[job_uid] = (count, at, seen.union(u for _, u, _ in ended))

    def _backoff_s(self, state: JobState) -> float:
        count, at, _ = self._failures.get(uid(state.job), (0, 0.0, frozenset()))
        return remaining_backoff_s(count, at, state.now)

    def _watch_deadline(self, key: str, state: JobState) -> None:
        limit_s = spec(state.job).get("activeDeadlineSeconds")
        if limit_s is None or is_suspended(state.job) or not state.start_time or state.finished:
            return
        self.queue.add_after(key, max(epoch(state.start_time) + limit_s - state.now, 0.01))

    async def _release_orphan(self, pod_key: str) -> None:
        pod = self.pods.named(*split_key(pod_key))
        if pod is None or not has_finalizer(pod) or self._job_of(pod) is not None:
            return
        await self.unfinalize("", pod)

    async def _release_leftovers(self, job: Object) -> None:
        """Pods that were counted as the Job ended but could not be freed then."""
        for pod in list(self.pods.by("owner", uid(job))):
            if has_finalizer(pod) and uid(pod) not in self.unfinalized.get(key(job), ()):
                await self.unfinalize(key(job), pod)
