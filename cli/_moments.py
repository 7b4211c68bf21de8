"""A recorded cluster at one moment: what `kubectl get` would have shown, objects, and differences.

Owns the little API server that renders tables; it is started in a simulation whose clock stands at
the moment, so that ages are those of then. Reads the recording and changes nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from cli._errors import UsageError
from protocol.kinds import Kind, by_store, resource_for
from protocol.recording import Change, Recording
from protocol.selectors import parse_selector

__all__ = ["Moment", "Selection", "Viewer", "as_yaml", "what_changed"]

Object = dict[str, Any]
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
NOISE = ("managedFields", "resourceVersion", "generation")
CHANGES_SHOWN = 4


class Moment(NamedTuple):
    """A revision, and what the time was: the revision's own, or later before the next one."""

    revision: int
    time_s: float


class Selection:
    """Which objects are meant: a kind, perhaps a name, one namespace or all, perhaps labels."""

    def __init__(self, viewer: Viewer, word: str, name: str = "", namespace: str | None = "default", labels: str = "") -> None:
        word, _, inner = word.partition("/")
        self.group, self.resource, self.namespaced, self.version = viewer.kind(word)
        self.name = name or inner
        self.namespace = namespace if self.namespaced else None
        self.labels = labels

    @property
    def prefix(self) -> str:
        """The keys' common beginning."""
        return store_prefix(self.group, self.resource) + (f"{self.namespace}/" if self.namespace else "")

    def chooses(self, key: str, obj: Object | None) -> bool:
        """Whether it means this key, which begins with the prefix."""
        if self.name and key.rpartition("/")[2] != self.name:
            return False
        if not self.labels or obj is None:
            return True
        return parse_selector(self.labels).matches(obj["metadata"].get("labels"))


def store_prefix(group: str, resource: str) -> str:
    """Where objects of a resource are kept: `/registry/apps/deployments/`."""
    return f"/registry/{group}/{resource}/" if group else f"/registry/{resource}/"


