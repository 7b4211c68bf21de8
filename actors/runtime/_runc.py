"""The OCI runtime: containers from images of the local store, by Debian's runc or crun. Root, Linux.

Owns what a low-level runtime does not: the pod's sandbox (a pause container that holds the
namespaces), root file systems as overlays of image layers, the bundles, and who is told when a
container has ended. Each container has a shim (`_shim`) beside it, so that stopping or killing
this runtime, the kubelet or the whole program ends no container; `on_start` takes up what runs.

It runs on a thread of its own, where it may block; what takes long is done on helper threads.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import orjson

from actors.kernel import Child, Future, handles
from actors.runtime._images import normal_reference
from actors.runtime._linux import LinuxError, pod_resources, started_ticks
from actors.runtime._log_files import tail_text
from actors.runtime._oci_spec import bind, container_spec, identity, pause_spec, process_spec, resources_spec
from actors.runtime._pod_files import etc_files
from actors.runtime._process_io import Relay, tell
from actors.runtime._runc_machine import OciContainer, OciSandbox, RuncMachine
from actors.runtime._runc_streams import RuncStreams, connect_shim
from actors.runtime._volume_mounts import VOLUME_REFRESH_S, VolumeMounts, inside
from actors.runtime.images import ImageError, LocalImage
from protocol import cri
from protocol.message import Message

__all__ = ["RuncRuntime"]

SHIM = Path(__file__).with_name("_shim.py")
LOG_MAX_BYTES, LOG_MAX_FILES = 10 << 20, 5
"""The kubelet's containerLogMaxSize and containerLogMaxFiles."""
MESSAGE_MAX_BYTES, MESSAGE_LINES, MESSAGE_LOG_BYTES = 4096, 80, 2048
SHIM_TIMEOUT_S = 60.0


class _ShimEnded(Message, frozen=True):
    """A container's shim has gone."""

    container_id: str


class _Deadline(Message, frozen=True):
    """A container that was asked to stop must end now."""

    container_id: str


class _Refresh(Message, frozen=True):
    """Look whether the content of volumes has changed."""


