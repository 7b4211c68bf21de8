"""The store: names of images, what they consist of, which layers are unpacked and who uses them.

    index.json            name -> manifest (an OCI image index; names are annotations)
    blobs/sha256/<hex>    manifests, configs, layers
    layers/<chain>/       a layer unpacked, named after itself and all below it
    uses/<user>           the manifest that somebody (a container) uses

A name that is removed takes its blobs with it when no other name shares them; layers stay while
they are used. Processes that share a store lock it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from actors.runtime._images import normal_reference
from actors.runtime.images._blobs import Blobs, ImageError, digest_hex
from actors.runtime.images._layers import unpack
from protocol.cri import CriError, Image

__all__ = ["LocalImage", "LocalImages"]

NAME = "org.opencontainers.image.ref.name"
CHAIN_HEX = 24
"""Letters of a chain's digest in its directory's name: overlayfs takes all of them on one page."""
MAX_LAYERS = 127


class LocalImage(NamedTuple):
    """One image. `config` is the OCI image configuration, `digest` the manifest's."""

    digest: str
    names: tuple[str, ...]
    manifest: dict[str, Any]
    config: dict[str, Any]

    @property
    def id(self) -> str:
        """The image id: the digest of its configuration."""
        return str(self.manifest["config"]["digest"])

    @property
    def size_bytes(self) -> int:
        """What its configuration and (compressed) layers take."""
        return int(self.manifest["config"].get("size", 0)) + sum(int(e.get("size", 0)) for e in self.manifest["layers"])

    def as_cri(self) -> Image:
        """As the CRI lists it."""
        tags = tuple(n for n in self.names if "@" not in n)
        digests = tuple(dict.fromkeys(f"{_repository(n)}@{self.digest}" for n in self.names))
        user = str((self.config.get("config") or {}).get("User") or "")
        return Image(self.id, tags, digests, self.size_bytes, user=user)


def _repository(name: str) -> str:
    plain = name.partition("@")[0]
    return plain.rsplit(":", 1)[0] if ":" in plain.rsplit("/", 1)[-1] else plain


