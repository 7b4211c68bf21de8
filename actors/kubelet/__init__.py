"""The node agent: kubelet, pod workers, simulated nodes."""

from actors.kubelet._certificates import CLIENT_SIGNER, RequestRefused, ServingCertificates, obtain, signing_request
from actors.kubelet._cgroups import pod_cgroups
from actors.kubelet._config import KubeletConfig
from actors.kubelet._configz import ConfigurationError, read_configuration
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
    "CLIENT_SIGNER",
    "ConfigurationError",
    "Kubelet",
    "KubeletConfig",
    "KubeletServer",
    "MetricsServer",
    "NodeManager",
    "RequestRefused",
    "ServeKubelet",
    "ServerConfig",
    "ServingCertificates",
    "SimulatedNode",
    "StartKubelet",
    "StopKubelet",
    "node_ip",
    "node_pod_cidr",
    "obtain",
    "pod_cgroups",
    "read_configuration",
    "signing_request",
    "simulated_node",
]
