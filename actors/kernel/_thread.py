"""Threads of their own for actors that block.

The cell stays what it is; only the place changes where its mail is handled. Answers wake their
askers through the askers' own mailboxes, so nothing else needs to know.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from actors.kernel._cell import Cell
from actors.kernel._life import DEAD

if TYPE_CHECKING:
    from actors.kernel._system import ActorSystem

__all__ = ["run_on_thread"]


def run_on_thread(system: ActorSystem, cell: Cell) -> threading.Thread:
    """Handle `cell`'s mail on a new thread until it is dead or restarts."""
    wake = threading.Semaphore(0)
    incarnation = cell.incarnation

    def ready(_: Cell) -> None:
        wake.release()

    def main() -> None:
        while True:
            wake.acquire()
            cell.run()
            if cell.state == DEAD or cell.incarnation != incarnation:
                # A new incarnation is made on the dispatcher, and moved to a new thread there.
                cell.ready = system.ready
                if cell.mailbox:
                    cell.scheduled = True
                    system.ready(cell)
                return

    cell.ready = ready
    thread = threading.Thread(target=main, name=cell.actor_urn, daemon=True)
    thread.start()
    return thread
