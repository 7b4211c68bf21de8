"""The first status that a kubelet in this process writes of a pod: what a twin's turned out to be.

A thousand pods of one Deployment come up alike: their first statuses differ in addresses, times and
container ids. What the pipeline makes of such a write - that it is valid, what is stored,
and which fields the kubelet owns from then on - is a pure function of the statuses before and after,
so it is worked out for the first of them and kept (`_memo`), with the places of what differs.

Owns this memory. Everything that looks at more than the two statuses (admission, the versions and
the identity of the pod, the write itself) happens for every pod. What is not a first report, or not
alike, goes the way of all updates; so does every write while policies or webhooks are configured.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import orjson

from actors.apiserver._cache import Entry
from actors.apiserver._core import Answer, Core
from actors.apiserver._memo import Memo
from actors.apiserver._request import Request
from actors.apiserver._store import Superseded
from actors.apiserver.admission import UPDATE, Attributes

__all__ = ["Report", "learn", "read", "write"]

Object = dict[str, Any]

_OCTET = rb"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_DIFFERS = re.compile(
    rb"(?<![\w.:])("
    + rb"20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ"
    + rb"|(?:" + _OCTET + rb"\.){3}" + _OCTET
    + rb"|(?<=://)[0-9a-f]{64}"
    + rb"|(?<=kube-api-access-)[a-z0-9]{5}"
    + rb")(?![\w.:])"
)
"""Times (of days that every month has), IPv4 addresses, container ids and the random part of the
volume that admission adds: all as valid as any other of their sort, which their lengths tell."""
_MAX_BYTES = 16 * 1024
_HOOKS = (
    "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
)


class _Form(NamedTuple):
    """JSON cut at what differs, and which of a report's values goes where."""

    pieces: list[bytes]
    places: list[int]

    def fill(self, values: list[bytes]) -> Object:
        """The object for a twin."""
        text = [self.pieces[0]]
        for place, piece in zip(self.places, self.pieces[1:], strict=True):
            text += (values[place], piece)
        filled: Object = orjson.loads(b"".join(text))
        return filled


class _Known(NamedTuple):
    """What is stored: the status, and the kubelet's entry in managedFields."""

    status: _Form
    owner: _Form


class Report(NamedTuple):
    """A first report on its way: the pod that it is about, its twins' key, and what is its own."""

    entry: Entry
    key: Any
    values: list[bytes]


_reports = Memo()


def read(core: Core, request: Request) -> Report | None:
    """The request as a first report of the newest version of a pod; None if it is none."""
    body: Object = request.body
    entry = request.served.cache.get(request.namespace, request.name)
    if entry is None or request.dry_run or "fieldManager" in request.options:
        return None
    old: Object = entry.object
    now, was = body.get("status"), old.get("status") or {}
    metadata: Object = old["metadata"]
    if (
        body.get("metadata") is not metadata
        or "deletionTimestamp" in metadata
        or not isinstance(now, dict)
        or "containerStatuses" in was
        or "initContainerStatuses" in was
        or "resourceClaimStatuses" in now
        or not (old.get("spec") or {}).get("nodeName")
        or body.keys() != old.keys() | {"status"}
        or any("f:status" in (m.get("fieldsV1") or ()) for m in metadata.get("managedFields") or ())
    ):
        return None
    try:
        text = orjson.dumps(now)
        parts = _DIFFERS.split(orjson.dumps(was) + text)
    except (orjson.JSONEncodeError, TypeError):
        return None
    if len(text) > _MAX_BYTES:
        return None
    numbers: dict[bytes, int] = {}
    places = tuple(numbers.setdefault(value, len(numbers)) for value in parts[1::2])
    sorts = tuple(0 if b"." in value else len(value) for value in numbers)
    key = (request.manager, core.config.minor, places, sorts, b"\0".join(parts[::2]))
    return Report(entry, key, list(numbers))


async def write(core: Core, request: Request, report: Report) -> Answer | None:
    """Carry out a first report as a twin's was; None when there was none yet, or somebody wrote to
    the pod meanwhile."""
    known: _Known | None = _reports.get(report.key)
    if known is None or any(True for name in _HOOKS for _ in core.list("admissionregistration.k8s.io", name)):
        return None
    served, entry, old = request.served, report.entry, report.entry.object
    await core.store.turn(served.cache, entry.key)
    if served.cache.get(request.namespace, request.name) is not entry:
        return None
    metadata = dict(old["metadata"])
    metadata["managedFields"] = _owners(core, known, report, metadata.get("managedFields") or ())
    new = {**old, "metadata": metadata, "status": known.status.fill(report.values)}
    attributes = Attributes(
        UPDATE, served.kind, request.namespace, request.name, "status", new, old, request.user, core, False,
        request.options,
    )
    attributes.report_to(request)
    await core.chain.admit(attributes)
    await core.chain.validate(attributes)
    try:
        return Answer(served, await core.store.update(served.cache, entry, new))
    except Superseded:
        return None


def _owners(core: Core, known: _Known, report: Report, others: Any) -> list[Object]:
    """managedFields with the kubelet's entry, in the order in which they are kept."""
    mine = known.owner.fill(report.values)
    mine["time"] = core.clock.rfc3339()
    return sorted([*others, mine], key=_place)


def _place(entry: Object) -> tuple[str, str, str, str, str]:
    return (
        entry["operation"], entry.get("time") or "", entry.get("manager", ""), entry["apiVersion"],
        entry.get("subresource", ""),
    )


def learn(request: Request, report: Report, stored: Entry) -> None:
    """Remember what became of a report that went the whole way."""
    old, new = report.entry.object, stored.object
    before = old["metadata"].get("managedFields") or []
    after = new["metadata"].get("managedFields") or []
    mine = [m for m in after if m not in before]
    changed = [k for k in new["metadata"] if k not in ("managedFields", "resourceVersion")]
    if (
        request.warnings
        or len(mine) != 1
        or len(after) != len(before) + 1
        or mine[0].get("subresource") != "status"
        or any(new["metadata"][k] != old["metadata"].get(k) for k in changed)
        or any(new[k] != old.get(k) for k in new if k not in ("metadata", "status"))
    ):
        return
    status, owner = _form(new.get("status"), report.values), _form({**mine[0], "time": ""}, report.values)
    if status is not None and owner is not None:
        _reports.put(report.key, _Known(status, owner))


def _form(obj: Any, values: list[bytes]) -> _Form | None:
    """What an object is for all twins; None when it has something of its own that the report has not."""
    parts = _DIFFERS.split(orjson.dumps(obj))
    try:
        return _Form(parts[::2], [values.index(value) for value in parts[1::2]])
    except ValueError:
        return None
