"""Messages between a kubelet and a container runtime: the Container Runtime Interface as values.

Names and meaning follow CRI v1 (`k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`), so that one
kubelet drives the simulated runtime, a runtime on this machine or a gRPC runtime alike. Each verb
is a message that is asked; a refusal raises `CriError` at the asker. Times are seconds since the
epoch, durations seconds, memory bytes; ids are the runtime's, without its `name://` prefix.

Four verbs have no counterpart in the CRI, because there the kubelet reaches files and sockets of
the machine itself: `SetUpVolume`, `ReadVolume` (what a mounted volume holds), `Probe` (connect to a port of the
pod) and `ProcessTree` (what `ps` would show).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Union

from protocol.message import Address, Message

__all__ = [
    "CONTAINER_CREATED",
    "CONTAINER_EXITED",
    "CONTAINER_RUNNING",
    "Attach",
    "Container",
    "ContainerConfig",
    "ContainerEvent",
    "ContainerResources",
    "ContainerStats",
    "ContainerStatus",
    "CreateContainer",
    "CreateContainerResponse",
    "CriError",
    "Device",
    "Exec",
    "ExecSync",
    "ExecSyncResponse",
    "FilesystemUsage",
    "GetContainerEvents",
    "GetContainerStats",
    "GetContainerStatus",
    "GetPodSandboxStatus",
    "Image",
    "ImageFsInfo",
    "ImageFsInfoResponse",
    "ImageStatus",
    "ListContainerStats",
    "ListContainers",
    "ListImages",
    "ListPodSandbox",
    "ListVolumeUsage",
    "Mount",
    "PodSandboxConfig",
    "PodSandboxStatus",
    "PortForward",
    "Probe",
    "ProbeResponse",
    "ProcessEntry",
    "ProcessTree",
    "PullImage",
    "PullImageResponse",
    "ReadFile",
    "ReadLog",
    "ReadLogResponse",
    "ReadVolume",
    "RemoveContainer",
    "RemoveImage",
    "RemovePodSandbox",
    "RunPodSandbox",
    "RunPodSandboxResponse",
    "SecurityContext",
    "SetUpVolume",
    "StartContainer",
    "StartContainerResponse",
    "StopContainer",
    "StopPodSandbox",
    "UpdateContainerResources",
    "UpdatePodSandbox",
    "UpdatePodSandboxResources",
    "UpdateRuntimeConfig",
    "Version",
    "VersionResponse",
    "Volume",
]

CONTAINER_CREATED = "CONTAINER_CREATED"
CONTAINER_RUNNING = "CONTAINER_RUNNING"
CONTAINER_EXITED = "CONTAINER_EXITED"


class CriError(Exception):
    """A runtime's refusal. `code` is a gRPC status name (`NotFound`, `InvalidArgument`,
    `AlreadyExists`, `FailedPrecondition`, `DeadlineExceeded`, `Unavailable`, `Unknown`), `message`
    the runtime's text, and `reason` one of the error reasons of the kubelet's image manager
    (`ErrImagePull`, `ImageInspectError`, `RegistryUnavailable`, `InvalidImageName`), or empty."""

    def __init__(self, code: str, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason


# ---------------------------------------------------------------------------------- sandboxes


class ContainerResources(Message, frozen=True):
    """LinuxContainerResources; None is "not set". `unified` holds cgroup v2 files."""

    cpu_shares: int | None = None
    cpu_quota_us: int | None = None
    cpu_period_us: int | None = None
    memory_limit_bytes: int | None = None
    memory_request_bytes: int | None = None
    oom_score_adj: int = 0
    unified: Mapping[str, str] = {}
    pids_limit: int | None = None
    hugepage_limits: Mapping[str, int] = {}
    """Page size as the kernel writes it (`2MB`) -> bytes"""


class PodSandboxConfig(Message, frozen=True):
    """The pod that a sandbox is for. `host_network` asks for the node's network namespace;
    `shared_pid` for one PID namespace in which the pause process is number 1."""

    name: str
    namespace: str
    uid: str
    attempt: int = 0
    hostname: str = ""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    shared_pid: bool = False
    host_users: bool = True
    cgroup_parent: str = ""
    log_directory: str = ""
    dns_servers: tuple[str, ...] = ()
    dns_searches: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    port_mappings: tuple[tuple[str, int, int, str], ...] = ()
    """(protocol, container port, host port, host IP)"""
    sysctls: Mapping[str, str] = {}
    host_domain: str = ""
    """The domain under which /etc/hosts knows the pod too (`web.default.svc.cluster.local`)."""
    host_aliases: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(IP, names) that /etc/hosts has besides."""
    resources: ContainerResources | None = None
    """The limits of the pod's own control group; None leaves the sums of its containers to the runtime."""
    privileged: bool = False
    """One of its containers is."""


