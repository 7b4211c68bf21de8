"""The base of every controller: changes make keys, keys are reconciled.

Owns the machinery only: subscriptions to shared informers, the work queue, N reconciles at a time
but never two of one key, back-off after failures. A controller states which resources it watches
and what a change of each means (usually: which key to look at), and says in `reconcile(key)`, top
to bottom, how to make the world fit one object. Controllers are level-triggered: `reconcile` looks
at what is, never at what happened, and may run at any time, any number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from actors.client import (
    EXPIRY_S,
    Changes,
    Client,
    ClientActor,
    EventRecorder,
    Expectations,
    SharedInformers,
    Store,
    UidExpectations,
    WorkQueue,
    resource,
)
from actors.controllers._options import Options
from actors.controllers._ownwrites import OwnWrites
from actors.kernel import Actor, Ref, Timer, handles
from protocol.api import Resource, StatusError, UserInfo
from protocol.message import Message
from protocol.objects import Object, name, namespace, resource_version, with_status
from protocol.objects import key as object_key

__all__ = ["Context", "Controller", "Options", "enqueue_own", "outcome_unknown"]

OnChange = Callable[["Object | None", "Object | None"], None]

CONTROLLER_USER = UserInfo(
    "system:kube-controller-manager", ("system:masters", "system:authenticated")
)
USER_AGENT = "kube-controller-manager"
KEYS_PER_TURN = 16
SETTLE_S = 0.5
CATCH_UP_S = 150.0
CATCH_UP_PAUSE_S = 0.25
LAG_S = 0.25  # a store that shows an own write wakes its readers by itself: this is for the rest
UNKNOWN_S = 5.0  # until then the store shows what became of a request whose answer was lost


@dataclass(frozen=True)
class Context:
    """What a controller is given: the API server's address, the shared informers, the options."""

    apiserver: Ref
    informers: SharedInformers
    options: Options = field(default_factory=Options)
    user: UserInfo = CONTROLLER_USER
    restarted: bool = False
    workers: int = 0
    """How many keys the controller looks at at a time; 0: as many as it does by default."""

    def client(self, actor: Actor) -> Client:
        """A client bound to `actor`."""
        return Client(actor, self.apiserver, user=self.user, user_agent=USER_AGENT)

    def prepare(self, controller: type[Controller]) -> None:
        """Start the informers that a controller reads; call this in the informers' owner."""
        for what in controller.resources:
            self.informers.of(what)


class _Due(Message, frozen=True):
    """Told to itself: the delay of a key is over."""

    key: str


