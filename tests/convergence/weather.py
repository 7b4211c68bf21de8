"""A cluster in bad weather: one seed, one history of what users do and what goes wrong.

A `Weather` plays steps on a simulated cluster of three nodes and watches every revision (`history`) with
the rules of `safety`. At the end all is healed, the cluster must come to rest where it should, and what is
deleted then must go without a trace.

    python tests/convergence/weather.py 100 200      # these seeds; tells how to play a failure again
    python tests/convergence/weather.py 117 --shrink # the fewest steps of seed 117 that fail
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from history import History
from safety import World, name, over, owner, ready, uid

from actors.client import Client, ClientActor
from actors.controllers import ControllerManager, Options
from actors.kernel import Child, Link, Ref, Stuck, handles
from cluster import SimulatedCluster
from protocol.api import StatusError
from protocol.etcd import Compact, EtcdError
from protocol.objects import Object

NODES, WEB, LEAST, HEAL_S = 3, 4, 3, 1200.0
STEPS = 20
WEATHER = (404, 409, 429, 500, 503, 504)
INFORMERS = ("pods", "jobs.batch", "statefulsets.apps", "daemonsets.apps", "replicasets.apps", "deployments.apps",
             "controllerrevisions.apps", "replicationcontrollers", "cronjobs.batch", "persistentvolumeclaims",
             "persistentvolumes")  # fmt: skip
CONTROLLERS = ("deployment", "statefulset", "job", "daemonset", "replicaset", "replicationcontroller", "cronjob",
               "disruption", "garbage-collector", "node-lifecycle", "taint-eviction", "pod-garbage-collector",
               "ttl-after-finished", "persistentvolume-binder", "endpointslice")  # fmt: skip
COMPONENTS = ("etcd", "apiserver", "controller-manager", "scheduler")
CAST = ("web", "roll", "again", "db", "ds", "rc", "tick")


class Meddle:
    """Told to the meddler: go on for so many rounds."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds


class Meddler(ClientActor):
    """Writes to everybody's objects, so that what others have read is out of date."""

    def __init__(self, apiserver: Ref) -> None:
        super().__init__()
        self.client = Client(self, apiserver, user_agent="meddler")
        self.count = 0

    @handles(Meddle)
    async def meddle(self, message: Meddle) -> None:
        for _ in range(message.rounds):
            for what in ("statefulsets", "jobs", "daemonsets", "replicasets", "deployments", "pods"):
                try:
                    for obj in (await self.client.list(what, "default"))["items"]:
                        self.count += 1
                        body = {"metadata": {"annotations": {"meddler": str(self.count)}}}
                        await self.client.patch(what, obj["metadata"]["name"], "default", body)
                except StatusError as error:
                    assert error.code in WEATHER, error
            await self.sleep(self.random.uniform(0.0, 0.2))


def workload(kind: str, called: str, image: str, **spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": called}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    selector: Object = {"app": called} if kind == "ReplicationController" else {"matchLabels": {"app": called}}
    version = "v1" if kind == "ReplicationController" else "apps/v1"
    body = {"selector": selector, "template": template, **spec}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": called}, "spec": body}


def job(called: str, completions: int, parallelism: int, *, indexed: bool, ttl: bool) -> Object:
    container = {"name": "c", "image": "b", "command": ["sleep", "2"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec: Object = {"completions": completions, "parallelism": parallelism, "backoffLimit": 99, "template": template}
    if indexed:
        spec["completionMode"] = "Indexed"
    if ttl:
        spec["ttlSecondsAfterFinished"] = 30
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": called}, "spec": spec}


def cron_job() -> Object:
    container = {"name": "c", "image": "b", "command": ["sleep", "75"]}
    work = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}, "completions": 1, "parallelism": 1,
            "backoffLimit": 99}  # fmt: skip
    spec = {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "successfulJobsHistoryLimit": 2}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"},
            "spec": {**spec, "jobTemplate": {"spec": work}}}  # fmt: skip


def budget() -> Object:
    spec = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": LEAST}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": spec}


def storage_class() -> Object:
    return {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "local"},
            "provisioner": "kubekka.dev/local", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}  # fmt: skip


