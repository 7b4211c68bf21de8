"""KubeSchedulerConfiguration: which plugins run where, with which weights and arguments.

Reads the v1 file format of kube-scheduler (https://kubernetes.io/docs/reference/scheduling/config/)
into `SchedulerConfig`. Owns defaults and the rules by which a profile's lists join the default ones;
it makes no plugin (`_profile` does). What the file may not say raises `ConfigError` with one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "POINTS",
    "ConfigError",
    "ExtenderConfig",
    "ExtenderTls",
    "PluginRef",
    "ProfileConfig",
    "SchedulerConfig",
    "load",
]

API_VERSIONS = ("kubescheduler.config.k8s.io/v1",)
POINTS = (
    "preEnqueue",
    "queueSort",
    "preFilter",
    "filter",
    "postFilter",
    "preScore",
    "score",
    "reserve",
    "permit",
    "preBind",
    "bind",
    "postBind",
)
_FIELDS = frozenset(
    (
        "apiVersion",
        "kind",
        "clientConnection",
        "enableContentionProfiling",
        "delayCacheUntilActive",
        "enableProfiling",
        "extenders",
        "leaderElection",
        "parallelism",
        "percentageOfNodesToScore",
        "podInitialBackoffSeconds",
        "podMaxBackoffSeconds",
        "profiles",
    )
)
"""Fields of the file; those about sampling, threads and profiling are read and have no effect."""
DEFAULT_PLUGINS: tuple[tuple[str, int], ...] = (
    ("SchedulingGates", 0),
    ("PrioritySort", 0),
    ("NodeUnschedulable", 0),
    ("NodeName", 0),
    ("TaintToleration", 3),
    ("NodeAffinity", 2),
    ("NodePorts", 0),
    ("NodeResourcesFit", 1),
    ("VolumeRestrictions", 0),
    ("NodeVolumeLimits", 0),
    ("VolumeBinding", 0),
    ("VolumeZone", 0),
    ("PodTopologySpread", 2),
    ("InterPodAffinity", 2),
    ("DynamicResources", 0),
    ("DefaultPreemption", 0),
    ("NodeResourcesBalancedAllocation", 1),
    ("ImageLocality", 1),
    ("DefaultBinder", 0),
)


class ConfigError(ValueError):
    """The configuration cannot be used; the message is one line for its author."""


@dataclass(frozen=True, slots=True)
class PluginRef:
    """A plugin in a list. `weight` 0 means: not given."""

    name: str
    weight: int = 0


@dataclass(frozen=True, slots=True)
class ExtenderTls:
    """`tlsConfig` of an extender: names of PEM files, and authorities as PEM text."""

    insecure: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    ca_data: str = ""


@dataclass(frozen=True, slots=True)
class ExtenderConfig:
    """An HTTP extender (`extenders:`), its verbs empty where it does not serve them."""

    url_prefix: str
    filter_verb: str = ""
    prioritize_verb: str = ""
    bind_verb: str = ""
    weight: int = 1
    timeout_s: float = 5.0
    ignorable: bool = False
    node_cache_capable: bool = False
    managed_resources: tuple[str, ...] = ()
    preempt_verb: str = ""
    ignored_resources: tuple[str, ...] = ()
    """Managed resources that NodeResourcesFit leaves to the extender (`ignoredByScheduler`)."""
    tls: ExtenderTls | None = None


@dataclass(frozen=True, slots=True)
class ProfileConfig:
    """One scheduler name and, per extension point, its plugins in order."""

    name: str = "default-scheduler"
    points: Mapping[str, tuple[PluginRef, ...]] = field(default_factory=dict)
    args: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """All that a scheduler is told when it starts. Times in seconds."""

    profiles: tuple[ProfileConfig, ...] = ()
    extenders: tuple[ExtenderConfig, ...] = ()
    plugins: tuple[type[Any], ...] = ()
    """Plugin classes besides the built-in ones and the installed entry points."""
    backoff_initial_s: float = 1.0
    backoff_max_s: float = 10.0
    unschedulable_max_s: float = 300.0
    """A pod that nothing requeued is tried again after this long all the same."""
    assumed_ttl_s: float = 30.0
    """How long after a successful binding the watch may take to show it."""
    leader_elect: bool = False
    leader_name: str = "kube-scheduler"
    leader_namespace: str = "kube-system"
    lease_duration_s: float = 15.0
    renew_deadline_s: float = 10.0
    retry_period_s: float = 2.0
    binds_in_flight: int = 256
    """Bindings that may be under way at once; the next pod waits for one to finish."""
    batch: int = 32
    """Pods placed before other messages are looked at."""
    minor: int = 36
    """Speak as the scheduler of Kubernetes 1.`minor`."""
    passive: bool = False
    """Watch and answer questions, but place nothing."""
    explain: bool = False
    """Write an account of every decision into the pod's annotation (costs time)."""

    def with_profiles(self) -> SchedulerConfig:
        """With the default profile where none is given."""
        if self.profiles:
            return self
        from dataclasses import replace

        return replace(self, profiles=(default_profile(),))


