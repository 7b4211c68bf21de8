"""The address of an actor, as others hold it."""

from __future__ import annotations

from typing import Any

import pykka

from actors.kernel._future import Future

__all__ = ["Ref"]


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

    def tell(self, message: Any) -> None:
        """Put `message` in the mailbox and go on.

        Raises: `MailboxFull` when the mailbox is bounded, full and rejects; `ActorDead` when the
        actor is dead and the caller stands outside the system (inside, it is a dead letter).
        """
        raise NotImplementedError

    def ask(self, message: Any, *, block: bool | None = None, timeout: float | None = None) -> Any:
        """Send `message` and get the answer: its value when the caller may block, a `Future`
        otherwise. `block` defaults to False on a dispatcher's thread and True elsewhere;
        `timeout` in seconds bounds the blocking wait.

        Raises (or sets in the future): what the handler raised, `ActorDead`, `MailboxFull`.
        """
        raise NotImplementedError

    def stop(self, *, block: bool | None = None, timeout: float | None = None) -> Any:
        """Stop the actor after the mail that it has now. As Pykka: True when it was alive.
        `block` as for `ask`; not blocking answers with a future."""
        raise NotImplementedError

    def request_stop(self) -> Future[Any]:
        """Post the stop request; the future is done when the actor has stopped."""
        raise NotImplementedError
