"""The place where an actor lives: its address, its mailbox, and its life across restarts.

A `Cell` is the `Ref` that others hold. The actor object inside is replaced at each restart; the
address, the mail that waits and the place in the tree stay. The kernel's guarantees are made
here:

- One sender's messages to one receiver arrive in order and at most once; its replies too.
- An actor handles one piece of mail at a time. Between the awaits of one async handler others may
  run; two messages with the same `serial` key never overlap.
- No wake-up is lost: mail is appended before `scheduled` is read, and `scheduled` is cleared
  before the mailbox is looked at once more.
- When an actor stops or crashes, what was asked of it and not answered fails with `ActorDead`.
- No actor starves: a cell gives way after `BATCH` messages and queues behind the others.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
from pykka import messages as pykka_messages

from actors.kernel._errors import ActorDead, BlockingCall, MailboxFull, RestartIntensityExceeded
from actors.kernel._future import Future, on_dispatcher
from actors.kernel._mailbox import Bounded
from actors.kernel._supervision import Child, Intensity, Restart
from actors.kernel._task import Task
from protocol.message import Message

if TYPE_CHECKING:
    from actors.kernel._actor import Actor, Handler
    from actors.kernel._system import ActorSystem

__all__ = ["Cell", "Envelope", "Ref", "Stats", "Terminated"]

BATCH = 64  # messages that one actor may handle before the next one's turn

NEW, STARTING, RUNNING, RESTARTING, STOPPING, DEAD = range(6)
STATE_NAMES = ("new", "starting", "running", "restarting", "stopping", "dead")


class Terminated(Message, frozen=True):
    """Told to who monitors an actor: the one with this urn has stopped or crashed for good."""

    actor_urn: str


class Stats(Message, frozen=True):
    """What one actor says of itself: mail waiting, mail handled, restarts, suspended handlers."""

    actor_urn: str
    kind: str
    state: str
    mailbox: int
    handled: int
    restarts: int
    tasks: int


class Envelope:
    """An asked message and where the answer goes."""

    __slots__ = ("future", "message")

    def __init__(self, message: Any, future: Future[Any]) -> None:
        self.message = message
        self.future = future


class _Start:
    """The kernel's mail to a new cell: make the actor and call its `on_start`."""


class _Begin:
    """The kernel's mail to a cell whose actor was moved to a thread: call `on_start` there."""


class _Stop:
    """The kernel's mail to a cell: stop after what came before."""

    __slots__ = ("future",)

    def __init__(self, future: Future[Any]) -> None:
        self.future = future


_constructing = threading.local()


def cell_under_construction() -> Cell:
    """The cell whose actor is being made on this thread (for `Actor.__init__`)."""
    cell: Cell | None = getattr(_constructing, "cell", None)
    if cell is None:
        raise TypeError("an actor is made by a system: system.spawn(Child(name, factory)), not by calling its class")
    return cell


class Ref(pykka.ActorRef[Any]):
    """The address of an actor, safe to share. As Pykka's `ActorRef`, with three differences: it
    survives the actor's restarts; a `tell` from inside the system to a dead actor is a dead
    letter, since one crash must not spread by way of its correspondents; and on a dispatcher's
    thread `ask` answers with a future, where waiting would be for ever."""

    def __init__(self, path: str) -> None:
        self.actor_urn = path

    def __repr__(self) -> str:
        return f"<Ref {self.actor_urn}>"

    def __str__(self) -> str:
        return self.actor_urn

    def __reduce__(self) -> Any:
        raise TypeError("a Ref is valid within its process; protocol.wire encodes it by its urn")


