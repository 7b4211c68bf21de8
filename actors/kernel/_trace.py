"""Who sent what to whom, when, and because of what.

With a tracer, every message gets a number and remembers the message whose handling sent it; the
records form the causal tree of everything that followed one request. Without one, nothing is
recorded and nothing is paid. A tracer's subscriber that raises is dropped, never fatal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from protocol.message import Message

__all__ = ["DeadLetter", "TraceRecord", "Tracer"]


class DeadLetter(Message, frozen=True):
    """A message that was not handled: `why` is dead, full, no handler or cut (by a link)."""

    receiver: str
    message: Any
    why: str


class TraceRecord(Message, frozen=True):
    """One message. `cause` is the id of the message being handled when it was sent, 0 for none;
    `time_s` is seconds since the epoch; `kind` is tell, ask, reply, error or dead."""

    id: int
    cause: int
    time_s: float
    kind: str
    sender: str
    receiver: str
    message_type: str
    message: Any


class Tracer:
    """Keeps the last `capacity` records and hands each new one to the subscribers."""

    def __init__(self, capacity: int = 100_000) -> None:
        self.records: deque[TraceRecord] = deque(maxlen=capacity)
        self._subscribers: list[Callable[[TraceRecord], None]] = []
        self._next_id = 1
        self._now: Callable[[], float] = lambda: 0.0

    def bind(self, now: Callable[[], float]) -> None:
        """The kernel's own call: where to read the time."""
        self._now = now

    def subscribe(self, subscriber: Callable[[TraceRecord], None]) -> Callable[[], None]:
        """Call `subscriber(record)` for each new record; answers how to unsubscribe."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber) if subscriber in self._subscribers else None

    def record(self, kind: str, cause: int, sender: str, receiver: str, message: Any) -> int:
        """Note one message; answers its id."""
        number = self._next_id
        self._next_id += 1
        name = type(message).__name__
        record = TraceRecord(number, cause, self._now(), kind, sender, receiver, name, message)
        self.records.append(record)
        for subscriber in list(self._subscribers):
            try:
                subscriber(record)
            except Exception:
                self._subscribers.remove(subscriber)
        return number

    def dead_letter(self, receiver: str, message: Any, why: str) -> None:
        """Note a message that nobody handles."""
        self.record("dead", 0, why, receiver, message)

    def tree(self, root: int) -> Iterable[tuple[int, TraceRecord]]:
        """The records that descend from the message with id `root`, depth first, each with its
        depth below the root."""
        children: dict[int, list[TraceRecord]] = {}
        first: TraceRecord | None = None
        for record in self.records:
            children.setdefault(record.cause, []).append(record)
            if record.id == root:
                first = record
        stack = [(0, first)] if first is not None else []
        while stack:
            depth, record = stack.pop()
            yield depth, record
            stack.extend((depth + 1, child) for child in reversed(children.get(record.id, [])))