class Weather:
    """One history. `broken` is what must not be; `steps` what is done, drawn from the seed."""

    def __init__(self, seed: int, count: int = STEPS) -> None:
        draw = random.Random(f"weather {seed}")
        self.seed = seed
        self.quiet_nodes = draw.random() < 0.4
        self.two_managers = draw.random() < 0.25
        self.cast = frozenset(draw.sample(CAST, draw.randint(2, 4)))
        self.parallel, self.surge, self.claims = draw.random() < 0.5, draw.random() < 0.5, draw.random() < 0.5
        self.unavailable = draw.choice((0, 1))
        self.steps = [self._draw(draw) for _ in range(count)]
        self.hurt = False
        self.jobs = 0
        self.wanted: dict[str, Object] = {}
        self.folder = tempfile.TemporaryDirectory()

    def _draw(self, draw: random.Random) -> tuple[str, dict[str, Any]]:
        verb = draw.choice(tuple(ARGUMENTS))
        return verb, {argument: choose(draw) for argument, choose in ARGUMENTS[verb].items()}

    # -- The course of it ----------------------------------------------------------------------

    def play(self, tell: Callable[[str], object] = lambda text: None) -> list[str]:
        """Everything, from the start to the end; answers what was broken."""
        try:
            self.start()
            for number, (verb, arguments) in enumerate(self.steps):
                tell(f"  t={self.sim.clock.monotonic():8.2f} {number:2}: {verb} {arguments}")
                getattr(self, verb)(**arguments)
                if self.failed():
                    return self.failed()
            self.converge()
            return self.failed()
        finally:
            self.folder.cleanup()

    def failed(self) -> list[str]:
        crashed = [str(self.sim.failure)] if self.sim.failure is not None else []
        return self.world.broken[:5] + crashed

    def start(self) -> None:
        settings: dict[str, Any] = {"controllers": {"leader_elect": True}} if self.two_managers else {}
        self.cluster = SimulatedCluster(
            seed=self.seed, nodes=NODES, data_dir=Path(self.folder.name), unsafe_no_fsync=True, **settings
        )
        self.sim = self.cluster.sim
        apiserver = self.cluster.parts.apiserver
        if self.two_managers:
            manager = Child("controller-manager-2", lambda: ControllerManager(apiserver, Options(leader_elect=True)))
            self.sim.spawn(manager, host="controllers-2")
        self.world = World()
        self.world.calm = lambda: not self.hurt
        etcd = self.sim.lookup("etcd")
        assert etcd is not None
        self.sim.spawn(Child("history", lambda: History(etcd, self.world)), host="observer")
        self.meddler = self.sim.spawn(Child("meddler", lambda: Meddler(apiserver)), host="meddler")
        for obj in self._beginning():
            self.want(obj)
        self.sim.advance(5.0)

    def _beginning(self) -> list[Object]:
        found: list[Object] = []
        if "web" in self.cast:
            found += [workload("Deployment", "web", "web:1", replicas=WEB), budget()]
        if "roll" in self.cast:
            found.append(self._roll(3, 1))
        if "again" in self.cast:
            found.append(self._again(1))
        if "db" in self.cast:
            found += [storage_class()] if self.claims else []
            found.append(self._database(2, 1))
        if "ds" in self.cast:
            found.append(self._daemon_set(1))
        if "rc" in self.cast:
            found.append(workload("ReplicationController", "rc", "rc:1", replicas=2))
        if "tick" in self.cast:
            found.append(cron_job())
        return found

    def _roll(self, replicas: int, image: int) -> Object:
        strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": self.unavailable}}
        return workload("Deployment", "roll", f"roll:{image}", replicas=replicas, strategy=strategy)

    def _again(self, image: int) -> Object:
        return workload("Deployment", "again", f"again:{image}", replicas=2, strategy={"type": "Recreate"})

    def _database(self, replicas: int, image: int) -> Object:
        extra: Object = {"podManagementPolicy": "Parallel" if self.parallel else "OrderedReady", "serviceName": "db"}
        if self.claims:
            spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                    "storageClassName": "local"}  # fmt: skip
            extra["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": spec}]
        return workload("StatefulSet", "db", f"db:{image}", replicas=replicas, **extra)

    def _daemon_set(self, image: int) -> Object:
        rolling = {"maxSurge": 1, "maxUnavailable": 0} if self.surge else {"maxUnavailable": 1}
        return workload("DaemonSet", "ds", f"ds:{image}", updateStrategy={"rollingUpdate": rolling})

    # -- What users do -------------------------------------------------------------------------

    def want(self, obj: Object) -> None:
        self.wanted[f"{obj['kind']}/{obj['metadata']['name']}"] = obj
        self.attempt(lambda: self.cluster.apply(obj))

    def attempt(self, work: Callable[[], object]) -> None:
        """What a user tries; it may be refused while things are broken."""
        try:
            work()
        except StatusError as error:
            assert error.code in WEATHER, error
            self.sim.advance(0.5)

    def change(self, replicas: int, image: int) -> None:
        """Whatever of the cast can be changed is."""
        if "roll" in self.cast:
            self.want(self._roll(max(replicas, 1), image))
        if "again" in self.cast:
            self.want(self._again(image))
        if "db" in self.cast:
            self.want(self._database(replicas, image))
        if "ds" in self.cast:
            self.want(self._daemon_set(image))
        if "rc" in self.cast:
            self.want(workload("ReplicationController", "rc", "rc:1", replicas=replicas))

    def run_a_job(self, completions: int, parallelism: int, indexed: bool, ttl: bool) -> None:
        self.jobs += 1
        self.want(job(f"job-{self.jobs}", completions, parallelism, indexed=indexed, ttl=ttl))

    def evict(self, count: int) -> None:
        def work() -> None:
            for pod in self.cluster.client.list("pods", "default", label_selector="app=web")[:count]:
                meta = {"name": pod["metadata"]["name"], "namespace": "default"}
                body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
                create = partial(self.cluster.client.create, name=meta["name"], subresource="eviction")
                self.attempt(partial(create, "pods", body, "default"))

        self.attempt(work)

    def kill_a_pod(self, pick: int) -> None:
        if self.quiet_nodes:
            return
        self.hurt = True

        def work() -> None:
            pods = self.cluster.client.list("pods", "default", field_selector="status.phase!=Succeeded")
            if pods:
                self.cluster.client.delete("pods", pods[pick % len(pods)]["metadata"]["name"], "default")

        self.attempt(work)

    # -- What goes wrong -----------------------------------------------------------------------

    def crash_a_component(self, component: str, after: float) -> None:
        self.crash(component, after)

    def crash_a_controller(self, which: str, after: float) -> None:
        self.crash(f"controller-manager/{which}-controller", after)

    def crash_an_informer(self, which: str, after: float) -> None:
        self.crash(f"controller-manager/informer-{which}", after)

    def crash_a_kubelet(self, node: int, after: float) -> None:
        if not self.quiet_nodes:
            self.hurt = True
            self.crash(f"node-{node}/kubelet", after)

    def crash(self, path: str, after: float) -> None:
        ref = self.sim.lookup(path)
        if ref is not None:
            self.sim.crash(ref, restart_after_s=after)

    def stop_the_leader(self, seconds: float) -> None:
        """All of a controller manager stands still, and then goes on as if nothing had been."""
        manager = self.sim.lookup("controller-manager")
        if manager is not None and not self.two_managers:
            self.sim.pause(manager)
            self.sim.advance(seconds)
            self.sim.resume(manager)

    def break_watches(self, rate: float) -> None:
        self.attempt(lambda: self.cluster.faults.inject("break-watches", rate=rate))

    def forget_history(self, which: str) -> None:
        """What comes after the break is history that is no longer there: a new list is forced."""
        self.crash(f"controller-manager/informer-{which}", 3.0)
        self.sim.advance(2.0)
        etcd = self.sim.lookup("etcd")
        if etcd is None or not self.world.revision:
            return
        try:
            self.sim.ask(etcd, Compact(self.world.revision), timeout=5.0)
        except Exception as error:
            assert isinstance(error, EtcdError) or type(error).__name__ in ("ActorDead", "AskTimeout", "Timeout"), error

    def meddle(self, rounds: int) -> None:
        self.meddler.tell(Meddle(rounds))

    def refuse(self, code: int, rate: float, seconds: float) -> None:
        self.cluster.faults.inject("api-error", seconds, code=code, rate=rate, users="system:*")

    def lose_answers(self, rate: float, seconds: float, verb: str) -> None:
        self.cluster.faults.inject("api-error", seconds, code=504, rate=rate, after=True, users="system:*", verbs=verb)

    def slow_down(self, delay: float, seconds: float) -> None:
        self.cluster.faults.inject("slow-disk", seconds, seconds=delay)

    def deliver_late(self, host: str, delay: float, drop: float) -> None:
        if self._may_cut(host):
            self.sim.link(host, self._peer(host), (0.0, delay), drop)

    def deliver_twice(self, host: str, delay: float) -> None:
        """What the API server says; what it is asked comes once, as over TCP."""
        if self._may_cut(host) and host != "apiserver":
            self.sim.links.set_one_way("apiserver", host, Link(0.0, delay, 0.0, False, 0.3))

    def cut_off(self, host: str) -> None:
        if self._may_cut(host):
            self.sim.partition(host, self._peer(host))

    def _may_cut(self, host: str) -> bool:
        of_nodes = host.startswith("node-") or host == "apiserver"
        if of_nodes and self.quiet_nodes:
            return False
        self.hurt = self.hurt or of_nodes
        return True

    @staticmethod
    def _peer(host: str) -> str:
        return "apiserver" if host != "apiserver" else "etcd"

    def let_time_pass(self, seconds: float) -> None:
        self.sim.advance(seconds)

    def heal(self) -> None:
        self.sim.heal()
        self.sim.advance(30.0)

    # -- How it must end -----------------------------------------------------------------------

    def converge(self) -> None:
        self.cluster.faults.stop_all()
        self.sim.heal()
        self.sim.advance(15.0)
        for obj in self.wanted.values():
            if obj["kind"] == "Job" and self._was_there("Job", obj["metadata"]["name"]):
                continue
            self._insist(partial(self.cluster.apply, obj))
        self._until(self.why_not)
        self.world.cleaning = self.hurt = True
        for obj in self.wanted.values():
            if obj["kind"] == "StorageClass":
                continue
            delete = partial(self.cluster.client.delete, obj["kind"].lower() + "s", obj["metadata"]["name"], "default")
            self._insist(partial(delete, propagation="Foreground"), 404)
        for claim in self.world.all("PersistentVolumeClaim"):
            self._insist(partial(self.cluster.client.delete, "persistentvolumeclaims", name(claim), "default"), 404)
        self._until(self.what_is_left)

    def _was_there(self, kind: str, called: str) -> bool:
        return (kind, called) in self.world.names

    def _insist(self, work: Callable[[], object], enough: int = 0) -> None:
        for _ in range(60):
            try:
                work()
                return
            except StatusError as error:
                if error.code == enough:
                    return
                assert error.code in WEATHER, error
                self.sim.advance(1.0)

    def _until(self, why_not: Callable[[], str]) -> None:
        try:
            self.sim.run(until=lambda: bool(self.world.broken) or (self.sim.steps % 50 == 0 and not why_not()), timeout_s=HEAL_S)
        except Stuck as error:
            self.world.broken.append(f"{error}: {why_not()}")

    def why_not(self) -> str:
        """Empty when the cluster is where it should be."""
        world, wanted = self.world, self.wanted
        for obj in wanted.values():
            kind, called = obj["kind"], obj["metadata"]["name"]
            if kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicationController"):
                size = NODES if kind == "DaemonSet" else obj["spec"]["replicas"]
                pods = [p for p in world.all("Pod") if p["metadata"].get("labels", {}).get("app") == called]
                image = obj["spec"]["template"]["spec"]["containers"][0]["image"]
                if len(pods) != size or not all(map(ready, pods)):
                    return f"{called} has {[(name(p), ready(p)) for p in pods]}, {size} wanted"
                if any(p["spec"]["containers"][0]["image"] != image for p in pods):
                    return f"{called} does not run {image} everywhere"
                if kind == "StatefulSet" and {name(p) for p in pods} != {f"db-{n}" for n in range(size)}:
                    return "the ordinals are not the first ones"
        return self._jobs_done()

    def _jobs_done(self) -> str:
        for obj in self.wanted.values():
            if obj["kind"] != "Job":
                continue
            found = [j for j in self.world.all("Job") if name(j) == obj["metadata"]["name"]]
            if obj["spec"].get("ttlSecondsAfterFinished"):
                if found:
                    return f"{name(found[0])} is there still"
                continue
            if not found:
                return f"{obj['metadata']['name']} is missing"
            status = found[0].get("status") or {}
            if not over(found[0]) or status.get("succeeded") != obj["spec"]["completions"]:
                return f"{name(found[0])} is not complete: {status}"
            held = [name(p) for p in self.world.pods_of(uid(found[0])) if p["metadata"].get("finalizers")]
            if held:
                return f"finalizers are left on {held}"
        done = [j for j in self.world.all("Job") if owner(j)[0] == "CronJob" and over(j)]
        return f"{len(done)} Jobs of the CronJob are kept" if len(done) > 3 else ""

    def what_is_left(self) -> str:
        """Empty when nothing is."""
        kept = ("ServiceAccount", "ConfigMap", "Service", "Endpoints", "EndpointSlice", "Lease", "Event")
        left = [
            f"{kind}/{name(o)}"
            for kind in self.world.by_kind
            for o in self.world.all(kind)
            if (o["metadata"].get("namespace") == "default" and kind not in kept) or kind == "PersistentVolume"
        ]
        if left:
            return f"left over: {left}"
        for n in range(NODES):
            runtime: Any = self.sim.actors[f"node-{n}/runtime"].actor
            running = [s.config.name for s in runtime.machine.sandboxes.values() if s.ready]
            if running:
                return f"node-{n} still runs {running}"
        return ""


