"""Part of the OCI runtime: figures, the process tree, images of the local store.

Owns answers to questions; it changes nothing but the store.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from actors.kernel import handles
from actors.runtime._idmap import is_supported
from actors.runtime._images import normal_reference
from actors.runtime._real_machine import features
from actors.runtime._runc_machine import OciContainer
from actors.runtime._runc_streams import RuncStreams
from actors.runtime._volume_mounts import directory_usage
from actors.runtime.images import ImageError, LocalImage
from protocol import cri

__all__ = ["RuncFigures"]


FEATURES = ("supplemental-groups-policy", "recursive-read-only-mounts")


class RuncFigures(RuncStreams):
    """See the module."""

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
        figures = self.machine.groups.statistics(self.machine.group_of(container))
        return cri.ContainerStats(
            container.id,
            container.config.name,
            container.pod_uid,
            self.clock.now(),
            figures["cpu_ns"],
            self.cpu_rate(container.id, figures["cpu_ns"], container.started_at),
            max(0, figures["memory"] - figures["inactive"]),
            figures["memory"],
            figures["throttled"],
            figures["throttled_ns"],
            figures["periods"],
            directory_usage(self.machine.place(container) / "upper"),
            figures["pids"],
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
        usage = directory_usage(self.machine.images.root)
        return cri.ImageFsInfoResponse(usage.used_bytes, usage.inodes_used)

    @handles(cri.Version)
    def version(self, message: cri.Version) -> cri.VersionResponse:
        words = self.machine.oci("--version").split()
        own = ("user-namespaces",) if is_supported() else ()
        return cri.VersionResponse(
            "0.1.0", self.machine.prefix, words[2] if len(words) > 2 else "", "v1", features(*FEATURES, *own)
        )


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError, ValueError):
        return 0
