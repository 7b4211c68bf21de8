"""The garbage collector: what is owned goes when its owners have gone.

Owns deletion of objects all of whose owners are absent, deletion in the foreground, and orphaning,
for every resource that can be deleted, custom kinds included. The graph (`_ownergraph`) says what
to look at; here the server is asked, and told. Facts: kubernetes pkg/controller/garbagecollector.
https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from actors.client import Informer, StatusError
from actors.client._client import MERGE_PATCH
from actors.controllers._deletable import Deletable, built_in, custom, for_kind
from actors.controllers._ownergraph import FOREGROUND, ORPHAN, Coordinates, GraphNode, OwnerGraph
from actors.controllers._reconcile import Context, Controller
from protocol.api import Resource
from protocol.objects import Object, deleting, metadata, owner_references, resource_version, uid

__all__ = ["GarbageCollector"]

CONFLICT_ATTEMPTS = 5
UNSEEN_RETRY_S = 1.0
_IGNORED = frozenset((("", "events"), ("events.k8s.io", "events")))
_WATCHED = tuple(d for d in built_in() if (d.resource.group, d.resource.resource) not in _IGNORED)

_STORED = frozenset(d.resource for d in _WATCHED)


def _word(what: Resource) -> str:
    return f"{what.resource}.{what.version}.{what.group}"


class _Unknown(Exception):
    """An owner's kind is not known (yet): nothing may be concluded from that."""


