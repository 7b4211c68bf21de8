"""Who owns a volume's files: what `fsGroup` asks for. Blocks.

Directories get the group, its read, write and search permission, and the bit that hands the group on to what
is made in them; files the group's read and write permission (read alone in a volume that is read-only).
https://kubernetes.io/docs/tasks/configure-pod-container/security-context/#configure-volume-permission-and-ownership-change-policy-for-pods
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

__all__ = ["give_to_group"]

READ_WRITE, READ_ONLY, SEARCH = 0o660, 0o440, 0o110


def _wanted(mode: int, readonly: bool) -> int:
    bits = READ_ONLY if readonly else READ_WRITE
    return stat.S_IMODE(mode) | bits | (stat.S_ISGID | SEARCH if stat.S_ISDIR(mode) else 0)


def _give(path: Path, gid: int, readonly: bool) -> None:
    info = path.lstat()
    os.chown(path, -1, gid, follow_symlinks=False)
    if not stat.S_ISLNK(info.st_mode):
        os.chmod(path, _wanted(info.st_mode, readonly))


def give_to_group(root: Path, gid: int, readonly: bool = False, on_mismatch_only: bool = False) -> None:
    """Let `gid` own all below `root`; with `on_mismatch_only` not if it owns `root` as it should already.

    The root comes last: a walk that was cut short is done again. Raises: OSError.
    """
    info = root.lstat()
    settled = info.st_gid == gid and stat.S_IMODE(info.st_mode) == _wanted(info.st_mode, readonly)
    if on_mismatch_only and settled:
        return
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):  # somebody works in the volume meanwhile
                _give(Path(folder) / name, gid, readonly)
    _give(root, gid, readonly)
