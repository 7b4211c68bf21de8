"""ImageLocality: nodes that have the pod's images already.

An image counts by its size, scaled down by how few nodes have it, so that one node with a rare
image does not attract everybody.
"""

from __future__ import annotations

import numpy as np

from actors.scheduler._framework import MAX_NODE_SCORE, ColumnPlugin, Cycle
from actors.scheduler._nodes import Ints, Rows

__all__ = ["ImageLocality"]

MIB = 1024 * 1024
MIN_BYTES = 23 * MIB
MAX_BYTES_PER_CONTAINER = 1000 * MIB


def full_name(image: str) -> str:
    """An image reference with its tag spelled out."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


class ImageLocality(ColumnPlugin):
    name = "ImageLocality"
    score_scope = "node"

    def score_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        table = cycle.table
        if not table.images:
            return None
        present: Ints | None = None
        for image in cycle.cls.images:
            holders = table.images.get(full_name(image))
            if not holders:
                continue
            if present is None:
                present = np.zeros(table.capacity, np.int64)
            spread = len(holders) / table.count
            for row, size in holders.items():
                present[row] += int(size * spread)
        if present is None:
            return None
        most = MAX_BYTES_PER_CONTAINER * max(len(cycle.cls.images), 1)
        clipped = np.clip(present[rows], MIN_BYTES, most)
        scores: Ints = MAX_NODE_SCORE * (clipped - MIN_BYTES) // (most - MIN_BYTES)
        return scores
