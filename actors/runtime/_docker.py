"""The Docker runtime: containers by the Engine API, in the manner of dockershim.

Owns the CRI's verbs on top of a Docker daemon of this machine: a pause container per pod whose
network and IPC namespaces the others join (Docker has no way to share UTS: each container has the
pod's host name in a namespace of its own), addresses from the node's network, images from the
local store. The daemon keeps all records; this actor may come and go.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from typing import Any

from actors.kernel import Child, Future, handles
from actors.runtime._docker_machine import (
    POD_UID,
    SANDBOX,
    TYPE,
    DockerMachine,
    docker_error,
    seconds,
    why_no_docker,
)
from actors.runtime._docker_streams import DockerStreams, later
from actors.runtime._images import normal_reference
from actors.runtime._linux import started_ticks
from actors.runtime._pod_files import etc_files
from actors.runtime._process_io import Relay, tell
from actors.runtime._volume_mounts import VOLUME_REFRESH_S, VolumeMounts
from actors.runtime.images import ImageError
from protocol import cri
from protocol.message import Message

__all__ = ["DockerMachine", "DockerRuntime", "why_no_docker"]

MESSAGE_MAX_BYTES, MESSAGE_LINES, MESSAGE_LOG_BYTES = 4096, 80, 2048
RECONNECT_S = 1.0
CREATED = ("created",)


class _Died(Message, frozen=True):
    """The daemon says that a container has ended."""

    container_id: str


class _Deadline(Message, frozen=True):
    """A container that was asked to stop must end now."""

    container_id: str


class _Refresh(Message, frozen=True):
    """Look whether the content of volumes has changed."""


class DockerRuntime(DockerStreams):
    """See the module. `network`: the node's network actor, spawned below this one."""

    def __init__(self, machine: DockerMachine, network: Child | None = None) -> None:
        super().__init__()
        self.machine = machine
        self.network = network
        self.sessions = {}
        self.stop_waiters: dict[str, list[Future[None]]] = {}
        self.volumes = VolumeMounts(machine.root / "volumes")
        self.samples: dict[str, tuple[float, int]] = {}

    def on_start(self) -> None:
        self.relay = self.spawn(Child("relay", Relay))
        if self.network is not None:
            self.machine.network.actor = self.spawn(self.network)
        self.machine.stopped.clear()
        threading.Thread(target=self._listen, name="docker-events", daemon=True).start()
        self.every(VOLUME_REFRESH_S, _Refresh())

    def on_stop(self) -> None:
        self.machine.stopped.set()
        with contextlib.suppress(Exception):
            self.machine.events.close()
        self.close_sessions()
        if not self.machine.keep:
            self.machine.network.actor = None
            self.machine.remove_all()

    def _listen(self) -> None:
        """Tell of every container that ends; after a gap of whatever ended in it."""
        machine = self.machine
        filters = {"type": "container", "event": "die", "label": f"kubekka.dev/node={machine.root}"}
        while not machine.stopped.is_set():
            with contextlib.suppress(Exception):
                events = machine.events = machine.api.events(filters=filters, decode=True)
                for entry in machine.listed(f"{TYPE}=container"):
                    if entry["State"] == "exited":
                        tell(self.ref, _Died(entry["Id"]))
                for event in events:
                    tell(self.ref, _Died(event["id"]))
            machine.stopped.wait(RECONNECT_S)

    @handles(_Died)
    def died(self, message: _Died) -> None:
        with contextlib.suppress(cri.CriError):
            status = self.container_status(cri.GetContainerStatus(message.container_id))
            for future in self.stop_waiters.pop(message.container_id, ()):
                future.resolve(None)
            if self.machine.watcher is not None and status.state == cri.CONTAINER_EXITED:
                self.machine.watcher.tell(cri.ContainerEvent(status))

    # -- sandboxes

    @handles(cri.RunPodSandbox)
    def run_pod_sandbox(self, message: cri.RunPodSandbox) -> cri.RunPodSandboxResponse:
        config, machine = message.config, self.machine
        ident = ""
        try:
            ident = machine.create_sandbox(config)
            place = machine.place(ident)
            place.mkdir(parents=True)
            machine.api.start(ident)
            ips: tuple[str, ...] = ()
            if not config.host_network:
                pid = machine.process_of(machine.inspect(ident, "sandbox"))
                ips = machine.network.attach(ident, pid, config)
                (place / "ip").write_text(" ".join(ips))
            for file, text in etc_files(config, ips).items():
                (place / file).write_text(text)
        except machine.errors as error:
            if ident:
                machine.delete(ident)
            raise docker_error(error) from error
        except (cri.CriError, OSError):
            machine.delete(ident)
            raise
        return cri.RunPodSandboxResponse(ident, ips)

    @handles(cri.StopPodSandbox)
    def stop_pod_sandbox(self, message: cri.StopPodSandbox) -> None:
        machine = self.machine
        for entry in machine.listed(f"{SANDBOX}={message.pod_sandbox_id}"):
            if entry["State"] == "running":
                self._kill(entry["Id"], "SIGKILL")
        with contextlib.suppress(cri.CriError):
            info = machine.inspect(message.pod_sandbox_id, "sandbox")
            if info["State"]["Running"]:
                self._kill(message.pod_sandbox_id, "SIGKILL")
                machine.network.release(message.pod_sandbox_id, machine.sandbox_config(info))

    @handles(cri.RemovePodSandbox)
    def remove_pod_sandbox(self, message: cri.RemovePodSandbox) -> None:
        machine = self.machine
        self.stop_pod_sandbox(cri.StopPodSandbox(message.pod_sandbox_id))
        for entry in machine.listed(f"{SANDBOX}={message.pod_sandbox_id}"):
            self._forget(entry["Id"])
        try:
            config = machine.sandbox_config(machine.inspect(message.pod_sandbox_id, "sandbox"))
        except cri.CriError:
            return
        machine.delete(message.pod_sandbox_id)
        for place in (machine.root / "messages").glob(f"{message.pod_sandbox_id}-*"):
            shutil.rmtree(place, ignore_errors=True)
        if not machine.listed(f"{POD_UID}={config.uid}"):
            machine.groups.remove(config.cgroup_parent)
            shutil.rmtree(machine.root / "volumes" / f"var/lib/kubelet/pods/{config.uid}", ignore_errors=True)

    def _forget(self, ident: str) -> None:
        self.machine.delete(ident)
        self.volumes.forget(ident)
        self.samples.pop(ident, None)
        for future in self.stop_waiters.pop(ident, ()):
            future.resolve(None)

    def _kill(self, ident: str, number: str) -> None:
        with contextlib.suppress(*self.machine.errors):
            self.machine.api.kill(ident, number)

    @handles(cri.GetPodSandboxStatus)
    def pod_sandbox_status(self, message: cri.GetPodSandboxStatus) -> cri.PodSandboxStatus:
        return self._sandbox_status(self.machine.inspect(message.pod_sandbox_id, "sandbox"))

    def _sandbox_status(self, info: dict[str, Any]) -> cri.PodSandboxStatus:
        c = self.machine.sandbox_config(info)
        return cri.PodSandboxStatus(
            info["Id"], c.name, c.namespace, c.uid, c.attempt, self.machine.alive(info), seconds(info["Created"]),
            self.machine.addresses(info["Id"]), c.labels, c.annotations,
        )  # fmt: skip

    @handles(cri.ListPodSandbox)
    def list_pod_sandbox(self, message: cri.ListPodSandbox) -> tuple[cri.PodSandboxStatus, ...]:
        return tuple(self._sandbox_status(i) for i in self._inspected("sandbox", message.pod_uid))

    def _inspected(self, kind: str, pod_uid: str) -> list[dict[str, Any]]:
        labels = [f"{TYPE}={kind.replace('sandbox', 'podsandbox')}", *([f"{POD_UID}={pod_uid}"] if pod_uid else [])]
        found = []
        for entry in self.machine.listed(*labels):
            with contextlib.suppress(cri.CriError):
                found.append(self.machine.inspect(entry["Id"], kind))
        return found

    @handles(cri.UpdatePodSandbox)
    def update_pod_sandbox(self, message: cri.UpdatePodSandbox) -> None:
        """Annotations mean nothing here."""

    @handles(cri.UpdateRuntimeConfig)
    def update_runtime_config(self, message: cri.UpdateRuntimeConfig) -> None:
        self.machine.network.set_cidr(message.pod_cidr)

    # -- containers

    @handles(cri.CreateContainer)
    def create_container(self, message: cri.CreateContainer) -> cri.CreateContainerResponse:
        machine, config = self.machine, message.config
        sandbox = machine.inspect(message.pod_sandbox_id, "sandbox")
        if not machine.alive(sandbox):
            raise cri.CriError("FailedPrecondition", f'sandbox container "{sandbox["Id"]}" is not running')
        uid = machine.sandbox_config(sandbox).uid
        key = f"{sandbox['Id']}-{config.name}-{config.attempt}"
        place = machine.root / "messages" / key
        place.mkdir(parents=True, exist_ok=True)
        binds = self._binds(sandbox["Id"], config)
        if config.termination_message_path:
            (place / "termination-log").touch()
            (place / "termination-log").chmod(0o666)
            binds.append(f"{place / 'termination-log'}:{config.termination_message_path}:rw")
        for number, mount in enumerate(config.mounts):
            if mount.image:
                raise cri.CriError("InvalidArgument", "image volumes are not supported by this runtime")
            source = self.volumes.place(key, number, uid, mount)
            options = ["ro" if mount.readonly else "rw"]
            if mount.propagation in ("HostToContainer", "Bidirectional"):
                options.append({"HostToContainer": "rslave", "Bidirectional": "rshared"}[mount.propagation])
            binds.append(f"{source}:{mount.container_path}:{','.join(options)}")
        try:
            ident = machine.create_container(sandbox, _plain(config), binds, {"kubekka.dev/key": key})
        except machine.errors as error:
            raise docker_error(error) from error
        return cri.CreateContainerResponse(ident)

    def _binds(self, sandbox_id: str, config: cri.ContainerConfig) -> list[str]:
        """The pod's own files, unless a volume is there."""
        taken = {m.container_path.rstrip("/") for m in config.mounts}
        place = self.machine.place(sandbox_id)
        mode = "ro" if config.readonly_rootfs else "rw"
        return [
            f"{place / f}:/etc/{f}:{mode}" for f in ("hosts", "resolv.conf", "hostname") if f"/etc/{f}" not in taken
        ]

    @handles(_Refresh)
    def refresh(self, message: _Refresh) -> None:
        self.volumes.refresh(self.log)

    @handles(cri.StartContainer)
    def start_container(self, message: cri.StartContainer) -> cri.StartContainerResponse:
        machine = self.machine
        machine.inspect(message.container_id, "container")
        try:
            machine.api.start(message.container_id)
        except machine.errors as error:
            refusal = docker_error(error)
            raise cri.CriError(
                "Unknown", f'failed to start container "{message.container_id}": {refusal.message}'
            ) from error
        return cri.StartContainerResponse(
            seconds(machine.inspect(message.container_id, "container")["State"]["StartedAt"])
        )

    @handles(cri.StopContainer)
    def stop_container(self, message: cri.StopContainer) -> Future[None] | None:
        info = self.machine.inspect(message.container_id, "container")
        if not info["State"]["Running"]:
            return None
        future: Future[None] = Future()
        self.stop_waiters.setdefault(message.container_id, []).append(future)
        if message.timeout_s > 0:
            self._kill(message.container_id, info["Config"].get("StopSignal") or "SIGTERM")
            self.after(message.timeout_s, _Deadline(message.container_id))
        else:
            self._kill(message.container_id, "SIGKILL")
        return future

    @handles(_Deadline)
    def deadline(self, message: _Deadline) -> None:
        if message.container_id in self.stop_waiters:
            self._kill(message.container_id, "SIGKILL")

    @handles(cri.RemoveContainer)
    def remove_container(self, message: cri.RemoveContainer) -> None:
        with contextlib.suppress(cri.CriError):
            info = self.machine.inspect(message.container_id, "container")
            self._forget(message.container_id)
            key = info["Config"]["Labels"].get("kubekka.dev/key", "")
            if key:
                shutil.rmtree(self.machine.root / "messages" / key, ignore_errors=True)

    @handles(cri.GetContainerStatus)
    def container_status(self, message: cri.GetContainerStatus) -> cri.ContainerStatus:
        return self._status(self.machine.inspect(message.container_id, "container"))

    def _status(self, info: dict[str, Any]) -> cri.ContainerStatus:
        state, config, labels = info["State"], self.machine.container_config(info), info["Config"]["Labels"]
        kind = cri.CONTAINER_EXITED
        if state["Running"]:
            kind = cri.CONTAINER_RUNNING
        elif state["Status"] in CREATED and not state.get("Error"):
            kind = cri.CONTAINER_CREATED
        code = int(state.get("ExitCode") or 0)
        began = seconds(state.get("StartedAt") or "")
        reason = (
            ""
            if kind != cri.CONTAINER_EXITED
            else "OOMKilled"
            if state.get("OOMKilled")
            else "Completed"
            if code == 0
            else "Error"
        )
        return cri.ContainerStatus(
            info["Id"], labels[SANDBOX], labels[POD_UID], config.name, config.attempt, kind, config.image,
            f"docker://{info['Image']}", seconds(info["Created"]), began,
            max(seconds(state.get("FinishedAt") or ""), began) if kind == cri.CONTAINER_EXITED else 0.0, code, code - 128 if code > 128 else 0, reason,
            self._termination_message(info, config, code) if kind == cri.CONTAINER_EXITED else "", config.annotations,
        )  # fmt: skip

    def _termination_message(self, info: dict[str, Any], config: cri.ContainerConfig, code: int) -> str:
        key = info["Config"]["Labels"].get("kubekka.dev/key", "")
        with contextlib.suppress(OSError):
            data = (self.machine.root / "messages" / key / "termination-log").read_bytes()
            if data:
                return data[-MESSAGE_MAX_BYTES:].decode(errors="replace")
        if code and config.termination_message_policy == "FallbackToLogsOnError":
            with contextlib.suppress(*self.machine.errors):
                text: bytes = self.machine.api.logs(info["Id"], tail=MESSAGE_LINES)
                return text[-MESSAGE_LOG_BYTES:].decode(errors="replace")
        return str(info["State"].get("Error") or "")

    @handles(cri.ListContainers)
    def list_containers(self, message: cri.ListContainers) -> tuple[cri.ContainerStatus, ...]:
        found = [self._status(i) for i in self._inspected("container", message.pod_uid)]
        return tuple(sorted(found, key=lambda s: s.created_at))

    @handles(cri.GetContainerEvents)
    def container_events(self, message: cri.GetContainerEvents) -> None:
        self.machine.watcher = message.watcher

    @handles(cri.UpdateContainerResources)
    def update_container_resources(self, message: cri.UpdateContainerResources) -> None:
        resources = message.resources
        try:
            self.machine.api.update_container(
                message.container_id,
                cpu_shares=resources.cpu_shares or 2,
                cpu_quota=resources.cpu_quota_us or -1,
                cpu_period=resources.cpu_period_us or 100_000,
                mem_limit=resources.memory_limit_bytes or -1,
                memswap_limit=resources.memory_limit_bytes or -1,
            )
        except self.machine.errors as error:
            raise docker_error(error) from error

    # -- figures and images

    @handles(cri.GetContainerStats)
    def container_stats(self, message: cri.GetContainerStats) -> Future[cri.ContainerStats]:
        info = self.machine.inspect(message.container_id, "container")
        return later(Future(), lambda: self._stats(info))

    @handles(cri.ListContainerStats)
    def list_container_stats(self, message: cri.ListContainerStats) -> Future[tuple[cri.ContainerStats, ...]]:
        running = [i for i in self._inspected("container", message.pod_uid) if i["State"]["Running"]]
        return later(Future(), lambda: tuple(self._stats(i) for i in running))

    def _stats(self, info: dict[str, Any]) -> cri.ContainerStats:
        config, now = self.machine.container_config(info), self.clock.now()
        figures = self.machine.api.stats(info["Id"], stream=False, one_shot=True)
        cpu = int(figures.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage", 0))
        held = figures.get("cpu_stats", {}).get("throttling_data", {})
        memory = figures.get("memory_stats", {})
        usage = int(memory.get("usage", 0))
        details = memory.get("stats", {})
        inactive = int(details.get("total_inactive_file", details.get("inactive_file", 0)))
        before = self.samples.get(info["Id"], (seconds(info["State"]["StartedAt"]), 0))
        rate = int(max(0, cpu - before[1]) / max(now - before[0], 1e-3))
        self.samples[info["Id"]] = (now, cpu)
        return cri.ContainerStats(
            info["Id"], config.name, info["Config"]["Labels"][POD_UID], now, cpu, rate, max(0, usage - inactive), usage,
            int(held.get("throttled_periods", 0)), int(held.get("throttled_time", 0)), int(held.get("periods", 0)),
        )  # fmt: skip

    @handles(cri.ProcessTree)
    def process_tree(self, message: cri.ProcessTree) -> tuple[cri.ProcessEntry, ...]:
        found = []
        for kind in ("sandbox", "container"):
            for info in self._inspected(kind, message.pod_uid):
                pid = self.machine.process_of(info)
                if started_ticks(pid):
                    name = "" if kind == "sandbox" else self.machine.container_config(info).name
                    command = " ".join([info["Path"], *info["Args"]])
                    found.append(cri.ProcessEntry(pid, 0, command, name))
        return tuple(found)

    @handles(cri.PullImage)
    def pull_image(self, message: cri.PullImage) -> Future[cri.PullImageResponse]:
        """From the daemon's own images or the local store; no registry is asked."""
        name = normal_reference(message.image)
        failures: tuple[type[Exception], ...] = (*self.machine.errors, ImageError, OSError)

        def work() -> cri.PullImageResponse:
            present = self.image_status(cri.ImageStatus(message.image))
            try:
                if present is None and self.machine.load_image(message.image):
                    present = self.image_status(cri.ImageStatus(message.image))
            except failures as error:
                raise cri.CriError("Unknown", f"failed to load image {name}: {error}", "ErrImagePull") from error
            if present is None:
                text = f"manifest for {name} not found: neither the daemon nor the local image store has it, and no registry is asked"
                raise cri.CriError("NotFound", f"Error response from daemon: {text}", "ErrImagePull")
            return cri.PullImageResponse(present.id, present.size_bytes, 0.0)

        return later(Future(), work)

    @handles(cri.ImageStatus)
    def image_status(self, message: cri.ImageStatus) -> cri.Image | None:
        if not message.image.startswith("sha256:"):
            normal_reference(message.image)
        try:
            return _image(self.machine.api.inspect_image(message.image))
        except self.machine.errors:
            return None

    @handles(cri.ListImages)
    def list_images(self, message: cri.ListImages) -> tuple[cri.Image, ...]:
        return tuple(_image(i) for i in self.machine.api.images())

    @handles(cri.RemoveImage)
    def remove_image(self, message: cri.RemoveImage) -> None:
        with contextlib.suppress(*self.machine.errors):
            self.machine.api.remove_image(message.image)

    @handles(cri.ImageFsInfo)
    def image_fs_info(self, message: cri.ImageFsInfo) -> cri.ImageFsInfoResponse:
        return cri.ImageFsInfoResponse(int(self.machine.api.df().get("LayersSize") or 0), 0)

    @handles(cri.Version)
    def version(self, message: cri.Version) -> cri.VersionResponse:
        return cri.VersionResponse("0.1.0", "docker", str(self.machine.api.version()["Version"]), "v1")


def _plain(config: cri.ContainerConfig) -> cri.ContainerConfig:
    """The configuration without whom to ask for volumes, as a label holds it."""
    import msgspec

    return msgspec.structs.replace(config, mounts=tuple(msgspec.structs.replace(m, source=None) for m in config.mounts))


def _image(info: dict[str, Any]) -> cri.Image:
    tags = tuple(t for t in info.get("RepoTags") or () if t != "<none>:<none>")
    return cri.Image(info["Id"], tags, tuple(info.get("RepoDigests") or ()), int(info.get("Size") or 0))
