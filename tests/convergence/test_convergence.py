"""Whatever happens to the parts, the whole comes to rest where it should.

A Hypothesis state machine scales and changes a Deployment while it kills pods, crashes any
component, cuts hosts off and lets time pass. When everything has been healed, within bounded
virtual time the cluster holds exactly the wanted replicas, endpoints equal ready pods and nothing
is orphaned. At every moment the observer's rules hold.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from observer import Observer, is_ready

from actors.kernel import Child, Stuck
from cluster import SimulatedCluster
from protocol.api import StatusError
from protocol.objects import Object

HEAL_S = 900.0  # virtual: more than the 50 s + 300 s after which pods of a lost node are given up
NODES = 3
COMPONENTS = ("etcd", "apiserver", "controller-manager", "scheduler")
CONTROLLERS = ("deployment-controller", "replicaset-controller", "endpointslice-controller", "endpoints-controller",
               "garbage-collector-controller", "node-lifecycle-controller", "taint-eviction-controller")  # fmt: skip
HOSTS = ("apiserver", "controllers", "scheduler", *(f"node-{n}" for n in range(NODES)))


def deployment(replicas: int, image: str, surge: Any, unavailable: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    }


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
}


class ClusterMachine(RuleBasedStateMachine):
    """The rules below, on a cluster of three nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.broken: list[str] = []
        self.disturbed: list[bool] = []
        self.replicas = 0
        self.image = 0
        self.cut: list[str] = []

    @initialize(
        seed=st.integers(0, 2**32),
        replicas=st.integers(1, 5),
        surge=st.sampled_from([1, 2, "25%", "50%"]),
        unavailable=st.sampled_from([0, 1, "25%"]),
    )
    def start(self, seed: int, replicas: int, surge: Any, unavailable: Any) -> None:
        note(f"replay: SimulatedCluster(seed={seed}, debug=True)")
        self.cluster = SimulatedCluster(seed=seed, nodes=NODES, data_dir=Path(self.folder.name), unsafe_no_fsync=True)
        self.sim = self.cluster.sim
        apiserver = self.cluster.parts.apiserver
        self.sim.spawn(Child("observer", lambda: Observer(apiserver, self.broken, self.disturbed)), host="observer")
        self.replicas, self.surge, self.unavailable = replicas, surge, unavailable
        self.cluster.apply(SERVICE)
        self.apply()
        self.sim.advance(5.0)

    def apply(self, attempts: int = 2) -> None:
        """Change the Deployment as a user does; while the API is away the change stays a wish that
        `heal_and_converge` repeats."""
        wanted = deployment(self.replicas, f"app:v{self.image}", self.surge, self.unavailable)
        for _ in range(attempts):
            try:
                self.cluster.apply(wanted)
            except StatusError as error:
                assert error.code in (409, 429, 500, 503, 504), error
                self.sim.advance(1.0)
            else:
                return
        assert attempts < 60, "the API server does not come back"

    # -- What users do -------------------------------------------------------------------------

    @rule(replicas=st.integers(0, 6))
    def scale(self, replicas: int) -> None:
        self.replicas = replicas
        self.apply()

    @rule()
    def change_image(self) -> None:
        self.image += 1
        self.apply()

    # -- What goes wrong -----------------------------------------------------------------------

    @rule(pick=st.integers(0, 100), grace=st.sampled_from([0, None]))
    def kill_a_pod(self, pick: int, grace: int | None) -> None:
        self.disturbed.append(True)
        try:
            pods = self.cluster.client.list("pods", "default")
            if pods:
                victim = sorted(p["metadata"]["name"] for p in pods)[pick % len(pods)]
                self.cluster.client.delete("pods", victim, "default", grace_period_s=grace)
        except StatusError as error:
            assert error.code in (404, 409, 500, 503, 504), error

    @rule(component=st.sampled_from(COMPONENTS), after=st.floats(0.0, 20.0))
    def crash_a_component(self, component: str, after: float) -> None:
        self.crash(component, after)

    @rule(controller=st.sampled_from(CONTROLLERS), after=st.floats(0.0, 20.0))
    def crash_a_controller(self, controller: str, after: float) -> None:
        self.crash(f"controller-manager/{controller}", after)

    @rule(node=st.integers(0, NODES - 1), after=st.floats(0.0, 60.0))
    def crash_a_kubelet(self, node: int, after: float) -> None:
        self.disturbed.append(True)
        self.crash(f"node-{node}/kubelet", after)

    @rule(node=st.integers(0, NODES - 1))
    def crash_a_kube_proxy(self, node: int) -> None:
        self.crash(f"kube-proxy-node-{node}", 1.0)

    def crash(self, path: str, after: float) -> None:
        ref = self.sim.lookup(path)
        if ref is not None:
            self.sim.crash(ref, restart_after_s=after)

    @rule(host=st.sampled_from(HOSTS))
    def cut_off(self, host: str) -> None:
        self.disturbed.append(True)
        self.sim.partition(host, "apiserver" if host != "apiserver" else "etcd")

    @rule(host=st.sampled_from(HOSTS), delay=st.floats(0.0, 2.0), drop=st.sampled_from([0.0, 0.05, 0.3]))
    def slow_down(self, host: str, delay: float, drop: float) -> None:
        self.disturbed.append(True)
        self.sim.link(host, "apiserver" if host != "apiserver" else "etcd", (0.0, delay), drop)

    @rule(seconds=st.sampled_from([0.01, 0.5, 3.0, 15.0, 70.0, 400.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.sim.advance(seconds)

    @rule()
    def heal_and_converge(self) -> None:
        self.sim.heal()
        self.apply(attempts=60)
        try:
            self.sim.run(until=self.converged, timeout_s=HEAL_S)
        except Stuck as error:
            raise AssertionError(f"{error}: {self.why_not()}") from None

    # -- What must hold ------------------------------------------------------------------------

    @invariant()
    def the_rules_hold(self) -> None:
        assert not self.broken, self.broken[:5]

    @invariant()
    def the_system_has_not_failed(self) -> None:
        if hasattr(self, "sim"):
            assert self.sim.failure is None, self.sim.failure

    def converged(self) -> bool:
        return self.sim.steps % 50 == 0 and not self.why_not()

    def why_not(self) -> str:
        """Empty when the cluster is where it should be; looks at the observer's copy."""
        cell = self.sim.actors["observer"]
        observer = cell.actor
        if not isinstance(observer, Observer) or not all(i.has_synced for i in observer.informers.values()):
            return "the observer has not read everything"
        stores = {name: list(informer.store) for name, informer in observer.informers.items()}
        pods = stores["pods"]
        if len(pods) != self.replicas:
            return f"{len(pods)} pods, {self.replicas} wanted"
        images = {c["image"] for p in pods for c in p["spec"]["containers"]}
        if self.replicas and images != {f"app:v{self.image}"}:
            return f"pods run {images}, v{self.image} is wanted"
        if not all(map(is_ready, pods)):
            return "a pod is not ready"
        owners = {r["metadata"]["uid"] for r in stores["replicasets"]}
        if not all(o["uid"] in owners for p in pods for o in p["metadata"]["ownerReferences"]):
            return "a pod is orphaned"
        addresses = sorted(
            a for s in stores["endpointslices"] for e in s.get("endpoints") or () if e["conditions"].get("ready")
            for a in e["addresses"]
            if s["metadata"].get("labels", {}).get("kubernetes.io/service-name") == "web"
        )  # fmt: skip
        if addresses != sorted(p["status"]["podIP"] for p in pods):
            return f"endpoints {addresses} are not the ready pods"
        status = next(iter(stores["deployments"]))["status"]
        if status.get("readyReplicas", 0) != self.replicas or status.get("updatedReplicas", 0) != self.replicas:
            return f"the Deployment says {status}"
        return self.containers_match(pods)

    def containers_match(self, pods: list[Object]) -> str:
        """Every node runs the pods that are bound to it and no others."""
        for n in range(NODES):
            runtime = self.sim.actors[f"node-{n}/runtime"].actor
            running = sorted(s.config.name for s in runtime.machine.sandboxes.values() if s.ready)  # type: ignore[union-attr]
            bound = sorted(p["metadata"]["name"] for p in pods if p["spec"].get("nodeName") == f"node-{n}")
            if running != bound:
                return f"node-{n} runs {running}, bound are {bound}"
        return ""

    def teardown(self) -> None:
        """Whatever the steps were, the end is always looked at."""
        try:
            if hasattr(self, "sim") and not self.broken and sys.exc_info()[0] is None:
                self.heal_and_converge()
                assert not self.broken, self.broken[:5]
        finally:
            self.folder.cleanup()


ClusterMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
TestConvergence = ClusterMachine.TestCase