class GarbageCollector(Controller):
    """See the module. Keys: `delete/UID` and `orphan/UID`."""

    component: ClassVar[str] = "garbage-collector-controller"
    resources: ClassVar[tuple[str, ...]] = tuple(_word(d.resource) for d in _WATCHED)
    workers: ClassVar[int] = 20

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.graph = OwnerGraph(self._want_delete, self._want_orphan, self._misplaced)
        self.custom: dict[Resource, Informer] = {}
        for word in self.resources:
            self.on_change(word, self._seen)
        self.on_change("customresourcedefinitions", self._definitions_changed)

    def _want_delete(self, node_uid: str) -> None:
        self.queue.add(f"delete/{node_uid}")

    def _want_orphan(self, node_uid: str) -> None:
        self.queue.add(f"orphan/{node_uid}")

    def _misplaced(self, node: GraphNode, reference: Object) -> None:
        at = node.identity
        about = {
            "kind": at.kind,
            "apiVersion": at.api_version,
            "namespace": at.namespace,
            "name": at.name,
            "uid": at.uid,
        }
        spoken = Coordinates(
            reference.get("apiVersion", ""),
            reference.get("kind", ""),
            at.namespace,
            reference.get("name", ""),
            reference.get("uid", ""),
        )
        text = f'ownerRef {spoken} does not exist in namespace "{at.namespace}"'
        self.recorder.event({k: v for k, v in about.items() if v}, "Warning", "OwnerRefInvalidNamespace", text)

    # --- what changes mean ----------------------------------------------------------------------

    def _seen(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            if old is not None:
                self.graph.forget(old)
            return
        if old is not None and not metadata(new).get("deletionTimestamp"):
            if metadata(old).get("ownerReferences") == metadata(new).get("ownerReferences") and uid(old) == uid(new):
                return  # the usual change, of status, says nothing about owners
        self.graph.observe(old, new)

    def _definitions_changed(self, old: Object | None, new: Object | None) -> None:
        """Watch each custom kind from when it is established until it is gone."""
        wanted = {d.resource: d for d in custom(self.store("customresourcedefinitions"))}
        for what in [w for w in self.custom if w not in wanted]:
            informer = self.custom.pop(what)
            informer.stop()
            for obj in list(informer.store):
                self.graph.forget(obj)
        for what in wanted:
            if what not in self.custom:
                informer = Informer(
                    self.client,
                    what,
                    on_add=lambda obj: self._seen(None, obj),
                    on_update=self._seen,
                    on_delete=lambda obj: self._seen(obj, None),
                )
                self.custom[what] = informer
                informer.start()

    # --- deleting -------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> None:
        what, _, node_uid = key.partition("/")
        node = self.graph.nodes.get(node_uid)
        if node is None:
            return
        if what == "orphan":
            await self._orphan_dependents(node)
            return
        try:
            await self._attempt_to_delete(node)
        except _Unknown as error:
            self.log.info("owner_kind_unknown", kind=str(error))
            self.queue.add_rate_limited(key)

    async def _attempt_to_delete(self, node: GraphNode) -> None:
        if node.being_deleted and not node.deleting_dependents:
            return
        identity = node.identity
        what = self._resource(identity)
        latest = await self._find(what, identity)
        if latest is None or uid(latest) != identity.uid:
            self.graph.not_there(identity)
            return
        if node.virtual:
            # It is there, but the informer has not told us yet; if it never does, ask once more.
            self.queue.add_after(f"delete/{identity.uid}", UNSEEN_RETRY_S)
            return
        if node.deleting_dependents:
            await self._finish_foreground(node, what)
            return
        references = owner_references(latest)
        if not references:
            return
        solid, dangling, waiting = await self._classify(identity, references)
        if solid:
            if dangling or waiting:
                await self._drop_references(what, identity, [r["uid"] for r in (*dangling, *waiting)])
        elif waiting and node.dependents:
            if any(d.deleting_dependents for d in node.dependents.values()):
                # A circle of objects that wait for each other: this one lets go of its owners.
                await self._unblock_owners(what, identity, latest)
            await self._delete(what, latest, "Foreground")
        else:
            finalizers = metadata(latest).get("finalizers") or ()
            policy = "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else "Background"
            await self._delete(what, latest, policy)

    async def _classify(
        self, identity: Coordinates, references: list[Object]
    ) -> tuple[list[Object], list[Object], list[Object]]:
        """-> owners that are there, that are not, and that wait for their dependents to go."""
        solid: list[Object] = []
        dangling: list[Object] = []
        waiting: list[Object] = []
        for ref in references:
            owner = await self._owner(identity, ref)
            if owner is None:
                dangling.append(ref)
            elif deleting(owner) and FOREGROUND in (metadata(owner).get("finalizers") or ()):
                waiting.append(ref)
            else:
                solid.append(ref)
        return solid, dangling, waiting

    async def _owner(self, identity: Coordinates, ref: Object) -> Object | None:
        """The owner that a reference means; None when there is none."""
        spoken = Coordinates(
            ref.get("apiVersion", ""), ref.get("kind", ""), identity.namespace, ref.get("name", ""), ref.get("uid", "")
        )
        if self.graph.is_absent(spoken):
            return None
        what = self._resource(spoken)
        if what.namespaced and not identity.namespace:
            raise _Unknown(f"{spoken}: a cluster-scoped object cannot have an owner in a namespace")
        scoped = spoken if what.namespaced else spoken._replace(namespace="")
        owner = await self._find(what, scoped)
        if owner is None or uid(owner) != spoken.uid:
            self.graph.mark_absent(scoped)
            return None
        return owner

    def _resource(self, identity: Coordinates) -> Deletable:
        found = for_kind(identity.api_version, identity.kind, self.store("customresourcedefinitions"))
        if found is None:
            raise _Unknown(f"{identity.api_version}/{identity.kind}")
        return found

    async def _find(self, what: Deletable, identity: Coordinates) -> Object | None:
        """An object, from the store if it is there. A store may be late, and that does no harm: what
        is deleted by it is deleted only in this very version, an owner that is believed to be there
        speaks up when it goes, and absence is believed only from the server."""
        cached = self._cached(what, identity)
        return cached if cached is not None else await self._get(what, identity)

    def _cached(self, what: Deletable, identity: Coordinates) -> Object | None:
        informer = self.custom.get(what.resource)
        if informer is None and what.resource not in _STORED:
            return None
        store = informer.store if informer is not None else self.store(_word(what.resource))
        found = store.named(identity.namespace if what.namespaced else "", identity.name)
        return found if found is not None and uid(found) == identity.uid else None

    async def _get(self, what: Deletable, identity: Coordinates) -> Object | None:
        namespace = identity.namespace if what.namespaced else ""
        try:
            return await self.client.get(what.resource, identity.name, namespace)
        except StatusError as error:
            if error.code == 404:
                return None
            raise

    async def _delete(self, what: Deletable, latest: Object, policy: str) -> None:
        meta = metadata(latest)
        try:
            await self.client.delete(
                what.resource,
                meta["name"],
                meta.get("namespace", ""),
                uid=meta["uid"],
                resource_version=resource_version(latest),
                propagation=policy,
            )
        except StatusError as error:
            if error.code != 404:
                raise

    # --- the foreground -------------------------------------------------------------------------

    async def _finish_foreground(self, node: GraphNode, what: Deletable) -> None:
        blocking = node.blocking()
        if not blocking:
            await self._remove_finalizer(what, node.identity, FOREGROUND)
            return
        for dependent in blocking:
            if not dependent.deleting_dependents:
                self._want_delete(dependent.identity.uid)

    async def _unblock_owners(self, what: Deletable, identity: Coordinates, latest: Object) -> None:
        references = [{**ref, "blockOwnerDeletion": False} for ref in owner_references(latest)]
        meta = {"resourceVersion": resource_version(latest), "ownerReferences": references}
        await self._patch(what, identity, {"metadata": meta})

    # --- references and finalizers --------------------------------------------------------------

    async def _orphan_dependents(self, node: GraphNode) -> None:
        """Take the owner's name off its dependents, then let the owner go."""
        identity = node.identity
        dependents = list(node.dependents.values())
        await self.gather(*(self._release(dependent, identity.uid) for dependent in dependents))
        await self._remove_finalizer(self._resource(identity), identity, ORPHAN)

    async def _release(self, dependent: GraphNode, owner_uid: str) -> None:
        await self._drop_references(self._resource(dependent.identity), dependent.identity, [owner_uid])

    async def _drop_references(self, what: Deletable, identity: Coordinates, owners: list[str]) -> None:
        """Remove owner references by uid, on the object's newest state."""

        def without(latest: Object) -> Object | None:
            kept = [ref for ref in owner_references(latest) if ref.get("uid") not in owners]
            if len(kept) == len(owner_references(latest)):
                return None
            return {"uid": identity.uid, "ownerReferences": kept or None}

        await self._rewrite(what, identity, without)

    async def _remove_finalizer(self, what: Deletable, identity: Coordinates, finalizer: str) -> None:
        def without(latest: Object) -> Object | None:
            present = metadata(latest).get("finalizers") or []
            if finalizer not in present:
                return None
            return {"finalizers": [f for f in present if f != finalizer] or None}

        await self._rewrite(what, identity, without)

    async def _rewrite(
        self, what: Deletable, identity: Coordinates, change: Callable[[Object], Object | None]
    ) -> None:
        """Merge what `change(latest)` answers into the metadata, again on the newest state after a
        conflict; nothing when it answers None or the object is gone. Raises: StatusError."""
        for attempt in range(CONFLICT_ATTEMPTS):
            latest = await (self._get if attempt else self._find)(what, identity)
            if latest is None or uid(latest) != identity.uid:
                return
            meta = change(latest)
            if meta is None:
                return
            try:
                await self._patch(what, identity, {"metadata": {"resourceVersion": resource_version(latest), **meta}})
                return
            except StatusError as error:
                if error.code == 404:
                    return
                if error.code != 409 or attempt == CONFLICT_ATTEMPTS - 1:
                    raise

    async def _patch(self, what: Deletable, identity: Coordinates, body: Object) -> None:
        namespace = identity.namespace if what.namespaced else ""
        await self.client.patch(what.resource, identity.name, namespace, body, patch_type=MERGE_PATCH)
