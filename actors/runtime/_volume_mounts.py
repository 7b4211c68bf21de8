"""Volumes as directories of this machine: where each one is, and what the kubelet puts in it.

Owns the node's volume directories: makes what `protocol.cri.Volume` describes (memory file systems,
types of hostPaths, owning groups), and asks the kubelet's pods anew for content that may have changed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.kernel import ActorDead, Ref
from actors.runtime._linux import LinuxError, mounted_below, run
from actors.runtime._ownership import give_to_group
from actors.runtime._pod_files import write_volume
from actors.runtime._sub_path import open_beneath, sub_path_mount
from protocol import cri
from protocol.message import Message

__all__ = ["VOLUME_REFRESH_S", "Refresh", "VolumeMounts", "directory_usage"]

VOLUME_TIMEOUT_S = 10.0
VOLUME_REFRESH_S = 20.0
READ_MAX_BYTES = 1 << 20
KUBELETS = "/var/lib/kubelet/"
"""Volumes below here are kept below the machine's own directory, as several nodes may share this host."""
PAGE_SIZES = {"": "", "2Mi": "pagesize=2M", "1Gi": "pagesize=1G"}
MAKE_FILE, MAKE_FOLDER = "FileOrCreate", "DirectoryOrCreate"
TYPES: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "a directory"),
    MAKE_FOLDER: (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    MAKE_FILE: (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


class Refresh(Message, frozen=True):
    """Look whether the content of volumes has changed."""


class VolumeMounts:
    """See the module. Blocks; for actors with threads of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sources: dict[str, tuple[str, cri.Volume]] = {}
        """Directory -> (pod's uid, volume) of those whose content the kubelet has."""

    def directory(self, host_path: str, of_kubelet: bool = False) -> Path:
        """Where a volume is that has this path on the node; a hostPath is what it says."""
        if of_kubelet or host_path.startswith(KUBELETS):
            return self.root / host_path.strip("/")
        return Path(host_path)

    def set_up(self, uid: str, volume: cri.Volume) -> None:
        """Make the volume. Raises: CriError with what stands in the way."""
        place = self.directory(volume.host_path, volume.source is not None)
        try:
            if volume.kind == "hostPath":
                _host_path(Path(volume.host_path), volume.host_path_type)
            elif volume.kind == "provided":
                self.sources[str(place)] = (uid, volume)
                self._fill(place, uid, volume)
            elif volume.kind == "emptyDir":
                _empty_dir(place, volume)
            if volume.kind in ("emptyDir", "claim") and volume.fs_group is not None and place.is_dir():
                give_to_group(place, volume.fs_group, volume.readonly, volume.fs_group_on_mismatch)
        except (OSError, LinuxError) as error:
            raise cri.CriError("Unknown", str(error)) from error

    def _fill(self, place: Path, uid: str, volume: cri.Volume) -> None:
        assert isinstance(volume.source, Ref)
        content = volume.source.ask(cri.ReadVolume(uid, volume.name), timeout=VOLUME_TIMEOUT_S)
        write_volume(place, content, volume.default_mode, volume.modes, volume.fs_group, volume.owners)

    def place(self, uid: str, mount: cri.Mount, target: Path) -> Path:
        """The directory or file to be mounted; `target` is where a part of a volume may be held.

        Raises: CriError for a subPath that leads out; OSError, LinuxError.
        """
        source = self.whole(uid, mount)
        if not mount.sub_path:
            return source
        try:
            return sub_path_mount(source, mount.sub_path, target)
        except (OSError, LinuxError, cri.CriError) as error:
            raise _bad_sub_path(mount) from error

    def linked(self, uid: str, mount: cri.Mount) -> Path:
        """The same for who cannot mount: the directory or file itself. Raises: CriError for a subPath that leads out."""
        source = self.whole(uid, mount)
        found = source / mount.sub_path if mount.sub_path else source
        if not found.resolve().is_relative_to(source.resolve()):
            raise _bad_sub_path(mount)
        if not found.exists():
            found.mkdir(parents=True)
        return found

    def whole(self, uid: str, mount: cri.Mount) -> Path:
        """The directory of a mount's volume, with its content."""
        source = self.directory(mount.host_path, mount.source is not None)
        if mount.source is not None and str(source) not in self.sources:
            volume = cri.Volume(mount.volume, mount.host_path, "provided", mount.source)
            self.sources[str(source)] = (uid, volume)
            self._fill(source, uid, volume)
        if not source.exists():
            source.mkdir(parents=True)
            source.chmod(0o777 if mount.host_path.startswith(KUBELETS) else 0o755)
        return source

    def read(self, host_path: str, path: str) -> bytes | None:
        """A file of a volume; None if there is none, or only by a way that leads out of the volume."""
        place = self.directory(host_path)
        with contextlib.suppress(OSError):
            if sys.platform != "linux":
                found = (place / path).resolve()
                return found.read_bytes()[:READ_MAX_BYTES] if found.is_relative_to(place.resolve()) else None
            root = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with os.fdopen(open_beneath(root, path, os.O_RDONLY), "rb") as file:
                    return file.read(READ_MAX_BYTES)
            finally:
                os.close(root)
        return None

    def usage(self, uid: str) -> dict[str, cri.FilesystemUsage]:
        """What the pod's emptyDirs hold."""
        place = self.root / f"{KUBELETS.strip('/')}/pods/{uid}/volumes/kubernetes.io~empty-dir"
        return {folder.name: directory_usage(folder) for folder in place.glob("*")}

    def remove(self, uid: str) -> None:
        """The pod has gone: its volumes go, what they hold in memory included."""
        place = self.root / f"{KUBELETS.strip('/')}/pods/{uid}"
        self.sources = {d: s for d, s in self.sources.items() if s[0] != uid}
        for target in mounted_below(place):
            with contextlib.suppress(LinuxError):
                run("umount", "--lazy", target)
        shutil.rmtree(place, ignore_errors=True)

    def refresh(self, log: Any) -> None:
        """configMaps and secrets that have changed change in the containers that mount them."""
        for place, (uid, volume) in list(self.sources.items()):
            try:
                self._fill(Path(place), uid, volume)
            except ActorDead:
                self.sources.pop(place, None)
            except Exception as error:
                log.debug("volume_unreadable", volume=volume.name, error=str(error))


def _bad_sub_path(mount: cri.Mount) -> cri.CriError:
    text = f'failed to prepare subPath for volumeMount "{mount.volume}"'
    return cri.CriError("InvalidArgument", text, "CreateContainerConfigError")


def directory_usage(directory: Path) -> cri.FilesystemUsage:
    """What a directory holds, in bytes and entries; a file that has several names counts once."""
    used = count = 0
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files):
            with contextlib.suppress(OSError):
                info = os.lstat(os.path.join(folder, name))
                if info.st_nlink == 1 or (info.st_dev, info.st_ino) not in seen:
                    seen.add((info.st_dev, info.st_ino))
                    used += info.st_blocks * 512 or info.st_size
                    count += 1
    return cri.FilesystemUsage(used, count)


def _host_path(path: Path, kind: str) -> None:
    """What is there must be what the type says; with the types that say so it is made."""
    if kind == MAKE_FOLDER and not path.exists():
        path.mkdir(parents=True, mode=0o755)
    elif kind == MAKE_FILE and not path.exists():
        path.touch(mode=0o644)
    if kind in TYPES:
        check, word = TYPES[kind]
        try:
            good = check(path.stat().st_mode)
        except OSError:
            good = False
        if not good:
            raise cri.CriError("Unknown", f"hostPath type check failed: {path} is not {word}")


def _empty_dir(place: Path, volume: cri.Volume) -> None:
    """A directory that everybody may write to; in memory where that is asked for."""
    place.mkdir(parents=True, exist_ok=True)
    if volume.medium and not place.is_mount():
        if volume.medium == "Memory":
            options = ["nodev", "nosuid", *([f"size={volume.size_bytes}"] if volume.size_bytes else [])]
            run("mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place))
        else:
            size = PAGE_SIZES[volume.medium.partition("-")[2]]
            run("mount", "-t", "hugetlbfs", *(["-o", size] if size else []), "nodev", str(place))
    if stat.S_IMODE(place.stat().st_mode) & 0o777 != 0o777:
        place.chmod(0o777)
