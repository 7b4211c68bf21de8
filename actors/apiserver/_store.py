"""Storage: reads of the past, and writes to etcd with compare-and-swap.

Owns the transactions, and the promise that whoever wrote revision R reads at least R afterwards. How
the cache is kept current is `_feed`'s. It knows nothing of kinds, validation or HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from actors.apiserver._cache import Change, Entry, ResourceCache, encode
from actors.apiserver._feed import Feed, Pending
from actors.kernel import Future
from protocol.etcd import (
    Compact,
    Compare,
    DeleteRange,
    EtcdError,
    LeaseGrant,
    Put,
    Range,
    RangeResponse,
    Txn,
    TxnResponse,
)

__all__ = ["Compacted", "Store", "Superseded"]

Object = dict[str, Any]


class Superseded(Exception):
    """The key is not at the revision that the write expected. `entry` is what is there now."""

    def __init__(self, entry: Entry | None) -> None:
        super().__init__("superseded")
        self.entry = entry


class Compacted(Exception):
    """The revision asked for is not kept any more."""


class Store(Feed):
    """The API server's view of etcd."""

    async def at(self, cache: ResourceCache, namespace: str, revision: int) -> list[Entry]:
        """The entries as of a past revision, in key order. Raises `Compacted`."""
        prefix = cache.prefix + (namespace + "/" if namespace else "")
        start = prefix.encode()
        end = start[:-1] + bytes([start[-1] + 1])
        try:
            response: RangeResponse = await self.actor.ask(
                self.etcd, Range(start, end, revision=revision), timeout=30.0
            )
        except EtcdError as error:
            if error.code == 11 and "compacted" in error.message:
                raise Compacted from None
            raise
        size = len(cache.prefix)
        entries = []
        for kv in response.kvs:
            key = kv.key.decode()[size:]
            known = cache.all.entries.get(key)
            if known is not None and known.revision == kv.mod_revision:
                entries.append(known)
            else:
                entries.append(cache.entry(key, orjson.loads(kv.value), kv.value, kv.mod_revision))
        return entries

    # --- writes -----------------------------------------------------------------------------

    async def create(self, cache: ResourceCache, key: str, obj: Object, ttl: int = 0) -> Entry:
        """Store a new object; it then belongs to the cache. Raises `Superseded` when it exists."""
        return await self._put(cache, key, obj, 0, ttl)

    async def create_many(self, objects: list[tuple[ResourceCache, str, Object]]) -> None:
        """Store new objects in one transaction; one by one when some exist already."""
        writes = []
        for cache, key, obj in objects:
            value = encode(obj)
            raw = (cache.prefix + key).encode()
            write = Pending(value, obj)
            self._pending.setdefault(cache.prefix + key, []).append(write)
            writes.append((cache.prefix + key, write, Compare(raw, "MOD", "EQUAL", 0), Put(raw, value)))
        try:
            response: TxnResponse = await self.actor.ask(
                self.etcd, Txn(tuple(w[2] for w in writes), tuple(w[3] for w in writes)), timeout=30.0
            )
            if response.succeeded:
                await self.reached(response.revision)
        finally:
            for path, *_ in writes:
                self._written(path)
        if not response.succeeded:
            for cache, key, obj in objects:
                try:
                    await self.create(cache, key, obj)
                except Superseded:
                    continue

    async def update(self, cache: ResourceCache, old: Entry, obj: Object, ttl: int = 0) -> Entry:
        """Replace `old`. Raises `Superseded` when `old` is not what is stored."""
        return await self._put(cache, old.key, obj, old.revision, ttl)

    def _written(self, path: str) -> None:
        self._pending.pop(path, None)
        if path in self._turns:
            self._turns.pop(path).resolve()

    async def turn(self, cache: ResourceCache, key: str) -> None:
        """Wait while a write of this object is under way: whoever reads the object now loses to it."""
        path = cache.prefix + key
        while path in self._pending:
            await self._turns.setdefault(path, Future())

    async def _put(self, cache: ResourceCache, key: str, obj: Object, expected: int, ttl: int) -> Entry:
        metadata = obj["metadata"]
        metadata.pop("resourceVersion", None)
        value = encode(obj)
        path = cache.prefix + key
        lease = await self._lease(ttl) if ttl else 0
        raw = path.encode()
        write = Pending(value, obj)
        pending = self._pending.setdefault(path, [])
        pending.append(write)
        started = self.actor.clock.monotonic()
        try:
            response: TxnResponse = await self.actor.ask(
                self.etcd,
                Txn((Compare(raw, "MOD", "EQUAL", expected),), (Put(raw, value, lease),), (Range(raw),)),
                timeout=30.0,
            )
            self.timings.observe(cache.label_of["update" if expected else "create"], self.actor.clock.monotonic() - started)
            if not response.succeeded:
                raise Superseded(await self._current(cache, key, response))
            await self.reached(response.revision)
        finally:
            pending.remove(write)
            if not pending:
                self._written(path)
        if write.entry is None:
            await self._confirm(cache, key, response.revision)
            return cache.entry(key, obj, value, response.revision)
        return write.entry

    async def _confirm(self, cache: ResourceCache, key: str, revision: int) -> None:
        """A write succeeded and its event was not seen: either somebody wrote again at once, or the
        feed is lost (etcd began anew) and everything has to be read again."""
        known = cache.all.entries.get(key)
        if known is None or known.revision < revision:
            self.actor.log.warning("etcd_feed_lost", revision=revision, have=self.revision)
            self.rebuild()
            await self.settled()

    async def delete(self, cache: ResourceCache, old: Entry) -> Entry:
        """Remove `old`; answers it under the revision of its deletion. Raises `Superseded`."""
        raw = (cache.prefix + old.key).encode()
        started = self.actor.clock.monotonic()
        response: TxnResponse = await self.actor.ask(
            self.etcd,
            Txn((Compare(raw, "MOD", "EQUAL", old.revision),), (DeleteRange(raw),), (Range(raw),)),
            timeout=30.0,
        )
        self.timings.observe(cache.label_of["delete"], self.actor.clock.monotonic() - started)
        if not response.succeeded:
            raise Superseded(await self._current(cache, old.key, response))
        await self.reached(response.revision)
        return old.at_revision(response.revision)

    async def _current(self, cache: ResourceCache, key: str, response: TxnResponse) -> Entry | None:
        """What a failed comparison found, once the cache knows it too."""
        found = response.responses[0]
        assert isinstance(found, RangeResponse)
        if not found.kvs:
            if key in cache.all.entries:
                await self.reached(min(response.revision, await self._visible(response.revision)))
            return None
        await self.reached(found.kvs[0].mod_revision)
        return cache.all.entries.get(key)

    async def _lease(self, ttl: int) -> int:
        """A lease for objects that expire; shared by all that are written in the same minute."""
        now = self.actor.clock.monotonic()
        known = self._leases.get(ttl)
        if known is not None and now - known[1] < 60.0:
            return known[0]
        granted = await self.actor.ask(self.etcd, LeaseGrant(ttl + 60), timeout=10.0)
        self._leases[ttl] = (granted.id, now)
        return int(granted.id)

    async def compact(self, revision: int) -> None:
        """Forget history below `revision`."""
        try:
            await self.actor.ask(self.etcd, Compact(revision), timeout=30.0)
        except EtcdError as error:
            self.actor.log.debug("compaction_refused", error=error.message)

    def changes(self) -> Iterator[Change]:
        """All kept changes of all resources (for tests and inspection)."""
        for cache in self.caches.values():
            yield from cache.history
