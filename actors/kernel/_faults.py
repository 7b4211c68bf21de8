"""What may befall actors and the links between their hosts, in any system.

A crash here is that of a process: no clean-up, mail lost, asks failed. A pause is a stopped
process. Nothing in here chooses its victims or knows how long a fault lasts. On the dispatcher's
thread only.
"""

from __future__ import annotations

from actors.kernel._life import DEAD, RESTARTING, Life
from actors.kernel._observed import BATCH, ObservedCell

__all__ = ["HeldCell", "crash", "revive", "subtree"]


class HeldCell(ObservedCell):
    """A cell whose actor handles nothing: mail waits."""

    def run(self, limit: int = BATCH) -> None:
        self.scheduled = False


def crash(cell: Life, restart_after_s: float | None) -> None:
    """The process dies; it is started again in `restart_after_s` seconds, or by `revive` (None).
    Its address stays."""
    if cell.state == DEAD:
        return
    cell._unwind(keep_mail=False)
    if restart_after_s is None:
        cell.state = RESTARTING
    else:
        cell.restart_after(restart_after_s)


def revive(cell: Life) -> None:
    """Start again what is down after a crash; harmless otherwise."""
    if cell.state == RESTARTING:
        cell.restart_after(0.0)


def subtree(cell: Life) -> list[Life]:
    """The cell and all below it."""
    cells = [cell]
    for child in (cell.children or {}).values():
        cells.extend(subtree(child))
    return cells
