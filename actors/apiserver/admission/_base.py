"""What an admission plugin is and how the chain runs plugins.

Owns the interface between the request pipeline and admission: the attributes of one write, the
two phases (mutate, then validate) and their order. It must never read the store itself: a plugin
reads through `Lookup`, which the API server provides.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Any, Protocol

import orjson

from protocol.api import UserInfo

__all__ = [
    "CONNECT",
    "CREATE",
    "DELETE",
    "UPDATE",
    "Attributes",
    "Chain",
    "Lookup",
    "Plugin",
    "Reinvocation",
    "same",
]

CREATE, UPDATE, DELETE, CONNECT = "CREATE", "UPDATE", "DELETE", "CONNECT"

Object = dict[str, Any]


class Lookup(Protocol):
    """What plugins may ask of the API server. Reads come from the watch cache: never copy-safe,
    never to be changed."""

    random: random.Random
    """The API server's seeded generator, for names that plugins make."""
    actor: Any
    """The API server itself, for what must wait or needs actors of its own."""
    authorizer: Any
    """Who may do what (`actors.apiserver._authz.Authorizer`)."""
    resources: Any
    """What is served, in which versions (`actors.apiserver._resources.Resources`)."""

    @property
    def schema(self) -> Any:
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
        "reinvoke",
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
        self.reinvoke = False
        """Set by a plugin that changed the object on a user's behalf: all mutating plugins run once more."""
        self.on_failure: list[Callable[[], None]] = []
        """Called in reverse order when the write fails after admission (to return a reservation)."""

    def report_to(self, request: Any) -> None:
        """What plugins say to the client and to the audit log goes to the request as they say it: it
        is told also when the write is refused afterwards."""
        self.warnings = request.warnings
        self.audit_annotations = request.annotations

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


def same(left: Object | None, right: Object | None) -> bool:
    """Whether two objects are equal."""
    return left is right or left == right


class Reinvocation:
    """What one plugin remembers of its first turn at a write, for the second.

    When a policy or webhook changes an object, all mutating plugins run once more, so that they see
    what it added. In that second turn only those policies and webhooks run that ask for it and that
    ran before the last change.
    """

    def __init__(self) -> None:
        self.second = False
        self._eligible: set[Hashable] = set()
        self._due: set[Hashable] = set()
        self._output: bytes | None = None

    @classmethod
    def of(cls, attributes: Attributes, plugin: str) -> Reinvocation:
        """The memory of a plugin about this write, as its turn begins."""
        found = attributes.extra.get(plugin)
        if found is None:
            found = attributes.extra[plugin] = cls()
            return found
        assert isinstance(found, Reinvocation)
        found.second = True
        if found._output != _encoded(attributes.object):
            found._due |= found._eligible
        return found

    def wants(self, key: Hashable) -> bool:
        """Whether a policy or webhook is to run in this turn."""
        return not self.second or key in self._due

    def ran(self, attributes: Attributes, key: Hashable, again: bool, changed: bool) -> None:
        """It ran; `again`: it may run in a second turn."""
        self._due.discard(key)
        if changed:
            self._due |= self._eligible
            attributes.reinvoke = True
        if again:
            self._eligible.add(key)

    def done(self, attributes: Attributes) -> None:
        """The turn ends."""
        self._output = _encoded(attributes.object)


def _encoded(obj: Object | None) -> bytes:
    return orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)


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
        if not attributes.reinvoke:
            return
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
