"""Tracking of writes that are not apply: create, update and the other patches.

Owns how a write moves ownership. Follows apimachinery's `managedfields` chain: no tracking when the
live object has no managers, at most ten update managers, what the writer changed becomes the
writer's alone.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.fieldvalidation import convert
from actors.apiserver.managedfields._managers import Manager, Managers, cap, decode_managers, encode_managers, is_reset
from actors.apiserver.managedfields._reset import Filter
from actors.apiserver.managedfields._sets import Set, difference, intersection, union
from actors.apiserver.managedfields._versions import Changes, Look
from actors.apiserver.managedfields._walk import TypedProblem
from protocol.schema import Type

__all__ = ["STRIPPED", "blank", "strip", "take_ownership", "update"]

Object = dict[str, Any]

STRIPPED: Set = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        ".": {},
        "f:name": {},
        "f:namespace": {},
        "f:creationTimestamp": {},
        "f:selfLink": {},
        "f:uid": {},
        "f:clusterName": {},
        "f:generation": {},
        "f:managedFields": {},
        "f:resourceVersion": {},
    },
}


def blank(type_: Type) -> Object:
    """What an object of this type looks like before anything was set."""
    found: Object | None = type_.cache.get("blank")
    if found is None:
        found, _ = convert(type_, {})
        type_.cache["blank"] = found
    assert found is not None
    return found


def strip(fields: Set) -> Set:
    """A set without the fields that nobody owns."""
    meta = fields.get("f:metadata")
    out = {key: node for key, node in fields.items() if key not in ("f:apiVersion", "f:kind", "f:metadata")}
    if meta is not None:
        kept = difference({"f:metadata": meta}, STRIPPED)
        if kept:
            out.update(kept)
    return out


def take_ownership(managers: Managers, changes: Changes) -> dict[Any, Set]:
    """What each manager owns of what changed, so would lose. Managers of versions that are no more go."""
    losses: dict[Any, Set] = {}
    for identity, manager in list(managers.items()):
        comparison = changes.at(manager.version)
        if comparison is None:
            del managers[identity]
            continue
        loss = intersection(manager.set, comparison.changed())
        if loss:
            losses[identity] = loss
    return losses


def forget(managers: Managers, losses: dict[Any, Set], changes: Changes) -> None:
    """Take from managers what they lose, and from all what is gone; drop those left with nothing."""
    for identity in list(managers):
        manager = managers[identity]
        loss = losses.get(identity)
        if loss:
            manager.set = difference(manager.set, loss)
        comparison = changes.at(manager.version)
        if comparison is not None and comparison.removed:
            manager.set = difference(manager.set, comparison.removed)
        if not manager.set:
            del managers[identity]


def _managers_of(live: Object | None, new: Object, subresource: str) -> Managers:
    """The managers to start from: the request's own entries when usable, else the live ones."""
    meta = new.get("metadata") or {}
    if not subresource:
        if is_reset(meta):
            return {}
        sent = decode_managers(meta.get("managedFields"))
        if sent:
            return sent
    if live is None:
        return {}
    return decode_managers((live.get("metadata") or {}).get("managedFields")) or {}


def update(
    type_: Type,
    live: Object | None,
    new: Object,
    manager: str,
    *,
    api_version: str,
    now: str,
    subresource: str = "",
    reset: Filter | None = None,
    look: Look | None = None,
) -> None:
    """Set `new`'s managedFields for a write by `manager` (an update, not an apply).

    `live`: the stored object at this version, None for a create. `new`: decoded and defaulted, before
    admission; only its managedFields are changed. `now`: RFC 3339, whole seconds. When an object
    cannot be compared (keys of lists missing, say) its managers stay as they were.
    """
    if new.get("metadata") is None:
        new["metadata"] = {}
    meta = new["metadata"]
    managers = _managers_of(live, new, subresource)
    after = _keys_after(meta) or _keys_after((live or {}).get("metadata") or {})
    sent = meta.pop("managedFields", None)
    if not managers and live is not None:
        return
    try:
        mine = Manager(manager, "Update", api_version, subresource, now, {})
        _track(type_, live, new, managers, mine, reset, look)
    except TypedProblem:
        kept = (live or {}).get("metadata", {}).get("managedFields")
        if kept or sent:
            _put(meta, kept or sent, after)
        return
    cap(managers)
    if managers:
        _put(meta, encode_managers(managers), after)


def _keys_after(meta: Object) -> list[str]:
    keys = list(meta)
    return keys[keys.index("managedFields") + 1 :] if "managedFields" in meta else []


def _put(meta: Object, entries: list[Any], after: list[str]) -> None:
    """At the place where they were: an object's text must not depend on the way by which it came about."""
    meta["managedFields"] = entries
    for key in after:
        if key in meta:
            meta[key] = meta.pop(key)


def _track(
    type_: Type,
    live: Object | None,
    new: Object,
    managers: Managers,
    mine: Manager,
    reset: Filter | None,
    look: Look | None,
) -> None:
    base = without_managers(live) if live is not None else blank(type_)
    changes = Changes(look, type_, mine.version, base, new, reset)
    if managers:
        forget(managers, take_ownership(managers, changes), changes)
    mine.set = strip(changes.own.changed())
    if reset is not None:
        mine.set = reset(mine.set)
    if not mine.set:
        return
    before = managers.get(mine.identity)
    if before is not None:
        mine.set = union(mine.set, before.set)
    managers[mine.identity] = mine


def without_managers(obj: Object) -> Object:
    """A shallow copy without `managedFields`."""
    meta = obj.get("metadata")
    if not meta or "managedFields" not in meta:
        return obj
    return {**obj, "metadata": {key: value for key, value in meta.items() if key != "managedFields"}}


