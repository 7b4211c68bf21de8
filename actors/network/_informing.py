"""Informers whose every change is one call.

Owns no state: it ties an informer's three callbacks together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.client import Client, Informer
from protocol.objects import Object, key

__all__ = ["Note", "noting"]

Note = Callable[[str, Object | None, Object | None], None]


def noting(client: Client, what: str, note: Note, **selectors: Any) -> Informer:
    """An informer that calls `note(key, old, new)`: an object came (`old` is None), changed, or went
    (`new` is None). `selectors`: `label_selector`, `field_selector`."""
    return Informer(
        client,
        what,
        on_add=lambda obj: note(key(obj), None, obj),
        on_update=lambda old, new: note(key(new), old, new),
        on_delete=lambda obj: note(key(obj), obj, None),
        **selectors,
    )
