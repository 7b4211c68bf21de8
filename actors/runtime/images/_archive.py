"""Images from files: OCI layouts, `docker save` tarballs of both formats, and plain root file systems.

Owns the reading of these forms. What it takes over is verified against its digest before it has a
name; nothing of a file's names becomes a path of this machine.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
https://github.com/moby/docker-image-spec
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import platform
import posixpath
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol, cast

import orjson

from actors.runtime.images._blobs import CHUNK, ImageError, digest_hex
from actors.runtime.images._layers import decompressed
from actors.runtime.images._store import NAME, LocalImages

__all__ = ["import_rootfs", "load"]

Object = dict[str, Any]
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MAX_JSON_BYTES = 8 << 20
MAX_LINKS = 8
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class _Source(Protocol):
    """The files of a layout, in a directory or in a tarball."""

    def open(self, name: str) -> IO[bytes] | None:
        """The file of that name, or None."""


class _Directory:
    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self, name: str) -> IO[bytes] | None:
        path = self.root / name
        inside = path.resolve().is_relative_to(self.root.resolve())
        return path.open("rb") if inside and path.is_file() else None


class _Tarball:
    def __init__(self, file: IO[bytes]) -> None:
        self.archive = tarfile.TarFile(fileobj=file)
        self.members = {posixpath.normpath(m.name): m for m in self.archive}

    def open(self, name: str) -> IO[bytes] | None:
        for _ in range(MAX_LINKS):  # old `docker save` links equal layers
            member = self.members.get(posixpath.normpath(name))
            if member is None or not (member.issym() or member.islnk()):
                return self.archive.extractfile(member) if member is not None and member.isfile() else None
            name = posixpath.join(posixpath.dirname(name), member.linkname) if member.issym() else member.linkname
        return None


def load(store: LocalImages, path: Path, name: str = "") -> list[str]:
    """Take over every image of a file or directory; answers their names.

    `name` is for an image that has none. Raises: ImageError.
    """
    with _opened(path) as source, store.locked():
        if source.open("index.json") is not None:
            names = _from_layout(store, source, name)
        elif source.open("manifest.json") is not None:
            names = _from_docker(store, source, name)
        else:
            raise ImageError(
                f"{path} is no image: it has neither index.json (OCI layout) nor manifest.json (docker save); "
                "a plain root file system is taken by import-rootfs"
            )
    if not names:
        raise ImageError(f"{path} holds images without a name: give one with --name")
    return names


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Source]:
    """The path as a source; compressed tarballs are expanded to a temporary file first."""
    if path.is_dir():
        yield _Directory(path)
        return
    try:
        with contextlib.ExitStack() as stack:
            file: IO[bytes] = stack.enter_context(path.open("rb"))
            plain = decompressed(file)
            if plain is not file:
                expanded = stack.enter_context(tempfile.TemporaryFile())
                while data := plain.read(CHUNK):
                    expanded.write(data)
                expanded.seek(0)
                file = cast(IO[bytes], expanded)
            yield _Tarball(file)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror or error}") from None
    except (tarfile.TarError, EOFError) as error:
        raise ImageError(f"{path} is no tarball: {error}") from None


def _json(source: _Source, name: str) -> Any:
    file = source.open(name)
    if file is None:
        raise ImageError(f"{name} is missing")
    data = file.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise ImageError(f"{name} is too large")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ImageError(f"{name} is no JSON: {error}") from None


# -- OCI layouts


def _from_layout(store: LocalImages, source: _Source, name: str) -> list[str]:
    index = _json(source, "index.json")
    docker: dict[str, list[str]] = {}
    if source.open("manifest.json") is not None:  # `docker save` since 25 writes both
        for entry in _json(source, "manifest.json"):
            docker[posixpath.basename(str(entry.get("Config")))] = list(entry.get("RepoTags") or ())
    names = []
    for descriptor in _entries(index):
        manifest = _chosen(source, descriptor)
        if manifest is None:
            continue
        digest = _take(store, source, manifest)
        for tag in _names(descriptor, store.blobs.read_json(digest), docker, name):
            names.append(store.tag(tag, digest))
    return names


def _entries(index: Any) -> list[Object]:
    entries = index.get("manifests") if isinstance(index, dict) else None
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise ImageError("the index lists no manifests")
    return entries


def _names(descriptor: Object, manifest: Object, docker: dict[str, list[str]], name: str) -> list[str]:
    notes = descriptor.get("annotations") or {}
    full = notes.get("io.containerd.image.name") or notes.get(NAME)
    tags = docker.get(manifest["config"]["digest"][7:])
    if name:
        return [name]
    if tags:
        return tags
    return [full] if full and ("/" in full or ":" in full) else []


def _chosen(source: _Source, descriptor: Object, depth: int = 0) -> Object | None:
    """The manifest of this machine's platform; None for what is no image (signatures, attestations)."""
    kind = descriptor.get("mediaType", MANIFESTS[0])
    if kind in MANIFESTS:
        return descriptor
    if kind not in INDEXES or depth > 4:
        return None
    entries = _entries(_json(source, _blob_name(descriptor)))
    wanted = ARCHITECTURES.get(platform.machine(), platform.machine())
    fitting = [e for e in entries if (e.get("platform") or {}).get("architecture") == wanted]
    if not fitting and any(e.get("platform") for e in entries):
        have = ", ".join(sorted({str((e.get("platform") or {}).get("architecture")) for e in entries}))
        raise ImageError(f"the image is for {have}; this machine is {wanted}")
    for entry in fitting or entries:
        found = _chosen(source, entry, depth + 1)
        if found is not None:
            return found
    return None


