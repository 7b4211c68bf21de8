"""Keeps what is served in step with the stored definitions.

Owns the reaction to each change of a definition: names and conditions, served versions, and the
removal of all objects when a definition goes. Lives inside the API server actor; work that must wait
runs as a task of that actor. It must never be called from elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.apiserver.crd._names import TERMINATING, is_established, set_condition, settle_names
from protocol import status

if TYPE_CHECKING:
    from actors.apiserver._cache import Change, Entry
    from actors.apiserver._core import Answer, Core
    from actors.apiserver._resources import Served
    from actors.apiserver.crd._custom import Custom

__all__ = ["Definitions", "attach"]

Object = dict[str, Any]
GROUP, RESOURCE = "apiextensions.k8s.io", "customresourcedefinitions"
FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
MANAGER = "kube-apiserver"
_POLL_MIN_S, _POLL_MAX_S = 0.02, 2.0


def attach(core: Core) -> None:
    """Serve the custom resources of an API server from now on."""
    core.definitions = Definitions(core)
    core.definitions.start()


class Definitions:
    """Follows the definitions of one API server."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.callers: Any = None
        """The actors that call conversion webhooks; made at first need."""
        self._served: dict[str, set[tuple[str, str, str]]] = {}
        self._ways: dict[str, Any] = {}
        self._busy: set[str] = set()
        self._again: set[str] = set()

    def start(self) -> None:
        """Serve what is stored already, and react to changes from now on."""
        self.core.store.cache(GROUP, RESOURCE).listeners.append(self.changed)
        self.rebuild()

    def rebuild(self) -> None:
        """Start over from what the cache holds."""
        for entry in list(self.core.store.cache(GROUP, RESOURCE).all.entries.values()):
            self._follow(entry.object)

    def changed(self, change: Change) -> None:
        """One definition was written or removed."""
        if change.new is not None:
            self._follow(change.new.object)
            return
        if change.old is None:
            return
        self._withdraw(change.old.object["metadata"]["name"], set())
        group, resource = change.old.object["spec"]["group"], change.old.object["spec"]["names"]["plural"]
        self.core.store.cache(group, resource).read = None
        for other in self._all():
            if other["spec"]["group"] == group:
                self._later(other["metadata"]["name"])

    def _all(self) -> list[Object]:
        return [entry.object for entry in self.core.store.cache(GROUP, RESOURCE).all.entries.values()]

    def _follow(self, definition: Object) -> None:
        if is_established(definition):
            self._serve(definition)
        meta = definition["metadata"]
        spec, status = definition["spec"], definition.get("status") or {}
        accepted = {key: value for key, value in (status.get("acceptedNames") or {}).items() if value}
        if meta.get("deletionTimestamp") or accepted != spec["names"] or not is_established(definition):
            self._later(meta["name"])

    # --- serving --------------------------------------------------------------------------------

    def _serve(self, definition: Object) -> None:
        from actors.apiserver._resources import Served
        from actors.apiserver.crd._custom import Custom

        core, spec = self.core, definition["spec"]
        cache = core.store.cache(spec["group"], spec["names"]["plural"])
        every = [Custom(definition, version, core.schema) for version in spec["versions"]]
        customs = [custom for custom in every if custom.version.get("served")]
        stored = next(version["name"] for version in spec["versions"] if version.get("storage"))
        storage = next((c.kind for c in customs if c.kind.version == stored), None)
        storage_api = f"{spec['group']}/{stored}"
        webhook: Any = None
        if len(every) > 1 and (spec.get("conversion") or {}).get("strategy") == "Webhook":
            from actors.apiserver.crd._conversion import WebhookConversion

            webhook = WebhookConversion(core, definition, every)
        now: set[tuple[str, str, str]] = set()
        for custom in customs:
            kind = custom.kind
            same = kind.version == stored
            now.add((kind.group, kind.version, kind.resource))
            core.resources.add(
                Served(
                    kind,
                    cache,
                    storage or kind,
                    strategy=custom.strategy,
                    to_storage=None if same else _to_version(storage_api),
                    from_storage=_unconverted if webhook is not None
                    else _to_version(kind.api_version) if len(every) > 1
                    else None,
                    custom=custom,
                    webhook=webhook,
                )
            )
        self._new_way(definition, cache, every)
        self._withdraw(definition["metadata"]["name"], now)

    def _new_way(self, definition: Object, cache: Any, customs: list[Custom]) -> None:
        """When versions convert in another way than before, nothing that was converted counts any more,
        and who watches has to list again. So it is when stored objects read otherwise than before."""
        spec, name = definition["spec"], definition["metadata"]["name"]
        way = (spec.get("conversion"), [(v["name"], v.get("schema")) for v in spec["versions"]])
        before = self._ways.get(name)
        self._ways[name] = way
        if before == way:
            return
        from actors.apiserver.crd._custom import reader

        differs = cache.reread(reader(customs))
        if before is None or (not differs and len(spec["versions"]) == 1 == len(before[1])):
            return
        cache.forget_views()
        for watch in list(self.core.watches.open.values()):
            if watch.cache is cache:
                self.core.watches.close(watch, "the definition has changed")

    def _withdraw(self, name: str, keep: set[tuple[str, str, str]]) -> None:
        for gone in self._served.get(name, set()) - keep:
            self.core.resources.remove(*gone)
        if keep:
            self._served[name] = keep
        else:
            self._served.pop(name, None)
            self._ways.pop(name, None)

    # --- names and removal ----------------------------------------------------------------------

    def _later(self, name: str) -> None:
        """Look at a definition in a task of its own; one at a time per definition."""
        if name in self._busy:
            self._again.add(name)
            return
        self._busy.add(name)
        self.core.actor.background(self._work(name))

    async def _work(self, name: str) -> None:
        try:
            while True:
                self._again.discard(name)
                await self._step(name)
                if name not in self._again:
                    return
        except Exception as error:
            self.core.actor.log.warning("definition_not_settled", definition=name, error=repr(error))
        finally:
            self._busy.discard(name)

    async def _step(self, name: str) -> None:
        entry = self.core.store.cache(GROUP, RESOURCE).get("", name)
        if entry is None:
            return
        await self._settle(name)
        entry = self.core.store.cache(GROUP, RESOURCE).get("", name)
        if entry is not None and entry.object["metadata"].get("deletionTimestamp"):
            await self._clean_up(name)

    async def _settle(self, name: str) -> None:
        def change(definition: Object) -> Object | None:
            others = [other for other in self._all() if other["metadata"]["name"] != name]
            status = settle_names(definition, [*others, definition], self.core.clock.rfc3339())
            return self._with_status(definition, status) if status is not None else None

        await self.core.update(GROUP, RESOURCE, "", name, change, "status")

    def _with_status(self, definition: Object, status: Object) -> Object:
        """The definition with a new status that the API server owns."""
        from actors.apiserver.managedfields import reset_filter, update

        new = {**definition, "metadata": dict(definition["metadata"]), "status": status}
        type_ = self.core.schema.by_gvk(GROUP, "v1", "CustomResourceDefinition")
        assert type_ is not None
        update(
            type_,
            definition,
            new,
            MANAGER,
            api_version=f"{GROUP}/v1",
            now=self.core.clock.rfc3339(),
            subresource="status",
            reset=reset_filter(GROUP, RESOURCE, "status"),
        )
        return new

    async def delete(self, served: Served, entry: Entry, dry_run: bool) -> Answer:
        """DELETE of a definition: it is marked, its objects go first, then itself."""
        from actors.apiserver._core import Answer, copy
        from actors.apiserver._create import unstored
        from actors.apiserver._store import Superseded

        while True:
            if entry.object["metadata"].get("deletionTimestamp"):
                return Answer(served, entry)
            obj = copy(entry.object)
            meta = obj["metadata"]
            meta["deletionTimestamp"] = self.core.clock.rfc3339()
            finalizers = meta.get("finalizers") or []
            if FINALIZER not in finalizers:
                meta["finalizers"] = [*finalizers, FINALIZER]
            set_condition(obj.setdefault("status", {}), TERMINATING, self.core.clock.rfc3339())
            if dry_run:
                return Answer(served, unstored(served, entry.key, obj, entry.revision))
            try:
                return Answer(served, await self.core.store.update(served.cache, entry, obj))
            except Superseded as lost:
                if lost.entry is None:
                    from protocol import status

                    raise status.not_found(GROUP, RESOURCE, entry.name) from None
                entry = lost.entry

    async def _clean_up(self, name: str) -> None:
        """Delete every object of a definition, wait until they are gone, then let it go."""
        cache = self.core.store.cache(GROUP, RESOURCE)
        delay = _POLL_MIN_S
        while True:
            entry = cache.get("", name)
            if entry is None or FINALIZER not in (entry.object["metadata"].get("finalizers") or ()):
                return
            spec = entry.object["spec"]
            if not await self._delete_objects(spec["group"], spec["names"]["plural"]):
                break
            await self.core.actor.sleep(delay)
            delay = min(delay * 2, _POLL_MAX_S)
        await self._release(name)

    async def _delete_objects(self, group: str, resource: str) -> bool:
        """Delete what is left; whether anything is still there afterwards."""
        from actors.apiserver._delete import _Deletion
        from actors.apiserver._options import delete_options
        from protocol.api import StatusError

        served = self.core.resources.any_version(group, resource)
        cache = self.core.store.cache(group, resource)
        entries = list(cache.all.entries.values())
        if served is None:
            from actors.apiserver._store import Superseded

            for entry in entries:
                try:
                    await self.core.store.delete(cache, entry)
                except Superseded:
                    continue
        else:
            options = delete_options(None, {})
            for entry in entries:
                if entry.object["metadata"].get("deletionTimestamp"):
                    continue
                try:
                    await _Deletion(self.core, served, options, False).run(entry)
                except StatusError:
                    continue
        return bool(cache.all.entries)

    async def _release(self, name: str) -> None:
        from actors.apiserver._core import copy
        from actors.apiserver._store import Superseded

        cache = self.core.store.cache(GROUP, RESOURCE)
        while True:
            entry = cache.get("", name)
            if entry is None:
                return
            left = [f for f in entry.object["metadata"].get("finalizers") or () if f != FINALIZER]
            try:
                if not left:
                    await self.core.store.delete(cache, entry)
                    return
                obj = copy(entry.object)
                obj["metadata"]["finalizers"] = left
                await self.core.store.update(cache, entry, obj)
                return
            except Superseded:
                continue


def _unconverted(obj: Object) -> Object:
    """What is shown was converted before; here it was not."""
    raise status.internal_error(f"{obj['kind']} of {obj['apiVersion']} is needed in another version, by a webhook")


def _to_version(api_version: str) -> Any:
    """A conversion that changes nothing but the version, as strategy None has it."""
    return lambda obj: obj if obj["apiVersion"] == api_version else {**obj, "apiVersion": api_version}
