"""Watches: who is told of which change, and in what shape.

Owns the open watches of all clients and the indexes that find the few concerned by a change. A
change is offered to: watches of everything, of the object's namespace, of its name, and (pods) of
its node. It knows nothing of HTTP connections; a watch has an address and a renderer.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from actors.apiserver._cache import Change, Entry, ResourceCache
from actors.apiserver._messages import Frames, FramesClosed
from protocol.api import WatchClosed, WatchEvent, WatchEvents
from protocol.message import Address

__all__ = ["FrameRenderer", "ObjectRenderer", "Renderer", "Selection", "Watch", "Watches"]

Object = dict[str, Any]
Convert = Callable[[Object], Object]


class Selection:
    """What of a resource somebody wants to see: namespace, name, labels, fields."""

    __slots__ = ("fields", "labels", "name", "namespace", "node", "view")

    def __init__(
        self,
        namespace: str = "",
        name: str = "",
        node: str | None = None,
        labels: Callable[[Any], bool] | None = None,
        fields: Callable[[Object], bool] | None = None,
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.node = node
        self.labels = labels
        self.fields = fields
        self.view: Callable[[Entry], Object] | None = None
        """The form of an entry that is judged, where that is not the stored one."""

    @property
    def everything(self) -> bool:
        """Whether only the namespace narrows it."""
        return not self.name and self.labels is None and self.fields is None

    def matches(self, entry: Entry) -> bool:
        """Whether an entry is selected."""
        if self.namespace and entry.namespace != self.namespace:
            return False
        if self.name and entry.name != self.name:
            return False
        if self.labels is None and self.fields is None:
            return True
        obj = entry.object if self.view is None else self.view(entry)
        if self.labels is not None and not self.labels(obj["metadata"].get("labels")):
            return False
        return self.fields is None or self.fields(obj)

    def indexed(self, cache: ResourceCache) -> list[Entry]:
        """The entries among which `candidates` looks, in key order."""
        return Selection(self.namespace, self.name, self.node).candidates(cache)

    def candidates(self, cache: ResourceCache) -> list[Entry]:
        """The selected entries in key order, found through the best index."""
        if self.name and (self.namespace or not cache.by_namespace):
            entry = cache.get(self.namespace, self.name)
            return [entry] if entry is not None and self.matches(entry) else []
        if self.node is not None and cache.by_node is not None:
            bucket = cache.by_node.get(self.node)
        else:
            bucket = cache.bucket(self.namespace)
        if bucket is None:
            return []
        if self.everything:
            return bucket.ordered()
        matches = self.matches
        return [entry for entry in bucket.ordered() if matches(entry)]


class Renderer(Protocol):
    """Turns events into what a watch's client gets."""

    def event(self, kind: str, change: Change) -> Any:
        """An ADDED, MODIFIED or DELETED event of a change."""

    def initial(self, entry: Entry) -> Any:
        """An ADDED event of an object that is there already."""

    def plain(self, kind: str, obj: Object) -> Any:
        """A BOOKMARK or ERROR event."""

    def message(self, watch: Watch, parts: list[Any]) -> Any:
        """The message that carries some events."""

    def closed(self, watch: Watch, reason: str) -> Any:
        """The message that ends the watch."""


class ObjectRenderer:
    """Events as objects, for clients in this process."""

    __slots__ = ("api_version", "convert")

    def __init__(self, api_version: str, convert: Convert | None) -> None:
        self.api_version = api_version
        self.convert = convert

    def event(self, kind: str, change: Change) -> WatchEvent:
        """See `Renderer`."""
        entry = change.gone if kind == "DELETED" else change.new
        assert entry is not None
        return WatchEvent(kind, entry.view(self.api_version, self.convert).object)

    def initial(self, entry: Entry) -> WatchEvent:
        """See `Renderer`."""
        return WatchEvent("ADDED", entry.view(self.api_version, self.convert).object)

    def plain(self, kind: str, obj: Object) -> WatchEvent:
        """See `Renderer`."""
        return WatchEvent(kind, obj)

    def message(self, watch: Watch, parts: list[Any]) -> WatchEvents:
        """See `Renderer`."""
        message = WatchEvents(watch.watch_id, watch.seq, tuple(parts))
        watch.seq += 1
        return message

    def closed(self, watch: Watch, reason: str) -> WatchClosed:
        """See `Renderer`."""
        return WatchClosed(watch.watch_id, reason)


