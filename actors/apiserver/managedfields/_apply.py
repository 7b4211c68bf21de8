"""Server-side apply: merge a configuration into an object, find conflicts, drop what was given up.

Owns the algorithm of structured-merge-diff's `Updater.Apply` and the errors around it. It must
never validate or default the result; the caller does, as for any other write.
"""

from __future__ import annotations

from typing import Any

import orjson

from actors.apiserver.fieldvalidation import DecodeFailure, convert
from actors.apiserver.managedfields._check import check
from actors.apiserver.managedfields._managers import Manager, Managers, decode_managers, encode_managers
from actors.apiserver.managedfields._reset import Filter
from actors.apiserver.managedfields._sets import (
    Set,
    difference,
    ensure_named,
    intersection,
    path_text,
    paths,
    union,
)
from actors.apiserver.managedfields._update import (
    blank,
    forget,
    strip,
    take_ownership,
    update,
    without_managers,
)
from actors.apiserver.managedfields._versions import Changes, Look, seen
from actors.apiserver.managedfields._walk import ABSENT, TypedProblem, compare, field_set, merge, remove_items
from actors.apiserver.patch._gotext import go_quote
from protocol import status
from protocol.api import StatusError
from protocol.objects import mutable
from protocol.schema import Type

__all__ = ["LAST_APPLIED", "apply"]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
BEFORE_FIRST_APPLY = "before-first-apply"

Object = dict[str, Any]


class _Conflicts(Exception):
    """Fields that other managers own: manager -> set."""

    def __init__(self, owned: list[tuple[Manager, Set]]) -> None:
        super().__init__("conflicts")
        self.owned = owned


def apply(
    type_: Type,
    live: Object | None,
    config: Object,
    manager: str,
    *,
    force: bool,
    api_version: str,
    kind: str,
    now: str,
    subresource: str = "",
    reset: Filter | None = None,
    typed: bool = True,
    look: Look | None = None,
) -> Object:
    """The object that results when `manager` applies `config`, with its managedFields.

    `live`: the stored object at this version, None to create. `typed`: a built-in kind, whose result
    is cleaned by its type (custom resources clean their own). `look` shows objects in the
    versions of other managers. Raises `StatusError`: 400 for another
    kind, 409 for conflicts, 500 when the configuration does not fit the schema.
    """
    _check_config(type_, config, api_version, kind)
    base = without_managers(live) if live is not None else blank(type_)
    entries = (live or {}).get("metadata", {}).get("managedFields")
    managers = decode_managers(entries)
    if managers is None:
        raise status.unknown_error("failed to decode managed fields")
    if not managers and live is not None:
        managers = _before_first_apply(type_, live, api_version, now, subresource, reset)
    mine = Manager(manager, "Apply", api_version, subresource, None, {})
    shown = _shown(config)
    try:
        result = _apply(type_, base, config, managers, mine, force, reset, look)
    except _Conflicts as conflicts:
        if not _upgrades_client_side(type_, live, conflicts, manager, api_version):
            raise _conflict_error(conflicts) from None
        managers = decode_managers(entries) or {}
        result = _apply(type_, base, config, managers, mine, True, reset, look)
    except TypedProblem as problem:
        raise status.unknown_error(f"failed to merge config: {problem}") from None
    owner = managers.get(mine.identity)
    if owner is not None:
        owner.set = strip(owner.set)
        if not owner.set:
            del managers[mine.identity]
        elif result is not base:
            owner.time = now
    obj = _finish(type_, result, shown, typed)
    obj["apiVersion"], obj["kind"] = api_version, kind
    if manager == "kubectl":
        _sync_last_applied(obj, config)
    if managers:
        obj["metadata"] = {**(obj.get("metadata") or {}), "managedFields": encode_managers(managers)}
    return obj


def _check_config(type_: Type, config: Object, api_version: str, kind: str) -> None:
    found_version, found_kind = config.get("apiVersion") or "", config.get("kind") or ""
    if found_version != api_version or found_kind != kind:
        group, _, version = str(found_version).rpartition("/")
        raise status.bad_request(f"invalid object type: {group}/{version}, Kind={found_kind}")
    meta = config.get("metadata")
    if isinstance(meta, dict) and meta.get("managedFields") is not None:
        raise status.bad_request("metadata.managedFields must be nil")
    problems = check(type_, config)
    if problems:
        raise status.unknown_error(f"failed to create typed patch object ({_shown(config)}): {problems}")


def _shown(config: Object) -> str:
    meta = config.get("metadata")
    if not isinstance(meta, dict):
        meta = {}
    words = [meta.get(key) if isinstance(meta.get(key), str) else "" for key in ("namespace", "name")]
    group, _, version = str(config.get("apiVersion") or "").rpartition("/")
    return f"{words[0]}/{words[1]}; {group}/{version}, Kind={config.get('kind') or ''}"


def _before_first_apply(
    type_: Type, live: Object, api_version: str, now: str, subresource: str, reset: Filter | None
) -> Managers:
    """The managers of an object that nobody tracked: one owns all that is there."""
    tracked = without_managers(live)
    tracked = {**tracked, "metadata": dict(tracked.get("metadata") or {})}
    update(
        type_, None, tracked, BEFORE_FIRST_APPLY, api_version=api_version, now=now, subresource=subresource, reset=reset
    )
    return decode_managers(tracked["metadata"].get("managedFields")) or {}


