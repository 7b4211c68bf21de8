"""The entries of `metadata.managedFields`, as managers with their sets.

Owns reading, ordering, naming and capping of entries. It must never compute a set.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.managedfields._sets import Set, union

__all__ = [
    "Manager",
    "Managers",
    "cap",
    "decode_managers",
    "encode_managers",
    "is_reset",
    "keep_timestamps",
    "manager_name",
    "validate_entries",
]

MAX_NAME_BYTES = 128
MAX_UPDATERS = 10
ANCIENT = "ancient-changes"

Object = dict[str, Any]
Identity = tuple[str, str, str, str]
"""Name, operation, subresource, and the version for updates (appliers have one entry each)."""


class Manager:
    """One entry: who, how, at which version, since when, and the set owned."""

    __slots__ = ("name", "operation", "set", "subresource", "time", "version")

    def __init__(
        self, name: str, operation: str, version: str, subresource: str, time: str | None, fields: Set
    ) -> None:
        self.name = name
        self.operation = operation
        self.version = version
        self.subresource = subresource
        self.time = time
        self.set = fields

    @property
    def identity(self) -> Identity:
        """What makes two entries the same manager."""
        version = self.version if self.operation == "Update" else ""
        return (self.name, self.operation, self.subresource, version)

    def encode(self) -> Object:
        """The entry as it is stored."""
        out: Object = {"manager": self.name, "operation": self.operation, "apiVersion": self.version}
        if self.time is not None:
            out["time"] = self.time
        out["fieldsType"] = "FieldsV1"
        out["fieldsV1"] = self.set
        if self.subresource:
            out["subresource"] = self.subresource
        return out


Managers = dict[Identity, Manager]


def manager_name(field_manager: str, user_agent: str) -> str:
    """The name under which a request owns fields: its own choice, or its user agent's first word."""
    if field_manager:
        return field_manager
    out: list[str] = []
    size = 0
    for char in user_agent.split("/")[0]:
        if not char.isprintable():
            continue
        size += len(char.encode())
        if size > MAX_NAME_BYTES:
            break
        out.append(char)
    return "".join(out) or "unknown"


def validate_entries(entries: Any) -> str:
    """Why entries cannot be used; empty when they can."""
    for i, entry in enumerate(entries or ()):
        if entry.get("operation") not in ("Apply", "Update"):
            return "operation must be `Apply` or `Update`"
        if not entry.get("apiVersion"):
            return "apiVersion must not be empty"
        fields_type = entry.get("fieldsType", "")
        if not fields_type:
            return f"missing fieldsType in managed fields entry {i}"
        if fields_type != "FieldsV1":
            return f'invalid fieldsType "{fields_type}" in managed fields entry {i}'
        if entry.get("fieldsV1") is not None and not isinstance(entry["fieldsV1"], dict):
            return f"error decoding set in managed fields entry {i}"
    return ""


def decode_managers(entries: Any) -> Managers | None:
    """The managers of an object's entries; None when an entry is malformed."""
    if not entries:
        return {}
    if validate_entries(entries):
        return None
    out: Managers = {}
    for entry in entries:
        manager = Manager(
            entry.get("manager", ""),
            entry["operation"],
            entry["apiVersion"],
            entry.get("subresource", ""),
            entry.get("time"),
            entry.get("fieldsV1") or {},
        )
        out[manager.identity] = manager
    return out


def _place(manager: Manager) -> tuple[str, str, str, str, str]:
    return (manager.operation, manager.time or "", manager.name, manager.version, manager.subresource)


def encode_managers(managers: Managers) -> list[Object]:
    """The entries in the order in which they are kept."""
    if len(managers) == 1:
        return [manager.encode() for manager in managers.values()]
    return [manager.encode() for manager in sorted(managers.values(), key=_place)]


def is_reset(metadata: Object) -> bool:
    """Whether a writer asks to forget all managers: an empty list, or one empty entry."""
    entries = metadata.get("managedFields")
    if entries is None:
        return False
    if not entries:
        return True
    return len(entries) == 1 and not any(entries[0].values())


def cap(managers: Managers) -> None:
    """Merge the oldest update managers of a version into one when there are too many."""
    updaters = [manager for manager in managers.values() if manager.operation == "Update"]
    size = len(updaters)
    if size <= MAX_UPDATERS:
        return
    updaters.sort(key=lambda manager: (manager.time or "", manager.name))
    first: dict[str, Manager] = {}
    for manager in updaters:
        if size <= MAX_UPDATERS:
            return
        kept = first.get(manager.version)
        if kept is None:
            first[manager.version] = manager
            continue
        bucket = Manager(ANCIENT, "Update", manager.version, "", manager.time, {})
        found = managers.get(bucket.identity)
        if found is None:
            managers.pop(kept.identity, None)
            found = managers[bucket.identity] = bucket
            bucket.set = kept.set
        if manager is found:
            continue
        found.set = union(manager.set, found.set)
        found.time = manager.time
        managers.pop(manager.identity, None)
        size -= 1


def keep_timestamps(new: Object, old: Object) -> None:
    """Put back the old entries when nothing but their times differs, so that a write that changes
    nothing stays one. `new` is changed."""
    mine = new["metadata"].get("managedFields")
    theirs = old["metadata"].get("managedFields")
    if not mine or not theirs or len(mine) != len(theirs) or mine == theirs:
        return
    for a, b in zip(mine, theirs, strict=True):
        if a["fieldsV1"] != b.get("fieldsV1") or any(
            a.get(key) != b.get(key) for key in ("manager", "operation", "apiVersion", "subresource")
        ):
            return
    new["metadata"]["managedFields"] = theirs
    if new != old:
        new["metadata"]["managedFields"] = mine
