"""Kubekka's front door: `Cluster`, the object that tests embed, and the command line.

    from cluster import Cluster

    with Cluster(nodes=3) as cluster:
        cluster.apply(manifest)
        cluster.wait("deployments/web", lambda web: web["status"].get("readyReplicas") == 3)
        cluster.client.list("pods")
        cluster.kubeconfig            # for kubectl, helm, any client library

This module alone knows all components: it wires them together and leaves the work to them. The
same wiring runs in a `LiveSystem` (`Cluster`) and in a `Simulation` (`SimulatedCluster`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from actors.client import OutsideClient, WaitTimeout
from actors.kernel import Actor, ActorSystem, Child, LiveClock, LiveSystem, Ref, Simulation, TimeKeeper, Tracer
from protocol.api import StatusError
from protocol.etcd import Range
from protocol.objects import Object

if TYPE_CHECKING:
    from actors.apiserver import pki
    from simulation import ClusterClock, Faults

__all__ = ["ApiServerProcess", "Cluster", "ClusterConfig", "ManifestError", "SimulatedCluster", "WaitTimeout", "main"]

STORE_OPENS_S = 300.0  # reading a large write-ahead log takes its time
PUTS_PER_TXN = 100  # etcd takes 128 operations in one
STAND_IN_CA = "a simulation has no certificates\n"  # pods mount it, nobody verifies with it
DEFAULT_PORT = 6443
PATIENCE_S = 0.1  # how long a request may take before a clock that stands still is moved for it
CHAOS_PATHS = ("/kubekka/chaos", "/kubekka/clock")
CLUSTER_CIDR = "10.244.0.0/16"  # what pods' addresses are taken from
CONTROL_PLANE_IP = "172.18.0.1"  # where the cluster's DNS is, in the network of simulated nodes
SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.96.0.1")


class ManifestError(ValueError):
    """A manifest that is no YAML, or holds what is no Kubernetes object; the text says where."""


@dataclass(frozen=True)
class ClusterConfig:
    """What a cluster is made of.

    `nodes` simulated machines named `node-0`, `node-1`, ...; everything in memory unless
    `data_dir` is given; `minor` selects Kubernetes 1.`minor`; `seed` makes names and uids
    repeatable. With `debug`, whoever changes an object that the API server shares (with all clients
    of this process) gets a `TypeError`; tests should have it on. `record` names a file to which
    every revision of the store is written (`protocol.recording`). `clock` is
    `"real"`, `"virtual"` (it stands still until `Cluster.clock` moves it) or how many times faster it runs. `state` are the objects of another
    cluster (`kubectl get -o yaml`) to begin with; each Node among them gets a machine.
    """

    nodes: int = 3
    minor: int = 36
    host: str = "127.0.0.1"
    port: int = 0
    data_dir: Path | None = None
    unsafe_no_fsync: bool = False
    etcd_servers: tuple[str, ...] = ()
    etcd_ca_file: Path | None = None
    etcd_cert_file: Path | None = None
    etcd_key_file: Path | None = None
    runtime: str = "simulated"
    image_store: Path | None = None
    oci_runtime: str = "runc"
    runtime_endpoint: str = ""
    keep_containers: bool = False
    guise: str = "containerd"
    node_capacity: Mapping[str, str] = field(default_factory=dict)
    lease_renew_s: float = 10.0
    manage_nodes_with_annotation_selector: str = ""
    load_balancer_pool: str = ""
    apply_services: str = ""
    dns: bool = True
    dns_address: str = ""
    dns_port: int | None = None
    ingress_address: str = "127.0.0.1"
    ingress_port: int | None = None
    dns_forward: tuple[tuple[str, int], ...] = ()
    metrics_server: bool = False
    stages: tuple[Object, ...] = ()
    controllers: Mapping[str, Any] = field(default_factory=dict)
    apiserver: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    debug: bool = False
    record: Path | None = None
    clock: str | float = "real"
    state: Sequence[Object] = ()

    def __post_init__(self) -> None:
        if self.clock == "virtual" and (self.runtime != "simulated" or self.etcd_servers):
            raise ValueError("time cannot stand still for real containers, nor for a real etcd")
        if self.nodes < 0:
            raise ValueError("a cluster has no fewer than 0 nodes")
        if not 31 <= self.minor <= 37:
            raise ValueError(f"Kubernetes 1.{self.minor} is not served; 1.31 to 1.37 are")


@dataclass(frozen=True)
class Parts:
    """The top components of a running cluster."""

    apiserver: Ref
    controllers: Ref
    scheduler: Ref
    nodes: tuple[Ref, ...]


def start_store(system: ActorSystem, config: ClusterConfig) -> Ref:
    """The etcd actor, or the one that speaks with real etcd servers.

    Raises: `etcd`'s errors about the data directory.
    """
    from actors.etcd import Etcd, EtcdConfig

    if config.etcd_servers:
        from actors.etcd import RemoteConfig, RemoteEtcd

        remote = RemoteConfig(
            servers=config.etcd_servers,
            ca_file=config.etcd_ca_file,
            cert_file=config.etcd_cert_file,
            key_file=config.etcd_key_file,
        )
        return system.spawn(Child("etcd", lambda: RemoteEtcd(remote)), host="etcd")
    data_dir = None if config.data_dir is None else config.data_dir / "etcd"
    settings = EtcdConfig(data_dir=data_dir, unsafe_no_fsync=config.unsafe_no_fsync)
    return system.spawn(Child("etcd", lambda: Etcd(settings)), host="etcd")


def fill_store(etcd: Ref, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Put keys and values into a store, some in each transaction."""
    from protocol.etcd import Put, Txn

    puts = [Put(key, value) for key, value in pairs]
    for first in range(0, len(puts), PUTS_PER_TXN):
        etcd.ask(Txn(success=tuple(puts[first : first + PUTS_PER_TXN])), timeout=STORE_OPENS_S)


