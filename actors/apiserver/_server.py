"""The API server actor: it takes requests from clients in this process and from the HTTP front.

Owns the actor's mailbox and life: at its start it reads everything from etcd, creates what every
cluster has, and then answers. What a request means is in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from actors.apiserver import _create, _delete, _read, _watching, _write
from actors.apiserver._aggregation import Aggregation
from actors.apiserver._authz import Attributes
from actors.apiserver._config import ApiServerConfig
from actors.apiserver._core import Answer, Core
from actors.apiserver._disturbed import break_watches, forget_history, strike
from actors.apiserver._front import check_route, serve
from actors.apiserver._messages import (
    BookmarkTick,
    CompactTick,
    FeedOverdue,
    HttpCall,
    HttpReply,
    StopFrames,
    StorageTick,
    WatchExpired,
)
from actors.apiserver._metrics import Counters
from actors.apiserver._request import Path, Request, named_by
from actors.apiserver._resources import Served
from actors.apiserver._watch import ObjectRenderer, Renderer
from actors.kernel import Actor, ActorDead, AskTimeout, Child, Future, MailboxFull, Ref, handles
from protocol import status
from protocol.api import ApiRequest, CancelWatch, Hold, ServeGroup, StatusError
from protocol.conditions import API, BreakWatches, ForgetHistory
from protocol.etcd import EtcdError, WatchResponse
from protocol.message import Address
from protocol.node import NodeConnected, NodeDisconnected, StreamClosed

__all__ = ["ApiServer"]

PATIENCE_S = 25.0
"""Less than clients wait for an answer (30 s), by more than mail takes."""

Object = dict[str, Any]


class ApiServer(Actor):
    """The API server. `etcd` is the address of the store; see `ApiServerConfig`."""

    def __init__(self, config: ApiServerConfig, etcd: Ref) -> None:
        super().__init__()
        self.config = config
        self.etcd = etcd
        self.core: Core
        self.ready: Future[None]
        self.counters = Counters()
        self.started_at = 0.0
        self.in_flight = 0
        self.auditor: Any = None
        self.aggregation: Aggregation
        self._serial = 0
        self._followed: dict[tuple[str, int], Address] = {}
        self._compact_at = 0

    async def on_start(self) -> None:  # type: ignore[override]
        """Read the store, watch it, and make sure that the cluster's own objects exist."""
        self.started_at = self.clock.now()
        self.core = Core(self, self.etcd, self.config)
        self.core.server = self
        self.ready = Future()
        if self.config.audit_path is not None:
            from actors.apiserver._audit import AuditFile, Auditor, Policy

            path = self.config.audit_path
            file = self.spawn(Child("audit-log", lambda: AuditFile(path)))
            self.auditor = Auditor(self.core, Policy(self.config.audit_policy), file)
        self.aggregation = Aggregation(self, self.core)
        if self.config.jwt:
            from actors.apiserver._issuers import Issuers

            self.core.issuers = Issuers(self, list(self.config.jwt))
        self.every(self.config.bookmark_period, BookmarkTick())
        self.every(self.config.compaction_period, CompactTick())
        self.every(self.config.storage_check_period, StorageTick())
        self.background(self._prepare())

    async def _prepare(self) -> None:
        """Read everything and create what is missing; requests wait for it, and it waits for an etcd that
        is away. Not in `on_start`: its writes are seen by messages that arrive only afterwards."""
        await self._persist("etcd_unreachable", self.core.store.start)
        if self.config.bootstrap:
            await self._persist("bootstrap_failed", self._stock)
        self.core.store.begin_history()
        from actors.apiserver import crd

        if hasattr(crd, "attach"):
            crd.attach(self.core)
        self.ready.resolve()
        self.log.info("apiserver_ready", revision=self.core.store.revision)

    async def _stock(self) -> None:
        from actors.apiserver._bootstrap import bootstrap

        await bootstrap(self)
        await self.core.addresses.repair()

    async def _persist(self, event: str, step: Callable[[], Awaitable[None]]) -> None:
        """Try a step until it succeeds, more and more seldom."""
        delay = 0.05
        while True:
            try:
                return await step()
            except Exception as error:
                self.log.warning(event, error=repr(error))
            await self.sleep(delay)
            delay = min(2 * delay, 5.0)

    def restock(self) -> None:
        """The store was read anew, and may be another one: create again what is missing."""
        if self.config.bootstrap and self.ready.done:
            from actors.apiserver._bootstrap import bootstrap

            self.background(bootstrap(self))

    def on_stop(self) -> None:
        """Tell every watcher that it is over."""
        self.core.watches.close_all("the server is shutting down")

    # --- clients in this process ------------------------------------------------------------

    @handles(ApiRequest)
    async def request(self, message: ApiRequest) -> Object | None:
        """One request; raises `StatusError` at the asker."""
        if not self.ready.done:
            await self._wait_until_ready(message.verb)
        if self.auditor is not None:
            return await self._audited(message)
        return await self._request(message)

    async def _audited(self, message: ApiRequest) -> Object | None:
        started, code, failure, answer = self.clock.now(), 200, None, None
        notes: dict[str, str] = {}
        try:
            answer = await self._request(message, notes)
            code = 201 if message.verb == "create" and not message.subresource else 200
            return answer
        except StatusError as error:
            code, failure = error.code, error.status
            raise
        finally:
            self.auditor.record_message(message, code, failure, answer, started, notes)

    async def _request(self, message: ApiRequest, notes: dict[str, str] | None = None) -> Object | None:
        core = self.core
        resource = message.resource
        if resource.resource == "nodes" and message.subresource.startswith("proxy/"):
            return await self._node_json(message)
        served = core.resources.get(resource.group, resource.version, resource.resource)
        user = message.user
        if served is None:
            service = self.aggregation.find(resource.group, resource.version)
            if service is None:
                raise status.page_not_found()
            wanted = Attributes(message.verb, resource.group, resource.resource, "", message.namespace, message.name)
            core.authorizer.require(user, wanted)
            return await self.aggregation.answer(service, message)
        if "system:masters" not in user.groups:
            fields = message.options.get("fieldSelector", "")
            name = message.name or (named_by(message.options) if fields and message.verb in ("list", "watch") else "")
            core.authorizer.require(
                user,
                Attributes(
                    message.verb, resource.group, resource.resource, message.subresource, message.namespace, name,
                    fields=fields,
                ),
            )
        check_route(
            served,
            Path(resource.group, resource.version, resource.resource, message.namespace, message.name,
                 message.subresource),
            message.verb,
        )
        faults = self.system.world.get(API)
        if faults and await strike(self, faults, user, message.verb, resource.group, resource.resource, message.name):
            self.background(self.execute(self._request_of(message, served)))
            raise status.timeout("request did not complete within the allotted timeout")
        request = Request(
            message.verb, served, message.namespace, message.name, message.subresource, dict(message.options),
            message.body, message.patch_type or "application/json", user, message.user_agent,
        )
        if notes is not None:
            request.annotations = notes
        if message.verb == "watch":
            if message.watcher is None:
                raise status.bad_request("a watch needs a watcher")
            renderer = ObjectRenderer(served.kind.api_version, served.from_storage)
            await self.open_watch(request, message.watcher, message.watch_id, renderer)
            return None
        return (await self.execute(request)).value()

    async def _wait_until_ready(self, verb: str) -> None:
        """Let a request wait for the store to be read. One that waited so long that nobody hears its
        answer changes nothing: its sender may have tried again since. Raises `StatusError`."""
        came = self.clock.monotonic()
        await self.ready
        if self.clock.monotonic() - came >= PATIENCE_S and verb not in ("get", "list", "watch"):
            raise status.timeout("request did not complete within the allotted timeout")

    @staticmethod
    def _request_of(message: ApiRequest, served: Served) -> Request:
        return Request(
            message.verb, served, message.namespace, message.name, message.subresource, dict(message.options),
            message.body, message.patch_type or "application/json", message.user, message.user_agent,
        )

    @handles(BreakWatches)
    def break_watches(self, message: BreakWatches) -> int:
        """A fault: streams break."""
        return break_watches(self, message)

    @handles(ForgetHistory)
    async def forget_history(self, message: ForgetHistory) -> int:
        """A fault: only the present is kept."""
        return await forget_history(self)

    async def _node_json(self, message: ApiRequest) -> Object:
        """A path of a node's own API (`proxy/stats/summary`), for a client in this process."""
        from actors.apiserver._podproxy import node_json

        verb = "get" if message.verb == "get" else "create"
        self.core.authorizer.require(message.user, Attributes(verb, "", "nodes", "proxy", "", message.name))
        return await node_json(self.core, message.name, message.subresource.partition("/")[2])

    @handles(ServeGroup)
    async def serve_group(self, message: ServeGroup) -> None:
        """An actor of this process answers for a group version."""
        if not self.ready.done:
            await self.ready
        await self.aggregation.provide(message)

    @handles(CancelWatch)
    def cancel_watch(self, message: CancelWatch) -> None:
        """A client wants no more of a watch."""
        _watching.cancel_watch(self.core, message.watcher, message.watch_id)

    @handles(Hold)
    async def hold(self, message: Hold) -> None:
        """Never answered: the asker hears of this actor's end."""
        await Future()

    # --- HTTP -------------------------------------------------------------------------------

    @handles(HttpCall)
    async def http(self, message: HttpCall) -> HttpReply:
        """One HTTP request."""
        if not self.ready.done:
            await self.ready
        return await serve(self, message)

    @handles(StopFrames)
    def stop_frames(self, message: StopFrames) -> None:
        """The HTTP client of a watch is gone."""
        followed = self._followed.pop((message.stream.actor_urn, message.stream_id), None)
        if followed is not None:
            followed.tell(StreamClosed(message.stream_id))
            return
        _watching.cancel_watch(self.core, message.stream, message.stream_id)

    def follow(self, stream: Address, stream_id: int, node: Address) -> None:
        """Remember which node feeds a streaming answer, to tell it when the client goes."""
        self._followed[stream.actor_urn, stream_id] = node

    # --- verbs ------------------------------------------------------------------------------

    async def execute(self, request: Request) -> Answer:
        """Run a verb other than watch. Raises `StatusError`."""
        try:
            await self.core.store.settled()
            answer = await self._execute(request)
            await answer.prepare()
            return answer
        except (ActorDead, MailboxFull) as error:
            self.core.store.rebuild()
            raise status.service_unavailable(f"storage is unavailable: {type(error).__name__}") from None
        except AskTimeout:
            raise status.timeout("request did not complete within the allotted timeout") from None
        except EtcdError as error:
            raise status.unknown_error(f"etcdserver: {error.message.removeprefix('etcdserver: ')}") from None
        except (RecursionError, TypeError) as error:
            if "ecursion" not in str(error):
                raise
            raise status.bad_request("the object is nested too deeply: exceeded max depth") from None

    async def _execute(self, request: Request) -> Answer:
        if request.subresource:
            from actors.apiserver._subresources import subresource

            return await subresource(self.core, request)
        if not request.served.kind.stored:
            from actors.apiserver._virtual import virtual

            return await virtual(self.core, request)
        verb = request.verb
        if verb == "get":
            return await _read.get(self.core, request)
        if verb == "list":
            return await _read.list_objects(self.core, request)
        return await _VERBS[verb](self.core, request)

    async def open_watch(self, request: Request, address: Address, watch_id: int, renderer: Renderer) -> None:
        """Open a watch for a client; raises `StatusError` for wrong options."""
        await self.core.store.settled()
        self._serial += 1
        await _watching.open_watch(self.core, request, address, watch_id, renderer, self._serial)

    # --- storage ----------------------------------------------------------------------------

    @handles(WatchResponse)
    def fed(self, message: WatchResponse) -> None:
        """Changes in etcd."""
        self.core.store.fed(message)

    @handles(FeedOverdue)
    def overdue(self, message: FeedOverdue) -> None:
        """A writer waits too long for its own change to be seen."""
        self.core.store.overdue(message.revision)

    # --- nodes ------------------------------------------------------------------------------

    @handles(NodeConnected)
    def node_connected(self, message: NodeConnected) -> None:
        """A kubelet can be asked from now on."""
        self.core.nodes[message.node_name] = message.address

    @handles(NodeDisconnected)
    def node_disconnected(self, message: NodeDisconnected) -> None:
        """A kubelet leaves."""
        if self.core.nodes.get(message.node_name) is message.address:
            del self.core.nodes[message.node_name]

    # --- time -------------------------------------------------------------------------------

    @handles(WatchExpired)
    def watch_expired(self, message: WatchExpired) -> None:
        """A watch's time is over."""
        watch = self.core.watches.open.get(message.serial)
        if watch is not None:
            if watch.bookmarks:
                watch.bookmark(self.core.store.revision)
            self.core.watches.close(watch, "timeout")

    @handles(BookmarkTick)
    def bookmarks(self, message: BookmarkTick) -> None:
        """Tell watchers that asked for it how far they are."""
        revision = self.core.store.revision
        for watch in list(self.core.watches.open.values()):
            if watch.bookmarks and watch.since <= revision:
                watch.bookmark(revision)

    @handles(StorageTick)
    async def check_storage(self, message: StorageTick) -> None:
        """See whether etcd is still the one that was read."""
        if self.ready.done:
            await self.core.store.check()
            await self.aggregation.check()

    @handles(CompactTick)
    async def compact(self, message: CompactTick) -> None:
        """Forget what was forgotten half a period ago already."""
        revision, self._compact_at = self._compact_at, self.core.store.revision
        if revision > 0:
            await self.core.store.compact(revision)


_VERBS = {
    "create": _create.create,
    "update": _write.update,
    "patch": _write.patch,
    "delete": _delete.delete,
    "deletecollection": _delete.delete_collection,
}
