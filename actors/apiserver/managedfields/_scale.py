"""Ownership of a replica count that is written through the `scale` subresource.

Owns the translation between a parent's entries and those of its Scale (source: apimachinery's
`managedfields/scalehandler.go`). It must never know what a scale is for.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.managedfields._managers import Manager, Managers, decode_managers, encode_managers
from actors.apiserver.managedfields._sets import Set, difference, intersection
from protocol.api import StatusError

__all__ = ["scale_entries"]

Object = dict[str, Any]
SCALE_VERSION = "autoscaling/v1"


def _path_set(path: tuple[str, ...]) -> Set:
    out: Set = {}
    for word in reversed(path):
        out = {f"f:{word}": out}
    return out


def scale_entries(
    parent: Object,
    manager: str,
    *,
    now: str,
    changed: bool,
    operation: str = "Update",
    force: bool = False,
    path: tuple[str, ...] = ("spec", "replicas"),
) -> list[Object] | None:
    """The parent's managedFields after `manager` wrote its replicas through `scale`.

    `changed`: the number is a new one. None: leave the entries as they are. Raises a conflict (409)
    when apply would take the field from others without `force`.
    """
    managers = decode_managers(parent["metadata"].get("managedFields"))
    if not managers:
        return None
    replicas = _path_set(path)
    mine = Manager(manager, operation, SCALE_VERSION, "scale", now, replicas)
    owners = [m for m in managers.values() if m.identity != mine.identity and intersection(m.set, replicas)]
    if operation == "Update":
        if not changed:
            return None
    elif changed and owners and not force:
        raise _conflict(owners)
    if changed:
        for owner in owners:
            owner.set = difference(owner.set, replicas)
            if not owner.set:
                del managers[owner.identity]
    before: Managers = managers
    if mine.identity in before and not changed:
        mine.time = before[mine.identity].time
    managers[mine.identity] = mine
    return encode_managers(managers)


def _conflict(owners: list[Manager]) -> StatusError:
    from actors.apiserver.managedfields._apply import _conflict_error, _Conflicts

    spec = {"f:spec": {"f:replicas": {}}}
    return _conflict_error(_Conflicts([(owner, spec) for owner in owners]))
