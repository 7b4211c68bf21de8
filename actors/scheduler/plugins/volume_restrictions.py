"""VolumeRestrictions: disks that two pods cannot share, claims that only one pod may use."""

from __future__ import annotations

from typing import Any

import numpy as np

from actors.scheduler._events import ClusterEvent, EventHint
from actors.scheduler._framework import ColumnPlugin, Cycle
from actors.scheduler._nodes import Ints, Rows
from actors.scheduler._pods import PodInfo
from actors.scheduler._status import SKIP, SUCCESS, Code, Status
from actors.scheduler.plugins.volumes import claims_of, inline_volumes

__all__ = ["VolumeRestrictions"]

Object = dict[str, Any]
_DISKS = ("gcePersistentDisk", "awsElasticBlockStore", "rbd", "iscsi")


def _conflict(mine: Object, theirs: Object) -> bool:
    """Whether two inline volumes are one disk that cannot be attached for both."""
    if "gcePersistentDisk" in mine and "gcePersistentDisk" in theirs:
        a, b = mine["gcePersistentDisk"], theirs["gcePersistentDisk"]
        return a.get("pdName") == b.get("pdName") and not (a.get("readOnly") and b.get("readOnly"))
    if "awsElasticBlockStore" in mine and "awsElasticBlockStore" in theirs:
        a, b = mine["awsElasticBlockStore"], theirs["awsElasticBlockStore"]
        return bool(a.get("volumeID") == b.get("volumeID"))
    if "iscsi" in mine and "iscsi" in theirs:
        a, b = mine["iscsi"], theirs["iscsi"]
        return a.get("iqn") == b.get("iqn") and not (a.get("readOnly") and b.get("readOnly"))
    if "rbd" in mine and "rbd" in theirs:
        a, b = mine["rbd"], theirs["rbd"]
        return (
            not set(a.get("monitors") or ()).isdisjoint(b.get("monitors") or ())
            and a.get("pool", "rbd") == b.get("pool", "rbd")
            and a.get("image") == b.get("image")
            and not (a.get("readOnly") and b.get("readOnly"))
        )
    return False


class VolumeRestrictions(ColumnPlugin):
    name = "VolumeRestrictions"
    disk = Status(Code.UNSCHEDULABLE, ("node(s) had no available disk",), name)
    exclusive = Status(
        Code.UNSCHEDULABLE,
        ("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",),
        name,
    )

    def pre_filter(self, cycle: Cycle) -> Status:
        if not cycle.cls.volumes:
            return SKIP
        pod, objects = cycle.pod, self.handle.objects
        held = False
        for claim in claims_of(pod, objects):
            if claim.ephemeral:
                continue  # the volume's own claim is nobody else's; that it is awaited, another plugin says
            if claim.object is None:
                return Status(Code.UNRESOLVABLE, (f'persistentvolumeclaim "{claim.name}" not found',), self.name)
            modes = (claim.object.get("spec") or {}).get("accessModes") or ()
            if "ReadWriteOncePod" in modes:
                users = cycle.cache.claim_users.get(f"{pod.namespace}/{claim.name}", {})
                held = held or any(uid != pod.uid for uid in users)
        disks = [v for v in inline_volumes(pod) if not v.keys().isdisjoint(_DISKS)]
        if not held and not disks:
            return SKIP
        cycle.data[self.name] = (held, disks)
        return SUCCESS

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Ints | None:
        held, disks = cycle.data.get(self.name, (False, []))
        codes: Ints = np.zeros(cycle.table.alive[rows].shape[0], np.int64)
        if held:
            codes[:] = cycle.statuses.code(self.exclusive)
        if disks:
            numbers = np.arange(cycle.table.size)[rows]
            code = cycle.statuses.code(self.disk)
            for i, row in enumerate(numbers.tolist()):
                theirs = [v for p in cycle.cache.pods_on(row).values() for v in inline_volumes(p)]
                if any(_conflict(mine, other) for mine in disks for other in theirs):
                    codes[i] = code
        return codes

    def events(self) -> tuple[EventHint, ...]:
        def frees(pod: PodInfo, event: ClusterEvent) -> bool:
            return bool(((event.old or {}).get("spec") or {}).get("volumes"))

        return (
            EventHint("AssignedPod", frozenset({"delete"}), frees),
            EventHint("Node", frozenset({"add"})),
            EventHint("PersistentVolumeClaim", frozenset({"add", "update"}), own_claim),
        )


def own_claim(pod: PodInfo, event: ClusterEvent) -> bool:
    """Whether a claim that came or changed is one of the pod's."""
    from actors.scheduler._cache import claim_names

    meta = (event.new or event.old or {}).get("metadata") or {}
    return meta.get("namespace") == pod.namespace and meta.get("name") in claim_names(pod)
