"""Kubekka's front door: `Cluster`, the object that tests embed, and the command line.

    from cluster import Cluster

    with Cluster(nodes=3) as cluster:
        cluster.apply(manifest)
        cluster.wait("deployments/web", lambda web: web["status"].get("readyReplicas") == 3)
        cluster.client.list("pods")
        cluster.kubeconfig            # for kubectl, helm, any client library

How components are put together is told in `assembly`; the same wiring runs in a `LiveSystem` (`Cluster`) and in a `Simulation` (`SimulatedCluster`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from actors.client import OutsideClient, WaitTimeout
from actors.kernel import Actor, Child, LiveSystem, Ref, Simulation, Tracer
from assembly.chaos import LazyPaths, PatientClient
from assembly.commands import Commands, predicate
from assembly.components import start_apiserver, start_rest
from assembly.config import ClusterConfig, machines
from assembly.manifest import ManifestError
from assembly.served import Served
from assembly.store import import_state, start_recorder, start_store
from protocol.api import StatusError
from protocol.objects import Object

if TYPE_CHECKING:
    from simulation import ClusterClock, Faults

__all__ = ["ApiServerProcess", "Cluster", "ClusterConfig", "ManifestError", "SimulatedCluster", "WaitTimeout", "main"]

STAND_IN_CA = "a simulation has no certificates\n"  # pods mount it, nobody verifies with it


class ApiServerProcess(Served):
    """An API server with its store and nothing else. `apiserver` is its actor once started."""

    apiserver: Ref

    def start(self) -> ApiServerProcess:
        """Start; the API is served when this returns. Raises: as `Cluster.start`."""
        try:
            self.apiserver = self._serve()
        except BaseException:
            self.stop()
            raise
        return self


class Cluster(Served, Commands):
    """A whole cluster in this process, served over HTTPS on the loopback interface.

    Also a context manager. `config` gives all settings; keyword arguments override it. Clusters
    do not see each other; start as many as you like. `dns_address` is where DNS is answered with
    `dns_port` (0 picks a port).
    """

    dns_address: tuple[str, int] = ("", 0)
    ingress_address: tuple[str, int] = ("", 0)
    ingress: Any = None
    _dns: Any = None

    def start(self, *, wait_for_nodes: bool = True, on_serving: Callable[[], object] | None = None) -> Cluster:
        """Start every component; answers when the API is served and the nodes are Ready.

        `on_serving()` is called as soon as the API is served, before the rest is started.

        Raises: OSError when the port is taken; `actors.etcd.DataDirError` when the data directory
        is in use by another cluster or damaged.
        """

        try:
            apiserver = self._serve()
            if self.config.clock == "virtual":
                self.client = PatientClient(self.system, apiserver)
                self.client.clock = self.clock
            else:
                self.client = OutsideClient(self.system, apiserver)
            self._create_service_account()
            if on_serving is not None:
                on_serving()
            assert self._certificates is not None
            self.parts = start_rest(self.system, self.config, apiserver, **self._certificates.controller_settings())
            self._serve_dns()
            self._serve_ingress(apiserver)
            self._offer_chaos()
            if wait_for_nodes and machines(self.config):
                with self._time_passes(30.0):
                    self.client.wait("nodes", self._nodes_ready)
        except BaseException:
            self.stop()
            raise
        return self

    def _offer_chaos(self) -> None:
        """Faults by HTTP, for whoever is the administrator; loaded when it is first used."""

        def make_desk() -> Actor:
            from simulation import ChaosDesk

            return ChaosDesk(self.faults)

        self.system.world["paths"] = LazyPaths(lambda: self.system.spawn(Child("chaos", make_desk)))

    @cached_property
    def faults(self) -> Faults:
        """Verbs that break this cluster (docs/chaos.md)."""
        from simulation import Faults

        return Faults(self.system, seed=self.config.seed or 0, durable=self.config.data_dir is not None)

    @cached_property
    def clock(self) -> ClusterClock:
        """The time of this cluster, to be read, and moved where it is virtual."""
        from simulation import ClusterClock

        return ClusterClock(self.system)

    def _time_passes(self, seconds: float) -> AbstractContextManager[None]:
        return self.clock.waiting(seconds) if self.config.clock == "virtual" else nullcontext()

    def wait(
        self,
        what: str,
        until: Callable[[Any], bool] | str = "exists",
        *,
        namespace: str = "default",
        label_selector: str = "",
        timeout_s: float = 30.0,
    ) -> Any:
        """As for every cluster. A virtual clock moves meanwhile, when everything is quiet."""
        with self._time_passes(timeout_s):
            return super().wait(
                what, until, namespace=namespace, label_selector=label_selector, timeout_s=timeout_s
            )

    def _create_service_account(self) -> None:
        """What the service account controller will do as its first thing: so that whoever runs a
        pod in the namespace `default` as soon as the API is served need not wait for it."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        try:
            self.client.create("serviceaccounts", account, "default")
        except StatusError as error:
            if error.code != 409:  # there from an earlier run
                raise

    def _serve_ingress(self, apiserver: Ref) -> None:
        """Answer HTTP for Ingresses, if asked for. Raises: OSError when the port is taken."""
        config = self.config
        if config.ingress_port is None and config.ingress_tls_port is None:
            return
        from actors.network.ingress import IngressController
        from actors.network.ingress._server import serve

        host = config.ingress_address
        make = partial(IngressController, apiserver, host, config.ingress_default_certificate)
        controller = self.system.spawn(Child("ingress", make), host="ingress")
        network = self.system.lookup("network") if config.runtime == "simulated" else None
        self.ingress = serve(
            self.system, controller, host, config.ingress_port, tls_port=config.ingress_tls_port, network=network
        )
        self.ingress_address = self.ingress.address

    def _serve_dns(self) -> None:
        """Answer DNS on a real port, if asked for. Raises: OSError when it is taken."""
        dns = self.system.lookup("dns")
        if self.config.dns_port is None or dns is None:
            return
        from actors.network.dns._server import serve

        self._dns = serve(self.system, dns, self.config.dns_address or "127.0.0.1", self.config.dns_port)
        self.dns_address = self._dns.address

    def stop(self) -> None:
        if self._dns is not None and self._system is not None:
            self._system.call(self._dns.close)
            self._dns = None
        if self.ingress is not None and self._system is not None:
            import asyncio

            asyncio.run_coroutine_threadsafe(self.ingress.close(), self._system.loop).result(10.0)
            self.ingress = None
        applied = self._system if self.config.apply_services else None
        if applied is not None and not applied.failure:
            self._take_rules_out(applied)
        super().stop()

    def _take_rules_out(self, system: LiveSystem) -> None:
        """Leave the machine's kernel as it was."""
        from actors.network.applying import clean_up

        proxy = system.lookup("kube-proxy-node-0")
        if proxy is not None:
            proxy.stop(timeout=10.0)
            clean_up(system)

    def _nodes_ready(self, nodes: list[Object]) -> bool:
        return len(nodes) >= len(machines(self.config)) and all(map(predicate("Ready"), nodes))

    def __enter__(self) -> Cluster:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def kill_node(self, name: str) -> None:
        """The machine `name` dies: everything on it stops without a word."""
        for path in (name, f"kube-proxy-{name}"):
            ref = self.system.lookup(path)
            if ref is None:
                raise LookupError(f"no node {name!r} runs in this cluster")
            self.system.call(partial(self.system.kill, ref))

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run the real kubectl on this cluster; answers what it printed on stdout.

        Raises: FileNotFoundError without a kubectl; CalledProcessError (its `stderr` tells why)
        when it fails and `check` is true.
        """
        from cli.kubectl import find_kubectl

        command = [find_kubectl(), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=check)
        return done.stdout


class SimulatedCluster(Commands):
    """The same cluster in virtual time: seeded, repeatable, with faults at hand.

    `sim` is the simulation (`advance`, `partition`, `crash`, ...); every component is on a host of
    its own: `etcd`, `apiserver`, `controllers`, `scheduler` and one host per node.
    """

    def __init__(
        self,
        config: ClusterConfig | None = None,
        *,
        seed: int = 0,
        choose: Callable[[int], int] | None = None,
        tracer: Tracer | None = None,
        **settings: Any,
    ) -> None:
        self.config = replace(config or ClusterConfig(), seed=seed, **settings)
        self.tracer = tracer
        self.sim = Simulation(seed, choose=choose, tracer=tracer)
        etcd = start_store(self.sim, self.config)
        import_state(etcd, self.config)
        start_recorder(self.sim, self.config, etcd)
        apiserver = start_apiserver(self.sim, self.config, etcd)
        self.parts = start_rest(self.sim, self.config, apiserver, root_ca=STAND_IN_CA)
        self.client = OutsideClient(self.sim, self.parts.apiserver, timeout_s=600.0)
        if expected := len(machines(self.config)):
            self.client.wait(
                "nodes", lambda nodes: len(nodes) >= expected and all(map(predicate("Ready"), nodes))
            )

    @cached_property
    def faults(self) -> Faults:
        """Verbs that break this cluster (docs/chaos.md)."""
        from simulation import Faults

        return Faults(self.sim, seed=self.config.seed or 0, durable=self.config.data_dir is not None)

    @cached_property
    def clock(self) -> ClusterClock:
        """The time of this cluster, to be read, and moved where it is virtual."""
        from simulation import ClusterClock

        return ClusterClock(self.sim)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see `kubekka --help`."""
    from cli._main import main as run

    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
