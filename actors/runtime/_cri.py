"""The CRI runtime: containers by containerd or CRI-O, over the gRPC interface that a kubelet uses.

Owns the kubelet's side of the CRI v1: messages out of `protocol.cri`, streams by the runtime's
streaming URLs, logs from the files that the runtime writes. Addresses come from the runtime's own
network (CNI). The runtime keeps all records; this actor may come and go.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import msgspec

from actors.kernel import Child, Future, handles
from actors.runtime._cri_client import message as message_class
from actors.runtime._cri_configs import NODE, PROPAGATION, container_config, resources_config, sandbox_config
from actors.runtime._cri_machine import CriMachine, why_no_cri
from actors.runtime._cri_streams import CriStreams, later
from actors.runtime._images import normal_reference
from actors.runtime._linux import LinuxError
from actors.runtime._log_files import tail_text
from actors.runtime._oci_spec import lowest_oom_score
from actors.runtime._pod_files import etc_files
from actors.runtime._process_io import Relay, tell
from actors.runtime._volume_mounts import VOLUME_REFRESH_S, VolumeMounts
from actors.runtime.images import ImageError
from protocol import cri
from protocol.message import Message

__all__ = ["CriMachine", "CriRuntime", "why_no_cri"]

POLL_S = 0.3
PULL_TIMEOUT_S = 600.0
STOP_MARGIN_S = 30.0
LOG_MAX_BYTES, LOG_MAX_FILES = 10 << 20, 5
MESSAGE_MAX_BYTES, MESSAGE_LINES, MESSAGE_LOG_BYTES = 4096, 80, 2048
CREATED, RUNNING, EXITED = 0, 1, 2
STATES = {CREATED: cri.CONTAINER_CREATED, RUNNING: cri.CONTAINER_RUNNING, EXITED: cri.CONTAINER_EXITED}
KEY, POLICY, IMAGE = "kubekka.dev/key", "kubekka.dev/termination-message-policy", "kubekka.dev/image"
UID, POD_NAME = "io.kubernetes.pod.uid", "io.kubernetes.pod.name"
SANDBOX_CONFIG, PARENT = "kubekka.dev/config", "kubekka.dev/cgroup-parent"


class _Exited(Message, frozen=True):
    """The runtime lists a container as ended."""

    container_id: str


class _Refresh(Message, frozen=True):
    """Look whether the content of volumes has changed."""


class CriRuntime(CriStreams):
    """See the module."""

    def __init__(self, machine: CriMachine) -> None:
        super().__init__()
        self.machine = machine
        self.sessions = {}
        self.volumes = VolumeMounts(machine.root / "volumes")
        self.samples: dict[str, tuple[float, int]] = {}

    def on_start(self) -> None:
        self.relay = self.spawn(Child("relay", Relay))
        self.machine.stopped.clear()
        threading.Thread(target=self._listen, name="cri-relist", daemon=True).start()
        self.every(VOLUME_REFRESH_S, _Refresh())

    def on_stop(self) -> None:
        self.machine.stopped.set()
        self.close_sessions()
        if not self.machine.keep:
            self.machine.remove_all()

    def _listen(self) -> None:
        """List again and again, as the kubelet does with runtimes that tell no events; and put aside logs that
        have grown too large."""
        told: set[str] = set()
        while not self.machine.stopped.wait(POLL_S):
            try:
                found = self.machine.containers()
            except cri.CriError:
                continue
            ended = {c.id for c in found if c.state == EXITED}
            for ident in sorted(ended - told):
                tell(self.ref, _Exited(ident))
            told = ended
            for container in found:
                if container.state == RUNNING:
                    self._rotate(container)

    def _rotate(self, container: Any) -> None:
        path = Path(container.annotations.get("kubekka.dev/log", ""))
        with contextlib.suppress(OSError, cri.CriError):
            info = path.stat()
            if info.st_size > LOG_MAX_BYTES:
                path.rename(f"{path}.{int(info.st_mtime * 1000)}")
                self.machine.call("ReopenContainerLog", container_id=container.id)
                for old in sorted(path.parent.glob(path.name + ".*"))[: -(LOG_MAX_FILES - 1)]:
                    old.unlink()

    @handles(_Exited)
    def exited(self, message: _Exited) -> None:
        with contextlib.suppress(cri.CriError):
            status = self.container_status(cri.GetContainerStatus(message.container_id))
            if self.machine.watcher is not None and status.state == cri.CONTAINER_EXITED:
                self.machine.watcher.tell(cri.ContainerEvent(status))

    # -- sandboxes

    @handles(cri.RunPodSandbox)
    def run_pod_sandbox(self, message: cri.RunPodSandbox) -> cri.RunPodSandboxResponse:
        pod, machine = message.config, self.machine
        directory = machine.log_directory(pod)
        directory.mkdir(parents=True, exist_ok=True)
        config = sandbox_config(pod, str(machine.root), str(directory))
        config.annotations[SANDBOX_CONFIG] = msgspec.json.encode(pod).decode()
        config.annotations[PARENT] = pod.cgroup_parent
        handler = message.runtime_handler
        ident = machine.call("RunPodSandbox", config=config, runtime_handler=handler).pod_sandbox_id
        place = machine.root / "sandboxes" / ident
        place.mkdir(parents=True)
        status = machine.call("PodSandboxStatus", pod_sandbox_id=ident).status
        ips = _addresses(status)
        for file, text in etc_files(pod, ips).items():
            (place / file).write_text(text)
        return cri.RunPodSandboxResponse(ident, ips)

    @handles(cri.StopPodSandbox)
    def stop_pod_sandbox(self, message: cri.StopPodSandbox) -> None:
        with contextlib.suppress(cri.CriError):
            self.machine.call("StopPodSandbox", pod_sandbox_id=message.pod_sandbox_id)

    @handles(cri.RemovePodSandbox)
    def remove_pod_sandbox(self, message: cri.RemovePodSandbox) -> None:
        machine = self.machine
        try:
            status = machine.call("PodSandboxStatus", pod_sandbox_id=message.pod_sandbox_id).status
        except cri.CriError:
            return
        pod = self._pod(status)
        for container in machine.containers(sandbox_id=message.pod_sandbox_id):
            self.remove_container(cri.RemoveContainer(container.id))
        machine.delete_sandbox(message.pod_sandbox_id)
        if not machine.sandboxes(pod.uid):
            machine.groups.remove(pod.cgroup_parent)
            shutil.rmtree(machine.root / "volumes" / f"var/lib/kubelet/pods/{pod.uid}", ignore_errors=True)
            shutil.rmtree(machine.log_directory(pod), ignore_errors=True)

    @staticmethod
    def _pod(status: Any) -> cri.PodSandboxConfig:
        return msgspec.json.decode(status.annotations[SANDBOX_CONFIG], type=cri.PodSandboxConfig)

    @handles(cri.GetPodSandboxStatus)
    def pod_sandbox_status(self, message: cri.GetPodSandboxStatus) -> cri.PodSandboxStatus:
        status = self.machine.call("PodSandboxStatus", pod_sandbox_id=message.pod_sandbox_id).status
        pod = self._pod(status)
        return cri.PodSandboxStatus(
            status.id, pod.name, pod.namespace, pod.uid, pod.attempt, status.state == 0, status.created_at / 1e9,
            _addresses(status), pod.labels, pod.annotations,
        )  # fmt: skip

    @handles(cri.ListPodSandbox)
    def list_pod_sandbox(self, message: cri.ListPodSandbox) -> tuple[cri.PodSandboxStatus, ...]:
        found = []
        for sandbox in self.machine.sandboxes(message.pod_uid):
            with contextlib.suppress(cri.CriError):
                found.append(self.pod_sandbox_status(cri.GetPodSandboxStatus(sandbox.id)))
        return tuple(found)

    @handles(cri.UpdatePodSandbox)
    def update_pod_sandbox(self, message: cri.UpdatePodSandbox) -> None:
        """Annotations mean nothing here."""

    @handles(cri.UpdateRuntimeConfig)
    def update_runtime_config(self, message: cri.UpdateRuntimeConfig) -> None:
        config = message_class("RuntimeConfig")(network_config={"pod_cidr": message.pod_cidr})
        with contextlib.suppress(cri.CriError):
            self.machine.call("UpdateRuntimeConfig", runtime_config=config)

    # -- containers

    @handles(cri.CreateContainer)
    def create_container(self, message: cri.CreateContainer) -> cri.CreateContainerResponse:
        machine, config = self.machine, message.config
        sandbox = machine.call("PodSandboxStatus", pod_sandbox_id=message.pod_sandbox_id).status
        pod = self._pod(sandbox)
        key = f"{sandbox.id}-{config.name}-{config.attempt}"
        mounts = self._mounts(sandbox.id, pod, config, key)
        labels = {
            NODE: str(machine.root),
            UID: pod.uid,
            POD_NAME: pod.name,
            "io.kubernetes.container.name": config.name,
        }
        made = container_config(pod, config, mounts, labels, lowest_oom_score(config.resources.oom_score_adj))
        made.annotations[KEY] = key
        made.annotations[POLICY] = config.termination_message_policy
        made.annotations[IMAGE] = config.image
        made.annotations["kubekka.dev/log"] = str(machine.log_directory(pod) / made.log_path)
        whole = sandbox_config(pod, str(machine.root), str(machine.log_directory(pod)))
        answer = machine.call(
            "CreateContainer", pod_sandbox_id=message.pod_sandbox_id, config=made, sandbox_config=whole
        )
        return cri.CreateContainerResponse(answer.container_id)

    def _mounts(self, sandbox_id: str, pod: cri.PodSandboxConfig, config: cri.ContainerConfig, key: str) -> list[Any]:
        mount_class, machine = message_class("Mount"), self.machine
        taken = {m.container_path.rstrip("/") for m in config.mounts}
        found = []
        if "/etc/hosts" not in taken:
            hosts = machine.root / "sandboxes" / sandbox_id / "hosts"
            found.append(
                mount_class(container_path="/etc/hosts", host_path=str(hosts), readonly=config.readonly_rootfs)
            )
        if config.termination_message_path:
            place = machine.root / "messages" / key
            place.mkdir(parents=True, exist_ok=True)
            (place / "termination-log").touch()
            (place / "termination-log").chmod(0o666)
            found.append(
                mount_class(container_path=config.termination_message_path, host_path=str(place / "termination-log"))
            )
        for number, mount in enumerate(config.mounts):
            if mount.image:
                found.append(
                    mount_class(container_path=mount.container_path, readonly=True, image={"image": mount.image},
                                image_sub_path=mount.sub_path)
                )  # fmt: skip
                continue
            source = self.volumes.place(key, number, pod.uid, mount)
            found.append(
                mount_class(
                    container_path=mount.container_path,
                    host_path=str(source),
                    readonly=mount.readonly,
                    propagation=PROPAGATION.get(mount.propagation, 0),
                )
            )
        return found

    @handles(_Refresh)
    def refresh(self, message: _Refresh) -> None:
        self.volumes.refresh(self.log)

    @handles(cri.StartContainer)
    def start_container(self, message: cri.StartContainer) -> cri.StartContainerResponse:
        self.machine.call("StartContainer", container_id=message.container_id)
        status = self.machine.call("ContainerStatus", container_id=message.container_id).status
        return cri.StartContainerResponse(status.started_at / 1e9)

    @handles(cri.StopContainer)
    def stop_container(self, message: cri.StopContainer) -> Future[None]:
        seconds = int(message.timeout_s + 0.999)

        def work() -> None:
            self.machine.call(
                "StopContainer", seconds + STOP_MARGIN_S, container_id=message.container_id, timeout=seconds
            )

        return later(Future(), work)

    @handles(cri.RemoveContainer)
    def remove_container(self, message: cri.RemoveContainer) -> None:
        with contextlib.suppress(cri.CriError):
            status = self.machine.call("ContainerStatus", container_id=message.container_id).status
            self.machine.call("RemoveContainer", container_id=message.container_id)
            key = status.annotations.get(KEY, "")
            self.volumes.forget(key)
            self.samples.pop(message.container_id, None)
            if key:
                shutil.rmtree(self.machine.root / "messages" / key, ignore_errors=True)
            for path in Path(status.log_path).parent.glob(Path(status.log_path).name + "*"):
                path.unlink()

    @handles(cri.GetContainerStatus)
    def container_status(self, message: cri.GetContainerStatus) -> cri.ContainerStatus:
        answer = self.machine.call("ContainerStatus", container_id=message.container_id, verbose=True)
        status, notes = answer.status, answer.status.annotations
        exited = status.state == EXITED
        return cri.ContainerStatus(
            status.id,
            _sandbox_of(answer) or notes.get(KEY, "").partition("-")[0],
            status.labels.get(UID, ""),
            status.metadata.name,
            status.metadata.attempt,
            STATES.get(status.state, cri.CONTAINER_EXITED),
            notes.get(IMAGE, "") or status.image.image,
            status.image_ref,
            status.created_at / 1e9,
            status.started_at / 1e9,
            max(status.finished_at, status.started_at) / 1e9 if exited else 0.0,
            status.exit_code,
            status.exit_code - 128 if status.exit_code > 128 else 0,
            status.reason if exited else "",
            self._termination_message(status) if exited else "",
        )

    def _termination_message(self, status: Any) -> str:
        notes = status.annotations
        with contextlib.suppress(OSError):
            data = (self.machine.root / "messages" / notes.get(KEY, "") / "termination-log").read_bytes()
            if data:
                return data[-MESSAGE_MAX_BYTES:].decode(errors="replace")
        if status.exit_code and notes.get(POLICY) == "FallbackToLogsOnError":
            return tail_text(Path(status.log_path), MESSAGE_LINES, MESSAGE_LOG_BYTES)
        return str(status.message)

    @handles(cri.ListContainers)
    def list_containers(self, message: cri.ListContainers) -> tuple[cri.ContainerStatus, ...]:
        found = []
        for container in self.machine.containers(message.pod_uid):
            with contextlib.suppress(cri.CriError):
                found.append(self.container_status(cri.GetContainerStatus(container.id)))
        return tuple(sorted(found, key=lambda s: s.created_at))

    @handles(cri.GetContainerEvents)
    def container_events(self, message: cri.GetContainerEvents) -> None:
        self.machine.watcher = message.watcher

    @handles(cri.UpdateContainerResources)
    def update_container_resources(self, message: cri.UpdateContainerResources) -> None:
        linux = resources_config(message.resources, lowest_oom_score(message.resources.oom_score_adj))
        self.machine.call("UpdateContainerResources", container_id=message.container_id, linux=linux)

    # -- figures and images

    @handles(cri.GetContainerStats)
    def container_stats(self, message: cri.GetContainerStats) -> cri.ContainerStats:
        return self._stats(self.machine.call("ContainerStats", container_id=message.container_id).stats)

    @handles(cri.ListContainerStats)
    def list_container_stats(self, message: cri.ListContainerStats) -> tuple[cri.ContainerStats, ...]:
        labels = {NODE: str(self.machine.root), **({UID: message.pod_uid} if message.pod_uid else {})}
        found = self.machine.call("ListContainerStats", filter={"label_selector": labels}).stats
        return tuple(self._stats(s) for s in found)

    def _stats(self, stats: Any) -> cri.ContainerStats:
        now, cpu = self.clock.now(), stats.cpu.usage_core_nano_seconds.value
        before = self.samples.get(stats.attributes.id)
        rate = stats.cpu.usage_nano_cores.value
        if not rate and before is not None:
            rate = int(max(0, cpu - before[1]) / max(now - before[0], 1e-3))
        self.samples[stats.attributes.id] = (now, cpu)
        layer = cri.FilesystemUsage(stats.writable_layer.used_bytes.value, stats.writable_layer.inodes_used.value)
        memory = stats.memory
        return cri.ContainerStats(
            stats.attributes.id,
            stats.attributes.metadata.name,
            stats.attributes.labels.get(UID, ""),
            now,
            cpu,
            rate,
            memory.working_set_bytes.value,
            memory.usage_bytes.value or memory.working_set_bytes.value,
            writable_layer=layer,
        )

    @handles(cri.ProcessTree)
    def process_tree(self, message: cri.ProcessTree) -> tuple[cri.ProcessEntry, ...]:
        found = []
        for sandbox in self.machine.sandboxes(message.pod_uid):
            pid = self.pause_pid(sandbox.id)
            if pid:
                found.append(cri.ProcessEntry(pid, 0, "/pause", "", dict.fromkeys(("net", "ipc", "uts"), pid)))
        for container in self.machine.containers(message.pod_uid):
            pid = self.container_pid(container.id) if container.state == RUNNING else 0
            if pid:
                found.append(cri.ProcessEntry(pid, 0, _command(pid), container.metadata.name))
        return tuple(found)

    @handles(cri.PullImage)
    def pull_image(self, message: cri.PullImage) -> Future[cri.PullImageResponse]:
        """What the local store has, the runtime is handed; else it may reach a registry itself."""
        normal_reference(message.image)

        def work() -> cri.PullImageResponse:
            present = self.image_status(cri.ImageStatus(message.image))
            try:
                if present is None and self.machine.load_image(message.image):
                    present = self.image_status(cri.ImageStatus(message.image))
                if present is None:
                    auth = {"username": message.auth[0], "password": message.auth[1]} if message.auth else None
                    self.machine.call("PullImage", PULL_TIMEOUT_S, image={"image": message.image}, auth=auth)
                    present = self.image_status(cri.ImageStatus(message.image))
            except (LinuxError, ImageError, OSError) as error:
                raise cri.CriError("Unknown", f"failed to load image: {error}", "ErrImagePull") from error
            except cri.CriError as error:
                raise cri.CriError(error.code, error.message, "ErrImagePull") from error
            if present is None:
                raise cri.CriError("NotFound", f"image {message.image} not found", "ErrImagePull")
            return cri.PullImageResponse((present.repo_digests or (present.id,))[0], present.size_bytes, 0.0)

        return later(Future(), work)

    @handles(cri.ImageStatus)
    def image_status(self, message: cri.ImageStatus) -> cri.Image | None:
        if not message.image.startswith("sha256:"):
            normal_reference(message.image)
        image = self.machine.call("ImageStatus", image={"image": message.image}).image
        return _image(image) if image.id else None

    @handles(cri.ListImages)
    def list_images(self, message: cri.ListImages) -> tuple[cri.Image, ...]:
        return tuple(_image(i) for i in self.machine.call("ListImages").images)

    @handles(cri.RemoveImage)
    def remove_image(self, message: cri.RemoveImage) -> None:
        self.machine.call("RemoveImage", image={"image": message.image})

    @handles(cri.ImageFsInfo)
    def image_fs_info(self, message: cri.ImageFsInfo) -> cri.ImageFsInfoResponse:
        systems = self.machine.call("ImageFsInfo").image_filesystems
        return cri.ImageFsInfoResponse(
            sum(s.used_bytes.value for s in systems), sum(s.inodes_used.value for s in systems)
        )

    @handles(cri.Version)
    def version(self, message: cri.Version) -> cri.VersionResponse:
        return cri.VersionResponse("0.1.0", self.machine.prefix, self.machine.version, "v1")


def _addresses(status: Any) -> tuple[str, ...]:
    network = status.network
    return tuple(ip for ip in (network.ip, *(extra.ip for extra in network.additional_ips)) if ip)


def _image(image: Any) -> cri.Image:
    return cri.Image(image.id, tuple(image.repo_tags), tuple(image.repo_digests), int(image.size), image.pinned)


def _sandbox_of(answer: Any) -> str:
    import json

    try:
        return str(json.loads(answer.info.get("info", "{}")).get("sandboxID", ""))
    except ValueError:
        return ""


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ").strip()
    return ""
