"""Images that nobody uses: which of them go, and when.

Owns upstream's rules of `pkg/kubelet/images/image_gc_manager.go`: above the high threshold of disk use images are
removed, the one that was used longest ago first, until the low one is reached; never one that is pinned, in use or
new. Pure records; removing is somebody else's.
https://kubernetes.io/docs/concepts/architecture/garbage-collection/#containers-images
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.cri import ContainerStatus, Image

__all__ = ["ImageRecords", "in_use"]


class _Record:
    __slots__ = ("detected", "image", "used")

    def __init__(self, image: Image, now: float) -> None:
        self.image = image
        self.detected = now
        self.used = -1.0


def in_use(images: Iterable[Image], containers: Iterable[ContainerStatus]) -> set[str]:
    """Ids of images that a container is made of, whether it runs or not."""
    names = {ref for c in containers for ref in (c.image_ref, c.image) if ref}
    return {i.id for i in images if i.id in names or names & {*i.repo_tags, *i.repo_digests}}


class ImageRecords:
    """When each image was first seen, and last used. Times are seconds of one clock."""

    def __init__(self) -> None:
        self.records: dict[str, _Record] = {}

    def look(self, images: Iterable[Image], used: set[str], now: float) -> None:
        """Note what is there now and who uses it."""
        present = {i.id: i for i in images}
        for ident in [i for i in self.records if i not in present]:
            del self.records[ident]
        for ident, image in present.items():
            record = self.records.get(ident)
            if record is None:
                record = self.records[ident] = _Record(image, now)
            if ident in used:
                record.used = now

    def _unused(self, now: float) -> list[_Record]:
        """Nobody uses them at this moment, and they may be removed: the least recently used first."""
        free = [r for r in self.records.values() if r.used < now and not r.image.pinned]
        return sorted(free, key=lambda r: (r.used, r.detected, r.image.id))

    def too_old(self, now: float, maximum_age_s: float) -> list[Image]:
        """Nobody has used them for too long."""
        if maximum_age_s <= 0:
            return []
        return [r.image for r in self._unused(now) if now - max(r.used, r.detected) > maximum_age_s]

    def to_free(self, bytes_wanted: int, now: float, minimum_age_s: float) -> tuple[list[Image], int]:
        """(images that make so much room, or all that there are; how much room they make)."""
        chosen: list[Image] = []
        room = 0
        for record in self._unused(now):
            if room >= bytes_wanted:
                break
            if now - record.detected < minimum_age_s:
                continue
            chosen.append(record.image)
            room += record.image.size_bytes
        return chosen, room
