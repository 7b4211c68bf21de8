"""The watch cache: all objects of all resources as of one revision, and the recent changes.

Owns entries (an object decoded once and encoded once per revision), their indexes and the history
from which a watch can start in the past. It is fed with etcd's events in order by `_feed`, and
knows nothing of requests, users, HTTP or time.

A worked example, resource `configmaps` in namespace `x`::

    revision 5  PUT a     entries {x/a@5}            history [5:+a]
    revision 6  PUT b     entries {x/a@5, x/b@6}     history [5:+a 6:+b]
    revision 8  PUT a     entries {x/a@8, x/b@6}     history [5:+a 6:+b 8:a@5->a@8]
    revision 9  DELETE b  entries {x/a@8}            history [... 9:-b]

A watch from 6 replays 8 and 9. Were the history cut to the last two changes, `floor` would be 6,
and a watch from 5 would be refused as too old.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

import orjson

from actors.apiserver._gzip import deflate
from protocol.objects import freeze

__all__ = ["Bucket", "Change", "Entry", "Reshaped", "ResourceCache", "View", "encode", "items", "splice_revision"]

Object = dict[str, Any]
Convert = Callable[[Object], Object]
_METADATA = b'"metadata":{'
_LEADING = ("kind", "apiVersion", "metadata")


def encode(obj: Object) -> bytes:
    """JSON of an object as it is stored: kind, apiVersion and metadata first, no resourceVersion.

    The fixed beginning is what lets `splice_revision` work without decoding. The copy is of the
    exact size: what orjson returns keeps up to ten times as much allocated, and this is kept.
    """
    return bytes(memoryview(orjson.dumps(_ordered(obj))))


def _ordered(obj: Object) -> Object:
    leading = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "metadata": obj["metadata"]}
    return {**leading, **{key: value for key, value in obj.items() if key not in _LEADING}}


def bare(wire: bytes) -> bytes:
    """An object's JSON without its leading kind and apiVersion."""
    return b"{" + wire[wire.index(_METADATA) :]


def splice_revision(value: bytes, revision: int) -> bytes:
    """The stored JSON with its resourceVersion in place, as clients see it."""
    at = value.find(_METADATA) + len(_METADATA)
    return b'%b"resourceVersion":"%d"%b%b' % (value[:at], revision, b"" if value[at] == 125 else b",", value[at:])


class Entry:
    """One object at one revision. `object` carries the resourceVersion and is frozen."""

    __slots__ = ("_views", "_wire", "key", "name", "namespace", "object", "revision", "value")

    def __init__(self, key: str, namespace: str, name: str, obj: Object, value: bytes, revision: int) -> None:
        self.key = key
        self.namespace = namespace
        self.name = name
        self.object = obj
        self.value = value
        self.revision = revision
        self._wire: bytes | None = None
        self._views: dict[str, View] | None = None

    @property
    def wire(self) -> bytes:
        """The JSON that clients get, made once."""
        wire = self._wire
        if wire is None:
            wire = self._wire = splice_revision(self.value, self.revision)
        return wire

    @property
    def bare(self) -> bytes:
        """The JSON as an item of a list: without kind and apiVersion, as typed lists have them."""
        return bare(self.wire)

    def view(self, api_version: str, convert: Convert | None) -> View | Entry:
        """The object in another served version; itself when `convert` is None, or when it is stored so."""
        if convert is None or self.object["apiVersion"] == api_version:
            return self
        views = self._views
        if views is None:
            views = self._views = {}
        view = views.get(api_version)
        if view is None:
            view = views[api_version] = View(convert(self.object), self)
        return view

    def has(self, api_version: str) -> bool:
        """Whether `view` answers this version without converting."""
        return self.object["apiVersion"] == api_version or (self._views is not None and api_version in self._views)

    def adopt(self, api_version: str, obj: Object) -> None:
        """Take an object (frozen from now on) as the view of a version."""
        if self._views is None:
            self._views = {}
        self._views[api_version] = View(obj, self)

    def forget_views(self) -> None:
        """Convert anew from now on."""
        self._views = None

    def at_revision(self, revision: int) -> Entry:
        """The same content under a later revision: how a deletion is reported."""
        entry = Entry(
            self.key, self.namespace, self.name, _revised(self.object, revision), self.value, revision
        )
        for api_version, view in (self._views or {}).items():
            entry.adopt(api_version, _revised(view.object, revision))
        return entry


class Reshaped(Entry):
    """An entry whose object is not quite what is stored: reading it made defaults up, for example."""

    __slots__ = ("stored",)

    def __init__(self, key: str, namespace: str, name: str, obj: Object, stored: bytes, revision: int) -> None:
        metadata = {field: value for field, value in obj["metadata"].items() if field != "resourceVersion"}
        super().__init__(key, namespace, name, obj, encode({**obj, "metadata": metadata}), revision)
        self.stored = stored
        """What the store holds."""


def _revised(obj: Object, revision: int) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(revision)}}


