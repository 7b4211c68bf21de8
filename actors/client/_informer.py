"""An informer: list, then watch, and keep a store equal to what the API server has.

Owns the loop that survives everything: a watch that ends is opened again from the last version
seen, a gap in the numbering or long silence ends a watch, 410 Gone leads to a new list, errors are
retried with back-off. What it tells its handlers is the difference between what the store held and
what is true now, so a relist shows up as ordinary adds, updates and deletes.

It lives inside one actor (a `ClientActor`) and calls the handlers there, never in between: no
handler is called while another part of the actor runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from actors.client._client import Client, resource
from actors.client._queue import Backoff
from actors.client._store import IndexFunction, Store
from actors.kernel import Future
from protocol.api import Resource, StatusError, WatchEvents
from protocol.objects import Object, key

__all__ = ["Change", "Informer"]

Change = tuple["Object | None", "Object | None"]
"""(old, new): old is None when the object is new to us, new is None when it is gone."""

RETRY_BASE_S = 0.05
RETRY_MAX_S = 30.0
WATCH_TIMEOUT_S = 300  # the server ends a watch after this to twice this, as client-go asks it to
SILENCE_S = 90.0  # bookmarks come about once a minute: longer silence means that something is lost
SILENCE_CHECK_S = 30.0


class Informer:
    """Keeps `store` equal to the objects of one resource that the selectors select.

    `on_add(obj)`, `on_update(old, new)`, `on_delete(obj)` are called per change; `on_batch(changes)`
    once per message, after them. All are plain functions.
    """

    def __init__(
        self,
        client: Client,
        what: str | Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        store: Store | None = None,
        indexes: Mapping[str, IndexFunction] | None = None,
        on_add: Callable[[Object], None] | None = None,
        on_update: Callable[[Object, Object], None] | None = None,
        on_delete: Callable[[Object], None] | None = None,
        on_batch: Callable[[list[Change]], None] | None = None,
    ) -> None:
        self.client = client
        self.actor = client.actor
        self.resource = resource(what)
        self.namespace = namespace
        self.store = Store() if store is None else store
        for name, function in (indexes or {}).items():
            self.store.add_index(name, function)
        self.on_add = on_add
        self.on_update = on_update
        self.on_delete = on_delete
        self.on_batch = on_batch
        self.resource_version = ""
        self.has_synced = False
        self.served = True
        self.lists = 0
        self.watches = 0
        self._selectors: dict[str, str] = {}
        if label_selector:
            self._selectors["labelSelector"] = label_selector
        if field_selector:
            self._selectors["fieldSelector"] = field_selector
        self._synced: Future[None] = Future()
        self._must_list = True
        self._stopped = False
        self._watch_id = 0
        self._next_seq = 0
        self._ended: Future[str] | None = None
        self._heard_at = 0.0
        self._kind: Object = {}

    # --- what its owner calls -------------------------------------------------------------------

    def start(self) -> None:
        """Begin to list and watch, in the background of the actor."""
        self.actor.background(self._run())
        self.actor.background(self._notice_silence())

    def stop(self) -> None:
        """Cancel the watch and end."""
        self._stopped = True
        self._end("stopped")

    async def synced(self) -> None:
        """Wait until the first list is in the store and its handlers have been called."""
        await self._synced

    def get(self, name: str, namespace: str = "") -> Object | None:
        """The object as it is in the store."""
        return self.store.named(namespace, name)

    # --- the loop -------------------------------------------------------------------------------

    async def _run(self) -> None:
        backoff = Backoff(RETRY_BASE_S, RETRY_MAX_S)
        while not self._stopped:
            opened_at = self.actor.clock.monotonic()
            try:
                if self._must_list:
                    await self._list()
                await self._watch()
            except StatusError as error:
                self._after_error(error)
                await self.actor.sleep(backoff.next_s(self.actor.random))
                continue
            except Exception as error:
                # A handler's mistake must not end the informer in silence: say so, list anew.
                self.actor.log.error(
                    "informer_failed", resource=self.resource.resource, exc_info=error
                )
                self._must_list = True
                await self.actor.sleep(backoff.next_s(self.actor.random))
                continue
            if self.actor.clock.monotonic() - opened_at > 1.0:
                backoff.reset()
            else:
                await self.actor.sleep(backoff.next_s(self.actor.random))

    def _after_error(self, error: StatusError) -> None:
        if error.code == 404:
            self._not_served()
            return
        if error.code == 410 or error.reason in ("Expired", "Gone"):
            self._must_list = True
            self.resource_version = ""
        elif error.code not in (503, 504, 429):
            # Not a version that is too old, but nothing that goes on by itself either (403, 400):
            # look at the world afresh.
            self._must_list = True
        if error.code not in (503, 504, 429, 410):
            self.actor.log.warning(
                "informer_refused", resource=self.resource.resource, error=error.message
            )

    def _not_served(self) -> None:
        """The server has no such kind, or has it no more: then there is nothing of that kind, and
        nobody should wait for it who has other things to do. Asked again ever less often."""
        self._must_list = True
        self.resource_version = ""
        if self.served:
            self.served = False
            self.actor.log.info("kind_not_served", resource=self.resource.resource, group=self.resource.group)
        if self.store.objects or not self.has_synced:
            self._replace([])

    async def _list(self) -> None:
        # Not older than what was seen; the first time, whatever the server's cache has.
        options = {**self._selectors, "resourceVersion": self.resource_version or "0"}
        if self.lists and not self.resource_version:
            del options["resourceVersion"]
        self.lists += 1
        answer = await self.client.list(self.resource, self.namespace, **options)
        kind = answer.get("kind", "")
        self._kind = {
            "apiVersion": answer.get("apiVersion", self.resource.api_version),
            "kind": kind[: -len("List")] if kind.endswith("List") else kind,
        }
        self._replace(answer.get("items") or [])
        self.resource_version = answer.get("metadata", {}).get("resourceVersion", "")
        self._must_list = False
        self.served = True

    def _replace(self, items: list[Object]) -> None:
        """Make the store hold exactly `items`, telling the difference."""
        changes: list[Change] = []
        present = set()
        for item in items:
            obj = self._typed(item)
            object_key = key(obj)
            present.add(object_key)
            old = self.store.get(object_key)
            if old is not None and _version(old) == _version(obj):
                continue
            if old is not None and old["metadata"].get("uid") != obj["metadata"].get("uid"):
                # Deleted and made again while nobody looked.
                self.store.remove(object_key)
                changes.append((old, None))
                old = None
            self.store.put(obj)
            changes.append((old, obj))
        for object_key in [k for k in self.store.objects if k not in present]:
            changes.append((self.store.remove(object_key), None))
        first = not self.has_synced
        self.has_synced = True
        self._tell(changes, always=first)
        if first:
            self._synced.resolve(None)

    async def _watch(self) -> None:
        """Watch until the watch ends. Raises `StatusError` when it cannot be opened or the server
        ends it with an error."""
        self.watches += 1
        ended: Future[str] = Future()
        self._ended = ended
        self._next_seq = 0
        self._heard_at = self.actor.clock.monotonic()
        timeout_s = int(WATCH_TIMEOUT_S * (1.0 + self.actor.random.random()))
        self._watch_id = await self.client.watch(
            self.resource,
            self,
            self.namespace,
            **self._selectors,
            resourceVersion=self.resource_version,
            allowWatchBookmarks="true",
            timeoutSeconds=str(timeout_s),
        )
        try:
            await ended
        finally:
            self._ended = None
            self.client.cancel_watch(self._watch_id)

    async def _notice_silence(self) -> None:
        while not self._stopped:
            await self.actor.sleep(SILENCE_CHECK_S)
            silent_s = self.actor.clock.monotonic() - self._heard_at
            if self._ended is not None and silent_s > SILENCE_S:
                self._end("silence")

    def _end(self, reason: str) -> None:
        if self._ended is not None:
            self._ended.resolve(reason)

    # --- what the watch tells -------------------------------------------------------------------

    def watch_closed(self, reason: str) -> None:
        """The client says that the watch is over."""
        self._end(reason)

    def watch_events(self, message: WatchEvents) -> None:
        """The client says what changed."""
        ended = self._ended
        if ended is None or ended.done:
            return
        if message.seq != self._next_seq:
            self.actor.log.info("watch_gap", resource=self.resource.resource, seq=message.seq)
            self._end("a message was lost")
            return
        self._next_seq += 1
        self._heard_at = self.actor.clock.monotonic()
        changes: list[Change] = []
        for event in message.events:
            if event.type == "ERROR":
                ended.fail(StatusError(event.object))
                break
            obj = event.object
            version = obj["metadata"].get("resourceVersion", "")
            if event.type == "BOOKMARK":
                self.resource_version = version or self.resource_version
                continue
            changes.append(self._apply(event.type, obj))
            self.resource_version = version or self.resource_version
        self._tell(changes)

    def _apply(self, event_type: str, obj: Object) -> Change:
        if event_type == "DELETED":
            old = self.store.remove(key(obj))
            return (self._typed(obj) if old is None else old, None)
        obj = self._typed(obj)
        old = self.store.put(obj)
        if old is not None and old["metadata"].get("uid") != obj["metadata"].get("uid"):
            return (None, obj)
        return (old, obj)

    def _typed(self, obj: Object) -> Object:
        """List items may lack apiVersion and kind; owners are referred to by these."""
        return obj if "kind" in obj else {**self._kind, **obj}

    def _tell(self, changes: list[Change], *, always: bool = False) -> None:
        on_add, on_update, on_delete = self.on_add, self.on_update, self.on_delete
        if on_add or on_update or on_delete:
            for old, new in changes:
                if new is None:
                    if on_delete is not None and old is not None:
                        on_delete(old)
                elif old is None:
                    if on_add is not None:
                        on_add(new)
                elif on_update is not None:
                    on_update(old, new)
        if self.on_batch is not None and (changes or always):
            self.on_batch(changes)

    def statistics(self) -> dict[str, Any]:
        """What it holds and how often it had to list and watch."""
        return {
            "resource": self.resource.resource,
            "objects": len(self.store),
            "resource_version": self.resource_version,
            "lists": self.lists,
            "watches": self.watches,
        }


def _version(obj: Object) -> Any:
    return obj["metadata"].get("resourceVersion")
