"""Who is speaking: the actor whose mail is being handled, for traces and links."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.kernel._cell import Cell

__all__ = ["Speaker"]


class Speaker:
    """Whose message is being handled on a system's dispatcher, and which one."""

    __slots__ = ("cause", "cell")

    def __init__(self) -> None:
        self.cell: Cell | None = None
        self.cause = 0
