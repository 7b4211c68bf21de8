"""Stateful sets, jobs, daemon sets and disruption budgets under faults: safe at every moment.

A Hypothesis state machine scales, changes, evicts and deletes while components crash, watches break,
history is compacted away, mail is late and a meddler makes updates conflict. At every change of a pod
or a Job the rules of `Rules` hold; when all has been healed the cluster comes to rest where it should,
and what is deleted then goes without a trace. `KUBEKKA_THOROUGH=N` tries N histories, not a few.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from observer import is_ready

from actors.client import Client, ClientActor, Informer
from actors.kernel import Child, Ref, Stuck, handles
from cluster import SimulatedCluster
from protocol.api import StatusError
from protocol.etcd import Compact
from protocol.objects import Object

NODES = 3
WEB, LEAST = 4, 3
HEAL_S = 1200.0
WATCHED = ("pods", "jobs", "statefulsets", "daemonsets", "deployments", "replicasets", "poddisruptionbudgets")
INFORMERS = (
    "pods",
    "jobs.batch",
    "statefulsets.apps",
    "daemonsets.apps",
    "replicasets.apps",
    "controllerrevisions.apps",
)
CONTROLLERS = (
    "statefulset-controller",
    "job-controller",
    "daemonset-controller",
    "replicaset-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "node-lifecycle-controller",
    "taint-eviction-controller",
    "pod-garbage-collector-controller",
    *(f"informer-{what}" for what in INFORMERS),
)
HOSTS = ("apiserver", "controllers", "scheduler", *(f"node-{n}" for n in range(NODES)))
WEATHER = (404, 409, 429, 500, 503, 504)


def workload(kind: str, name: str, image: str, **spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    body = {"selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": body}


def job(name: str, completions: int, parallelism: int, *, indexed: bool) -> Object:
    container = {"name": "c", "image": "b", "command": ["sleep", "2"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec: Object = {"completions": completions, "parallelism": parallelism, "backoffLimit": 99, "template": template}
    if indexed:
        spec["completionMode"] = "Indexed"
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def owner(pod: Object) -> tuple[str, str]:
    for reference in pod["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return reference["kind"], reference["name"]
    return "", ""


class Rules(ClientActor):
    """An onlooker on a host of its own: `broken` is what it saw that must not be."""

    def __init__(self, apiserver: Ref, machine: WorkloadMachine) -> None:
        super().__init__()
        self.client = Client(self, apiserver, user_agent="observer")
        self.machine = machine
        self.informers: dict[str, Informer] = {}
        self.succeeded: dict[str, set[str]] = {}
        self.early: dict[str, float] = {}

    def on_start(self) -> None:
        for what in WATCHED:
            self.informers[what] = Informer(self.client, what, on_batch=self.check)
            self.informers[what].start()

    def all(self, what: str) -> list[Object]:
        return list(self.informers[what].store)

    def say(self, text: str) -> None:
        self.machine.broken.append(f"t={self.clock.monotonic():.3f} {text}")

    def check(self, _: Any) -> None:
        if len(self.informers) < len(WATCHED) or not all(i.has_synced for i in self.informers.values()):
            return
        pods = self.all("pods")
        self.no_two_of_one_identity(pods)
        for one in self.all("jobs"):
            self.job_counts(one, [p for p in pods if owner(p) == ("Job", one["metadata"]["name"])])
        self.budget(pods)

    def no_two_of_one_identity(self, pods: list[Object]) -> None:
        """Not only in the API: on all machines together at most one pod runs under a name."""
        running: dict[str, list[str]] = {}
        for n in range(NODES):
            runtime: Any = self.system.actors[f"node-{n}/runtime"].actor
            for sandbox in runtime.machine.sandboxes.values():
                if sandbox.ready and sandbox.config.name.startswith("db-"):
                    running.setdefault(sandbox.config.name, []).append(f"node-{n}")
        for name, nodes in running.items():
            if len(nodes) > 1:
                self.say(f"{name} runs on {nodes}")

    def job_counts(self, one: Object, pods: list[Object]) -> None:
        name, status, spec = one["metadata"]["name"], one.get("status") or {}, one["spec"]
        done = self.succeeded.setdefault(one["metadata"]["uid"], set())
        done |= {p["metadata"]["uid"] for p in pods if p.get("status", {}).get("phase") == "Succeeded"}
        active = [
            p
            for p in pods
            if p.get("status", {}).get("phase") not in ("Succeeded", "Failed")
            and not p["metadata"].get("deletionTimestamp")
        ]
        if len(active) > spec["parallelism"]:
            self.say(f"job {name} has {len(active)} active pods where {spec['parallelism']} may be")
        if status.get("succeeded", 0) > spec["completions"]:
            self.say(f"job {name} counts {status['succeeded']} of {spec['completions']}")
        # What one watch tells may be later than what another does: it must not stay so.
        if status.get("succeeded", 0) <= len(done):
            self.early.pop(one["metadata"]["uid"], None)
        elif self.clock.monotonic() - self.early.setdefault(one["metadata"]["uid"], self.clock.monotonic()) > 15.0:
            self.say(f"job {name} counts {status['succeeded']} where {len(done)} succeeded")

    def budget(self, pods: list[Object]) -> None:
        """Evictions leave the budget's pods, as long as nothing but the control plane is disturbed."""
        ready = sum(
            owner(p)[0] == "ReplicaSet" and is_ready(p) and not p["metadata"].get("deletionTimestamp") for p in pods
        )
        if ready >= WEB:
            self.machine.was_whole = True
        elif self.machine.was_whole and not self.machine.disturbed and ready < LEAST:
            self.say(f"{ready} pods are ready where the budget keeps {LEAST}")


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
            for what in ("statefulsets", "jobs", "daemonsets", "replicasets", "pods"):
                try:
                    for obj in (await self.client.list(what, "default"))["items"]:
                        self.count += 1
                        body = {"metadata": {"annotations": {"meddler": str(self.count)}}}
                        await self.client.patch(what, obj["metadata"]["name"], "default", body)
                except StatusError as error:
                    assert error.code in WEATHER, error
            await self.sleep(self.random.uniform(0.0, 0.2))


