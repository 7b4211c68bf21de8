"""Bounds on mailboxes.

A mailbox is unbounded unless its actor's class says `mailbox = Bounded(...)`. Only user messages
count and are ever refused; replies, stop requests and the kernel's own mail always get in.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Bounded"]

POLICIES = ("reject", "drop_oldest", "drop_newest")


@dataclass(frozen=True, slots=True)
class Bounded:
    """At most `capacity` messages wait; one more is treated by `on_full`:

    - `reject`: the sender gets `MailboxFull(message)`;
    - `drop_oldest`: the longest waiting message becomes a dead letter;
    - `drop_newest`: the new message becomes a dead letter.
    """

    capacity: int
    on_full: str = "reject"

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise ValueError("a bounded mailbox holds at least one message")
        if self.on_full not in POLICIES:
            raise ValueError(f"on_full is one of {', '.join(POLICIES)}")
