"""Part of the Docker runtime: figures, the process tree, images.

Owns answers to questions, and how images get into the daemon.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from actors.kernel import Future, handles
from actors.runtime._docker_machine import POD_UID, TYPE, seconds
from actors.runtime._docker_streams import DockerStreams
from actors.runtime._images import normal_reference
from actors.runtime._linux import started_ticks
from actors.runtime._real_machine import features, if_there
from actors.runtime._sessions import later
from actors.runtime._volume_mounts import directory_usage
from actors.runtime.images import ImageError
from protocol import cri

__all__ = ["DockerFigures"]


class DockerFigures(DockerStreams):
    """See the module."""

    def inspected(self, kind: str, pod_uid: str) -> list[dict[str, Any]]:
        """This node's sandboxes or containers, of one pod if `pod_uid`, as the daemon has them."""
        labels = [f"{TYPE}={kind.replace('sandbox', 'podsandbox')}", *([f"{POD_UID}={pod_uid}"] if pod_uid else [])]
        found = []
        for entry in self.machine.listed(*labels):
            with if_there():
                found.append(self.machine.inspect(entry["Id"], kind))
        return found

    @handles(cri.GetContainerStats)
    def container_stats(self, message: cri.GetContainerStats) -> Future[cri.ContainerStats]:
        info = self.machine.inspect(message.container_id, "container")
        return later(Future(), lambda: self._stats(info))

    @handles(cri.ListContainerStats)
    def list_container_stats(self, message: cri.ListContainerStats) -> Future[tuple[cri.ContainerStats, ...]]:
        running = [i for i in self.inspected("container", message.pod_uid) if i["State"]["Running"]]

        def work() -> tuple[cri.ContainerStats, ...]:
            found = []
            for info in running:
                with if_there():  # it may end meanwhile
                    found.append(self._stats(info))
            return tuple(found)

        return later(Future(), work)

    def _stats(self, info: dict[str, Any]) -> cri.ContainerStats:
        config = self.machine.container_config(info)
        with self.machine.asked():
            figures = self.machine.api.stats(info["Id"], stream=False, one_shot=True)
        cpu = int(figures.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage", 0))
        held = figures.get("cpu_stats", {}).get("throttling_data", {})
        memory = figures.get("memory_stats", {})
        usage = int(memory.get("usage", 0))
        details = memory.get("stats", {})
        inactive = int(details.get("total_inactive_file", details.get("inactive_file", 0)))
        rate = self.cpu_rate(info["Id"], cpu, seconds(info["State"]["StartedAt"]))
        return cri.ContainerStats(
            info["Id"], config.name, info["Config"]["Labels"][POD_UID], self.clock.now(), cpu, rate, max(0, usage - inactive), usage,
            int(held.get("throttled_periods", 0)), int(held.get("throttled_time", 0)), int(held.get("periods", 0)),
            writable_layer=_writable_layer(info), pids=int(figures.get("pids_stats", {}).get("current", 0)),
        )  # fmt: skip

    @handles(cri.ProcessTree)
    def process_tree(self, message: cri.ProcessTree) -> tuple[cri.ProcessEntry, ...]:
        found = []
        for kind in ("sandbox", "container"):
            for info in self.inspected(kind, message.pod_uid):
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
            present = self.pulled(message, lambda: self.image_status(cri.ImageStatus(message.image)), failures)
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
        with self.machine.asked():
            return tuple(_image(i) for i in self.machine.api.images())

    @handles(cri.RemoveImage)
    def remove_image(self, message: cri.RemoveImage) -> None:
        with contextlib.suppress(*self.machine.errors):
            self.machine.api.remove_image(message.image)

    @handles(cri.ImageFsInfo)
    def image_fs_info(self, message: cri.ImageFsInfo) -> cri.ImageFsInfoResponse:
        with self.machine.asked():
            return cri.ImageFsInfoResponse(int(self.machine.api.df().get("LayersSize") or 0), 0)

    @handles(cri.Version)
    def version(self, message: cri.Version) -> cri.VersionResponse:
        with self.machine.asked():
            version = str(self.machine.api.version()["Version"])
        return cri.VersionResponse("0.1.0", "docker", version, "v1", features())


def _writable_layer(info: dict[str, Any]) -> cri.FilesystemUsage:
    """What a container wrote outside of volumes, where the daemon keeps that in a directory."""
    upper = ((info.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir")
    return directory_usage(Path(upper)) if upper else cri.FilesystemUsage(0, 0)


def _image(info: dict[str, Any]) -> cri.Image:
    tags = tuple(t for t in info.get("RepoTags") or () if t != "<none>:<none>")
    user = str((info.get("Config") or {}).get("User") or "")
    return cri.Image(info["Id"], tags, tuple(info.get("RepoDigests") or ()), int(info.get("Size") or 0), user=user)
