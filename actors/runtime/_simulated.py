"""The simulated container runtime: CRI's verbs without privileges, on any operating system.

Owns the sandboxes and images of one simulated machine. Each sandbox is an actor (`_sandbox.Pause`)
that does the verbs on its containers; this actor creates it, routes to it and answers what
concerns the whole machine. It knows nothing of the Kubernetes API.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.kernel import Actor, Child, Future, Ref, handles
from actors.runtime._container import ContainerRecord, Machine, SandboxRecord
from actors.runtime._guise import GUISES, Process, process_tree
from actors.runtime._images import PAUSE_IMAGE, ImageStore, normal_reference
from actors.runtime._sandbox import Pause, StopAll
from actors.runtime._usage import level_at, usage
from protocol.conditions import REGISTRY, PowerOff, RegistryFault, matches
from protocol.cri import (
    CONTAINER_EXITED,
    CONTAINER_RUNNING,
    Attach,
    ContainerResources,
    ContainerStats,
    ContainerStatus,
    CreateContainer,
    CreateContainerResponse,
    CriError,
    Exec,
    ExecSync,
    FilesystemUsage,
    GetContainerEvents,
    GetContainerStats,
    GetContainerStatus,
    GetPodSandboxStatus,
    Image,
    ImageFsInfo,
    ImageFsInfoResponse,
    ImageStatus,
    ListContainers,
    ListContainerStats,
    ListImages,
    ListPodSandbox,
    PodSandboxStatus,
    PortForward,
    Probe,
    ProbeResponse,
    ProcessEntry,
    ProcessTree,
    PullImage,
    PullImageResponse,
    ReadFile,
    ReadLog,
    RemoveContainer,
    RemoveImage,
    RemovePodSandbox,
    RunPodSandbox,
    RunPodSandboxResponse,
    StartContainer,
    StopContainer,
    StopPodSandbox,
    UpdateContainerResources,
    UpdatePodSandbox,
    UpdateRuntimeConfig,
    Version,
    VersionResponse,
)

__all__ = ["SimulatedRuntime", "simulated_machine"]


def simulated_machine(
    guise: str = "containerd", pull_bytes_per_s: float = 0.0, pull_latency_s: float = 0.0
) -> Callable[[], Actor]:
    """A new machine: what comes back makes the runtime actor on it, as often as it has to be made.

    Raises: ValueError for a guise that does not exist.
    """
    if guise not in GUISES:
        raise ValueError(f"the simulated runtime can be {', '.join(GUISES)}, not {guise!r}")
    machine = Machine(ImageStore(pull_bytes_per_s, pull_latency_s))
    return lambda: SimulatedRuntime(machine, guise)


class SimulatedRuntime(Actor):
    """One machine's runtime. `machine` is what outlives it; `guise` is a key of `GUISES`."""

    def __init__(self, machine: Machine | None = None, guise: str = "containerd") -> None:
        super().__init__()
        self.machine = machine or Machine()
        if guise not in GUISES:
            raise ValueError(f"the simulated runtime can be {', '.join(GUISES)}, not {guise!r}")
        self.guise = guise
        self.pauses: dict[str, Ref] = {}

    def on_start(self) -> None:
        """Take up the sandboxes that a crash of this actor left behind."""
        for record in self.machine.sandboxes.values():
            self._spawn_pause(record)
        if self.guise != "rkt":
            self.machine.images.pull(PAUSE_IMAGE)

    def _identifier(self) -> str:
        return f"{self.random.getrandbits(256):064x}"

    # -- sandboxes

    @handles(RunPodSandbox)
    def run_pod_sandbox(self, message: RunPodSandbox) -> RunPodSandboxResponse:
        config = message.config
        for record in self.machine.sandboxes.values():
            if record.config.uid == config.uid and record.config.attempt == config.attempt:
                name = f"{config.name}_{config.namespace}_{config.uid}_{config.attempt}"
                raise CriError(
                    "AlreadyExists",
                    f'failed to reserve sandbox name "{name}": name "{name}" is reserved for "{record.id}"',
                )
        ips: tuple[str, ...] = ()
        if not config.host_network:
            address = self.machine.allocate_ip()
            if address is None:
                text = (
                    f"failed to allocate for range 0: no IP addresses available in range set: {self.machine.pod_cidr}"
                )
                raise CriError(
                    "Unknown", f'failed to setup network for sandbox: plugin type="bridge" failed (add): {text}'
                )
            ips = (address,)
        record = SandboxRecord(self._identifier(), config, ips, self.machine.pid(), self.clock.now())
        self.machine.sandboxes[record.id] = record
        self._spawn_pause(record)
        return RunPodSandboxResponse(record.id, ips)

    def _spawn_pause(self, record: SandboxRecord) -> None:
        config, machine = record.config, self.machine
        name = f"{config.namespace}.{config.name}.{record.id[:12]}"
        self.pauses[record.id] = self.spawn(Child(name, lambda: Pause(record, machine)))

    @handles(StopPodSandbox)
    async def stop_pod_sandbox(self, message: StopPodSandbox) -> None:
        record = self.machine.sandboxes.get(message.pod_sandbox_id)
        if record is None or not record.ready:
            return
        await self.ask(self.pauses[record.id], StopAll())
        self.machine.free_ips.extend(record.ips)
        record.ips = ()

    @handles(RemovePodSandbox)
    async def remove_pod_sandbox(self, message: RemovePodSandbox) -> None:
        record = self.machine.sandboxes.get(message.pod_sandbox_id)
        if record is None:
            return
        if record.ready:
            await self.stop_pod_sandbox(StopPodSandbox(record.id))
        self.machine.sandboxes.pop(record.id, None)
        for ident in record.containers:
            self.machine.containers.pop(ident, None)
        pause = self.pauses.pop(record.id, None)
        if pause is not None:
            pause.stop()

    def _record(self, ident: str) -> SandboxRecord:
        record = self.machine.sandboxes.get(ident)
        if record is None:
            raise CriError("NotFound", f'an error occurred when try to find sandbox: not found ("{ident}")')
        return record

    @handles(GetPodSandboxStatus)
    def pod_sandbox_status(self, message: GetPodSandboxStatus) -> PodSandboxStatus:
        return self._record(message.pod_sandbox_id).status()

    @handles(ListPodSandbox)
    def list_pod_sandbox(self, message: ListPodSandbox) -> tuple[PodSandboxStatus, ...]:
        return tuple(r.status() for r in self.machine.sandboxes.values() if message.pod_uid in ("", r.config.uid))

    @handles(UpdatePodSandbox)
    def update_pod_sandbox(self, message: UpdatePodSandbox) -> Future[Any]:
        self._record(message.pod_sandbox_id)
        return self.ask(self.pauses[message.pod_sandbox_id], message)

    @handles(UpdateRuntimeConfig)
    def update_runtime_config(self, message: UpdateRuntimeConfig) -> None:
        self.machine.set_pod_cidr(message.pod_cidr)

    # -- containers

    @handles(CreateContainer)
    def create_container(self, message: CreateContainer) -> CreateContainerResponse:
        record = self._record(message.pod_sandbox_id)
        if not record.ready:
            raise CriError("FailedPrecondition", f'sandbox container "{record.id}" is not running')
        config = message.config
        for other in record.containers.values():
            if other.config.name == config.name and other.config.attempt == config.attempt:
                name = (
                    f"{config.name}_{record.config.name}_{record.config.namespace}_{record.config.uid}_{config.attempt}"
                )
                raise CriError(
                    "AlreadyExists",
                    f'failed to reserve container name "{name}": name "{name}" is reserved for "{other.id}"',
                )
        image = self.machine.images.status(config.image)
        if image is None:
            raise CriError("NotFound", f'failed to resolve image "{config.image}": not found')
        ref = image.repo_digests[0] if image.repo_digests else image.id
        container = ContainerRecord(self._identifier(), config, record, ref, self.clock.now())
        record.containers[container.id] = container
        self.machine.containers[container.id] = container
        return CreateContainerResponse(container.id)

    def _find(self, ident: str) -> ContainerRecord:
        container = self.machine.containers.get(ident)
        if container is None:
            raise CriError("NotFound", f'an error occurred when try to find container "{ident}": not found')
        return container

    @handles(StartContainer)
    @handles(StopContainer)
    @handles(ExecSync)
    @handles(Exec)
    @handles(Attach)
    @handles(ReadLog)
    def route(self, message: Any) -> Future[Any]:
        """To the sandbox of the container."""
        return self.ask(self.pauses[self._find(message.container_id).sandbox.id], message)

    @handles(PortForward)
    def port_forward(self, message: PortForward) -> Future[Any]:
        return self.ask(self.pauses[self._record(message.pod_sandbox_id).id], message)

    @handles(RemoveContainer)
    def remove_container(self, message: RemoveContainer) -> Future[Any] | None:
        container = self.machine.containers.pop(message.container_id, None)
        if container is None:
            return None
        return self.ask(self.pauses[container.sandbox.id], message)

    @handles(GetContainerStatus)
    def container_status(self, message: GetContainerStatus) -> ContainerStatus:
        return self._find(message.container_id).status()

    @handles(ListContainers)
    def list_containers(self, message: ListContainers) -> tuple[ContainerStatus, ...]:
        if message.pod_uid:
            records = [r for r in self.machine.sandboxes.values() if r.config.uid == message.pod_uid]
            return tuple(c.status() for r in records for c in r.containers.values())
        return tuple(c.status() for c in self.machine.containers.values())

    @handles(UpdateContainerResources)
    def update_container_resources(self, message: UpdateContainerResources) -> None:
        container = self._find(message.container_id)
        config = container.config
        fields = {name: getattr(config, name) for name in config.__struct_fields__}
        container.config = type(config)(**{**fields, "resources": message.resources})

    @handles(ReadFile)
    def read_file(self, message: ReadFile) -> bytes | None:
        """From the pod's own volumes."""
        for record in self.machine.sandboxes.values():
            if record.config.uid == message.pod_uid and record.stores:
                found = record.stores.get(message.host_path, {}).get(message.path.strip("/"))
                if found is not None:
                    return found
        return None

    @handles(GetContainerEvents)
    def container_events(self, message: GetContainerEvents) -> None:
        self.machine.watcher = message.watcher

    @handles(PowerOff)
    def power_off(self, message: PowerOff) -> None:
        """Everything that ran is gone; nobody is told."""
        self.machine.watcher = None
        for container in self.machine.containers.values():
            if container.state == CONTAINER_RUNNING:
                container.state, container.exit_code, container.reason = CONTAINER_EXITED, 137, "Error"
                container.finished_at = self.clock.now()
                container.end_at = container.oom_at = container.main = None
        for record in self.machine.sandboxes.values():
            record.ready = False
            self.machine.free_ips.extend(record.ips)
            record.ips = ()

    @handles(Probe)
    def probe(self, message: Probe) -> ProbeResponse:
        """Ports answer while the container runs, unless `kubekka.dev/probe` says otherwise: `fail`,
        `timeout`, or an HTTP status."""
        container = self._find(message.container_id)
        if container.state != CONTAINER_RUNNING:
            return ProbeResponse(False, "container is not running")
        annotations = container.sandbox.annotations
        verdict = (
            annotations.get(f"kubekka.dev/probe.{container.config.name}", annotations.get("kubekka.dev/probe", ""))
            if annotations
            else ""
        )
        if verdict in ("", "ok") or (verdict.isdigit() and 200 <= int(verdict) < 400):
            return ProbeResponse(True, "", True)
        return ProbeResponse(False, _probe_failure(message, container, verdict), False)

    # -- figures

    def _stats(self, container: ContainerRecord) -> ContainerStats:
        now = self.clock.now()
        age = max(0.0, now - container.started_at)
        resources: ContainerResources = container.config.resources
        used = usage(container.sandbox.annotations, container.config.name, resources, age)
        memory = int(used.memory_bytes)
        notes, name = container.sandbox.annotations, container.config.name
        layer = level_at(notes, "storage", name, age)
        if layer is None:
            layer = sum(len(v or b"") for v in (container.layer or {}).values())
        return ContainerStats(
            container.id,
            container.config.name,
            container.sandbox.config.uid,
            now,
            int(used.cpu_seconds * 1e9),
            int(used.cores * 1e9),
            memory,
            memory,
            used.throttled_periods,
            int(used.throttled_seconds * 1e9),
            used.periods,
            FilesystemUsage(layer, len(container.layer or {})),
            level_at(notes, "pids", name, age) or 1,
        )

    @handles(GetContainerStats)
    def container_stats(self, message: GetContainerStats) -> ContainerStats:
        return self._stats(self._find(message.container_id))

    @handles(ListContainerStats)
    def list_container_stats(self, message: ListContainerStats) -> tuple[ContainerStats, ...]:
        return tuple(
            self._stats(c)
            for c in self.machine.containers.values()
            if c.state == CONTAINER_RUNNING and message.pod_uid in ("", c.sandbox.config.uid)
        )

    @handles(ProcessTree)
    def process_tree(self, message: ProcessTree) -> tuple[ProcessEntry, ...]:
        found: list[ProcessEntry] = []
        for record in self.machine.sandboxes.values():
            config = record.config
            if not record.ready or message.pod_uid not in ("", config.uid):
                continue
            members = [
                Process(c.pid, c.config.name, " ".join(c.config.command + c.config.args) or c.config.image)
                for c in record.containers.values()
                if c.state == CONTAINER_RUNNING
            ]
            pod = f"{config.namespace}/{config.name}"
            found += process_tree(
                self.guise, pod, Process(record.pid, "", "/pause"), members, config.shared_pid, config.host_network
            )
        return tuple(found)

    # -- images

    @handles(PullImage)
    async def pull_image(self, message: PullImage) -> PullImageResponse:
        seconds = self.machine.images.pull_seconds(message.image)
        registry: RegistryFault | None = self.system.world.get(REGISTRY)
        if registry is not None and matches(registry.images, message.image):
            seconds += registry.seconds
            if registry.down:
                reference = normal_reference(message.image)
                raise CriError(
                    "Unavailable",
                    f'failed to pull and unpack image "{reference}": failed to resolve reference "{reference}": '
                    f"failed to do request: dial tcp: connect: connection refused",
                    "ErrImagePull",
                )
        if seconds > 0:
            await self.sleep(seconds)
        image = self.machine.images.pull(message.image)
        ref = image.repo_digests[0] if image.repo_digests else image.id
        return PullImageResponse(ref, image.size_bytes, seconds)

    @handles(ImageStatus)
    def image_status(self, message: ImageStatus) -> Image | None:
        return self.machine.images.status(message.image)

    @handles(ListImages)
    def list_images(self, message: ListImages) -> tuple[Image, ...]:
        return tuple(self.machine.images.images.values())

    @handles(RemoveImage)
    def remove_image(self, message: RemoveImage) -> None:
        try:
            normal_reference(message.image)
        except CriError:
            pass
        self.machine.images.remove(message.image)

    @handles(ImageFsInfo)
    def image_fs_info(self, message: ImageFsInfo) -> ImageFsInfoResponse:
        images = self.machine.images.images.values()
        return ImageFsInfoResponse(sum(i.size_bytes for i in images), 1000 * len(images))

    @handles(Version)
    def version(self, message: Version) -> VersionResponse:
        guise = GUISES[self.guise]
        return VersionResponse("0.1.0", guise.prefix, guise.version, "v1")


def _probe_failure(message: Probe, container: ContainerRecord, verdict: str) -> str:
    """What the kubelet's prober prints for such a failure."""
    ip = container.sandbox.ips[0] if container.sandbox.ips else "127.0.0.1"
    address = f"{ip}:{message.port}"
    if message.kind == "http":
        url = f"{message.scheme.lower()}://{message.host or ip}:{message.port}{message.detail or '/'}"
        if verdict.isdigit():
            return f"HTTP probe failed with statuscode: {verdict}"
        if verdict == "timeout":
            return f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        return f'Get "{url}": dial tcp {address}: connect: connection refused'
    if message.kind == "grpc":
        if verdict == "timeout":
            return f'timeout: failed to connect service "{address}" within {message.timeout_s:g}s: context deadline exceeded'
        return 'service unhealthy (responded with "NOT_SERVING")'
    return (
        f"dial tcp {address}: i/o timeout"
        if verdict == "timeout"
        else f"dial tcp {address}: connect: connection refused"
    )