def default_profile(name: str = "default-scheduler") -> ProfileConfig:
    """Upstream's default plugins, at every point they speak at."""
    return ProfileConfig(name, expand({}))


def expand(plugins: Mapping[str, Any]) -> dict[str, tuple[PluginRef, ...]]:
    """A profile's `plugins:` joined with the defaults.

    The key `multiPoint` of the answer lists the plugins that join every point they speak at; the
    other keys list, per point, what comes explicitly. `disabled:POINT` names who must not join.
    """
    multi = plugins.get("multiPoint") or {}
    out: dict[str, tuple[PluginRef, ...]] = {
        "multiPoint": _merge(multi, tuple(PluginRef(n, w) for n, w in DEFAULT_PLUGINS))
    }
    for point in POINTS:
        part = plugins.get(point) or {}
        out[point] = tuple(_refs(part.get("enabled")))
        out[f"disabled:{point}"] = tuple(_refs(part.get("disabled")))
    unknown = set(plugins) - {*POINTS, "multiPoint"}
    if unknown:
        raise ConfigError(f"unknown extension point {sorted(unknown)[0]!r}")
    return out


def _refs(listed: Any) -> list[PluginRef]:
    found = []
    for entry in listed or ():
        name = entry.get("name")
        if not name:
            raise ConfigError("a plugin without a name")
        weight = int(entry.get("weight") or 0)
        if weight < 0:
            raise ConfigError(f"plugin {name!r}: the weight must not be negative")
        found.append(PluginRef(name, weight))
    return found


def _merge(part: Mapping[str, Any], defaults: tuple[PluginRef, ...]) -> tuple[PluginRef, ...]:
    """Defaults without the disabled ones, re-weighted where enabled again, then what is new."""
    disabled = {r.name for r in _refs(part.get("disabled"))}
    enabled = {r.name: r for r in _refs(part.get("enabled"))}
    kept = [] if "*" in disabled else [r for r in defaults if r.name not in disabled]
    merged = [enabled.pop(r.name, r) for r in kept]
    return (*merged, *enabled.values())


def _duration(text: Any, name: str) -> float:
    """A Go duration such as `15s` or `1m30s`, in seconds."""
    if isinstance(text, (int, float)):
        return float(text)
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    total, number, at = 0.0, "", 0
    while at < len(text):
        if text[at].isdigit() or text[at] == ".":
            number += text[at]
            at += 1
            continue
        unit = text[at : at + 2] if text[at : at + 2] in units else text[at]
        if unit not in units or not number:
            raise ConfigError(f"{name}: {text!r} is not a duration")
        total += float(number) * units[unit]
        number = ""
        at += len(unit)
    if number:
        raise ConfigError(f"{name}: {text!r} is not a duration")
    return total


def _profile(raw: Mapping[str, Any]) -> ProfileConfig:
    args = {}
    for entry in raw.get("pluginConfig") or ():
        name = entry.get("name")
        if not name:
            raise ConfigError("pluginConfig: an entry without a name")
        if name in args:
            raise ConfigError(f"pluginConfig: repeated config for plugin {name}")
        args[name] = entry.get("args") or {}
    return ProfileConfig(raw.get("schedulerName") or "default-scheduler", expand(raw.get("plugins") or {}), args)


