"""What can be set about a kubelet."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from protocol.resolv import ResolvConf

__all__ = ["DEFAULT_CAPACITY", "KubeletConfig"]

DEFAULT_CAPACITY: Mapping[str, str] = {"cpu": "32", "memory": "256Gi", "pods": "110"}


class KubeletConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one kubelet. Times are in seconds."""

    capacity: Mapping[str, str] = msgspec.field(default_factory=lambda: DEFAULT_CAPACITY)
    """What the node offers, under resource names (`cpu`, `memory`, `pods`, `example.com/gpu`, ...)."""
    reserved: Mapping[str, str] = {}
    """What of it pods may not have (system and kube reservations, eviction threshold)."""
    node_ips: tuple[str, ...] = ("172.18.0.2",)
    pod_cidr: str = ""
    """Addresses of pods; empty waits for the Node's `spec.podCIDR`."""
    fallback_pod_cidr: str = "10.245.0.0/24"
    """Addresses of pods while the Node has no `spec.podCIDR`."""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    taints: tuple[Mapping[str, str], ...] = ()
    pods: bool = True
    """Run the node's pods; without, somebody else tells how they fare (stages)."""
    register: bool = True
    """Make the Node object; without, it is taken as it is found."""
    kubelet_version: str = "v1.36.2"
    os_image: str = "Kubekka simulation"
    kernel_version: str = "6.12.0-kubekka"
    machine_id: str = ""
    """`sim` for every id of the system info where empty means ids from the node's name."""
    architecture: str = "amd64"
    provider_id: str = ""
    static_pod_path: str = ""
    """A directory of manifests of pods that this kubelet runs on its own account; empty: none."""
    lease_duration_s: int = 40
    lease_renew_s: float = 10.0
    status_report_s: float = 300.0
    events: bool = True
    """Record events about pods; off for the largest simulations."""
    event_qps: float = 50.0
    event_burst: int = 12
    final_status: str = "kept"
    """`kept`: a pod that is deleted reports how it ended only where something may look at that
    (restartPolicy other than Always, or finalizers); `always`, as the real kubelet does."""
    service_links: bool = True
    """Give containers the environment variables of Services."""
    object_ttl_s: float = 60.0
    """How long a ConfigMap or Secret that was read is taken for current."""
    cluster_dns: tuple[str, ...] = ("10.96.0.10",)
    cluster_domain: str = "cluster.local"
    resolv_conf: ResolvConf = ResolvConf()
    """The node's own resolver, which pods with the dnsPolicy Default have."""
    crash_loop_max_s: float = 300.0
    eviction_hard: Mapping[str, str] = msgspec.field(
        default_factory=lambda: {"memory.available": "100Mi", "nodefs.available": "10%"}
    )
    """What must stay available, by signal (also `pid.available`): below it pods are evicted at once."""
    eviction_soft: Mapping[str, str] = {}
    """Likewise, but only after the signal's grace time, with a grace period."""
    eviction_soft_grace_s: Mapping[str, float] = {}
    eviction_max_pod_grace_s: int = 0
    eviction_minimum_reclaim: Mapping[str, str] = {}
    """How much more than the threshold has to become available before the pressure is over, by signal."""
    pod_pids_limit: int = -1
    """How many processes a pod may have; -1: as many as it likes."""
    memory_throttling_factor: float = 0.0
    """Between request and limit, from where on a container's memory is slowed down (0.9 is usual), and its request
    kept for it: memory.high and memory.min, the feature MemoryQoS. 0: off."""
    pid_max: int = 32768
    """How many processes the node can have."""
    pressure_transition_s: float = 300.0
    """How long the node says that it is under pressure after it was."""
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    """Patterns (`kernel.msg*`) of sysctls beyond the safe ones that pods may set."""
    image_gc: bool = True
    """Remove images that nobody uses; not where they are also somebody else's, or could not be pulled again."""
    image_gc_high_percent: int = 85
    """So much of the disk in use makes the kubelet remove images that nobody uses, ..."""
    image_gc_low_percent: int = 80
    """... until no more than this is."""
    image_minimum_gc_age_s: float = 120.0
    image_maximum_gc_age_s: float = 0.0
    """Images that nobody has used for so long go in any case; 0: never."""
    max_images: int = 50
    """How many images the Node's status names; -1: all."""
    container_log_max_bytes: int = 10 << 20
    container_log_max_files: int = 5
    cpu_manager_policy: str = "none"
    """`static` gives whole cores of their own to containers of Guaranteed pods that ask for whole cores."""
    reserved_cpus: str = ""
    """Cores that no container gets for itself (`0-1,4`)."""
    devices: Mapping[str, int] = {}
    """How many simulated devices there are, by resource (`example.com/gpu`)."""
    device_plugins: bool = False
    """Serve the registration of device plugins and podresources below `state_directory`."""
    dra_drivers: tuple[str, ...] = ("*",)
    """Drivers of dynamic resources whose devices this node prepares; `*`: simulated ones of any name."""
    watch_node: bool = False
    """Watch the Node, tell events about it and take simulated devices from its annotations."""
    state_directory: str = ""
    """Where the kubelet keeps what outlives it (device plugins, cpu_manager_state); empty: with its machine."""
    server_tls_bootstrap: bool = False
    document: Mapping[str, object] = {}
    """The KubeletConfiguration that these settings come from, as it was written."""
    port: int = 10250
    """Where the Node says that this kubelet's own API is served."""
    user_agent: str = "kubelet"
    admin: bool = False
    """Speak to the API as `admin`, not as `system:node:NAME`."""