class RuncRuntime(RuncStreams):
    """See the module. `network`: the node's network actor, spawned below this one; without it, pods
    are on a bridge of the runtime's own."""

    def __init__(self, machine: RuncMachine, network: Child | None = None) -> None:
        super().__init__()
        self.machine = machine
        self.network = network
        self.sessions = {}
        self.stop_waiters: dict[str, list[Future[None]]] = {}
        self.volumes = VolumeMounts(machine.root / "volumes")
        self.samples: dict[str, tuple[float, int, int]] = {}

    def on_start(self) -> None:
        self.relay = self.spawn(Child("relay", Relay))
        if self.network is not None:
            self.machine.network.actor = self.spawn(self.network)
        for container in list(self.machine.containers.values()):
            if container.state != cri.CONTAINER_EXITED:
                self._watch(container)
        self.every(VOLUME_REFRESH_S, _Refresh())

    def on_stop(self) -> None:
        self.close_sessions()
        if not self.machine.keep:
            self.machine.network.actor = None  # our children have stopped before us; interfaces go with their pods
            self.machine.remove_all()

    def _identifier(self) -> str:
        return f"{self.random.getrandbits(256):064x}"

    # -- sandboxes

    @handles(cri.RunPodSandbox)
    def run_pod_sandbox(self, message: cri.RunPodSandbox) -> cri.RunPodSandboxResponse:
        config, machine = message.config, self.machine
        if not config.host_users:
            raise cri.CriError("InvalidArgument", "user namespaces are not supported by this runtime")
        name = f"{config.name}_{config.namespace}_{config.uid}_{config.attempt}"
        for other in machine.sandboxes.values():
            if (other.config.uid, other.config.attempt) == (config.uid, config.attempt) and not other.stopped:
                raise cri.CriError("AlreadyExists", f'sandbox name "{name}" is reserved for "{other.id}"')
        sandbox = OciSandbox(self._identifier(), config, self.clock.now())
        machine.sandboxes[sandbox.id] = sandbox
        place = machine.place(sandbox)
        place.mkdir(parents=True)
        try:
            if not config.host_ipc:
                machine.make_shm(sandbox)
            self._start_pause(sandbox, place)
            if not config.host_network:
                sandbox.ips = machine.network.attach(sandbox.id, sandbox.pid, config)
            for file, text in etc_files(config, sandbox.ips).items():
                (place / file).write_text(text)
            machine.save(sandbox)
        except (LinuxError, OSError) as error:
            machine.delete_sandbox(sandbox.id)
            raise cri.CriError("Unknown", f"failed to create containerd task: {error}") from error
        except cri.CriError:
            machine.delete_sandbox(sandbox.id)
            raise
        return cri.RunPodSandboxResponse(sandbox.id, sandbox.ips)

    def _start_pause(self, sandbox: OciSandbox, place: Path) -> None:
        machine = self.machine
        group = machine.pause_group(sandbox.config)
        spec = pause_spec(sandbox.config, str(machine.root / "pause"), group)
        (place / "config.json").write_bytes(orjson.dumps(spec))
        pid_file = place / "pid"
        command = machine.command("--log", str(place / "runtime.log"), "--log-format", "json", "run", "--detach")
        done = subprocess.run(
            [*command, "--bundle", str(place), "--pid-file", str(pid_file), sandbox.id],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if done.returncode:
            raise LinuxError(_complaint(place / "runtime.log") or f"exit status {done.returncode}")
        sandbox.pid = int(pid_file.read_text())
        sandbox.began = started_ticks(sandbox.pid)

    @handles(cri.StopPodSandbox)
    def stop_pod_sandbox(self, message: cri.StopPodSandbox) -> None:
        for container in self.machine.containers.values():
            if container.sandbox_id == message.pod_sandbox_id and container.state == cri.CONTAINER_RUNNING:
                self.machine.kill(container, "KILL", everyone=True)
        self.machine.stop_sandbox(message.pod_sandbox_id)

    @handles(cri.RemovePodSandbox)
    def remove_pod_sandbox(self, message: cri.RemovePodSandbox) -> None:
        for container in [c for c in self.machine.containers.values() if c.sandbox_id == message.pod_sandbox_id]:
            self._forget(container.id)
        self.machine.delete_sandbox(message.pod_sandbox_id)

    def _forget(self, ident: str) -> None:
        self.machine.delete_container(ident)
        self.samples.pop(ident, None)
        self.volumes.forget(ident)
        for future in self.stop_waiters.pop(ident, ()):
            future.resolve(None)

    @handles(cri.GetPodSandboxStatus)
    def pod_sandbox_status(self, message: cri.GetPodSandboxStatus) -> cri.PodSandboxStatus:
        return self._sandbox(message.pod_sandbox_id).status()

    @handles(cri.ListPodSandbox)
    def list_pod_sandbox(self, message: cri.ListPodSandbox) -> tuple[cri.PodSandboxStatus, ...]:
        return tuple(s.status() for s in self.machine.sandboxes.values() if message.pod_uid in ("", s.config.uid))

    @handles(cri.UpdatePodSandbox)
    def update_pod_sandbox(self, message: cri.UpdatePodSandbox) -> None:
        """Annotations mean nothing here."""

    @handles(cri.UpdateRuntimeConfig)
    def update_runtime_config(self, message: cri.UpdateRuntimeConfig) -> None:
        self.machine.network.set_cidr(message.pod_cidr)

    # -- containers

    @handles(cri.CreateContainer)
    def create_container(self, message: cri.CreateContainer) -> cri.CreateContainerResponse:
        sandbox, config, machine = self._sandbox(message.pod_sandbox_id), message.config, self.machine
        if not sandbox.ready:
            raise cri.CriError("FailedPrecondition", f'sandbox container "{sandbox.id}" is not running')
        for other in machine.containers.values():
            if other.sandbox_id == sandbox.id and (other.config.name, other.config.attempt) == (
                config.name,
                config.attempt,
            ):
                raise cri.CriError("AlreadyExists", f'container name "{config.name}" is reserved for "{other.id}"')
        image = self._image(config.image)
        if image is None:
            raise cri.CriError("NotFound", f'failed to resolve image "{config.image}": not found')
        ident = self._identifier()
        place = machine.root / "containers" / ident
        place.mkdir(parents=True)
        try:
            return self._create(ident, place, sandbox, config, image)
        except (LinuxError, OSError, ImageError) as error:
            machine.clear(place, ident)
            raise cri.CriError("Unknown", f"failed to create container: {error}") from error
        except cri.CriError:
            machine.clear(place, ident)
            raise

    def _create(
        self, ident: str, place: Path, sandbox: OciSandbox, config: cri.ContainerConfig, image: LocalImage
    ) -> cri.CreateContainerResponse:
        machine = self.machine
        machine.mount_image(image, ident, place, writable=True)
        defaults = image.config.get("config") or {}
        rootfs = place / "rootfs"
        who = identity(rootfs, config, str(defaults.get("User") or ""))
        process = process_spec(config, defaults, who, sandbox.config.hostname or sandbox.config.name)
        cri_image = image.as_cri()
        container = OciContainer(
            ident,
            sandbox.id,
            sandbox.config.uid,
            msgspec.structs.replace(
                config, mounts=tuple(msgspec.structs.replace(m, source=None) for m in config.mounts)
            ),
            cri_image.repo_digests[0] if cri_image.repo_digests else cri_image.id,
            cri_image.id,
            self.clock.now(),
            str(machine.log_directory(sandbox.config) / (config.log_path or f"{config.name}/{config.attempt}.log")),
            process,
            str(defaults.get("StopSignal") or "SIGTERM"),
        )
        group = f"{sandbox.config.cgroup_parent or '/kubepods/besteffort/pod' + sandbox.config.uid}/{config.name}"
        mounts = self._mounts(container, sandbox, config, place)
        spec = container_spec(sandbox.config, config, process, str(rootfs), mounts, sandbox.pid, group, machine.unified)
        (place / "config.json").write_bytes(orjson.dumps(spec))
        settings = {
            "runtime": machine.launcher,
            "state": str(machine.root / "state"),
            "id": ident,
            "log": container.log_file,
            "tty": config.tty,
            "stdin": config.stdin,
            "stdin_once": config.stdin_once,
            "log_max_bytes": LOG_MAX_BYTES,
            "log_max_files": LOG_MAX_FILES,
        }
        (place / "shim.json").write_text(json.dumps(settings))
        machine.containers[ident] = container
        machine.save(container)
        self._limit_pod(sandbox)
        return cri.CreateContainerResponse(ident)

    def _limit_pod(self, sandbox: OciSandbox) -> None:
        """The pod's own group: the sums of its containers."""
        latest = {
            c.config.name: c.config.resources for c in self.machine.containers.values() if c.sandbox_id == sandbox.id
        }
        parent = sandbox.config.cgroup_parent
        if parent:
            self.machine.groups.make(parent, pod_resources(latest.values()))

    def _mounts(
        self, container: OciContainer, sandbox: OciSandbox, config: cri.ContainerConfig, place: Path
    ) -> list[dict[str, Any]]:
        """The pod's files and shared memory, the termination message, and the volumes."""
        own = self.machine.place(sandbox)
        taken = {m.container_path.rstrip("/") for m in config.mounts}
        readonly = config.readonly_rootfs
        found = [
            bind(f"/etc/{name}", str(own / name), readonly)
            for name in ("hostname", "hosts", "resolv.conf")
            if f"/etc/{name}" not in taken
        ]
        if "/dev/shm" not in taken:
            found.append(bind("/dev/shm", "/dev/shm" if sandbox.config.host_ipc else str(own / "shm"), False))
        if config.termination_message_path and config.termination_message_path not in taken:
            (place / "termination-log").touch(mode=0o666)
            (place / "termination-log").chmod(0o666)
            found.append(bind(config.termination_message_path, str(place / "termination-log"), False))
        for number, mount in enumerate(sorted(config.mounts, key=lambda m: m.container_path.count("/"))):
            source = self._volume(container, mount, place, number)
            found.append(bind(mount.container_path, str(source), mount.readonly, mount.propagation))
        return found

    def _volume(self, container: OciContainer, mount: cri.Mount, place: Path, number: int) -> Path:
        """A volume's directory (or file) on this machine."""
        if mount.image:
            image = self._image(mount.image)
            if image is None:
                raise cri.CriError("NotFound", f'failed to resolve image "{mount.image}": not found')
            volume = place / f"image-{number}"
            volume.mkdir()
            self.machine.mount_image(image, f"{container.id}-{number}", volume, writable=False)
            return inside(volume / "rootfs", mount.sub_path)
        return self.volumes.place(container.id, number, container.pod_uid, mount)

    @handles(_Refresh)
    def refresh(self, message: _Refresh) -> None:
        self.volumes.refresh(self.log)

    @handles(cri.StartContainer)
    def start_container(self, message: cri.StartContainer) -> cri.StartContainerResponse:
        container = self._find(message.container_id)
        machine = self.machine
        if container.state != cri.CONTAINER_CREATED:
            raise cri.CriError("FailedPrecondition", f"container is in {container.state} state")
        place = machine.place(container)
        shim = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SHIM), str(place)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, cwd="/", env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        )  # fmt: skip
        assert shim.stdout is not None
        with shim.stdout:
            line = shim.stdout.readline()
        shim.wait(SHIM_TIMEOUT_S)
        answer = orjson.loads(line) if line else {"error": "the shim ended at once"}
        try:
            if "error" in answer:
                raise LinuxError(answer["error"])
            container.pid = int(answer["pid"])
            machine.oci("start", container.id)
        except LinuxError as error:
            with contextlib.suppress(LinuxError):
                machine.oci("delete", "--force", container.id)
            container.state, container.exit_code, container.reason = cri.CONTAINER_EXITED, 128, "StartError"
            container.finished_at = self.clock.now()
            container.message = f"failed to create containerd task: failed to create shim task: {error}"
            machine.save(container)
            raise cri.CriError("Unknown", f"failed to start container: {error}") from error
        container.state, container.started_at = cri.CONTAINER_RUNNING, self.clock.now()
        machine.save(container)
        self._watch(container)
        return cri.StartContainerResponse(container.started_at)

    def _watch(self, container: OciContainer) -> None:
        """Be told when the container's shim ends, which it does with the container."""
        ident, place = container.id, self.machine.place(container)

        def run() -> None:
            with contextlib.suppress(OSError), connect_shim(place, b"W") as connection:
                while connection.recv(1 << 12):
                    pass
            tell(self.ref, _ShimEnded(ident))

        if container.state == cri.CONTAINER_RUNNING:
            threading.Thread(target=run, name=f"watch-{ident[:8]}", daemon=True).start()

    @handles(_ShimEnded)
    def shim_ended(self, message: _ShimEnded) -> None:
        container = self.machine.containers.get(message.container_id)
        if container is None or container.state != cri.CONTAINER_RUNNING:
            return
        machine = self.machine
        record = machine.exit_record(container)
        if record is None:  # the shim was killed: nobody reads the container's output any more
            record = {"code": 137, "signal": 9, "finished_at": self.clock.now()}
        container.exit_code, container.signal = int(record["code"]), int(record["signal"])
        container.finished_at = max(float(record["finished_at"]), container.started_at)
        group = machine.group_of(container)
        killed = machine.groups.statistics(group)["oom_kills"]
        with contextlib.suppress(LinuxError):
            machine.oci("delete", "--force", container.id)
        machine.groups.remove(group)
        container.state = cri.CONTAINER_EXITED
        container.reason = "Completed" if container.exit_code == 0 else "OOMKilled" if killed else "Error"
        container.message = self._termination_message(container)
        machine.save(container)
        for future in self.stop_waiters.pop(container.id, ()):
            future.resolve(None)
        if machine.watcher is not None:
            machine.watcher.tell(cri.ContainerEvent(container.status()))

    def _termination_message(self, container: OciContainer) -> str:
        text = ""
        with contextlib.suppress(OSError):
            data = (self.machine.place(container) / "termination-log").read_bytes()
            text = data[-MESSAGE_MAX_BYTES:].decode(errors="replace")
        if not text and container.exit_code and container.config.termination_message_policy == "FallbackToLogsOnError":
            text = tail_text(Path(container.log_file), MESSAGE_LINES, MESSAGE_LOG_BYTES)
        return text

    @handles(cri.StopContainer)
    def stop_container(self, message: cri.StopContainer) -> Future[None] | None:
        container = self._find(message.container_id)
        if container.state != cri.CONTAINER_RUNNING:
            return None
        future: Future[None] = Future()
        self.stop_waiters.setdefault(container.id, []).append(future)
        if message.timeout_s > 0:
            self.machine.kill(container, container.stop_signal)
            self.after(message.timeout_s, _Deadline(container.id))
        else:
            self.machine.kill(container, "KILL", everyone=True)
        return future

    @handles(_Deadline)
    def deadline(self, message: _Deadline) -> None:
        container = self.machine.containers.get(message.container_id)
        if container is not None and container.state == cri.CONTAINER_RUNNING:
            self.machine.kill(container, "KILL", everyone=True)

    @handles(cri.RemoveContainer)
    def remove_container(self, message: cri.RemoveContainer) -> None:
        self._forget(message.container_id)

    @handles(cri.GetContainerStatus)
    def container_status(self, message: cri.GetContainerStatus) -> cri.ContainerStatus:
        return self._find(message.container_id).status()

    @handles(cri.ListContainers)
    def list_containers(self, message: cri.ListContainers) -> tuple[cri.ContainerStatus, ...]:
        found = [c for c in self.machine.containers.values() if message.pod_uid in ("", c.pod_uid)]
        return tuple(c.status() for c in sorted(found, key=lambda c: c.created_at))

    @handles(cri.GetContainerEvents)
    def container_events(self, message: cri.GetContainerEvents) -> None:
        self.machine.watcher = message.watcher

    @handles(cri.UpdateContainerResources)
    def update_container_resources(self, message: cri.UpdateContainerResources) -> None:
        container, machine = self._running(message.container_id), self.machine
        resources = resources_spec(message.resources, machine.unified)
        resources["cpu"].setdefault("quota", -1)
        resources.setdefault("memory", {"limit": -1})
        container.config = msgspec.structs.replace(container.config, resources=message.resources)
        sandbox = machine.sandboxes.get(container.sandbox_id)
        try:
            if sandbox is not None:  # a pod's group must hold what its containers get
                machine.groups.make(sandbox.config.cgroup_parent, cri.ContainerResources())
            machine.oci("update", "--resources", "-", container.id, given=orjson.dumps(resources))
        except LinuxError as error:
            raise cri.CriError("Unknown", f"failed to update resources: {error}") from error
        if sandbox is not None:
            self._limit_pod(sandbox)
        machine.save(container)

    # -- figures

    @handles(cri.GetContainerStats)
    def container_stats(self, message: cri.GetContainerStats) -> cri.ContainerStats:
        return self._stats(self._find(message.container_id))

    @handles(cri.ListContainerStats)
    def list_container_stats(self, message: cri.ListContainerStats) -> tuple[cri.ContainerStats, ...]:
        return tuple(
            self._stats(c)
            for c in self.machine.containers.values()
            if c.state == cri.CONTAINER_RUNNING and message.pod_uid in ("", c.pod_uid)
        )

    def _stats(self, container: OciContainer) -> cri.ContainerStats:
        now = self.clock.now()
        figures = self.machine.groups.statistics(self.machine.group_of(container))
        before = self.samples.get(container.id, (container.started_at, 0, 0))
        rate = before[2]
        if now - before[0] >= 1.0:
            rate = int(max(0, figures["cpu_ns"] - before[1]) / (now - before[0]))
            self.samples[container.id] = (now, figures["cpu_ns"], rate)
        return cri.ContainerStats(
            container.id,
            container.config.name,
            container.pod_uid,
            now,
            figures["cpu_ns"],
            rate,
            max(0, figures["memory"] - figures["inactive"]),
            figures["memory"],
            figures["throttled"],
            figures["throttled_ns"],
            figures["periods"],
            _usage(self.machine.place(container) / "upper"),
        )

    @handles(cri.ProcessTree)
    def process_tree(self, message: cri.ProcessTree) -> tuple[cri.ProcessEntry, ...]:
        found: list[cri.ProcessEntry] = []
        for sandbox in self.machine.sandboxes.values():
            if message.pod_uid in ("", sandbox.config.uid) and sandbox.ready:
                owned = dict.fromkeys(("net", "ipc", "uts"), sandbox.pid)
                found.append(cri.ProcessEntry(sandbox.pid, _parent(sandbox.pid), "/pause", "", owned))
                found += [
                    cri.ProcessEntry(c.pid, _parent(c.pid), " ".join(c.process["args"]), c.config.name, owned)
                    for c in self.machine.containers.values()
                    if c.sandbox_id == sandbox.id and c.state == cri.CONTAINER_RUNNING
                ]
        return tuple(found)

    # -- images

    def _image(self, name: str) -> LocalImage | None:
        try:
            if not name.startswith("sha256:"):
                normal_reference(name)  # its CriError is the kubelet's InvalidImageName
            return self.machine.images.find(name)
        except ImageError as error:
            raise cri.CriError("Unknown", str(error), "ImageInspectError") from error

    @handles(cri.PullImage)
    def pull_image(self, message: cri.PullImage) -> cri.PullImageResponse:
        """What is in the store is as good as pulled; nothing else can be."""
        image = self._image(message.image)
        if image is None:
            name = normal_reference(message.image)
            text = f'failed to pull and unpack image "{name}": it is not in the local image store, and this runtime reaches no registry'
            raise cri.CriError("NotFound", text, "ErrImagePull")
        return cri.PullImageResponse(image.as_cri().repo_digests[0], image.size_bytes, 0.0)

    @handles(cri.ImageStatus)
    def image_status(self, message: cri.ImageStatus) -> cri.Image | None:
        image = self._image(message.image)
        return image.as_cri() if image is not None else None

    @handles(cri.ListImages)
    def list_images(self, message: cri.ListImages) -> tuple[cri.Image, ...]:
        return tuple(i.as_cri() for i in self.machine.images.all())

    @handles(cri.RemoveImage)
    def remove_image(self, message: cri.RemoveImage) -> None:
        with contextlib.suppress(ImageError):
            self.machine.images.remove(message.image)

    @handles(cri.ImageFsInfo)
    def image_fs_info(self, message: cri.ImageFsInfo) -> cri.ImageFsInfoResponse:
        usage = _usage(self.machine.images.root)
        return cri.ImageFsInfoResponse(usage.used_bytes, usage.inodes_used)

    @handles(cri.Version)
    def version(self, message: cri.Version) -> cri.VersionResponse:
        words = self.machine.oci("--version").split()
        return cri.VersionResponse("0.1.0", self.machine.prefix, words[2] if len(words) > 2 else "", "v1")


def _complaint(log: Path) -> str:
    """The last error in an OCI runtime's log."""
    with contextlib.suppress(OSError, ValueError):
        for line in reversed(log.read_text().splitlines()):
            entry = json.loads(line)
            if entry.get("level") == "error":
                return str(entry["msg"])
    return ""


def _usage(directory: Path) -> cri.FilesystemUsage:
    """What a directory holds, in bytes and entries."""
    used = count = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            used += path.lstat().st_size
            count += 1
    return cri.FilesystemUsage(used, count)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError, ValueError):
        return 0
