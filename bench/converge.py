"""From `apply` to rolled out, what a rolled out cluster costs that nobody uses, and how it is emptied.

The whole cluster runs live in this process: etcd, API server, controllers, scheduler, and simulated
nodes with their kubelets and proxies. There is no peer to run beside it; the growth from small to large
is what is shown, and the time per pod should stay flat. Wall time is what a user waits; CPU time is the
process's own, which says more on a machine that others use too.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

from actors.client import Client
from bench._report import Comparison, Series, arguments, finish
from cluster import Cluster
from protocol.objects import Object

__all__ = ["main", "roll_out"]

IN_FLIGHT = 256
QUIET_SHARE = 0.08
"""Below this share of a core nothing is going on but heartbeats."""
SETTLE_MAX_S = 240.0
IDLE_S = 20.0
TIMEOUT_S = 900.0


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


class Stopwatch:
    """Seconds of wall and of this process's CPU since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


def start(nodes: int, pods: int) -> Cluster:
    """A cluster whose nodes are Ready and have said so; room for twice the pods."""
    per_node = max(pods // nodes * 2, 110)
    capacity = {"cpu": "64", "memory": "256Gi", "pods": str(per_node)}
    return Cluster(nodes=nodes, node_capacity=capacity)


def settle() -> float:
    """Wait until what was set off is over (events are written when there is time for it); the seconds
    of CPU that it took."""
    watch = Stopwatch()
    quiet = 0
    while quiet < 3 and watch.read()[0] < SETTLE_MAX_S:
        second = Stopwatch()
        time.sleep(1.0)
        quiet = quiet + 1 if second.read()[1] < QUIET_SHARE else 0
    return watch.read()[1]


def apply_and_wait(cluster: Cluster, replicas: int) -> tuple[float, float]:
    """(wall, CPU) seconds from the API request to `availableReplicas` = `replicas`."""
    gc.collect()
    watch = Stopwatch()
    cluster.apply(manifest(replicas))
    cluster.wait(
        "deployments/web",
        lambda d: (d.get("status") or {}).get("availableReplicas") == replicas,
        timeout_s=TIMEOUT_S,
    )
    return watch.read()


def roll_out(replicas: int, nodes: int) -> tuple[float, float]:
    """(wall, CPU) seconds of a roll-out on a cluster of its own."""
    with start(nodes, replicas) as cluster:
        if nodes > 100:
            settle()
        return apply_and_wait(cluster, replicas)


def idle(seconds: float) -> float:
    """Share of a core that the cluster takes while nobody asks anything of it."""
    watch = Stopwatch()
    time.sleep(seconds)
    wall, cpu = watch.read()
    return cpu / wall


def empty_a_namespace(count: int) -> tuple[float, float]:
    """(wall, CPU) seconds from the request to delete a namespace until it is gone, with `count` objects
    in it, a quarter of them pods that run."""
    with start(20, count) as cluster:
        cluster.client.create("namespaces", {"metadata": {"name": "full"}})
        cluster.client.wait("serviceaccounts", bool, namespace="full")
        cluster.client.run(_filler(count), TIMEOUT_S)
        cluster.client.wait("pods", lambda pods: all(map(_runs, pods)), namespace="full", timeout_s=TIMEOUT_S)
        settle()
        watch = Stopwatch()
        cluster.client.delete("namespaces", "full")
        cluster.client.wait(
            "namespaces", lambda found: all(n["metadata"]["name"] != "full" for n in found), timeout_s=TIMEOUT_S
        )
        return watch.read()


def _runs(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") == "Running"


def _filler(count: int) -> Callable[[Client], Any]:
    makers: tuple[tuple[str, Callable[[int], Object]], ...] = (
        ("configmaps", lambda n: {"metadata": {"name": f"c{n}"}, "data": {"a": "b"}}),
        ("secrets", lambda n: {"metadata": {"name": f"s{n}"}, "stringData": {"a": "b"}}),
        ("serviceaccounts", lambda n: {"metadata": {"name": f"a{n}"}}),
        ("pods", lambda n: {"metadata": {"name": f"p{n}"}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}),
    )

    async def fill(client: Client) -> None:
        numbers = iter(range(count))

        async def some() -> None:
            for number in numbers:
                what, make = makers[number % len(makers)]
                await client.create(what, make(number), "full")

        await client.actor.gather(*[some() for _ in range(IN_FLIGHT)])

    return fill


def _nodes_for(size: int) -> int:
    return 20 if size <= 1_000 else size // 10 if size <= 10_000 else 1_000


def _grow(sizes: Sequence[int], results: list[Comparison]) -> tuple[dict[int, float], dict[int, float]]:
    walls: dict[int, float] = {}
    cpus: dict[int, float] = {}
    for size in sizes:
        rounds = 1 if size > 1_000 else 3
        walls[size], cpus[size] = min(roll_out(size, _nodes_for(size)) for _ in range(rounds))
        name = f"Deployment of {size:,} on {_nodes_for(size):,} nodes"
        results.append(Comparison(name, "s", walls[size], lower_is_better=True))
        results.append(Comparison(f"{name}: CPU", "s", cpus[size], lower_is_better=True))
    return walls, cpus


def _at_rest(nodes: int, pods: int, results: list[Comparison]) -> tuple[float, float]:
    """The largest roll-out, then its cluster at rest."""
    with start(nodes, pods) as cluster:
        settle()
        wall, cpu = apply_and_wait(cluster, pods)
        name = f"{nodes:,} nodes, {pods:,} pods"
        results.append(Comparison(f"Deployment of {pods:,} on {nodes:,} nodes", "s", wall, lower_is_better=True))
        results.append(Comparison(f"Deployment of {pods:,} on {nodes:,} nodes: CPU", "s", cpu, lower_is_better=True))
        results.append(Comparison(f"{name}: events written after it, CPU", "s", settle(), lower_is_better=True))
        results.append(Comparison(f"{name}: idle", "% of a core", idle(IDLE_S) * 100, 5.0, "the goal", True))
    return wall, cpu


def main(argv: Sequence[str]) -> int:
    """Run the benchmark; answers the exit status."""
    options: Any = arguments("converge", argv)
    sizes = [10, 100] if options.quick else [100, 300, 1_000, 3_000, 10_000]
    results: list[Comparison] = []
    walls, cpus = _grow(sizes, results)
    largest = 300 if options.quick else 30_000
    walls[largest], cpus[largest] = _at_rest(20 if options.quick else 1_000, largest, results)
    objects = 500 if options.quick else 10_000
    gone, burnt = empty_a_namespace(objects)
    results.append(Comparison(f"a namespace of {objects:,} objects deleted", "s", gone, lower_is_better=True))
    results.append(Comparison(f"a namespace of {objects:,} objects deleted: CPU", "s", burnt, lower_is_better=True))
    xs = sorted(walls)
    series = [
        Series("apply to rolled out", "s", "replicas", list(map(float, xs)), [walls[x] for x in xs]),
        Series("CPU", "s", "replicas", list(map(float, xs)), [cpus[x] for x in xs]),
        Series("CPU per pod", "ms", "replicas", list(map(float, xs)), [cpus[x] / x * 1000 for x in xs]),
    ]
    return finish("converge", results, options, series)