def import_state(etcd: Ref, config: ClusterConfig) -> None:
    """Begin with the objects of another cluster, if any are given.

    Raises: ValueError when the store holds a cluster already, or for what is no object.
    """
    if not config.state:
        return
    from actors.apiserver.importing import import_objects

    if etcd.ask(Range(b"/registry/", b"/registry0", limit=1), timeout=STORE_OPENS_S).kvs:
        raise ValueError("the store holds a cluster already; another one's state can only be the beginning of a new one")
    fill_store(etcd, import_objects(config.state, config.minor).pairs)


def start_recorder(system: ActorSystem, config: ClusterConfig, etcd: Ref) -> Ref | None:
    """The actor that records everything, if asked for. Raises: OSError when it cannot write."""
    if config.record is None:
        return None
    from actors.recorder import Recorder

    with config.record.open("ab"):  # says at once what the actor would run into
        pass
    recorder = partial(Recorder, config.record, etcd, config.minor)
    return system.spawn(Child("recorder", recorder), host="recorder")


def finish_recording(recorder: Ref | None) -> None:
    """Have everything that was seen in the file."""
    if recorder is not None and recorder.is_alive():
        from actors.recorder import FinishRecording

        recorder.ask(FinishRecording(), timeout=STORE_OPENS_S)


def start_apiserver(system: ActorSystem, config: ClusterConfig, etcd: Ref, **settings: Any) -> Ref:
    """The API server actor."""
    from actors.apiserver import ApiServer, ApiServerConfig

    api_config = ApiServerConfig(
        minor=config.minor, exclusive=not config.etcd_servers, debug=config.debug, **settings
    )
    return system.spawn(Child("apiserver", lambda: ApiServer(api_config, etcd)), host="apiserver")


def start_rest(system: ActorSystem, config: ClusterConfig, apiserver: Ref, **extra: Any) -> Parts:
    """Every component below the API server, each on a (simulated) host of its own. `extra` are
    settings that some controllers need (keys and certificates)."""
    from actors.controllers import ControllerManager, Options
    from actors.kubelet import MetricsServer
    from actors.scheduler import Scheduler, SchedulerConfig

    if config.load_balancer_pool:
        extra["load_balancer_pool"] = config.load_balancer_pool
    options = Options(**config.controllers, extra=extra)
    manager = Child("controller-manager", lambda: ControllerManager(apiserver, options))
    controllers = system.spawn(manager, host="controllers")
    system.spawn(Child("metrics-server", partial(MetricsServer, apiserver, config.metrics_server)), host="metrics")
    scheduler = system.spawn(
        Child("scheduler", lambda: Scheduler(apiserver, SchedulerConfig(minor=config.minor))), host="scheduler"
    )
    if config.dns:
        start_dns(system, config, apiserver)
    return Parts(apiserver, controllers, scheduler, start_nodes(system, config, apiserver))


