"""The few file operations that durability rests on, in one place so that tests can make them fail.

Everything here blocks; only thread actors may call it.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["DirectoryLock", "Disk"]


class Disk:
    """The real file system. All methods raise `OSError`."""

    def create_append(self, path: Path) -> int:
        """Open a file for appending, made if missing; readable by the owner only."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _CLOEXEC, 0o600)

    def write(self, fd: int, data: bytes) -> None:
        """Write all of `data`."""
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    def sync(self, fd: int) -> None:
        """Return when the file's content is on the disk."""
        getattr(os, "fdatasync", os.fsync)(fd)

    def truncate(self, fd: int, length: int) -> None:
        """Cut a file."""
        os.ftruncate(fd, length)

    def close(self, fd: int) -> None:
        """Close a file."""
        os.close(fd)

    def read(self, path: Path) -> bytes:
        """All of a file."""
        return path.read_bytes()

    def list(self, directory: Path) -> list[str]:
        """Names in a directory, sorted."""
        return sorted(os.listdir(directory))

    def make_directory(self, directory: Path) -> None:
        """Make a directory and its parents; only the owner may look in."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its final name, replacing what has it."""
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        """Delete a file; one that is gone already is fine."""
        path.unlink(missing_ok=True)

    def sync_directory(self, directory: Path) -> None:
        """Return when names made, changed or removed in a directory are on the disk."""
        if os.name == "nt":
            return  # not possible there, and renames are journalled
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


_CLOEXEC = getattr(os, "O_CLOEXEC", 0)


class DirectoryLock:
    """One process per directory: an advisory lock that the system frees when the process ends."""

    def __init__(self, directory: Path) -> None:
        """Take the lock. Raises `BlockingIOError` with who holds it, as far as that is known."""
        self._path = directory / "lock"
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | _CLOEXEC, 0o600)
        try:
            _lock(self._fd)
        except OSError:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip()
            self.release()
            raise BlockingIOError(f"process {holder}" if holder else "another process") from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others in."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        # Whoever used the directory crashed and is gone.
        if getattr(self, "_fd", -1) >= 0:
            self.release()


if os.name == "nt":  # pragma: no cover - exercised on Windows only
    import msvcrt

    def _lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