def _apply(
    type_: Type,
    base: Object,
    config: Object,
    managers: Managers,
    mine: Manager,
    force: bool,
    reset: Filter | None,
    look: Look | None,
) -> Object:
    """The merged object (`base` itself when nothing changed); `managers` is brought up to date."""
    merged = merge(type_, base, config)
    merged = {} if merged is ABSENT else merged
    last = managers.get(mine.identity)
    fields = field_set(type_, config)
    if reset is not None:
        fields = reset(fields)
    mine.set = fields
    mine.time = last.time if last is not None else None
    managers[mine.identity] = mine
    if last is not None and last.set:
        merged = _prune(type_, merged, managers, last, mine.version, look)
    changes = Changes(look, type_, mine.version, base, merged, reset)
    others = {identity: manager for identity, manager in managers.items() if identity != mine.identity}
    losses = take_ownership(others, changes)
    if losses and not force:
        raise _Conflicts([(others[identity], loss) for identity, loss in losses.items()])
    forget(others, losses, changes)
    for identity in list(managers):
        if identity != mine.identity and identity not in others:
            del managers[identity]
    return base if merged == base else merged


def _prune(
    type_: Type, merged: Object, managers: Managers, last: Manager, own: str, look: Look | None
) -> Object:
    """`merged` without what the manager applied before and now leaves out, unless others own it."""
    there = seen(look, type_, merged, own, last.version)
    if there is None:
        return merged
    last_type, whole = there
    given_up = ensure_named(last.set, last_type)
    pruned, version = remove_items(last_type, whole, given_up) or {}, last.version
    owned: dict[str, Set] = {}
    for manager in managers.values():
        at = manager.version if look is not None else version
        owned[at] = union(owned.get(at, {}), manager.set)
    for at in sorted(owned):
        before, after = seen(look, type_, merged, own, at), seen(look, last_type, pruned, version, at)
        if before is None or after is None:
            continue
        kind, all_of_it = before
        merged_set = ensure_named(field_set(kind, all_of_it), kind)
        keep = union(ensure_named(field_set(kind, after[1]), kind), ensure_named(owned[at], kind))
        pruned, version, last_type = remove_items(kind, all_of_it, difference(merged_set, keep)) or {}, at, kind
    back = seen(look, last_type, pruned, version, last.version)
    if back is None:
        return merged
    last_type, pruned = back
    merged_set = ensure_named(field_set(last_type, whole), last_type)
    gone = intersection(difference(merged_set, ensure_named(field_set(last_type, pruned), last_type)), given_up)
    result = remove_items(last_type, whole, gone) or {}
    final = seen(look, last_type, result, last.version, own)
    return merged if final is None else final[1]


def _finish(type_: Type, result: Object, shown: str, typed: bool) -> Object:
    if not typed:
        copy: Object = mutable(result)
        return copy
    try:
        obj, _ = convert(type_, result)
    except DecodeFailure as failure:
        raise status.unknown_error(f"failed to convert new typed object ({shown}) to object: {failure}") from None
    found: Object = obj
    return found


def _print_manager(manager: Manager) -> str:
    text = go_quote(manager.name)
    if manager.subresource:
        text += f" with subresource {go_quote(manager.subresource)}"
    if manager.operation == "Update":
        text += f" using {manager.version}"
    return text


def _conflict_error(conflicts: _Conflicts) -> StatusError:
    owned = sorted(conflicts.owned, key=lambda pair: _print_manager(pair[0]))
    causes: list[dict[str, str]] = []
    lines: list[str] = []
    for manager, fields in owned:
        who = _print_manager(manager)
        lines.append(f"conflicts with {who}:")
        for path in paths(fields):
            text = path_text(path)
            lines.append(f"- {text}")
            causes.append({"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": text})
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        message = f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines)
    return status.apply_conflict(causes, message)


def _last_applied(obj: Object | None) -> str:
    annotations = (obj or {}).get("metadata", {}).get("annotations") or {}
    text = annotations.get(LAST_APPLIED)
    return text if isinstance(text, str) else ""


def _upgrades_client_side(
    type_: Type, live: Object | None, conflicts: _Conflicts, manager: str, api_version: str
) -> bool:
    """Whether kubectl only takes over what its own client-side apply wrote."""
    text = _last_applied(live)
    if manager != "kubectl" or not text or live is None:
        return False
    try:
        last = orjson.loads(text)
        if not isinstance(last, dict) or last.get("apiVersion") != api_version:
            return False
        base = without_managers(live)
        change = compare(type_, last, base)
        allowed = field_set(type_, last)
    except (orjson.JSONDecodeError, TypedProblem):
        return False
    for gone in (change.modified, change.added, change.removed):
        allowed = difference(allowed, gone)
    left = [(owner, difference(fields, allowed)) for owner, fields in conflicts.owned]
    conflicts.owned = [(owner, fields) for owner, fields in left if fields]
    return not conflicts.owned


def _sync_last_applied(obj: Object, config: Object) -> None:
    """Keep client-side apply's annotation in step, so that going back to it works."""
    if not _last_applied(obj):
        return
    copy = mutable(config)
    copy.get("metadata", {}).get("annotations", {}).pop(LAST_APPLIED, None)
    if "annotations" in copy.get("metadata", {}) and not copy["metadata"]["annotations"]:
        del copy["metadata"]["annotations"]
    text = orjson.dumps(copy, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    obj["metadata"]["annotations"][LAST_APPLIED] = text
