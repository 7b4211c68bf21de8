"""A node in a simulation: API server, etcd, one simulated machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.apiserver import ApiServer, ApiServerConfig
from actors.client import Client, ClientActor
from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Child, Ref, Simulation
from actors.kubelet import KubeletConfig, SimulatedNode
from actors.runtime import Machine, SimulatedRuntime
from protocol.api import StatusError

Object = dict[str, Any]


class Tester(ClientActor):
    """The API client of a test."""

    def __init__(self, apiserver: Ref) -> None:
        super().__init__()
        self.client = Client(self, apiserver)


class NodeWorld:
    """One node, and verbs to use it by. Times are virtual."""

    def __init__(self, seed: int = 0, **config: Any) -> None:
        self.sim = sim = Simulation(seed=seed)
        etcd = sim.spawn(Child("etcd", lambda: Etcd(EtcdConfig())), host="etcd")
        self.apiserver = sim.spawn(
            Child("apiserver", lambda: ApiServer(ApiServerConfig(debug=True), etcd)), host="control"
        )
        tester = sim.spawn(Child("tester", lambda: Tester(self.apiserver)))
        self.machine = Machine()
        settings = KubeletConfig(**{"pod_cidr": "10.244.0.0/24", **config})
        self.node = sim.spawn(
            Child(
                "node-0",
                lambda: SimulatedNode("node-0", self.apiserver, lambda: SimulatedRuntime(self.machine), settings),
            ),
            host="node-0",
        )
        sim.run_until_idle()
        self.client: Client = tester.actor.client  # type: ignore[attr-defined]
        self.do(
            self.client.create(
                "serviceaccounts",
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}},
            )
        )
        self.until(lambda: self.get("nodes", "node-0", "") is not None)

    def do(self, coroutine: Any) -> Any:
        return self.sim.do(coroutine, timeout=120)

    def get(self, what: str, name: str, namespace: str = "default") -> Object | None:
        try:
            return self.do(self.client.get(what, name, namespace))  # type: ignore[no-any-return]
        except StatusError as error:
            if error.code == 404:
                return None
            raise

    def create(self, what: str, kind: str, name: str, **fields: Any) -> Object:
        body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, **fields}
        return self.do(self.client.create(what, body))  # type: ignore[no-any-return]

    def pod(
        self,
        name: str = "web",
        *command: str,
        annotations: Object | None = None,
        finalizers: list[str] | None = None,
        container: Object | None = None,
        **spec: Any,
    ) -> Object:
        """Create a pod bound to the node; `container` adds to its one container `c`."""
        one = {"name": "c", "image": "nginx:1", **({"command": list(command)} if command else {}), **(container or {})}
        meta = {"name": name, "namespace": "default", "annotations": annotations or {}, "finalizers": finalizers or []}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": meta,
            "spec": {"nodeName": "node-0", "automountServiceAccountToken": False, "containers": [one], **spec},
        }
        return self.do(self.client.create("pods", body))  # type: ignore[no-any-return]

    def status(self, name: str = "web") -> Object:
        found = self.get("pods", name)
        assert found is not None
        return found.get("status") or {}

    def container(self, name: str = "web", container: str = "c") -> Object:
        status = self.status(name)
        every = [c for group in ("initContainerStatuses", "containerStatuses") for c in status.get(group) or ()]
        return next(c for c in every if c["name"] == container)

    def condition(self, kind: str, name: str = "web") -> str:
        return next((str(c["status"]) for c in self.status(name).get("conditions") or () if c["type"] == kind), "")

    def phase(self, name: str = "web") -> str:
        return str(self.status(name).get("phase"))

    def ready(self, name: str = "web") -> bool:
        return self.condition("Ready", name) == "True"

    def reasons(self, name: str = "web") -> list[str]:
        events = self.do(self.client.list("events", "default"))["items"]
        return [e["reason"] for e in events if e["involvedObject"]["name"] == name]

    def messages(self, name: str = "web") -> list[str]:
        events = self.do(self.client.list("events", "default"))["items"]
        return [e["message"] for e in events if e["involvedObject"]["name"] == name]

    def until(self, condition: Callable[[], bool], timeout_s: float = 60.0, step_s: float = 0.25) -> None:
        """Let time pass until the condition holds."""
        end = self.sim.clock.monotonic() + timeout_s
        while not condition():
            assert self.sim.clock.monotonic() < end, f"not in {timeout_s} s (seed {self.sim.seed})"
            self.sim.advance(step_s)

    @property
    def kubelet(self) -> Ref:
        return self.sim.actors["node-0/kubelet"]

    @property
    def runtime(self) -> Ref:
        return self.sim.actors["node-0/runtime"]


@pytest.fixture
def world() -> NodeWorld:
    return NodeWorld()


@pytest.fixture
def make_world() -> Callable[..., NodeWorld]:
    return NodeWorld
