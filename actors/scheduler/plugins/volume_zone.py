"""VolumeZone: volumes that are bound to a zone or region by their labels."""

from __future__ import annotations

import numpy as np

from actors.scheduler._events import EventHint
from actors.scheduler._framework import ColumnPlugin, Cycle, true_codes
from actors.scheduler._node_selector import NodeRequirement
from actors.scheduler._nodes import Bools, Ints, Rows
from actors.scheduler._status import SKIP, SUCCESS, Code, Status
from actors.scheduler.plugins.volume_restrictions import own_claim
from actors.scheduler.plugins.volumes import claims_of, waits_for_consumer

__all__ = ["VolumeZone"]

_GA = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}
_LABELS = (*_GA.values(), *_GA)


class VolumeZone(ColumnPlugin):
    name = "VolumeZone"
    refusal = Status(Code.UNRESOLVABLE, ("node(s) had no available volume zone",), name)

    def pre_filter(self, cycle: Cycle) -> Status:
        if not cycle.cls.volumes:
            return SKIP
        objects = self.handle.objects
        wanted: list[NodeRequirement] = []
        for claim in claims_of(cycle.pod, objects):
            if claim.object is None:
                text = f'persistentvolumeclaim "{claim.name}" not found'
                return Status(Code.UNRESOLVABLE, (text,), self.name)
            name = (claim.object.get("spec") or {}).get("volumeName") or ""
            if not name:
                if waits_for_consumer(objects, claim.object):
                    continue
                return Status(Code.UNRESOLVABLE, ("PersistentVolumeClaim had no pv name and storageClass name",))
            volume = objects.get("persistentvolumes", name)
            if volume is None:
                return Status(Code.UNRESOLVABLE, (f'persistentvolume "{name}" not found',), self.name)
            labels = volume["metadata"].get("labels") or {}
            wanted += [NodeRequirement(k, "In", tuple(labels[k].split("__"))) for k in _LABELS if k in labels]
        if not wanted:
            return SKIP
        cycle.data[self.name] = wanted
        return SUCCESS

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        wanted: list[NodeRequirement] = cycle.data.get(self.name, [])
        table = cycle.table
        zoned: Bools = np.zeros(table.alive[rows].shape[0], np.bool_)
        for key in _LABELS:
            zoned |= table.label_column(key)[rows] >= 0
        good: Bools = np.ones_like(zoned)
        for requirement in wanted:
            held = table.holding(requirement, rows)
            if requirement.key in _GA:
                # A volume with an old label fits a node that has only the new one.
                held = held | table.holding(requirement._replace(key=_GA[requirement.key]), rows)
            good &= held
        # A node that says nothing of zones is taken to be in all of them.
        return true_codes(zoned & ~good, cycle.statuses.code(self.refusal))

    def events(self) -> tuple[EventHint, ...]:
        return (
            EventHint("StorageClass", frozenset({"add"})),
            EventHint("Node", frozenset({"add", "labels"})),
            EventHint("PersistentVolumeClaim", frozenset({"add", "update"}), own_claim),
            EventHint("PersistentVolume", frozenset({"add", "update"})),
        )
