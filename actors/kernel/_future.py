"""The handle to an answer that may come later.

`Future` keeps Pykka's contract (`get`, `set`, `set_exception`, `set_get_hook`, `map`, `join`,
...) and adds what one loop thread needs: callbacks and an `await` that suspends a handler
instead of blocking a thread. It needs no lock: list appends and pops are atomic, and every
callback is popped exactly once, by whoever finds the future done first.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

import pykka

from actors.kernel._errors import BlockingCall

__all__ = ["Future", "on_dispatcher"]

T = TypeVar("T")

_thread = threading.local()


def on_dispatcher() -> bool:
    """Whether the calling thread is one that runs mailboxes at this moment."""
    return getattr(_thread, "dispatching", False)


def set_dispatching(value: bool) -> None:
    """Mark the calling thread as one that runs mailboxes (the systems do this)."""
    _thread.dispatching = value


class Future(pykka.Future[T], Generic[T]):
    """An answer that may come later. Thread safe; set at most once."""

    # Class-level defaults in place of Pykka's __init__: futures are made once per ask.
    _get_hook: Any = None
    _get_hook_result: Any = None
    _done = False
    _value: Any = None
    _exception: BaseException | None = None

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Future[T]], Any]] = []

    def __repr__(self) -> str:
        if not self._done:
            return "<Future pending>"
        return f"<Future {self._exception or self._value!r}>"

    @property
    def done(self) -> bool:
        """Whether a value or an exception has been set."""
        return self._done

    def result(self) -> T:
        """The value, if it is there already.

        Raises: the exception that was set; `asyncio.InvalidStateError` when not done.
        """
        if self._exception is not None:
            raise self._exception
        if not self._done:
            raise asyncio.InvalidStateError("the future is not done")
        return self._value  # type: ignore[no-any-return]

    def exception(self) -> BaseException | None:
        """The exception that was set, or None."""
        return self._exception

    def add_callback(self, callback: Callable[[Future[T]], Any]) -> None:
        """Call `callback(self)` once when done, on the thread that sets the future, or now."""
        self._callbacks.append(callback)
        if self._done:
            self._run_callbacks()

    def _run_callbacks(self) -> None:
        callbacks = self._callbacks
        while callbacks:
            try:
                callback = callbacks.pop(0)
            except IndexError:  # another thread took it
                return
            callback(self)

    def resolve(self, value: Any = None) -> None:
        """Set the value unless the future is done already (an answer after a time-out)."""
        if not self._done:
            self._value = value
            self._done = True
            if self._callbacks:
                self._run_callbacks()

    def fail(self, exception: BaseException) -> None:
        """Set the exception unless the future is done already."""
        if not self._done:
            self._exception = exception
            self._done = True
            if self._callbacks:
                self._run_callbacks()

    # -- Pykka's interface ---------------------------------------------------------------------

    def set(self, value: T | None = None) -> None:
        """Set the value. Raises `queue.Full` when done already, as Pykka does."""
        if self._done or self._get_hook is not None:
            raise queue.Full
        self.resolve(value)

    def set_exception(self, exc_info: Any = None) -> None:
        """Set an exception: an exception object, a `sys.exc_info()` triple, or by default the
        exception being handled. Raises `queue.Full` when done already."""
        if self._done or self._get_hook is not None:
            raise queue.Full
        if isinstance(exc_info, BaseException):
            self.fail(exc_info)
            return
        kind, value, traceback = exc_info or sys.exc_info()
        assert kind is not None
        exception = value if value is not None else kind()
        self.fail(exception.with_traceback(traceback))

    def set_get_hook(self, func: Callable[[float | None], Any]) -> None:
        """Compute the value by `func(timeout)` at the first `get`."""
        if self._done:
            raise queue.Full
        self._get_hook = func

    def get(self, *, timeout: float | None = None) -> T:
        """Wait on the calling thread for the value; `timeout` in seconds.

        Raises: `pykka.Timeout`; `BlockingCall` on a dispatcher's thread, where waiting would
        be for ever; the exception that was set.
        """
        if self._get_hook is not None:
            if not self._done:
                value = self._get_hook(timeout)
                self._value, self._done = value, True
            return self._value  # type: ignore[no-any-return]
        if not self._done:
            if on_dispatcher():
                raise BlockingCall("a handler must await a future, not get() it")
            arrived = threading.Event()
            self.add_callback(lambda _: arrived.set())
            if not arrived.wait(timeout):
                raise pykka.Timeout(f"{timeout} seconds")
        return self.result()

    def __await__(self) -> Generator[Any, None, T]:
        if self._get_hook is not None:
            return self.get()
        if not self._done:
            yield self
        return self.result()

    def asyncio(self) -> asyncio.Future[T]:
        """The same answer as an asyncio future of the running loop, for code in asyncio tasks."""
        loop = asyncio.get_running_loop()
        outer: asyncio.Future[T] = loop.create_future()

        def copy(_: Any) -> None:
            if outer.cancelled():
                return
            if self._exception is not None:
                outer.set_exception(self._exception)
            else:
                outer.set_result(self._value)

        self.add_callback(lambda _: loop.call_soon_threadsafe(copy, None))
        return outer
