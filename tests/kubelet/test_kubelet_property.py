"""Whatever happens to containers, kubelet, runtime and network: what the API says is true in the end,
no container is started twice, none is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.kubelet._cgroups import cpu_shares
from protocol.api import StatusError
from protocol.conditions import API, REGISTRY, ApiFault, PowerOff, RegistryFault
from protocol.cri import CONTAINER_EXITED, CONTAINER_RUNNING
from protocol.quantity import milli_value

World = Any
Object = dict[str, Any]
COMMANDS = (
    (), ("sleep", "4"), ("false",), ("true",), ("sh", "-c", "sleep 3; exit 2"), ("sh", "-c", "touch /tmp/up; sleep 7; rm /tmp/up; sleep 100"),
    ("sh", "-c", "trap 'sleep 1; exit 0' TERM; sleep 1000"),
)  # fmt: skip
PROBES = (
    None,
    {"exec": {"command": ["cat", "/tmp/up"]}, "periodSeconds": 2, "failureThreshold": 2},
    {
        "exec": {"command": ["sh", "-c", "sleep 0.6; cat /tmp/up"]},
        "periodSeconds": 1,
        "timeoutSeconds": 3,
        "failureThreshold": 1,
    },
)

pods = st.fixed_dictionaries({
    "policy": st.sampled_from(["Always", "OnFailure", "Never"]), "commands": st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=2),
    "init": st.lists(st.sampled_from([("true",), ("sleep", "2"), ("sh", "-c", "sleep 1; exit 1")]), max_size=1),
    "sidecar": st.booleans(), "liveness": st.sampled_from(PROBES), "readiness": st.sampled_from(PROBES),
    "deadline": st.sampled_from([None, None, 9]),
})  # fmt: skip
actions = st.one_of(
    st.tuples(st.just("create"), pods), st.tuples(st.just("advance"), st.floats(0.1, 15.0)), st.tuples(st.just("delete"), st.integers(0, 5)),
    st.tuples(st.just("force"), st.integers(0, 5)), st.sampled_from([("crash", "kubelet"), ("crash", "runtime"), ("crash", "worker"), ("cut", ""), ("heal", "")]),
)  # fmt: skip


def spec_of(wish: Object) -> Object:
    containers = [
        {
            "name": f"c{i}",
            "image": "a:1",
            "command": list(command),
            **({"livenessProbe": wish["liveness"]} if wish["liveness"] else {}),
            **({"readinessProbe": wish["readiness"]} if wish["readiness"] else {}),
        }
        for i, command in enumerate(wish["commands"])
    ]
    init: list[Object] = [
        {"name": f"i{i}", "image": "a:1", "command": list(command)} for i, command in enumerate(wish["init"])
    ]
    if wish["sidecar"]:
        init.append({"name": "side", "image": "a:1", "restartPolicy": "Always"})
    spec: Object = {
        "nodeName": "node-0",
        "automountServiceAccountToken": False,
        "restartPolicy": wish["policy"],
        "containers": containers,
        "initContainers": init,
        "terminationGracePeriodSeconds": 5,
    }
    if wish["deadline"]:
        spec["activeDeadlineSeconds"] = wish["deadline"]
    return spec


class Register(dict[str, Any]):
    """The machine's containers, with a list of all that were ever made."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[Any] = []

    def __setitem__(self, ident: str, container: Any) -> None:
        twins = [
            c
            for c in self.values()
            if c.sandbox.config.uid == container.sandbox.config.uid and c.config.name == container.config.name
        ]
        assert not [c for c in twins if c.state == CONTAINER_RUNNING], "two runs of one container at a time"
        self.made.append(container)
        super().__setitem__(ident, container)


