"""What passes between a live system and the world outside.

Owns two counters, for whoever must know whether everything is quiet. Those that speak with the
outside (HTTP front, calls to webhooks) count here; it decides nothing.
"""

from __future__ import annotations

__all__ = ["Activity"]


class Activity:
    """`moves`: pieces of data that came or went; `pending`: exchanges under way that wait for this
    system or for the other side; `connections`: who could be told of something."""

    __slots__ = ("connections", "moves", "pending")

    def __init__(self) -> None:
        self.moves = 0
        self.pending = 0
        self.connections = 0