class RunPodSandbox(Message, frozen=True):
    """Create and start the pause container of a pod: namespaces and addresses exist from now on.
    Answered by `RunPodSandboxResponse`."""

    config: PodSandboxConfig
    runtime_handler: str = ""


class RunPodSandboxResponse(Message, frozen=True):
    """`ips`: as `PodSandboxStatus` would report them, to spare the kubelet that question."""

    pod_sandbox_id: str
    ips: tuple[str, ...] = ()


class StopPodSandbox(Message, frozen=True):
    """Kill what still runs in the sandbox and give its addresses back. Idempotent."""

    pod_sandbox_id: str


class RemovePodSandbox(Message, frozen=True):
    """Forget the sandbox and its containers. Idempotent."""

    pod_sandbox_id: str


class GetPodSandboxStatus(Message, frozen=True):
    """Answered by `PodSandboxStatus`; CriError NotFound."""

    pod_sandbox_id: str


class PodSandboxStatus(Message, frozen=True):
    """`ready`: the pause container runs. `ips`: the pod's addresses, primary first; empty in the
    node's network."""

    id: str
    name: str
    namespace: str
    uid: str
    attempt: int
    ready: bool
    created_at: float
    ips: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class ListPodSandbox(Message, frozen=True):
    """Answered by a tuple of `PodSandboxStatus`, those of `pod_uid` only if it is not empty."""

    pod_uid: str = ""


class UpdatePodSandbox(Message, frozen=True):
    """The pod's annotations are now these (the simulated runtime takes its script from them)."""

    pod_sandbox_id: str
    annotations: Mapping[str, str]


class UpdatePodSandboxResources(Message, frozen=True):
    """Change the limits of the pod's own control group (in-place resize)."""

    pod_sandbox_id: str
    resources: ContainerResources


class UpdateRuntimeConfig(Message, frozen=True):
    """Addresses of sandboxes from now on come from `pod_cidr`; logs of containers that are made from now on are
    put aside when they are so large, and so many files are kept of each."""

    pod_cidr: str
    log_max_bytes: int = 10 << 20
    log_max_files: int = 5


# --------------------------------------------------------------------------------- containers


class Volume(Message, frozen=True):
    """A volume of a pod as a directory of the node: what a runtime with real files makes of `host_path`.

    `kind`: `emptyDir`, `hostPath`, `provided` (the kubelet has its content: `source` is whom to send
    `ReadVolume`), `claim` or `image`. Modes are those of files, as the kernel counts them.
    """

    name: str
    host_path: str
    kind: str
    source: Address | None = None
    medium: str = ""
    """Of an emptyDir: empty, `Memory`, `HugePages` or `HugePages-2Mi`."""
    size_bytes: int | None = None
    """How much an emptyDir in memory holds."""
    host_path_type: str = ""
    default_mode: int = 0o644
    modes: Mapping[str, int] = {}
    """Path in the volume -> mode, where it is not `default_mode`."""
    owners: Mapping[str, int] = {}
    """Path in the volume -> user, where it is not root."""
    fs_group: int | None = None
    """Who is to own the files of the volume, as their group."""
    fs_group_on_mismatch: bool = False
    """Leave files alone when the volume's root has that group already."""
    readonly: bool = False


