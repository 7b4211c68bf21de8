"""Ownership of a replica count that is written through the `scale` subresource.

Owns the translation between a parent's entries and those of its Scale (source: apimachinery's
`managedfields/scalehandler.go`). It must never know what a scale is for.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.managedfields._managers import Manager, decode_managers, encode_managers
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
    api_version: str,
    changed: bool,
    operation: str = "Update",
    force: bool = False,
    path: tuple[str, ...] = ("spec", "replicas"),
) -> list[Object] | None:
    """The parent's managedFields after `manager` wrote its replicas through `scale`.

    `changed`: the number is a new one. None: leave the entries as they are. A new entry has no time,
    as upstream's has none. Raises a conflict (409) when apply would take the field from others without
    `force`.
    """
    managers = decode_managers(parent["metadata"].get("managedFields"))
    if not managers:
        return None
    replicas = _path_set(path)
    mine = Manager(manager, operation, api_version, "scale", None, replicas)
    owners = [m for m in managers.values() if m.identity != mine.identity and intersection(m.set, replicas)]
    if operation == "Update" and not changed:
        return None
    if operation == "Apply" and changed and owners and not force:
        raise _conflict(owners)
    if changed:
        for owner in owners:
            owner.set = difference(owner.set, replicas)
            if not owner.set:
                del managers[owner.identity]
    known = managers.get(mine.identity)
    if known is not None and operation == "Apply":
        mine.time = known.time
    managers[mine.identity] = mine
    return encode_managers(managers)


def _conflict(owners: list[Manager]) -> StatusError:
    from actors.apiserver.managedfields._apply import _conflict_error, _Conflicts

    replicas: Set = {"f:spec": {"f:replicas": {}}}
    shown = []
    for owner in owners:
        # Seen from a Scale, whoever updates the parent does so as if through autoscaling/v1.
        version = SCALE_VERSION if owner.operation == "Update" else owner.version
        shown.append((Manager(owner.name, owner.operation, version, owner.subresource, None, {}), replicas))
    return _conflict_error(_Conflicts(shown))
