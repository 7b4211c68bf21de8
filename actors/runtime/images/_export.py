"""An image as a tarball that other engines read: an OCI layout that is a `docker save` file too."""

from __future__ import annotations

import io
import tarfile
from typing import IO

import orjson

from actors.runtime.images._store import NAME, LocalImage, LocalImages

__all__ = ["export"]


def export(store: LocalImages, image: LocalImage, file: IO[bytes]) -> None:
    """Write the tarball. Blocks. Raises: OSError."""

    def blob(digest: str) -> str:
        return f"blobs/sha256/{digest[7:]}"

    layers = [layer["digest"] for layer in image.manifest["layers"]]
    documents = {
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
        "index.json": {
            "schemaVersion": 2,
            "manifests": [
                {
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": image.digest,
                    "size": store.blobs.path(image.digest).stat().st_size,
                    "annotations": {"io.containerd.image.name": name, NAME: name},
                }
                for name in image.names
            ],
        },
        "manifest.json": [
            {"Config": blob(image.id), "RepoTags": list(image.names), "Layers": [blob(digest) for digest in layers]}
        ],
    }
    with tarfile.open(fileobj=file, mode="w|") as archive:
        for name, document in documents.items():
            data = orjson.dumps(document)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for digest in dict.fromkeys((image.digest, image.id, *layers)):
            archive.add(store.blobs.path(digest), arcname=blob(digest))
