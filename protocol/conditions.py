"""What a simulated world may be like when it is not as it should be: disks, registries, API faults.

Conditions are frozen values that stand in `ActorSystem.world` under the keys below while a fault
lasts; the component that lives in that world looks at them. An empty world costs a look at a dict.
They hold no state and decide nothing but whether they concern somebody.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from protocol.message import Message

__all__ = [
    "API",
    "DISK",
    "PATHS",
    "PROBES",
    "REGISTRY",
    "REQUESTS",
    "ApiFault",
    "BreakWatches",
    "ForgetHistory",
    "PathCall",
    "PathReply",
    "PowerOff",
    "ProbeFault",
    "RegistryFault",
    "SlowDisk",
    "Unsettle",
    "matches",
]

API, DISK, PATHS, PROBES, REGISTRY = "api", "disk", "paths", "probes", "registry"
REQUESTS = "requests"
"""`world[REQUESTS]`, if anybody wants to know: called with verb, resource, seconds and code of each request of
a component once it is answered, as that component saw it."""


class SlowDisk(Message, frozen=True):
    """`world[DISK]`: every write of etcd's takes `seconds` longer to be on the disk."""

    seconds: float


class ApiFault(Message, frozen=True):
    """One of `world[API]` (a tuple): requests that it concerns fail with `code` (0: they do not
    fail), or take `delay_s` seconds longer, each with probability `rate`. With `after` a request is
    carried out and only its answer lost. `users`, `verbs`, `resources` are patterns."""

    code: int
    rate: float = 1.0
    delay_s: float = 0.0
    users: tuple[str, ...] = ("*",)
    verbs: tuple[str, ...] = ("*",)
    resources: tuple[str, ...] = ("*",)
    after: bool = False

    def concerns(self, user: str, verb: str, resource: str) -> bool:
        """Whether such a request may be struck."""
        return matches(self.verbs, verb) and matches(self.resources, resource) and matches(self.users, user)


class RegistryFault(Message, frozen=True):
    """`world[REGISTRY]`: pulls of images that match fail (`down`) or take `seconds` longer."""

    down: bool = False
    seconds: float = 0.0
    images: tuple[str, ...] = ("*",)


class ProbeFault(Message, frozen=True):
    """`world[PROBES]`: probes of pods (`namespace/name`) that match fail with probability `rate`."""

    rate: float
    pods: tuple[str, ...] = ("*",)


class BreakWatches(Message, frozen=True):
    """To the API server: end open watches that match, each with probability `rate`. Answered by
    how many."""

    rate: float = 1.0
    users: tuple[str, ...] = ("*",)
    resources: tuple[str, ...] = ("*",)


class ForgetHistory(Message, frozen=True):
    """To the API server: compact the store now, so that every older resource version is expired.
    Answered by the revision."""


class Unsettle(Message, frozen=True):
    """To a pod's worker: what probes answer may have changed."""


class PowerOff(Message, frozen=True):
    """To a runtime: the machine loses its power, and all that ran is gone without a word."""


class PathCall(Message, frozen=True):
    """To whom `world[PATHS]` names for a path: an HTTP request by somebody who may make it.
    Answered by `PathReply`."""

    method: str
    path: str
    query: str
    body: bytes


class PathReply(Message, frozen=True):
    """JSON text and its HTTP status code."""

    code: int
    body: bytes


def matches(patterns: tuple[str, ...], text: str) -> bool:
    """Whether `text` is meant by one of some patterns (`*`, `?`)."""
    return any(pattern == "*" or fnmatchcase(text, pattern) for pattern in patterns)
