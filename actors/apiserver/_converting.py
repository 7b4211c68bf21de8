"""Watches of a version that a conversion webhook makes: told later, but in order.

Owns the queue between what happens and what the client is told. A watch of this sort waits for the
webhook and lets nobody else wait; when the webhook fails, the client gets the error and the watch ends.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from actors.apiserver._cache import Change, Entry
from actors.apiserver._watch import Watch
from protocol.api import StatusError

if TYPE_CHECKING:
    from actors.apiserver._core import Core
    from actors.apiserver._resources import Served

__all__ = ["ConvertingWatch"]

_MAX_QUEUED = 10_000

_Bookmark = tuple[int, dict[str, str] | None]


class ConvertingWatch(Watch):
    """One open watch whose events wait for their conversion."""

    __slots__ = ("_core", "_queue", "_running", "_served")

    def __init__(self, core: Core, served: Served, *args: Any) -> None:
        super().__init__(*args)
        self._core = core
        self._served = served
        self._queue: deque[Change | Entry | _Bookmark] = deque()
        self._running = False

    def begin(self) -> None:
        """Tell the client what is there now, when it is converted."""
        self._add(*self.selection.indexed(self.cache))

    def replay(self, changes: list[Change]) -> None:
        """Tell the client of changes of the past."""
        self._add(*changes)

    def offer(self, change: Change) -> None:
        """Tell the client of a change, if it concerns it, after all that came before."""
        if change.revision > self.since:
            self._add(change)

    def bookmark(self, revision: int, annotations: dict[str, str] | None = None) -> None:
        """Tell the client how far it is, once it is."""
        self._add((revision, annotations))

    def _add(self, *steps: Change | Entry | _Bookmark) -> None:
        if not steps:
            return
        if len(self._queue) > _MAX_QUEUED:
            self._core.watches.close(self, "too slow")
            return
        self._queue.extend(steps)
        if not self._running:
            self._running = True
            self._core.actor.background(self._run())

    async def _run(self) -> None:
        try:
            while self._queue and not self.closed:
                steps = list(self._queue)
                self._queue.clear()
                await self._served.prepare(self._needed(steps))
                if not self.closed:
                    self._tell(steps)
        except StatusError as error:
            if not self.closed:
                self.send([self.renderer.plain("ERROR", error.status)])
                self._core.watches.close(self, "conversion failed")
        finally:
            self._running = False

    def _needed(self, steps: list[Any]) -> list[Entry]:
        """What must be converted to tell of some steps, each once."""
        needed: dict[tuple[str, int], Entry] = {}
        for step in steps:
            entries: tuple[Entry | None, ...] = ()
            if isinstance(step, Entry):
                entries = (step,)
            elif isinstance(step, Change):
                judged = self.selection.view is not None or step.new is None or self.kind_of(step) == "DELETED"
                entries = (step.new, step.old) if judged else (step.new,)
            for entry in entries:
                if entry is not None:
                    needed[entry.key, entry.revision] = entry
        return list(needed.values())

    def _tell(self, steps: list[Any]) -> None:
        parts: list[Any] = []
        for step in steps:
            if isinstance(step, Entry):
                if self.selection.matches(step):
                    parts.append(self.renderer.initial(step))
            elif isinstance(step, Change):
                kind = self.kind_of(step)
                if kind == "DELETED":
                    step.gone_in(self._served.kind.api_version, self._served.from_storage)
                if kind is not None:
                    parts.append(self.renderer.event(kind, step))
            else:
                self.send(parts)
                parts = []
                super().bookmark(*step)
        self.send(parts)
