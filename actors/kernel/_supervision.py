"""Who restarts whom, and how often: OTP's vocabulary.

| restart   | stopped by request | crashed                        |
|-----------|--------------------|--------------------------------|
| PERMANENT | stays stopped      | restarted                      |
| TEMPORARY | stays stopped      | stays dead                     |

More than `intensity` crashes within `period_s` seconds and the parent crashes in the child's
place (one-for-one: the siblings of a crashed child are left alone). Waits between restarts double
from `backoff_s` to `backoff_max_s` while crashes keep coming within the period.
https://www.erlang.org/doc/system/sup_princ.html
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.kernel._actor import Actor

__all__ = ["Child", "Restart"]


class Restart(enum.Enum):
    """What a supervisor does when a child crashes."""

    PERMANENT = "permanent"
    TEMPORARY = "temporary"


@dataclass(frozen=True, slots=True)
class Child:
    """The specification of a child actor: how to make it, and what to do when it crashes."""

    name: str
    factory: Callable[[], Actor]
    restart: Restart = Restart.PERMANENT
    intensity: int = 10
    period_s: float = 60.0
    backoff_s: float = 0.01
    backoff_max_s: float = 5.0
    shutdown_s: float = 2.0

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name:
            raise ValueError(f"a child's name is one path segment, not {self.name!r}")
        if not callable(self.factory):
            raise TypeError("a child's factory makes an actor when called")


class Intensity:
    """The crashes of one child within its period; made at its first crash."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: list[float] = []

    def record(self, spec: Child, now: float) -> float | None:
        """Note a crash at `now`; answers the seconds to wait before the restart, or None when
        the child has crashed too often."""
        self._times = [t for t in self._times if now - t < spec.period_s]
        self._times.append(now)
        crashes = len(self._times)
        if crashes > spec.intensity:
            return None
        return min(spec.backoff_s * 2 ** (crashes - 1), spec.backoff_max_s)