class FrameRenderer:
    """Events as lines of bytes, for HTTP. `shape` makes other than plain JSON objects of them."""

    __slots__ = ("api_version", "convert", "encode", "shape")

    def __init__(
        self,
        api_version: str,
        convert: Convert | None,
        encode: Callable[[str, Object], bytes],
        shape: Callable[[Object], Object] | None = None,
    ) -> None:
        self.api_version = api_version
        self.convert = convert
        self.encode = encode
        self.shape = shape

    def event(self, kind: str, change: Change) -> bytes:
        """See `Renderer`."""
        if self.shape is None:
            return change.line(kind, self.api_version, self.convert)
        entry = change.gone if kind == "DELETED" else change.new
        assert entry is not None
        return self.encode(kind, self.shape(entry.view(self.api_version, self.convert).object))

    def initial(self, entry: Entry) -> bytes:
        """See `Renderer`."""
        view = entry.view(self.api_version, self.convert)
        if self.shape is None:
            return b'{"type":"ADDED","object":%b}\n' % view.wire
        return self.encode("ADDED", self.shape(view.object))

    def plain(self, kind: str, obj: Object) -> bytes:
        """See `Renderer`."""
        if self.shape is not None and kind == "BOOKMARK":
            obj = self.shape(obj)
        return self.encode(kind, obj)

    def message(self, watch: Watch, parts: list[Any]) -> Frames:
        """See `Renderer`."""
        return Frames(watch.watch_id, b"".join(parts))

    def closed(self, watch: Watch, reason: str) -> FramesClosed:
        """See `Renderer`."""
        return FramesClosed(watch.watch_id)


class Watch:
    """One open watch."""

    __slots__ = (
        "address",
        "bookmark_kind",
        "bookmarks",
        "cache",
        "closed",
        "renderer",
        "selection",
        "seq",
        "serial",
        "since",
        "timer",
        "user",
        "watch_id",
    )

    def __init__(
        self,
        serial: int,
        address: Address,
        watch_id: int,
        cache: ResourceCache,
        selection: Selection,
        renderer: Renderer,
        bookmarks: bool,
        bookmark_kind: tuple[str, str],
    ) -> None:
        self.serial = serial
        self.address = address
        self.watch_id = watch_id
        self.cache = cache
        self.selection = selection
        self.renderer = renderer
        self.bookmarks = bookmarks
        self.bookmark_kind = bookmark_kind
        self.since = 0
        self.seq = 0
        self.timer: Any = None
        self.user = ""
        self.closed = False

    def offer(self, change: Change) -> None:
        """Tell the client of a change, if it concerns it."""
        if change.revision <= self.since:
            return
        kind = self.kind_of(change)
        if kind is not None:
            self.send([self.renderer.event(kind, change)])

    def begin(self) -> None:
        """Tell the client what is there."""
        self.send([self.renderer.initial(entry) for entry in self.selection.candidates(self.cache)])

    def replay(self, changes: list[Change]) -> None:
        """Tell the client of changes of the past."""
        parts: list[Any] = []
        for change in changes:
            kind = self.kind_of(change)
            if kind is not None:
                parts.append(self.renderer.event(kind, change))
        self.send(parts)

    def kind_of(self, change: Change) -> str | None:
        """ADDED, MODIFIED, DELETED or nothing, by what the selection saw before and sees now."""
        selection = self.selection
        now = change.new is not None and selection.matches(change.new)
        before = change.old is not None and selection.matches(change.old)
        if now:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else None

    def send(self, parts: list[Any]) -> None:
        """Send some rendered events in one message."""
        if parts:
            self.address.tell(self.renderer.message(self, parts))

    def bookmark(self, revision: int, annotations: dict[str, str] | None = None) -> None:
        """Tell the client how far it is."""
        kind, api_version = self.bookmark_kind
        metadata: Object = {"resourceVersion": str(revision)}
        if annotations:
            metadata["annotations"] = annotations
        obj = {"kind": kind, "apiVersion": api_version, "metadata": metadata}
        self.send([self.renderer.plain("BOOKMARK", obj)])


