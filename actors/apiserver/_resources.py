"""What is served: resources by group, version and name, each with its strategy, type and store.

Owns the table that requests are routed by. Built-in kinds come from `protocol.kinds`; custom ones
are added and removed while the server runs. It must never look at objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from actors.apiserver._cache import Entry, ResourceCache
from actors.apiserver._conversion import converter
from actors.apiserver._store import Store
from protocol import kinds
from protocol.kinds import Kind

if TYPE_CHECKING:
    from actors.apiserver.strategies import Strategy

__all__ = ["Resources", "Served"]

Object = dict[str, Any]
Convert = Callable[[Object], Object]


class Served:
    """A resource in one served version.

    `to_storage` and `from_storage` are None when this is the version that is stored.
    """

    __slots__ = (
        "_storage_strategy",
        "_strategy",
        "cache",
        "custom",
        "from_storage",
        "kind",
        "minor",
        "qualified",
        "storage_kind",
        "to_storage",
        "webhook",
    )

    def __init__(
        self,
        kind: Kind,
        cache: ResourceCache,
        storage_kind: Kind | None = None,
        strategy: Strategy | None = None,
        to_storage: Convert | None = None,
        from_storage: Convert | None = None,
        custom: Any = None,
        webhook: Any = None,
        minor: int = 36,
    ) -> None:
        self.kind = kind
        self.minor = minor
        self.cache = cache
        self.storage_kind = storage_kind or kind
        self.to_storage = to_storage
        self.from_storage = from_storage
        self.custom = custom
        """For a custom resource: a `CustomResource` (see `_custom`); None for built-in kinds."""
        self.webhook = webhook
        """Converts where that needs a service of the user's (`crd._conversion`); else None."""
        self.qualified = kind.qualified_resource
        self._strategy = strategy
        self._storage_strategy = strategy

    @property
    def strategy(self) -> Strategy:
        """Rules of the kind in this version (defaults, columns)."""
        if self._strategy is None:
            from actors.apiserver.strategies import strategy_for

            self._strategy = strategy_for(self.kind, self.minor)
        return self._strategy

    @property
    def storage_strategy(self) -> Strategy:
        """Rules of the kind for the stored version (preparation, validation)."""
        if self._storage_strategy is None:
            from actors.apiserver.strategies import strategy_for

            own = self.strategy
            self._storage_strategy = own if own.rules_of_request else strategy_for(self.storage_kind, self.minor)
        return self._storage_strategy

    def stored(self, obj: Object) -> Object:
        """An object of this version in the form in which it is checked: the stored version, unless a
        webhook converts (`finished` does that, when all else is done)."""
        return obj if self.to_storage is None or self.webhook is not None else self.to_storage(obj)

    async def finished(self, obj: Object) -> Object:
        """A checked object as it is to be stored. Raises `StatusError` (500) when a webhook fails."""
        if self.webhook is None:
            return obj
        stored: Object = await self.webhook.stored(obj)
        return stored

    async def prepare(self, entries: Iterable[Entry]) -> None:
        """Have entries in this version at hand before they are shown. Raises `StatusError` (500)."""
        if self.webhook is not None:
            await self.webhook.prepare(self, entries)

    def key(self, namespace: str, name: str) -> str:
        """The key below the resource's prefix."""
        return f"{namespace}/{name}" if self.kind.namespaced else name


class Resources:
    """The served resources of one API server."""

    def __init__(self, store: Store, minor: int) -> None:
        self.store = store
        self.minor = minor
        self._served: dict[tuple[str, str, str], Served] = {}
        self._by_kind: dict[tuple[str, str, str], Served] = {}
        self.generation = 0
        """Grows with every change of what is served; discovery's ETags follow it."""
        self.remote: dict[tuple[str, str], list[Object]] = {}
        """What other servers serve: by group and version, the entries of an APIResourceList."""
        for kind in kinds.served(minor):
            self._add_builtin(kind)

    def _add_builtin(self, kind: Kind) -> None:
        storage = kinds.by_store(kind.storage_group, kind.resource, self.minor) or kind
        self._put(
            Served(
                kind,
                self.store.cache(kind.storage_group, kind.resource),
                storage,
                to_storage=converter(kind.group, kind.kind, kind.api_version, storage.api_version),
                from_storage=converter(kind.group, kind.kind, storage.api_version, kind.api_version),
                minor=self.minor,
            )
        )

    def _put(self, served: Served) -> None:
        kind = served.kind
        self._served[kind.group, kind.version, kind.resource] = served
        self._by_kind[kind.group, kind.version, kind.kind] = served

    def add(self, served: Served) -> None:
        """Serve a custom resource from now on (replacing an earlier one of the same name)."""
        self._put(served)
        self.generation += 1

    def set_remote(self, remote: dict[tuple[str, str], list[Object]]) -> None:
        """What other servers serve, from now on."""
        if remote != self.remote:
            self.remote = remote
            self.generation += 1

    def remove(self, group: str, version: str, resource: str) -> None:
        """Serve it no more."""
        served = self._served.pop((group, version, resource), None)
        if served is not None:
            self._by_kind.pop((group, version, served.kind.kind), None)
            self.generation += 1

    def get(self, group: str, version: str, resource: str) -> Served | None:
        """The resource behind a URL, or None."""
        return self._served.get((group, version, resource))

    def by_kind(self, group: str, version: str, kind: str) -> Served | None:
        """The resource of a kind, or None."""
        return self._by_kind.get((group, version, kind))

    def any_version(self, group: str, resource: str) -> Served | None:
        """The resource in its preferred served version."""
        for (served_group, _, name), served in self._served.items():
            if served_group == group and name == resource:
                return served
        return None

    def builtin_group(self, group: str) -> bool:
        """Whether a built-in kind of this group is served."""
        return any(s.kind.group == group and s.custom is None for s in self._served.values())

    def __iter__(self) -> Iterator[Served]:
        return iter(self._served.values())
