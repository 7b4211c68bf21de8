"""Blobs: files named by the SHA-256 of what they hold.

Owns `blobs/sha256/`. A blob is there whole and as its name says, or not at all.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import IO, Any

import orjson

__all__ = ["CHUNK", "Blobs", "ImageError", "digest_hex"]

CHUNK = 1 << 20
MAX_JSON_BYTES = 8 << 20
DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z")


class ImageError(Exception):
    """An image that cannot be used, or is not there; one line that says why."""


def digest_hex(digest: Any) -> str:
    """The hexadecimal part of a digest. Raises: ImageError for any other text."""
    match = DIGEST.match(digest) if isinstance(digest, str) else None
    if match is None:
        raise ImageError(f"{str(digest)[:80]!r} is no sha256 digest")
    return match.group(1)


class Blobs:
    """See the module. `root` is made on the first write."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "blobs" / "sha256"

    def path(self, digest: str) -> Path:
        """Where the blob is, whether it exists or not."""
        return self.directory / digest_hex(digest)

    def add(self, source: IO[bytes], expected: str = "") -> tuple[str, int]:
        """Store a stream; answers its digest and size. Raises: ImageError if it is not `expected`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        hasher, size = hashlib.sha256(), 0
        handle, name = tempfile.mkstemp(dir=self.directory, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                while data := source.read(CHUNK):
                    hasher.update(data)
                    size += len(data)
                    file.write(data)
            digest = f"sha256:{hasher.hexdigest()}"
            if expected and digest != expected:
                raise ImageError(f"blob {expected} is damaged: its content has the digest {digest}")
            os.chmod(name, 0o644)
            os.replace(name, self.path(digest))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return digest, size

    def add_json(self, value: Any) -> tuple[str, int]:
        """Store a document; answers its digest and size."""
        import io

        return self.add(io.BytesIO(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)))

    def read_json(self, digest: str) -> dict[str, Any]:
        """A document. Raises: ImageError when it is missing or no object."""
        path = self.path(digest)
        try:
            if path.stat().st_size > MAX_JSON_BYTES:
                raise ImageError(f"blob {digest} is too large for a document")
            value = orjson.loads(path.read_bytes())
        except OSError as error:
            raise ImageError(f"blob {digest} is missing: {error.strerror}") from None
        except orjson.JSONDecodeError as error:
            raise ImageError(f"blob {digest} is no JSON: {error}") from None
        if not isinstance(value, dict):
            raise ImageError(f"blob {digest} is no JSON object")
        return value

    def sweep(self, keep: set[str]) -> int:
        """Remove all blobs but those; answers how many bytes that freed."""
        freed = 0
        for path in self.directory.glob("[0-9a-f]*"):
            if f"sha256:{path.name}" not in keep:
                freed += path.stat().st_size
                path.unlink()
        return freed
