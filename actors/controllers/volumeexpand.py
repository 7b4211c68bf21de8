"""The volume expander: claims that ask for more than they have.

Owns the growth of volumes that the local provisioner made, whose size is a number and nothing else.
Other volumes are left to an external resizer, and an event says so. Facts: kubernetes
pkg/controller/volume/expand.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from actors.controllers._localvolume import LOCAL_PROVISIONER
from actors.controllers._reconcile import Context, Controller
from actors.controllers._volumes import PROVISIONED_BY, capacity, requested
from protocol.objects import Object, key, mutable, spec, status
from protocol.objects import annotations as annotations_of
from protocol.quantity import parse_quantity

__all__ = ["VolumeExpander"]

CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"
_EXTERNAL = "waiting for an external controller to expand this PVC"


class VolumeExpander(Controller):
    """Grows volumes. Keys: claims."""

    component: ClassVar[str] = "volume_expand"
    resources: ClassVar[tuple[str, ...]] = (CLAIMS, VOLUMES)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.provisioners = {LOCAL_PROVISIONER, *context.options.extra.get("local_provisioners", ())}
        self.on_change(CLAIMS, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and status(new).get("phase") == "Bound" and requested(new) > _held(new):
            if old is None or spec(old) != spec(new) or status(old).get("phase") != "Bound":
                self.queue.add(key(new))

    async def reconcile(self, key: str) -> None:
        claim = self.store(CLAIMS).get(key)
        if claim is None or status(claim).get("phase") != "Bound" or requested(claim) <= _held(claim):
            return
        volume = self.store(VOLUMES).get(spec(claim).get("volumeName", ""))
        if volume is None:
            return
        if annotations_of(volume).get(PROVISIONED_BY) not in self.provisioners:
            about = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim}
            self.recorder.event(about, "Normal", "ExternalExpanding", _EXTERNAL)
            return
        size = spec(claim)["resources"]["requests"]["storage"]
        if capacity(volume) < requested(claim):
            grown = mutable(volume)
            grown["spec"]["capacity"] = {**(spec(volume).get("capacity") or {}), "storage": size}
            await self.client.update(VOLUMES, grown)
        changed = mutable(claim)
        changed["status"] = {**status(claim), "capacity": {**(status(claim).get("capacity") or {}), "storage": size}}
        await self.client.update_status(CLAIMS, changed)


def _held(claim: Object) -> Decimal:
    """What a claim has, in bytes."""
    return parse_quantity((status(claim).get("capacity") or {}).get("storage", "0"))
