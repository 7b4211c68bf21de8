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

from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from pykka import messages as pykka_messages

from actors.kernel._errors import ActorDead, BlockingCall, MailboxFull
from actors.kernel._future import Future, on_dispatcher
from actors.kernel._letters import Begin, Envelope, Start, Stop
from actors.kernel._life import DEAD, NEW, RESTARTING, RUNNING, STARTING, Life
from actors.kernel._task import Task

if TYPE_CHECKING:
    from actors.kernel._actor import Handler

__all__ = ["BATCH", "Cell"]

BATCH = 64  # messages that one actor may handle before the next one's turn


class Cell(Life):
    """A `Ref` with what is behind it. Only the kernel looks behind."""

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
            self.deliver(Stop(future))
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
            if not isinstance(item, (Task, Start, Begin, Stop)):
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
        if kind is Start:
            self._make_actor()
            return
        if kind is Begin:
            if self.state == STARTING:
                self._begin()
            return
        if kind is Stop:
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
            self._begin_stop(Stop(future or Future()))
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
