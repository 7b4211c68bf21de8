"""Go's regular expressions, by RE2: linear in the text, whatever the pattern.

Owns the compilation, and Go's words for what is wrong with a pattern.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

__all__ = ["compile_pattern"]

_GO_WORDS = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "bad repetition operator": "invalid nested repetition operator",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid repetition size": "invalid repeat count",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid named capture group": "invalid named capture",
    "trailing \\": "trailing backslash at end of expression",
}
"""RE2's words for broken patterns, where Go's differ."""


@lru_cache(maxsize=2048)
def compile_pattern(pattern: str) -> Any:
    """A compiled pattern, with `search` and `finditer`. Raises `ValueError` with Go's words."""
    import re2  # type: ignore[import-untyped]

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0] if error.args else str(error)
        if isinstance(text, bytes):
            text = text.decode()
        words, _, culprit = str(text).partition(": ")
        words = _GO_WORDS.get(words, words)
        raise ValueError(f"error parsing regexp: {words}: `{culprit or pattern}`") from None
