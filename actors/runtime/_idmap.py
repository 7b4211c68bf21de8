"""Files seen by a user namespace as its own, and which numbers each namespace gets. Linux.

A pod with `hostUsers: false` has 65,536 user numbers of the machine to itself, and its root is the first of
them. Its image and its volumes are mounted with the numbers mapped (idmapped mounts), so that what
is root's on disk is root's inside too, and what the pod writes to a volume is written as if there were no mapping.
https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["IDS_PER_POD", "free_base", "id_mappings", "is_supported", "mount_idmapped"]

IDS_PER_POD = 65_536
LAST_BASE = 0x7FFF_0000
FIRST_KERNEL = (5, 19)
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
CLONE, CLOEXEC, MOVE_FROM_FD = 1, os.O_CLOEXEC, 0x04
IDMAP = 0x0010_0000


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns", ctypes.c_uint64),
    )


def is_supported() -> bool:
    """Whether this kernel gives out user namespaces, and lays idmapped layers over each other (since 5.19)."""
    try:
        major, minor = (int(n) for n in platform.release().split(".")[:2])
        spaces = int(Path("/proc/sys/user/max_user_namespaces").read_text())
    except (OSError, ValueError):
        return False
    return (major, minor) >= FIRST_KERNEL and spaces > 0


def free_base(taken: Iterable[int]) -> int:
    """The first number of a range that no pod has. Raises: LookupError when there is none."""
    used = set(taken)
    for base in range(IDS_PER_POD, LAST_BASE, IDS_PER_POD):
        if base not in used:
            return base
    raise LookupError("could not find an empty slot to allocate a user namespace")


def id_mappings(base: int) -> list[dict[str, Any]]:
    """`uidMappings` (or `gidMappings`) of an OCI configuration."""
    return [{"containerID": 0, "hostID": base, "size": IDS_PER_POD}]


def _call(number: int, *arguments: Any) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    found = int(library.syscall(number, *arguments))
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return found


def mount_idmapped(source: Path, target: Path, user_namespace: str) -> Path:
    """Mount a directory or file at `target`, which is made, with the numbers of a user namespace.

    `user_namespace`: its file, such as /proc/1234/ns/user. Raises: OSError, EINVAL where the file system of
    `source` cannot do so.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch(exist_ok=True)
    tree = _call(OPEN_TREE, AT_FDCWD, os.fsencode(source), CLONE | CLOEXEC)
    try:
        with open(user_namespace) as space:
            attributes = _Attributes(IDMAP, 0, 0, space.fileno())
            _call(
                MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, ctypes.byref(attributes), ctypes.sizeof(attributes)
            )  # fmt: skip
        _call(MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(target), MOVE_FROM_FD)
    finally:
        os.close(tree)
    return target