def start_dns(system: ActorSystem, config: ClusterConfig, apiserver: Ref) -> Ref:
    """The cluster's DNS and the Service `kube-dns` that leads to it."""
    from actors.network.dns import ClusterDns, DnsService

    forward = None
    if config.dns_forward and isinstance(system, LiveSystem):
        from actors.network.dns._server import forwarder

        forward = forwarder(system, config.dns_forward)
    address, port = CONTROL_PLANE_IP, 53
    if config.dns_port and config.dns_address and not config.dns_address.startswith("127."):
        address, port = config.dns_address, config.dns_port  # pods reach the real one
    system.spawn(Child("dns-service", partial(DnsService, apiserver, address, port)), host="dns")
    return system.spawn(Child("dns", partial(ClusterDns, apiserver, forward=forward)), host="dns")


def _machines(config: ClusterConfig) -> list[tuple[str, int | None, Mapping[str, str]]]:
    """Name, number and capacity of each simulated machine; those of imported nodes have no number:
    their addresses come from the Node object."""
    found: list[tuple[str, int | None, Mapping[str, str]]] = [
        (f"node-{number}", number, config.node_capacity) for number in range(config.nodes)
    ]
    for obj in config.state:
        if obj.get("kind") == "Node" and obj.get("apiVersion") == "v1":
            found.append((obj["metadata"]["name"], None, (obj.get("status") or {}).get("capacity") or {}))
    names = [name for name, *_ in found]
    if len(set(names)) < len(names):
        raise ValueError("an imported node has the name of one that is to be made; begin with fewer `nodes`")
    return found


def start_nodes(system: ActorSystem, config: ClusterConfig, apiserver: Ref) -> tuple[Ref, ...]:
    """The simulated machines, each with its kube-proxy, and the actor that takes on annotated Node
    objects if asked for."""
    from actors.kubelet import KubeletConfig, NodeManager, simulated_node
    from actors.network import KubeProxy

    stages, played = [], False
    if config.stages:
        from actors.kubelet.stages import load_stages

        stages = load_stages(config.stages)
        played = any(stage.kind == "Pod" for stage in stages)
    settings = KubeletConfig(
        kubelet_version=f"v1.{config.minor}.2", lease_renew_s=config.lease_renew_s, pods=not played
    )
    refs: list[Ref] = []
    for name, number, capacity in _machines(config):
        specs = simulated_node(
            name, apiserver, make_machine(config, name), number=number, capacity=capacity, config=settings
        )
        refs.extend(system.spawn(spec, host=name) for spec in specs)
        proxy: Callable[[], Actor] = partial(KubeProxy, name, apiserver, {"clusterCIDR": CLUSTER_CIDR})
        if config.apply_services and number == 0:  # one kernel, whose rules serve all nodes on this machine
            from actors.network.applying import applying_proxy

            # the node's own address is not one of this machine's
            mode = {"clusterCIDR": CLUSTER_CIDR, "mode": config.apply_services, "nodePortAddresses": ["0.0.0.0/0"]}
            proxy = applying_proxy(name, apiserver, mode, policies=True)
        refs.append(system.spawn(Child(f"kube-proxy-{name}", proxy), host=name))
    selector = config.manage_nodes_with_annotation_selector
    if selector:
        plain = replace(config, runtime="simulated", guise="sim")  # machines that present themselves as what they are: sim://1
        bare = KubeletConfig(os_image="sim", kernel_version="sim", machine_id="sim", pods=not played)
        manager = partial(NodeManager, apiserver, partial(make_machine, plain), selector, bare)
        refs.append(system.spawn(Child("node-manager", manager)))
    if stages:
        from actors.kubelet.stages import StagePlayer

        names = [f"node-{number}" for number in range(config.nodes)] if played else []
        selectors = [selector.partition("=")[::2]] if selector and played else []
        refs.append(system.spawn(Child("stages", partial(StagePlayer, apiserver, stages, names, selectors))))
    return tuple(refs)


