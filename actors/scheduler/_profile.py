"""A profile: the plugins of one scheduler name, made, and sorted by extension point.

Owns the registry of plugin classes (built-in, from entry points of the group
`kubekka.scheduler.plugins`, given in the configuration) and the rule by which a plugin of the
`multiPoint` list joins every point that its class speaks at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from actors.scheduler._config import POINTS, ConfigError, PluginRef, ProfileConfig
from actors.scheduler._events import EventHint
from actors.scheduler._framework import ColumnPlugin, Handle, Plugin

__all__ = ["ENTRY_POINTS", "Profile", "registry"]

ENTRY_POINTS = "kubekka.scheduler.plugins"
_METHODS: Mapping[str, tuple[str, ...]] = {
    "preEnqueue": ("pre_enqueue",),
    "queueSort": ("sort_key",),
    "preFilter": ("pre_filter",),
    "filter": ("filter", "filter_rows"),
    "postFilter": ("post_filter",),
    "preScore": ("pre_score",),
    "score": ("score", "score_rows"),
    "reserve": ("reserve", "unreserve"),
    "permit": ("permit",),
    "preBind": ("pre_bind",),
    "bind": ("bind",),
    "postBind": ("post_bind",),
}


def registry(more: Iterable[type[Plugin]] = ()) -> dict[str, type[Plugin]]:
    """Plugin classes by name. A name given twice raises `ConfigError`."""
    from actors.scheduler._builtin import BUILTIN

    found: dict[str, type[Plugin]] = {p.name: p for p in BUILTIN}
    for cls in (*_installed(), *more):
        if not cls.name:
            raise ConfigError(f"plugin class {cls.__qualname__} has no name")
        if found.get(cls.name, cls) is not cls:
            raise ConfigError(f"a plugin named {cls.name!r} already exists")
        found[cls.name] = cls
    return found


@lru_cache(maxsize=1)
def _installed() -> tuple[type[Plugin], ...]:
    """Plugins of installed packages, looked for once per process."""
    return tuple(entry.load() for entry in entry_points(group=ENTRY_POINTS))


class Profile:
    """Plugins of one profile. Raises `ConfigError` for a plugin that does not exist, or sits at a
    point that it does not speak at."""

    def __init__(self, config: ProfileConfig, plugins: Mapping[str, type[Plugin]], handle: Handle) -> None:
        self.name = config.name
        self._config = config
        self._classes = plugins
        self._handle = handle
        self._made: dict[str, Plugin] = {}
        at = {point: self._at(point) for point in POINTS}
        self.pre_enqueue = [p for p, _ in at["preEnqueue"]]
        self.pre_filter = [p for p, _ in at["preFilter"]]
        filters = [p for p, _ in at["filter"]]
        self.filters = filters
        self.row_filters: list[ColumnPlugin] = []
        """Filters at the front whose verdicts equal pods share."""
        for plugin in filters:
            if not isinstance(plugin, ColumnPlugin) or plugin.filter_scope != "row":
                break
            self.row_filters.append(plugin)
        self.late_filters: list[Plugin] = filters[len(self.row_filters) :]
        self.post_filter = [p for p, _ in at["postFilter"]]
        self.pre_score = [p for p, _ in at["preScore"]]
        self.scores = [(p, w or 1) for p, w in at["score"]]
        self.row_scores: list[tuple[ColumnPlugin, int]] = []
        self.node_scores: list[tuple[ColumnPlugin, int]] = []
        self.late_scores: list[tuple[Plugin, int]] = []
        for plugin, weight in self.scores:
            if isinstance(plugin, ColumnPlugin) and plugin.score_scope == "row":
                self.row_scores.append((plugin, weight))
            elif isinstance(plugin, ColumnPlugin) and plugin.score_scope == "node":
                self.node_scores.append((plugin, weight))
            else:
                self.late_scores.append((plugin, weight))
        self.reserve = [p for p, _ in at["reserve"]]
        self.permit = [p for p, _ in at["permit"]]
        self.pre_bind = [p for p, _ in at["preBind"]]
        self.bind = [p for p, _ in at["bind"]]
        self.post_bind = [p for p, _ in at["postBind"]]
        sorters = [p for p, _ in at["queueSort"]]
        if len(sorters) != 1:
            raise ConfigError(f"profile {self.name!r}: needs exactly one queueSort plugin, has {len(sorters)}")
        if not self.bind:
            raise ConfigError(f"profile {self.name!r}: at least one bind plugin is needed")
        self.queue_sort = sorters[0]
        unused = set(config.args) - set(self._classes)
        if unused:
            raise ConfigError(f"pluginConfig: there is no plugin {sorted(unused)[0]!r}")

    @property
    def plugins(self) -> list[Plugin]:
        """All plugins in use."""
        return list(self._made.values())

    def hints(self) -> dict[str, tuple[EventHint, ...]]:
        """Which events each plugin waits for."""
        return {p.name: p.events() for p in self.plugins}

    def _class(self, name: str) -> type[Plugin]:
        found = self._classes.get(name)
        if found is None:
            raise ConfigError(f"profile {self.name!r}: plugin {name!r} does not exist")
        return found

    def _plugin(self, name: str) -> Plugin:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._class(name)(self._config.args.get(name) or {}, self._handle)
        return made

    def _at(self, point: str) -> list[tuple[Plugin, int]]:
        """Plugins of a point: explicit ones that multiPoint also names, then the rest of
        multiPoint, then the other explicit ones."""
        points = self._config.points
        multi: tuple[PluginRef, ...] = points.get("multiPoint", ())
        speaks = [r for r in multi if any(self._class(r.name).overrides(m) for m in _METHODS[point])]
        explicit: tuple[PluginRef, ...] = points.get(point, ())
        disabled = {r.name for r in points.get(f"disabled:{point}", ())}
        for ref in explicit:
            if not any(self._class(ref.name).overrides(m) for m in _METHODS[point]):
                raise ConfigError(f"profile {self.name!r}: plugin {ref.name!r} does not extend {point} plugin")
        named, in_multi = {r.name for r in explicit}, {r.name for r in speaks}
        weights: dict[str, Any] = {r.name: r.weight for r in multi}
        order = [PluginRef(r.name, r.weight or weights[r.name]) for r in explicit if r.name in in_multi]
        if "*" not in disabled:
            order += [r for r in speaks if r.name not in named and r.name not in disabled]
        order += [r for r in explicit if r.name not in in_multi]
        return [(self._plugin(r.name), r.weight) for r in order]