class SetUpVolume(Message, frozen=True):
    """Make the directory of a pod's volume, before its sandbox. Answered by None; CriError with the
    words that follow `MountVolume.SetUp failed for volume "x" : `. Repeated, it changes nothing."""

    pod_uid: str
    volume: Volume


class Mount(Message, frozen=True):
    """A volume's place in a container.

    `host_path` is where the volume is on the node. `source`, for a runtime that has no such
    directory, is whom to send `ReadVolume` for the content that the kubelet provides
    (configMap, secret, projected, downwardAPI); None for volumes that containers fill themselves.
    """

    container_path: str
    host_path: str
    volume: str
    readonly: bool = False
    sub_path: str = ""
    propagation: str = ""
    source: Address | None = None
    image: str = ""
    """The image whose content this is (an image volume); `host_path` is then not looked at."""
    recursive_readonly: bool = False
    """What is mounted below is read-only too."""


class ReadVolume(Message, frozen=True):
    """Asked of a mount's `source`: answered by a dict from path below the volume to bytes, as the
    volume's content is now."""

    pod_uid: str
    volume: str


class ReadFile(Message, frozen=True):
    """Asked of a runtime: a file below `path` of a volume that containers fill (an emptyDir), whose place on the
    node is `host_path`. Answered by its bytes, or None if there is none."""

    pod_uid: str
    host_path: str
    path: str


class SecurityContext(Message, frozen=True):
    """LinuxContainerSecurityContext, of what the pod and the container say together.

    `seccomp`: `RuntimeDefault`, `Unconfined` or `Localhost/<path>`. Capabilities without `CAP_`;
    `ALL` stands for all of them. `unmasked` is procMount Unmasked. `devices`: paths of the node.
    """

    run_as_group: int | None = None
    run_as_username: str = ""
    supplemental_groups: tuple[int, ...] = ()
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    no_new_privs: bool = False
    seccomp: str = ""
    unmasked: bool = False
    devices: tuple[str, ...] = ()
    strict_groups: bool = False
    """supplementalGroupsPolicy Strict: only `supplemental_groups`, not what the image's /etc/group says."""
    apparmor: str = ""
    """As `seccomp`: `RuntimeDefault`, `Unconfined` or `Localhost/<profile>`."""


class Device(Message, frozen=True):
    """A block device of the node in a container (a volume of mode Block)."""

    container_path: str
    host_path: str
    permissions: str = "rwm"


class ContainerConfig(Message, frozen=True):
    """What to run. An empty `command` means the image's entrypoint; `args` likewise its
    arguments. `attempt` counts the container's starts from 0."""

    name: str
    image: str
    attempt: int = 0
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    envs: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: ContainerResources = ContainerResources()
    privileged: bool = False
    run_as_user: int | None = None
    readonly_rootfs: bool = False
    ports: tuple[int, ...] = ()
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = "File"
    security: SecurityContext = SecurityContext()
    devices: tuple[Device, ...] = ()
    target_id: str = ""
    """The container whose PID namespace this one joins (`kubectl debug --target`)."""
    stop_signal: str = ""
    """The signal that asks it to end; empty means the image's, else SIGTERM."""


class CreateContainer(Message, frozen=True):
    """Answered by `CreateContainerResponse`."""

    pod_sandbox_id: str
    config: ContainerConfig


class CreateContainerResponse(Message, frozen=True):
    container_id: str


class StartContainer(Message, frozen=True):
    """Answered by `StartContainerResponse`; CriError if the process cannot be started."""

    container_id: str


class StartContainerResponse(Message, frozen=True):
    """`started_at`, as `ContainerStatus` would report it."""

    started_at: float


