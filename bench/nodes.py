"""Simulated nodes at scale: how fast they become Ready and their pods Running, at what cost.

One process holds etcd, the API server, the nodes and their pods, each an actor. Pods are created
through the API with their node named, as KWOK's own gate does, or with `--scheduler` left to the
scheduler. The peer is that gate: 5,000 nodes Ready within 60 s, 10,000 pods Running within 60 s;
ours is measured, the gate is a ceiling, so a ratio says how far below it we stay.
"""

from __future__ import annotations

import argparse
import gc
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

from actors.client import Client, ClientActor, Informer
from actors.kernel import Child, LiveSystem, Ref, handles
from bench._report import Comparison, Series, arguments, finish
from protocol.message import Message
from protocol.objects import Object

IN_FLIGHT = 256
GATE_S = 60.0
GATE_NODES, GATE_PODS = 5_000, 10_000
IDLE_S = 10.0
SETTLE_S = 5.0
"""What the last pods set off is over after this."""
LONGEST_S = 900.0


class CreatePods(Message, frozen=True):
    """Create pods `first` to `last`; answered when the API has them all."""

    first: int
    last: int
    nodes: int
    bound: bool


class LeaseAges(Message, frozen=True):
    """Asked: the seconds since each lease was renewed, the oldest first."""


class Crowd(ClientActor):
    """Creates pods and counts what is ready."""

    def __init__(self, apiserver: Ref) -> None:
        super().__init__()
        self.client = Client(self, apiserver)
        self.ready_nodes = 0
        self.ready_pods = 0
        self.nodes = Informer(self.client, "nodes", on_add=self._node, on_update=lambda old, new: self._node(new, old))
        self.pods = Informer(self.client, "pods", on_add=self._pod, on_update=lambda old, new: self._pod(new, old))

    def on_start(self) -> None:
        self.nodes.start()
        self.pods.start()

    def _node(self, node: Object, old: Object | None = None) -> None:
        self.ready_nodes += _is_ready(node) - (old is not None and _is_ready(old))

    def _pod(self, pod: Object, old: Object | None = None) -> None:
        self.ready_pods += _is_ready(pod) - (old is not None and _is_ready(old))

    @handles(CreatePods)
    async def create(self, message: CreatePods) -> None:
        numbers = iter(range(message.first, message.last))

        async def some() -> None:
            for number in numbers:
                await self.client.create("pods", pod_object(number, message.nodes, message.bound))

        await self.gather(*[some() for _ in range(IN_FLIGHT)])

    @handles(LeaseAges)
    async def leases(self, message: LeaseAges) -> list[float]:
        found = (await self.client.list("leases", "kube-node-lease"))["items"]
        now = self.clock.now()
        return sorted((now - _seconds(lease["spec"]["renewTime"]) for lease in found), reverse=True)


def _is_ready(obj: Object) -> int:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return int(any(c["type"] == "Ready" and c["status"] == "True" for c in conditions))


def _seconds(stamp: str) -> float:
    import calendar

    return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) + float("0." + stamp[20:26])


def pod_object(number: int, nodes: int, bound: bool) -> Object:
    """The number-th pod; bound pods go round the nodes."""
    spec: Object = {
        "containers": [{"name": "app", "image": "app:1"}],
        "automountServiceAccountToken": False,
        "serviceAccountName": "default",
    }
    if bound:
        spec["nodeName"] = f"node-{number % nodes}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{number}", "namespace": "default"},
        "spec": spec,
    }


class Farm:
    """A control plane without controllers, and simulated nodes."""

    def __init__(self, *, with_scheduler: bool, events: bool) -> None:
        from actors.apiserver import ApiServer, ApiServerConfig
        from actors.etcd import Etcd, EtcdConfig
        from actors.kubelet import KubeletConfig

        self.system = LiveSystem("bench-nodes", seed=1).start_thread()
        etcd = self.system.spawn(Child("etcd", lambda: Etcd(EtcdConfig())))
        self.apiserver = self.system.spawn(Child("apiserver", lambda: ApiServer(ApiServerConfig(), etcd)))
        self.config = KubeletConfig(events=events, service_links=False)
        if with_scheduler:
            from actors.scheduler import Scheduler, SchedulerConfig

            self.system.spawn(Child("scheduler", lambda: Scheduler(self.apiserver, SchedulerConfig())))
        self.crowd = self.system.spawn(Child("crowd", lambda: Crowd(self.apiserver)))
        self.nodes = 0
        self.pods = 0
        self._account()

    def _account(self) -> None:
        """What admission wants to see before the first pod."""
        from actors.client import OutsideClient

        client = OutsideClient(self.system, self.apiserver)
        client.create(
            "serviceaccounts",
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}},
        )

    @property
    def seen(self) -> Crowd:
        return self.crowd.actor  # type: ignore[attr-defined,no-any-return]

    def grow_nodes(self, count: int) -> float:
        """Start nodes until there are `count`; the seconds until all are Ready."""
        from actors.kubelet import simulated_node
        from actors.runtime import simulated_machine

        capacity = {"cpu": "64", "memory": "256Gi", "pods": "250"}
        began = time.perf_counter()
        for number in range(self.nodes, count):
            for child in simulated_node(
                f"node-{number}",
                self.apiserver,
                simulated_machine(),
                number=number,
                capacity=capacity,
                config=self.config,
            ):
                self.system.spawn(child)
        self.nodes = count
        self._until(lambda: self.seen.ready_nodes >= count)
        return time.perf_counter() - began

    def grow_pods(self, count: int, bound: bool) -> float:
        """Create pods until there are `count`; the seconds until all are Ready."""
        began = time.perf_counter()
        self.crowd.ask(CreatePods(self.pods, count, self.nodes, bound), timeout=LONGEST_S)
        self.pods = count
        self._until(lambda: self.seen.ready_pods >= count)
        return time.perf_counter() - began

    @staticmethod
    def _until(condition: Callable[[], bool]) -> None:
        end = time.perf_counter() + LONGEST_S
        while not condition():
            if time.perf_counter() > end:
                raise SystemExit(f"not in {LONGEST_S:.0f} s")
            time.sleep(0.01)

    def idle(self, seconds: float) -> tuple[float, float]:
        """(share of a core while nothing happens, age of the oldest lease in seconds)."""
        time.sleep(SETTLE_S)
        before = time.process_time()
        time.sleep(seconds)
        share = (time.process_time() - before) / seconds
        ages = self.crowd.ask(LeaseAges(), timeout=60)
        return share, ages[0] if ages else 0.0

    def close(self) -> None:
        """Stop everything."""
        self.system.shutdown(timeout_s=60)


