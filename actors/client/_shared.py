"""One informer per resource for all controllers of a process.

An `InformerActor` keeps the store of one resource and tells its subscribers each batch of changes.
The store and the list of subscribers live in a `SharedInformer`, which outlives a crash of the
actor: its next incarnation lists, and tells the difference. The store is read by reference, by
actors of the same component only; it is never older than the batches told, and may be newer.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.client._client import Client, ClientActor, resource
from actors.client._informer import Change, Informer
from actors.client._store import Store
from actors.kernel import Actor, Child, Ref, Terminated, handles
from protocol.api import Resource
from protocol.message import Address, Message

__all__ = ["Changes", "InformerActor", "SharedInformer", "SharedInformers", "Subscribe"]


class Changes(Message, frozen=True):
    """Told to subscribers: a batch of `(old, new)` of one resource, in the order of revisions.

    The first batch after `Subscribe` holds every object as `(None, object)`. `synced` is true once
    the store has been filled by a list.
    """

    resource: Resource
    changes: tuple[Change, ...]
    synced: bool


class Subscribe(Message, frozen=True):
    """Have `Changes` told to `subscriber` from now on. Not answered."""

    subscriber: Address


class _Publish(Message, frozen=True):
    """Told to itself: tell the subscribers what has been collected."""


class SharedInformer:
    """What outlives the informer actor of one resource: store, subscribers, address, and what the
    store has but the subscribers have not been told."""

    def __init__(self, what: Resource) -> None:
        self.resource = what
        self.store = Store()
        self.synced = False
        self.subscribers: dict[str, Address] = {}
        self.ref: Ref | None = None
        self.informer: Informer | None = None
        self.untold: list[Change] = []

    @property
    def revision(self) -> int:
        """The revision that the store has reached; 0 as long as a restarted informer has not listed."""
        text = "" if self.informer is None else self.informer.resource_version
        return int(text) if text.isdigit() else 0

    def subscribe(self, actor: Actor) -> None:
        """Have `Changes` told to `actor`, first of all one with everything there is now."""
        assert self.ref is not None
        self.ref.tell(Subscribe(actor.ref))


class InformerActor(ClientActor):
    """Lists and watches one resource, and tells the changes to whoever subscribed."""

    def __init__(self, shared: SharedInformer, make_client: Callable[[Actor], Client]) -> None:
        super().__init__()
        self.shared = shared
        self.client = make_client(self)
        self.informer = Informer(
            self.client, shared.resource, store=shared.store, on_batch=self._collect
        )
        shared.informer = self.informer
        self._publishing = False

    def on_start(self) -> None:
        self.informer.start()
        if self.shared.untold:
            self._collect([])  # the store has them, so that no list will show a difference

    @handles(Subscribe)
    def subscribe(self, message: Subscribe) -> None:
        subscriber = message.subscriber
        if subscriber.actor_urn not in self.shared.subscribers and isinstance(subscriber, Ref):
            self.monitor(subscriber)
        self.shared.subscribers[subscriber.actor_urn] = subscriber
        everything = tuple((None, obj) for obj in self.shared.store)
        subscriber.tell(Changes(self.shared.resource, everything, self.shared.synced))

    @handles(Terminated)
    def unsubscribe(self, message: Terminated) -> None:
        self.shared.subscribers.pop(message.actor_urn, None)

    def _collect(self, changes: list[Change]) -> None:
        """Publish after the mail that is here now: in a burst, many changes are told at once."""
        self.shared.untold += changes
        if not self._publishing:
            self._publishing = True
            self.ref.tell(_Publish())

    @handles(_Publish)
    def publish(self, _: _Publish) -> None:
        self._publishing = False
        self.shared.synced = True
        changes, self.shared.untold = self.shared.untold, []
        message = Changes(self.shared.resource, tuple(changes), True)
        for subscriber in self.shared.subscribers.values():
            subscriber.tell(message)


class SharedInformers:
    """The informers of a component, made when first asked for, as children of `owner`."""

    def __init__(self, owner: Actor, make_client: Callable[[Actor], Client]) -> None:
        self._owner = owner
        self._make_client = make_client
        self._informers: dict[Resource, SharedInformer] = {}

    def of(self, what: str | Resource) -> SharedInformer:
        """The informer of a resource. Call it in the owner's context."""
        wanted = resource(what)
        shared = self._informers.get(wanted)
        if shared is None:
            shared = self._informers[wanted] = SharedInformer(wanted)
            name = f"informer-{wanted.resource}" + (f".{wanted.group}" if wanted.group else "")
            make_client = self._make_client
            informer = shared

            shared.ref = self._owner.spawn(Child(name, lambda: InformerActor(informer, make_client)))
        return shared

    def store(self, what: str | Resource) -> Store:
        """The store of a resource."""
        return self.of(what).store

    def all(self) -> list[SharedInformer]:
        """Those made so far."""
        return list(self._informers.values())
