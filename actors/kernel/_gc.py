"""The cycle collector, told to come less often while live systems run.

API objects are trees of dicts: reference counts free them, and each full pass of the collector
over a hundred thousand of them finds nothing. With Python's own thresholds a rollout of 1,000 pods
spends almost half of its time there. So the collector comes by itself only after many new objects,
and a live system that has nothing else to do has it look at the young ones (`due`, `tidy`).

What has survived a pass is set aside (`gc.freeze`) and not walked over again: a pass over all that
30,000 pods consist of stops the whole cluster for four seconds and finds four hundred objects. Until
the last system has shut down, circles among such objects are not found. Then they are, and the
thresholds return.
"""

from __future__ import annotations

import gc
import threading
from typing import Any

__all__ = ["due", "relax", "restore", "tidy"]

RELAXED = (400_000, 20, 100)
"""A pass over so many new objects takes a fifth of a second."""
IDLE = 50_000
"""New objects that are worth a pass when there is time for it."""

_lock = threading.Lock()
_systems = 0
_before: tuple[int, int, int] = RELAXED


def relax() -> None:
    """One more live system runs."""
    global _systems, _before
    with _lock:
        _systems += 1
        if _systems == 1:
            _before = gc.get_threshold()
            if 0 < _before[0] < RELAXED[0]:  # somebody may have switched it off, or gone further
                gc.set_threshold(*RELAXED)
                gc.callbacks.append(_set_aside)


def restore() -> None:
    """One live system less."""
    global _systems
    with _lock:
        _systems -= 1
        if _systems > 0:
            return
        if _set_aside in gc.callbacks:
            gc.callbacks.remove(_set_aside)
            gc.unfreeze()
        if gc.get_threshold() == RELAXED:
            gc.set_threshold(*_before)


def _set_aside(phase: str, info: dict[str, Any]) -> None:
    """Called by the collector, after a pass over the young ones."""
    if phase == "stop" and info["generation"] == 0 and gc.get_threshold() == RELAXED:
        gc.freeze()


def due() -> bool:
    """Whether a pass over the young objects is worth while when there is time."""
    return gc.get_count()[0] > IDLE and gc.get_threshold() == RELAXED


def tidy() -> None:
    """Look for garbage among the young objects."""
    if due():
        gc.collect(0)