class Story:
    """One node and what was done to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.created: list[str] = []
        self.ended: dict[str, str] = {}
        self.register = Register()
        world.machine.containers = self.register

    def do(self, action: tuple[str, Any]) -> None:
        verb, what = action
        world = self.world
        if verb == "create":
            name = f"p{len(self.created)}"
            body = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "default"},
                "spec": spec_of(what),
            }
            world.do(world.client.create("pods", body))
            self.created.append(name)
        elif verb in ("delete", "force"):
            self._delete(what, verb == "force")
        elif verb == "advance":
            world.sim.advance(what)
        elif verb == "cut":
            world.sim.partition("node-0", "control")
        elif verb == "heal":
            world.sim.heal()
        elif what == "worker":
            workers = sorted(a for a in world.sim.actors if a.startswith("node-0/kubelet/"))
            if workers:
                world.sim.crash(world.sim.actors[workers[0]])
        else:
            world.sim.crash(world.sim.actors[f"node-0/{what}"])
        self.look()

    def _delete(self, number: int, force: bool) -> None:
        if not self.created:
            return
        name = self.created[number % len(self.created)]
        try:
            self.world.do(self.world.client.delete("pods", name, "default", **({"grace_period_s": 0} if force else {})))
        except StatusError as error:
            assert error.code == 404

    def look(self) -> None:
        """What may never be seen, at any time."""
        for pod in self.pods():
            uid, phase = pod["metadata"]["uid"], (pod.get("status") or {}).get("phase")
            if uid in self.ended:
                assert phase == self.ended[uid], "a pod that had ended changed its mind"
            if phase in ("Succeeded", "Failed"):
                self.ended[uid] = phase

    def pods(self) -> list[Object]:
        return self.world.do(self.world.client.list("pods", "default"))["items"]  # type: ignore[no-any-return]

    def check(self) -> None:
        """What must be true once everything is healed and quiet."""
        machine = self.world.machine
        pods = {p["metadata"]["uid"]: p for p in self.pods()}
        assert {s.config.uid for s in machine.sandboxes.values()} <= set(pods), "a sandbox nobody knows"
        counts: dict[tuple[str, str], list[int]] = {}
        for made in self.register.made:
            if made.started_at:
                counts.setdefault((made.sandbox.config.uid, made.config.name), []).append(made.config.attempt)
        for uid, pod in pods.items():
            self._check_pod(pod, {n: a for (u, n), a in counts.items() if u == uid})

    def _check_pod(self, pod: Object, attempts: dict[str, list[int]]) -> None:
        status = pod["status"]
        ended = status["phase"] in ("Succeeded", "Failed")
        specs = {c["name"]: c for c in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())]}
        statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
        for entry in statuses:
            made = attempts.get(entry["name"], [])
            assert made == list(range(len(made))), f"{entry['name']} was started as {made}"
            assert entry["restartCount"] == max(0, len(made) - 1)
            ((kind, state),) = entry["state"].items()
            known = self.register.get(entry.get("containerID", "").partition("://")[2])
            if kind == "running":
                assert known is not None
                assert known.state == CONTAINER_RUNNING
                assert not ended
                if specs[entry["name"]].get("readinessProbe"):
                    assert entry["ready"] == ("/tmp/up" in (known.layer or {})), (
                        "readiness is not what the probe would say"
                    )
            else:
                assert known is None or known.state == CONTAINER_EXITED
                assert not entry["ready"] or kind == "terminated"
                if kind == "terminated" and known is not None:
                    assert state["exitCode"] == known.exit_code
        ready = next(c["status"] for c in status["conditions"] if c["type"] == "Ready")
        mains = status["containerStatuses"]
        assert (ready == "True") == (
            not ended and all(c["ready"] for c in mains) and all(c["ready"] for c in statuses if c["name"] == "side")
        )
        if status["phase"] == "Succeeded":
            assert all(c["state"]["terminated"]["exitCode"] == 0 for c in mains)
        if ended:
            assert not [
                c
                for c in self.register.values()
                if c.sandbox.config.uid == pod["metadata"]["uid"] and c.state == CONTAINER_RUNNING
            ]


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**16), story=st.lists(actions, min_size=3, max_size=14))
def test_after_any_story_the_status_is_true_and_nothing_leaks(
    make_world: Callable[..., World], seed: int, story: list[tuple[str, Any]]
) -> None:
    told = Story(make_world(seed=seed, events=False))
    for action in story:
        told.do(action)
    told.world.sim.heal()
    told.world.sim.advance(90.0)
    for _ in range(40):  # back-offs end now and then: look at a moment when nothing is on its way
        told.world.sim.advance(0.7)
        told.look()
        before = [p["metadata"]["resourceVersion"] for p in told.pods()]
        told.world.sim.advance(0.7)
        if before == [p["metadata"]["resourceVersion"] for p in told.pods()]:
            break
    told.check()


# -- the same, with an API that fails, registries that are down, probes that flip, resizes and power cuts

HTTP = {"httpGet": {"port": 80}, "periodSeconds": 2, "failureThreshold": 2}
AMOUNTS = ("100m", "250m", "500m", "99")
writes = ("create", "update", "patch", "delete")
faults = st.builds(
    ApiFault,
    code=st.sampled_from([409, 429, 500, 503, 504]),
    rate=st.sampled_from([0.3, 0.7, 1.0]),
    users=st.just(("system:node:*",)),
    verbs=st.sampled_from([writes, ("*",)]),
    resources=st.sampled_from([("pods*",), ("*",)]),
    after=st.booleans(),
)
harsher = st.one_of(
    st.tuples(st.just("run"), st.sampled_from(["Always", "Never"])),
    st.tuples(st.just("resize"), st.tuples(st.integers(0, 3), st.sampled_from(AMOUNTS))),
    st.tuples(st.just("probe"), st.tuples(st.integers(0, 3), st.sampled_from(["fail", "ok", "503", "timeout"]))),
    st.tuples(st.just("fault"), faults),
    st.tuples(st.just("delete"), st.integers(0, 3)),
    st.tuples(st.just("advance"), st.floats(0.1, 12.0)),
    st.sampled_from([("calm", ""), ("registry", True), ("registry", False), ("power", ""), ("crash", "kubelet"),
                     ("crash", "runtime"), ("crash", "worker")]),
)  # fmt: skip


class HarsherStory(Story):
    """A node whose surroundings fail too."""

    def do(self, action: tuple[str, Any]) -> None:
        verb, what = action
        conditions = self.world.sim.world
        if verb == "run":
            self._run(what)
        elif verb == "fault":
            conditions[API] = (what,)
        elif verb == "calm":
            conditions.pop(API, None)
        elif verb == "registry":
            conditions[REGISTRY] = RegistryFault(down=what)
        elif verb == "power":
            self.world.sim.ask(self.world.runtime, PowerOff())
            self.world.sim.crash(self.world.kubelet)
        elif verb in ("resize", "probe"):
            self._change(verb, *what)
        else:
            super().do(action)
            return
        self.look()

    def _run(self, policy: str) -> None:
        name = f"p{len(self.created)}"
        self.world.pod(
            name,
            restartPolicy=policy,
            container={
                "image": f"{name}:1",
                "imagePullPolicy": "Always",
                "readinessProbe": HTTP,
                "livenessProbe": {**HTTP, "failureThreshold": 8},
                "resources": {"requests": {"cpu": AMOUNTS[0]}},
            },
        )
        self.created.append(name)

    def _change(self, verb: str, number: int, what: str) -> None:
        if not self.created:
            return
        name, client = self.created[number % len(self.created)], self.world.client
        try:
            if verb == "probe":
                body: Object = {"metadata": {"annotations": {"kubekka.dev/probe": what}}}
                self.world.do(client.patch("pods", name, "default", body))
            else:
                body = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": what}}}]}}
                strategic = "application/strategic-merge-patch+json"
                self.world.do(client.patch("pods", name, "default", body, patch_type=strategic, subresource="resize"))
        except StatusError as error:
            assert error.code in (404, 422), error.message

    def _check_pod(self, pod: Object, attempts: dict[str, list[int]]) -> None:
        status = pod["status"]
        for entry in status.get("containerStatuses") or ():
            made = attempts.get(entry["name"], [])
            assert made == list(range(len(made))), f"started as {made}"
            assert entry["restartCount"] == max(0, len(made) - 1)
            known = self.register.get(entry.get("containerID", "").partition("://")[2])
            if "running" not in entry["state"]:
                assert known is None or known.state == CONTAINER_EXITED
                assert not entry["ready"]
                continue
            assert known is not None
            assert known.state == CONTAINER_RUNNING
            verdict = (pod["metadata"].get("annotations") or {}).get("kubekka.dev/probe", "ok")
            assert entry["ready"] == (verdict == "ok"), "readiness is not what the probe would say"
            told = entry["resources"]["requests"]["cpu"]
            assert known.config.resources.cpu_shares == cpu_shares(milli_value(told)), "the runtime was told otherwise"
            resizes = {c["type"]: c.get("reason") for c in status["conditions"] if c["type"].startswith("PodResize")}
            wanted = pod["spec"]["containers"][0]["resources"]["requests"]["cpu"]
            assert resizes == ({"PodResizePending": "Infeasible"} if wanted == "99" else {})
            assert told == wanted or wanted == "99"
        if status["phase"] in ("Succeeded", "Failed"):
            mine = [c for c in self.register.values() if c.sandbox.config.uid == pod["metadata"]["uid"]]
            assert not [c for c in mine if c.state == CONTAINER_RUNNING]


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**16), story=st.lists(harsher, min_size=3, max_size=14))
def test_nothing_lies_or_leaks_when_what_surrounds_the_node_fails(
    make_world: Callable[..., World], seed: int, story: list[tuple[str, Any]]
) -> None:
    told = HarsherStory(make_world(seed=seed, events=False, crash_loop_max_s=20.0))
    for action in [("run", "Always"), *story, ("calm", ""), ("registry", False)]:
        told.do(action)
    told.world.sim.advance(420.0)
    for _ in range(40):
        told.world.sim.advance(0.7)
        told.look()
        before = [p["metadata"]["resourceVersion"] for p in told.pods()]
        told.world.sim.advance(0.7)
        if before == [p["metadata"]["resourceVersion"] for p in told.pods()]:
            break
    told.check()
