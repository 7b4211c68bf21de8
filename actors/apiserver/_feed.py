"""The feed of the watch cache: everything in etcd, followed by one watch.

Owns the layout of keys (`/registry/<group or nothing>/<resource>/<namespace>/<name>`), the one
etcd watch that keeps the cache current, and noticing that it is broken. It must never write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from actors.apiserver._cache import Entry, ResourceCache
from actors.apiserver._histogram import Histogram
from actors.apiserver._messages import FeedOverdue
from actors.kernel import Future
from protocol import status
from protocol.etcd import CancelWatch, Event, Range, RangeResponse, Watch, WatchResponse

if TYPE_CHECKING:
    from actors.kernel import Actor, Ref

__all__ = ["Feed", "Pending"]

Object = dict[str, Any]
_ROOT = b"/registry/"
_ROOT_END = b"/registry0"
_PAGE = 5000
_FEED_TIMEOUT_S = 1.0
_SETTLE_TIMEOUT_S = 10.0


class Pending:
    """A write under way: when its event arrives, the object needs no decoding."""

    __slots__ = ("entry", "object", "value")

    def __init__(self, value: bytes, obj: Object) -> None:
        self.value = value
        self.object = obj
        self.entry: Entry | None = None


class Feed:
    """The half of the store that follows etcd. Lives inside the API server actor and uses its `ask`."""

    def __init__(self, actor: Actor, etcd: Ref, history: int, exclusive: bool, frozen: bool = False) -> None:
        self.actor = actor
        self.etcd = etcd
        self.exclusive = exclusive
        self.revision = 0
        """Everything up to this revision is in the cache."""
        self.caches: dict[tuple[str, str], ResourceCache] = {}
        self.on_new_cache: Any = None
        """Called with each `ResourceCache` when it is made."""
        self.on_reset: Any = None
        """Called when the cache was rebuilt and watches cannot go on."""
        self.timings = Histogram()
        """Seconds that etcd took, by operation and resource."""
        self._history = history
        self._frozen = frozen
        self._routes: dict[bytes, ResourceCache] = {}
        self._pending: dict[str, list[Pending]] = {}
        self._turns: dict[str, Future[None]] = {}
        self._waiting: list[tuple[int, Any]] = []
        self._watch_id = 0
        self._watch_seq = 0
        self._leases: dict[int, tuple[int, float]] = {}
        self._rebuilt: Future[None] | None = None
        """Set while the cache is read anew: nobody may trust it until this is done."""

    # --- the feed ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Read everything, then watch from there. Raises what the asks to etcd raise."""
        loaded: list[tuple[ResourceCache, Entry]] = []
        revision = 0
        async for kvs, at in self._pages():
            revision = at
            for kv in kvs:
                placed = self._decode(kv.key, kv.value, kv.mod_revision)
                if placed is not None:
                    loaded.append(placed)
        for cache in self.caches.values():  # from here to the watch nothing awaits: nobody sees it half full
            cache.clear()
            cache.floor = revision
        for cache, entry in loaded:
            cache.load(entry)
        self.revision = revision
        if self.on_reset is not None:
            # At once: a bookmark of the new revision to a watch of the old would hide what was missed.
            self.on_reset()
        await self._open_watch(revision + 1)

    def begin_history(self) -> None:
        """Let watches start from here, no earlier: what came before was this server's own preparation."""
        for cache in self.caches.values():
            cache.history.clear()
            cache.floor = self.revision

    async def _pages(self) -> Any:
        key, revision = _ROOT, 0
        while True:
            message = Range(key, _ROOT_END, limit=_PAGE, revision=revision)
            response: RangeResponse = await self.actor.ask(self.etcd, message, timeout=30.0)
            revision = revision or response.revision
            yield response.kvs, revision
            if not response.more:
                return
            key = response.kvs[-1].key + b"\0"

    async def _open_watch(self, revision: int) -> None:
        self._watch_id += 1
        self._watch_seq = 1  # number 0 is the answer to the ask
        message = Watch(self.actor.ref, self._watch_id, _ROOT, _ROOT_END, start_revision=revision)
        await self.actor.ask(self.etcd, message, timeout=30.0)

    def fed(self, response: WatchResponse) -> None:
        """Apply one response of the watch."""
        if response.watch_id != self._watch_id:
            return
        if response.seq != self._watch_seq or response.canceled:
            self.actor.log.warning("etcd_watch_lost", seq=response.seq, expected=self._watch_seq)
            self.rebuild()
            return
        self._watch_seq += 1
        for event in response.events:
            if event.kv.mod_revision > self.revision:
                self._apply(event)
        if response.events:
            self.revision = max(self.revision, response.events[-1].kv.mod_revision)
        if self._waiting:
            self._wake()

    def _apply(self, event: Event) -> None:
        kv = event.kv
        route = self._route(kv.key)
        if route is None:
            return
        cache, key = route
        if event.type == "DELETE":
            cache.delete(key, kv.mod_revision)
            return
        entry = self._own(cache, key, kv.value, kv.mod_revision)
        if entry is None:
            try:
                entry = cache.entry(key, orjson.loads(kv.value), kv.value, kv.mod_revision)
            except (ValueError, KeyError, TypeError):
                self.actor.log.error("etcd_value_unreadable", key=key)
                return
        cache.put(entry)

    def _own(self, cache: ResourceCache, key: str, value: bytes, revision: int) -> Entry | None:
        pending = self._pending.get(cache.prefix + key)
        if pending is None:
            return None
        for write in pending:
            if write.entry is None and write.value == value:
                write.entry = cache.entry(key, write.object, value, revision)
                return write.entry
        return None

    def overdue(self, revision: int) -> None:
        """Called when somebody has waited too long for `revision`: the feed must be broken."""
        if revision > self.revision:
            self.actor.log.warning("etcd_feed_overdue", wanted=revision, have=self.revision)
            self.rebuild()

    def _wake(self) -> None:
        still = []
        for revision, future in self._waiting:
            if revision <= self.revision:
                future.resolve(None)
            else:
                still.append((revision, future))
        self._waiting = still

    def rebuild(self) -> None:
        """Start over from etcd's current state; watches of clients end and they list again."""
        if self._rebuilt is None:
            self._rebuilt = Future()
            self.actor.background(self._rebuild())

    @property
    def reads_anew(self) -> bool:
        """Whether etcd is away or being read again."""
        return self._rebuilt is not None

    async def settled(self) -> None:
        """Return when the cache is not being read anew. Raises `StatusError` (503) when that takes
        too long, as it does while etcd is away."""
        waited = self._rebuilt
        if waited is None:
            return
        gone = status.service_unavailable("the storage is being read anew")
        late = self.actor.system.after(_SETTLE_TIMEOUT_S, lambda: given_up.fail(gone))
        given_up: Future[None] = Future()
        waited.add_callback(lambda _: given_up.resolve(None))
        try:
            await given_up
        finally:
            late.cancel()

    async def check(self) -> None:
        """Notice an etcd that began anew while nobody wrote. Called now and then."""
        try:
            message = Range(_ROOT, limit=1, count_only=True)
            response: RangeResponse = await self.actor.ask(self.etcd, message, timeout=5.0)
        except Exception as error:
            self.actor.log.debug("etcd_check_failed", error=repr(error))
            return
        if response.revision < self.revision:
            self.actor.log.warning("etcd_began_anew", revision=response.revision, have=self.revision)
            self.rebuild()
        elif self.exclusive and response.revision > self.revision:
            await self.reached(response.revision)

    async def _rebuild(self) -> None:
        try:
            delay = 0.05
            while True:
                try:
                    await self._replace()
                    return
                except Exception as error:
                    self.actor.log.warning("etcd_rebuild_failed", error=str(error))
                    await self.actor.sleep(delay)
                    delay = min(delay * 2, 5.0)
        finally:
            rebuilt, self._rebuilt = self._rebuilt, None
            if rebuilt is not None:
                rebuilt.resolve(None)

    async def _replace(self) -> None:
        old = Watch(self.actor.ref, self._watch_id, b"")
        self.etcd.tell(CancelWatch(old.watcher, old.watch_id))
        await self.start()
        for revision, future in self._waiting:
            if revision > self.revision:
                future.fail(status.service_unavailable("storage was read anew while the request waited"))
            else:
                future.resolve(None)
        self._waiting = []

    # --- keys -------------------------------------------------------------------------------

    def cache(self, group: str, resource: str) -> ResourceCache:
        """The cache of a stored resource, made at first need."""
        cache = self.caches.get((group, resource))
        if cache is None:
            cache = ResourceCache(group, resource, self.revision, self._history, self._frozen)
            self.caches[group, resource] = cache
            self._routes[cache.prefix.encode()] = cache
            if self.on_new_cache is not None:
                self.on_new_cache(cache)
        return cache

    def _route(self, key: bytes) -> tuple[ResourceCache, str] | None:
        first = key.find(b"/", len(_ROOT)) + 1
        if not first:
            return None
        cache = self._routes.get(key[:first])
        if cache is not None:
            return cache, key[first:].decode()
        second = key.find(b"/", first) + 1
        if not second:
            return None
        cache = self._routes.get(key[:second])
        if cache is None:
            group, resource = key[len(_ROOT) : second - 1].decode().split("/")
            cache = self.cache(group, resource)
        return cache, key[second:].decode()

    def _decode(self, key: bytes, value: bytes, revision: int) -> tuple[ResourceCache, Entry] | None:
        route = self._route(key)
        if route is None:
            return None
        cache, rest = route
        try:
            return cache, cache.entry(rest, orjson.loads(value), value, revision)
        except (ValueError, KeyError, TypeError):
            self.actor.log.error("etcd_value_unreadable", key=rest)
            return None

    # --- reads ------------------------------------------------------------------------------

    async def reached(self, revision: int) -> None:
        """Return when the cache holds everything up to `revision`."""
        if revision <= self.revision:
            return
        future: Future[None] = Future()
        self._waiting.append((revision, future))
        timer = self.actor.after(_FEED_TIMEOUT_S, FeedOverdue(revision))
        try:
            await future
        finally:
            timer.cancel()

    async def fresh(self) -> None:
        """Make the cache at least as new as this moment: a linearizable read."""
        if self.exclusive:
            return
        message = Range(_ROOT, limit=1, count_only=True)
        response: RangeResponse = await self.actor.ask(self.etcd, message, timeout=10.0)
        await self.reached(min(response.revision, await self._visible(response.revision)))

    async def _visible(self, revision: int) -> int:
        """Other keys than ours move etcd's revision too: find out how far our own watch can come."""
        if revision <= self.revision:
            return revision
        message = Range(_ROOT, _ROOT_END, limit=1, sort_order="DESCEND", sort_target="MOD", keys_only=True)
        response: RangeResponse = await self.actor.ask(self.etcd, message, timeout=10.0)
        return response.kvs[0].mod_revision if response.kvs else 0
