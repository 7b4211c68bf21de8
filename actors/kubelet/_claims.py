"""Part of a pod's worker: where the volumes of claims are on the node.

Owns the way from a claim to the directory or device of its PersistentVolume, for runtimes with real files:
hostPath and local volumes. Others (CSI) have no driver here and are a directory of the node's own.
"""

from __future__ import annotations

from typing import Any

from actors.kubelet._volume_setup import claim_names
from actors.kubelet._volumes import MountError
from actors.kubelet._worker_base import WorkerBase
from protocol.api import StatusError

__all__ = ["Claims"]

Object = dict[str, Any]


class Claims(WorkerBase):
    """See the module."""

    async def find_claims(self) -> None:
        """Remember where each claim's volume is. Raises: MountError, when a claim is not bound yet."""
        for volume, name in claim_names(self.pod).items():
            if volume not in self.places:
                place = await self._place(name)
                if place:
                    self.places[volume] = place

    async def _place(self, name: str) -> str:
        try:
            claim = await self.client.get("persistentvolumeclaims", name, self.namespace)
            bound = claim["spec"].get("volumeName")
            if not bound or (claim.get("status") or {}).get("phase") != "Bound":
                raise MountError(f'PVC "{self.namespace}/{name}" is not bound')
            spec = (await self.client.get("persistentvolumes", bound))["spec"]
        except StatusError as error:
            raise MountError(f"error processing PVC {self.namespace}/{name}: {error.message}") from error
        source = spec.get("local") or spec.get("hostPath") or {}
        return str(source.get("path") or "")
