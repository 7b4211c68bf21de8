"""Scenario files: what may stand in them, and what is said of what may not.

    name: web survives a zone                 # optional
    duration: 10m                             # of virtual time, from when the nodes are Ready
    nodes:                                    # a number, or groups
    - {count: 3, zone: a, cpu: "4", memory: 8Gi, pods: 110}
    workloads:
    - {at: 0s, file: web.yaml}                # or `manifest: |`; beside the scenario file
    arrivals:
    - {process: poisson, kind: pod, at: 10s, for: 2m, rate: 0.5, cpu: 100m, runs: 30s}
    - {process: burst, kind: job, at: 1m, count: 20}
    - {process: ramp, kind: pod, at: 0s, for: 1m, count: 30}
    faults:
    - {at: 1m, verb: kill, target: node/*, for: 3m}
    random-faults: {count: 3, from: 0s, until: 5m, verbs: [kill, cut], for: 30s}
    checks:
    - {converged: 60s}                        # after the last disturbance
    - {available: web, at-least: 2, from: 30s}
    - {never-more-than: 12, what: pods}
    - {pod-start-p99: 10s}
    - {api-p99: 1s}
    - {always: "pods.all(p, p.status.phase != 'Failed')", name: no pod fails, from: 30s}     # CEL
    - {finally: "nodes.all(n, !has(n.spec.taints))"}
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from simulation._faults import VERBS, FaultError, checked

__all__ = ["Scenario", "ScenarioError", "load_scenario", "read_duration"]

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
TOP = ("name", "duration", "nodes", "workloads", "arrivals", "faults", "random-faults", "checks")
NODE = ("count", "zone", "cpu", "memory", "pods")
WORKLOAD = ("at", "file", "manifest")
ARRIVAL = ("process", "kind", "at", "for", "rate", "count", "cpu", "memory", "runs")
RANDOM = ("count", "from", "until", "verbs", "for")
CHECKS = {
    "converged": (),
    "available": ("at-least", "from", "until"),
    "never-more-than": ("what",),
    "pod-start-p99": (),
    "api-p99": (),
    "always": ("name", "from", "until"),
    "finally": ("name",),
}
RANDOM_VERBS: dict[str, dict[str, Any]] = {
    "kill": {"target": "node/*"},
    "restart": {"target": "pod/*/*"},
    "pause": {"target": "node/*"},
    "cut": {"a": "node-*"},
    "api-error": {"code": 500, "rate": 0.3},
    "break-watches": {},
    "compact": {},
}


class ScenarioError(ValueError):
    """A scenario that cannot be played; the text names file and line."""


@dataclass
class Scenario:
    """A scenario that was read and found right. Times in seconds."""

    name: str
    duration_s: float
    nodes: list[dict[str, Any]]
    workloads: list[tuple[float, str]]
    arrivals: list[dict[str, Any]] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    random_faults: dict[str, Any] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)


def read_duration(value: Any) -> float:
    """Seconds of `90`, `1.5s`, `2m30s`. Raises: ValueError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", str(value))
    if not parts or "".join(n + u for n, u in parts) != str(value):
        raise ValueError(f"{value!r} is no duration: write 90s, 2m30s or 1h")
    return sum(float(n) * UNITS[u] for n, u in parts)


class _Lines(yaml.SafeLoader):
    """Remembers on which line each mapping and each of its keys stands."""


def _mapping(loader: Any, node: Any) -> dict[str, Any]:
    made = {}
    lines = {}
    for key, value in node.value:
        name = loader.construct_object(key)
        if name in made:
            raise ScenarioError(f"line {key.start_mark.line + 1}: {name!r} stands there twice")
        lines[name] = key.start_mark.line + 1
        made[name] = loader.construct_object(value, deep=True)
    made["__line__"] = node.start_mark.line + 1
    made["__lines__"] = lines
    return made


_Lines.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path

    def wrong(self, line: int, text: str) -> ScenarioError:
        return ScenarioError(f"{self.path}:{line}: {text}")

    def keys(self, found: Any, allowed: tuple[str, ...], what: str, line: int = 1) -> dict[str, Any]:
        """A mapping with no other keys. Raises: ScenarioError."""
        if not isinstance(found, dict):
            raise self.wrong(line, f"{what} is a mapping, not {found!r}")
        for name, at in found["__lines__"].items():
            if name not in allowed:
                raise self.wrong(at, f"{what} knows no {name!r}; it takes: {', '.join(allowed)}")
        return found

    def seconds(self, found: dict[str, Any], name: str, default: float | None = None) -> float:
        if name not in found:
            if default is None:
                raise self.wrong(found["__line__"], f"`{name}` is missing: a duration such as 30s")
            return default
        try:
            return read_duration(found[name])
        except ValueError as error:
            raise self.wrong(found["__lines__"][name], f"{name}: {error}") from None

    def items(self, top: dict[str, Any], name: str) -> list[Any]:
        found = top.get(name) or []
        if not isinstance(found, list):
            raise self.wrong(top["__lines__"][name], f"{name} is a list")
        return found

    def number(self, found: dict[str, Any], name: str, default: float | None = None) -> float:
        value = found.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise self.wrong(found["__lines__"].get(name, found["__line__"]), f"`{name}` is a number, 0 or more")
        return value


