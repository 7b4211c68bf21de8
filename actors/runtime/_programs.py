"""The table of programs that simulated containers know, and what those share.

Owns the registration and the effect that signals the main process. The programs themselves are in
`_commands`, `_commands_text` and `_commands_files`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from actors.runtime._shell import Io, Shell, Steps

__all__ = ["COMMANDS", "Kill", "Program", "command", "sleep_seconds"]

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
Program = Callable[[Shell, list[str], Io], Steps]
COMMANDS: dict[str, Program] = {}


class Kill:
    """Sends a signal to the container's main process."""

    __slots__ = ("signal",)

    def __init__(self, signal: str) -> None:
        self.signal = signal


def command(*names: str) -> Callable[[Program], Program]:
    def register(program: Program) -> Program:
        for name in names:
            COMMANDS[name] = program
        return program

    return register


def sleep_seconds(words: list[str]) -> float | None:
    """The length of `sleep` with these arguments; infinity is `inf`; None if it is no duration."""
    total = 0.0
    for word in words:
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)([smhd]?)", word)
        if word in ("infinity", "inf"):
            total = float("inf")
        elif match is None:
            return None
        else:
            total += float(match.group(1)) * UNITS[match.group(2) or "s"]
    return total if words else None