class Viewer:
    """Looks at a recording."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._served: tuple[Moment, Any, Any] | None = None

    # -- What there is ---------------------------------------------------------------------------

    def kind(self, word: str) -> tuple[str, str, bool, str]:
        """Group, plural name, whether it has namespaces, and version of what kubectl calls `word`.

        Raises: UsageError when neither the built-in kinds nor the recorded definitions know it.
        """
        found: Kind | None = resource_for(word, self.recording.minor)
        if found is not None:
            stored = by_store(found.storage_group, found.resource, self.recording.minor) or found
            return stored.group, stored.resource, stored.namespaced, stored.version
        for change in self.recording.changes(store_prefix("apiextensions.k8s.io", "customresourcedefinitions")):
            spec = orjson.loads(change.value)["spec"] if change.value else None
            if spec is None:
                continue
            names = spec["names"]
            known = {names["plural"], names.get("singular"), names["kind"].lower(), *names.get("shortNames", ())}
            if word.lower().removesuffix("." + spec["group"]) in known:
                version = next(v["name"] for v in spec["versions"] if v.get("storage"))
                return spec["group"], names["plural"], spec["scope"] == "Namespaced", version
        raise UsageError(f'the server did not have a resource type "{word}"')

    def objects(self, selection: Selection, revision: int) -> list[Object]:
        """The selected objects as of a revision, with the resource versions of then."""
        found = []
        for key, change in self._last(selection.prefix, revision).items():
            if change.value is None:
                continue
            obj = orjson.loads(change.value)
            if selection.chooses(key, obj):
                obj["metadata"]["resourceVersion"] = str(change.revision)
                found.append(obj)
        return found

    def _last(self, prefix: str, revision: int) -> dict[str, Change]:
        """The last change of each key up to a revision, by key."""
        found = {c.key: c for c in self.recording.changes(prefix, until=revision)}
        return dict(sorted(found.items()))

    # -- Tables ----------------------------------------------------------------------------------

    def table(self, selection: Selection, moment: Moment, wide: bool = False) -> str:
        """What `kubectl get` would have printed. Empty when there is nothing."""
        path = f"/apis/{selection.group}/{selection.version}" if selection.group else f"/api/{selection.version}"
        if selection.namespace:
            path += f"/namespaces/{selection.namespace}"
        query = f"labelSelector={quote(selection.labels)}" if selection.labels else ""
        table = self._ask(moment, f"{path}/{selection.resource}", query)
        if "columnDefinitions" not in table:
            raise UsageError(str(table.get("message", "no table")))
        shown = [n for n, c in enumerate(table["columnDefinitions"]) if wide or not c.get("priority")]
        everywhere = selection.namespaced and selection.namespace is None
        heads = [table["columnDefinitions"][n]["name"].upper() for n in shown]
        rows = [["NAMESPACE", *heads] if everywhere else heads]
        there = {(o["metadata"].get("namespace"), o["metadata"]["name"]) for o in self.objects(selection, moment.revision)}
        for row in table.get("rows") or ():
            meta = row["object"]["metadata"]
            if (meta.get("namespace"), meta["name"]) not in there:  # that server has made some of its own
                continue
            cells = ["<none>" if row["cells"][n] in (None, "") else str(row["cells"][n]) for n in shown]
            rows.append([meta.get("namespace", ""), *cells] if everywhere else cells)
        return aligned(rows) if len(rows) > 1 else ""

    def _ask(self, moment: Moment, path: str, query: str) -> Any:
        from protocol.api import ADMIN
        from protocol.http import HttpCall, HttpReply

        sim, apiserver = self._server(moment)
        call = HttpCall("GET", path, query, {"accept": TABLE}, b"", ADMIN)
        reply: HttpReply = sim.ask(apiserver, call)
        return orjson.loads(b"".join([reply.body, *reply.more]))

    def _server(self, moment: Moment) -> tuple[Any, Any]:
        """An API server over the state as of a moment, its clock standing at that moment."""
        if self._served is not None and self._served[0] == moment:
            return self._served[1:]
        from actors.kernel import Simulation
        from assembly.components import start_apiserver
        from assembly.config import ClusterConfig
        from assembly.store import fill_store, start_store

        sim = Simulation(epoch_s=moment.time_s)
        config = ClusterConfig(minor=self.recording.minor)
        etcd = start_store(sim, config)
        fill_store(etcd, ((key.encode(), value) for key, value in self.recording.state(moment.revision).items()))
        apiserver = start_apiserver(sim, config, etcd)
        self._served = (moment, sim, apiserver)
        return sim, apiserver

    # -- Differences -----------------------------------------------------------------------------

    def differences(self, earlier: int, later: int, selection: Selection | None = None) -> Iterator[str]:
        """What differs between two moments, object by object, as unified diffs of their YAML."""
        prefix = selection.prefix if selection else ""
        before, after = self._last(prefix, earlier), self._last(prefix, later)
        for key in sorted(after):
            old, new = before.get(key), after[key]
            if old is new or (selection and not selection.chooses(key, None)):
                continue
            texts = [_quiet_yaml(change.value if change else None) for change in (old, new)]
            if texts[0] == texts[1]:
                continue
            name = key.removeprefix("/registry/")
            verb = "+++ created" if not texts[0] else "--- deleted" if not texts[1] else "~~~ changed"
            yield f"{verb} {name}"
            if texts[0] and texts[1]:
                lines = difflib.unified_diff(texts[0].splitlines(), texts[1].splitlines(), lineterm="", n=2)
                yield from (f"  {line}" for line in list(lines)[2:])


def what_changed(old: Object | None, new: Object | None) -> str:
    """The few fields that a change of one object is about, in a line."""
    if old is None:
        return "created"
    if new is None:
        return "deleted"
    found = [text for text in _changes(old, new, "") if text]
    more = f", and {len(found) - CHANGES_SHOWN} more" if len(found) > CHANGES_SHOWN else ""
    return ", ".join(found[:CHANGES_SHOWN]) + more if found else "written without a change"


def _changes(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(k for k in new if k not in old)]:
            if key not in NOISE:
                yield from _changes(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list) and _named(old) and _named(new):
        before, after = ({_name(item): item for item in items} for items in (old, new))
        for name in [*before, *(n for n in after if n not in before)]:
            yield from _changes(before.get(name), after.get(name), f"{path}[{name}]")
    elif old != new:
        yield f"{path}: {_short(old)} -> {_short(new)}"


def _name(item: Object) -> str:
    return str(item.get("name") or item.get("type"))


def _named(items: list[Any]) -> bool:
    return all(isinstance(item, dict) and (item.get("name") or item.get("type")) for item in items)


def _short(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."


def as_yaml(obj: Any) -> str:
    """An object, or a list of them as a List."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(obj, Dumper=dumper, sort_keys=True, default_flow_style=False, allow_unicode=True, width=200)
    return text


def _quiet_yaml(value: bytes | None) -> str:
    if value is None:
        return ""
    obj = orjson.loads(value)
    meta = obj.get("metadata")
    if isinstance(meta, dict):
        obj["metadata"] = {k: v for k, v in meta.items() if k not in NOISE}
    return as_yaml(obj)


def aligned(rows: list[list[str]]) -> str:
    """Columns as kubectl aligns them: three spaces between."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)