class Controller(ClientActor):
    """A controller of one kind of object.

    Subclasses set `component` (the event source), `resources` (what they read), `workers` and
    `interval_s` (the least time between two looks at one key, also `interval`); in `__init__`, after
    `super().__init__(context)`, they call `self.on_change(resource, function)`; they write
    `async def reconcile(self, key)`. A `StatusError` there means: try again, with back-off.
    """

    component: ClassVar[str] = ""
    resources: ClassVar[tuple[str, ...]] = ()
    workers: ClassVar[int] = 5
    interval_s: ClassVar[float] = 0.0

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self.options = context.options
        self.client = context.client(self)
        self.recorder = EventRecorder(self.client, self.component)
        self.queue = WorkQueue(
            self._start_timer,
            self.clock.monotonic,
            self._wake,
            interval=self.interval,
        )
        self.own_writes = OwnWrites(
            lambda what: context.informers.of(what).revision, self.clock.monotonic
        )
        self._subscriptions: dict[Resource, list[OnChange]] = {}
        self._unsynced: set[Resource] = {resource(what) for what in self.resources}
        self._running = 0
        self._workers_max = context.workers or self.workers
        self._held = False
        self._settling = False

    # --- for subclasses -------------------------------------------------------------------------

    def store(self, what: str) -> Store:
        """The shared store of a resource that is named in `resources`. Read only."""
        return self.context.informers.store(what)

    def on_change(self, what: str, function: OnChange) -> None:
        """Call `function(old, new)` for each change of a resource that is in `resources`."""
        self._subscriptions.setdefault(resource(what), []).append(function)

    async def reconcile(self, key: str) -> None:
        """Make the world fit the object `key`. Raises `StatusError` to be called again later."""
        raise NotImplementedError

    def interval(self, key: str) -> float:
        """The least time in seconds between two looks at `key`."""
        return self.interval_s

    def synced(self) -> None:
        """Called once, when all stores are filled and before the first reconcile."""

    # --- machinery ------------------------------------------------------------------------------

    def on_start(self) -> Any:
        for what in self.resources:
            self.context.informers.of(what).subscribe(self)
        if self.context.restarted or self.restarts:
            self._settling = True
            self.background(self._settle())

    async def _settle(self) -> None:
        """After a crash nothing is known of what the former life had asked for. Before the first
        reconcile, let that take effect and the stores show it; else it would be done twice."""
        await self.sleep(SETTLE_S)
        for what in self.resources:
            await self._catch_up(what)
        self._settling = False
        self._wake()

    async def _catch_up(self, what: str) -> None:
        """Wait until the store has all that the API server has at this moment. Not for ever, but for
        long enough that an informer whose watch is broken must have noticed."""
        while True:
            try:
                answer = await self.client.list(what)
                break
            except StatusError as error:
                if not outcome_unknown(error) and error.code != 429:
                    return
            await self.sleep(CATCH_UP_PAUSE_S)  # while nobody answers, nothing can be done either
        informer = self.context.informers.of(what)
        revision = int(answer["metadata"].get("resourceVersion") or 0)
        unseen: list[Object] = list(answer.get("items") or ())
        end = self.clock.monotonic() + CATCH_UP_S
        while informer.revision < revision and self.clock.monotonic() < end:
            unseen = [item for item in unseen if not _has(informer.store, item)]
            if not unseen:
                return
            await self.sleep(CATCH_UP_PAUSE_S)

    def expects_nothing(self, expectations: Expectations, key: str) -> bool:
        """Whether `expectations` of `key` are met. If not, look again when they lapse: what came and went
        while a watch was broken is never seen, and no other change need come."""
        if expectations.satisfied(key):
            return True
        self.queue.add_after(key, EXPIRY_S + 1.0)
        return False

    def lags(self, key: str) -> bool:
        """Whether the stores do not show yet what was written for `key`; if so, look again soon."""
        if self.own_writes.shows(key):
            return False
        self.queue.add_after(key, LAG_S)
        return True

    async def write_status(self, what: str, obj: Object, new: Object) -> None:
        """Write the status of a key's own object, once more if it was changed meanwhile."""
        try:
            answer = await self.client.update_status(what, with_status(obj, new))
        except StatusError as error:
            if error.code == 404:
                return
            if error.code != 409:
                raise
            fresh = await self.client.get(what, name(obj), namespace(obj))
            answer = await self.client.update_status(what, with_status(fresh, new))
        self.own_writes.wrote(object_key(obj), what, answer)

    async def lower_later(
        self, expectations: Expectations, key: str, creations: int = 0, uids: Iterable[str] = ()
    ) -> None:
        """Answers were lost: give what was asked for time to be seen, then expect it no more. A
        store that is late by then is waited for: what it does not show would be done again."""
        entry = expectations.current(key)
        await self.sleep(UNKNOWN_S)
        await self._catch_up("pods")
        if expectations.current(key) is not entry:
            return
        if creations:
            expectations.creation_observed(key, creations)
        if isinstance(expectations, UidExpectations):
            for uid in uids:
                expectations.uid_deletion_observed(key, uid)
        self.queue.add(key, urgent=True)

    @handles(Changes)
    def changes(self, message: Changes) -> None:
        functions = self._subscriptions.get(message.resource)
        if functions:
            # The whole batch first: a reconcile in its midst would see some of what is to come.
            self._held = True
            for old, new in message.changes:
                for function in functions:
                    function(old, new)
            self._held = False
            if len(self.queue):
                self._wake()
        if message.synced and self._unsynced:
            self._unsynced.discard(message.resource)
            if not self._unsynced:
                self.synced()
                self._wake()

    @handles(_Due)
    def due(self, message: _Due) -> None:
        self.queue.due(message.key)

    def _start_timer(self, delay_s: float, key: str) -> Timer:
        return self.after(delay_s, _Due(key))

    def _wake(self) -> None:
        """Start workers for the keys that wait, up to the limit."""
        if self._held or self._unsynced or self._settling:
            return
        while self._running < self._workers_max and len(self.queue):
            self._running += 1
            self.background(self._work())

    async def _work(self) -> None:
        done = 0
        while (key := self.queue.get()) is not None:
            await self._process(key)
            done += 1
            if done % KEYS_PER_TURN == 0:
                await self.sleep(0)  # reconciles that find nothing to do never wait: let others in
        self._running -= 1

    async def _process(self, key: str) -> None:
        try:
            await self.reconcile(key)
        except StatusError as error:
            if error.code != 409:  # conflicts are the ordinary price of optimism
                self.log.info("reconcile_failed", key=key, error=error.message)
            self.queue.add_rate_limited(key)
        except Exception as error:
            self.log.error("reconcile_broke", key=key, exc_info=error)
            self.queue.add_rate_limited(key)
        else:
            self.queue.forget(key)
        finally:
            self.queue.done(key)


def enqueue_own(controller: Controller, make_key: Callable[[Object], str]) -> OnChange:
    """The usual `on_change` for the controller's own kind: look at whatever changed."""
    return partial(_enqueue, controller, make_key)


def _enqueue(
    controller: Controller,
    make_key: Callable[[Object], str],
    old: Object | None,
    new: Object | None,
) -> None:
    obj = new or old
    if obj is not None:
        controller.queue.add(make_key(obj))


def _has(store: Store, item: Object) -> bool:
    """Whether a store holds an object in this version or a later one."""
    known = store.get(object_key(item))
    return known is not None and int(resource_version(known)) >= int(resource_version(item))


def outcome_unknown(error: StatusError) -> bool:
    """Whether the request may have taken effect all the same: its answer was lost, or the server
    does not know itself."""
    return error.code >= 500
