"""What all workers of one kubelet share. Written by the kubelet alone, read by its workers."""

from __future__ import annotations

from typing import Any

from actors.kernel import Ref
from actors.kubelet._config import KubeletConfig
from actors.kubelet._tallies import Tallies
from actors.kubelet.devices import CpuBook, DeviceBook

__all__ = ["NodeContext", "PodTable"]

Object = dict[str, Any]


class PodTable(dict[str, Object]):
    """Pods by uid. `scripted` are the uids of those whose use of memory, storage or process numbers is
    told by annotations: kept with each change, so that a node with none of them need not ask its pods."""

    def __init__(self) -> None:
        super().__init__()
        self.scripted: set[str] = set()

    def __setitem__(self, uid: str, pod: Object) -> None:
        super().__setitem__(uid, pod)
        if _scripted(pod):
            self.scripted.add(uid)
        else:
            self.scripted.discard(uid)

    def forget(self, uid: str) -> Object | None:
        """Take a pod out; None if there was none."""
        self.scripted.discard(uid)
        return self.pop(uid, None)


def _scripted(pod: Object) -> bool:
    annotations = pod["metadata"].get("annotations")
    return bool(annotations) and any("/usage-" in name and "usage-cpu" not in name for name in annotations)


class NodeContext:
    """`pods` holds the API's latest pod by uid, `workers` its worker, `removed` the uids of pods that
    the API has forgotten while their worker still cleans up, `mirrors` the API's pods that only show
    static ones, by (namespace, name). `tallies` is what everybody of the kubelet adds to."""

    __slots__ = (
        "allocatable",
        "allocations",
        "apiserver",
        "book",
        "claims",
        "config",
        "cpus",
        "features",
        "kubelet",
        "memory_bytes",
        "mirrors",
        "name",
        "plugin_host",
        "pods",
        "prefix",
        "removed",
        "runtime",
        "tallies",
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
        self.features: tuple[str, ...] | None = None
        """What the runtime can do with this machine; None where there is no machine behind it (`VersionResponse`)."""
        self.memory_bytes = 1
        self.pods = PodTable()
        self.workers: dict[str, Ref] = {}
        self.removed: set[str] = set()
        self.mirrors: dict[tuple[str, str], Object] = {}
        self.tallies = Tallies()
        self.book = DeviceBook()
        self.cpus: CpuBook | None = None
        self.plugin_host: Ref | None = None
        self.allocations: dict[str, Object] = {}
        """By pod uid: the resources that the pod and its containers have, by container name, the pod's own under ""."""
        self.claims: dict[str, dict[str, Object]] = {}
        """By pod uid, by the pod's name for it: the ResourceClaims that have been prepared."""
