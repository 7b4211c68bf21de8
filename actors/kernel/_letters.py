"""The kernel's own mail, and what an actor says of itself."""

from __future__ import annotations

from typing import Any

from actors.kernel._future import Future
from protocol.message import Message

__all__ = ["Begin", "Envelope", "Start", "Stats", "Stop", "Terminated"]


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


class Start:
    """The kernel's mail to a new cell: make the actor and call its `on_start`."""


class Begin:
    """The kernel's mail to a cell whose actor was moved to a thread: call `on_start` there."""


class Stop:
    """The kernel's mail to a cell: stop after what came before."""

    __slots__ = ("future",)

    def __init__(self, future: Future[Any]) -> None:
        self.future = future
