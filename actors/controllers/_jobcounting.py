"""The part of the Job controller that counts: each pod that ends, exactly once.

See the order of its three steps in `job`. It creates and deletes nothing.
"""

from __future__ import annotations

from actors.client._client import STRATEGIC_PATCH
from actors.controllers._jobconditions import COMPLETE
from actors.controllers._jobpods import FINALIZER, has_finalizer
from actors.controllers._jobstate import JobState
from actors.controllers._reconcile import Context, Controller
from protocol.api import StatusError
from protocol.objects import Object, key, name, namespace, spec, status, uid, with_status

__all__ = ["JobCounting"]


class JobCounting(Controller):
    """See the module. `unfinalized` holds, by the Job's key, uids of pods that were freed though
    the store may not show it yet: these must not be counted again."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.unfinalized: dict[str, set[str]] = {}

    async def count(self, key: str, state: JobState) -> None:
        """Write what has ended, free the pods, then turn them into counts; see the module."""
        job = state.job
        ended = state.collect_ended()
        if state.needs_flush():
            job = await self._write(job, state.as_status())
        freed = await self.gather(*(self._try_unfinalize(key, pod) for pod in ended))
        if any(error is not None for error in freed):
            raise next(error for error in freed if error is not None)
        state.settle({uid(pod) for pod in ended})
        if state.finish():
            job = await self._write(job, state.as_status())
            self._announce(state, job)
        elif state.needs_flush():
            await self._write(job, state.as_status())

    async def _write(self, job: Object, new: Object) -> Object:
        if new == status(job):
            return job
        written = await self.client.update_status("jobs", with_status(job, new))
        self.own_writes.wrote(key(job), "jobs", written)
        return written

    def _announce(self, state: JobState, job: Object) -> None:
        verdict = state.final
        assert verdict is not None
        if verdict["type"] == COMPLETE:
            completions = spec(job).get("completions")
            if completions is not None and (status(job).get("succeeded") or 0) > completions:
                self.recorder.event(
                    job,
                    "Warning",
                    "TooManySucceededPods",
                    "Too many succeeded pods running after completion count reached",
                )
            self.recorder.event(job, "Normal", "Completed", "Job completed")
        else:
            self.recorder.event(job, "Warning", verdict["reason"], verdict["message"])

    async def _try_unfinalize(self, job_key: str, pod: Object) -> StatusError | None:
        try:
            await self.unfinalize(job_key, pod)
        except StatusError as error:
            return error
        return None

    async def unfinalize(self, job_key: str, pod: Object) -> None:
        if not has_finalizer(pod):
            return
        removed = self.unfinalized.setdefault(job_key, set()) if job_key else set()
        removed.add(uid(pod))
        patch = {
            "metadata": {"uid": uid(pod), "$deleteFromPrimitiveList/finalizers": [FINALIZER]}
        }
        try:
            patched = await self.client.patch(
                "pods",
                name(pod),
                namespace(pod),
                patch,
                patch_type=STRATEGIC_PATCH,
            )
            if job_key:
                self.own_writes.wrote(job_key, "pods", patched)
        except StatusError as error:
            if error.code == 404 or (error.code == 409 and "uid" in error.message.lower()):
                return
            removed.discard(uid(pod))
            raise
