"""Playing one scenario under one seed: the timeline, what is seen meanwhile, the judgement.

Owns a simulated cluster for the time of the run. What it sees it reads from the API server's
memory, so that looking changes nothing. One scenario and one seed give one history, to the byte.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from protocol.conditions import REQUESTS
from simulation._faults import Faults
from simulation._invariants import Invariant
from simulation._schema import RANDOM_VERBS, Scenario

__all__ = ["Result", "faults_of", "percentile", "run_scenario"]

SLICE_S = 0.5  # how often the cluster is looked at, in virtual seconds
Object = dict[str, Any]


@dataclass
class Result:
    """What came of a run. Times in virtual seconds; `pod_start_s` from creation to Ready, `read_s` and
    `write_s` from a component's request to its answer, `codes` how many were answered so."""

    name: str
    seed: int
    trace_hash: str = ""
    broken: list[str] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    pod_start_s: list[float] = field(default_factory=list)
    converged_s: float | None = None
    availability: dict[str, float] = field(default_factory=dict)
    utilisation: float = 0.0
    spread: int = 0
    steps: int = 0
    running: list[tuple[float, int, int]] = field(default_factory=list)
    read_s: list[float] = field(default_factory=list)
    write_s: list[float] = field(default_factory=list)
    codes: dict[int, int] = field(default_factory=dict)


