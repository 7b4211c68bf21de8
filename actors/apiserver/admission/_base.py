"""What an admission plugin is and how the chain runs plugins.

Owns the interface between the request pipeline and admission: the attributes of one write, the
two phases (mutate, then validate) and their order. It must never read the store itself: a plugin
reads through `Lookup`, which the API server provides.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from protocol.api import UserInfo

__all__ = ["CONNECT", "CREATE", "DELETE", "UPDATE", "Attributes", "Chain", "Lookup", "Plugin"]

CREATE, UPDATE, DELETE, CONNECT = "CREATE", "UPDATE", "DELETE", "CONNECT"

Object = dict[str, Any]


class Lookup(Protocol):
    """What plugins may ask of the API server. Reads come from the watch cache: never copy-safe,
    never to be changed."""

    random: random.Random
    """The API server's seeded generator, for names that plugins make."""
    schema: Any
    """The types of the built-in kinds (`protocol.schema.Schema`)."""

    def get(self, group: str, resource: str, namespace: str, name: str) -> Object | None:
        """The stored object (storage version), or None."""

    def list(self, group: str, resource: str, namespace: str = "") -> Iterable[Object]:
        """All stored objects of a resource, in key order; namespace "" means all."""

    def allowed(
        self, user: UserInfo, verb: str, group: str, resource: str, namespace: str = "", name: str = "",
        subresource: str = "",
    ) -> bool:
        """Whether the authorizer lets `user` do this."""

    def now(self) -> float:
        """Seconds since the epoch, of the system's clock."""

    def ask(self, address: Any, message: Any, timeout: float | None = None) -> Awaitable[Any]:
        """Ask another actor (webhooks, for instance)."""

    async def update(
        self, group: str, resource: str, namespace: str, name: str,
        change: Callable[[Object], Object | None], subresource: str = "",
    ) -> Object | None:
        """Read, `change` a private copy and write it back with optimistic concurrency, straight to
        the store (no admission); retried on conflict. `change` returns None to leave it alone.
        Used for quota accounting. None when there is no such object."""


class Attributes:
    """One write on its way into the store, as admission sees it.

    `object` is private to the request and mutable in `admit`; in `validate` it is what will be
    stored. `old_object` is frozen. `kind` is the table entry of the resource at the requested
    version (`protocol.kinds.Kind`). `options` are the request's query options (dryRun, ...).
    """

    __slots__ = (
        "audit_annotations",
        "dry_run",
        "extra",
        "kind",
        "lookup",
        "name",
        "namespace",
        "object",
        "old_object",
        "on_failure",
        "operation",
        "options",
        "subresource",
        "user",
        "warnings",
    )

    def __init__(
        self,
        operation: str,
        kind: Any,
        namespace: str,
        name: str,
        subresource: str,
        object: Object | None,
        old_object: Object | None,
        user: UserInfo,
        lookup: Lookup,
        dry_run: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.operation = operation
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.subresource = subresource
        self.object = object
        self.old_object = old_object
        self.user = user
        self.dry_run = dry_run
        self.options = options or {}
        self.lookup = lookup
        self.warnings: list[str] = []
        self.audit_annotations: dict[str, str] = {}
        self.extra: dict[str, Any] = {}
        """For a plugin's notes between its two phases, under its own name."""
        self.on_failure: list[Callable[[], None]] = []
        """Called in reverse order when the write fails after admission (to return a reservation)."""

    @property
    def group(self) -> str:
        """The API group of the resource."""
        return str(self.kind.group)

    @property
    def resource(self) -> str:
        """The plural resource name."""
        return str(self.kind.resource)


class Plugin:
    """One admission plugin. Override `handles` and one or both phases.

    A phase returns None, or an awaitable when it must wait. It refuses by raising `StatusError`
    (usually `status.forbidden`). A plugin keeps no state that the store does not hold, except
    caches.
    """

    name = "Plugin"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """Whether this plugin wants such writes; asked once per combination and remembered."""
        return True

    def admit(self, attributes: Attributes) -> Awaitable[None] | None:
        """Change `attributes.object`."""
        return None

    def validate(self, attributes: Attributes) -> Awaitable[None] | None:
        """Accept or refuse what would be stored."""
        return None


class Chain:
    """Plugins in order. All `admit`s run before defaulting is repeated and validation happens, all
    `validate`s after it."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self.plugins = tuple(plugins)
        self._admitters: dict[tuple[str, str, str, str], tuple[Plugin, ...]] = {}
        self._validators: dict[tuple[str, str, str, str], tuple[Plugin, ...]] = {}

    def admitters(self, operation: str, group: str, resource: str, subresource: str) -> tuple[Plugin, ...]:
        """The plugins whose mutating phase concerns such a write."""
        return self._select(self._admitters, "admit", (operation, group, resource, subresource))

    def validators(self, operation: str, group: str, resource: str, subresource: str) -> tuple[Plugin, ...]:
        """The plugins whose validating phase concerns such a write."""
        return self._select(self._validators, "validate", (operation, group, resource, subresource))

    def _select(
        self, known: dict[tuple[str, str, str, str], tuple[Plugin, ...]], phase: str, key: tuple[str, str, str, str]
    ) -> tuple[Plugin, ...]:
        selected = known.get(key)
        if selected is None:
            selected = tuple(
                p for p in self.plugins if getattr(type(p), phase) is not getattr(Plugin, phase) and p.handles(*key)
            )
            known[key] = selected
        return selected

    async def admit(self, attributes: Attributes) -> None:
        """Run the mutating phase."""
        key = (attributes.operation, attributes.group, attributes.resource, attributes.subresource)
        for plugin in self.admitters(*key):
            waiting = plugin.admit(attributes)
            if waiting is not None:
                await waiting

    async def validate(self, attributes: Attributes) -> None:
        """Run the validating phase."""
        key = (attributes.operation, attributes.group, attributes.resource, attributes.subresource)
        for plugin in self.validators(*key):
            waiting = plugin.validate(attributes)
            if waiting is not None:
                await waiting
