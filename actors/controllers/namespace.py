"""The namespace controller: what is in a namespace goes before the namespace does.

Owns the deletion of a terminating namespace's content, its conditions, and the finalizer
`kubernetes`. Pods go first, all else when they are gone (KEP-5080). Facts: kubernetes
pkg/controller/namespace/deletion.
"""

from __future__ import annotations

from typing import ClassVar

from actors.client import StatusError
from actors.controllers._deletable import Deletable, built_in, custom
from actors.controllers._namespacecontent import Remaining, conditions, merged
from actors.controllers._pods import epoch
from actors.controllers._reconcile import Context, Controller
from protocol.api import Resource
from protocol.objects import Object, deleting, metadata, mutable, spec, status

__all__ = ["NamespaceController"]

FINALIZER = "kubernetes"
PODS = Resource("", "v1", "pods")
RECHECK_MIN_S = 0.25
RECHECK_MAX_S = 4.0


class NamespaceController(Controller):
    """Empties and releases namespaces that are being deleted."""

    component: ClassVar[str] = "namespace-controller"
    resources: ClassVar[tuple[str, ...]] = ("namespaces", "customresourcedefinitions")
    workers: ClassVar[int] = 10

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._rounds: dict[str, int] = {}
        self.on_change("namespaces", self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and deleting(new):
            if old is None or not deleting(old) or spec(old).get("finalizers") != spec(new).get("finalizers"):
                self.queue.add(metadata(new)["name"])
        elif new is None and old is not None:
            self._rounds.pop(metadata(old)["name"], None)

    async def reconcile(self, key: str) -> None:
        try:
            namespace = await self.client.get("namespaces", key)
        except StatusError as error:
            if error.code == 404:
                return
            raise
        if not deleting(namespace) or FINALIZER not in (spec(namespace).get("finalizers") or ()):
            return
        if status(namespace).get("phase") != "Terminating":
            namespace = await self._set_status(namespace, {"phase": "Terminating"})
        remaining = await self._delete_content(namespace)
        namespace = await self._explain(namespace, remaining)
        if remaining.anything:
            self._look_again(key)
            return
        self._rounds.pop(key, None)
        await self._finalize(namespace)

    def _look_again(self, key: str) -> None:
        """Soon at first, then less often: most content goes within moments."""
        rounds = self._rounds.get(key, 0)
        self._rounds[key] = rounds + 1
        self.queue.add_after(key, min(RECHECK_MIN_S * 1.5**rounds, RECHECK_MAX_S))

    # --- content --------------------------------------------------------------------------------

    async def _delete_content(self, namespace: Object) -> Remaining:
        name = metadata(namespace)["name"]
        waited_s = self.clock.now() - epoch(metadata(namespace)["deletionTimestamp"])
        remaining = Remaining()
        everything = [d for d in self._deletable() if d.namespaced]
        await self._delete_all(next(d for d in everything if d.resource == PODS), name, waited_s, remaining)
        if remaining.anything:
            return remaining
        others = [d for d in everything if d.resource != PODS]
        await self.gather(*(self._delete_all(d, name, waited_s, remaining) for d in others))
        return remaining

    def _deletable(self) -> list[Deletable]:
        return [*built_in(), *custom(self.store("customresourcedefinitions"))]

    async def _delete_all(self, what: Deletable, namespace: str, waited_s: float, remaining: Remaining) -> None:
        """Tell all objects of one resource to go, and count what stays."""
        try:
            items = (await self.client.list(what.resource, namespace, limit="500")).get("items") or []
            if not items:
                return
            if what.collection:
                await self._delete_collection(what, namespace)
            else:
                for item in items:
                    await self._delete_one(what, metadata(item)["name"], namespace)
            items = (await self.client.list(what.resource, namespace)).get("items") or []
            remaining.count(what.resource, items, waited_s, namespace)
        except StatusError as error:
            if error.code not in (404, 405):  # the kind may have gone meanwhile
                remaining.errors.append(error.message)

    async def _delete_collection(self, what: Deletable, namespace: str) -> None:
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        await self.client.delete_collection(what.resource, namespace, body)

    async def _delete_one(self, what: Deletable, name: str, namespace: str) -> None:
        try:
            await self.client.delete(what.resource, name, namespace, propagation="Background")
        except StatusError as error:
            if error.code != 404:
                raise

    # --- the namespace itself -------------------------------------------------------------------

    async def _explain(self, namespace: Object, remaining: Remaining) -> Object:
        wanted = conditions(remaining)
        found = merged(status(namespace).get("conditions") or (), wanted, self.clock.rfc3339())
        return await self._set_status(namespace, {"conditions": found}) if found is not None else namespace

    async def _set_status(self, namespace: Object, fields: Object) -> Object:
        changed = mutable(namespace)
        changed["status"] = {**status(namespace), **fields}
        return await self.client.update_status("namespaces", changed)

    async def _finalize(self, namespace: Object) -> None:
        changed = mutable(namespace)
        changed["spec"]["finalizers"] = [f for f in spec(namespace).get("finalizers") or () if f != FINALIZER]
        try:
            stored = await self.client.update("namespaces", changed, subresource="finalize")
            if not spec(stored).get("finalizers"):
                name, uid = metadata(namespace)["name"], metadata(namespace)["uid"]
                await self.client.delete("namespaces", name, uid=uid)
        except StatusError as error:
            if error.code != 404:
                raise