def percentile(values: list[float], share: float) -> float:
    """A percentile of sorted values; 0 of none."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def faults_of(scenario: Scenario, seed: int) -> list[dict[str, Any]]:
    """The timeline of faults under a seed, drawn ones included."""
    timeline = list(scenario.faults)
    rules = scenario.random_faults
    if rules:
        rng = random.Random(f"random faults {seed}")
        for _ in range(rules["count"]):
            verb = rng.choice(rules["verbs"])
            at = round(rng.uniform(rules["from"], rules["until"]), 1)
            timeline.append({"at": at, "verb": verb, "with": dict(RANDOM_VERBS[verb]), "for": rules["for"]})
    return sorted(timeline, key=lambda fault: float(fault["at"]))


def run_scenario(scenario: Scenario, seed: int, faults: list[dict[str, Any]] | None = None) -> Result:
    """Play it. `faults` replaces the timeline. Never raises for what happens in the cluster."""
    run = _Run(scenario, seed, faults_of(scenario, seed) if faults is None else faults)
    return run.play()


class _Run:
    def __init__(self, scenario: Scenario, seed: int, faults: list[dict[str, Any]]) -> None:
        from cluster import SimulatedCluster

        self.scenario = scenario
        self.result = Result(scenario.name, seed)
        self.cluster = SimulatedCluster(seed=seed, nodes=0)
        self.sim = self.cluster.sim
        self._start_nodes()
        self.faults = Faults(self.sim, seed=seed)
        self.start_s = self.sim.clock.monotonic()
        self.ready_since: dict[str, float] = {}
        self.bound: dict[str, str] = {}
        self.samples: dict[str, list[bool]] = {}
        self.disturbed_s = 0.0
        self.unconverged_s = 0.0
        self.counted: set[str] = set()
        self.timeline: list[tuple[float, int, Any]] = []
        for at, manifest in scenario.workloads:
            self._at(at, ("apply", manifest))
        rng = random.Random(f"arrivals {seed}")
        for number, process in enumerate(scenario.arrivals):
            for index, at in enumerate(_times(process, rng)):
                self._at(at, ("arrive", (process, f"arrival-{number}-{index}")))
        for fault in faults:
            self._at(fault["at"], ("fault", fault))
        self.timeline.sort(key=lambda entry: entry[:2])
        self.invariants = [
            (check, Invariant(check["text"])) for check in scenario.checks if check["kind"] in ("always", "finally")
        ]
        self.sim.world[REQUESTS] = self._answered

    def _at(self, at: float, what: Any) -> None:
        self.timeline.append((float(at), len(self.timeline), what))

    def _start_nodes(self) -> None:
        from functools import partial

        from actors.kernel import Child
        from actors.kubelet import KubeletConfig, simulated_node
        from actors.network import KubeProxy
        from assembly.config import CLUSTER_CIDR
        from assembly.machines import make_machine

        cluster, number, zones = self.cluster, 0, {}
        apiserver = cluster.parts.apiserver
        config = KubeletConfig(kubelet_version=f"v1.{cluster.config.minor}.2")
        for group in self.scenario.nodes:
            capacity: dict[str, str] = {str(k): str(group[k]) for k in ("cpu", "memory", "pods") if k in group}
            if capacity:
                capacity = {"cpu": "8", "memory": "32Gi", "pods": "110", **capacity}
            for _ in range(int(group.get("count", 1))):
                name = f"node-{number}"
                machine = make_machine(cluster.config)
                for spec in simulated_node(name, apiserver, machine, number=number, capacity=capacity, config=config):
                    self.sim.spawn(spec, host=name)
                proxy = partial(KubeProxy, name, apiserver, {"clusterCIDR": CLUSTER_CIDR})
                self.sim.spawn(Child(f"kube-proxy-{name}", proxy), host=name)
                if "zone" in group:
                    zones[name] = str(group["zone"])
                number += 1
        if number:
            cluster.client.wait(
                "nodes", lambda nodes: len(nodes) >= number and all(map(_takes_pods, nodes)), timeout_s=600.0
            )
        for name, zone in zones.items():
            labels = {"metadata": {"labels": {"topology.kubernetes.io/zone": zone}}}
            cluster.client.patch("nodes", name, "", labels)

    def _answered(self, verb: str, resource: str, seconds: float, code: int) -> None:
        """A component's request. Watches are no requests whose end anybody waits for."""
        if verb != "watch":
            (self.result.read_s if verb in ("get", "list") else self.result.write_s).append(round(seconds, 6))
            self.result.codes[code] = self.result.codes.get(code, 0) + 1

    def play(self) -> Result:
        end_s = self.scenario.duration_s
        now = 0.0
        pending = list(self.timeline)
        while now < end_s or pending:
            while pending and pending[0][0] <= now:
                self._do(*pending.pop(0)[2])
            following = min(now + SLICE_S, pending[0][0] if pending else now + SLICE_S)
            self._to(following)
            now = max(following, self.sim.clock.monotonic() - self.start_s)
            self._look(now)
            if not pending and now >= end_s:
                break
        self.result.faults = [injection.describe() for injection in self.faults.log]
        self._judge(now)
        self.result.steps = self.sim.steps
        self.result.trace_hash = self._hash()
        return self.result

    def _to(self, now: float) -> None:
        left = self.start_s + now - self.sim.clock.monotonic()
        if left > 0:
            self.sim.advance(left)

    def _do(self, kind: str, what: Any) -> None:
        self.disturbed_s = self.sim.clock.monotonic() - self.start_s
        if kind == "fault":
            try:
                self.faults.inject(what["verb"], what.get("for"), **what["with"])
            except Exception as error:  # nobody there to be struck, or what must do it is broken itself
                self.result.faults.append({"verb": what["verb"], "skipped": f"{type(error).__name__}: {error}"})
            self.disturbed_s += what.get("for") or 0.0
            return
        objects: Any = what if kind == "apply" else _arriving(*what)
        for _ in range(20):  # the API server may be what is broken
            try:
                self.cluster.apply(objects)
                return
            except Exception as error:
                problem = error
                self.sim.advance(1.0)
        self.result.broken.append(f"t={self.disturbed_s:.1f} a workload could not be applied: {problem}")

    # -- What is seen --------------------------------------------------------------------------

    def _objects(self, group: str, resource: str) -> list[Object]:
        server: Any = self.sim.lookup("apiserver")
        if server is None or server.actor is None or not hasattr(server.actor, "core"):
            return []
        entries = server.actor.core.store.cache(group, resource).all.entries
        return [entries[key].object for key in sorted(entries)]

    def _look(self, now: float) -> None:
        pods = self._objects("", "pods")
        ready = 0
        for pod in pods:
            uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
            node = pod["spec"].get("nodeName")
            if node and self.bound.setdefault(uid, node) != node:
                self._broke(now, f"pod {name} moved from {self.bound[uid]} to {node}")
            if _is(pod, "Ready"):
                ready += 1
                if uid not in self.ready_since:
                    self.ready_since[uid] = now
                    created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).timestamp()
                    self.result.pod_start_s.append(round(max(0.0, self.sim.clock.now() - created), 3))
        self.result.running.append((round(now, 3), ready, len(pods)))
        deployments = self._objects("apps", "deployments")
        for deployment in deployments:
            name = deployment["metadata"]["name"]
            have = (deployment.get("status") or {}).get("availableReplicas") or 0
            self.samples.setdefault(name, []).append(have >= deployment["spec"].get("replicas", 1))
        if not all(map(_settled, deployments)) or any(_waits(pod) for pod in pods):
            self.unconverged_s = now
        for check in self.scenario.checks:
            self._watch(check, now, pods, deployments)
        for check, invariant in self.invariants:
            if check["kind"] == "always" and check["from"] <= now <= check["until"]:
                self._hold(check, invariant, now)

    def _hold(self, check: Object, invariant: Invariant, now: float) -> None:
        problem = invariant.problem(now, self._objects)
        if problem and invariant.text not in self.counted:
            self.counted.add(invariant.text)
            name = f"{check['name']}: " if check["name"] else ""
            self.result.broken.append(f"t={now:.1f} {name}{invariant.text} {problem}")

    def _watch(self, check: Object, now: float, pods: list[Object], deployments: list[Object]) -> None:
        if check["kind"] == "never-more-than":
            found = pods if check["what"] == "pods" else [p for p in pods if p["metadata"]["name"].startswith(check["what"])]
            if len(found) > check["most"]:
                self._broke(now, f"{len(found)} {check['what']}, where never more than {check['most']} are allowed")
        elif check["kind"] == "available" and check["from"] <= now <= check["until"]:
            for deployment in deployments:
                if deployment["metadata"]["name"] == check["workload"]:
                    have = (deployment.get("status") or {}).get("availableReplicas") or 0
                    if have < check["least"]:
                        self._broke(now, f"{check['workload']}: {have} available, at least {check['least']} expected")

    def _broke(self, now: float, text: str) -> None:
        rule = text.split(":")[0].split(",")[0]
        if rule not in self.counted and len(self.result.broken) < 50:  # the first time of each is told
            self.counted.add(rule)
            self.result.broken.append(f"t={now:.1f} {text}")

    def _judge(self, now: float) -> None:
        result = self.result
        if self.unconverged_s < now:
            result.converged_s = round(max(0.0, self.unconverged_s - self.disturbed_s), 3)
        result.availability = {n: round(sum(s) / len(s), 6) for n, s in sorted(self.samples.items())}
        for times in (result.pod_start_s, result.read_s, result.write_s):
            times.sort()
        for check, invariant in self.invariants:
            if check["kind"] == "finally":
                self._hold(check, invariant, now)
        for check in self.scenario.checks:
            if check["kind"] == "converged" and (result.converged_s is None or result.converged_s > check["seconds"]):
                took = "not at all" if result.converged_s is None else f"after {result.converged_s:g} s"
                result.broken.append(f"converged {took}, expected within {check['seconds']:g} s")
            if check["kind"] == "api-p99":
                p99 = percentile(sorted(result.read_s + result.write_s), 0.99)
                if p99 > check["seconds"]:
                    result.broken.append(f"99 % of requests take up to {p99:g} s, expected {check['seconds']:g} s")
            if check["kind"] == "pod-start-p99" and result.pod_start_s:
                p99 = percentile(result.pod_start_s, 0.99)
                if p99 > check["seconds"]:
                    result.broken.append(f"99 % of pods start within {p99:g} s, expected {check['seconds']:g} s")
        self._schedule_quality()

    def _schedule_quality(self) -> None:
        from protocol.quantity import parse_quantity

        room = {n["metadata"]["name"]: float(parse_quantity(n["status"]["allocatable"]["cpu"])) for n in self._objects("", "nodes")}
        counts = dict.fromkeys(room, 0)
        used = 0.0
        for pod in self._objects("", "pods"):
            node = pod["spec"].get("nodeName")
            if node in counts and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
                counts[node] += 1
                for container in pod["spec"]["containers"]:
                    used += float(parse_quantity(((container.get("resources") or {}).get("requests") or {}).get("cpu", "0")))
        if room:
            self.result.utilisation = round(used / sum(room.values()), 6)
            self.result.spread = max(counts.values()) - min(counts.values())

    def _hash(self) -> str:
        """Everything: who handled what when, and every byte in the store."""
        digest = hashlib.blake2b(self.sim.digest().encode(), digest_size=16)
        server: Any = self.sim.lookup("apiserver")
        caches = server.actor.core.store.caches if server is not None and server.actor is not None else {}
        for key in sorted(caches):
            entries = caches[key].all.entries
            for name in sorted(entries):
                digest.update(f"{key} {name} {entries[name].revision}\n".encode())
                # The order of an object's keys may depend on what its twins were before in this process.
                digest.update(orjson.dumps(orjson.loads(entries[name].value), option=orjson.OPT_SORT_KEYS))
        digest.update(repr((self.result.faults, self.result.broken, self.result.running)).encode())
        return digest.hexdigest()