class View:
    """An entry in another API version, encoded once."""

    __slots__ = ("_wire", "entry", "object")

    def __init__(self, obj: Object, entry: Entry) -> None:
        self.object = obj
        self.entry = entry
        self._wire: bytes | None = None

    @property
    def wire(self) -> bytes:
        """The JSON that clients get."""
        if self._wire is None:
            self._wire = orjson.dumps(_ordered(self.object))
        return self._wire

    @property
    def bare(self) -> bytes:
        """The JSON as an item of a list."""
        return bare(self.wire)


class Change:
    """What one revision did to one key. `new` is None for a deletion, `old` for a creation."""

    __slots__ = ("_gone", "_lines", "new", "old", "revision")

    def __init__(self, revision: int, new: Entry | None, old: Entry | None) -> None:
        self.revision = revision
        self.new = new
        self.old = old
        self._gone: Entry | None = None
        self._lines: dict[tuple[str, str], bytes] | None = None

    @property
    def gone(self) -> Entry:
        """The previous content, marked with this change's revision."""
        if self._gone is None:
            assert self.old is not None
            self._gone = self.old.at_revision(self.revision)
        return self._gone

    def gone_in(self, api_version: str, convert: Convert | None) -> Entry:
        """`gone`, with a view that `old` has got since."""
        gone = self.gone
        if self.old is not None and not gone.has(api_version) and self.old.has(api_version):
            gone.adopt(api_version, _revised(self.old.view(api_version, convert).object, self.revision))
        return gone

    def forget_views(self) -> None:
        """Convert anew from now on."""
        self._gone = self._lines = None
        for entry in (self.new, self.old):
            if entry is not None:
                entry.forget_views()

    def line(self, event: str, api_version: str, convert: Convert | None) -> bytes:
        """The watch event as a line of JSON, shared by all watchers that see the same."""
        lines = self._lines
        if lines is None:
            lines = self._lines = {}
        line = lines.get((event, api_version))
        if line is None:
            entry = self.gone if event == "DELETED" else self.new
            assert entry is not None
            wire = entry.view(api_version, convert).wire
            line = lines[event, api_version] = b'{"type":"%b","object":%b}\n' % (event.encode(), wire)
        return line


class Bucket:
    """Entries under one key of an index, with their order by key, kept lazily."""

    __slots__ = ("_dirty", "_fresh", "_joined", "_keys", "_packed", "entries")

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._fresh: list[str] = []
        self._dirty = False
        self._joined: dict[str, bytes] = {}
        self._packed: dict[str, bytes] = {}

    def put(self, entry: Entry) -> None:
        """Insert or replace."""
        if entry.key not in self.entries:
            self._fresh.append(entry.key)
        self.entries[entry.key] = entry
        if self._joined:
            self._joined, self._packed = {}, {}

    def remove(self, key: str) -> None:
        """Remove if present."""
        if self.entries.pop(key, None) is not None:
            self._dirty = True
            if self._joined:
                self._joined, self._packed = {}, {}

    def forget_joined(self) -> None:
        """Encode anew from now on."""
        self._joined, self._packed = {}, {}

    def keys(self) -> list[str]:
        """The keys in etcd's order (bytes of the key). Not to be changed by the caller."""
        if self._dirty:
            entries = self.entries
            alive = dict.fromkeys(k for k in self._keys if k in entries)
            alive.update(dict.fromkeys(k for k in self._fresh if k in entries))
            self._keys = sorted(alive)
            self._fresh = []
            self._dirty = False
        elif self._fresh:
            self._keys.extend(self._fresh)
            self._keys.sort()
            self._fresh = []
        return self._keys

    def ordered(self) -> list[Entry]:
        """The entries in the order of their keys."""
        entries = self.entries
        return [entries[key] for key in self.keys()]

    def joined(self, api_version: str, convert: Convert | None, typed: bool) -> bytes:
        """The JSON of all entries as a list's items, comma separated; kept until something changes.
        `typed` items have no kind and apiVersion."""
        joined = self._joined.get(api_version)
        if joined is None:
            joined = items(self.ordered(), api_version, convert, typed)
            self._joined[api_version] = joined
        return joined

    def packed(self, api_version: str, convert: Convert | None, typed: bool) -> bytes:
        """The same, deflated (see `_gzip`); kept as long."""
        packed = self._packed.get(api_version)
        if packed is None:
            packed = self._packed[api_version] = deflate(self.joined(api_version, convert, typed))
        return packed


def items(entries: list[Entry], api_version: str, convert: Convert | None, typed: bool) -> bytes:
    """The JSON of some entries as a list's items."""
    if typed:
        return b",".join([e.view(api_version, convert).bare for e in entries])
    return b",".join([e.view(api_version, convert).wire for e in entries])