def make_machine(config: ClusterConfig, name: str = "node") -> Callable[[], Actor]:
    """A new machine; what this answers makes the runtime on it, again after each crash."""
    if config.runtime == "process":
        from actors.runtime import ProcessMachine, ProcessRuntime

        return partial(ProcessRuntime, ProcessMachine())
    if config.runtime != "simulated":
        from cli._machines import real_machine

        return real_machine(config, name, CLUSTER_CIDR)
    from actors.runtime import Machine, SimulatedRuntime

    return partial(SimulatedRuntime, Machine(), config.guise)


class _PatientClient(OutsideClient):
    """A client of a cluster whose time stands still: what can only be answered later (a retry, a
    slow disk) lets it pass."""

    clock: ClusterClock

    def run(self, work: Callable[[Any], Any], timeout_s: float | None = None) -> Any:
        with self.clock.waiting(timeout_s or 60.0, PATIENCE_S):
            return super().run(work, timeout_s)


class LazyPaths(Mapping[str, Ref]):
    """The paths of `/kubekka` and who answers them, made at the first request."""

    def __init__(self, make: Callable[[], Ref]) -> None:
        self._make = make
        self._desk: Ref | None = None

    def __getitem__(self, path: str) -> Ref:
        if path not in CHAOS_PATHS:
            raise KeyError(path)
        if self._desk is None:
            self._desk = self._make()
        return self._desk

    def __iter__(self) -> Iterator[str]:
        return iter(CHAOS_PATHS)

    def __len__(self) -> int:
        return len(CHAOS_PATHS)


# -- Manifests ---------------------------------------------------------------------------------


def read_manifest(manifest: str | Path | Object | Iterable[Object]) -> list[Object]:
    """The objects of a manifest: YAML text, a file or a folder of files, an object or several.

    Raises: ManifestError, naming the document that is wrong.
    """
    if isinstance(manifest, Mapping):
        documents: list[Any] = [manifest]
    elif isinstance(manifest, Path):
        files = (
            sorted(p for p in manifest.iterdir() if p.suffix in (".yaml", ".yml", ".json"))
            if manifest.is_dir()
            else [manifest]
        )
        documents = [document for file in files for document in _load_yaml(file.read_text(), str(file))]
    elif isinstance(manifest, str):
        documents = _load_yaml(manifest, "manifest")
    else:
        documents = list(manifest)
    objects: list[Object] = []
    for number, document in enumerate(documents, 1):
        if document is None:
            continue
        if not isinstance(document, Mapping) or not document.get("kind") or not document.get("apiVersion"):
            raise ManifestError(
                f"document {number} of the manifest is no Kubernetes object: it needs apiVersion and kind"
            )
        if str(document["kind"]).endswith("List") and isinstance(document.get("items"), list):
            objects.extend(read_manifest(document["items"]))
        else:
            objects.append(dict(document))
    return objects


def _load_yaml(text: str, where: str) -> list[Any]:
    import yaml

    from protocol.yamltext import manifest_loader

    try:
        return list(yaml.load_all(text, manifest_loader()))
    except yaml.YAMLError as error:
        raise ManifestError(f"{where}: {' '.join(str(error).split())}") from None


# -- What live and simulated clusters share ------------------------------------------------------