class _Index:
    """The watches of one resource, by what they watch."""

    __slots__ = ("by_name", "by_namespace", "by_node", "rest")

    def __init__(self) -> None:
        self.rest: dict[int, Watch] = {}
        self.by_namespace: dict[str, dict[int, Watch]] = {}
        self.by_name: dict[tuple[str, str], dict[int, Watch]] = {}
        self.by_node: dict[str, dict[int, Watch]] = {}

    def place(self, watch: Watch) -> tuple[dict[Any, dict[int, Watch]], Any] | None:
        """The index and key under which a watch is found; None: it sees everything."""
        selection = watch.selection
        if selection.node is not None and watch.cache.by_node is not None:
            return self.by_node, selection.node
        if selection.name:
            return self.by_name, (selection.namespace, selection.name)
        if selection.namespace:
            return self.by_namespace, selection.namespace
        return None

    def concerned(self, change: Change) -> Iterator[Watch]:
        """The watches that a change may concern; every one at most once."""
        entry = change.new or change.old
        assert entry is not None
        yield from tuple(self.rest.values())
        if self.by_namespace:
            yield from tuple(self.by_namespace.get(entry.namespace, {}).values())
        if self.by_name:
            yield from tuple(self.by_name.get((entry.namespace, entry.name), {}).values())
            if entry.namespace:
                yield from tuple(self.by_name.get(("", entry.name), {}).values())
        if self.by_node:
            for node in dict.fromkeys(_nodes(change)):
                yield from tuple(self.by_node.get(node, {}).values())


def _nodes(change: Change) -> Iterable[str]:
    for entry in (change.new, change.old):
        if entry is not None:
            spec = entry.object.get("spec")
            yield (spec.get("nodeName") or "") if spec else ""


class Watches:
    """All open watches."""

    def __init__(self) -> None:
        self.open: dict[int, Watch] = {}
        self._by_client: dict[tuple[str, int], Watch] = {}
        self._indexes: dict[int, _Index] = {}

    def attach(self, cache: ResourceCache) -> None:
        """Listen to a cache."""
        index = self._indexes[id(cache)] = _Index()

        def sink(change: Change) -> None:
            for watch in index.concerned(change):
                watch.offer(change)

        cache.sink = sink

    def add(self, watch: Watch) -> None:
        """Begin to offer changes."""
        self.open[watch.serial] = watch
        self._by_client[watch.address.actor_urn, watch.watch_id] = watch
        index = self._indexes[id(watch.cache)]
        place = index.place(watch)
        if place is None:
            index.rest[watch.serial] = watch
        else:
            place[0].setdefault(place[1], {})[watch.serial] = watch

    def find(self, address: Address, watch_id: int) -> Watch | None:
        """The watch that a client opened under this id."""
        return self._by_client.get((address.actor_urn, watch_id))

    def remove(self, watch: Watch) -> None:
        """Stop offering; the client is not told."""
        if watch.closed:
            return
        watch.closed = True
        if watch.timer is not None:
            watch.timer.cancel()
        self.open.pop(watch.serial, None)
        self._by_client.pop((watch.address.actor_urn, watch.watch_id), None)
        index = self._indexes[id(watch.cache)]
        place = index.place(watch)
        if place is None:
            index.rest.pop(watch.serial, None)
            return
        group = place[0].get(place[1])
        if group is not None:
            group.pop(watch.serial, None)
            if not group:
                del place[0][place[1]]

    def close(self, watch: Watch, reason: str = "") -> None:
        """End a watch and tell its client."""
        if not watch.closed:
            self.remove(watch)
            watch.address.tell(watch.renderer.closed(watch, reason))

    def close_all(self, reason: str) -> None:
        """End every watch."""
        for watch in list(self.open.values()):
            self.close(watch, reason)