class ResourceCache:
    """All entries of one stored resource, e.g. `("apps", "deployments")`."""

    def __init__(self, group: str, resource: str, revision: int, history: int, frozen: bool = False) -> None:
        self.group = group
        self.resource = resource
        self.prefix = f"/registry/{group}/{resource}/" if group else f"/registry/{resource}/"
        self.label_of = {
            operation: f'group="{group}",operation="{operation}",resource="{resource}"'
            for operation in ("create", "update", "delete")
        }
        """The labels of what etcd is asked about it, for metrics."""
        self.all = Bucket()
        self.by_namespace: dict[str, Bucket] = {}
        self.by_node: dict[str, Bucket] | None = {} if (group, resource) == ("", "pods") else None
        """Pods by `spec.nodeName`, so that a kubelet's list and watch cost what its own pods cost."""
        self.floor = revision
        """Changes after this revision are in the history, as far as there were any."""
        self.history: deque[Change] = deque()
        self.history_bound = history
        self.read: Convert | None = None
        """Brings what is stored into the form that is shown: itself when it is so already. None: it always is."""
        self.frozen = frozen
        """Whether the objects refuse to be changed (see `protocol.objects.freeze`)."""
        self.changes = 0
        """Grows with every change: whoever derives something from the entries can tell if it is stale."""
        self.sink: Callable[[Change], None] | None = None
        """Called with every change, after the indexes are up to date: the watches."""
        self.listeners: list[Callable[[Change], None]] = []
        """Called before the watches, so that what follows from a change stands when clients hear of it."""

    def get(self, namespace: str, name: str) -> Entry | None:
        """The current entry, or None."""
        return self.all.entries.get(f"{namespace}/{name}" if namespace else name)

    def bucket(self, namespace: str) -> Bucket | None:
        """The entries of a namespace ("" is all of them); None when there are none."""
        return self.by_namespace.get(namespace) if namespace else self.all

    def entry(self, key: str, obj: Object, value: bytes, revision: int) -> Entry:
        """Build an entry from what is under `prefix + key` in the store."""
        namespace, _, name = key.rpartition("/")
        metadata = obj["metadata"]
        metadata["resourceVersion"] = str(revision)
        shown = obj if self.read is None else self.read(obj)
        make = Entry if shown is obj else Reshaped
        if self.frozen:
            shown = freeze(shown)
        return make(key, namespace, name, shown, value, revision)

    def reread(self, read: Convert | None) -> bool:
        """Show all entries by another `read` from now on; whether any looks different now."""
        self.read = read
        differs = False
        for old in list(self.all.entries.values()):
            stored = old.stored if isinstance(old, Reshaped) else old.value
            new = self.entry(old.key, orjson.loads(stored), stored, old.revision)
            if new.object != old.object:
                self.load(new)
                differs = True
        return differs

    def load(self, entry: Entry) -> None:
        """Insert without history: the initial state."""
        self.changes += 1
        self._index(entry, self.all.entries.get(entry.key))

    def put(self, entry: Entry) -> Change:
        """An object was created or changed."""
        old = self.all.entries.get(entry.key)
        self._index(entry, old)
        return self._record(Change(entry.revision, entry, old))

    def delete(self, key: str, revision: int) -> Change | None:
        """An object went away; None when it was not known."""
        old = self.all.entries.get(key)
        if old is None:
            return None
        self.all.remove(key)
        if old.namespace:
            self._drop(self.by_namespace, old.namespace, key)
        if self.by_node is not None:
            self._drop(self.by_node, _node_of(old), key)
        return self._record(Change(revision, None, old))

    def clear(self) -> None:
        """Forget everything: the feed starts over."""
        self.changes += 1
        self.all = Bucket()
        self.by_namespace = {}
        if self.by_node is not None:
            self.by_node = {}
        self.history.clear()

    def forget_views(self) -> None:
        """Convert anew from now on: the way from one version to another has changed."""
        for entry in self.all.entries.values():
            entry.forget_views()
        for change in self.history:
            change.forget_views()
        for bucket in (self.all, *self.by_namespace.values()):
            bucket.forget_joined()

    def since(self, revision: int) -> list[Change]:
        """The kept changes after `revision`, oldest first; the caller has checked `floor`."""
        history = self.history
        count = 0
        for change in reversed(history):
            if change.revision <= revision:
                break
            count += 1
        return list(islice(history, len(history) - count, None)) if count else []

    def _index(self, entry: Entry, old: Entry | None) -> None:
        self.all.put(entry)
        if entry.namespace:
            bucket = self.by_namespace.get(entry.namespace)
            if bucket is None:
                bucket = self.by_namespace[entry.namespace] = Bucket()
            bucket.put(entry)
        if self.by_node is not None:
            node = _node_of(entry)
            if old is not None and _node_of(old) != node:
                self._drop(self.by_node, _node_of(old), entry.key)
            if node not in self.by_node:
                self.by_node[node] = Bucket()
            self.by_node[node].put(entry)

    def _record(self, change: Change) -> Change:
        history = self.history
        history.append(change)
        self.changes += 1
        if len(history) > self.history_bound:
            self.floor = history.popleft().revision
        for listener in self.listeners:
            listener(change)
        if self.sink is not None:
            self.sink(change)
        return change

    @staticmethod
    def _drop(index: dict[str, Bucket], name: str, key: str) -> None:
        bucket = index.get(name)
        if bucket is not None:
            bucket.remove(key)
            if not bucket.entries:
                del index[name]


def _node_of(entry: Entry) -> str:
    spec = entry.object.get("spec")
    return (spec.get("nodeName") or "") if spec else ""
