"""What a cluster is made of, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocol.objects import Object

__all__ = ["CLUSTER_CIDR", "ClusterConfig", "default_data_dir", "machines"]

CLUSTER_CIDR = "10.244.0.0/16"  # what pods' addresses are taken from


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
    ingress_tls_port: int | None = None
    ingress_default_certificate: str = ""
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


def machines(config: ClusterConfig) -> list[tuple[str, int | None, Mapping[str, str]]]:
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


def default_data_dir() -> Path:
    """The platform's state directory for us, e.g. `~/.local/state/kubekka`."""
    import platformdirs

    return Path(platformdirs.user_state_dir("kubekka", appauthor=False))