def _number(low: int, high: int) -> Callable[[random.Random], int]:
    return lambda draw: draw.randint(low, high)


def _real(low: float, high: float) -> Callable[[random.Random], float]:
    return lambda draw: round(draw.uniform(low, high), 3)


def _one_of(*values: Any) -> Callable[[random.Random], Any]:
    return lambda draw: draw.choice(values)


_HOSTS = ("apiserver", "controllers", "controllers-2", "scheduler", *(f"node-{n}" for n in range(NODES)))
ARGUMENTS: dict[str, dict[str, Callable[[random.Random], Any]]] = {
    "change": {"replicas": _number(0, 4), "image": _number(1, 3)},
    "run_a_job": {"completions": _number(1, 5), "parallelism": _number(1, 3), "indexed": _one_of(True, False),
                  "ttl": _one_of(True, False, False)},
    "evict": {"count": _number(1, 4)},
    "kill_a_pod": {"pick": _number(0, 99)},
    "crash_a_component": {"component": _one_of(*COMPONENTS), "after": _real(0.0, 8.0)},
    "crash_a_controller": {"which": _one_of(*CONTROLLERS), "after": _real(0.0, 8.0)},
    "crash_an_informer": {"which": _one_of(*INFORMERS), "after": _real(0.0, 8.0)},
    "crash_a_kubelet": {"node": _number(0, NODES - 1), "after": _real(0.0, 60.0)},
    "stop_the_leader": {"seconds": _real(0.1, 12.0)},
    "break_watches": {"rate": _real(0.1, 1.0)},
    "forget_history": {"which": _one_of(*INFORMERS)},
    "meddle": {"rounds": _number(1, 8)},
    "refuse": {"code": _one_of(409, 429, 500, 503), "rate": _real(0.05, 0.5), "seconds": _real(0.5, 10.0)},
    "lose_answers": {"rate": _real(0.05, 0.5), "seconds": _real(0.5, 10.0), "verb": _one_of("create", "update patch", "*")},
    "slow_down": {"delay": _real(0.01, 0.5), "seconds": _real(0.5, 10.0)},
    "deliver_late": {"host": _one_of(*_HOSTS), "delay": _real(0.0, 1.0), "drop": _one_of(0.0, 0.0, 0.1)},
    "deliver_twice": {"host": _one_of(*_HOSTS), "delay": _real(0.0, 0.2)},
    "cut_off": {"host": _one_of(*_HOSTS)},
    "let_time_pass": {"seconds": _one_of(0.01, 0.3, 1.0, 5.0, 20.0, 70.0, 400.0)},
    "heal": {},
}  # fmt: skip


