"""Layers: a tarball of changes becomes a directory that overlayfs can stack.

Owns the unpacking, and that nothing in a layer reaches outside its directory: every path is walked
from an open directory, and no symbolic link is followed. Whiteouts become what overlayfs calls so: a
character device 0:0, and the attribute `trusted.overlay.opaque`.

https://github.com/opencontainers/image-spec/blob/main/layer.md
https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib
import os
import shutil
import stat
import tarfile
from pathlib import Path
from typing import IO, Any, cast

from actors.runtime.images._blobs import CHUNK, ImageError

__all__ = ["decompressed", "unpack"]

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
XATTR = "SCHILY.xattr."
MAX_ENTRIES = 2_000_000
MAX_DEPTH = 128
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def decompressed(file: IO[bytes]) -> IO[bytes]:
    """A blob's stream without its compression, which its first bytes tell.

    Raises: ImageError for zstd where Python cannot read it.
    """
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(GZIP):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if magic == ZSTD:
        try:
            zstandard = importlib.import_module("zstandard")
        except ImportError:
            raise ImageError("the layer is compressed with zstd: install the Python package zstandard") from None
        return cast(IO[bytes], zstandard.ZstdDecompressor().stream_reader(file))
    return file


class _Hashing:
    """A stream that knows the digest of what was read."""

    def __init__(self, source: IO[bytes]) -> None:
        self.source = source
        self.hasher = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self.source.read(size)
        self.hasher.update(data)
        return data


def unpack(blob: Path, directory: Path, diff_id: str) -> None:
    """Unpack a layer into `directory`, which must not exist, and appears whole or not at all.

    Raises: ImageError, for a layer that is damaged, reaches out, or is not `diff_id`.
    """
    half = directory.with_name(directory.name + ".half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    os.chmod(half, 0o755)
    try:
        with blob.open("rb") as file:
            stream = _Hashing(decompressed(file))
            with tarfile.open(fileobj=cast(Any, stream), mode="r|", bufsize=CHUNK) as archive:
                _Unpacking(half).all(archive)
            while stream.read(CHUNK):
                pass
        found = f"sha256:{stream.hasher.hexdigest()}"
        if found != diff_id:
            raise ImageError(f"a layer is damaged: its content is {found}, not {diff_id}")
        os.rename(half, directory)
    except (tarfile.TarError, EOFError, OSError, gzip.BadGzipFile) as error:
        shutil.rmtree(half, ignore_errors=True)
        raise ImageError(f"a layer cannot be unpacked: {error}") from None
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise


class _Unpacking:
    """One layer, into one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.times: list[tuple[list[str], float]] = []

    def all(self, archive: tarfile.TarFile) -> None:
        for count, member in enumerate(archive):
            if count > MAX_ENTRIES:
                raise ImageError(f"a layer has more than {MAX_ENTRIES} entries")
            self._one(archive, member)
        for parts, mtime in reversed(self.times):
            with contextlib.suppress(OSError, ImageError), self._parent(parts) as (parent, name):
                os.utime(name, (mtime, mtime), dir_fd=parent, follow_symlinks=False)

    @staticmethod
    def _parts(name: str) -> list[str]:
        """A member's path, from the root; what points above it is refused."""
        parts = [p for p in name.split("/") if p not in ("", ".")]
        if ".." in parts or "\0" in name:
            raise ImageError(f"a layer reaches outside of itself: {name!r}")
        if len(parts) > MAX_DEPTH:
            raise ImageError(f"a layer is nested too deep: {name[:60]!r}...")
        return parts

    @contextlib.contextmanager
    def _parent(self, parts: list[str]) -> Any:
        """(the open directory that holds it, its name); directories that are missing are made."""
        here = os.open(self.root, DIRECTORY)
        try:
            for part in parts[:-1]:
                try:
                    below = os.open(part, DIRECTORY, dir_fd=here)
                except FileNotFoundError:
                    os.mkdir(part, 0o755, dir_fd=here)
                    below = os.open(part, DIRECTORY, dir_fd=here)
                except (NotADirectoryError, OSError):
                    raise ImageError(
                        f"a layer writes through what is no directory: {'/'.join(parts)!r} at {part!r}"
                    ) from None
                os.close(here)
                here = below
            yield here, parts[-1]
        finally:
            os.close(here)

    def _one(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = self._parts(member.name)
        if not parts:
            os.chmod(self.root, stat.S_IMODE(member.mode))
            os.chown(self.root, member.uid, member.gid)
            return
        with self._parent(parts) as (parent, name):
            if name == OPAQUE:
                os.setxattr(f"/proc/self/fd/{parent}", "trusted.overlay.opaque", b"y")
            elif name.startswith(WHITEOUT):
                self._clear(parent, name[len(WHITEOUT) :], keep_directory=False)
                os.mknod(name[len(WHITEOUT) :], stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
            else:
                self._clear(parent, name, keep_directory=member.isdir())
                self._make(archive, member, parent, name)
                self._attributes(member, parent, name)
                self.times.append((parts, member.mtime)) if member.isdir() else None

    @staticmethod
    def _clear(parent: int, name: str, keep_directory: bool) -> None:
        """Make room for an entry: a later one of the same name stands for it."""
        if name in ("", ".", ".."):
            raise ImageError(f"a layer has a whiteout for {name!r}")
        try:
            mode = os.lstat(name, dir_fd=parent).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(mode):
            os.unlink(name, dir_fd=parent)
        elif not keep_directory:
            shutil.rmtree(name, dir_fd=parent)

    def _make(self, archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: str) -> None:
        if member.isdir():
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=parent)
        elif member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
        elif member.islnk():
            with self._parent(self._parts(member.linkname)) as (other, target):
                os.link(target, name, src_dir_fd=other, dst_dir_fd=parent, follow_symlinks=False)
        elif member.isfile():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(name, flags, 0o600, dir_fd=parent), "wb") as file:
                content = archive.extractfile(member)
                assert content is not None
                shutil.copyfileobj(content, file, CHUNK)
        elif member.isfifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
        elif member.ischr() or member.isblk():
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(name, kind | 0o600, os.makedev(member.devmajor, member.devminor), dir_fd=parent)
        else:
            raise ImageError(f"a layer has an entry of unknown type: {member.name!r}")

    @staticmethod
    def _attributes(member: tarfile.TarInfo, parent: int, name: str) -> None:
        if member.islnk():
            return
        os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        if member.issym():
            return
        os.chmod(name, stat.S_IMODE(member.mode), dir_fd=parent)
        os.utime(name, (member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)
        for key, value in member.pax_headers.items():
            attribute = key.removeprefix(XATTR)
            if attribute != key and attribute.startswith(("user.", "security.capability")):
                with contextlib.suppress(OSError):
                    os.setxattr(
                        f"/proc/self/fd/{parent}/{name}", attribute, value.encode("utf-8", "surrogateescape"),
                        follow_symlinks=False,
                    )  # fmt: skip