def _extender(raw: Mapping[str, Any]) -> ExtenderConfig:
    prefix = raw.get("urlPrefix") or ""
    if not prefix:
        raise ConfigError("extenders: an entry without urlPrefix")
    weight = int(raw.get("weight") or 0)
    if raw.get("prioritizeVerb") and weight <= 0:
        raise ConfigError(f"extenders: {prefix}: must have a positive weight applied to it")
    managed = raw.get("managedResources") or ()
    https = bool(raw.get("enableHTTPS"))
    if "://" not in prefix:
        prefix = ("https://" if https else "http://") + prefix
    return ExtenderConfig(
        prefix.rstrip("/"),
        raw.get("filterVerb") or "",
        raw.get("prioritizeVerb") or "",
        raw.get("bindVerb") or "",
        weight or 1,
        _duration(raw.get("httpTimeout") or "5s", "httpTimeout"),
        bool(raw.get("ignorable")),
        bool(raw.get("nodeCacheCapable")),
        tuple(r.get("name", "") for r in managed),
        raw.get("preemptVerb") or "",
        tuple(r.get("name", "") for r in managed if r.get("ignoredByScheduler")),
        _tls(raw["tlsConfig"]) if raw.get("tlsConfig") else None,
    )


def _tls(raw: Mapping[str, Any]) -> ExtenderTls:
    """An extender's `tlsConfig`; what is inline is as good as a file, except a client's key."""
    import base64

    if raw.get("certData") or raw.get("keyData"):
        raise ConfigError("extenders: tlsConfig: certData and keyData are not supported; use certFile and keyFile")
    data = base64.b64decode(raw.get("caData") or "").decode()
    ca, cert, key = (str(raw.get(name) or "") for name in ("caFile", "certFile", "keyFile"))
    return ExtenderTls(bool(raw.get("insecure")), ca, cert, key, data)


def parse(raw: Mapping[str, Any]) -> SchedulerConfig:
    """A KubeSchedulerConfiguration object. Raises `ConfigError`."""
    version, kind = raw.get("apiVersion"), raw.get("kind")
    if kind != "KubeSchedulerConfiguration" or version not in API_VERSIONS:
        raise ConfigError(f"no kind {kind!r} is registered for version {version!r}")
    unknown = sorted(set(raw) - _FIELDS)
    if unknown:
        raise ConfigError(f'strict decoding error: unknown field "{unknown[0]}"')
    listed: list[Mapping[str, Any]] = raw.get("profiles") or [{}]
    profiles = tuple(_profile(p) for p in listed)
    names = [p.name for p in profiles]
    if len(set(names)) != len(names):
        raise ConfigError("profiles: duplicate schedulerName")
    binders = sum(bool(e.get("bindVerb")) for e in raw.get("extenders") or ())
    if binders > 1:
        raise ConfigError(f"extenders: found {binders} extenders implementing bind")
    election = raw.get("leaderElection") or {}
    return SchedulerConfig(
        profiles=profiles,
        extenders=tuple(_extender(e) for e in raw.get("extenders") or ()),
        backoff_initial_s=float(raw.get("podInitialBackoffSeconds") or 1),
        backoff_max_s=float(raw.get("podMaxBackoffSeconds") or 10),
        leader_elect=bool(election.get("leaderElect", True)),
        leader_name=election.get("resourceName") or "kube-scheduler",
        leader_namespace=election.get("resourceNamespace") or "kube-system",
        lease_duration_s=_duration(election.get("leaseDuration") or "15s", "leaseDuration"),
        renew_deadline_s=_duration(election.get("renewDeadline") or "10s", "renewDeadline"),
        retry_period_s=_duration(election.get("retryPeriod") or "2s", "retryPeriod"),
    )


def load(path: str | Path) -> SchedulerConfig:
    """Read a configuration file (YAML or JSON). Raises `ConfigError` and `OSError`."""
    import yaml

    text = Path(path).read_text(encoding="utf-8")
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: not a KubeSchedulerConfiguration")
    return parse(raw)
