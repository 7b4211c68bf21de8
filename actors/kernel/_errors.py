"""What can go wrong between actors. Each error says whose fault it is and keeps the message."""

from __future__ import annotations

from typing import Any

import pykka

__all__ = ["ActorDead", "AskTimeout", "BlockingCall", "MailboxFull", "RestartIntensityExceeded"]


class ActorDead(pykka.ActorDeadError):
    """The asked actor is not there, or stopped or crashed before it answered."""


class AskTimeout(pykka.Timeout):
    """No answer came within the time that the asker allowed. The request may still be carried
    out: at most once is all that a message promises."""


class MailboxFull(Exception):
    """A bounded mailbox with the policy "reject" was full. `message` is the one refused."""

    def __init__(self, message: Any, receiver: str) -> None:
        super().__init__(f"the mailbox of {receiver} is full")
        self.message = message
        self.receiver = receiver


class RestartIntensityExceeded(Exception):
    """A child crashed more often than its specification allows; its parent crashes for it."""


class BlockingCall(RuntimeError):
    """Something on a dispatcher's thread waited for a thing that only that thread could do, or
    blocked it otherwise."""