class StopContainer(Message, frozen=True):
    """Ask the container to end (SIGTERM) and kill it after `timeout_s`. Answered by None once it
    has ended. Idempotent."""

    container_id: str
    timeout_s: float


class RemoveContainer(Message, frozen=True):
    """Forget a container and its log; one that runs is killed. Idempotent."""

    container_id: str


class GetContainerStatus(Message, frozen=True):
    """Answered by `ContainerStatus`; CriError NotFound."""

    container_id: str


class ContainerStatus(Message, frozen=True):
    """`reason`: `Completed`, `Error`, `OOMKilled` or the runtime's own word; `message`: the
    termination message. `image_ref` is a digest reference."""

    id: str
    pod_sandbox_id: str
    pod_uid: str
    name: str
    attempt: int
    state: str
    image: str
    image_ref: str
    created_at: float
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    annotations: Mapping[str, str] = {}


class ListContainers(Message, frozen=True):
    """Answered by a tuple of `ContainerStatus`, oldest first; those of one pod if `pod_uid`."""

    pod_uid: str = ""


Container = ContainerStatus
"""CRI lists a shorter record; here both are one."""


class UpdateContainerResources(Message, frozen=True):
    """Change the limits of a container that runs (in-place resize)."""

    container_id: str
    resources: ContainerResources


class GetContainerEvents(Message, frozen=True):
    """`watcher` is told a `ContainerEvent` for every container that ends from now on, by itself or
    stopped. Replaces the watcher before it (a kubelet that comes back after a crash)."""

    watcher: Address


class ContainerEvent(Message, frozen=True):
    """A container has ended."""

    status: ContainerStatus


# ----------------------------------------------------------------------------- exec, logs, ports


class ExecSync(Message, frozen=True):
    """Run a command in a container to its end. Answered by `ExecSyncResponse`; CriError
    DeadlineExceeded after `timeout_s` (0: none)."""

    container_id: str
    command: tuple[str, ...]
    timeout_s: float = 0.0


class ExecSyncResponse(Message, frozen=True):
    """`settled`: the same command will give the same answer until the kubelet changes something,
    so that a probe need not ask again."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    settled: bool = False


class Exec(Message, frozen=True):
    """Run a command with live streams. `peer` gets and sends `protocol.node.StreamData` under
    `stream_id`; answered by `StreamOpened`."""

    container_id: str
    command: tuple[str, ...]
    peer: Address
    stream_id: int
    stdin: bool = False
    tty: bool = False


class Attach(Message, frozen=True):
    """As `Exec`, to the container's main process."""

    container_id: str
    peer: Address
    stream_id: int
    stdin: bool = False
    tty: bool = False


class PortForward(Message, frozen=True):
    """As `Exec`, to ports of the pod."""

    pod_sandbox_id: str
    ports: tuple[int, ...]
    peer: Address
    stream_id: int


class ReadLog(Message, frozen=True):
    """Read a container's log. With `peer`, whatever is written later is told to it as
    `StreamData`, and `StreamClosed` when the container ends. Answered by `ReadLogResponse`."""

    container_id: str
    since: float = 0.0
    tail_lines: int | None = None
    limit_bytes: int | None = None
    timestamps: bool = False
    peer: Address | None = None
    stream_id: int = 0


class ReadLogResponse(Message, frozen=True):
    data: bytes


class Probe(Message, frozen=True):
    """Connect to a port of the pod. `kind`: http, tcp or grpc; `detail` the HTTP path or the gRPC
    service. Answered by `ProbeResponse`."""

    container_id: str
    kind: str
    port: int
    scheme: str = "http"
    host: str = ""
    detail: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 1.0


class ProbeResponse(Message, frozen=True):
    """`output` says what went wrong, in the words of the kubelet's prober. `settled` as in
    `ExecSyncResponse`."""

    ok: bool
    output: str = ""
    settled: bool = False