def _is(obj: Object, condition: str) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c["type"] == condition and c["status"] == "True" for c in conditions)


def _takes_pods(node: Object) -> bool:
    """Whether the node is Ready and the controllers have seen so: until then a taint keeps pods away, and
    those that wait would all go to the first nodes without it."""
    return _is(node, "Ready") and not node["spec"].get("taints")


def _settled(deployment: Object) -> bool:
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
    return seen and all((status.get(k) or 0) == wanted for k in ("replicas", "updatedReplicas", "availableReplicas"))


def _waits(pod: Object) -> bool:
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return not ended and not _is(pod, "Ready")


def _times(process: dict[str, Any], rng: random.Random) -> list[float]:
    at, length = process["at"], process["for"]
    if process["process"] == "burst":
        return [at] * int(process["count"])
    if process["process"] == "ramp":
        count = int(process["count"])
        return [round(at + length * (index / count) ** 0.5, 3) for index in range(count)]
    times = []
    while process["rate"] > 0:
        at += rng.expovariate(process["rate"])
        if at > process["at"] + length:
            break
        times.append(round(at, 3))
    return times


def _arriving(process: dict[str, Any], name: str) -> list[Object]:
    command = ["sleep", f"{process['runs']:g}"] if process["runs"] else ["sleep", "infinity"]
    requests = {"cpu": str(process.get("cpu", "100m")), "memory": str(process.get("memory", "64Mi"))}
    container = {"name": "main", "image": "busybox", "command": command, "resources": {"requests": requests}}
    spec = {"containers": [container], "restartPolicy": "Never"}
    if process.get("kind", "pod") == "pod":
        return [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}]
    return [{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": {"spec": spec}}}]
