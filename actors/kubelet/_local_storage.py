"""What pods may store on their node: limits of emptyDirs and of ephemeral storage. Pure.

Owns upstream's words for a pod that has more (`pkg/kubelet/eviction`, "local storage capacity isolation").
https://kubernetes.io/docs/concepts/storage/ephemeral-storage/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.kubelet._eviction import STORAGE, Use, over_limit, total
from protocol.quantity import BINARY, format_quantity, parse_quantity, value

__all__ = ["excess", "is_bounded"]

Object = dict[str, Any]


def _size_limits(pod: Object) -> dict[str, str]:
    """Volume -> its sizeLimit, of emptyDirs that have one."""
    volumes = pod["spec"].get("volumes") or ()
    limits = {v["name"]: (v.get("emptyDir") or {}).get("sizeLimit") for v in volumes}
    return {name: str(limit) for name, limit in limits.items() if limit}


def _storage_limits(pod: Object) -> list[str | None]:
    containers = pod["spec"].get("containers") or ()
    return [((c.get("resources") or {}).get("limits") or {}).get(STORAGE) for c in containers]


def is_bounded(pod: Object) -> bool:
    """Whether it has a limit at all, so that it has to be looked at."""
    return bool(_size_limits(pod)) or any(limit is not None for limit in _storage_limits(pod))


def excess(pod: Object, use: Use, volumes: Mapping[str, int]) -> tuple[str, str]:
    """(why it is to go, the limit's name) of a pod that stores more than it may; empty if it does not.

    `use`: what its containers wrote outside of volumes; `volumes`: bytes in its emptyDirs."""
    for name, limit in _size_limits(pod).items():
        if volumes.get(name, 0) > value(limit):
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". ', "emptydirfs.limit"
    limits = _storage_limits(pod)
    whole = sum(value(str(limit)) for limit in limits if limit is not None)
    if limits and None not in limits and total(use, STORAGE) + sum(volumes.values()) > whole:
        text = f"Pod ephemeral local storage usage exceeds the total limit of containers {_shown(whole)}. "
        return text, "ephemeralpodfs.limit"
    words = over_limit(pod, use)
    return (words, "ephemeralcontainerfs.limit") if words else ("", "")


def _shown(count: int) -> str:
    return format_quantity(parse_quantity(str(count)), BINARY)
