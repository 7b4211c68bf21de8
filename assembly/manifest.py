"""Manifests as people write them: text, files, folders, objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from protocol.objects import Object

__all__ = ["ManifestError", "read_manifest"]


class ManifestError(ValueError):
    """A manifest that is no YAML, or holds what is no Kubernetes object; the text says where."""


def read_manifest(manifest: str | Path | Object | Iterable[Object]) -> list[Object]:
    """The objects of a manifest: YAML text, a file or a folder of files, an object or several.

    Raises: ManifestError, naming the document that is wrong.
    """
    if isinstance(manifest, Mapping):
        documents: list[Any] = [manifest]
    elif isinstance(manifest, Path):
        files = (
            sorted(p for p in manifest.iterdir() if p.suffix in (".yaml", ".yml", ".json"))
            if manifest.is_dir()
            else [manifest]
        )
        documents = [document for file in files for document in _load_yaml(file.read_text(), str(file))]
    elif isinstance(manifest, str):
        documents = _load_yaml(manifest, "manifest")
    else:
        documents = list(manifest)
    objects: list[Object] = []
    for number, document in enumerate(documents, 1):
        if document is None:
            continue
        if not isinstance(document, Mapping) or not document.get("kind") or not document.get("apiVersion"):
            raise ManifestError(
                f"document {number} of the manifest is no Kubernetes object: it needs apiVersion and kind"
            )
        if str(document["kind"]).endswith("List") and isinstance(document.get("items"), list):
            objects.extend(read_manifest(document["items"]))
        else:
            objects.append(dict(document))
    return objects


def _load_yaml(text: str, where: str) -> list[Any]:
    import yaml

    from protocol.yamltext import manifest_loader

    try:
        return list(yaml.load_all(text, manifest_loader()))
    except yaml.YAMLError as error:
        raise ManifestError(f"{where}: {' '.join(str(error).split())}") from None