class ProcessTree(Message, frozen=True):
    """Answered by a tuple of `ProcessEntry`: the node's processes for one pod ("" for all)."""

    pod_uid: str = ""


class ProcessEntry(Message, frozen=True):
    """One process as seen from the node. `namespaces`: kind -> the pid that owns it."""

    pid: int
    parent: int
    command: str
    container: str = ""
    namespaces: Mapping[str, int] = {}


# ------------------------------------------------------------------------------------- statistics


class FilesystemUsage(Message, frozen=True):
    used_bytes: int
    inodes_used: int


class GetContainerStats(Message, frozen=True):
    """Answered by `ContainerStats`; CriError NotFound."""

    container_id: str


class ListContainerStats(Message, frozen=True):
    """Answered by a tuple of `ContainerStats` of what runs; of one pod if `pod_uid`."""

    pod_uid: str = ""


class ListVolumeUsage(Message, frozen=True):
    """Asked of a runtime with real files: what a pod's emptyDirs hold. Answered by a dict from volume to
    `FilesystemUsage`."""

    pod_uid: str


class ContainerStats(Message, frozen=True):
    """`cpu_usage_core_ns` accumulates since the start; `cpu_usage_nano_cores` is the rate now."""

    container_id: str
    name: str
    pod_uid: str
    timestamp: float
    cpu_usage_core_ns: int
    cpu_usage_nano_cores: int
    memory_working_set_bytes: int
    memory_usage_bytes: int
    throttled_periods: int = 0
    throttled_time_ns: int = 0
    periods: int = 0
    writable_layer: FilesystemUsage = FilesystemUsage(0, 0)
    pids: int = 0


# ----------------------------------------------------------------------------------------- images


class PullImage(Message, frozen=True):
    """Answered by `PullImageResponse` when the image is there. CriError with reason ErrImagePull,
    RegistryUnavailable, ... `auth` is a registry credential (user, password) or None."""

    image: str
    auth: tuple[str, str] | None = None


class PullImageResponse(Message, frozen=True):
    """`seconds`: how long the pull took; `size_bytes`: how large the image is."""

    image_ref: str
    size_bytes: int
    seconds: float


class ImageStatus(Message, frozen=True):
    """Answered by an `Image`, or None if it is not on the node."""

    image: str


class Image(Message, frozen=True):
    id: str
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    size_bytes: int
    pinned: bool = False
    user: str = ""
    """Whom its containers run as, in the image's words: a number, a name, or nothing for root."""


class ListImages(Message, frozen=True):
    """Answered by a tuple of `Image`."""


class RemoveImage(Message, frozen=True):
    """Idempotent."""

    image: str


class ImageFsInfo(Message, frozen=True):
    """Answered by `ImageFsInfoResponse`."""


class ImageFsInfoResponse(Message, frozen=True):
    used_bytes: int
    inodes_used: int


class Version(Message, frozen=True):
    """Answered by `VersionResponse`."""


class VersionResponse(Message, frozen=True):
    """`runtime_name` is the prefix of container ids in the API (`containerd://...`)."""

    version: str
    runtime_name: str
    runtime_version: str
    runtime_api_version: str
    features: tuple[str, ...] | None = None
    """What it and its machine can do, of `user-namespaces`, `supplemental-groups-policy`,
    `recursive-read-only-mounts` and `apparmor`; None: all of it."""


Verb = Union[
    RunPodSandbox,
    StopPodSandbox,
    RemovePodSandbox,
    GetPodSandboxStatus,
    ListPodSandbox,
    CreateContainer,
    StartContainer,
    StopContainer,
    RemoveContainer,
    GetContainerStatus,
    ListContainers,
    UpdateContainerResources,
    ExecSync,
    PullImage,
    ImageStatus,
    ListImages,
    RemoveImage,
    ImageFsInfo,
    Version,
]
"""The verbs that every runtime must answer."""