class _Commands:
    """What one does with a cluster from outside."""

    client: OutsideClient

    def apply(self, manifest: str | Path | Object | Iterable[Object], namespace: str = "default") -> list[Object]:
        """Server-side apply of every object of a manifest, in order; answers them.

        Raises: ManifestError, StatusError.
        """
        return [self._apply_one(obj, namespace) for obj in read_manifest(manifest)]

    def _apply_one(self, obj: Object, namespace: str) -> Object:
        from protocol.kinds import by_kind

        group, _, version = str(obj["apiVersion"]).rpartition("/")
        kind = by_kind(group, version, obj["kind"])
        plural, namespaced = (kind.resource, kind.namespaced) if kind else self._custom_kind(obj, group, version)
        meta = dict(obj.get("metadata") or {})
        if namespaced:
            meta.setdefault("namespace", namespace)
        from protocol.api import Resource

        return self.client.apply(Resource(group, version, plural), {**obj, "metadata": meta})

    def _custom_kind(self, obj: Object, group: str, version: str) -> tuple[str, bool]:
        """The plural name of a custom kind, and whether it has namespaces. Raises: ManifestError."""
        for definition in self.client.list("customresourcedefinitions"):
            spec = definition["spec"]
            served = [v["name"] for v in spec["versions"] if v.get("served")]
            if spec["group"] == group and spec["names"]["kind"] == obj["kind"] and version in served:
                return spec["names"]["plural"], spec["scope"] == "Namespaced"
        raise ManifestError(f'no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"')

    def wait(
        self,
        what: str,
        until: Callable[[Any], bool] | str = "exists",
        *,
        namespace: str = "default",
        label_selector: str = "",
        timeout_s: float = 30.0,
    ) -> Any:
        """Wait for `what`: one object (`"deployments/web"`) or all of a kind (`"pods"`).

        `until` is a predicate of the object (or of the list of objects), or `"exists"`,
        `"deleted"`, or the name of a condition that must be True (`"Available"`, `"Ready"`).
        Answers the object or the list. Raises: WaitTimeout.
        """
        from protocol.kinds import resource_for

        word, _, name = what.partition("/")
        condition = _predicate(until)
        kind = resource_for(word)
        if kind is not None and not kind.namespaced:
            namespace = ""
        if not name:
            return self.client.wait(
                word,
                lambda objects: condition(objects),
                namespace=namespace,
                label_selector=label_selector,
                timeout_s=timeout_s,
            )
        if until == "deleted":
            self.client.wait(
                word,
                lambda found: not found,
                namespace=namespace,
                field_selector=f"metadata.name={name}",
                timeout_s=timeout_s,
            )
            return None
        found = self.client.wait(
            word,
            lambda objects: bool(objects) and condition(objects[0]),
            namespace=namespace,
            field_selector=f"metadata.name={name}",
            timeout_s=timeout_s,
        )
        return found[0]


def _predicate(until: Callable[[Any], bool] | str) -> Callable[[Any], bool]:
    if callable(until):
        return until
    if until == "exists":
        return bool
    if until == "deleted":
        return lambda found: not found

    def holds(obj: Any) -> bool:
        if isinstance(obj, list):
            return bool(obj) and all(map(holds, obj))
        conditions = (obj.get("status") or {}).get("conditions") or ()
        return any(c.get("type") == until and c.get("status") == "True" for c in conditions)

    return holds


class _Served:
    """A live system whose API is served over HTTPS with certificates of its own."""

    def __init__(self, config: ClusterConfig | None = None, *, tracer: Tracer | None = None, **settings: Any) -> None:
        self.config = replace(config or ClusterConfig(), **settings)
        self.tracer = tracer
        self._system: LiveSystem | None = None
        self._folder: Path | None = None
        self._close_http: Callable[[], None] | None = None
        self._port = 0
        self._certificates: _Certificates | None = None
        self._recorder: Ref | None = None

    def _serve(self) -> Ref:
        """Start the system, the store, the API server and the HTTP front; answers the API server.

        Raises: OSError when the port is taken; DataDirError.
        """
        from actors.apiserver import http

        clock = None
        if self.config.clock != "real":
            from simulation import make_clock

            clock = make_clock(self.config.clock, LiveClock().now())
        system = LiveSystem("cluster", seed=self.config.seed, tracer=self.tracer, clock=clock)
        self._system = system.start_thread()
        etcd = start_store(system, self.config)
        etcd.ask(Range(b"\0", limit=1), timeout=STORE_OPENS_S)  # a store that cannot be opened says so here
        import_state(etcd, self.config)
        self._recorder = start_recorder(system, self.config, etcd)
        self._certificates = _Certificates(self.config, system.clock.now())
        settings = {
            "advertise_address": self.config.host,
            "advertise_port": self.config.port or DEFAULT_PORT,
            **self._certificates.api_settings(),
            **self.config.apiserver,
        }
        apiserver = start_apiserver(system, self.config, etcd, **settings)
        self._port, self._close_http = http.start(
            system, apiserver, self.config.host, self.config.port, self._certificates.tls()
        )
        return apiserver

    def stop(self) -> None:
        """Stop everything that `start` started; nothing is left behind."""
        if self._close_http is not None:
            self._close_http()
            self._close_http = None
        if self._system is not None:
            if not self._system.failure:
                finish_recording(self._recorder)
            if self.config.clock == "virtual":
                TimeKeeper(self._system).auto_advance(True)  # what stops may need time for it
            self._system.shutdown()
            self._system = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @property
    def system(self) -> LiveSystem:
        """The actor system. Raises: RuntimeError when the cluster is not running."""
        if self._system is None:
            raise RuntimeError("the cluster is not running: use `with Cluster() as cluster:` or call start()")
        return self._system

    @property
    def url(self) -> str:
        """Where the API is served."""
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        return f"https://{host}:{self._port}"

    @property
    def port(self) -> int:
        """The port that was bound, also when the configuration left it open."""
        return self._port

    @property
    def authority(self) -> pki.Authority:
        """The certificate authority of this cluster."""
        assert self._certificates is not None
        return self._certificates.authority

    def write_kubeconfig(self, path: Path) -> None:
        """Write a kubeconfig of the administrator, readable by its owner alone."""
        assert self._certificates is not None
        self._certificates.write_kubeconfig(path, self.url)

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of the administrator, removed when the cluster stops."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="kubekka-"))
            self.write_kubeconfig(self._folder / "kubeconfig")
        return self._folder / "kubeconfig"