class LocalImages:
    """See the module. Everything may block and raises `ImageError`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = Blobs(root)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the store meanwhile."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            file = (self.root / "lock").open("w")
        except OSError as error:
            raise ImageError(f"the image store {self.root} cannot be written: {error.strerror}") from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # -- names

    def names(self) -> dict[str, str]:
        """Name -> digest of the manifest."""
        try:
            index = orjson.loads((self.root / "index.json").read_bytes())
            return {e["annotations"][NAME]: e["digest"] for e in index["manifests"]}
        except FileNotFoundError:
            return {}
        except (OSError, KeyError, TypeError, orjson.JSONDecodeError) as error:
            raise ImageError(f"the image store's index {self.root / 'index.json'} is damaged: {error}") from None

    def _write(self, names: dict[str, str]) -> None:
        entries = [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest,
                "size": self.blobs.path(digest).stat().st_size,
                "annotations": {NAME: name},
            }
            for name, digest in sorted(names.items())
        ]
        handle, path = tempfile.mkstemp(dir=self.root, prefix=".index-")
        with os.fdopen(handle, "wb") as file:
            file.write(orjson.dumps({"schemaVersion": 2, "manifests": entries}, option=orjson.OPT_INDENT_2))
        os.chmod(path, 0o644)
        os.replace(path, self.root / "index.json")
        (self.root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def tag(self, name: str, digest: str) -> str:
        """Give a manifest a name; answers the name in full."""
        full = reference(name)
        self._image(digest, (full,))  # it must be whole
        self._write({**self.names(), full: digest})
        return full

    def find(self, image: str) -> LocalImage | None:
        """By name, digest, id or the beginning of an id; None if it is not here."""
        names = self.names()
        wanted = _digest_wanted(image)
        full = "" if image.startswith("sha256:") else reference(image) if not _is_hex(image) else ""
        if full in names:
            return self._image(names[full], _names_of(names, names[full]))
        for digest in dict.fromkeys(names.values()):
            found = self._image(digest, _names_of(names, digest))
            if wanted and (digest[7:].startswith(wanted) or found.id[7:].startswith(wanted)):
                return found
        return None

    def all(self) -> list[LocalImage]:
        """Every image, by name."""
        names = self.names()
        return [self._image(d, _names_of(names, d)) for d in dict.fromkeys(names.values())]

    def _image(self, digest: str, names: tuple[str, ...]) -> LocalImage:
        manifest = self.blobs.read_json(digest)
        layers, config = manifest.get("layers"), manifest.get("config")
        if not isinstance(layers, list) or not isinstance(config, dict):
            raise ImageError(f"{digest} is no image manifest")
        document = self.blobs.read_json(config.get("digest", ""))
        diffs = (document.get("rootfs") or {}).get("diff_ids") or []
        if len(diffs) != len(layers):
            raise ImageError(f"image {digest} has {len(layers)} layers, and a configuration for {len(diffs)}")
        if len(layers) > MAX_LAYERS:
            raise ImageError(f"image {digest} has {len(layers)} layers; {MAX_LAYERS} can be stacked")
        for layer, diff in zip(layers, diffs, strict=True):
            digest_hex(diff)
            if not self.blobs.path(layer.get("digest", "")).is_file():
                raise ImageError(f"image {digest} lacks its layer {layer.get('digest')}")
        return LocalImage(digest, names, manifest, document)

    # -- layers

    def layers(self, image: LocalImage) -> list[Path]:
        """The image's layers as directories, unpacked if they are not yet; the lowest first."""
        found: list[Path] = []
        chain = ""
        with self.locked():
            for layer, diff in zip(image.manifest["layers"], image.config["rootfs"]["diff_ids"], strict=True):
                chain = diff if not chain else f"sha256:{hashlib.sha256(f'{chain} {diff}'.encode()).hexdigest()}"
                place = self.root / "layers" / chain[7 : 7 + CHAIN_HEX]
                if not place.is_dir():
                    unpack(self.blobs.path(layer["digest"]), place, diff)
                found.append(place)
        return found

    def use(self, user: str, image: LocalImage) -> None:
        """`user` needs the image's layers from now on."""
        (self.root / "uses").mkdir(parents=True, exist_ok=True)
        (self.root / "uses" / user).write_bytes(orjson.dumps([image.digest, image.id]))

    def release(self, user: str) -> None:
        """`user` needs its image no more; what nobody needs is removed."""
        path = self.root / "uses" / user
        if path.exists():
            path.unlink()
            self.collect()

    def _used(self) -> set[str]:
        used = set()
        for path in (self.root / "uses").glob("*"):
            with contextlib.suppress(OSError, orjson.JSONDecodeError):
                used.add(orjson.loads(path.read_bytes())[0])
        return used

    # -- removal

    def remove(self, image: str) -> list[str]:
        """Remove a name (or all names of an id); answers them.

        Raises: ImageError if there is no such image.
        """
        with self.locked():
            found = self.find(image)
            if found is None:
                raise ImageError(f"no image {image!r} is here")
            names = self.names()
            full = reference(image) if not image.startswith("sha256:") and not _is_hex(image) else ""
            gone = [full] if full in names else list(found.names)
            self._write({n: d for n, d in names.items() if n not in gone})
        self.collect()
        return gone

    def collect(self) -> int:
        """Remove blobs and layers that no name and no user needs; answers the bytes of blobs freed."""
        with self.locked():
            keep: set[str] = set()
            chains: set[str] = set()
            for digest in {*self.names().values(), *self._used()}:
                with contextlib.suppress(ImageError):
                    image = self._image(digest, ())
                    keep |= {digest, image.id} | {layer["digest"] for layer in image.manifest["layers"]}
                    chain = ""
                    for diff in image.config["rootfs"]["diff_ids"]:
                        text = f"{chain} {diff}".encode()
                        chain = diff if not chain else f"sha256:{hashlib.sha256(text).hexdigest()}"
                        chains.add(chain[7 : 7 + CHAIN_HEX])
            for place in (self.root / "layers").glob("*"):
                if place.name not in chains:
                    shutil.rmtree(place, ignore_errors=True)
            return self.blobs.sweep(keep)


def reference(name: str) -> str:
    """A name in full. Raises: ImageError for what is none."""
    try:
        return normal_reference(name)
    except CriError as error:
        raise ImageError(f"{name!r} is no image name: {error.message}") from None


def _names_of(names: dict[str, str], digest: str) -> tuple[str, ...]:
    return tuple(n for n, d in names.items() if d == digest)


def _is_hex(text: str) -> bool:
    return len(text) >= 12 and all(c in "0123456789abcdef" for c in text)


def _digest_wanted(image: str) -> str:
    if "@sha256:" in image:
        return image.partition("@sha256:")[2]
    plain = image.removeprefix("sha256:")
    return plain if _is_hex(plain) else ""
