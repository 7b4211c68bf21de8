"""What the volume plugins share: a pod's claims, the volumes behind them, and their classes.

Owns look-ups and the scheduler's own bets on claims and volumes (`Assumed`), which hold from the
moment a pod is given a node until the API shows the same. No plugin is in here.
https://kubernetes.io/docs/concepts/storage/persistent-volumes/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from actors.scheduler._cache import claim_names
from actors.scheduler._node_selector import NodeSelector, compile_required
from actors.scheduler._nodes import Bools, NodeTable
from actors.scheduler._objects import Objects
from actors.scheduler._pods import PodInfo
from actors.scheduler._resources import amount

__all__ = ["Assumed", "Claim", "claims_of", "storage_class", "storage_of", "volume_nodes"]

Object = dict[str, Any]
NO_PROVISIONER = "kubernetes.io/no-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


class Claim(NamedTuple):
    """One claim of a pod; `object` None: it does not exist (yet)."""

    name: str
    ephemeral: bool
    object: Object | None


class Assumed:
    """Versions of claims and volumes that the scheduler has decided on and not yet seen."""

    def __init__(self) -> None:
        self.claims: dict[str, Object] = {}
        self.volumes: dict[str, Object] = {}
        self.version = 0

    def claim(self, objects: Objects, key: str) -> Object | None:
        """A claim as it is or is going to be."""
        return self._newer(self.claims, key, objects.get("persistentvolumeclaims", key))

    def volume(self, objects: Objects, name: str) -> Object | None:
        return self._newer(self.volumes, name, objects.get("persistentvolumes", name))

    def all_volumes(self, objects: Objects) -> list[Object]:
        return [self._newer(self.volumes, v["metadata"]["name"], v) or v for v in objects.list("persistentvolumes")]

    def _newer(self, assumed: dict[str, Object], key: str, seen: Object | None) -> Object | None:
        """The assumed version, while the one seen is the one it was made from."""
        bet = assumed.get(key)
        if bet is None:
            return seen
        if seen is None or _version(seen) != _version(bet):
            del assumed[key]
            return seen
        return bet

    def forget(self, claims: list[Object], volumes: list[Object]) -> None:
        """Take bets back."""
        for claim in claims:
            meta = claim["metadata"]
            self.claims.pop(f"{meta.get('namespace', '')}/{meta['name']}", None)
        for volume in volumes:
            self.volumes.pop(volume["metadata"]["name"], None)
        self.version += 1


def _version(obj: Object) -> Any:
    return obj["metadata"].get("resourceVersion")


def claims_of(pod: PodInfo, objects: Objects, assumed: Assumed | None = None) -> list[Claim]:
    """The claims that a pod's volumes name, in their order."""
    found = []
    names = claim_names(pod)
    users = [v for v in pod.cls.volumes if "persistentVolumeClaim" in v or "ephemeral" in v]
    for volume, name in zip(users, names, strict=True):
        key = f"{pod.namespace}/{name}"
        obj = objects.get("persistentvolumeclaims", key) if assumed is None else assumed.claim(objects, key)
        found.append(Claim(name, "ephemeral" in volume, obj))
    return found


def claim_class(claim: Object) -> str:
    """The name of a claim's storage class; empty for none."""
    annotated = (claim["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
    if annotated is not None:
        return str(annotated)
    return (claim.get("spec") or {}).get("storageClassName") or ""


def storage_class(objects: Objects, name: str) -> Object | None:
    return objects.get("storageclasses", name) if name else None


def waits_for_consumer(objects: Objects, claim: Object) -> bool:
    """Whether a claim is bound only once a pod that uses it is given a node."""
    found = storage_class(objects, claim_class(claim))
    return (found or {}).get("volumeBindingMode") == "WaitForFirstConsumer"


def is_bound(claim: Object) -> bool:
    """Whether the claim has its volume, and the controller has finished binding it."""
    annotations = claim["metadata"].get("annotations") or {}
    return bool((claim.get("spec") or {}).get("volumeName")) and BIND_COMPLETED in annotations


def storage_of(listed: Any) -> int:
    """Bytes of `storage` in a resource list."""
    text = (listed or {}).get("storage")
    return amount("storage", text) if text is not None else 0


def _affinity(volume: Object) -> NodeSelector | None:
    required = ((volume.get("spec") or {}).get("nodeAffinity") or {}).get("required")
    return compile_required(None, required) if required else None


def volume_nodes(volume: Object, table: NodeTable, memo: dict[Any, Any]) -> Bools:
    """Rows from which a volume can be reached. Kept in `memo` until a node changes."""
    key = (volume["metadata"].get("uid"), _version(volume))
    stamp = (table.generation, table.size)
    kept = memo.get(key)
    if kept is not None and kept[0] == stamp:
        found: Bools = kept[1]
        return found
    affinity = _affinity(volume)
    if affinity is None:
        found = np.ones(table.size, np.bool_)
    else:
        found = table.matching(affinity, slice(0, table.size))
    if len(memo) > 2000:
        memo.clear()
    memo[key] = (stamp, found)
    return found


def inline_volumes(pod: PodInfo) -> Iterator[Object]:
    """Volumes that are not claims."""
    for volume in pod.cls.volumes:
        if "persistentVolumeClaim" not in volume and "ephemeral" not in volume:
            yield volume
