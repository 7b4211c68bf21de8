"""The files that a simulated container sees.

Owns paths, the writable layer and the mounts over it. It knows no commands and no actors: content
that the kubelet provides is asked for by yielding `Remote`, which the driver of the process
answers with a dict from relative path to bytes.
"""

from __future__ import annotations

import posixpath
from collections.abc import Generator, Iterable
from typing import Any

from protocol.cri import Mount

__all__ = ["FileError", "Files", "Remote", "normal"]

MAX_FILE_BYTES = 1 << 20
DIRECTORIES = frozenset(
    (
        "/",
        "/bin",
        "/dev",
        "/etc",
        "/home",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/sys",
        "/tmp",
        "/usr",
        "/usr/bin",
        "/usr/local",
        "/usr/share",
        "/var",
        "/var/log",
        "/var/run",
        "/var/lib",
        "/opt",
        "/mnt",
        "/srv",
    )
)
Store = dict[str, bytes | None]
"""Relative path -> content; None marks a directory."""
Steps = Generator[Any, Any, Any]


class FileError(Exception):
    """What a C library would say: `No such file or directory`, `Read-only file system`, ..."""


class Remote:
    """Asks the driver for the content of a volume that the kubelet provides."""

    __slots__ = ("mount",)

    def __init__(self, mount: Mount) -> None:
        self.mount = mount


def normal(path: str, cwd: str = "/") -> str:
    """The absolute form of a path, without `.`, `..` and doubled slashes."""
    absolute = posixpath.normpath(posixpath.join(cwd or "/", path))
    return "/" + absolute.lstrip("/")


class Files:
    """One container's view: `layer` is its own, `stores` the pod's and node's volumes by name."""

    __slots__ = ("base", "layer", "mounts", "readonly", "stores", "used")

    def __init__(
        self,
        base: dict[str, bytes],
        mounts: Iterable[Mount],
        stores: dict[str, Store],
        layer: Store,
        readonly: bool = False,
    ) -> None:
        self.base = base
        self.mounts = sorted(mounts, key=lambda m: -len(m.container_path))
        self.stores = stores
        self.layer = layer
        self.readonly = readonly
        self.used = False
        """Whether anything was looked up: what was seen then may be different later."""

    def _mount_of(self, path: str) -> tuple[Mount | None, str]:
        self.used = True
        for mount in self.mounts:
            top = mount.container_path.rstrip("/") or "/"
            if path == top or path.startswith(top + "/"):
                inner = path[len(top) :].strip("/")
                return mount, posixpath.join(mount.sub_path.strip("/"), inner).strip("/")
        return None, path

    def _content(self, mount: Mount) -> Steps:
        if mount.source is not None:
            return (yield Remote(mount))
        return self.stores.setdefault(mount.host_path or mount.volume, {})

    def read(self, path: str) -> Steps:
        """The bytes of a file; raises `FileError`."""
        mount, inner = self._mount_of(path)
        if mount is not None:
            content = yield from self._content(mount)
            if content.get(inner) is not None:
                return content[inner]
            if not inner or _has_directory(content, inner):
                raise FileError("Is a directory")
            raise FileError("No such file or directory")
        if self.layer.get(path) is not None:
            return self.layer[path]
        if path not in self.layer and path in self.base:
            return self.base[path]
        if (yield from self.is_directory(path)):
            raise FileError("Is a directory")
        raise FileError("No such file or directory")

    def exists(self, path: str) -> Steps:
        try:
            yield from self.read(path)
        except FileError as error:
            return str(error) == "Is a directory"
        return True

    def is_directory(self, path: str) -> Steps:
        mount, inner = self._mount_of(path)
        if mount is not None:
            content = yield from self._content(mount)
            # A subPath that is not there is made as a directory when it is mounted.
            made = mount.source is None and inner == mount.sub_path.strip("/") and content.get(inner) is None
            return made or (not inner and not mount.sub_path) or _has_directory(content, inner)
        if path in DIRECTORIES or (path in self.layer and self.layer[path] is None):
            return True
        below = path.rstrip("/") + "/"
        return (
            any(p.startswith(below) for p in self.layer)
            or any(p.startswith(below) for p in self.base)
            or any(m.container_path.startswith(below) for m in self.mounts)
        )

    def names(self, path: str) -> Steps:
        """The sorted names in a directory; raises `FileError`."""
        if not (yield from self.is_directory(path)):
            raise FileError("No such file or directory")
        mount, inner = self._mount_of(path)
        if mount is not None:
            content = yield from self._content(mount)
            prefix = inner + "/" if inner else ""
            return sorted({p[len(prefix) :].split("/", 1)[0] for p in content if p.startswith(prefix)} - {""})
        prefix = path.rstrip("/") + "/"
        known = [*DIRECTORIES, *self.base, *self.layer, *(m.container_path for m in self.mounts)]
        found = {p[len(prefix) :].split("/", 1)[0] for p in known if p.startswith(prefix)}
        return sorted(found - {""})

    def write(self, path: str, data: bytes, append: bool = False) -> Steps:
        """Create or change a file; raises `FileError`."""
        store, key = yield from self._writable(path)
        if (yield from self.is_directory(path)):
            raise FileError("Is a directory")
        if not (yield from self.is_directory(posixpath.dirname(path) or "/")):
            raise FileError("No such file or directory")
        old = b""
        if append:
            try:
                old = yield from self.read(path)
            except FileError:
                old = b""
        content = old + data
        if len(content) > MAX_FILE_BYTES:
            raise FileError("No space left on device")
        store[key] = content

    def make_directory(self, path: str, parents: bool) -> Steps:
        store, key = yield from self._writable(path)
        if (yield from self.exists(path)):
            if parents:
                return
            raise FileError("File exists")
        above = posixpath.dirname(path)
        if not parents and not (yield from self.is_directory(above)):
            raise FileError("No such file or directory")
        store[key] = None

    def remove(self, path: str, recursive: bool) -> Steps:
        store, key = yield from self._writable(path)
        directory = yield from self.is_directory(path)
        if directory and not recursive:
            raise FileError("Is a directory")
        if not directory and not (yield from self.exists(path)):
            raise FileError("No such file or directory")
        for name in [n for n in store if n == key or n.startswith(key + "/")]:
            del store[name]

    def _writable(self, path: str) -> Steps:
        mount, inner = self._mount_of(path)
        if mount is None:
            if self.readonly:
                raise FileError("Read-only file system")
            return self.layer, path
        if mount.readonly or mount.source is not None:
            raise FileError("Read-only file system")
        return (yield from self._content(mount)), inner


def _has_directory(content: Store, inner: str) -> bool:
    if inner in content and content[inner] is None:
        return True
    prefix = inner + "/" if inner else ""
    return any(p.startswith(prefix) for p in content)
