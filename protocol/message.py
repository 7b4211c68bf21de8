"""The base of every message.

A message is a frozen, typed value. It is passed by reference between actors of one process and
encoded by `protocol.wire` between processes, so nobody may mutate one after sending it.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import msgspec

__all__ = ["Address", "Message"]


class Message(msgspec.Struct, frozen=True, kw_only=False):
    """A frozen value that one actor sends to another.

    Subclasses declare typed fields; positional construction follows the field order. Equality is
    by value.
    """


@runtime_checkable
class Address(Protocol):
    """What a message may say about where to answer: the part of an actor reference it needs.

    `protocol` knows no actor; the kernel's `Ref` satisfies this.
    """

    actor_urn: str

    def tell(self, message: Any) -> None:
        """Put `message` in the mailbox of the actor at this address."""
