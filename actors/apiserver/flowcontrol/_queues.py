"""The queues of one priority level: shuffle sharding in front, fair queuing behind.

A flow is dealt a hand of queues and waits in the emptiest of them, so that a flow that floods fills
its own hand and rarely all of another's. The next request comes from the queue that has been served
least: each queue's clock goes on by the seats and seconds of what it was given.

Owns waiting requests. It must never know why they wait.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Any

__all__ = ["Queues", "Waiting", "hand_of"]

_EXPECTED_S = 0.003
"""What a request is thought to take until it has ended."""


def hand_of(flow: str, queues: int, size: int) -> list[int]:
    """The queues that a flow may use, all different, the same ones each time.

    >>> hand_of("a", 8, 8) == sorted(hand_of("a", 8, 8)) or sorted(hand_of("a", 8, 8)) == list(range(8))
    True
    """
    number = int.from_bytes(hashlib.sha256(flow.encode()).digest()[:8], "little")
    deck, hand = list(range(queues)), []
    for _ in range(min(size, queues)):
        number, place = divmod(number, len(deck))
        hand.append(deck.pop(place))
    return hand


class Waiting:
    """A request in a queue. `future` is resolved with whether it may go on."""

    __slots__ = ("flow", "future", "queue", "seats", "since")

    def __init__(self, flow: Any, future: Any, seats: int, since: float, queue: _Queue) -> None:
        self.flow = flow
        self.future = future
        self.seats = seats
        self.since = since
        self.queue = queue


class _Queue:
    __slots__ = ("at", "executing_seats", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Waiting] = deque()
        self.executing_seats = 0
        self.at = 0.0
        """Virtual seconds of service that it has had."""

    def load(self) -> int:
        """Seats asked for and had."""
        return sum(one.seats for one in self.waiting) + self.executing_seats


class Queues:
    """All queues of a level."""

    def __init__(self, count: int, hand: int, limit: int) -> None:
        self.hand = hand
        self.limit = limit
        self.waiting = 0
        self.seats = 0
        self._queues = [_Queue() for _ in range(count)]
        self._now = 0.0

    def add(self, flow: Any, name: str, future: Any, seats: int, since: float) -> Waiting | None:
        """Queue a request of the flow `name`; None when there is no room."""
        hand = [self._queues[i] for i in hand_of(name, len(self._queues), self.hand)]
        queue = min(hand, key=_Queue.load)
        if len(queue.waiting) >= self.limit:
            return None
        if not queue.waiting:
            queue.at = max(queue.at, self._now)
        one = Waiting(flow, future, seats, since, queue)
        queue.waiting.append(one)
        self.waiting += 1
        self.seats += seats
        return one

    def next(self) -> Waiting | None:
        """Whose turn it is; stays in its queue."""
        best: _Queue | None = None
        for queue in self._queues:
            if queue.waiting and (best is None or queue.at < best.at):
                best = queue
        return best.waiting[0] if best is not None else None

    def take(self, one: Waiting) -> None:
        """A request leaves its queue to be served."""
        self.remove(one)
        self._now = one.queue.at
        one.queue.at += one.seats * _EXPECTED_S
        one.queue.executing_seats += one.seats

    def served(self, one: Waiting, seconds: float) -> None:
        """It took so long."""
        one.queue.executing_seats -= one.seats
        one.queue.at += one.seats * (seconds - _EXPECTED_S)

    def remove(self, one: Waiting) -> None:
        """A request waits no more."""
        one.queue.waiting.remove(one)
        self.waiting -= 1
        self.seats -= one.seats
