"""What a simulated container uses of CPU and memory, as a function of its age.

The pod's annotations say it; without any, a container uses a tenth of the CPU and half of the
memory that it requests. A schedule is a list of levels with the age from which each holds:

    kubekka.dev/usage-cpu: 10m                      always
    kubekka.dev/usage-cpu: 10m,30s=500m,2m=50m      from the start, from 30 s on, from 2 min on
    kubekka.dev/usage-memory.web: 64Mi,1m=300Mi     for the container `web` alone
    kubekka.dev/usage-storage: 1Gi,1m=80Gi          written to its own layer
    kubekka.dev/usage-pids: 10,1m=30000             processes

KWOK's `kwok.x-k8s.io/usage-cpu` and `usage-memory` are read too. A container above its CPU limit
is throttled to it; above its memory limit it is killed at that age (`oom_age_s`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from actors.runtime._commands import sleep_seconds
from protocol.cri import ContainerResources
from protocol.quantity import QuantityError, parse_quantity

__all__ = ["Schedule", "Usage", "cpu_limit_cores", "level_at", "oom_age_s", "schedule", "usage"]

Schedule = tuple[tuple[float, float], ...]
"""(age in seconds from which it holds, level), ascending."""
DEFAULT_MEMORY_BYTES = 8 * 1024 * 1024


class Usage(NamedTuple):
    """CPU seconds used so far, cores used now, memory bytes now, and what throttling did."""

    cpu_seconds: float
    cores: float
    memory_bytes: float
    periods: int
    throttled_periods: int
    throttled_seconds: float


def schedule(annotations: Mapping[str, str], resource: str, container: str) -> Schedule | None:
    """The schedule that annotations give for `cpu` (cores) or `memory` (bytes), or None."""
    for key in (
        f"kubekka.dev/usage-{resource}.{container}",
        f"kubekka.dev/usage-{resource}",
        f"kwok.x-k8s.io/usage-{resource}",
    ):
        text = annotations.get(key)
        if text is None:
            continue
        found = []
        for step in text.split(","):
            age_text, _, level = step.strip().rpartition("=")
            age = sleep_seconds([age_text]) if age_text else 0.0
            try:
                found.append((age or 0.0, float(parse_quantity(level))))
            except QuantityError:
                return None
        return tuple(sorted(found))
    return None


def level_at(annotations: Mapping[str, str], resource: str, container: str, age_s: float) -> int | None:
    """The level that annotations give at an age for `storage` (bytes) or `pids`, or None."""
    steps = schedule(annotations, resource, container) or ()
    return next((int(level) for start, level in reversed(steps) if start <= age_s), None)


def cpu_limit_cores(resources: ContainerResources) -> float | None:
    """The cores that the CFS quota allows, or None."""
    if not resources.cpu_quota_us or resources.cpu_quota_us < 0 or not resources.cpu_period_us:
        return None
    return resources.cpu_quota_us / resources.cpu_period_us


def oom_age_s(memory: Schedule | None, resources: ContainerResources) -> float | None:
    """The age at which the container outgrows its memory limit, or None."""
    if memory is None or not resources.memory_limit_bytes:
        return None
    return next((age for age, level in memory if level > resources.memory_limit_bytes), None)


def usage(annotations: Mapping[str, str], container: str, resources: ContainerResources, age_s: float) -> Usage:
    """What the container has used at `age_s`."""
    cpu = schedule(annotations, "cpu", container)
    if cpu is None:
        cpu = ((0.0, (resources.cpu_shares or 2) / 1024 * 0.1 if (resources.cpu_shares or 2) > 2 else 0.001),)
    memory = schedule(annotations, "memory", container)
    limit = cpu_limit_cores(resources)
    used = throttled_wall = throttled = wanted = 0.0
    for index, (start, level) in enumerate(cpu):
        end = min(cpu[index + 1][0] if index + 1 < len(cpu) else age_s, age_s)
        span = max(0.0, end - start)
        granted = level if limit is None else min(level, limit)
        used += span * granted
        if granted < level:
            throttled_wall += span
            throttled += span * (level - granted)
        if start <= age_s:
            wanted = granted
    period_s = (resources.cpu_period_us or 100_000) / 1e6
    periods = int(age_s / period_s) if limit is not None else 0
    level_bytes = next((level for start, level in reversed(memory or ()) if start <= age_s), None)
    if level_bytes is None:
        level_bytes = (resources.memory_request_bytes or 0) / 2 or DEFAULT_MEMORY_BYTES
    return Usage(used, wanted, level_bytes, periods, int(throttled_wall / period_s), throttled)
