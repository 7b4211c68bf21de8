"""What a command line amounts to, before anything runs.

none, or a program that is not known      runs for ever: FOREVER
sleep 5, true, exit 3                     ends by itself: Ends(5.0, 0)
anything else                             a script to be interpreted: None
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from actors.runtime._commands import COMMANDS, sleep_seconds

__all__ = ["FOREVER", "Ends", "program"]


class Ends(NamedTuple):
    """Ends `seconds` after its start with this exit code; infinite seconds never."""

    seconds: float
    exit_code: int


FOREVER = Ends(float("inf"), 0)


@lru_cache(maxsize=4096)
def program(argv: tuple[str, ...]) -> Ends | None:
    """See the module."""
    if not argv:
        return FOREVER
    name = argv[0].rsplit("/", 1)[-1]
    if name not in COMMANDS:
        return FOREVER
    if name in ("true", "false"):
        return Ends(0.0, int(name == "false"))
    if name == "sleep":
        seconds = sleep_seconds(list(argv[1:]))
        return None if seconds is None else Ends(seconds, 0)
    if name == "exit" and len(argv) == 2 and re.fullmatch(r"\d+", argv[1]):
        return Ends(0.0, int(argv[1]) & 0xFF)
    if name in ("sh", "bash", "ash", "dash") and len(argv) == 3 and argv[1] == "-c":
        match = re.fullmatch(
            r"\s*(?:sleep (?P<n>[\d.]+[smhd]?)|exit (?P<code>\d+)|(?P<t>true|:)|(?P<f>false))\s*;?\s*", argv[2]
        )
        if match:
            seconds = sleep_seconds([match.group("n")]) if match.group("n") else 0.0
            if seconds is not None:
                code = int(match.group("code")) & 0xFF if match.group("code") else int(bool(match.group("f")))
                return Ends(seconds, code)
    return None
