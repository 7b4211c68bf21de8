"""Watches: who wants to hear of which keys, and how far each has been told.

Owns the watchers of a store and moves each between three sets, as etcd's `watchable_store` does:

- *synced*: has been told everything; hears of a new revision when it is published.
- *unsynced*: started in the past or fell behind; catches up from history, a bounded slice at a
  time, without holding others back.
- *victims*: its mailbox was full; the response that did not fit waits with it and is offered
  again. Nothing else is kept for it: afterwards it is unsynced and reads from history.

It reads history from the store and sends through a function that may refuse. It knows no time;
the actor calls `catch_up` and `report_progress` when their time has come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from actors.etcd import _errors as errors
from actors.etcd._proto_size import event_bytes
from actors.etcd._store import Changes, Store, is_tombstone
from protocol.etcd import Event, KeyValue, Watch, WatchResponse
from protocol.message import Address

__all__ = ["Send", "Watcher", "Watchers"]

Send = Callable[[Address, WatchResponse], bool]
"""Offer a response to a watcher's address; False when there is no room for it."""

REVISIONS_PER_RESPONSE = 1000
"""At most so many revisions go to an unsynced watcher at once (etcd's watchBatchMaxRevs)."""
REVISIONS_PER_SLICE = 10_000
"""At most so many revisions of history are read in one `catch_up`."""
EVENTS_PER_SLICE = 100_000
"""And fewer when many watchers are behind: about so many events come of it at the most."""
WATCHERS_PER_SLICE = 512
FRAGMENT_BYTES = 2 * 1024 * 1024
"""A watcher with `fragment` gets responses below this size: the request limit of 1.5 MiB and
0.5 MiB of gRPC overhead."""
FRAGMENT_HEADER_BYTES = 48

WatcherKey = tuple[str, int]
Group = dict[WatcherKey, "Watcher"]


class Watcher:
    """One watch. `next` is the first revision that it has not been told of; `seq` numbers its
    responses; `quiet` says that nothing was sent since the last progress report was due."""

    __slots__ = (
        "address", "end", "filters", "fragment", "id", "key", "matches_all_types", "next",
        "pending", "prev_kv", "progress", "quiet", "seq", "start", "synced",
    )  # fmt: skip

    def __init__(self, request: Watch, first: int) -> None:
        self.address = request.watcher
        self.id = request.watch_id
        self.key = request.key or b"\0"
        self.end = request.range_end
        self.start = request.start_revision
        self.next = first
        self.filters = frozenset(request.filters)
        self.matches_all_types = not self.filters
        self.prev_kv = request.prev_kv
        self.fragment = request.fragment
        self.progress = request.progress_notify
        self.quiet = True
        self.seq = 1  # the answer to the ask was 0
        self.synced = False
        self.pending: list[WatchResponse] = []

    @property
    def identity(self) -> WatcherKey:
        """Unique among all watchers of a store."""
        return (self.address.actor_urn, self.id)

    def passes(self, record: KeyValue) -> bool:
        """Whether the filters let this kind of change through."""
        return ("NODELETE" if is_tombstone(record) else "NOPUT") not in self.filters


