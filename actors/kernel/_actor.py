"""What a component is written as: a class with one method per message type.

    class Counter(Actor):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        @handles(Add)
        def add(self, message: Add) -> int:
            self.count += message.amount
            return self.count

A plain handler runs to its end before the next one starts. An `async def` handler may await
futures (`self.ask`, `self.sleep`, `self.gather`); while it is suspended the actor handles other
messages, so what was read before an await may have changed after it. `serial=key_of` keeps apart
messages of equal key: the next one of that key starts when the one before has returned.

What a handler returns answers an ask. What it raises is raised at the asker of an ask, and
crashes the actor when the message was told.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pykka
from pykka import messages as pykka_messages

from actors.kernel._cell import Cell
from actors.kernel._errors import AskTimeout
from actors.kernel._future import Future
from actors.kernel._life import cell_under_construction
from actors.kernel._log import Log
from actors.kernel._mailbox import Bounded
from actors.kernel._ref import Ref

if TYPE_CHECKING:
    from actors.kernel._clock import Clock, Timer
    from actors.kernel._supervision import Child
    from actors.kernel._system import ActorSystem

__all__ = ["Actor", "Handler", "ThreadActor", "handles"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Handler:
    """How one message type is handled. `plain`: neither async nor serial, so callable at once."""

    name: str
    function: Callable[[Any, Any], Any]
    is_async: bool
    serial: Callable[[Any], Any] | None
    plain: bool


def handles(message_type: type, *, serial: Callable[[Any], Any] | None = None) -> Callable[[F], F]:
    """Mark a method as the handler of `message_type` (exactly that type, not its subclasses)."""

    def mark(function: F) -> F:
        marks = getattr(function, "_handles", ())
        function._handles = (*marks, (message_type, serial))  # type: ignore[attr-defined]
        return function

    return mark


class Actor(pykka.Actor):
    """An actor that shares its system's dispatcher with all others, and therefore never blocks."""

    handlers: ClassVar[dict[type, Handler]] = {}
    mailbox: ClassVar[Bounded | None] = None
    blocks: ClassVar[bool] = False
    takes_untyped: ClassVar[bool] = False
    PROXY_MESSAGES: ClassVar[tuple[type, ...]] = (
        pykka_messages.ProxyCall,
        pykka_messages.ProxyGetAttr,
        pykka_messages.ProxySetAttr,
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        table: dict[type, Handler] = {}
        for base in reversed(cls.__mro__):
            for name, member in vars(base).items():
                for message_type, serial in getattr(member, "_handles", ()):
                    function = getattr(cls, name)  # an override in a subclass keeps the mark
                    is_async = inspect.iscoroutinefunction(function)
                    plain = not is_async and serial is None
                    table[message_type] = Handler(name, function, is_async, serial, plain)
        cls.handlers = table
        cls.takes_untyped = cls.on_receive is not pykka.Actor.on_receive

    def __init__(self) -> None:
        self._cell = cell_under_construction()

    @classmethod
    def start(cls, *_args: Any, **_kwargs: Any) -> Any:
        """Not how these actors are made."""
        raise TypeError(
            f"{cls.__name__} is started by a system: system.spawn(Child(name, {cls.__name__})); "
            "to run a coroutine inside an actor use self.background(coro)"
        )

    # -- Pykka's extension points --------------------------------------------------------------

    @staticmethod
    def _create_actor_inbox() -> Any:
        return cell_under_construction()

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    def _start_actor_loop(self) -> None:
        self._cell.start()

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        return self._cell.actor_urn

    @property
    def actor_inbox(self) -> Any:  # type: ignore[override]
        return self._cell

    @property
    def actor_ref(self) -> Any:
        return self._cell

    @property
    def actor_stopped(self) -> Any:  # type: ignore[override]
        return self._cell

    # -- What an actor knows -------------------------------------------------------------------

    @property
    def ref(self) -> Ref:
        """This actor's own address."""
        return self._cell

    @property
    def restarts(self) -> int:
        """How often this actor was restarted: 0 in its first life."""
        return self._cell.incarnation

    @property
    def system(self) -> ActorSystem:
        """The system that this actor lives in."""
        return self._cell.system

    @property
    def clock(self) -> Clock:
        """The clock of this actor's host."""
        return self._cell.clock

    @property
    def random(self) -> random.Random:
        """The system's seeded random source."""
        return self._cell.system.random

    @property
    def host(self) -> str:
        """The simulated machine that this actor runs on; links and partitions are between hosts."""
        return self._cell.host

    @property
    def log(self) -> Log:
        """A logger that names this actor."""
        return self._cell.system.log.bind(actor=self._cell.actor_urn)

    @property
    def stopping(self) -> bool:
        """Whether a stop has begun: the children end first, then `on_stop` is called."""
        return self._cell.is_stopping()

    # -- What an actor does --------------------------------------------------------------------

    def ask(self, ref: Ref, message: Any, timeout: float | None = None) -> Future[Any]:
        """Send `message` and get a future of the answer, to be awaited. After `timeout` seconds
        the future fails with `AskTimeout`; None waits for ever."""
        future: Any = ref.ask(message, block=False)
        if timeout is not None and not future.done:
            late = AskTimeout(f"{ref} did not answer in {timeout} s")
            expire = self._cell.system.after(timeout, lambda: future.fail(late))
            future.add_callback(lambda _: expire.cancel())
        return future  # type: ignore[no-any-return]

    def sleep(self, seconds: float) -> Future[None]:
        """A future that is done in `seconds` of the system's clock."""
        future: Future[None] = Future()
        self._cell.system.after(seconds, future.resolve)
        return future

    async def gather(self, *awaitables: Awaitable[Any]) -> list[Any]:
        """Await all; all run to their end; then the first exception, if any, is raised."""
        futures = [a if isinstance(a, Future) else self.background(a) for a in awaitables]  # type: ignore[arg-type]
        results: list[Any] = []
        failure: BaseException | None = None
        for future in futures:
            try:
                results.append(await future)
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return results

    def background(self, coro: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run a coroutine as another task of this actor; it ends with the actor. Its exception is
        the future's: nobody hears of it unless somebody looks."""
        return self._cell.background(coro)

    def after(self, delay_s: float, message: Any) -> Timer:
        """Tell this actor `message` in `delay_s` seconds, unless it restarts or stops first."""
        cell, incarnation = self._cell, self._cell.incarnation

        def due() -> None:
            if cell.incarnation == incarnation and cell.is_alive():
                cell.deliver(message)

        return cell.system.after(delay_s, due)

    def every(self, period_s: float, message: Any) -> Periodic:
        """Tell this actor `message` each `period_s` seconds, first in `period_s` from now."""
        return Periodic(self._cell, period_s, message)

    def spawn(self, child: Child, host: str | None = None) -> Ref:
        """Start a child; it is restarted, and stopped with this actor, as `child` says."""
        return self._cell.system.spawn(child, parent=self._cell, host=host)

    def monitor(self, ref: Ref) -> None:
        """Be told `Terminated` when the actor at `ref` dies for good (at once if it is dead)."""
        assert isinstance(ref, Cell)
        self._cell.monitor(ref)

    def stop(self) -> None:
        """Stop after the mail that is there now."""
        self._cell.request_stop()

    def on_start(self) -> Any:
        """Called (plain or async) before the first message, and again after each restart."""

    def on_stop(self) -> Any:
        """Called (plain or async) at a requested stop, when the children have stopped; not at a
        crash."""


class ThreadActor(Actor):
    """An actor that may block (fsync, subprocesses): it runs on a thread of its own in a live
    system, and like all others in a simulation. Its handlers are plain methods, and `ref.ask` in
    them blocks this thread alone."""

    blocks: ClassVar[bool] = True


class Periodic:
    """A repeating timer of one incarnation of an actor. A late tick does not shift the next."""

    __slots__ = ("_cell", "_due", "_incarnation", "_message", "_period_s", "_timer")

    def __init__(self, cell: Cell, period_s: float, message: Any) -> None:
        if period_s <= 0:
            raise ValueError("a period is positive")
        self._cell = cell
        self._incarnation = cell.incarnation
        self._period_s = period_s
        self._message = message
        self._due = cell.system.clock.monotonic() + period_s
        self._timer: Timer | None = cell.system.after(period_s, self._tick)

    def _tick(self) -> None:
        cell = self._cell
        if self._timer is None or cell.incarnation != self._incarnation or not cell.is_alive():
            return
        now = cell.system.clock.monotonic()
        while self._due <= now:  # ticks that were missed altogether are skipped
            self._due += self._period_s
        self._timer = cell.system.after(self._due - now, self._tick)
        cell.deliver(self._message)

    def cancel(self) -> None:
        """No more ticks."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
