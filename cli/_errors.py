"""How a verb says that it cannot go on."""

from __future__ import annotations

__all__ = ["Failed", "UsageError"]


class UsageError(Exception):
    """The input or the surroundings are wrong; the text says what and what to do. Exit status 2."""


class Failed(Exception):
    """It was tried and did not work. Exit status 1."""
