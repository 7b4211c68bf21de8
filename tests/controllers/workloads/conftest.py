"""A plane whose pods run: one actor in place of scheduler and kubelets, which tests command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.client import Client, ClientActor, Informer, StatusError
from actors.kernel import Child, Ref, handles

Object = dict[str, Any]


class Rules:
    """How pods behave: `ready(pod)` whether it becomes ready, `fate(pod)` a final phase or ''."""

    def __init__(self) -> None:
        self.ready: Callable[[Object], bool] = lambda pod: True
        self.fate: Callable[[Object], str] = lambda pod: ""
        self.exit_code: Callable[[Object], int] = lambda pod: 1
        self.nodes = ("node-0", "node-1", "node-2")
        self.start_s = 0.01
        self.run_s = 0.5
        self.stop_s = 0.05
        self.peak: dict[str, int] = {}


class Look:
    """Look at all pods again, since the rules have changed."""


class Nodes(ClientActor):
    """Binds pods in turn, runs them as `rules` say, and lets them go when they are deleted."""

    def __init__(self, apiserver: Ref, rules: Rules) -> None:
        super().__init__()
        self.rules = rules
        self.client = Client(self, apiserver)
        self.informer = Informer(self.client, "pods", on_batch=self.batch)
        self.busy: set[str] = set()
        self.bound = 0

    def on_start(self) -> None:
        self.informer.start()

    @handles(Look)
    def look(self, _: Look) -> None:
        for pod in self.informer.store:
            self.consider(pod)

    def batch(self, changes: list[Any]) -> None:
        for _, pod in changes:
            if pod is not None:
                self.consider(pod)

    def consider(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if uid not in self.busy:
            self.busy.add(uid)
            self.background(self.care(uid, pod["metadata"]["namespace"], pod["metadata"]["name"]))

    async def care(self, uid: str, namespace: str, name: str) -> None:
        """One step for one pod; its effect brings the next."""
        try:
            again = await self.step(uid, namespace, name)
        except StatusError as error:
            self.log.info("pod_step_failed", error=error.message)
            again = True
        self.busy.discard(uid)
        if again:
            await self.sleep(0.02)
            present = self.informer.get(name, namespace)
            if present is not None:
                self.consider(present)

    async def step(self, uid: str, namespace: str, name: str) -> bool:
        pod = self.informer.get(name, namespace)
        if pod is None or pod["metadata"]["uid"] != uid:
            return False
        status = pod.get("status") or {}
        if pod["metadata"].get("deletionTimestamp"):
            await self.sleep(self.rules.stop_s)
            await self.client.delete("pods", name, namespace, uid=uid, grace_period_s=0)
            return True
        if not pod["spec"].get("nodeName"):
            await self.bind(pod)
            return True
        if status.get("phase") in ("Succeeded", "Failed"):
            return False
        if status.get("phase") == "Running":
            fate = self.rules.fate(pod)
            if fate:
                await self.sleep(self.rules.run_s)
                await self.report(pod, fate, False)
            elif self.rules.ready(pod) != is_ready(pod):
                await self.report(pod, "Running", self.rules.ready(pod))
            return False
        await self.sleep(self.rules.start_s)
        await self.report(pod, "Running", self.rules.ready(pod) and not self.rules.fate(pod))
        return True

    async def bind(self, pod: Object) -> None:
        meta = pod["metadata"]
        affinity = pod["spec"].get("affinity") or {}
        target = self.rules.nodes[self.bound % len(self.rules.nodes)]
        if "nodeAffinity" in affinity:
            required = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            target = required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
        self.bound += 1
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            "target": {"kind": "Node", "name": target},
        }
        await self.client.create(
            "pods", binding, meta["namespace"], name=meta["name"], subresource="binding"
        )

    async def report(self, pod: Object, phase: str, ready: bool) -> None:
        now = self.clock.rfc3339()
        word = "True" if ready else "False"
        state: Object = {"running": {"startedAt": now}}
        if phase in ("Succeeded", "Failed"):
            code = 0 if phase == "Succeeded" else self.rules.exit_code(pod)
            state = {"terminated": {"exitCode": code, "finishedAt": now, "startedAt": now}}
        old = next(
            (
                c
                for c in (pod.get("status") or {}).get("conditions") or ()
                if c["type"] == "Ready" and c["status"] == word
            ),
            None,
        )
        condition = old or {"type": "Ready", "status": word, "lastTransitionTime": now}
        containers = [
            {
                "name": c["name"],
                "image": c.get("image", ""),
                "imageID": "",
                "ready": ready,
                "restartCount": 0,
                "state": state,
            }
            for c in pod["spec"]["containers"]
        ]
        status = {
            **(pod.get("status") or {}),
            "phase": phase,
            "conditions": [condition],
            "containerStatuses": containers,
            "startTime": now,
        }
        await self.client.update_status("pods", {**pod, "status": status})


def is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


class Running:
    """A plane and the rules of its pods."""

    def __init__(self, plane: Any) -> None:
        self.plane = plane
        self.rules = Rules()
        self.nodes: Ref = plane.sim.spawn(
            Child("nodes", lambda: Nodes(plane.api, self.rules)), host="nodes"
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plane, name)

    def look(self) -> None:
        """Apply changed rules to the pods there are."""
        self.nodes.tell(Look())

    def pods(self, **labels: str) -> list[Object]:
        """Pods with these labels that are not being deleted, by name."""
        found = [
            p
            for p in self.list("pods", "default")
            if not p["metadata"].get("deletionTimestamp")
            and labels.items() <= (p["metadata"].get("labels") or {}).items()
        ]
        return sorted(found, key=lambda p: p["metadata"]["name"])


@pytest.fixture
def running(plane: Callable[..., Any]) -> Callable[..., Running]:
    """Makes a plane of some controllers, whose pods run."""

    def make(controllers: str, seed: int = 0, **options: Any) -> Running:
        return Running(plane(controllers, seed, **options))

    return make


def template(app: str, image: str = "nginx:1", **spec: Any) -> Object:
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "image": image}], **spec},
    }


@pytest.fixture(name="template")
def template_fixture() -> Callable[..., Object]:
    """Makes a pod template with the label `app`."""
    return template


@pytest.fixture
def workload() -> Callable[..., Object]:
    """Makes a Deployment, ReplicaSet, StatefulSet or DaemonSet of the pod template."""

    def make(kind: str, name: str, replicas: int | None = None, **spec: Any) -> Object:
        wanted = {"selector": {"matchLabels": {"app": name}}, "template": template(name), **spec}
        if replicas is not None:
            wanted["replicas"] = replicas
        return {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": wanted,
        }

    return make
