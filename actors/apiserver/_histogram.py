"""Observations in buckets, as Prometheus keeps them.

Owns the counting; what is counted and how it is called is the page's affair (`_metrics`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

__all__ = ["BUCKETS_S", "Histogram"]

BUCKETS_S = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
)  # fmt: skip
"""Upstream's bounds for requests and for what is asked of etcd."""


class Histogram:
    """Observations by labels. Each has a slot per bucket, one for what is above all, and the sum."""

    def __init__(self, bounds: tuple[float, ...] = BUCKETS_S) -> None:
        self.bounds = bounds
        self.slots: dict[str, list[float]] = {}

    def observe(self, labels: str, value: float) -> None:
        """One observation. `labels` as the page shows them."""
        slots = self.slots.get(labels)
        if slots is None:
            slots = self.slots[labels] = [0.0] * (len(self.bounds) + 2)
        slots[bisect_left(self.bounds, value)] += 1
        slots[-1] += value

    def lines(self, name: str) -> Iterator[str]:
        """The series of a metric."""
        for labels, slots in sorted(self.slots.items()):
            total, comma = 0.0, "," if labels else ""
            for bound, slot in zip(self.bounds, slots, strict=False):
                total += slot
                yield f'{name}_bucket{{{labels}{comma}le="{bound:g}"}} {total:g}'
            total += slots[len(self.bounds)]
            yield f'{name}_bucket{{{labels}{comma}le="+Inf"}} {total:g}'
            yield f"{name}_sum{{{labels}}} {slots[-1]:g}"
            yield f"{name}_count{{{labels}}} {total:g}"
