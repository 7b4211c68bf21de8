"""The node agent: kubelet, pod workers, simulated nodes."""

from actors.kubelet._cgroups import pod_cgroups
from actors.kubelet._config import KubeletConfig
from actors.kubelet._https import KubeletServer, ServeKubelet, ServerConfig
from actors.kubelet._kubelet import Kubelet
from actors.kubelet._metrics import MetricsServer
from actors.kubelet._nodes import (
    NodeManager,
    SimulatedNode,
    StartKubelet,
    StopKubelet,
    node_ip,
    node_pod_cidr,
    simulated_node,
)

__all__ = [
    "Kubelet",
    "KubeletConfig",
    "KubeletServer",
    "MetricsServer",
    "NodeManager",
    "ServeKubelet",
    "ServerConfig",
    "SimulatedNode",
    "StartKubelet",
    "StopKubelet",
    "node_ip",
    "node_pod_cidr",
    "pod_cgroups",
    "simulated_node",
]
