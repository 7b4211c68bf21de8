"""The scheduler: finds a node for every pod that has none, and binds it there.

Owns the queue of waiting pods, a picture of the cluster as columns, and the plugins that judge
nodes. It is a client of the API server like any other and never talks to a node.

    from actors.scheduler import Scheduler, SchedulerConfig
    system.spawn(Child("scheduler", lambda: Scheduler(apiserver, SchedulerConfig())))

Plugins of one's own derive from `Plugin`; see docs/scheduler.md.
"""

from __future__ import annotations

from typing import Any

from actors.scheduler._config import ConfigError, ProfileConfig, SchedulerConfig, default_profile, load, parse

__all__ = [
    "Code",
    "ColumnPlugin",
    "ConfigError",
    "Cycle",
    "EventHint",
    "Handle",
    "NodeView",
    "PermitResult",
    "Plugin",
    "PodInfo",
    "PostFilterResult",
    "PreFilterResult",
    "ProfileConfig",
    "Scheduler",
    "SchedulerConfig",
    "Status",
    "default_profile",
    "load",
    "parse",
]

_HOMES = {
    "Scheduler": "_actor",
    "Plugin": "_framework",
    "ColumnPlugin": "_framework",
    "Cycle": "_framework",
    "Handle": "_framework",
    "PermitResult": "_framework",
    "PreFilterResult": "_framework",
    "PostFilterResult": "_framework",
    "EventHint": "_events",
    "NodeView": "_cache",
    "PodInfo": "_pods",
    "Code": "_status",
    "Status": "_status",
}


def __getattr__(name: str) -> Any:
    """Import on first use: numpy takes a tenth of a second that nobody should pay for nothing."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
