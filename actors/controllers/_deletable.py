"""Which resources there are to be deleted: the built-in ones and those of custom kinds.

Owns the choice of one version per resource, so that each object is seen once. Events are left out
where owners are concerned: they own nothing and nobody. It asks no server; custom kinds are read
from their definitions.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from protocol.api import Resource
from protocol.kinds import DEFAULT_MINOR, Kind, by_store, served
from protocol.objects import Object, condition_status, spec

__all__ = ["Deletable", "built_in", "custom", "for_kind"]

REQUIRED = frozenset(("delete", "list", "watch"))


class Deletable(NamedTuple):
    """A resource with its kind's name, its scope, and whether it can be deleted as a whole."""

    resource: Resource
    kind: str
    namespaced: bool
    collection: bool = True


def _of(kind: Kind) -> Deletable:
    resource = Resource(kind.group, kind.version, kind.resource)
    return Deletable(resource, kind.kind, kind.namespaced, "deletecollection" in kind.verbs)


@lru_cache(maxsize=16)
def built_in(minor: int = DEFAULT_MINOR) -> tuple[Deletable, ...]:
    """All built-in resources that are kept, can be listed, watched and deleted, each once."""
    found: dict[tuple[str, str], Kind] = {}
    for kind in served(minor):
        if kind.stored and REQUIRED.issubset(kind.verbs):
            found.setdefault(kind.store, by_store(*kind.store, minor) or kind)
    return tuple(_of(kind) for kind in found.values())


def custom(definitions: Iterable[Object]) -> list[Deletable]:
    """The resources of established custom kinds, in the version that they are stored in."""
    found = []
    for definition in definitions:
        if condition_status(definition, "Established") != "True":
            continue
        wanted = spec(definition)
        versions = [v for v in wanted.get("versions") or () if v.get("served")]
        if not versions:
            continue
        chosen = next((v for v in versions if v.get("storage")), versions[0])
        names = wanted.get("names") or {}
        resource = Resource(wanted.get("group", ""), chosen["name"], names.get("plural", ""))
        found.append(Deletable(resource, names.get("kind", ""), wanted.get("scope") == "Namespaced"))
    return found


def for_kind(
    api_version: str, kind: str, definitions: Iterable[Object], minor: int = DEFAULT_MINOR
) -> Deletable | None:
    """The resource behind an apiVersion and kind, as an owner reference names it; None if there is
    no such kind."""
    group, _, version = api_version.rpartition("/")
    known = _built_in_kind(group, version, kind, minor)
    if known is not None:
        return known
    for definition in definitions:
        wanted = spec(definition)
        if wanted.get("group") == group and (wanted.get("names") or {}).get("kind") == kind:
            if any(v.get("name") == version and v.get("served") for v in wanted.get("versions") or ()):
                names = wanted["names"]
                return Deletable(Resource(group, version, names["plural"]), kind, wanted.get("scope") == "Namespaced")
    return None


@lru_cache(maxsize=1024)
def _built_in_kind(group: str, version: str, kind: str, minor: int) -> Deletable | None:
    for entry in served(minor):
        if (entry.group, entry.version, entry.kind) == (group, version, kind):
            return _of(entry)
    return None
