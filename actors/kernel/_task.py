"""Async handlers: a coroutine of one actor, resumed through that actor's mailbox.

The driver is minimal on purpose: a handler awaits only `Future`s, and the task itself is the mail
that wakes it. So a reply takes its place in the mailbox behind everything that the replier sent
before, and no handler ever runs while another one of the same actor does.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from actors.kernel._future import Future

if TYPE_CHECKING:
    from actors.kernel._life import Life

__all__ = ["Task"]


class Task:
    """One suspended or running coroutine of an actor.

    `on_return` gets what the coroutine returned, `on_raise` the exception that ended it.
    """

    __slots__ = ("cause", "cell", "coro", "incarnation", "on_raise", "on_return")

    def __init__(
        self,
        cell: Life,
        coro: Coroutine[Any, Any, Any],
        on_return: Callable[[Any], None],
        on_raise: Callable[[BaseException], None],
    ) -> None:
        self.cell = cell
        self.coro = coro
        self.incarnation = cell.incarnation
        self.on_return = on_return
        self.on_raise = on_raise
        self.cause = cell.system.speaker.cause

    def step(self) -> None:
        """Run until the next await that has to wait, or to the end."""
        try:
            awaited = self.coro.send(None)
        except StopIteration as end:
            self.cell.tasks.pop(self, None)
            self.on_return(end.value)
        except Exception as error:
            self.cell.tasks.pop(self, None)
            self.on_raise(error)
        else:
            if not isinstance(awaited, Future):
                self.cell.tasks.pop(self, None)
                self.coro.close()
                name = type(awaited).__name__
                self.on_raise(TypeError(f"a handler awaits kernel futures, not {name}"))
                return
            self.cell.tasks[self] = None
            awaited.add_callback(self.wake)

    def wake(self, _: Any = None) -> None:
        """The awaited future is done: queue for resumption. Any thread may call this."""
        self.cell.deliver(self)

    def abandon(self, error: BaseException) -> None:
        """The actor is gone: unwind the coroutine and answer its asker with `error`."""
        try:
            self.coro.close()
        except Exception as problem:
            self.cell.system.log.warning("task_unwind_failed", actor=self.cell.actor_urn, error=repr(problem))
        self.on_raise(error)