def resident_bytes() -> int:
    """The memory of this process now."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, help="simulated nodes (quick: 200, else 5000)")
    parser.add_argument("--pods", type=int, help="pods at the end of the growth (quick: 2000, else 100000)")
    parser.add_argument("--scheduler", action="store_true", help="let the scheduler place the pods")
    parser.add_argument(
        "--events", action="store_true", help="let the kubelets record their events, as they do in a cluster"
    )


def _steps(pods: int) -> list[int]:
    return sorted({p for p in (100, 1_000, 2_000, 10_000, 30_000, 100_000) if p < pods} | {pods})


def main(argv: Sequence[str]) -> int:
    """Run the benchmark."""
    options: Any = arguments("nodes", argv, _options)
    nodes = options.nodes or (200 if options.quick else GATE_NODES)
    pods = options.pods or (2_000 if options.quick else 100_000)
    gc.disable()  # nothing here makes cycles: reference counts free it all, and passes over 40 million objects cost minutes
    empty, began_cpu = resident_bytes(), time.process_time()
    farm = Farm(with_scheduler=options.scheduler, events=options.events)
    ready_s = farm.grow_nodes(nodes)
    nodes_cpu = time.process_time() - began_cpu
    print(
        f"{nodes:,} nodes Ready in {ready_s:.1f} s ({nodes_cpu:.1f} s of CPU), {(resident_bytes() - empty) / 1e6:,.0f} MB",
        flush=True,
    )
    pods_cpu = 0.0
    seconds = Series("pods Running and Ready", "seconds since the first", "pods")
    burnt = Series("CPU of a further pod", "ms", "pods")
    memory = Series("resident memory", "MB", "pods")
    total = cpu_ms = 0.0
    at_gate: float | None = None
    for count in _steps(pods):
        cpu = time.process_time()
        before = farm.pods
        total += farm.grow_pods(count, not options.scheduler)
        pods_cpu += time.process_time() - cpu
        cpu_ms = (time.process_time() - cpu) * 1000 / (count - before)
        burnt.x.append(count)
        burnt.y.append(cpu_ms)
        seconds.x.append(count)
        seconds.y.append(total)
        memory.x.append(count)
        memory.y.append(resident_bytes() / 1e6)
        if count == GATE_PODS:
            at_gate = total
        print(
            f"{count:,} pods Ready after {total:.1f} s, {cpu_ms:.2f} ms of CPU each, {resident_bytes() / 1e6:,.0f} MB",
            flush=True,
        )
    print(f"garbage in cycles: {gc.collect():,} objects", flush=True) if options.quick else None
    share, oldest = farm.idle(IDLE_S if not options.quick else 3.0)
    farm.close()
    full_nodes, full_pods = nodes == GATE_NODES, at_gate is not None
    results = [
        Comparison(
            f"{nodes:,} nodes Ready",
            "s",
            ready_s,
            GATE_S if full_nodes else None,
            "KWOK's gate" if full_nodes else "",
            True,
        ),
        Comparison(f"{nodes:,} nodes Ready: CPU", "s", nodes_cpu, None, "", True),
        Comparison(f"{pods:,} pods Running", "s", total, None, "", True),
        Comparison(f"{pods:,} pods Running: CPU", "s", pods_cpu, None, "", True),
        Comparison("pods started", "pods/s", pods / total),
        Comparison("CPU of the last pods", "ms/pod", cpu_ms, None, "", True),
        Comparison(
            "memory",
            "MB",
            resident_bytes() / 1e6,
            4096 if pods >= 100_000 else None,
            "4 GiB" if pods >= 100_000 else "",
            True,
        ),
        Comparison(
            "idle", "% of a core", share * 100, 20.0 if full_nodes else None, "20 %" if full_nodes else "", True
        ),
        Comparison("oldest heartbeat", "s", oldest, 40.0, "lease duration", True),
    ]
    if at_gate is not None:
        results.insert(
            4,
            Comparison(f"{GATE_PODS:,} pods Running", "s", at_gate, GATE_S if full_pods else None, "KWOK's gate", True),
        )
    return finish("nodes", results, options, [seconds, memory, burnt])