class _Index:
    """Synced watchers by what they watch, so that a change finds those concerned quickly.

    Prefixes, which nearly all ranges are, are found by one dictionary look-up per length.
    """

    def __init__(self) -> None:
        self._keys: dict[bytes, Group] = {}
        self._prefixes: dict[bytes, Group] = {}
        self._lengths: dict[int, int] = {}  # length of a prefix -> prefixes of that length
        self._ranges: dict[tuple[bytes, bytes], Group] = {}

    def add(self, watcher: Watcher) -> None:
        """Put a watcher in."""
        if not watcher.end:
            self._keys.setdefault(watcher.key, {})[watcher.identity] = watcher
        elif watcher.end == prefix_end(watcher.key):
            group = self._prefixes.get(watcher.key)
            if group is None:
                group = self._prefixes[watcher.key] = {}
                length = len(watcher.key)
                self._lengths[length] = self._lengths.get(length, 0) + 1
            group[watcher.identity] = watcher
        else:
            self._ranges.setdefault((watcher.key, watcher.end), {})[watcher.identity] = watcher

    def remove(self, watcher: Watcher) -> None:
        """Take a watcher out."""
        if not watcher.end:
            _drop(self._keys, watcher.key, watcher)
        elif watcher.end == prefix_end(watcher.key):
            if _drop(self._prefixes, watcher.key, watcher):
                length = len(watcher.key)
                self._lengths[length] -= 1
                if not self._lengths[length]:
                    del self._lengths[length]
        else:
            _drop(self._ranges, (watcher.key, watcher.end), watcher)

    def groups(self, key: bytes) -> Iterator[Group]:
        """The watchers of a key, in groups that watch the same range."""
        if self._keys and key in self._keys:
            yield self._keys[key]
        if self._prefixes:
            for length in self._lengths:
                group = self._prefixes.get(key[:length])
                if group is not None and len(key) >= length:
                    yield group
        for (start, end), group in self._ranges.items():
            if start <= key and (end == b"\0" or key < end):
                yield group


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range of all keys that start with `prefix`."""
    for index in range(len(prefix) - 1, -1, -1):
        if prefix[index] < 0xFF:
            return prefix[:index] + bytes((prefix[index] + 1,))
    return b"\0"


def _drop(groups: dict[Any, Group], key: Any, watcher: Watcher) -> bool:
    """Take a watcher out of its group; True when that left the group empty."""
    group = groups.get(key)
    if group is None or group.pop(watcher.identity, None) is None or group:
        return False
    del groups[key]
    return True


class Watchers:
    """All watches of one store.

    `revision` is the last published one: what may be told. The store can be ahead of it while
    its newest changes are not on disk yet.
    """

    def __init__(self, store: Store, send: Send) -> None:
        self.revision = store.revision
        self._store = store
        self._send = send
        self._all: Group = {}
        self._by_address: dict[str, dict[int, Watcher]] = {}
        self._index = _Index()
        self._unsynced: Group = {}
        self._victims: Group = {}
        self._awaiting_progress: dict[str, Address] = {}
        self._compacted: dict[str, set[int]] = {}  # ids ended by compaction stay taken, as in etcd

    def __len__(self) -> int:
        return len(self._all)

    @property
    def behind(self) -> bool:
        """Whether `catch_up` has something to do."""
        return bool(self._unsynced or self._victims or self._awaiting_progress)

    @property
    def blocked(self) -> bool:
        """Whether all that is left to do waits for room in somebody's mailbox."""
        return bool(self._victims) and not self._unsynced

    def statistics(self) -> dict[str, int]:
        """How many watchers are in which set."""
        return {
            "watchers": len(self._all),
            "unsynced": len(self._unsynced),
            "victims": len(self._victims),
        }

    def add(self, request: Watch) -> WatchResponse:
        """Open a watch. Returns the response that says so, or why not.

        One that starts in the past gets its events from `catch_up`, never from here.
        """
        refused = self._refusal(request)
        if refused:
            return WatchResponse(-1, self.revision, created=True, canceled=True, cancel_reason=refused)
        start = request.start_revision
        watcher = Watcher(request, start if start > 0 else self.revision + 1)
        self._all[watcher.identity] = watcher
        self._by_address.setdefault(watcher.address.actor_urn, {})[watcher.id] = watcher
        if watcher.next > self.revision:
            self._sync(watcher)
        else:
            self._unsynced[watcher.identity] = watcher
        return WatchResponse(watcher.id, self.revision, created=True)

    def _refusal(self, request: Watch) -> str:
        if request.start_revision < 0:
            return errors.NEGATIVE_WATCH_START
        end = request.range_end
        if end and end != b"\0" and (request.key or b"\0") >= end:
            return errors.EMPTY_WATCH_RANGE
        urn, watch_id = request.watcher.actor_urn, request.watch_id
        if watch_id in self._by_address.get(urn, ()) or watch_id in self._compacted.get(urn, ()):
            return errors.DUPLICATE_WATCH_ID
        return ""

    def cancel(self, address: Address, watch_id: int) -> WatchResponse | None:
        """Close a watch. Returns the response to tell; None when there is no such watch."""
        ended = self._compacted.get(address.actor_urn)
        if ended is not None and watch_id in ended:
            ended.remove(watch_id)
            return WatchResponse(watch_id, self.revision, canceled=True)
        watcher = self._by_address.get(address.actor_urn, {}).get(watch_id)
        if watcher is None:
            return None
        self._forget(watcher)
        return WatchResponse(watch_id, self.revision, canceled=True, seq=watcher.seq)

    def remove_address(self, actor_urn: str) -> None:
        """Close all watches of a watcher that is gone."""
        for watcher in list(self._by_address.get(actor_urn, {}).values()):
            self._forget(watcher)
        self._awaiting_progress.pop(actor_urn, None)
        self._compacted.pop(actor_urn, None)

    def cancel_all(self, reason: str) -> None:
        """End every watch, because the store stops; who watches has to begin again."""
        for watcher in list(self._all.values()):
            response = WatchResponse(watcher.id, self.revision, canceled=True, cancel_reason=reason, seq=watcher.seq)
            self._send(watcher.address, response)
            self._forget(watcher)

    def _forget(self, watcher: Watcher) -> None:
        identity = watcher.identity
        del self._all[identity]
        if watcher.synced:
            self._index.remove(watcher)
        self._unsynced.pop(identity, None)
        self._victims.pop(identity, None)
        siblings = self._by_address[watcher.address.actor_urn]
        del siblings[watcher.id]
        if not siblings:
            del self._by_address[watcher.address.actor_urn]

    def _sync(self, watcher: Watcher) -> None:
        watcher.synced = True
        self._index.add(watcher)

    # Publishing

    def publish(self, changes: Changes) -> None:
        """Tell the synced watchers about the next revision."""
        self.revision += 1
        if not self._all:
            return
        if len(changes) == 1:
            for group in list(self._index.groups(changes[0].key)):
                self._notify(list(group.values()), changes)
        else:
            for watcher, concerned in self._select(changes):
                self._notify([watcher], concerned)

    def _select(self, changes: Changes) -> list[tuple[Watcher, list[KeyValue]]]:
        """The synced watchers that a revision of several changes concerns, with their share."""
        shares: dict[WatcherKey, tuple[Watcher, list[KeyValue]]] = {}
        for record in changes:
            for group in self._index.groups(record.key):
                for identity, watcher in group.items():
                    shares.setdefault(identity, (watcher, []))[1].append(record)
        return list(shares.values())

    def _notify(self, watchers: Sequence[Watcher], changes: Sequence[KeyValue]) -> None:
        """Tell synced watchers of one range; they share the event objects."""
        revision = self.revision
        made: dict[tuple[bool, frozenset[str]], tuple[Event, ...]] = {}
        for watcher in watchers:
            if watcher.next > revision:
                continue  # starts in the future
            watcher.next = revision + 1
            kind = (watcher.prev_kv, watcher.filters)
            events = made.get(kind)
            if events is None:
                events = made[kind] = self._events(watcher, changes)
            if events and not self._deliver(watcher, events):
                self._index.remove(watcher)
                watcher.synced = False
                self._victims[watcher.identity] = watcher

    def _events(self, watcher: Watcher, changes: Sequence[KeyValue]) -> tuple[Event, ...]:
        if not watcher.matches_all_types:
            changes = [record for record in changes if watcher.passes(record)]
        return tuple(
            Event(
                "DELETE" if is_tombstone(record) else "PUT",
                record,
                self._previous(record) if watcher.prev_kv else None,
            )
            for record in changes
        )

    def _previous(self, record: KeyValue) -> KeyValue | None:
        if record.version and record.create_revision == record.mod_revision:
            return None
        return self._store.get_at(record.key, record.mod_revision - 1)

    def _deliver(self, watcher: Watcher, events: tuple[Event, ...]) -> bool:
        """Send events; what finds no room stays with the watcher, and False is returned."""
        watcher.quiet = False
        if not watcher.fragment:
            response = WatchResponse(watcher.id, self.revision, events, seq=watcher.seq)
            watcher.seq += 1
            if self._send(watcher.address, response):
                return True
            watcher.pending.append(response)
            return False
        parts = _fragments(events)
        watcher.pending += (
            WatchResponse(watcher.id, self.revision, part, fragment=n < len(parts), seq=watcher.seq + n - 1)
            for n, part in enumerate(parts, 1)
        )
        watcher.seq += len(parts)
        return self._flush(watcher)

    def _flush(self, watcher: Watcher) -> bool:
        while watcher.pending:
            if not self._send(watcher.address, watcher.pending[0]):
                return False
            del watcher.pending[0]
        return True

    # Catching up

    def catch_up(self) -> None:
        """Bring watchers that are behind one step forward; call again while `behind`."""
        self._retry_victims()
        self._read_history()
        for address in list(self._awaiting_progress.values()):
            self.request_progress(address)

    def _retry_victims(self) -> None:
        for identity, watcher in list(self._victims.items()):
            if self._flush(watcher):
                del self._victims[identity]
                self._settle(watcher)

    def _settle(self, watcher: Watcher) -> None:
        if watcher.next > self.revision:
            self._sync(watcher)
        else:
            self._unsynced[watcher.identity] = watcher

    def _read_history(self) -> None:
        for watcher in list(self._unsynced.values()):
            if watcher.next < self._store.compact_revision:
                self._cancel_compacted(watcher)
        if not self._unsynced:
            return
        low = min(watcher.next for watcher in self._unsynced.values())
        slice_ = max(1, min(REVISIONS_PER_SLICE, EVENTS_PER_SLICE // len(self._unsynced)))
        high = min(self.revision, low + slice_ - 1)
        readers = [w for w in self._unsynced.values() if w.next <= high][:WATCHERS_PER_SLICE]
        for watcher, share in self._shares(readers, low, high):
            watcher.next = high + 1
            if len(share) > REVISIONS_PER_RESPONSE:
                watcher.next = share[REVISIONS_PER_RESPONSE][0].mod_revision
                del share[REVISIONS_PER_RESPONSE:]
            events = self._events(watcher, [record for group in share for record in group])
            if events and not self._deliver(watcher, events):
                del self._unsynced[watcher.identity]
                self._victims[watcher.identity] = watcher
            elif watcher.next > self.revision:
                del self._unsynced[watcher.identity]
                self._sync(watcher)

    def _shares(self, readers: list[Watcher], low: int, high: int) -> list[tuple[Watcher, list[list[KeyValue]]]]:
        """What each reader has to hear of the revisions `low` to `high`, by revision."""
        index = _Index()
        shares: dict[WatcherKey, tuple[Watcher, list[list[KeyValue]]]] = {}
        for watcher in readers:
            index.add(watcher)
            shares[watcher.identity] = (watcher, [])
        for revision, changes in enumerate(self._store.history(low, high), low):
            for record in changes:
                for group in index.groups(record.key):
                    for identity, watcher in group.items():
                        if watcher.next <= revision:
                            _add(shares[identity][1], record)
        return list(shares.values())

    def _cancel_compacted(self, watcher: Watcher) -> None:
        response = WatchResponse(
            watcher.id,
            0,
            canceled=True,
            compact_revision=self._store.compact_revision,
            seq=watcher.seq,
        )
        if self._send(watcher.address, response):
            self._forget(watcher)
            self._compacted.setdefault(watcher.address.actor_urn, set()).add(watcher.id)

    # Progress

    def request_progress(self, address: Address) -> None:
        """Tell a watcher the revision that all of its watches have seen, as soon as they have.

        Nothing is told when it has no watch, or one that starts in the future.
        """
        watches = self._by_address.get(address.actor_urn)
        self._awaiting_progress.pop(address.actor_urn, None)
        if not watches or any(w.start > self.revision for w in watches.values()):
            return
        done = all(watcher.synced for watcher in watches.values())
        if not done or not self._send(address, WatchResponse(-1, self.revision)):
            self._awaiting_progress[address.actor_urn] = address

    def report_progress(self) -> None:
        """Tell each synced watcher that wants progress, and has heard nothing since the last
        report was due, how far it is."""
        for watcher in list(self._all.values()):
            if not watcher.progress:
                continue
            if watcher.quiet and watcher.synced and watcher.start <= self.revision:
                response = WatchResponse(watcher.id, self.revision, seq=watcher.seq)
                if self._send(watcher.address, response):
                    watcher.seq += 1
            watcher.quiet = True


def _add(share: list[list[KeyValue]], record: KeyValue) -> None:
    """Put a record behind those of its revision."""
    if share and share[-1][0].mod_revision == record.mod_revision:
        share[-1].append(record)
    else:
        share.append([record])


def _fragments(events: tuple[Event, ...]) -> list[tuple[Event, ...]]:
    """Cut events into parts that stay below the fragment size, with at least one each."""
    parts: list[tuple[Event, ...]] = []
    start, size = 0, FRAGMENT_HEADER_BYTES
    for index, event in enumerate(events):
        cost = event_bytes(event)
        if index > start and size + cost >= FRAGMENT_BYTES:
            parts.append(events[start:index])
            start, size = index, FRAGMENT_HEADER_BYTES
        size += cost
    parts.append(events[start:])
    return parts
