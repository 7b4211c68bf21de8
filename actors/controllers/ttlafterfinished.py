"""The TTL-after-finished controller: deletes Jobs some time after they are over.

https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/
"""

from __future__ import annotations

from actors.controllers._pods import epoch
from actors.controllers._reconcile import Context, Controller
from protocol.api import StatusError
from protocol.objects import Object, deleting, find_condition, key, name, namespace, spec, status, uid

__all__ = ["TtlAfterFinishedController"]


def expires_at(job: Object) -> float | None:
    """When a Job may go, in seconds since the epoch; None while it must not."""
    ttl_s = spec(job).get("ttlSecondsAfterFinished")
    if ttl_s is None or deleting(job):
        return None
    for kind in ("Complete", "Failed"):
        entry = find_condition(status(job).get("conditions"), kind)
        if entry is not None and entry.get("status") == "True":
            return epoch(entry["lastTransitionTime"]) + ttl_s
    return None


class TtlAfterFinishedController(Controller):
    """See the module."""

    component = "ttl-after-finished-controller"
    resources = ("jobs",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.jobs = self.store("jobs")
        self.on_change("jobs", self._job_changed)

    def _job_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and expires_at(new) is not None:
            self.queue.add(key(new))

    async def reconcile(self, key: str) -> None:
        job = self.jobs.get(key)
        if job is None or self._too_early(key, job):
            return
        try:
            # The store may lag, and someone may just have given it more time.
            fresh = await self.client.get("jobs", name(job), namespace(job))
            if uid(fresh) != uid(job) or self._too_early(key, fresh):
                return
            await self.client.delete(
                "jobs",
                name(job),
                namespace(job),
                uid=uid(fresh),
                resource_version=fresh["metadata"]["resourceVersion"],
                propagation="Foreground",
            )
        except StatusError as error:
            if error.code != 404:
                raise

    def _too_early(self, key: str, job: Object) -> bool:
        at = expires_at(job)
        if at is None:
            return True
        wait_s = at - self.clock.now()
        if wait_s > 0:
            self.queue.add_after(key, wait_s)
        return wait_s > 0
