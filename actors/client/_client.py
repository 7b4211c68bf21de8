"""The API client of one actor.

Owns request building, time-outs, retries of what is safe to retry, and the routing of what watches
tell the actor to the informers that opened them. It keeps no objects and decides nothing.

A lost answer leaves the outcome of a write unknown: it is raised as a `StatusError` (504 Timeout,
503 ServiceUnavailable) and never repeated here, because only the caller's next look at the world
can tell what happened. Reads are repeated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

from actors.kernel import Actor, ActorDead, AskTimeout, MailboxFull, Ref, handles
from protocol import status
from protocol.api import (
    ADMIN,
    ApiRequest,
    CancelWatch,
    Hold,
    Resource,
    StatusError,
    UserInfo,
    WatchClosed,
    WatchEvents,
)
from protocol.conditions import REQUESTS
from protocol.kinds import resource_for
from protocol.objects import Object, metadata

__all__ = ["Client", "ClientActor", "WatchSink", "resource"]

REQUEST_TIMEOUT_S = 30.0
READ_ATTEMPTS = 4
THROTTLE_ATTEMPTS = 10
RETRY_BASE_S = 0.05
RETRY_MAX_S = 2.0

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@lru_cache(maxsize=1024)
def _resource_by_word(word: str) -> Resource:
    kind = resource_for(word)
    if kind is not None:
        return Resource(kind.group, kind.version, kind.resource)
    name, dot, rest = word.partition(".")
    version, dot2, group = rest.partition(".")
    if dot and dot2:  # `widgets.v1.example.com`: a custom kind, named in full
        return Resource(group, version, name)
    raise ValueError(f"no such resource: {word!r} (a custom one is named `plural.version.group`)")


def resource(word: str | Resource) -> Resource:
    """The resource that a word names: `pods`, `deployments`, `events.events.k8s.io`, or in full
    `widgets.v1.example.com`. Raises `ValueError` for a word that names none."""
    return word if isinstance(word, Resource) else _resource_by_word(word)


class WatchSink(Protocol):
    """Who is told what a watch says."""

    def watch_events(self, message: WatchEvents) -> None:
        """Some changes came."""

    def watch_closed(self, reason: str) -> None:
        """The watch is over; it may be opened anew."""


class Client:
    """One actor's access to an API server. Coroutines run in that actor.

    All methods raise `StatusError`: the server's own, or 503/504 when it could not be reached.
    `resource` arguments are words (`"pods"`) or `Resource`. Objects that come back are frozen.
    """

    def __init__(
        self,
        actor: Actor,
        apiserver: Ref,
        *,
        user: UserInfo = ADMIN,
        user_agent: str = "kubekka",
        timeout_s: float = REQUEST_TIMEOUT_S,
        reader: UserInfo | None = None,
    ) -> None:
        self.actor = actor
        self.apiserver = apiserver
        self.user = user
        self.reader = user if reader is None else reader
        """Who reads and watches, where that is another than who writes."""
        self.user_agent = user_agent
        self.timeout_s = timeout_s
        self._sinks: dict[int, WatchSink] = {}
        self._last_watch_id = 0
        self._holding = False

    # --- requests -------------------------------------------------------------------------------

    async def get(
        self, what: str | Resource, name: str, namespace: str = "", **options: str
    ) -> Object:
        """One object."""
        return await self._read("get", what, namespace, name, "", options)

    async def get_subresource(
        self, what: str | Resource, name: str, namespace: str, subresource: str, **options: str
    ) -> Any:
        """A subresource's answer, e.g. a Scale."""
        return await self._read("get", what, namespace, name, subresource, options)

    async def list(
        self,
        what: str | Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        **options: str,
    ) -> Object:
        """The List object (its `items` and `metadata.resourceVersion`); all namespaces if empty."""
        if label_selector:
            options["labelSelector"] = label_selector
        if field_selector:
            options["fieldSelector"] = field_selector
        return await self._read("list", what, namespace, "", "", options)

    async def pages(
        self, what: str | Resource, namespace: str = "", *, limit: int = 500, **options: str
    ) -> AsyncIterator[Object]:
        """The objects of a list, asked for in pages of `limit`."""
        options["limit"] = str(limit)
        while True:
            page = await self.list(what, namespace, **options)
            for item in page.get("items") or ():
                yield item
            token = metadata(page).get("continue")
            if not token:
                return
            options["continue"] = token

    async def create(
        self,
        what: str | Resource,
        obj: Object,
        namespace: str = "",
        *,
        name: str = "",
        subresource: str = "",
        **options: str,
    ) -> Object:
        """Create `obj`, in the namespace that its metadata names unless given."""
        target = namespace or metadata(obj).get("namespace") or ""
        return await self._write("create", what, target, name, subresource, obj, "", options)

    async def update(
        self, what: str | Resource, obj: Object, *, subresource: str = "", **options: str
    ) -> Object:
        """Replace an object; 409 Conflict when its `resourceVersion` is not the present one."""
        meta = obj["metadata"]
        in_namespace = meta.get("namespace") or ""
        return await self._write(
            "update", what, in_namespace, meta["name"], subresource, obj, "", options
        )

    async def update_status(self, what: str | Resource, obj: Object, **options: str) -> Object:
        """Replace an object's status."""
        return await self.update(what, obj, subresource="status", **options)

    async def patch(
        self,
        what: str | Resource,
        name: str,
        namespace: str,
        body: Any,
        *,
        patch_type: str = MERGE_PATCH,
        subresource: str = "",
        **options: str,
    ) -> Object:
        """Patch an object; by default with a JSON merge patch."""
        return await self._write(
            "patch", what, namespace, name, subresource, body, patch_type, options
        )

    async def apply(
        self, what: str | Resource, obj: Object, *, field_manager: str, force: bool = False
    ) -> Object:
        """Server-side apply."""
        meta = obj["metadata"]
        options = {"fieldManager": field_manager}
        if force:
            options["force"] = "true"
        return await self._write(
            "patch", what, meta.get("namespace", ""), meta["name"], "", obj, APPLY_PATCH, options
        )

    async def delete(
        self,
        what: str | Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: str = "",
        grace_period_s: int | None = None,
        **options: str,
    ) -> Object:
        """Delete an object, if its uid and resourceVersion are these where given (409 otherwise).

        `propagation`: Background, Foreground or Orphan.
        """
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid or resource_version:
            both = {"uid": uid, "resourceVersion": resource_version}
            body["preconditions"] = {k: v for k, v in both.items() if v}
        if propagation:
            body["propagationPolicy"] = propagation
        if grace_period_s is not None:
            body["gracePeriodSeconds"] = grace_period_s
        return await self._write("delete", what, namespace, name, "", body, "", options)

    async def delete_collection(
        self, what: str | Resource, namespace: str, body: Object | None = None, **options: str
    ) -> Object:
        """Delete all that the options select."""
        return await self._write("deletecollection", what, namespace, "", "", body, "", options)

    # --- watches --------------------------------------------------------------------------------

    async def watch(
        self, what: str | Resource, sink: WatchSink, namespace: str = "", **options: str
    ) -> int:
        """Open a watch; `sink` hears of it until `cancel_watch` of the id that is returned."""
        self._last_watch_id += 1
        watch_id = self._last_watch_id
        self._sinks[watch_id] = sink
        self._hold()
        request = ApiRequest(
            "watch",
            resource(what),
            namespace,
            options=options,
            user=self.reader,
            user_agent=self.user_agent,
            watcher=self.actor.ref,
            watch_id=watch_id,
        )
        try:
            await self._ask(request)
        except StatusError:
            self.cancel_watch(watch_id)
            raise
        return watch_id

    def cancel_watch(self, watch_id: int) -> None:
        """Hear no more of a watch. Unknown ids are no error."""
        if self._sinks.pop(watch_id, None) is not None:
            self.apiserver.tell(CancelWatch(self.actor.ref, watch_id))

    def dispatch(self, message: WatchEvents | WatchClosed) -> None:
        """Route what a watch told this client's actor; its message handlers call this."""
        sink = self._sinks.get(message.watch_id)
        if sink is None:
            # A watch of a former life of this actor, or one cancelled a moment ago.
            if isinstance(message, WatchEvents):
                self.apiserver.tell(CancelWatch(self.actor.ref, message.watch_id))
            return
        if isinstance(message, WatchEvents):
            sink.watch_events(message)
        else:
            del self._sinks[message.watch_id]
            sink.watch_closed(message.reason)

    def _hold(self) -> None:
        """Learn of the server's end while there are watches: it ends them without a word."""
        if not self._holding:
            self._holding = True
            self.actor.background(self._hold_until_lost())

    async def _hold_until_lost(self) -> None:
        while self._sinks:
            try:
                await self.actor.ask(self.apiserver, Hold())
            except (ActorDead, StatusError):
                pass
            except Exception:
                # A server that does not know `Hold`; then silence alone tells, see `Informer`.
                return
            sinks, self._sinks = self._sinks, {}
            for sink in sinks.values():
                sink.watch_closed("the API server went away")
            await self.actor.sleep(RETRY_BASE_S)
        self._holding = False

    # --- sending --------------------------------------------------------------------------------

    async def _read(
        self,
        verb: str,
        what: str | Resource,
        namespace: str,
        name: str,
        subresource: str,
        options: Mapping[str, str],
    ) -> Any:
        request = ApiRequest(
            verb,
            resource(what),
            namespace,
            name,
            subresource,
            options=options,
            user=self.reader,
            user_agent=self.user_agent,
        )
        for attempt in range(READ_ATTEMPTS):
            try:
                return await self._ask(request)
            except StatusError as error:
                if error.code not in (503, 504) or attempt == READ_ATTEMPTS - 1:
                    raise
            await self.actor.sleep(_retry_delay_s(self.actor, attempt))
        raise AssertionError("unreachable")

    async def _write(
        self,
        verb: str,
        what: str | Resource,
        namespace: str,
        name: str,
        subresource: str,
        body: Any,
        patch_type: str,
        options: Mapping[str, str],
    ) -> Any:
        return await self._ask(
            ApiRequest(
                verb,
                resource(what),
                namespace,
                name,
                subresource,
                body,
                patch_type,
                options,
                self.user,
                self.user_agent,
            )
        )

    async def _ask(self, request: ApiRequest) -> Any:
        told = self.actor.system.world.get(REQUESTS)
        if told is None:
            return await self._answer(request)
        began, code = self.actor.clock.monotonic(), 200
        try:
            return await self._answer(request)
        except StatusError as error:
            code = error.code
            raise
        finally:
            told(request.verb, request.resource.resource, self.actor.clock.monotonic() - began, code)

    async def _answer(self, request: ApiRequest) -> Any:
        """Ask once, waiting as told while the server says 429 with `retryAfterSeconds`."""
        for attempt in range(THROTTLE_ATTEMPTS):
            try:
                return await self.actor.ask(self.apiserver, request, timeout=self.timeout_s)
            except StatusError as error:
                details = error.status.get("details") or {}
                after_s = details.get("retryAfterSeconds") if error.code == 429 else None
                if not after_s or request.subresource == "eviction":
                    raise
                if attempt == THROTTLE_ATTEMPTS - 1:
                    raise
                await self.actor.sleep(float(after_s))
            except MailboxFull:
                if attempt == THROTTLE_ATTEMPTS - 1:
                    raise status.too_many_requests("the server's mailbox is full") from None
                await self.actor.sleep(_retry_delay_s(self.actor, attempt))
            except AskTimeout:
                raise status.timeout("the API server did not answer") from None
            except ActorDead:
                raise status.service_unavailable("the API server is not there") from None
        raise AssertionError("unreachable")


def _retry_delay_s(actor: Actor, attempt: int) -> float:
    return float(min(RETRY_BASE_S * 2**attempt, RETRY_MAX_S) * (1.0 + actor.random.random()))


class ClientActor(Actor):
    """An actor with an API client, whose informers hear of their watches.

    Subclasses set `self.client` before they open a watch.
    """

    client: Client

    @handles(WatchEvents)
    def on_watch_events(self, message: WatchEvents) -> None:
        self.client.dispatch(message)

    @handles(WatchClosed)
    def on_watch_closed(self, message: WatchClosed) -> None:
        self.client.dispatch(message)
