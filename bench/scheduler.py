"""Scheduling rates: the workloads of upstream's scheduler_perf, and what the columns gain.

Two kinds of figures:

* **whole control plane** - etcd, API server and scheduler as actors in one process. Pods are
  created while the scheduler runs (`pods/s, creation included`), or are there when it starts
  (`pods/s, waiting pods`), as in a backlog after a restart. A pod counts when it is bound.
* **placement alone** - the scheduling core against the same plugins written plainly, node by node
  (`actors.scheduler._reference`), on the same cluster in the same run. The peer is measured on few
  pods, since it needs seconds for each on thousands of nodes.

The rate per CPU second is what to compare on a machine that is busy with other things.

Workloads (names as upstream's): SchedulingBasic, SchedulingNodeAffinity, SchedulingPodAffinity,
SchedulingPodAntiAffinity, TopologySpreading, PreemptionBasic, Unschedulable, MixedSchedulingBasePod.
Upstream's own gates at 5,000 nodes are 35 to 270 pods/s depending on the workload.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from actors.client import Client, ClientActor
from actors.kernel import Child, LiveSystem, Ref, handles
from bench._report import Comparison, Series, arguments, finish
from protocol.api import ADMIN
from protocol.message import Message
from protocol.scheduler import SchedulerStatistics

Object = dict[str, Any]
PEER = "plugin by plugin, node by node"
ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
WRITERS = 64
PATIENCE_S = 300.0
REAL = 265.0
"""kube-scheduler 1.36 with its API server and etcd on two cores: SchedulingBasic, 5,000 nodes."""


def node(number: int, zones: int = 3) -> Object:
    """A node of scheduler_perf: 4 CPUs, 32 GiB, 110 pods."""
    offered = {"cpu": "4", "memory": "32Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"node-{number}", "labels": {HOST: f"node-{number}", ZONE: f"zone-{number % zones}"}},
        "spec": {},
        "status": {"capacity": offered, "allocatable": offered, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def pod(name: str, cpu: str = "100m", memory: str = "500Mi", labels: Object | None = None, **spec: Any) -> Object:
    """A pod of scheduler_perf."""
    container = {
        "name": "pause",
        "image": "registry.k8s.io/pause:3.10",
        "resources": {"requests": {"cpu": cpu, "memory": memory}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": {"containers": [container], **spec},
    }


def _term(labels: Object, key: str) -> Object:
    return {"labelSelector": {"matchLabels": labels}, "topologyKey": key}


def basic(i: int) -> Object:
    return pod(f"basic-{i}")


def node_affinity(i: int) -> Object:
    expression = {"key": ZONE, "operator": "In", "values": ["zone-0", "zone-1"]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return pod(f"na-{i}", affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}})


def pod_affinity(i: int) -> Object:
    term = _term({"color": "blue"}, ZONE)
    return pod(
        f"pa-{i}",
        labels={"color": "blue"},
        affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}},
    )


def pod_anti_affinity(i: int) -> Object:
    term = _term({"color": "green"}, HOST)
    return pod(
        f"paa-{i}",
        labels={"color": "green"},
        affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}},
    )


def preferred_affinity(i: int) -> Object:
    soft = {"weight": 1, "podAffinityTerm": _term({"color": "red"}, HOST)}
    return pod(
        f"ppa-{i}",
        labels={"color": "red"},
        affinity={"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [soft]}},
    )


def spreading(i: int) -> Object:
    constraint = {
        "maxSkew": 5,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"color": "blue"}},
    }
    return pod(f"ts-{i}", labels={"color": "blue"}, topologySpreadConstraints=[constraint])


def mixed(i: int) -> Object:
    return (basic, node_affinity, pod_affinity, preferred_affinity, spreading)[i % 5](i)


def filler(i: int) -> Object:
    return pod(f"low-{i}", cpu="900m", memory="500Mi", terminationGracePeriodSeconds=0)


def preemptor(i: int) -> Object:
    return pod(f"high-{i}", cpu="3", memory="500Mi", priority=10)


def unschedulable(i: int) -> Object:
    return pod(f"huge-{i}", cpu="32")


@dataclass(frozen=True)
class Workload:
    """`before` pods are placed first and not measured; `beside` pods can never be placed."""

    name: str
    make: Callable[[int], Object]
    nodes: int
    pods: int
    before: tuple[Callable[[int], Object], int] | None = None
    beside: tuple[Callable[[int], Object], int] | None = None


def workloads(quick: bool) -> list[Workload]:
    """What is run, at 5,000 nodes (quick: 500)."""
    n, p = (500, 1000) if quick else (5000, 2000)
    found = [
        Workload("SchedulingBasic", basic, 500, 1000),
        Workload("SchedulingNodeAffinity", node_affinity, n, p),
        Workload("SchedulingPodAffinity", pod_affinity, n, p),
        Workload("SchedulingPodAntiAffinity", pod_anti_affinity, n, min(p, n // 2)),
        Workload("SchedulingPreferredPodAntiAffinity", preferred_affinity, n, p),
        Workload("TopologySpreading", spreading, n, p),
        Workload("PreemptionBasic", preemptor, 500, 100 if quick else 500, before=(filler, 2000)),
        Workload("Unschedulable", basic, n, p, beside=(unschedulable, 200)),
        Workload("MixedSchedulingBasePod", mixed, n, p),
    ]
    if not quick:
        found.insert(1, Workload("SchedulingBasic", basic, 5000, 10_000))
        found.append(Workload("PreemptionBasic", preemptor, n, 500, before=(filler, 4 * n)))
        found.append(Workload("SchedulingBasic", basic, 15_000, 2000))
    return found


# --- the whole control plane ----------------------------------------------------------------------


class Create(Message, frozen=True):
    """Create `count` objects of a resource; answered when all are there."""

    resource: str
    make: Any
    count: int


class Writer(ClientActor):
    """Creates objects, many at once."""

    def __init__(self, apiserver: Ref) -> None:
        super().__init__()
        self.client = Client(self, apiserver)

    @handles(Create)
    async def create(self, message: Create) -> None:
        async def share(first: int) -> None:
            for i in range(first, message.count, WRITERS):
                await self.client.create(message.resource, message.make(i))

        await self.gather(*(share(i) for i in range(WRITERS)))


@dataclass
class Outcome:
    """Figures of one run."""

    with_creation: float
    waiting: float
    p50_us: float
    p99_us: float


class Plane:
    """etcd, API server and, once started, a scheduler."""

    def __init__(self) -> None:
        from actors.apiserver import ApiServer, ApiServerConfig
        from actors.etcd import Etcd, EtcdConfig

        self.system = LiveSystem("bench", seed=1).start_thread()
        etcd = self.system.spawn(Child("etcd", lambda: Etcd(EtcdConfig())))
        # Admission needs the controllers' service accounts; the scheduler's cost is not in it.
        config = ApiServerConfig(admission=())
        self.apiserver = self.system.spawn(Child("apiserver", lambda: ApiServer(config, etcd)))
        self.writer = self.system.spawn(Child("writer", lambda: Writer(self.apiserver)))
        self.scheduler: Ref | None = None

    def create(self, what: str, make: Callable[[int], Object], count: int) -> None:
        self.writer.ask(Create(what, make, count), timeout=PATIENCE_S)

    def start_scheduler(self) -> None:
        from actors.scheduler import Scheduler, SchedulerConfig

        self.scheduler = self.system.spawn(
            Child("scheduler", lambda: Scheduler(self.apiserver, SchedulerConfig(), user=ADMIN))
        )

    def statistics(self, latencies: bool = True) -> Object:
        assert self.scheduler is not None
        found: Any = self.scheduler.ask(SchedulerStatistics(latencies=latencies), timeout=PATIENCE_S)
        return dict(found)

    def wait(self, done: Callable[[Object], bool]) -> Object:
        deadline = time.perf_counter() + PATIENCE_S
        while time.perf_counter() < deadline:
            if done(self.statistics(latencies=False)):
                return self.statistics()
            time.sleep(0.01)
        raise TimeoutError(f"the scheduler is not done: {self.statistics()}")

    def stop(self) -> None:
        self.system.shutdown()


def run(work: Workload, backlog: bool) -> tuple[float, float, Object]:
    """Pods per second and per CPU second of one workload, and the scheduler's statistics.
    `backlog`: the pods are there before the scheduler is."""
    plane = Plane()
    try:
        plane.create("nodes", node, work.nodes)
        placed = 0
        if work.before is not None or not backlog:
            plane.start_scheduler()
            plane.wait(lambda s: s["nodes"] == work.nodes)
        if work.before is not None:
            plane.create("pods", *work.before)
            placed = work.before[1]
            plane.wait(lambda s: s["scheduled"] == placed)
        if work.beside is not None:
            plane.create("pods", *work.beside)
        gc.collect()
        began = time.perf_counter(), time.process_time()
        plane.create("pods", work.make, work.pods)
        if backlog and plane.scheduler is None:
            began = time.perf_counter(), time.process_time()
            plane.start_scheduler()
        said = plane.wait(lambda s: s["scheduled"] == placed + work.pods)
        return work.pods / (time.perf_counter() - began[0]), work.pods / (time.process_time() - began[1]), said
    finally:
        plane.stop()
        gc.collect()


# --- placement alone ------------------------------------------------------------------------------


def place_with_columns(make: Callable[[int], Object], nodes: int, pods: int) -> float:
    """Pods per second of the scheduling core: find a node, count the pod there."""
    from actors.scheduler._cache import Cache
    from actors.scheduler._config import default_profile
    from actors.scheduler._engine import Engine
    from actors.scheduler._framework import Handle
    from actors.scheduler._objects import Objects
    from actors.scheduler._profile import Profile, registry

    cache = Cache()
    handle = Handle(cache, Objects(), random.Random(1))
    engine = Engine(Profile(default_profile(), registry(), handle), handle)
    for i in range(nodes):
        cache.put_node(node(i))
    bodies = [make(i) for i in range(pods)]
    began = time.perf_counter()
    for body in bodies:
        info = cache.classes.info(body)
        decision = engine.schedule(info)
        if not decision.node:
            raise AssertionError(f"{info.key} was not placed")
        cache.assume(info, decision.row)
    return pods / (time.perf_counter() - began)


def place_plainly(make: Callable[[int], Object], nodes: int, pods: int) -> float:
    """The same by the plain reference, one pod after the other."""
    from actors.scheduler._reference import WEIGHTS, ReferenceCluster, judge, scores

    made = (node(i) for i in range(nodes))
    cluster = ReferenceCluster(nodes={n["metadata"]["name"]: n for n in made})
    chance = random.Random(1)
    began = time.perf_counter()
    for i in range(pods):
        body = make(i)
        feasible = [n for n, found in cluster.nodes.items() if judge(cluster, body, found) is None]
        by_plugin = scores(cluster, body, feasible)
        total = {n: sum(WEIGHTS[p] * s[n] for p, s in by_plugin.items()) for n in feasible}
        best = max(total.values())
        chosen = chance.choice([n for n in feasible if total[n] == best])
        cluster.pods.setdefault(chosen, []).append(body)
    return pods / (time.perf_counter() - began)


def compare_placement(quick: bool) -> list[Comparison]:
    """Columns against the plain reference."""
    nodes, ours, peers = (500, 500, 3) if quick else (5000, 2000, 2)
    found = []
    for name, make, few in (
        ("basic", basic, nodes),
        ("node affinity", node_affinity, nodes),
        ("topology spreading", spreading, 100),
        ("pod anti-affinity", pod_anti_affinity, 100),
    ):
        size = nodes if few == nodes else few
        count = min(ours, size // 2 if few == 100 else ours)
        mine = place_with_columns(make, size, count)
        theirs = place_plainly(make, size, peers)
        found.append(Comparison(f"placement, {name}, {size} nodes", "pods/s", mine, theirs, PEER))
    return found


def growth(quick: bool) -> list[Series]:
    """Time per placement over the number of nodes."""
    sizes = [100, 500, 1000] if quick else [100, 500, 1000, 2000, 5000, 10_000, 15_000]
    curves = []
    for name, make in (("basic", basic), ("topology spreading", spreading), ("pod affinity", pod_affinity)):
        times = [1e6 / place_with_columns(make, n, 300) for n in sizes]
        curves.append(Series(name, "microseconds per placement", "nodes", [float(n) for n in sizes], times))
    return curves


def main(argv: Sequence[str]) -> int:
    """Run it all and report."""

    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--only", metavar="NAME", help="only workloads whose name contains NAME")

    options = arguments("scheduler", argv, more)
    comparisons: list[Comparison] = []
    for work in workloads(options.quick):
        if options.only and options.only.lower() not in work.name.lower():
            continue
        label = f"{work.name}, {work.nodes} nodes, {work.pods} pods"
        real = (
            (REAL, "kube-scheduler 1.36, measured before")
            if (work.name, work.nodes) == ("SchedulingBasic", 5000)
            else (None, "")
        )
        rate, per_cpu, said = run(work, backlog=False)
        comparisons.append(Comparison(f"{label}: creation included", "pods/s", rate, *real))
        if work.before is None:
            rate, per_cpu, said = run(work, backlog=True)
            comparisons.append(Comparison(f"{label}: waiting pods", "pods/s", rate, *real))
        comparisons.append(Comparison(f"{label}: per CPU second", "pods", per_cpu))
        for quantile in ("p50", "p90", "p99"):
            micros = said["attempt_seconds"][quantile] * 1e6
            comparisons.append(Comparison(f"{label}: attempt {quantile}", "us", micros, lower_is_better=True))
        print(f"{label}: {rate:,.0f} pods/s", flush=True)
    if not options.only:
        comparisons += compare_placement(options.quick)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    comparisons.append(Comparison("peak memory of the whole run", "MB", memory, lower_is_better=True))
    series = growth(options.quick) if not options.only else []
    return finish("scheduler", comparisons, options, series)
