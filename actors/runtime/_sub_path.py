"""A subPath of a volume, found without ever leaving the volume. Blocks; Linux.

A container may have made a symbolic link where a subPath goes, and may change it while we look. So each part
of the way is opened by the kernel with the order to stay beneath the volume (openat2), and what is mounted
is the directory or file that was opened, not its name.
https://kubernetes.io/docs/concepts/storage/volumes/#using-subpath
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from pathlib import Path

from protocol.cri import CriError

__all__ = ["open_beneath", "sub_path_mount"]

OPENAT2, BENEATH, NO_MAGIC_LINKS = 437, 0x08, 0x02
AT_FDCWD = -100


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root: int, path: str, flags: int) -> int:
    """Open `path` below the directory `root`. Raises: OSError, EXDEV where it leads out of it."""
    how = _How(flags | os.O_CLOEXEC, 0, BENEATH | NO_MAGIC_LINKS)
    library = ctypes.CDLL(None, use_errno=True)
    found = library.syscall(OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(found)


def _make(root: int, parts: list[str]) -> None:
    """The directories of the way that are not there, with the mode of the volume."""
    mode = stat.S_IMODE(os.fstat(root).st_mode)
    for count in range(1, len(parts) + 1):
        way = "/".join(parts[:count])
        try:
            os.close(open_beneath(root, way, os.O_PATH))
        except FileNotFoundError:
            above = open_beneath(root, "/".join(parts[: count - 1]) or ".", os.O_PATH | os.O_DIRECTORY)
            try:
                os.mkdir(parts[count - 1], dir_fd=above)
                os.chmod(parts[count - 1], mode, dir_fd=above)
            finally:
                os.close(above)


def sub_path_mount(volume: Path, sub_path: str, target: Path) -> Path:
    """Mount what is at `sub_path` of a volume at `target`, which is made; a directory that is not there is made.

    Raises: CriError for a way that leads out of the volume; OSError, LinuxError.
    """
    from actors.runtime._linux import run

    parts = [p for p in sub_path.split("/") if p not in ("", ".")]
    if not parts:
        return volume
    root = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            _make(root, parts)
            found = open_beneath(root, "/".join(parts), os.O_PATH)
        except OSError as error:
            if error.errno == errno.EXDEV or ".." in parts:
                raise CriError("InvalidArgument", f"subpath {sub_path!r} leads out of the volume") from error
            raise
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if stat.S_ISDIR(os.fstat(found).st_mode):
                target.mkdir(exist_ok=True)
            else:
                target.touch(exist_ok=True)
            run("mount", "--no-canonicalize", "--bind", f"/proc/{os.getpid()}/fd/{found}", str(target))
        finally:
            os.close(found)
    finally:
        os.close(root)
    return target
