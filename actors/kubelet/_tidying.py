"""Part of the kubelet: keeping the machine tidy, and what it tells people about its Node.

Owns when images are looked at and removed, and events about the Node. Which images, is in `_image_gc`. A node that
does not tell how large its disk is has none that could run full; there nothing is looked at.
"""

from __future__ import annotations

from typing import Any

from actors.kernel import ActorDead
from actors.kubelet._image_gc import ImageRecords, in_use
from actors.kubelet._static import StaticPods
from protocol.cri import ContainerStatus, CriError, Image, ListContainers, ListContainerStats, ListImages, RemoveImage
from protocol.quantity import value

__all__ = ["Tidying"]

Object = dict[str, Any]
IMAGE_GC_PERIOD_S = 300.0
STORAGE = "ephemeral-storage"


class Tidying(StaticPods):
    """See the module."""

    recorder: Any

    def begin_tidying(self) -> None:
        """Nothing has been looked at."""
        self.image_records = ImageRecords()
        self.images_looked_at: float | None = None
        self.image_gc_failed = False

    def node_event(self, kind: str, reason: str, message: str) -> None:
        """An event about the Node, by its name, as a kubelet tells it."""
        if self.config.events:
            name = self.node.name
            self.recorder.event({"kind": "Node", "name": name, "uid": name}, kind, reason, message)

    def tell_begin(self) -> None:
        """The kubelet has started and the Node is there: its first events."""
        if not self.config.watch_node:
            return
        name = self.node.name
        self.node_event("Normal", "Starting", "Starting kubelet.")
        self.node_event("Normal", "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")
        for reason in ("NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady"):
            self.node_event("Normal", reason, f"Node {name} status is now: {reason}")

    def pressure_changed(self, before: frozenset[str], now: frozenset[str]) -> None:
        """Events of conditions that begin and end."""
        reasons = {
            "MemoryPressure": ("NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
            "DiskPressure": ("NodeHasDiskPressure", "NodeHasNoDiskPressure"),
            "PIDPressure": ("NodeHasInsufficientPID", "NodeHasSufficientPID"),
        }
        for condition, (bad, good) in reasons.items():
            if (condition in before) != (condition in now):
                reason = bad if condition in now else good
                self.node_event("Normal", reason, f"Node {self.node.name} status is now: {reason}")

    # -- images

    async def tidy(self) -> None:
        """With a heartbeat: look at the images when it is time for that."""
        config, now = self.config, self.clock.monotonic()
        if not config.image_gc or (STORAGE not in config.capacity and config.image_maximum_gc_age_s <= 0):
            return
        if self.images_looked_at is not None and now - self.images_looked_at < IMAGE_GC_PERIOD_S:
            return
        self.images_looked_at = now
        try:
            problem = await self._collect_images(now)
        except (CriError, ActorDead) as error:
            problem = str(error)
        if problem and self.image_gc_failed:
            self.node_event("Warning", "ImageGCFailed", problem)
        self.image_gc_failed = bool(problem)

    async def _seen_images(self, now: float) -> tuple[Image, ...]:
        images: tuple[Image, ...] = await self.ask(self.node.runtime, ListImages())
        containers: tuple[ContainerStatus, ...] = await self.ask(self.node.runtime, ListContainers())
        self.image_records.look(images, in_use(images, containers), now)
        return images

    async def _collect_images(self, now: float) -> str:
        """Remove what has to go; answers what went wrong."""
        config = self.config
        images = await self._seen_images(now)
        old = self.image_records.too_old(now, config.image_maximum_gc_age_s)
        await self._remove(old, "age")
        if STORAGE not in config.capacity:
            return ""
        images = tuple(i for i in images if i not in old)
        stats = await self.ask(self.node.runtime, ListContainerStats())
        capacity = value(str(config.capacity[STORAGE]))
        used = sum(i.size_bytes for i in images) + sum(s.writable_layer.used_bytes for s in stats)
        available = max(0, capacity - used)
        if capacity <= 0 or 100 - available * 100 // capacity < config.image_gc_high_percent:
            return ""
        wanted = capacity * (100 - config.image_gc_low_percent) // 100 - available
        chosen, room = self.image_records.to_free(wanted, now, config.image_minimum_gc_age_s)
        await self._remove(chosen, "space")
        if room >= wanted:
            return ""
        problem = (
            f"Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, "
            f"but only found {room} bytes eligible to free."
        )
        self.node_event("Warning", "FreeDiskSpaceFailed", problem)
        return problem

    async def remove_unused_images(self) -> int:
        """Under disk pressure: all that nobody uses, whatever their age. Answers how many bytes that gave."""
        if not self.config.image_gc:
            return 0
        now = self.clock.monotonic()
        try:
            await self._seen_images(now)
            chosen, room = self.image_records.to_free(1 << 62, now, 0.0)
            await self._remove(chosen, "space")
        except (CriError, ActorDead) as error:
            self.log.info("images_not_removed", error=str(error))
            return 0
        return room

    async def _remove(self, images: list[Image], why: str) -> None:
        for image in images:
            await self.ask(self.node.runtime, RemoveImage(image.id))
            self.node.tallies.images_removed[why] += 1
            self.log.info("image_removed", image=(*image.repo_tags, image.id)[0], why=why, size_bytes=image.size_bytes)
