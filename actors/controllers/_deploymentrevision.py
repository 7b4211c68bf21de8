"""Revisions of a Deployment: the new ReplicaSet is found or made, and numbered.

Owns the steps that write the new ReplicaSet's annotations, create it, and resolve a collision of
names. It never scales and never looks at pods.
"""

from __future__ import annotations

from actors.controllers._deploymentstatus import has_deadline, new_condition, put_condition
from actors.controllers._newset import annotated, find_new, new_replica_set, old_sets
from actors.controllers._reconcile import Controller
from actors.controllers._rollout import REVISION, max_revision, new_set_replicas
from actors.controllers._templates import same_template
from protocol.api import StatusError
from protocol.objects import (
    Object,
    find_condition,
    is_controlled_by,
    name,
    namespace,
    spec,
    status,
    uid,
    with_metadata,
    with_status,
)
from protocol.objects import annotations as annotations_of

__all__ = ["RevisionKeeper", "Rollout"]


class Rollout:
    """One reconcile's view: the Deployment as last written, its ReplicaSets, new and old."""

    def __init__(self, deployment: Object, sets: list[Object]) -> None:
        self.deployment = deployment
        self.new = find_new(deployment, sets)
        self.old = old_sets(sets, self.new)

    @property
    def sets(self) -> list[Object | None]:
        return [*self.old, self.new]

    def replace(self, updated: Object) -> None:
        """A ReplicaSet was written: go on with what came back."""
        if self.new is not None and uid(self.new) == uid(updated):
            self.new = updated
        self.old = [updated if uid(s) == uid(updated) else s for s in self.old]


class RevisionKeeper(Controller):
    """The part of the Deployment controller that keeps revisions."""

    async def sync_revision(self, rollout: Rollout, *, create: bool) -> None:
        """Give the new ReplicaSet the highest revision, and the Deployment the same number."""
        next_revision = max_revision(rollout.old) + 1
        if rollout.new is not None:
            await self._sync_existing(rollout, rollout.new, next_revision)
        elif create:
            await self._create_new(rollout, next_revision)

    async def _sync_existing(self, rollout: Rollout, new: Object, next_revision: int) -> None:
        deployment = rollout.deployment
        wanted = annotated(deployment, new, next_revision)
        min_ready_s = spec(deployment).get("minReadySeconds") or 0
        if wanted is not None or (spec(new).get("minReadySeconds") or 0) != min_ready_s:
            changed = with_metadata(new, annotations=wanted or annotations_of(new))
            changed["spec"] = {**spec(new), "minReadySeconds": min_ready_s}
            rollout.replace(await self.client.update("replicasets", changed))
            return
        entry = None
        conditions = status(deployment).get("conditions")
        if has_deadline(deployment) and find_condition(conditions, "Progressing") is None:
            message = f'Found new replica set "{name(new)}"'
            entry = new_condition(
                "Progressing", "True", "FoundNewReplicaSet", message, self.clock.rfc3339()
            )
        await self.write_condition(rollout, entry, annotations_of(new).get(REVISION, ""))

    async def _create_new(self, rollout: Rollout, next_revision: int) -> None:
        deployment = rollout.deployment
        fresh = new_replica_set(deployment, 0, next_revision)
        size = new_set_replicas(deployment, [*rollout.old, fresh], fresh)
        fresh["spec"]["replicas"] = size
        now = self.clock.rfc3339()
        try:
            created = await self.client.create("replicasets", fresh)
        except StatusError as error:
            if error.code == 409 and error.reason == "AlreadyExists":
                await self._after_collision(rollout, fresh, error)
                await self.write_condition(rollout, None, str(next_revision))
                return
            causes = (error.status.get("details") or {}).get("causes") or ()
            if any(c.get("reason") == "NamespaceTerminating" for c in causes):
                raise
            message = f'Failed to create new replica set "{name(fresh)}": {error.message}'
            reason = "ReplicaSetCreateError"
            if has_deadline(deployment):
                await self.write_condition(
                    rollout, new_condition("Progressing", "False", reason, message, now)
                )
            self.recorder.event(deployment, "Warning", reason, message)
            raise
        rollout.new = created
        if size > 0:
            self.recorder.event(
                deployment,
                "Normal",
                "ScalingReplicaSet",
                f"Scaled up replica set {name(created)} from 0 to {size}",
            )
        entry = None
        if has_deadline(deployment):
            message = f'Created new replica set "{name(created)}"'
            entry = new_condition("Progressing", "True", "NewReplicaSetCreated", message, now)
        await self.write_condition(rollout, entry, str(next_revision))

    async def _after_collision(self, rollout: Rollout, fresh: Object, error: StatusError) -> None:
        """The name is taken: by our own (the store lags), or by another template's hash."""
        present = await self.client.get("replicasets", name(fresh), namespace(fresh))
        template = spec(rollout.deployment).get("template") or {}
        ours = is_controlled_by(present, rollout.deployment)
        if ours and same_template(spec(present).get("template") or {}, template):
            rollout.new = present
            rollout.old = old_sets(rollout.old, present)
            return
        old = status(rollout.deployment)
        collided = {**old, "collisionCount": (old.get("collisionCount") or 0) + 1}
        await self.client.update_status("deployments", with_status(rollout.deployment, collided))
        raise error

    async def write_condition(
        self, rollout: Rollout, entry: Object | None, revision: str = ""
    ) -> None:
        """Set a condition, and the revision annotation, if that changes anything."""
        deployment = rollout.deployment
        if revision and annotations_of(deployment).get(REVISION) != revision:
            with_revision = {**annotations_of(deployment), REVISION: revision}
            deployment = with_metadata(deployment, annotations=with_revision)
        if entry is not None:
            conditions = list(status(deployment).get("conditions") or ())
            put_condition(conditions, entry)
            changed = {**status(deployment), "conditions": conditions}
            deployment = with_status(deployment, changed)
        if deployment is not rollout.deployment:
            rollout.deployment = await self.client.update_status("deployments", deployment)
