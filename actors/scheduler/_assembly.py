"""Puts a scheduler's profiles together: plugins, the handle they share, and who reports for them.

Profiles see one cluster: cache, other objects, nominations and pods that wait are common to all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# Imported here for its time: not when the first scheduler starts, on the loop's thread.
import actors.scheduler._builtin  # noqa: F401
from actors.scheduler._engine import Engine
from actors.scheduler._framework import Handle
from actors.scheduler._outcome import Reporter
from actors.scheduler._pods import PodInfo
from actors.scheduler._profile import Profile, registry

if TYPE_CHECKING:
    from actors.scheduler._actor import Scheduler

__all__ = ["assemble"]


def assemble(scheduler: Scheduler) -> tuple[dict[str, Handle], dict[str, Engine], dict[str, Reporter]]:
    """Handles, engines and reporters by scheduler name. Raises `ConfigError`."""
    plugins = registry(scheduler.config.plugins)
    pending: dict[str, PodInfo] = {}
    waiting: dict[str, Any] = {}
    handles, engines, reporters = {}, {}, {}
    left_out = frozenset(name for e in scheduler.config.extenders for name in e.ignored_resources)
    for profile in scheduler.config.profiles:
        reporter = Reporter(scheduler.client, profile.name)
        handle = Handle(
            scheduler.cache,
            scheduler.objects,
            scheduler.random,
            profile.name,
            scheduler.config.minor,
            scheduler.client,
            scheduler.sleep,
            scheduler.clock.now,
            scheduler.clock.rfc3339,
            waiting,
            scheduler.nominated,
            pending,
            scheduler.background,
            reporter.event,
            left_out,
        )
        handles[profile.name] = handle
        engines[profile.name] = Engine(Profile(profile, plugins, handle), handle)
        reporters[profile.name] = reporter
    return handles, engines, reporters