def _blob_name(descriptor: Object) -> str:
    return f"blobs/sha256/{digest_hex(descriptor.get('digest'))}"


def _blob(store: LocalImages, source: _Source, descriptor: Object) -> None:
    file = source.open(_blob_name(descriptor))
    if file is None:
        raise ImageError(f"blob {descriptor.get('digest')} is missing from the image")
    store.blobs.add(file, descriptor["digest"])


def _take(store: LocalImages, source: _Source, descriptor: Object) -> str:
    """Store a manifest and all it names."""
    _blob(store, source, descriptor)
    manifest = store.blobs.read_json(descriptor["digest"])
    config, layers = manifest.get("config"), manifest.get("layers")
    if not isinstance(config, dict) or not isinstance(layers, list) or not all(isinstance(x, dict) for x in layers):
        raise ImageError(f"{descriptor['digest']} is no image manifest")
    for part in (config, *layers):
        _blob(store, source, part)
    return str(descriptor["digest"])


# -- docker save


def _from_docker(store: LocalImages, source: _Source, name: str) -> list[str]:
    entries = _json(source, "manifest.json")
    if not isinstance(entries, list):
        raise ImageError("manifest.json is no list of images")
    names = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("Layers"), list):
            raise ImageError("manifest.json has an entry that is no image")
        file = source.open(str(entry.get("Config")))
        if file is None:
            raise ImageError(f"the configuration {entry.get('Config')} is missing from the image")
        data = file.read(MAX_JSON_BYTES)
        stem = posixpath.basename(str(entry["Config"])).removesuffix(".json")
        expected = f"sha256:{stem}" if len(stem) == 64 else ""
        config, size = store.blobs.add(io.BytesIO(data), expected)
        layers = []
        for path in entry["Layers"]:
            layer = source.open(str(path))
            if layer is None:
                raise ImageError(f"the layer {path} is missing from the image")
            digest, length = store.blobs.add(layer)
            layers.append({"mediaType": LAYER, "digest": digest, "size": length})
        digest = _manifest(store, config, size, layers)
        names += [store.tag(tag, digest) for tag in ([name] if name else entry.get("RepoTags") or ())]
    return names


def _manifest(store: LocalImages, config: str, size: int, layers: list[Object]) -> str:
    return store.blobs.add_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFESTS[0],
            "config": {"mediaType": CONFIG, "digest": config, "size": size},
            "layers": layers,
        }
    )[0]


# -- root file systems


def import_rootfs(store: LocalImages, path: Path, name: str, config: Object | None = None) -> str:
    """An image of one layer, from a directory or a tarball of a root file system; answers its name.

    `config` is what the image says of its process (`Cmd`, `Env`, ...). Raises: ImageError.
    """
    try:
        with store.locked(), tempfile.TemporaryFile() as plain:
            if path.is_dir():
                with tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                    for entry in sorted(path.rglob("*")):
                        if not stat.S_ISSOCK(entry.lstat().st_mode):
                            archive.add(entry, arcname=str(entry.relative_to(path)), recursive=False)
            else:
                with path.open("rb") as file:
                    source = decompressed(file)
                    while data := source.read(CHUNK):
                        plain.write(data)
                plain.seek(0)
                tarfile.TarFile(fileobj=plain).close()
            plain.seek(0)
            diff = hashlib.file_digest(cast(Any, plain), "sha256").hexdigest()
            plain.seek(0)
            with (
                tempfile.TemporaryFile() as packed,
                gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=3, mtime=0) as out,
            ):
                while data := plain.read(CHUNK):
                    out.write(data)
                out.close()
                packed.seek(0)
                layer, size = store.blobs.add(cast(IO[bytes], packed))
            document = {
                "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
                "os": "linux",
                "config": {"Env": [f"PATH={PATH}"], **(config or {})},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
            }
            digest, length = store.blobs.add_json(document)
            layers = [{"mediaType": f"{LAYER}+gzip", "digest": layer, "size": size}]
            return store.tag(name, _manifest(store, digest, length, layers))
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror or error}") from None
    except (tarfile.TarError, EOFError) as error:
        raise ImageError(f"{path} is no root file system: {error}") from None
