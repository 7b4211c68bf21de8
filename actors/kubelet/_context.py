"""What all workers of one kubelet share. Written by the kubelet alone, read by its workers."""

from __future__ import annotations

from typing import Any

from actors.kernel import Ref
from actors.kubelet._config import KubeletConfig

__all__ = ["NodeContext"]

Object = dict[str, Any]


class NodeContext:
    """`pods` holds the API's latest pod by uid, `workers` its worker, `removed` the uids of pods that
    the API has forgotten while their worker still cleans up, `mirrors` the API's pods that only show
    static ones, by (namespace, name)."""

    __slots__ = (
        "allocatable",
        "apiserver",
        "config",
        "kubelet",
        "memory_bytes",
        "mirrors",
        "name",
        "pods",
        "prefix",
        "removed",
        "runtime",
        "workers",
    )

    def __init__(self, name: str, apiserver: Ref, runtime: Ref, kubelet: Ref, config: KubeletConfig) -> None:
        self.name = name
        self.apiserver = apiserver
        self.runtime = runtime
        self.kubelet = kubelet
        self.config = config
        self.prefix = "containerd"
        self.allocatable: Object = {}
        self.memory_bytes = 1
        self.pods: dict[str, Object] = {}
        self.workers: dict[str, Ref] = {}
        self.removed: set[str] = set()
        self.mirrors: dict[tuple[str, str], Object] = {}
