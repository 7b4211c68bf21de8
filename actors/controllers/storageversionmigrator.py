"""The storage version migrator: objects are written again, so that they are stored in today's version.

Owns the status of StorageVersionMigrations and the empty patches that rewrite objects; it changes no
field of them. The API is served by default from 1.37 on. Facts: kubernetes
pkg/controller/storageversionmigrator.
"""

from __future__ import annotations

from typing import ClassVar

from actors.client import StatusError
from actors.controllers._deletable import Deletable, built_in, custom
from actors.controllers._reconcile import Context, Controller
from protocol.api import Resource
from protocol.objects import Object, condition_status, find_condition, metadata, mutable, spec, status

__all__ = ["StorageVersionMigrator"]

MIGRATIONS = "storageversionmigrations.v1.storagemigration.k8s.io"
FIELD_MANAGER = "storage-version-migrator-controller"
RUNNING, SUCCEEDED, FAILED = "Running", "Succeeded", "Failed"
REASONS = {
    RUNNING: "StorageVersionMigrationInProgress",
    SUCCEEDED: "StorageVersionMigrationSucceeded",
    FAILED: "StorageVersionMigrationFailed",
}
NEWEST_MINOR = 37


class StorageVersionMigrator(Controller):
    """Works migrations off. Keys: migrations."""

    component: ClassVar[str] = FIELD_MANAGER
    resources: ClassVar[tuple[str, ...]] = (MIGRATIONS, "customresourcedefinitions")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.on_change(MIGRATIONS, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and not _finished(new):
            self.queue.add(metadata(new)["name"])

    async def reconcile(self, key: str) -> None:
        migration = self.store(MIGRATIONS).get(key)
        if migration is None or _finished(migration):
            return
        if not status(migration).get("resourceVersion"):
            await self._begin(migration)
            return  # the change of its status brings it here again
        found = self._find(migration)
        if found is None:
            await self._tell(migration, FAILED, "resource not found")
            return
        migration = await self._tell(migration, RUNNING, "")
        failure = await self._migrate(found)
        await self._tell(migration, FAILED if failure else SUCCEEDED, failure)

    async def _begin(self, migration: Object) -> None:
        """Note the revision from which on objects are new enough."""
        found = self._find(migration)
        try:
            listed = await self.client.list(found.resource, limit="1") if found is not None else None
        except StatusError as error:
            if error.code != 404:
                raise
            listed = None
        if listed is None:
            await self._tell(migration, FAILED, "resource does not exist in discovery")
            return
        changed = mutable(migration)
        changed.setdefault("status", {})["resourceVersion"] = metadata(listed).get("resourceVersion", "")
        await self.client.update_status(MIGRATIONS, changed)

    def _find(self, migration: Object) -> Deletable | None:
        wanted = spec(migration).get("resource") or {}
        name = (wanted.get("group", ""), wanted.get("resource", ""))
        kinds = (*built_in(NEWEST_MINOR), *custom(self.store("customresourcedefinitions")))
        return next((k for k in kinds if (k.resource.group, k.resource.resource) == name), None)

    async def _migrate(self, found: Deletable) -> str:
        """Patch every object with nothing; what went wrong, empty if nothing did."""
        names = [
            (metadata(obj).get("namespace", ""), metadata(obj)["name"], metadata(obj))
            async for obj in self.client.pages(found.resource)
        ]
        for namespace, name, meta in names:
            # The uid and the revision make sure of it that nothing is created: who was changed since is
            # stored in today's version already, who was deleted need not be.
            wanted = {"name": name, "uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
            if namespace:
                wanted["namespace"] = namespace
            body = {"apiVersion": _api_version(found.resource), "kind": found.kind, "metadata": wanted}
            try:
                await self.client.apply(found.resource, body, field_manager=FIELD_MANAGER)
            except StatusError as error:
                if error.code not in (404, 409):
                    self.log.info("migration_failed", resource=found.resource.resource, name=name, error=error.message)
                    return "migration encountered unhandled error"
        return ""

    async def _tell(self, migration: Object, kind: str, message: str) -> Object:
        """Add a condition that is True from now on; a migration that is over runs no longer."""
        if condition_status(migration, kind) == "True":
            return migration
        changed = mutable(migration)
        conditions = changed.setdefault("status", {}).setdefault("conditions", [])
        running = find_condition(conditions, RUNNING)
        if running is not None:
            running["status"] = "False"
        now = self.clock.rfc3339()
        entry = {"type": kind, "status": "True", "lastTransitionTime": now, "reason": REASONS[kind], "message": message}
        conditions.append(entry)
        return await self.client.update_status(MIGRATIONS, changed)


def _finished(migration: Object) -> bool:
    return any(condition_status(migration, kind) == "True" for kind in (SUCCEEDED, FAILED))


def _api_version(what: Resource) -> str:
    return f"{what.group}/{what.version}" if what.group else what.version
