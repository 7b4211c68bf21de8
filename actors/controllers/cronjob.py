"""The CronJob controller: a Job each time one is due.

A Job's name follows from the minute it was due, so that it cannot be made twice.
https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ , upstream's
`pkg/controller/cronjob`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from actors.controllers._cronschedule import CronError, Schedule, parse, zone
from actors.controllers._pods import by_owner_or_orphan, epoch
from actors.controllers._reconcile import Context, Controller
from actors.kernel import rfc3339
from protocol.api import StatusError
from protocol.objects import (
    Object,
    controller_of,
    deleting,
    find_condition,
    is_controlled_by,
    key,
    labels,
    metadata,
    name,
    namespace,
    owner_reference,
    resource_version,
    spec,
    status,
    uid,
    with_status,
)
from protocol.objects import annotations as annotations_of

__all__ = ["CronJobController"]

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MANY_MISSED = 100
SLACK_S = 0.1


def finished_condition(job: Object) -> str:
    """"Complete" or "Failed" for a Job that is over, else an empty string."""
    for kind in ("Complete", "Failed"):
        entry = find_condition(status(job).get("conditions"), kind)
        if entry is not None and entry.get("status") == "True":
            return kind
    return ""


class Due:
    """What a schedule says at one moment: the latest time due and not yet served, and the next."""

    def __init__(self, cron_job: Object, schedule: Schedule, now: float) -> None:
        last = status(cron_job).get("lastScheduleTime")
        created = metadata(cron_job).get("creationTimestamp")
        since = epoch(last or created) if last or created else now
        deadline_s = spec(cron_job).get("startingDeadlineSeconds")
        if deadline_s is not None:
            since = max(since, now - deadline_s)
        self.latest: float | None = None
        self.missed = 0
        at = schedule.next(since)
        while at is not None and at <= now:
            self.latest = at
            self.missed += 1
            if self.missed > MANY_MISSED + 1:
                at = self._leap(schedule, at, now)
            else:
                at = schedule.next(at)
        self.next = at
        self.too_many = self.missed > MANY_MISSED and deadline_s is None

    @staticmethod
    def _leap(schedule: Schedule, at: float, now: float) -> float | None:
        """Years of minutes need not be walked one by one: go on shortly before now."""
        step = (schedule.next(at) or now) - at
        target = now - 2 * max(step, 60.0)
        return schedule.next(max(at, target))


class CronJobController(Controller):
    """See the module."""

    component = "cronjob-controller"
    resources = ("cronjobs", "jobs")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.cron_jobs = self.store("cronjobs")
        self.jobs = self.store("jobs")
        self.jobs.add_index("owner", by_owner_or_orphan)
        self.on_change("cronjobs", self._cron_job_changed)
        self.on_change("jobs", self._job_changed)

    def _cron_job_changed(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        self.queue.add(key(obj))

    def _job_changed(self, old: Object | None, new: Object | None) -> None:
        job = new or old
        assert job is not None
        reference = controller_of(job)
        if reference is not None and reference.get("kind") == "CronJob":
            self.queue.add(f"{namespace(job)}/{reference.get('name', '')}")

    # --- reconcile ------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> None:
        cron_job = self.cron_jobs.get(key)
        if cron_job is None:
            self.own_writes.forget(key)
            return
        if deleting(cron_job) or self.lags(key):
            return
        jobs = list(self.jobs.by("owner", uid(cron_job)))
        new = dict(status(cron_job))
        new["active"] = await self._still_active(cron_job, jobs)
        self._note_success(new, jobs)
        await self._clean_up(cron_job, new, jobs)
        wait_s = await self._run_due(cron_job, new)
        if not new.get("active"):
            new.pop("active", None)
        if new != status(cron_job):
            written = await self.client.update_status("cronjobs", with_status(cron_job, new))
            self.own_writes.wrote(key, "cronjobs", written)
        if wait_s is not None:
            self.queue.add_after(key, wait_s)

    async def _still_active(self, cron_job: Object, jobs: list[Object]) -> list[Object]:
        """The references in `status.active` whose Jobs run still."""
        by_uid = {uid(job): job for job in jobs}
        active: list[Object] = list(status(cron_job).get("active") or ())
        known = {reference.get("uid") for reference in active}
        for job in jobs:
            if uid(job) not in known and not finished_condition(job):
                fresh = await self.client.get("cronjobs", name(cron_job), namespace(cron_job))
                if any(r.get("uid") == uid(job) for r in status(fresh).get("active") or ()):
                    continue
                self.recorder.event(
                    cron_job,
                    "Warning",
                    "UnexpectedJob",
                    f"Saw a job that the controller did not create or forgot: {name(job)}",
                )
        kept = []
        for reference in active:
            job_or_none = by_uid.get(reference.get("uid", ""))
            if job_or_none is None:
                if not await self._is_missing(cron_job, reference):
                    kept.append(reference)
            elif finished := finished_condition(job_or_none):
                self.recorder.event(
                    cron_job,
                    "Normal",
                    "SawCompletedJob",
                    f"Saw completed job: {name(job_or_none)}, condition: {finished}",
                )
            else:
                kept.append(reference)
        return kept

    async def _is_missing(self, cron_job: Object, reference: Object) -> bool:
        """Whether an active Job is really gone, and not only unknown to the store yet."""
        job_name = reference.get("name", "")
        try:
            await self.client.get("jobs", job_name, namespace(cron_job))
        except StatusError as error:
            if error.code != 404:
                raise
            self.recorder.event(
                cron_job, "Normal", "MissingJob", f"Active job went missing: {job_name}"
            )
            return True
        return False

    def _note_success(self, new: Object, jobs: list[Object]) -> None:
        for job in jobs:
            completed = status(job).get("completionTime")
            if not completed or finished_condition(job) != "Complete":
                continue
            last = new.get("lastSuccessfulTime")
            if not last or epoch(completed) > epoch(last):
                new["lastSuccessfulTime"] = completed

    async def _run_due(self, cron_job: Object, new: Object) -> float | None:
        """Start a Job if one is due; returns in how many seconds to look again."""
        of = spec(cron_job)
        try:
            where = zone(of.get("timeZone"))
        except CronError as error:
            text = f'invalid timeZone: "{of.get("timeZone")}": {error}'
            self.recorder.event(cron_job, "Warning", "UnknownTimeZone", text)
            return None
        if of.get("suspend"):
            return None
        try:
            schedule = parse(of.get("schedule", ""), where)
        except CronError as error:
            text = f'unparseable schedule: "{of.get("schedule")}" : {error}'
            self.recorder.event(cron_job, "Warning", "UnparseableSchedule", text)
            return None
        now = self.clock.now()
        due = Due(cron_job, schedule, now)
        if due.too_many:
            self.recorder.event(
                cron_job,
                "Warning",
                "TooManyMissedTimes",
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or"
                " check clock skew",
            )
        if due.latest is not None:
            await self._start(cron_job, new, due.latest, now)
        return None if due.next is None else due.next - self.clock.now() + SLACK_S

    async def _start(self, cron_job: Object, new: Object, at: float, now: float) -> None:
        of = spec(cron_job)
        deadline_s = of.get("startingDeadlineSeconds")
        if deadline_s is not None and at + deadline_s < now:
            when = datetime.fromtimestamp(at, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
            self.recorder.event(
                cron_job,
                "Warning",
                "MissSchedule",
                f"Missed scheduled time to start a job: {when}",
            )
            return
        job_name = f"{name(cron_job)}-{math.floor(at / 60)}"
        if any(r.get("name") == job_name for r in new["active"]):
            return
        last = status(cron_job).get("lastScheduleTime")
        if last and epoch(last) == at:
            return
        policy = of.get("concurrencyPolicy", "Allow")
        if policy == "Forbid" and (new["active"] or self._others_run(cron_job, job_name)):
            self.recorder.event(
                cron_job,
                "Normal",
                "JobAlreadyActive",
                "Not starting job because prior execution is running and concurrency policy is"
                " Forbid",
            )
            return
        if policy == "Replace":
            for reference in list(new["active"]):
                await self._delete(cron_job, new, reference["name"], reference.get("uid", ""))
        job = await self._create(cron_job, job_name, at)
        if job is None:
            return
        new["active"] = [*new["active"], _reference_to(job)]
        new["lastScheduleTime"] = rfc3339(at)

    def _others_run(self, cron_job: Object, job_name: str) -> bool:
        """Whether another Job of it runs, also one that could not be written down as active."""
        return any(
            name(job) != job_name and not finished_condition(job)
            for job in self.jobs.by("owner", uid(cron_job))
        )

    async def _create(self, cron_job: Object, job_name: str, at: float) -> Object | None:
        wanted = job_from_template(cron_job, job_name, at)
        try:
            job = await self.client.create("jobs", wanted)
            self.own_writes.wrote(key(cron_job), "jobs", job)
        except StatusError as error:
            causes = (error.status.get("details") or {}).get("causes") or ()
            if any(c.get("reason") == "NamespaceTerminating" for c in causes):
                return None
            if error.reason == "AlreadyExists":
                # Made by an earlier reconcile that could not write it down, or not ours at all.
                present = await self.client.get("jobs", job_name, namespace(cron_job))
                if is_controlled_by(present, cron_job) and not finished_condition(present):
                    return present
                if is_controlled_by(present, cron_job):
                    return None
            self.recorder.event(
                cron_job, "Warning", "FailedCreate", f"Error creating job: {error.message}"
            )
            raise
        self.recorder.event(cron_job, "Normal", "SuccessfulCreate", f"Created job {name(job)}")
        return job

    # --- history --------------------------------------------------------------------------------

    async def _clean_up(self, cron_job: Object, new: Object, jobs: list[Object]) -> None:
        """Keep only so many Jobs that are over."""
        limits = (
            ("Complete", spec(cron_job).get("successfulJobsHistoryLimit")),
            ("Failed", spec(cron_job).get("failedJobsHistoryLimit")),
        )
        for kind, limit in limits:
            if limit is None:
                continue
            over = [j for j in jobs if finished_condition(j) == kind and not deleting(j)]
            over.sort(key=lambda j: (status(j).get("startTime") or "", name(j)))
            for job in over[: max(0, len(over) - limit)]:
                await self._delete(cron_job, new, name(job), uid(job))

    async def _delete(self, cron_job: Object, new: Object, job_name: str, job_uid: str) -> None:
        try:
            await self.client.delete(
                "jobs", job_name, namespace(cron_job), uid=job_uid, propagation="Background"
            )
        except StatusError as error:
            if error.code != 404:
                self.recorder.event(
                    cron_job, "Warning", "FailedDelete", f"Deleted job: {error.message}"
                )
                raise
        else:
            self.recorder.event(
                cron_job, "Normal", "SuccessfulDelete", f"Deleted job {job_name}"
            )
        new["active"] = [r for r in new["active"] if r.get("uid") != job_uid]


def job_from_template(cron_job: Object, job_name: str, at: float) -> Object:
    """The Job for one time that was due, not created yet."""
    template = spec(cron_job).get("jobTemplate") or {}
    where = zone(spec(cron_job).get("timeZone"))
    local = datetime.fromtimestamp(at, where).isoformat(timespec="seconds")
    stamp = local.replace("+00:00", "Z")
    meta: Object = {
        "name": job_name,
        "namespace": namespace(cron_job),
        "annotations": {**annotations_of(template), SCHEDULED_AT: stamp},
        "ownerReferences": [owner_reference(cron_job)],
    }
    if labels(template):
        meta["labels"] = dict(labels(template))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": template.get("spec") or {},
    }


def _reference_to(job: Object) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": name(job),
        "namespace": namespace(job),
        "resourceVersion": resource_version(job),
        "uid": uid(job),
    }