class Cell(Ref):
    """A `Ref` with what is behind it. Only the kernel looks behind."""

    def __init__(self, system: ActorSystem, path: str, spec: Child, parent: Cell | None, host: str) -> None:
        super().__init__(path)
        self.system = system
        self.spec = spec
        self.parent = parent
        self.host = host
        self.actor: Actor | None = None
        self.mailbox: deque[Any] = deque()
        self.scheduled = False
        self.state = NEW
        self.incarnation = 0
        self.handled = 0
        self.handlers: dict[type, Handler] = {}
        self.bound: Bounded | None = None
        self.tasks: dict[Task, None] = {}
        self.children: dict[str, Cell] | None = None
        self.watchers: list[Cell] | None = None
        self.serial: dict[Any, deque[Any]] | None = None
        self.stash: list[Any] | None = None
        self.intensity: Intensity | None = None
        self.stopped_future: Future[Any] | None = None
        self.abandoning: BaseException | None = None
        self.ready: Callable[[Cell], None] = system.ready

    # -- Pykka's names for the same things -----------------------------------------------------

    @property
    def actor_class(self) -> Any:  # type: ignore[override]
        return type(self.actor)

    @property
    def actor_inbox(self) -> Any:  # type: ignore[override]
        return self

    @property
    def actor_stopped(self) -> Any:  # type: ignore[override]
        return self

    def _actor_weakref(self) -> Any:  # type: ignore[override]
        if self.actor is None and self.state == NEW and not on_dispatcher():
            self.ask(pykka_messages.ProxyGetAttr(attr_path=("actor_urn",)))  # made by the dispatcher first
        return self.actor

    def is_set(self) -> bool:
        """Pykka's stopped flag."""
        return self.state == DEAD

    def put(self, envelope: Any) -> None:
        """Pykka's inbox: take one of its envelopes."""
        reply_to = envelope.reply_to
        self.deliver(envelope.message if reply_to is None else Envelope(envelope.message, reply_to))

    def empty(self) -> bool:
        return not self.mailbox

    def is_alive(self) -> bool:
        return self.state != DEAD

    def is_stopping(self) -> bool:
        return self.state == STOPPING

    # -- Sending -------------------------------------------------------------------------------

    def tell(self, message: Any) -> None:
        """Put `message` in the mailbox and go on.

        Raises: `MailboxFull` when the mailbox is bounded, full and rejects; `ActorDead` when the
        actor is dead and the caller stands outside the system (inside, it is a dead letter).
        """
        if self.state == DEAD:
            self.system.dead_letter(self, message)
            if not on_dispatcher():
                raise ActorDead(f"{self} is dead")
            return
        if self.bound is not None and not self._admits(message):
            return
        self.mailbox.append(message)
        if not self.scheduled:
            self.scheduled = True
            self.ready(self)

    def ask(self, message: Any, *, block: bool | None = None, timeout: float | None = None) -> Any:
        """Send `message` and get the answer: its value when the caller may block, a `Future`
        otherwise. `block` defaults to False on a dispatcher's thread and True elsewhere;
        `timeout` in seconds bounds the blocking wait.

        Raises (or sets in the future): what the handler raised, `ActorDead`, `MailboxFull`.
        """
        future: Future[Any] = Future()
        if self.state == DEAD:
            future.fail(ActorDead(f"{self} is dead"))
        elif self.bound is None or self._admits(message, future):
            self.deliver(Envelope(message, future))
        if block is None:
            block = not on_dispatcher()
        if not block:
            return future
        if on_dispatcher():
            raise BlockingCall("a handler must await an answer, not block on it")
        return self.system.wait_for(future, timeout)

    def stop(self, *, block: bool | None = None, timeout: float | None = None) -> Any:
        """Stop the actor after the mail that it has now. As Pykka: True when it was alive.
        `block` as for `ask`; not blocking answers with a future."""
        alive = self.state != DEAD
        done = self.request_stop() if alive else None
        if block is None:
            block = not on_dispatcher()
        if not block:
            outcome: Future[bool] = Future()
            if done is None:
                outcome.resolve(False)
            else:
                done.add_callback(lambda _: outcome.resolve(alive))
            return outcome
        if done is not None:
            self.system.wait_for(done, timeout)
        return alive

    def request_stop(self) -> Future[Any]:
        """Post the stop request; the future is done when the actor has stopped."""
        future: Future[Any] = Future()
        if self.state == DEAD:
            future.resolve(None)
        else:
            self.deliver(_Stop(future))
        return future

    def deliver(self, item: Any) -> None:
        """Append mail that no bound refuses. Any thread may call this."""
        self.mailbox.append(item)
        if not self.scheduled:
            self.scheduled = True
            self.ready(self)

    def _admits(self, message: Any, future: Future[Any] | None = None) -> bool:
        bound = self.bound
        if bound is None or len(self.mailbox) < bound.capacity:
            return True
        if bound.on_full == "reject":
            refusal = MailboxFull(message, self.actor_urn)
            if future is None:
                raise refusal
            future.fail(refusal)
            return False
        if bound.on_full == "drop_newest":
            self._drop(message if future is None else Envelope(message, future))
            return False
        for index, item in enumerate(self.mailbox):
            if not isinstance(item, (Task, _Start, _Begin, _Stop)):
                del self.mailbox[index]
                self._drop(item)
                break
        return True

    def _drop(self, item: Any) -> None:
        if type(item) is Envelope:
            item.future.fail(MailboxFull(item.message, self.actor_urn))
            item = item.message
        self.system.dead_letter(self, item)

    # -- Receiving -----------------------------------------------------------------------------

    def run(self, limit: int = BATCH) -> None:
        """Handle up to `limit` pieces of mail; queue again if more is left."""
        mailbox = self.mailbox
        place = self.ready
        handled = 0
        try:
            while handled < limit and mailbox and self.ready is place:  # until moved to a thread
                item = mailbox.popleft()
                handled += 1
                # The common case first and inline: a told message with a plain handler.
                handler = self.handlers.get(type(item))
                if handler is not None and handler.plain and self.state == RUNNING:
                    handler.function(self.actor, item)
                else:
                    self.receive(item)
        except Exception as error:
            self.crash(error)
        self.handled += handled
        self.scheduled = False
        if mailbox and not self.scheduled:
            self.scheduled = True
            self.ready(self)

    def receive(self, item: Any) -> None:
        """Handle one piece of mail of any sort. Raises what a told handler raises."""
        kind = type(item)
        if kind is Task:
            if item.incarnation == self.incarnation and self.state != DEAD:
                item.step()
            return
        if kind is _Start:
            self._make_actor()
            return
        if kind is _Begin:
            if self.state == STARTING:
                self._begin()
            return
        if kind is _Stop:
            self._begin_stop(item)
            return
        if self.state in (NEW, STARTING, RESTARTING):
            if self.stash is None:
                self.stash = []
            self.stash.append(item)
            return
        if self.state == DEAD:
            self._refuse(item)
            return
        if kind is Envelope:
            self._dispatch(item.message, item.future)
        else:
            self._dispatch(item, None)

    def _dispatch(self, message: Any, future: Future[Any] | None) -> None:
        handler = self.handlers.get(type(message))
        if handler is None:
            self._dispatch_untyped(message, future)
            return
        if handler.serial is not None:
            key = (handler.name, handler.serial(message))
            if self.serial is None:
                self.serial = {}
            waiting = self.serial.get(key)
            if waiting is not None:
                waiting.append((handler, message, future))
                return
            if handler.is_async:
                self.serial[key] = deque()
                self._start_handler(handler, message, future, key)
                return
        elif handler.is_async:
            self._start_handler(handler, message, future, None)
            return
        if future is None:
            handler.function(self.actor, message)
            return
        try:
            answer = handler.function(self.actor, message)
        except Exception as error:
            self.reply_error(future, error)
            return
        self.reply(future, answer)

    def _dispatch_untyped(self, message: Any, future: Future[Any] | None) -> None:
        """Pykka's own messages (proxies) and actors with an `on_receive` of their own."""
        actor = self.actor
        assert actor is not None
        if isinstance(message, pykka_messages._ActorStop):
            self._begin_stop(_Stop(future or Future()))
            return
        if not actor.takes_untyped and not isinstance(message, actor.PROXY_MESSAGES):
            self.system.dead_letter(self, message, "no handler")
            if future is not None:
                name = type(message).__name__
                self.reply_error(future, TypeError(f"{type(actor).__name__} does not handle {name}"))
            return
        try:
            answer = actor._handle_receive(message)
        except Exception as error:
            if future is None:
                raise
            self.reply_error(future, error)
            return
        if future is not None:
            self.reply(future, answer)

    def reply(self, future: Future[Any], answer: Any) -> None:
        """Answer an ask; a handler may answer with a future, which then answers when done."""
        if type(answer) is Future:
            answer.add_callback(lambda done: self._forward(future, done))
        else:
            future.resolve(answer)

    def reply_error(self, future: Future[Any], error: BaseException) -> None:
        """Answer an ask with an exception."""
        future.fail(error)

    def _forward(self, future: Future[Any], done: Future[Any]) -> None:
        error = done.exception()
        if error is None:
            self.reply(future, done.result())
        else:
            self.reply_error(future, error)

    def _start_handler(self, handler: Handler, message: Any, future: Future[Any] | None, key: Any) -> None:
        def on_return(answer: Any) -> None:
            if future is not None:
                self.reply(future, answer)
            if key is not None:
                self._next_serial(key)

        def on_raise(error: BaseException) -> None:
            if future is None:
                self.crash(error)
                return
            self.reply_error(future, error)
            if key is not None:
                self._next_serial(key)

        Task(self, handler.function(self.actor, message), on_return, on_raise).step()

    def _next_serial(self, key: Any) -> None:
        if self.serial is None or key not in self.serial or self.state == DEAD:
            return
        waiting = self.serial[key]
        while waiting:
            handler, message, future = waiting.popleft()
            if handler.is_async:
                self._start_handler(handler, message, future, key)
                return
            self._dispatch_plain_serial(handler, message, future)
        self.serial.pop(key, None)

    def _dispatch_plain_serial(self, handler: Handler, message: Any, future: Future[Any] | None) -> None:
        try:
            answer = handler.function(self.actor, message)
        except Exception as error:
            if future is None:
                self.crash(error)
            else:
                self.reply_error(future, error)
            return
        if future is not None:
            self.reply(future, answer)

    def background(self, coro: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run a coroutine as a task of this actor; its first step runs now."""
        future: Future[Any] = Future()
        Task(self, coro, future.resolve, future.fail).step()
        return future

    # -- Life ----------------------------------------------------------------------------------

    def _make_actor(self) -> None:
        if self.state not in (NEW, RESTARTING):
            return
        self.state = STARTING
        _constructing.cell = self
        try:
            actor = self.spec.factory()
        finally:
            _constructing.cell = None
        self.actor = actor
        self.handlers = actor.handlers
        self.bound = actor.mailbox
        if actor.blocks and self.system.move_to_thread(self):
            self.deliver(_Begin())
        else:
            self._begin()

    def _begin(self) -> None:
        assert self.actor is not None
        started = self.actor.on_start()
        if started is not None and hasattr(started, "send"):
            Task(self, started, self._started, self.crash).step()
        else:
            self._started(None)

    def _started(self, _: Any) -> None:
        if self.state != STARTING:
            return
        self.state = RUNNING
        if self.stash:
            stash, self.stash = self.stash, None
            self.mailbox.extendleft(reversed(stash))
            self._reschedule()

    def _reschedule(self) -> None:
        if self.mailbox and not self.scheduled:
            self.scheduled = True
            self.ready(self)

    def _begin_stop(self, request: _Stop) -> None:
        if self.state == DEAD:
            request.future.resolve(None)
            return
        if self.state == STOPPING:
            assert self.stopped_future is not None
            self.stopped_future.add_callback(lambda _: request.future.resolve(None))
            return
        self.stopped_future = request.future
        if self.state != RUNNING:  # nothing runs that could be asked politely
            self.terminate()
            return
        self.state = STOPPING
        Task(self, self._stop_orderly(), lambda _: self.terminate(), self._stop_failed).step()

    async def _stop_orderly(self) -> None:
        """Stop the children, last started first, then let the actor clean up."""
        for child in reversed(list((self.children or {}).values())):
            done = child.request_stop()
            expiry = self.system.after(child.spec.shutdown_s, partial(done.resolve, "late"))
            outcome = await done
            expiry.cancel()
            if outcome == "late" and child.state != DEAD:
                self.system.log.warning("actor_killed", actor=child.actor_urn, after_s=child.spec.shutdown_s)
                child.terminate()
        assert self.actor is not None
        cleanup = self.actor.on_stop()
        if cleanup is not None and hasattr(cleanup, "send"):
            await cleanup

    def _stop_failed(self, error: BaseException) -> None:
        if error is self.abandoning:
            return
        self.system.log.error("actor_stop_failed", actor=self.actor_urn, exc_info=error)
        self.terminate()

    def crash(self, error: BaseException) -> None:
        """The actor failed: unwind it, then do what its specification says."""
        if self.state == DEAD or error is self.abandoning:
            return
        if self.state == STOPPING:
            self._stop_failed(error)
            return
        self.system.log.error("actor_crashed", actor=self.actor_urn, exc_info=error)
        actor = self.actor
        self._unwind(keep_mail=True)
        if actor is not None:
            try:
                actor.on_failure(type(error), error, error.__traceback__)
            except Exception as problem:
                self.system.log.error("on_failure_failed", actor=self.actor_urn, exc_info=problem)
        if self.spec.restart is Restart.TEMPORARY:
            self.terminate()
            return
        if self.intensity is None:
            self.intensity = Intensity()
        wait_s = self.intensity.record(self.spec, self.system.clock.monotonic())
        if wait_s is None:
            self.terminate()
            too_often = RestartIntensityExceeded(f"{self} crashed more than {self.spec.intensity} times")
            too_often.__cause__ = error
            if self.parent is None:
                self.system.failed(too_often)
            else:
                self.parent.crash(too_often)
            return
        self.restart_after(wait_s)

    def restart_after(self, wait_s: float) -> None:
        """Make the actor anew in `wait_s` seconds; mail waits meanwhile."""
        self.state = RESTARTING
        incarnation = self.incarnation
        self.system.after(wait_s, lambda: self._restart(incarnation))

    def _restart(self, incarnation: int) -> None:
        if self.state == RESTARTING and self.incarnation == incarnation:
            self.system.log.info("actor_restarted", actor=self.actor_urn, restarts=self.incarnation)
            self.deliver(_Start())

    def _unwind(self, *, keep_mail: bool) -> None:
        """End everything that the present incarnation has under way."""
        self.incarnation += 1
        self.state = RESTARTING
        for child in reversed(list((self.children or {}).values())):
            child.terminate()
        self.children = None
        serial, self.serial = self.serial, None  # first, so that no waiting message starts now
        dead = self.abandoning = ActorDead(f"{self} crashed or stopped before it answered")
        tasks, self.tasks = self.tasks, {}
        for task in list(tasks):
            task.abandon(dead)
        self.abandoning = None
        for waiting in (serial or {}).values():
            for _, message, future in waiting:
                self._refuse(message if future is None else Envelope(message, future))
        self.actor = None
        if not keep_mail:
            self.discard_mail()

    def discard_mail(self) -> None:
        """Refuse all that waits: asks fail, told messages become dead letters."""
        items = [*(self.stash or ()), *self.mailbox]
        self.stash = None
        self.mailbox.clear()
        for item in items:
            self._refuse(item)

    def _refuse(self, item: Any) -> None:
        kind = type(item)
        if kind is Envelope:
            self.reply_error(item.future, ActorDead(f"{self} stopped before it handled the message"))
        elif kind is _Stop:
            item.future.resolve(None)
        elif kind is not Task and kind is not _Start and kind is not _Begin:
            self.system.dead_letter(self, item)

    def terminate(self) -> None:
        """Dead for good: unwind, refuse the mail, tell who monitors."""
        if self.state == DEAD:
            return
        self._unwind(keep_mail=False)
        self.state = DEAD
        self.discard_mail()
        self.system.forget(self)
        if self.parent is not None and self.parent.children is not None:
            if self.parent.children.get(self.spec.name) is self:
                del self.parent.children[self.spec.name]
        for watcher in self.watchers or ():
            if watcher.state != DEAD:
                watcher.deliver(Terminated(self.actor_urn))
        self.watchers = None
        if self.stopped_future is not None:
            self.stopped_future.resolve(None)

    def monitor(self, target: Cell) -> None:
        """Have `Terminated` told to this cell when `target` dies (now, if it is dead)."""
        if target.state == DEAD:
            self.deliver(Terminated(target.actor_urn))
            return
        if target.watchers is None:
            target.watchers = []
        if self not in target.watchers:
            target.watchers.append(self)

    def statistics(self) -> Stats:
        """A frozen record of what this actor is doing."""
        return Stats(
            actor_urn=self.actor_urn,
            kind=type(self.actor).__name__,
            state=STATE_NAMES[self.state],
            mailbox=len(self.mailbox),
            handled=self.handled,
            restarts=self.incarnation,
            tasks=len(self.tasks),
        )

    def start(self) -> None:
        """Post the kernel's first mail."""
        self.deliver(_Start())
