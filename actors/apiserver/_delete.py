"""delete and deletecollection.

Owns grace periods, finalizers, propagation policies and preconditions
(k8s.io/apiserver/pkg/registry/generic/registry, .../rest/delete.go). Whether a kind waits at all is
its strategy's to say.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from actors.apiserver._cache import Entry
from actors.apiserver._core import Answer, Core, copy
from actors.apiserver._options import DeleteOptions, delete_options
from actors.apiserver._read import Listing, list_objects
from actors.apiserver._request import Request
from actors.apiserver._resources import Served
from actors.apiserver._store import Superseded
from actors.apiserver.admission import DELETE, Attributes
from protocol import status
from protocol.api import StatusError

__all__ = ["delete", "delete_collection", "delete_entry"]

Object = dict[str, Any]
_RETURNS_OBJECT = {
    ("", "pods"), ("", "persistentvolumes"), ("", "persistentvolumeclaims"), ("", "podtemplates"),
    ("", "resourcequotas"), ("", "serviceaccounts"), ("", "services"),
    *(("storage.k8s.io", resource) for resource in (
        "csidrivers", "csinodes", "storageclasses", "volumeattachments", "volumeattributesclasses",
    )),
    *(("resource.k8s.io", resource) for resource in (
        "deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices", "devicetaintrules",
    )),
}
_ORPHANS_BY_DEFAULT = {("", "replicationcontrollers"), ("batch", "jobs")}
_NO_GARBAGE_COLLECTION = {("", "events")}
_ORPHAN, _FOREGROUND = "orphan", "foregroundDeletion"


async def delete(core: Core, request: Request) -> Answer:
    """DELETE of one object."""
    options = delete_options(request.body, request.options)
    _warn_of_orphans(request, options)
    served: Served = request.served
    namespace = request.namespace if served.kind.namespaced else ""
    entry = served.cache.get(namespace, request.name)
    if entry is None:
        await core.store.fresh()
        entry = served.cache.get(namespace, request.name)
    if entry is None:
        raise status.not_found(served.kind.group, served.kind.resource, request.name)
    return await delete_entry(core, request, entry, options)


def _warn_of_orphans(request: Request, options: DeleteOptions) -> None:
    kind = request.served.kind
    if (kind.group, kind.resource) == ("batch", "jobs") and options.orphan is None and options.policy is None:
        request.warnings.append(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove "
            "them or set propagationPolicy=Orphan to suppress this warning"
        )


async def delete_entry(core: Core, request: Request, entry: Entry, options: DeleteOptions) -> Answer:
    """Admit and delete one object that was found."""
    served: Served = request.served
    await served.prepare([entry])
    old = entry.view(served.kind.api_version, served.from_storage).object
    dry_run = options.dry_run or request.dry_run
    attributes = Attributes(
        DELETE, served.kind, entry.namespace, entry.name, "", None, old, request.user, core, dry_run,
        request.options,
    )
    attributes.report_to(request)
    await core.chain.admit(attributes)
    await core.chain.validate(attributes)
    if (served.cache.group, served.cache.resource) == ("", "namespaces"):
        return await _delete_namespace(core, served, entry, options, dry_run)
    if (served.cache.group, served.cache.resource) == ("apiextensions.k8s.io", "customresourcedefinitions"):
        check_preconditions(served, entry, options)
        answer: Answer = await core.definitions.delete(served, entry, dry_run)
        return answer
    return await _Deletion(core, served, options, dry_run).run(entry)


class _Deletion:
    """One deletion: decides, by what it finds, between marking and removing."""

    def __init__(self, core: Core, served: Served, options: DeleteOptions, dry_run: bool) -> None:
        self.core = core
        self.served = served
        self.options = options
        self.dry_run = dry_run
        self.strategy = served.storage_strategy

    async def run(self, found: Entry) -> Answer:
        """Mark or remove; start over when somebody else wrote in between."""
        entry: Entry | None = found
        while True:
            if entry is None:
                raise status.not_found(self.served.kind.group, self.served.kind.resource, found.name)
            try:
                return await self.attempt(entry)
            except Superseded as lost:
                entry = lost.entry

    async def attempt(self, entry: Entry) -> Answer:
        """One try on one version of the object."""
        check_preconditions(self.served, entry, self.options)
        graceful, pending, marked = self.grace(entry)
        if pending:
            return self.answer(entry)
        finalizers = self.finalizers(entry)
        changes = finalizers is not None
        current = entry.object["metadata"].get("finalizers") or []
        final = current if finalizers is None else finalizers
        if not graceful and not final:
            return await self.remove(entry)
        obj = marked if marked is not None else copy(entry.object)
        if changes:
            if final:
                obj["metadata"]["finalizers"] = final
            else:
                obj["metadata"].pop("finalizers", None)
        if not graceful or (final and not obj["metadata"].get("deletionTimestamp")):
            mark(self.core, obj)
        entry = await self.write(entry, obj)
        grace = obj["metadata"].get("deletionGracePeriodSeconds") or 0
        if final or grace > 0:
            code = 202 if self.options.orphan is False else 200
            return Answer(self.served, entry, code=code)
        return await self.remove(entry)

    def grace(self, entry: Entry) -> tuple[bool, bool, Object | None]:
        """Whether to wait, whether it waits already, and the marked object."""
        metadata = entry.object["metadata"]
        if not self.strategy.grace_deletion:
            return False, False, None
        stamp = metadata.get("deletionTimestamp")
        if stamp:
            left = metadata.get("deletionGracePeriodSeconds")
            if not left:
                return False, False, None
            wanted = self.options.grace_s
            if wanted is None or wanted >= left:
                return False, True, None
            obj = copy(entry.object)
            obj["metadata"]["deletionTimestamp"] = _shift(stamp, wanted - left)
            obj["metadata"]["deletionGracePeriodSeconds"] = wanted
            return True, False, obj
        period = self.strategy.default_grace_s(entry.object, self.options.grace_s)
        obj = copy(entry.object)
        now = self.core.clock.rfc3339()
        obj["metadata"]["deletionTimestamp"] = _shift(now, period)
        obj["metadata"]["deletionGracePeriodSeconds"] = period
        if obj["metadata"].get("generation"):
            obj["metadata"]["generation"] += 1
        return True, False, obj

    def finalizers(self, entry: Entry) -> list[str] | None:
        """The finalizers that the propagation policy asks for; None: as they are."""
        place = (self.served.cache.group, self.served.cache.resource)
        current = entry.object["metadata"].get("finalizers") or []
        if place in _NO_GARBAGE_COLLECTION:
            orphan = foreground = False
        else:
            orphan = self._orphans(place, current)
            foreground = self._foreground(current)
        wanted = [f for f in current if f not in (_ORPHAN, _FOREGROUND)]
        wanted += [_ORPHAN] if orphan else []
        wanted += [_FOREGROUND] if foreground else []
        return wanted if sorted(wanted) != sorted(current) else None

    def _orphans(self, place: tuple[str, str], current: list[str]) -> bool:
        if self.options.orphan is not None:
            return self.options.orphan
        if self.options.policy is not None:
            return self.options.policy == "Orphan"
        return _ORPHAN in current or place in _ORPHANS_BY_DEFAULT

    def _foreground(self, current: list[str]) -> bool:
        if self.options.orphan is not None:
            return False
        if self.options.policy is not None:
            return self.options.policy == "Foreground"
        return _FOREGROUND in current

    async def write(self, entry: Entry, obj: Object) -> Entry:
        """Store the marked object, unless it is as it was."""
        from actors.apiserver._create import unstored
        from actors.apiserver._write import unchanged

        if unchanged(obj, entry.object):
            return entry
        if self.dry_run:
            return unstored(self.served, entry.key, obj, entry.revision)
        return await self.core.store.update(self.served.cache, entry, obj)

    async def remove(self, entry: Entry) -> Answer:
        """Take it out of the store."""
        if not self.dry_run:
            entry = await self.core.store.delete(self.served.cache, entry)
            self.core.allocators.removed(self.served, entry.object)
        return self.answer(entry)

    def answer(self, entry: Entry) -> Answer:
        """The object for kinds that answer it, else a Status."""
        cache, kind = self.served.cache, self.served.kind
        if (cache.group, cache.resource) in _RETURNS_OBJECT:
            return Answer(self.served, entry)
        details = {
            "name": entry.name, "group": kind.group, "kind": kind.resource,
            "uid": entry.object["metadata"].get("uid"),
        }
        return Answer(obj=status.success(details))


def mark(core: Core, obj: Object) -> None:
    """Mark as being deleted, with no grace."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp"):
        if metadata.get("generation"):
            metadata["generation"] += 1
        metadata["deletionTimestamp"] = core.clock.rfc3339()
    metadata["deletionGracePeriodSeconds"] = 0


