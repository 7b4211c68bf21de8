"""What decoding raises, and how strict errors read together.

Owns two words only. It must never build a Status: whoever decodes knows which one is due.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["DecodeFailure", "Unclean", "strict_message"]


class DecodeFailure(Exception):
    """The body is no such object; the text is what Go's decoder says."""


class Unclean(Exception):
    """Something needs the careful walk: an unknown field, a type that does not fit."""


def strict_message(errors: Sequence[str]) -> str:
    """`strict decoding error: unknown field "a", duplicate field "b"`."""
    return "strict decoding error: " + ", ".join(errors)
