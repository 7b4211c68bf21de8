"""The built-in kinds of Kubernetes 1.31 to 1.37, and how to find one.

`KINDS` is the whole table, every minor version together; `served(minor)` is what one version
serves. The look-ups take a minor version (36 when not given) and answer None for what that version
does not serve. Custom kinds are not here: they are objects, and the API server's.

    by_resource("apps", "v1", "deployments").kind == "Deployment"
    by_kind("", "v1", "Pod").namespaced
    resource_for("deploy").resource == "deployments"
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from protocol.kinds._kind import ALL_VERBS, FIRST_MINOR, LAST_MINOR, Kind, Subresource
from protocol.kinds._table import GROUP_ORDER, KINDS

__all__ = [
    "ALL_VERBS",
    "DEFAULT_MINOR",
    "FIRST_MINOR",
    "GROUP_ORDER",
    "KINDS",
    "LAST_MINOR",
    "Kind",
    "Subresource",
    "by_kind",
    "by_resource",
    "by_store",
    "groups",
    "kinds_of",
    "resource_for",
    "served",
    "versions_of",
]

DEFAULT_MINOR = 36


class _Index:
    """The look-up tables of one minor version, built once."""

    def __init__(self, minor: int) -> None:
        self.kinds = tuple(kind for kind in KINDS if kind.served_by(minor))
        self.by_resource = {(k.group, k.version, k.resource): k for k in self.kinds}
        self.by_kind = {(k.group, k.version, k.kind): k for k in self.kinds}
        self.by_store: dict[tuple[str, str], Kind] = {}
        self.by_word: dict[str, Kind] = {}
        for kind in self.kinds:
            if kind.version == kind.storage_version and kind.group == kind.storage_group:
                self.by_store.setdefault(kind.store, kind)
            for word in _words(kind):
                self.by_word.setdefault(word, kind)
        for kind in self.kinds:
            if kind.stored and kind.group == kind.storage_group:
                self.by_store.setdefault(kind.store, kind)


def _words(kind: Kind) -> Iterable[str]:
    """Names by which kubectl knows a kind, as typed in lower case."""
    for name in (kind.resource, kind.singular, kind.kind.lower(), *kind.short_names):
        yield name
        if kind.group:
            yield f"{name}.{kind.group}"
        yield f"{name}.{kind.version}.{kind.group}"


@cache
def _index(minor: int) -> _Index:
    return _Index(minor)


def served(minor: int = DEFAULT_MINOR) -> tuple[Kind, ...]:
    """All kinds that Kubernetes 1.`minor` serves, in discovery's order."""
    return _index(minor).kinds


def by_resource(
    group: str, version: str, resource: str, minor: int = DEFAULT_MINOR
) -> Kind | None:
    """The kind behind a group, version and plural name: how URLs name it."""
    return _index(minor).by_resource.get((group, version, resource))


def by_kind(group: str, version: str, kind: str, minor: int = DEFAULT_MINOR) -> Kind | None:
    """The kind behind a group, version and kind name: how objects name it."""
    return _index(minor).by_kind.get((group, version, kind))


def by_store(group: str, resource: str, minor: int = DEFAULT_MINOR) -> Kind | None:
    """The entry in whose version objects of a store are kept here: (`""`, "events") is core's Event."""
    return _index(minor).by_store.get((group, resource))


def resource_for(word: str, minor: int = DEFAULT_MINOR) -> Kind | None:
    """The kind that kubectl means by a word: plural, singular, kind, short name, with or without
    `.group` or `.version.group`. Where several groups know it, the first of discovery wins."""
    return _index(minor).by_word.get(word.lower())


def groups(minor: int = DEFAULT_MINOR) -> tuple[str, ...]:
    """The served groups in discovery's order, the core group first as the empty string."""
    present = {kind.group for kind in served(minor)}
    return tuple(group for group in GROUP_ORDER if group in present)


def versions_of(group: str, minor: int = DEFAULT_MINOR) -> tuple[str, ...]:
    """The served versions of a group, the preferred one first."""
    return tuple(dict.fromkeys(kind.version for kind in served(minor) if kind.group == group))


def kinds_of(group: str, version: str, minor: int = DEFAULT_MINOR) -> tuple[Kind, ...]:
    """The kinds of one group and version, in the order in which discovery lists resources."""
    return tuple(k for k in served(minor) if k.group == group and k.version == version)
