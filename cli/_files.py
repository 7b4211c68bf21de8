"""Objects from files, for verbs that take `-f`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli._errors import UsageError

if TYPE_CHECKING:
    from actors.scheduler import SchedulerConfig

__all__ = ["load_objects", "scheduler_config"]


def load_objects(path: Any) -> list[dict[str, Any]]:
    """The objects in a YAML or JSON file (`-` for stdin); Lists are unpacked.

    Raises: UsageError when it cannot be read or holds no objects.
    """
    import yaml

    from protocol.yamltext import manifest_loader

    try:
        text = sys.stdin.read() if str(path) == "-" else Path(path).read_text()
        documents = [d for d in yaml.load_all(text, manifest_loader()) if d is not None]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    objects: list[dict[str, Any]] = []
    for document in documents:
        if not isinstance(document, dict):
            raise UsageError(f"{path} holds what is no Kubernetes object: {str(document)[:40]!r}")
        items = document.get("items")
        if str(document.get("kind", "")).endswith("List") and isinstance(items, list):
            kind = str(document["kind"]).removesuffix("List")
            objects.extend({"kind": kind, **item} if kind else item for item in items)
        else:
            objects.append(document)
    if not objects:
        raise UsageError(f"{path} holds no Kubernetes objects")
    return objects


def scheduler_config(path: str) -> SchedulerConfig:
    """A KubeSchedulerConfiguration. Raises: UsageError."""
    from actors.scheduler import load

    try:
        return load(path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None