def shrink(seed: int, count: int) -> Weather:
    """The fewest steps that still break something, found by leaving out one after the other."""

    def fails(steps: list[tuple[str, dict[str, Any]]]) -> bool:
        weather = Weather(seed, count)
        weather.steps = steps
        return bool(weather.play())

    steps = Weather(seed, count).steps
    size = max(1, len(steps) // 2)
    while size:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            if fails(fewer):
                steps = fewer
            else:
                at += size
        size //= 2
    found = Weather(seed, count)
    found.steps = steps
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Play histories of a cluster in bad weather.")
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int, nargs="?", help="the seed to stop before")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--shrink", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    failures = 0
    say = sys.stdout.write
    for seed in range(options.first, options.last or options.first + 1):
        began = time.process_time()
        weather = shrink(seed, options.steps) if options.shrink else Weather(seed, options.steps)
        told: list[str] = []
        try:
            broken = weather.play(told.append)
        except Exception as error:
            broken = [f"{type(error).__name__}: {error}"]
        if broken:
            failures += 1
            cast = ", ".join(sorted(weather.cast))
            say(f"seed {seed} ({cast}; quiet nodes {weather.quiet_nodes}, two managers {weather.two_managers}):\n")
            say("\n".join([*told, *broken, ""]))
            sys.stdout.flush()
        elif time.process_time() - began > 10.0:
            say(f"seed {seed} took {time.process_time() - began:.1f} s\n")
    say(f"{failures} histories failed\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