def load_scenario(path: Path) -> Scenario:
    """Read and check a scenario file. Raises: ScenarioError, OSError."""
    reader = _Reader(path)
    try:
        top = yaml.load(path.read_text(), _Lines)
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        raise reader.wrong(mark.line + 1 if mark else 1, getattr(error, "problem", "") or "no YAML") from None
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from None
    reader.keys(top, TOP, "a scenario")
    random_faults = {}
    if top.get("random-faults"):
        given = reader.keys(top["random-faults"], RANDOM, "random-faults", top["__lines__"]["random-faults"])
        verbs = given.get("verbs") or list(RANDOM_VERBS)
        for verb in verbs:
            if verb not in RANDOM_VERBS:
                raise reader.wrong(given["__line__"], f"random faults are of {', '.join(RANDOM_VERBS)}, not {verb!r}")
        random_faults = {
            "count": int(reader.number(given, "count", 1)),
            "from": reader.seconds(given, "from", 0.0),
            "until": reader.seconds(given, "until", reader.seconds(top, "duration")),
            "for": reader.seconds(given, "for", 30.0),
            "verbs": [str(v) for v in verbs],
        }
    return Scenario(
        str(top.get("name") or path.stem),
        reader.seconds(top, "duration"),
        _nodes(reader, top),
        [_workload(reader, item) for item in reader.items(top, "workloads")],
        [_arrival(reader, item) for item in reader.items(top, "arrivals")],
        [_fault(reader, item) for item in reader.items(top, "faults")],
        random_faults,
        [_check(reader, item) for item in reader.items(top, "checks")],
    )


def _nodes(reader: _Reader, top: dict[str, Any]) -> list[dict[str, Any]]:
    found = top.get("nodes", 3)
    if isinstance(found, int) and not isinstance(found, bool) and found >= 0:
        return [{"count": found}]
    groups = [_plain(reader.keys(item, NODE, "a group of nodes")) for item in reader.items(top, "nodes")]
    for item in reader.items(top, "nodes"):
        reader.number(item, "count", 1)
    return groups


def _workload(reader: _Reader, item: Any) -> tuple[float, str]:
    given = reader.keys(item, WORKLOAD, "a workload")
    at = reader.seconds(given, "at", 0.0)
    if "manifest" in given:
        return at, str(given["manifest"])
    if "file" not in given:
        raise reader.wrong(given["__line__"], "a workload has a `file` or a `manifest`")
    file = reader.path.parent / str(given["file"])
    try:
        return at, file.read_text()
    except OSError as error:
        raise reader.wrong(given["__lines__"]["file"], f"cannot read {file}: {error.strerror}") from None


def _arrival(reader: _Reader, item: Any) -> dict[str, Any]:
    given = reader.keys(item, ARRIVAL, "an arrival process")
    process = given.get("process")
    if process not in ("poisson", "ramp", "burst"):
        raise reader.wrong(given["__line__"], f"an arrival process is poisson, ramp or burst, not {process!r}")
    if given.get("kind", "pod") not in ("pod", "job"):
        raise reader.wrong(given["__line__"], "what arrives is of kind pod or job")
    made = {**_plain(given), "at": reader.seconds(given, "at", 0.0), "runs": reader.seconds(given, "runs", 0.0)}
    made["for"] = reader.seconds(given, "for", None if process != "burst" else 0.0)
    reader.number(given, "rate" if process == "poisson" else "count")
    return made


def _fault(reader: _Reader, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise reader.wrong(1, f"a fault is a mapping, not {item!r}")
    verb = str(item.get("verb", ""))
    given = {k: v for k, v in _plain(item).items() if k not in ("at", "for", "verb")}
    try:
        checked(verb, given)
    except FaultError as error:
        raise reader.wrong(item["__line__"], str(error)) from None
    made = {"at": reader.seconds(item, "at"), "verb": verb, "with": given}
    if "for" in item:
        made["for"] = reader.seconds(item, "for")
    return made


def _check(reader: _Reader, item: Any) -> dict[str, Any]:
    kinds = [name for name in CHECKS if isinstance(item, dict) and name in item]
    if len(kinds) != 1:
        line = item["__line__"] if isinstance(item, dict) else 1
        raise reader.wrong(line, f"a check is one of {', '.join(CHECKS)}")
    kind = kinds[0]
    given = reader.keys(item, (kind, *CHECKS[kind]), f"the check {kind}")
    made: dict[str, Any] = {"kind": kind}
    if kind in ("always", "finally"):
        made.update(text=_invariant(reader, given, kind), name=str(given.get("name", "")))
        made.update({"from": reader.seconds(given, "from", 0.0), "until": reader.seconds(given, "until", 1e12)})
    elif kind in ("converged", "pod-start-p99", "api-p99"):
        made["seconds"] = reader.seconds(given, kind)
    elif kind == "available":
        made.update(workload=str(given[kind]), least=int(reader.number(given, "at-least")))
        made.update({"from": reader.seconds(given, "from", 0.0), "until": reader.seconds(given, "until", 1e12)})
    else:
        made.update(most=int(reader.number(given, kind)), what=str(given.get("what", "pods")))
    return made


def _invariant(reader: _Reader, given: dict[str, Any], kind: str) -> str:
    """An expression that compiles."""
    from simulation._invariants import Invariant, InvariantError

    try:
        return Invariant(str(given[kind])).text
    except InvariantError as error:
        raise reader.wrong(given["__lines__"][kind], f"{kind}: {error}") from None


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in found.items() if k not in ("__line__", "__lines__")}


assert all(verb in VERBS for verb in RANDOM_VERBS)
