"""Volumes as directories of this machine: where each one is, and what the kubelet puts in it.

Owns the node's volume directories, and asks the kubelet's pods anew for what may have changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actors.kernel import ActorDead, Ref
from actors.runtime._pod_files import write_volume
from protocol import cri

__all__ = ["VOLUME_REFRESH_S", "VolumeMounts", "inside"]

VOLUME_TIMEOUT_S = 10.0
VOLUME_REFRESH_S = 20.0
KUBELETS = "/var/lib/kubelet/"
"""Volumes below here are kept below the machine's own directory, as several nodes may share this host."""


class VolumeMounts:
    """See the module. Blocks; for actors with threads of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sources: dict[tuple[str, int], tuple[str, cri.Mount]] = {}

    def _directory(self, mount: cri.Mount) -> Path:
        if mount.source is None and not mount.host_path.startswith(KUBELETS):
            return Path(mount.host_path)  # a hostPath is what it says
        return self.root / mount.host_path.strip("/")

    def place(self, container_id: str, number: int, uid: str, mount: cri.Mount) -> Path:
        """The directory or file to be mounted. Raises: CriError for a subPath that leads out."""
        source = self._directory(mount)
        if mount.source is not None:
            assert isinstance(mount.source, Ref)
            self.sources[container_id, number] = (uid, mount)
            write_volume(source, mount.source.ask(cri.ReadVolume(uid, mount.volume), timeout=VOLUME_TIMEOUT_S))
        if not source.exists():
            source.mkdir(parents=True)
            source.chmod(0o777)
        found = inside(source, mount.sub_path)
        if not found.exists():
            found.mkdir(parents=True)
        return found

    def forget(self, container_id: str) -> None:
        """The container has gone."""
        for key in [k for k in self.sources if k[0] == container_id]:
            del self.sources[key]

    def refresh(self, log: Any) -> None:
        """configMaps and secrets that have changed change in the containers that mount them."""
        for key, (uid, mount) in list(self.sources.items()):
            assert isinstance(mount.source, Ref)
            try:
                content = mount.source.ask(cri.ReadVolume(uid, mount.volume), timeout=VOLUME_TIMEOUT_S)
            except ActorDead:
                self.sources.pop(key, None)
                continue
            except Exception as error:
                log.debug("volume_unreadable", volume=mount.volume, error=str(error))
                continue
            write_volume(self._directory(mount), content)


def inside(root: Path, sub_path: str) -> Path:
    """A subPath of a volume. Raises: CriError for one that leads out of it."""
    path = root / sub_path if sub_path else root
    if sub_path and not path.resolve().is_relative_to(root.resolve()):
        raise cri.CriError("InvalidArgument", f"subpath {sub_path!r} leads out of the volume")
    return path
