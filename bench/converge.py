"""From `apply` to rolled out: a Deployment of N replicas on simulated nodes, the whole cluster live.

There is no peer to run in the same process; the growth from small to large is what is shown, and
the time per pod should stay flat.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from typing import Any

from bench._report import Comparison, Series, arguments, finish
from cluster import Cluster
from protocol.objects import Object

__all__ = ["main", "roll_out"]


def manifest(replicas: int) -> Object:
    """A Deployment `web` of so many replicas."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            },
        },
    }


def roll_out(replicas: int, nodes: int) -> float:
    """Seconds from the API request to `availableReplicas` = `replicas`, on a cluster of its own."""
    per_node = max(replicas // nodes * 2, 110)
    capacity = {"cpu": "64", "memory": "256Gi", "pods": str(per_node)}
    with Cluster(nodes=nodes, node_capacity=capacity) as cluster:
        gc.collect()
        start = time.perf_counter()
        cluster.apply(manifest(replicas))
        cluster.wait(
            "deployments/web",
            lambda d: (d.get("status") or {}).get("availableReplicas") == replicas,
            timeout_s=600,
        )
        return time.perf_counter() - start


def main(argv: Sequence[str]) -> int:
    """Run the benchmark; answers the exit status."""
    options: Any = arguments("converge", argv)
    sizes = [10, 100, 300] if options.quick else [100, 300, 1_000, 3_000, 10_000, 30_000]
    nodes = {size: 20 if size <= 1_000 else size // 10 if size <= 10_000 else 1_000 for size in sizes}
    taken = {}
    for size in sizes:
        rounds = 1 if size > 1_000 else 3
        taken[size] = min(roll_out(size, nodes[size]) for _ in range(rounds))
    results = [
        Comparison(f"Deployment of {size:,} on {nodes[size]} nodes", "s", taken[size], lower_is_better=True) for size in sizes
    ]
    xs = [float(size) for size in sizes]
    growth = Series("apply to rolled out", "s", "replicas", xs, [taken[s] for s in sizes])
    per_pod = Series("per pod", "ms", "replicas", xs, [taken[s] / s * 1000 for s in sizes])
    return finish("converge", results, options, [growth, per_pod])