def _shift(stamp: str, seconds: int) -> str:
    when = datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp() + seconds
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_preconditions(served: Served, entry: Entry, options: DeleteOptions) -> None:
    """Raise 409 unless the object is the one that the client means."""
    metadata = entry.object["metadata"]
    if options.uid is not None and options.uid != metadata.get("uid"):
        raise _precondition(
            served, entry,
            f"the UID in the precondition ({options.uid}) does not match the UID in record "
            f"({metadata.get('uid')}). The object might have been deleted and then recreated",
        )
    if options.resource_version is not None and options.resource_version != metadata["resourceVersion"]:
        raise _precondition(
            served, entry,
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the "
            f"ResourceVersion in record ({metadata['resourceVersion']}). The object might have been modified",
        )


def _precondition(served: Served, entry: Entry, why: str) -> StatusError:
    return status.conflict(served.kind.group, served.kind.kind, entry.name, why)


async def _delete_namespace(
    core: Core, served: Served, entry: Entry | None, options: DeleteOptions, dry_run: bool
) -> Answer:
    """The first deletion turns it to Terminating; it goes when its finalizers are gone."""
    name = entry.name if entry else ""
    while entry is not None:
        check_preconditions(served, entry, options)
        if entry.object["metadata"].get("deletionTimestamp"):
            if entry.object.get("spec", {}).get("finalizers"):
                return Answer(served, entry)
            return await _Deletion(core, served, options, dry_run).run(entry)
        obj = copy(entry.object)
        obj["metadata"]["deletionTimestamp"] = core.clock.rfc3339()
        obj.setdefault("status", {})["phase"] = "Terminating"
        deletion = _Deletion(core, served, options, dry_run)
        finalizers = deletion.finalizers(entry)
        if finalizers is not None:
            obj["metadata"]["finalizers"] = finalizers
        try:
            return Answer(served, await deletion.write(entry, obj))
        except Superseded as lost:
            entry = lost.entry
    raise status.not_found("", "namespaces", name)


async def delete_collection(core: Core, request: Request) -> Answer:
    """DELETE of a collection: everything that the selectors select. Answers what was there."""
    options = delete_options(request.body, request.options)
    _warn_of_orphans(request, options)
    listed = await list_objects(core, request)
    listing: Listing = listed.list
    for entry in list(listing.entries):
        try:
            await delete_entry(core, request, entry, options)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
    listing.bucket = None
    return listed
