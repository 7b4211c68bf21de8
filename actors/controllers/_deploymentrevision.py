"""Revisions of a Deployment: the new ReplicaSet is found or made, and numbered.

Owns the steps that write the new ReplicaSet's annotations, create it, and resolve a collision of
names. It never scales and never looks at pods.
"""

from __future__ import annotations

from actors.controllers._deploymentstatus import has_deadline, new_condition, put_condition
from actors.controllers._newset import annotated, find_new, new_replica_set, old_sets
from actors.controllers._reconcile import Context, Controller
from actors.controllers._rollout import REVISION, max_revision, new_set_replicas
from actors.controllers._selectors import cached_selector
from actors.controllers._templates import same_template
from protocol.api import StatusError
from protocol.objects import (
    Object,
    find_condition,
    is_controlled_by,
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

__all__ = ["RevisionKeeper", "Rollout"]

WRITTEN_MAX_S = 5.0


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
    """The part of the Deployment controller that keeps revisions.

    It reads its own writes: sizes of several ReplicaSets add up only if all are of now, and the
    store shows what was written a moment later.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._written: dict[str, tuple[Object, float]] = {}

    def note_written(self, replica_set: Object) -> Object:
        """Remember what the API server answered to a write, until the store shows it."""
        self._written[uid(replica_set)] = (replica_set, self.clock.monotonic())
        return replica_set

    def latest(self, deployment: Object, stored: list[Object]) -> list[Object]:
        """The Deployment's ReplicaSets as last stored or written, whichever is newer."""
        found = []
        for replica_set in stored:
            written, _ = self._written.get(uid(replica_set), (None, 0.0))
            if written is not None and _version(written) > _version(replica_set):
                found.append(written)
                continue
            self._written.pop(uid(replica_set), None)
            found.append(replica_set)
        present = {uid(s) for s in found}
        now = self.clock.monotonic()
        for own_uid, (written, at) in list(self._written.items()):
            if now - at > WRITTEN_MAX_S:
                del self._written[own_uid]  # deleted meanwhile
            elif own_uid not in present and is_controlled_by(written, deployment):
                found.append(written)
        return found

    async def sync_revision(self, rollout: Rollout, *, create: bool) -> None:
        """Give the new ReplicaSet the highest revision, and the Deployment the same number."""
        if rollout.new is None and create:
            await self._look_closely(rollout)
        next_revision = max_revision(rollout.old) + 1
        if rollout.new is not None:
            await self._sync_existing(rollout, rollout.new, next_revision)
        elif create:
            await self._create_new(rollout, next_revision)

    async def _look_closely(self, rollout: Rollout) -> None:
        """A store that lags could hide a ReplicaSet, whose pods would then be left out of the sum.
        Before another one is made, once per rollout, ask the API server itself."""
        deployment = rollout.deployment
        selector = cached_selector(spec(deployment).get("selector"))
        answer = await self.client.list(
            "replicasets", namespace(deployment), label_selector=str(selector)
        )
        kind = {"apiVersion": "apps/v1", "kind": "ReplicaSet"}
        owned = [
            {**kind, **item}
            for item in answer.get("items") or ()
            if is_controlled_by(item, deployment)
        ]
        known = {uid(s) for s in owned}
        owned += [s for s in rollout.sets if s is not None and uid(s) not in known]
        rollout.new = find_new(deployment, owned)
        rollout.old = old_sets(owned, rollout.new)

    async def _sync_existing(self, rollout: Rollout, new: Object, next_revision: int) -> None:
        deployment = rollout.deployment
        wanted = annotated(deployment, new, next_revision)
        min_ready_s = spec(deployment).get("minReadySeconds") or 0
        if wanted is not None or (spec(new).get("minReadySeconds") or 0) != min_ready_s:
            changed = with_metadata(new, annotations=wanted or annotations_of(new))
            changed["spec"] = {**spec(new), "minReadySeconds": min_ready_s}
            rollout.replace(self.note_written(await self.client.update("replicasets", changed)))
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
        rollout.new = self.note_written(created)
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


def _version(obj: Object) -> int:
    return int(resource_version(obj) or 0)
