"""The Deployment controller: ReplicaSets, one per template, scaled against each other.

It writes ReplicaSets and the Deployment's status, never pods. One reconcile takes one step: it
scales up, or scales down, or reports; the change that this makes brings the next reconcile.
https://kubernetes.io/docs/concepts/workloads/controllers/deployment/ , upstream's
`pkg/controller/deployment`.
"""

from __future__ import annotations

from actors.controllers._deploymentrevision import RevisionKeeper, Rollout
from actors.controllers._deploymentstatus import (
    TIMED_OUT,
    complete,
    counts,
    has_deadline,
    new_condition,
    rollout_status,
)
from actors.controllers._newset import (
    replica_annotations,
)
from actors.controllers._ownership import Claimer, owner_of
from actors.controllers._pods import by_owner_or_orphan, epoch, is_finished
from actors.controllers._reconcile import Context
from actors.controllers._rollout import (
    active,
    active_or_latest,
    available_wanted,
    by_creation,
    cleanable,
    desired_annotation,
    is_rolling,
    is_saturated,
    max_unavailable,
    new_set_replicas,
    replicas,
    shares,
    sum_replicas,
    sum_status,
)
from actors.controllers._selectors import cached_selector
from protocol.api import StatusError
from protocol.objects import (
    Object,
    controller_of,
    deleting,
    find_condition,
    key,
    labels,
    metadata,
    name,
    namespace,
    resource_version,
    spec,
    status,
    uid,
    with_metadata,
    with_status,
)
from protocol.objects import annotations as annotations_of

__all__ = ["DeploymentController"]

NO_LIMIT = 2**31 - 1


