"""The cycle collector, told to come less often while live systems run.

API objects are trees of dicts: reference counts free them, and each full pass of the collector
over a hundred thousand of them finds nothing. With Python's own thresholds a rollout of 1,000 pods
spends almost half of its time there. So the collector comes by itself only after many new objects,
and a live system that has nothing else to do has it look at the young ones (`due`, `tidy`). The
thresholds return when the last system has shut down.
"""

from __future__ import annotations

import gc
import threading

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


def restore() -> None:
    """One live system less."""
    global _systems
    with _lock:
        _systems -= 1
        if _systems == 0 and gc.get_threshold() == RELAXED:
            gc.set_threshold(*_before)


def due() -> bool:
    """Whether a pass over the young objects is worth while when there is time."""
    return gc.get_count()[0] > IDLE and gc.get_threshold() == RELAXED


def tidy() -> None:
    """Look for garbage among the young objects."""
    if due():
        gc.collect(0)
