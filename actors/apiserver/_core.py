"""What the verbs share: one API server's store, table of resources, clock and rules.

Owns the wiring of the room's parts and the look-ups that admission and subresources use. It holds
no request: the verb modules (`_read`, `_write`, `_delete`, ...) take it as their first argument.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

import orjson

from actors.apiserver._addresses import Addresses
from actors.apiserver._cache import Entry
from actors.apiserver._config import ApiServerConfig
from actors.apiserver._resources import Resources, Served
from actors.apiserver._store import Store, Superseded
from actors.apiserver._watch import Watches
from actors.apiserver.admission import Chain, chosen_plugins
from actors.apiserver.flowcontrol import FlowControl
from protocol.api import UserInfo

if TYPE_CHECKING:
    from actors.apiserver._allocators import ClusterAllocators
    from actors.apiserver._authz import Authorizer
    from actors.apiserver.strategies import Context
    from actors.kernel import Actor, Ref
    from protocol.message import Address
    from protocol.schema import Schema

__all__ = ["Answer", "Core", "copy"]

Object = dict[str, Any]


def copy(obj: Object) -> Object:
    """A deep copy that its owner may change."""
    copied: Object = orjson.loads(orjson.dumps(obj))
    return copied


class Answer:
    """What a verb answers: an entry of the cache, an object made for the occasion, or a list."""

    __slots__ = ("code", "entry", "list", "object", "served")

    def __init__(
        self,
        served: Served | None = None,
        entry: Entry | None = None,
        obj: Object | None = None,
        code: int = 200,
        items: Any = None,
    ) -> None:
        self.served = served
        self.entry = entry
        self.object = obj
        self.code = code
        self.list = items

    async def prepare(self) -> None:
        """Have everything at hand that is shown, where a webhook converts. Raises `StatusError` (500)."""
        if self.list is not None and self.list.served.webhook is not None:
            self.list.bucket = None  # its content may go on while the webhook is asked
            await self.list.served.prepare(self.list.entries)
        elif self.entry is not None and self.served is not None and self.served.webhook is not None:
            await self.served.prepare([self.entry])

    def json(self) -> bytes:
        """The JSON of the object, encoded once per revision for entries."""
        if self.entry is not None:
            assert self.served is not None
            return self.entry.view(self.served.kind.api_version, self.served.from_storage).wire
        if self.list is not None:
            encoded: bytes = self.list.json()
            return encoded
        return orjson.dumps(self.object)

    def value(self) -> Object:
        """The object; frozen when it comes from the cache."""
        if self.entry is not None:
            assert self.served is not None
            return self.entry.view(self.served.kind.api_version, self.served.from_storage).object
        if self.list is not None:
            made: Object = self.list.object()
            return made
        assert self.object is not None
        return self.object


class Core:
    """The parts of one API server. Implements `admission.Lookup`."""

    def __init__(self, actor: Actor, etcd: Ref, config: ApiServerConfig) -> None:
        from actors.apiserver._allocators import ClusterAllocators
        from actors.apiserver._authz import Authorizer

        self.actor = actor
        self.config = config
        self.clock = actor.clock
        self.random = actor.random
        self._audit_random = type(actor.random)(repr(actor.random.getstate()[1][:4]))
        self.watches = Watches()
        self.store = Store(actor, etcd, config.history, config.exclusive, config.debug)
        self.store.on_new_cache = self.watches.attach
        self.store.on_reset = self._reset
        self.resources = Resources(self.store, config.minor)
        self.chain = Chain(
            config.admission
            if config.admission is not None
            else chosen_plugins(config.admission_configuration, config.enable_admission, config.disable_admission)
        )
        self.authorizer: Authorizer = Authorizer(self)
        self.allocators: ClusterAllocators = ClusterAllocators(self)
        self.addresses = Addresses(self)
        self.flow = FlowControl(self, config.max_requests_inflight + config.max_mutating_requests_inflight)
        self.nodes: dict[str, Address] = {}
        """Where each node's kubelet can be asked (logs, exec, ...)."""
        self.server: Any = None
        """The actor, for the verbs that start others."""
        self.discovery: Any = None
        self.definitions: Any = None
        """What follows the definitions of custom resources (`actors.apiserver.crd`)."""
        self.openapi: Any = None
        self.openapi_generation = 0
        self.openapi_packed: dict[str, tuple[bytes, bytes]] = {}
        self._schema: Schema | None = None
        self._tokens: Any = None
        self.issuers: Any = None
        """Other issuers of tokens (`actors.apiserver._issuers.Issuers`); None: only this server's own count."""

    @property
    def schema(self) -> Schema:
        """The types of the served minor version."""
        if self._schema is None:
            from protocol import schema

            self._schema = schema.load(self.config.minor)
        return self._schema

    def _reset(self) -> None:
        self.watches.close_all("storage was read anew")
        self.authorizer.forget()
        self.flow.forget()
        self.allocators.forget()
        self.server.restock()

    # --- admission.Lookup -------------------------------------------------------------------

    def get(self, group: str, resource: str, namespace: str, name: str) -> Object | None:
        """The stored object, or None."""
        entry = self.store.cache(group, resource).get(namespace, name)
        return entry.object if entry is not None else None

    def list(self, group: str, resource: str, namespace: str = "") -> Iterable[Object]:
        """All stored objects of a resource in key order."""
        bucket = self.store.cache(group, resource).bucket(namespace)
        return [entry.object for entry in bucket.ordered()] if bucket is not None and bucket.entries else ()

    def allowed(
        self, user: UserInfo, verb: str, group: str, resource: str, namespace: str = "", name: str = "",
        subresource: str = "",
    ) -> bool:
        """Whether the authorizer lets `user` do this."""
        return self.authorizer.allowed(user, verb, group, resource, namespace, name, subresource)

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.clock.now()

    def ask(self, address: Any, message: Any, timeout: float | None = None) -> Awaitable[Any]:
        """Ask another actor."""
        return self.actor.ask(address, message, timeout)

    async def update(
        self, group: str, resource: str, namespace: str, name: str,
        change: Callable[[Object], Object | None], subresource: str = "",
    ) -> Object | None:
        """Change a stored object with optimistic concurrency; see `admission.Lookup`."""
        cache = self.store.cache(group, resource)
        while True:
            entry = cache.get(namespace, name)
            if entry is None:
                return None
            changed = change(copy(entry.object))
            if changed is None:
                return entry.object
            try:
                return (await self.store.update(cache, entry, changed)).object
            except Superseded:
                continue

    # --- tokens ------------------------------------------------------------------------------

    @property
    def tokens(self) -> Any:
        """Service account tokens; made at first need, because that loads cryptography."""
        if self._tokens is None:
            from actors.apiserver._tokens import Tokens

            self._tokens = Tokens(self)
        return self._tokens

    # --- helpers ----------------------------------------------------------------------------

    def context(self, user: UserInfo, dry_run: bool, allocators: Any = None) -> Context:
        """What strategies may ask while they prepare a write."""
        from actors.apiserver.strategies import Context, NoAllocators

        return Context(
            now=self.clock.now(),
            user=user,
            random=self.random,
            minor=self.config.minor,
            allocators=allocators if allocators is not None else NoAllocators(),
            dry_run=dry_run,
        )

    def uid(self) -> str:
        """A random (version 4) UUID from the system's generator."""
        return _uuid(self.random.getrandbits(128))

    def audit_id(self) -> str:
        """A UUID for a request; how many requests there are changes no object's UID."""
        return _uuid(self._audit_random.getrandbits(128))


def _uuid(bits: int) -> str:
    text = f"{bits & ~(0xF000 << 64) & ~(0xC000 << 48) | (4 << 76) | (8 << 60):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