class WorkloadMachine(RuleBasedStateMachine):
    """The rules below, on a cluster of three nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.broken: list[str] = []
        self.disturbed = self.was_whole = False
        self.jobs = 0
        self.wanted: dict[str, Object] = {}

    @initialize(seed=st.integers(0, 2**32), parallel=st.booleans(), surge=st.booleans())
    def start(self, seed: int, parallel: bool, surge: bool) -> None:
        note(f"replay: SimulatedCluster(seed={seed}, nodes={NODES})")
        self.cluster = SimulatedCluster(seed=seed, nodes=NODES, data_dir=Path(self.folder.name), unsafe_no_fsync=True)
        self.sim = self.cluster.sim
        apiserver = self.cluster.parts.apiserver
        self.rules = self.sim.spawn(Child("rules", lambda: Rules(apiserver, self)), host="observer")
        self.meddler = self.sim.spawn(Child("meddler", lambda: Meddler(apiserver)), host="meddler")
        self.policy = {"podManagementPolicy": "Parallel" if parallel else "OrderedReady", "serviceName": "db"}
        self.strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0} if surge else {"maxUnavailable": 1}}
        budget = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": LEAST}
        for obj in (
            workload("Deployment", "web", "web:1", replicas=WEB),
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": budget},
            workload("StatefulSet", "db", "db:1", replicas=2, **self.policy),
            workload("DaemonSet", "ds", "ds:1", updateStrategy=self.strategy),
        ):
            self.want(obj)
        self.sim.advance(5.0)

    def want(self, obj: Object) -> None:
        self.wanted[f"{obj['kind']}/{obj['metadata']['name']}"] = obj
        self.attempt(lambda: self.cluster.apply(obj))

    def attempt(self, work: Any) -> None:
        """What a user tries; it may be refused while things are broken."""
        try:
            work()
        except StatusError as error:
            assert error.code in WEATHER, error
            self.sim.advance(0.5)

    # -- What users do -------------------------------------------------------------------------

    @rule(replicas=st.integers(0, 4), image=st.integers(1, 3))
    def change_the_stateful_set(self, replicas: int, image: int) -> None:
        self.want(workload("StatefulSet", "db", f"db:{image}", replicas=replicas, **self.policy))

    @rule(image=st.integers(1, 3))
    def change_the_daemon_set(self, image: int) -> None:
        self.want(workload("DaemonSet", "ds", f"ds:{image}", updateStrategy=self.strategy))

    @rule(completions=st.integers(1, 5), parallelism=st.integers(1, 3), indexed=st.booleans())
    def run_a_job(self, completions: int, parallelism: int, indexed: bool) -> None:
        self.jobs += 1
        self.want(job(f"job-{self.jobs}", completions, parallelism, indexed=indexed))

    @rule(count=st.integers(1, 4))
    def evict(self, count: int) -> None:
        def work() -> None:
            for pod in self.cluster.client.list("pods", "default", label_selector="app=web")[:count]:
                meta = {"name": pod["metadata"]["name"], "namespace": "default"}
                body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
                self.attempt(
                    lambda body=body, meta=meta: self.cluster.client.create(
                        "pods", body, "default", name=meta["name"], subresource="eviction"
                    )
                )

        self.attempt(work)

    @rule(pick=st.integers(0, 99))
    def kill_a_pod(self, pick: int) -> None:
        def work() -> None:
            pods = [
                p
                for p in self.cluster.client.list("pods", "default", field_selector="status.phase!=Succeeded")
                if owner(p)[0] != "ReplicaSet"
            ]
            if pods:
                self.cluster.client.delete("pods", pods[pick % len(pods)]["metadata"]["name"], "default")

        self.attempt(work)

    # -- What goes wrong -----------------------------------------------------------------------

    @rule(
        component=st.sampled_from(("etcd", "apiserver", "controller-manager", "scheduler")), after=st.floats(0.0, 8.0)
    )
    def crash_a_component(self, component: str, after: float) -> None:
        self.crash(component, after)

    @rule(which=st.sampled_from(CONTROLLERS), after=st.floats(0.0, 8.0))
    def crash_a_controller_or_break_its_watches(self, which: str, after: float) -> None:
        self.crash(f"controller-manager/{which}", after)

    @rule(node=st.integers(0, NODES - 1), after=st.floats(0.0, 60.0))
    def crash_a_kubelet(self, node: int, after: float) -> None:
        self.disturbed = True
        self.crash(f"node-{node}/kubelet", after)

    def crash(self, path: str, after: float) -> None:
        ref = self.sim.lookup(path)
        if ref is not None:
            self.sim.crash(ref, restart_after_s=after)

    @rule(which=st.sampled_from(INFORMERS))
    def compact_and_break_a_watch(self, which: str) -> None:
        """What comes after the break is history that is no longer there: a new list is forced."""
        self.crash(f"controller-manager/informer-{which}", 3.0)
        self.sim.advance(2.0)

        def work() -> None:
            etcd, client = self.sim.lookup("etcd"), self.cluster.client
            if etcd is not None:
                revision = client.run(lambda c: c.list("pods", "default"))["metadata"]["resourceVersion"]
                self.sim.ask(etcd, Compact(int(revision)), timeout=5.0)

        try:
            self.attempt(work)
        except Exception as error:
            assert type(error).__name__ in ("EtcdError", "ActorDead", "AskTimeout", "Timeout"), error

    @rule(rounds=st.integers(1, 8))
    def make_updates_conflict(self, rounds: int) -> None:
        self.meddler.tell(Meddle(rounds))

    @rule(host=st.sampled_from(HOSTS), delay=st.floats(0.0, 1.0), drop=st.sampled_from([0.0, 0.1]))
    def deliver_late(self, host: str, delay: float, drop: float) -> None:
        self.disturbed = True
        self.sim.link(host, "apiserver" if host != "apiserver" else "etcd", (0.0, delay), drop)

    @rule(host=st.sampled_from(HOSTS))
    def cut_off(self, host: str) -> None:
        self.disturbed = True
        self.sim.partition(host, "apiserver" if host != "apiserver" else "etcd")

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 5.0, 20.0, 70.0, 400.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.sim.advance(seconds)

    @rule()
    def heal(self) -> None:
        self.sim.heal()
        self.sim.advance(30.0)

    # -- What must hold ------------------------------------------------------------------------

    @invariant()
    def the_rules_hold(self) -> None:
        assert not self.broken, self.broken[:5]
        if hasattr(self, "sim"):
            assert self.sim.failure is None, self.sim.failure

    def until(self, why_not: Any) -> None:
        try:
            self.sim.run(until=lambda: self.sim.steps % 50 == 0 and not why_not(), timeout_s=HEAL_S)
        except Stuck as error:
            raise AssertionError(f"{error}: {why_not()}") from None

    def converge(self) -> None:
        self.sim.heal()
        self.sim.advance(15.0)
        for obj in self.wanted.values():
            for _ in range(60):
                try:
                    self.cluster.apply(obj)
                    break
                except StatusError as error:
                    assert error.code in WEATHER, error
                    self.sim.advance(1.0)
        self.until(self.why_not)
        self.disturbed = True  # the last thing that goes is what the budget is for
        for obj in self.wanted.values():
            what = obj["kind"].lower() + "s"
            self.cluster.client.delete(what, obj["metadata"]["name"], "default", propagation="Foreground")
        self.until(self.what_is_left)

    def onlooker(self) -> Rules:
        actor = self.sim.actors["rules"].actor
        assert isinstance(actor, Rules)
        return actor

    def why_not(self) -> str:
        """Empty when the cluster is where it should be."""
        seen = self.onlooker()
        pods = seen.all("pods")
        by_owner: dict[tuple[str, str], list[Object]] = {}
        for pod in pods:
            by_owner.setdefault(owner(pod), []).append(pod)
        database = self.wanted["StatefulSet/db"]["spec"]
        expected = {"StatefulSet": database["replicas"], "DaemonSet": NODES}
        images = {"StatefulSet": database["template"], "DaemonSet": self.wanted["DaemonSet/ds"]["spec"]["template"]}
        for kind, name in (("StatefulSet", "db"), ("DaemonSet", "ds")):
            mine = by_owner.get((kind, name), [])
            if len(mine) != expected[kind] or not all(map(is_ready, mine)):
                return f"{kind} has {[(p['metadata']['name'], is_ready(p)) for p in mine]}, {expected[kind]} wanted"
            wanted = images[kind]["spec"]["containers"][0]["image"]
            if any(p["spec"]["containers"][0]["image"] != wanted for p in mine):
                return f"{kind} does not run {wanted} everywhere"
        if sorted(p["metadata"]["name"] for p in by_owner.get(("StatefulSet", "db"), [])) != [
            f"db-{n}" for n in range(database["replicas"])
        ]:
            return "the ordinals are not the first ones"
        web = [p for p in pods if owner(p)[0] == "ReplicaSet"]
        if len(web) != WEB or not all(map(is_ready, web)):
            return f"{len(web)} web pods"
        for one in seen.all("jobs"):
            status, spec = one.get("status") or {}, one["spec"]
            if not any(c["type"] == "Complete" and c["status"] == "True" for c in status.get("conditions") or ()):
                return f"job {one['metadata']['name']} is not complete: {status}"
            if status.get("succeeded") != spec["completions"]:
                return f"job {one['metadata']['name']} counts {status}"
        if len(seen.all("jobs")) != self.jobs:
            return "a job is missing"
        stuck = [
            p["metadata"]["name"]
            for p in pods
            if owner(p)[0] == "Job" and p["metadata"].get("finalizers") and p["status"]["phase"] != "Running"
        ]
        return f"finalizers are left on {stuck}" if stuck else ""

    def what_is_left(self) -> str:
        """Empty when nothing is."""
        seen = self.onlooker()
        left = [f"{what}/{o['metadata']['name']}" for what in WATCHED for o in seen.all(what)]
        if left:
            return f"left over: {left}"
        for n in range(NODES):
            runtime: Any = self.sim.actors[f"node-{n}/runtime"].actor
            running = [s.config.name for s in runtime.machine.sandboxes.values() if s.ready]
            if running:
                return f"node-{n} still runs {running}"
        return ""

    def teardown(self) -> None:
        """Whatever the steps were, the end is always looked at."""
        try:
            if hasattr(self, "sim") and not self.broken and sys.exc_info()[0] is None:
                self.converge()
                assert not self.broken, self.broken[:5]
        finally:
            self.folder.cleanup()


THOROUGH = int(os.environ.get("KUBEKKA_THOROUGH", "0"))
WorkloadMachine.TestCase.settings = settings(
    max_examples=THOROUGH or 25,
    stateful_step_count=30 if THOROUGH else 15,
    # To shrink a failure takes minutes: only when somebody has set out to find some.
    phases=tuple(Phase) if THOROUGH else (Phase.explicit, Phase.reuse, Phase.generate),
    derandomize=not THOROUGH,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestWorkloads = WorkloadMachine.TestCase
