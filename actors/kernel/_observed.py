"""The cell of a system that is traced or simulated: it sees each message on its way.

`Cell` is the fast one; this one knows who is speaking (`system.speaker`) and because of what
(`system.cause`), records messages for the tracer and sends those between hosts over their link.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.kernel._cell import BATCH, Cell
from actors.kernel._errors import ActorDead, BlockingCall
from actors.kernel._future import Future, on_dispatcher
from actors.kernel._letters import Envelope, Start
from actors.kernel._life import DEAD
from actors.kernel._speaker import Speaker
from actors.kernel._task import Task

if TYPE_CHECKING:
    from actors.kernel._links import Links

__all__ = ["ObservedCell"]


class _Mail:
    """A message with the number that the tracer gave it."""

    __slots__ = ("id", "item")

    def __init__(self, item: Any, number: int) -> None:
        self.item = item
        self.id = number


class ObservedCell(Cell):
    """See the module. `links` is None where all actors share one host."""

    @property
    def _links(self) -> Links | None:
        return getattr(self.system, "links", None)

    def tell(self, message: Any) -> None:
        outside = not on_dispatcher()
        if self.state == DEAD and outside:
            super().tell(message)
            return
        number = self._record("tell", message)
        self._send(lambda: self._arrive(message, number), message)

    def _arrive(self, message: Any, number: int) -> None:
        if self.state == DEAD:
            self.system.dead_letter(self, message)
        elif self.bound is None or self._admits(message):
            self.deliver(_Mail(message, number))

    def ask(self, message: Any, *, block: bool | None = None, timeout: float | None = None) -> Any:
        future: Future[Any] = Future()
        speaker = self.system.speaker.cell if on_dispatcher() else None
        future.asker = speaker  # type: ignore[attr-defined]
        number = self._record("ask", message)
        self._send(lambda: self._arrive_asked(message, future, number), message)
        if block is None:
            block = not on_dispatcher()
        if not block:
            return future
        if on_dispatcher():
            raise BlockingCall("a handler must await an answer, not block on it")
        return self.system.wait_for(future, timeout)

    def _arrive_asked(self, message: Any, future: Future[Any], number: int) -> None:
        if self.state == DEAD:
            self.reply_error(future, ActorDead(f"{self} is dead"))
        elif self.bound is None or self._admits(message, future):
            self.deliver(_Mail(Envelope(message, future), number))

    def _send(self, deliver: Callable[[], Any], message: Any) -> None:
        speaker = self.system.speaker.cell if on_dispatcher() else None
        self._pass(speaker.host if speaker is not None else self.host, self.host, deliver, message)

    def _pass(self, source: str, target: str, deliver: Callable[[], Any], message: Any) -> None:
        links = self._links
        if links is None or source == target:
            deliver()
        elif not links.pass_on(source, target, self.system.clock.monotonic(), deliver, self.system.after):
            self.system.dead_letter(self, message, "cut")

    def reply(self, future: Future[Any], answer: Any) -> None:
        if type(answer) is Future:
            super().reply(future, answer)
            return
        self._record_reply("reply", future, answer)
        self._reply_over_link(future, lambda: future.resolve(answer), answer)

    def reply_error(self, future: Future[Any], error: BaseException) -> None:
        self._record_reply("error", future, error)
        self._reply_over_link(future, lambda: future.fail(error), error)

    def _reply_over_link(self, future: Future[Any], deliver: Callable[[], Any], answer: Any) -> None:
        asker: Cell | None = getattr(future, "asker", None)
        self._pass(self.host, asker.host if asker is not None else self.host, deliver, answer)

    def _record(self, kind: str, message: Any) -> int:
        tracer = self.system.tracer
        if tracer is None:
            return 0
        speaker = self.system.speaker
        inside = on_dispatcher()
        sender = speaker.cell.actor_urn if inside and speaker.cell is not None else "outside"
        return tracer.record(kind, speaker.cause if inside else 0, sender, self.actor_urn, message)

    def _record_reply(self, kind: str, future: Future[Any], answer: Any) -> None:
        tracer = self.system.tracer
        if tracer is not None:
            asker: Cell | None = getattr(future, "asker", None)
            receiver = asker.actor_urn if asker is not None else "outside"
            tracer.record(kind, self.system.speaker.cause, self.actor_urn, receiver, answer)

    def start(self) -> None:
        """What a new actor does at its start has the cause that made it."""
        self.deliver(_Mail(Start(), self.system.speaker.cause if on_dispatcher() else 0))

    def _refuse(self, item: Any) -> None:
        super()._refuse(item.item if type(item) is _Mail else item)

    def _drop(self, item: Any) -> None:
        super()._drop(item.item if type(item) is _Mail else item)

    def run(self, limit: int = BATCH) -> None:
        """As `Cell.run`, saying before each message who speaks."""
        # On a thread of its own an actor speaks for itself alone, not for the dispatcher's turn.
        speaker = self.system.speaker if on_dispatcher() else Speaker()
        previous = (speaker.cell, speaker.cause)
        speaker.cell = self
        place = self.ready
        handled = 0
        try:
            while handled < limit and self.mailbox and self.ready is place:
                item = self.mailbox.popleft()
                handled += 1
                if type(item) is _Mail:
                    speaker.cause = item.id
                    item = item.item
                elif type(item) is Task:
                    speaker.cause = item.cause
                else:
                    speaker.cause = 0
                self.receive(item)
        except Exception as error:
            self.crash(error)
        finally:
            speaker.cell, speaker.cause = previous
        self.handled += handled
        self.scheduled = False
        self._reschedule()
