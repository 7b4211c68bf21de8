"""When two pods are of one class: a signature over the raw fields that placement depends on.

What is *not* part of it must not influence any plugin: the pod's name, the names of its volumes (the
API server adds one with a random name to every pod), its environment, its priority.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from protocol.objects import controller_of

__all__ = ["signature_of", "volumes_of"]

Object = dict[str, Any]

_VOLUMES = frozenset(
    (
        "persistentVolumeClaim",
        "ephemeral",
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "rbd",
        "iscsi",
        "csi",
        "image",
    )
)
"""Sources of volumes that some plugin looks at."""


def volumes_of(spec: Mapping[str, Any]) -> list[Object]:
    """The volumes that some plugin looks at."""
    return [v for v in spec.get("volumes") or () if not v.keys().isdisjoint(_VOLUMES)]


def _containers_signature(listed: Any) -> list[Any]:
    return [(c.get("image"), c.get("resources"), c.get("ports"), c.get("restartPolicy")) for c in listed or ()]


def signature_of(pod: Object) -> bytes:
    """Bytes that are equal for pods of one class."""
    meta = pod.get("metadata") or {}
    spec = pod.get("spec") or {}
    owner = controller_of(pod) or {}
    parts: list[Any] = [
        meta.get("namespace"),
        meta.get("labels"),
        owner.get("uid"),
        _containers_signature(spec.get("containers")),
        spec.get("nodeSelector"),
        spec.get("tolerations"),
    ]
    for name in ("affinity", "topologySpreadConstraints", "overhead", "resources", "resourceClaims"):
        part = spec.get(name)
        if part:
            parts.append((name, part))
    if spec.get("initContainers"):
        parts.append(("init", _containers_signature(spec["initContainers"])))
    volumes = volumes_of(spec)
    if volumes:
        # An ephemeral volume's claim bears the pod's name.
        own = meta.get("name") if any("ephemeral" in v for v in volumes) else ""
        parts.append(("volumes", own, volumes))
    if spec.get("resourceClaims"):
        parts.append((meta.get("name"), (pod.get("status") or {}).get("resourceClaimStatuses")))
    if spec.get("nodeName"):
        resizing = [
            (c.get("name"), c.get("allocatedResources"), c.get("resources"))
            for c in (pod.get("status") or {}).get("containerStatuses") or ()
            if c.get("allocatedResources") or c.get("resources")
        ]
        if resizing:
            parts.append(resizing)
    return orjson.dumps(parts)