class _Certificates:
    """The cluster's own authority, and what it has signed. Kept in the data directory if any."""

    def __init__(self, config: ClusterConfig, now: float) -> None:
        from actors.apiserver import pki

        self._pki = pki
        self._folder = None if config.data_dir is None else config.data_dir / "pki"
        self.authority = (
            pki.Authority.create(now) if self._folder is None else pki.Authority.load_or_create(self._folder, now)
        )
        self._server = self.authority.server([config.host, "127.0.0.1", "localhost", *SERVICE_NAMES])
        self._admin: Any = None

    def api_settings(self) -> dict[str, Any]:
        """What the API server must know of this."""
        proxy = self.authority.client("front-proxy-client")
        kubelets = self.authority.client("kube-apiserver-kubelet-client", ("system:masters",))
        return {
            "client_ca": self.authority.certificate,
            "service_account_key": self._account_key(),
            "proxy_client": proxy.certificate + proxy.key,
            "kubelet_client": kubelets.certificate + kubelets.key,
        }

    def _account_key(self) -> bytes:
        """The key that service account tokens are signed with; empty lets the API server make one."""
        if self._folder is None:
            return b""
        path = self._folder / "sa.key"
        if not path.exists():
            self._pki.write_private(path, self._pki.new_key())
        return path.read_bytes()

    def controller_settings(self) -> dict[str, Any]:
        """What controllers must know of this."""
        authority = self.authority.certificate
        return {
            "root_ca": authority.decode(),
            "service_account_key": self._account_key(),
            "cluster_signing_certificate": authority,
            "cluster_signing_key": self.authority.pair.key,
        }

    def tls(self) -> Any:
        """The server side's TLS context."""
        return self._pki.server_context(self._server, self.authority.certificate)

    def write_kubeconfig(self, path: Path, url: str) -> None:
        from actors.apiserver import kubeconfig

        if self._admin is None:
            self._admin = self.authority.client("admin", ("system:masters",))
        kubeconfig.write(path, url, self.authority.certificate, self._admin)


class ApiServerProcess(_Served):
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


class Cluster(_Served, _Commands):
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
                self.client = _PatientClient(self.system, apiserver)
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
            if wait_for_nodes and _machines(self.config):
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
        if self.config.ingress_port is None:
            return
        from actors.network.ingress import IngressController
        from actors.network.ingress._server import serve

        host = self.config.ingress_address
        controller = self.system.spawn(Child("ingress", partial(IngressController, apiserver, host)), host="ingress")
        self.ingress = serve(self.system, controller, host, self.config.ingress_port)
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
        return len(nodes) >= len(_machines(self.config)) and all(map(_predicate("Ready"), nodes))

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


class SimulatedCluster(_Commands):
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
        if expected := len(_machines(self.config)):
            self.client.wait(
                "nodes", lambda nodes: len(nodes) >= expected and all(map(_predicate("Ready"), nodes))
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
