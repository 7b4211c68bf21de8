"""Part of the CRI runtime: figures, the process tree, images.

Owns answers to questions, and how images get into the runtime.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from actors.kernel import Future, handles
from actors.runtime._cri_configs import NODE
from actors.runtime._cri_machine import CriMachine
from actors.runtime._cri_streams import CriStreams
from actors.runtime._images import normal_reference
from actors.runtime._linux import LinuxError
from actors.runtime._sessions import later
from actors.runtime.images import ImageError
from protocol import cri

__all__ = ["CriFigures"]

PULL_TIMEOUT_S = 600.0
RUNNING = 1
UID = "io.kubernetes.pod.uid"


class CriFigures(CriStreams):
    """See the module."""

    def __init__(self, machine: CriMachine) -> None:
        super().__init__(machine)
        self.container_groups: dict[str, str] = {}

    @handles(cri.GetContainerStats)
    def container_stats(self, message: cri.GetContainerStats) -> cri.ContainerStats:
        return self._stats(self.machine.call("ContainerStats", container_id=message.container_id).stats)

    @handles(cri.ListContainerStats)
    def list_container_stats(self, message: cri.ListContainerStats) -> tuple[cri.ContainerStats, ...]:
        labels = {NODE: str(self.machine.root), **({UID: message.pod_uid} if message.pod_uid else {})}
        found = self.machine.call("ListContainerStats", filter={"label_selector": labels}).stats
        return tuple(self._stats(s) for s in found)

    def _stats(self, stats: Any) -> cri.ContainerStats:
        """What the runtime counts, and from the container's own groups what the CRI has no words for."""
        ident, cpu, memory = stats.attributes.id, stats.cpu.usage_core_nano_seconds.value, stats.memory
        layer = cri.FilesystemUsage(stats.writable_layer.used_bytes.value, stats.writable_layer.inodes_used.value)
        group = self._group(ident)
        figures = self.machine.groups.statistics(group) if group else {}
        return cri.ContainerStats(
            ident,
            stats.attributes.metadata.name,
            stats.attributes.labels.get(UID, ""),
            self.clock.now(),
            cpu,
            stats.cpu.usage_nano_cores.value or self.cpu_rate(ident, cpu, self.clock.now()),
            memory.working_set_bytes.value,
            memory.usage_bytes.value or memory.working_set_bytes.value,
            figures.get("throttled", 0),
            figures.get("throttled_ns", 0),
            figures.get("periods", 0),
            layer,
            figures.get("pids", 0),
        )

    def _group(self, ident: str) -> str:
        """The control group of a container, asked of the runtime once."""
        if ident not in self.container_groups:
            found = self.machine.groups.of_process(self.container_pid(ident))
            if not found:
                return ""
            self.container_groups[ident] = found
        return self.container_groups[ident]

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
            def find() -> cri.Image | None:
                return self.image_status(cri.ImageStatus(message.image))

            present = self.pulled(message, find, (LinuxError, ImageError, OSError))
            if present is None:
                auth = {"username": message.auth[0], "password": message.auth[1]} if message.auth else None
                try:
                    self.machine.call("PullImage", PULL_TIMEOUT_S, image={"image": message.image}, auth=auth)
                except cri.CriError as error:
                    raise cri.CriError(error.code, error.message, "ErrImagePull") from error
                present = find()
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
        return cri.VersionResponse("0.1.0", self.machine.prefix, self.machine.version, "v1", self.machine.features())


def _image(image: Any) -> cri.Image:
    user = image.username or (str(image.uid.value) if image.HasField("uid") and image.uid.value else "")
    tags, digests = tuple(image.repo_tags), tuple(image.repo_digests)
    return cri.Image(image.id, tags, digests, int(image.size), image.pinned, user)


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ").strip()
    return ""
