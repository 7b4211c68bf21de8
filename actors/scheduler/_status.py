"""What a plugin answers: a code, the reasons in words, and who said it.

Owns the vocabulary of verdicts only; how verdicts are joined into a message is `_fit_error`'s.
Codes as in https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

__all__ = ["SKIP", "SUCCESS", "Code", "Status"]


class Code(IntEnum):
    """What became of a plugin's call."""

    SUCCESS = 0
    ERROR = 1
    UNSCHEDULABLE = 2
    """Not now; evicting pods may help."""
    UNRESOLVABLE = 3
    """Not now, and no eviction changes it (upstream: UnschedulableAndUnresolvable)."""
    WAIT = 4
    """Permit only: hold the pod until it is allowed, rejected or timed out."""
    SKIP = 5
    """PreFilter and PreScore only: this plugin has nothing to say about this pod."""
    PENDING = 6
    """Not now; the pod waits for something that somebody else is already doing."""


class Status(NamedTuple):
    """A verdict. Immutable and hashable, so equal verdicts about many nodes are one value."""

    code: Code
    reasons: tuple[str, ...] = ()
    plugin: str = ""

    @property
    def ok(self) -> bool:
        return self.code is Code.SUCCESS

    @property
    def rejected(self) -> bool:
        """Whether the pod (or the node for it) was refused, as opposed to a failure to decide."""
        return self.code in (Code.UNSCHEDULABLE, Code.UNRESOLVABLE, Code.PENDING)

    @property
    def message(self) -> str:
        return ", ".join(self.reasons)

    def by(self, plugin: str) -> Status:
        """The same verdict with the plugin's name on it, unless it bears one already."""
        return self if self.plugin else self._replace(plugin=plugin)


SUCCESS = Status(Code.SUCCESS)
SKIP = Status(Code.SKIP)
