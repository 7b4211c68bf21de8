"""NodeVolumeLimits: how many volumes of a CSI driver a node can attach.

The limit is the driver's `allocatable.count` in the node's CSINode object; without one there is
none. A volume that several pods of the node use counts once.
https://kubernetes.io/docs/concepts/storage/storage-limits/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from actors.scheduler._events import EventHint
from actors.scheduler._framework import ColumnPlugin, Cycle
from actors.scheduler._nodes import Ints, Rows
from actors.scheduler._pods import PodInfo
from actors.scheduler._status import SKIP, SUCCESS, Code, Status
from actors.scheduler.plugins.volume_restrictions import own_claim
from actors.scheduler.plugins.volumes import claim_class, claims_of, inline_volumes, storage_class

__all__ = ["NodeVolumeLimits"]

Object = dict[str, Any]


class NodeVolumeLimits(ColumnPlugin):
    name = "NodeVolumeLimits"
    refusal = Status(Code.UNSCHEDULABLE, ("node(s) exceed max volume count",), name)

    def _volumes(self, pod: PodInfo) -> Iterator[tuple[str, str]]:
        """(driver, handle) of each CSI volume that the pod has attached."""
        objects = self.handle.objects
        for claim in claims_of(pod, objects):
            if claim.object is None:
                continue
            name = (claim.object.get("spec") or {}).get("volumeName") or ""
            volume = objects.get("persistentvolumes", name) if name else None
            if volume is not None:
                csi = (volume.get("spec") or {}).get("csi") or {}
                if csi.get("driver"):
                    yield csi["driver"], csi.get("volumeHandle") or name
                continue
            found = storage_class(objects, claim_class(claim.object)) or {}
            if found.get("provisioner"):
                yield found["provisioner"], f"{pod.namespace}/{claim.name}"
        for inline in inline_volumes(pod):
            csi = inline.get("csi") or {}
            if csi.get("driver"):
                yield csi["driver"], f"{pod.uid}/{inline.get('name', '')}"

    def pre_filter(self, cycle: Cycle) -> Status:
        if not cycle.cls.volumes or not self.handle.objects.list("csinodes"):
            return SKIP
        wanted = set(self._volumes(cycle.pod))
        if not wanted:
            return SKIP
        cycle.data[self.name] = wanted
        return SUCCESS

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        wanted: set[tuple[str, str]] = cycle.data.get(self.name, set())
        codes: Ints = np.zeros(cycle.table.alive[rows].shape[0], np.int64)
        code = cycle.statuses.code(self.refusal)
        numbers = np.arange(cycle.table.size)[rows]
        for i, row in enumerate(numbers.tolist()):
            limits = self._limits(cycle.table.names[row] or "")
            if limits and self._exceeds(cycle, row, wanted, limits):
                codes[i] = code
        return codes

    def _limits(self, node_name: str) -> dict[str, int]:
        node = self.handle.objects.get("csinodes", node_name) or {}
        return {
            driver["name"]: int(driver["allocatable"]["count"])
            for driver in (node.get("spec") or {}).get("drivers") or ()
            if (driver.get("allocatable") or {}).get("count") is not None
        }

    def _exceeds(self, cycle: Cycle, row: int, wanted: set[tuple[str, str]], limits: dict[str, int]) -> bool:
        attached = {v for p in cycle.cache.pods_on(row).values() if p.cls.volumes for v in self._volumes(p)}
        for driver in {d for d, _ in wanted}:
            new = {v for v in wanted if v[0] == driver} - attached
            have = sum(1 for d, _ in attached if d == driver)
            if new and driver in limits and have + len(new) > limits[driver]:
                return True
        return False

    def events(self) -> tuple[EventHint, ...]:
        return (
            EventHint("CSINode", frozenset({"add", "update"})),
            EventHint("AssignedPod", frozenset({"delete"})),
            EventHint("PersistentVolumeClaim", frozenset({"add", "update"}), own_claim),
            EventHint("VolumeAttachment", frozenset({"delete"})),
        )