class DeploymentController(RevisionKeeper):
    """See the module."""

    component = "deployment-controller"
    resources = ("deployments", "replicasets", "pods")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.deployments = self.store("deployments")
        self.replica_sets = self.store("replicasets")
        self.replica_sets.add_index("owner", by_owner_or_orphan)
        self.pods = self.store("pods")
        self.pods.add_index("owner", by_owner_or_orphan)
        self.on_change("deployments", self._deployment_changed)
        self.on_change("replicasets", self._set_changed)
        self.on_change("pods", self._pod_changed)

    # --- what changes mean ----------------------------------------------------------------------

    def _deployment_changed(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        self.queue.add(key(obj))

    def _set_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and resource_version(old) == resource_version(new):
            return
        owners = {self._owner_key(s) for s in (old, new) if s is not None} - {""}
        for owner_key in sorted(owners):
            self.queue.add(owner_key)
        if new is None or controller_of(new) is not None or deleting(new):
            return
        was_orphan = old is not None and controller_of(old) is None
        if was_orphan and old is not None and labels(old) == labels(new):
            return
        for deployment in self.deployments.in_namespace(namespace(new)):
            if cached_selector(spec(deployment).get("selector")).matches(labels(new)):
                self.queue.add(key(deployment))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        """Recreate waits for the last old pod to be gone."""
        if new is not None or old is None:
            return
        replica_set = owner_of(old, "ReplicaSet", self.replica_sets)
        owner_key = self._owner_key(replica_set) if replica_set is not None else ""
        deployment = self.deployments.get(owner_key) if owner_key else None
        if deployment is not None and not is_rolling(deployment):
            self.queue.add(owner_key)

    def _owner_key(self, replica_set: Object) -> str:
        owner = owner_of(replica_set, "Deployment", self.deployments)
        return key(owner) if owner is not None else ""

    # --- reconcile ------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> None:
        deployment = self.deployments.get(key)
        if deployment is None:
            return
        if spec(deployment).get("selector") == {}:
            await self._refuse_everything(deployment)
            return
        rollout = Rollout(deployment, await self._claim(deployment))
        if deleting(deployment):
            await self.sync_revision(rollout, create=False)
            await self._write(rollout, counts(*self._view(rollout)))
            return
        await self._check_paused(rollout)
        if spec(deployment).get("paused") or await self._was_scaled(rollout):
            await self._scale_and_report(rollout)
        elif is_rolling(deployment):
            await self._roll(rollout)
        else:
            await self._recreate(rollout)

    async def _refuse_everything(self, deployment: Object) -> None:
        self.recorder.event(
            deployment,
            "Warning",
            "SelectingAll",
            "This deployment is selecting all pods. A non-empty selector is required.",
        )
        generation = metadata(deployment).get("generation", 0)
        if status(deployment).get("observedGeneration", 0) < generation:
            observed = {**status(deployment), "observedGeneration": generation}
            await self.client.update_status("deployments", with_status(deployment, observed))

    async def _claim(self, deployment: Object) -> list[Object]:
        selector = cached_selector(spec(deployment).get("selector"))
        owned = self.replica_sets.by("owner", uid(deployment))
        orphans = self.replica_sets.by("owner", f"orphan/{namespace(deployment)}")
        claimer = Claimer(self.client, "replicasets", deployment, "deployments", selector)
        return self.latest(deployment, await claimer.claim([*owned, *orphans]))

    def _view(self, rollout: Rollout) -> tuple[Object, list[Object | None], Object | None, str]:
        return rollout.deployment, rollout.sets, rollout.new, self.clock.rfc3339()

    async def _check_paused(self, rollout: Rollout) -> None:
        """So that the time spent paused does not count as lack of progress."""
        deployment = rollout.deployment
        current = find_condition(status(deployment).get("conditions"), "Progressing")
        reason = current.get("reason") if current else None
        if not has_deadline(deployment) or reason == TIMED_OUT:
            return
        paused = bool(spec(deployment).get("paused"))
        if paused == (reason == "DeploymentPaused"):
            return
        word = "paused" if paused else "resumed"
        entry = new_condition(
            "Progressing",
            "Unknown",
            f"Deployment{word.capitalize()}",
            f"Deployment is {word}",
            self.clock.rfc3339(),
        )
        await self.write_condition(rollout, entry)

    async def _was_scaled(self, rollout: Rollout) -> bool:
        await self.sync_revision(rollout, create=False)
        wanted = replicas(rollout.deployment)
        return any(
            desired_annotation(s) not in (None, wanted) for s in active(rollout.sets)
        )

    # --- scaling --------------------------------------------------------------------------------

    async def _scale_and_report(self, rollout: Rollout) -> None:
        """While paused or just scaled: sizes follow, the rollout stands still."""
        await self.sync_revision(rollout, create=False)
        await self._spread(rollout)
        if spec(rollout.deployment).get("paused"):
            await self._clean_up(rollout)
        await self._write(rollout, counts(*self._view(rollout)))

    async def _spread(self, rollout: Rollout) -> None:
        """Make the ReplicaSets add up to the Deployment's size."""
        wanted = replicas(rollout.deployment)
        only = active_or_latest(rollout.new, rollout.old)
        if only is not None:
            await self._scale(rollout, only, wanted)
        elif is_saturated(rollout.deployment, rollout.new):
            for replica_set in active(rollout.old):
                await self._scale(rollout, replica_set, 0)
        elif is_rolling(rollout.deployment):
            sharing = active(rollout.sets)
            sizes = shares(rollout.deployment, sharing)
            for replica_set in sharing:
                await self._scale(rollout, replica_set, sizes[uid(replica_set)], annotate=True)

    async def _scale(
        self, rollout: Rollout, replica_set: Object, size: int, *, annotate: bool = False
    ) -> bool:
        """Give a ReplicaSet a size, and say so. `annotate`: also if only annotations are old."""
        before = replicas(replica_set)
        wanted = {**annotations_of(replica_set), **replica_annotations(rollout.deployment)}
        if before == size and not (annotate and wanted != annotations_of(replica_set)):
            return False
        changed = with_metadata(replica_set, annotations=wanted)
        changed["spec"] = {**spec(replica_set), "replicas": size}
        updated = self.note_written(await self.client.update("replicasets", changed))
        rollout.replace(updated)
        if before == size:
            return False
        way = "up" if before < size else "down"
        self.recorder.event(
            rollout.deployment,
            "Normal",
            "ScalingReplicaSet",
            f"Scaled {way} replica set {name(updated)} from {before} to {size}",
        )
        return True

    # --- strategies -----------------------------------------------------------------------------

    async def _roll(self, rollout: Rollout) -> None:
        """RollingUpdate: one step up, or one step down, or nothing."""
        await self.sync_revision(rollout, create=True)
        moved = await self._grow_new(rollout) or await self._shrink_old(rollout)
        if not moved and complete(rollout.deployment, status(rollout.deployment)):
            await self._clean_up(rollout)
        await self._report(rollout)

    async def _grow_new(self, rollout: Rollout) -> bool:
        new = rollout.new
        if new is None:
            return False
        wanted = replicas(rollout.deployment)
        if replicas(new) == wanted:
            return False
        if replicas(new) > wanted:
            return await self._scale(rollout, new, wanted)
        size = new_set_replicas(rollout.deployment, rollout.sets, new)
        return await self._scale(rollout, new, size)

    async def _shrink_old(self, rollout: Rollout) -> bool:
        """Take down old pods: first those that are not available anyway, then as many others as
        keep the available ones above the minimum."""
        new = rollout.new
        old = by_creation(active(rollout.old))
        if not old or new is None:
            return False
        minimum = replicas(rollout.deployment) - max_unavailable(rollout.deployment)
        new_unavailable = replicas(new) - (status(new).get("availableReplicas") or 0)
        room = sum_replicas(rollout.sets) - minimum - new_unavailable
        if room <= 0:
            return False
        cleaned = 0
        for replica_set in old:
            sick = replicas(replica_set) - (status(replica_set).get("availableReplicas") or 0)
            count = min(room - cleaned, sick)
            if count > 0:
                await self._scale(rollout, replica_set, replicas(replica_set) - count)
                cleaned += count
        spare = available_wanted(rollout.sets) - minimum
        taken = 0
        for replica_set in by_creation(active(rollout.old)):
            count = min(replicas(replica_set), spare - taken)
            if count > 0:
                await self._scale(rollout, replica_set, replicas(replica_set) - count)
                taken += count
        return cleaned + taken > 0

    async def _recreate(self, rollout: Rollout) -> None:
        """Recreate: all old pods go before there is a new one."""
        await self.sync_revision(rollout, create=False)
        scaled = [await self._scale(rollout, s, 0) for s in active(rollout.old)]
        if not any(scaled) and not self._old_pods_run(rollout):
            if rollout.new is None:
                await self.sync_revision(rollout, create=True)
            if rollout.new is not None:
                await self._scale(rollout, rollout.new, replicas(rollout.deployment))
            if complete(rollout.deployment, status(rollout.deployment)):
                await self._clean_up(rollout)
        await self._report(rollout)

    def _old_pods_run(self, rollout: Rollout) -> bool:
        if sum_status(rollout.old, "replicas") > 0:
            return True
        return any(
            not is_finished(pod) for s in rollout.old for pod in self.pods.by("owner", uid(s))
        )

    async def _clean_up(self, rollout: Rollout) -> None:
        """Delete the oldest ReplicaSets beyond the history limit."""
        limit = spec(rollout.deployment).get("revisionHistoryLimit")
        if limit is None or limit == NO_LIMIT:
            return
        for replica_set in cleanable(rollout.old, limit):
            try:
                await self.client.delete("replicasets", name(replica_set), namespace(replica_set))
            except StatusError as error:
                if error.code != 404:
                    raise

    # --- status ---------------------------------------------------------------------------------

    async def _report(self, rollout: Rollout) -> None:
        """Write the status; where there is nothing new, look again when the deadline has passed."""
        new = rollout_status(*self._view(rollout))
        if not await self._write(rollout, new):
            self._requeue_if_stuck(rollout.deployment, new)

    async def _write(self, rollout: Rollout, new: Object) -> bool:
        if new == status(rollout.deployment):
            return False
        updated = with_status(rollout.deployment, new)
        rollout.deployment = await self.client.update_status("deployments", updated)
        return True

    def _requeue_if_stuck(self, deployment: Object, current: Object) -> None:
        entry = find_condition(status(deployment).get("conditions"), "Progressing")
        if entry is None or not has_deadline(deployment):
            return
        if complete(deployment, current) or entry.get("reason") == TIMED_OUT:
            return
        deadline = epoch(entry["lastUpdateTime"]) + spec(deployment)["progressDeadlineSeconds"]
        wait_s = deadline - self.clock.now()
        self.queue.add_after(key(deployment), max(wait_s + 1.0, 0.1))
