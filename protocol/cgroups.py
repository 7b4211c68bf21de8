"""The arithmetic that kubelets and OCI runtimes share: shares of version 1 as weights of version 2. Pure."""

from __future__ import annotations

import math

__all__ = ["MAX_SHARES", "MIN_SHARES", "cpu_weight"]

MIN_SHARES, MAX_SHARES = 2, 262_144
MAX_WEIGHT = 10_000


def cpu_weight(shares: int) -> int:
    """cpu.weight (1 to 10000) that stands for cpu.shares (2 to 262144); 0, "not set", stays 0.

    A parabola through (2, 1), (1024, 100) and (262144, 10000) on logarithmic axes, so that the defaults
    of both versions meet and small requests do not all become 1: what runc has since 1.3.2 and crun since 1.23.
    https://kubernetes.io/blog/2026/01/30/new-cgroup-v1-to-v2-cpu-conversion-formula/
    """
    if shares <= 0:
        return 0
    if shares <= MIN_SHARES:
        return 1
    if shares >= MAX_SHARES:
        return MAX_WEIGHT
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))
