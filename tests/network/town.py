"""A simulated cluster with a Service and pods whose programs use the network, for tests."""

from __future__ import annotations

from typing import Any

from cluster import SimulatedCluster
from protocol.node import PodRun

Object = dict[str, Any]


class Town:
    """A simulated cluster with pods `client` and `web` (behind the Service `web`)."""

    def __init__(self) -> None:
        self.cluster = SimulatedCluster(seed=3, nodes=2)
        self.pod("web", labels={"app": "web"})
        self.pod("client", labels={"role": "client"})
        self.service("web", selector={"app": "web"}, ports=[{"name": "http", "port": 80, "targetPort": 8080}])
        self.cluster.wait("pods/web", "Ready")
        self.cluster.wait("pods/client", "Ready")
        self.settle()

    def settle(self) -> None:
        self.cluster.sim.advance(3.0)

    def make(self, kind: str, name: str, spec: Object, api: str = "v1", **meta: Any) -> None:
        self.cluster.apply({"apiVersion": api, "kind": kind, "metadata": {"name": name, **meta}, "spec": spec})

    def pod(self, name: str, spec: Object | None = None, **meta: Any) -> None:
        container = {"name": "c", "image": "busybox", "command": ["sleep", "infinity"]}
        self.make("Pod", name, {"containers": [container], **(spec or {})}, **meta)

    def service(self, name: str, **spec: Any) -> None:
        self.make("Service", name, spec)

    def policy(self, name: str, **spec: Any) -> None:
        self.make("NetworkPolicy", name, spec, "networking.k8s.io/v1")

    def run(self, script: str, pod: str = "client") -> tuple[str, float]:
        """What a script prints in a pod, and how long it takes."""
        sim = self.cluster.sim
        node = self.cluster.client.get("pods", pod, "default")["spec"]["nodeName"]
        began = sim.clock.monotonic()
        answer = sim.ask(
            sim.lookup(f"{node}/kubelet"), PodRun("default", pod, "c", ("sh", "-c", f"( {script} ) 2>&1; true"))
        )
        return answer.decode(), sim.clock.monotonic() - began

    def ip(self, pod: str) -> str:
        found: str = self.cluster.client.get("pods", pod, "default")["status"]["podIP"]
        return found

    def cluster_ip(self, service: str) -> str:
        found: str = self.cluster.client.get("services", service, "default")["spec"]["clusterIP"]
        return found
