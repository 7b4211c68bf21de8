"""Compiled label selectors of frozen objects, each compiled once.

Controllers ask for the selector of the same object again and again; the text of its JSON is the
key, so an equal selector in another object or revision is found too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from protocol.objects import NOTHING, Object, Selector, SelectorError, selector_of

__all__ = ["cached_selector"]


@lru_cache(maxsize=8192)
def _compile(text: bytes) -> Selector:
    try:
        return selector_of(orjson.loads(text))
    except SelectorError:
        return NOTHING  # stored by someone who validates less: it selects nothing rather than all


def cached_selector(label_selector: Object | dict[str, Any] | None) -> Selector:
    """The compiled form of a LabelSelector; None or an invalid one selects nothing."""
    if label_selector is None:
        return NOTHING
    return _compile(orjson.dumps(label_selector, option=orjson.OPT_SORT_KEYS))
