"""Part of a pod's worker: where the volumes of claims are on the node.

Owns the way from a claim to the directory or device of its PersistentVolume, for runtimes with real files:
hostPath and local volumes. Others (CSI) have no driver here and are a directory of the node's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from actors.kubelet._pulling import Pulling
from actors.kubelet._volume_setup import claim_names
from actors.kubelet._volumes import MountError
from protocol.api import StatusError

__all__ = ["Claims"]

Object = dict[str, Any]


class Claims(Pulling):
    """See the module. `places`: volume -> directory or device of the node; `block_volumes`: those of mode Block;
    `owned_volumes`: those whose files a pod's fsGroup may own (a hostPath's stay as they are, as everywhere)."""

    places: Mapping[str, str] = MappingProxyType({})
    block_volumes: frozenset[str] = frozenset()
    owned_volumes: frozenset[str] = frozenset()

    async def find_claims(self) -> None:
        """Remember where each claim's volume is. Raises: MountError, when a claim is not bound yet."""
        for volume, name in claim_names(self.pod).items():
            if volume not in self.places:
                place, block, owned = await self._place(name)
                if place:
                    self.places = {**self.places, volume: place}
                if block:
                    self.block_volumes |= {volume}
                if owned:
                    self.owned_volumes |= {volume}

    def readonly_claims(self) -> set[str]:
        """The volumes whose claim is only to be read."""
        volumes = self.pod["spec"].get("volumes") or ()
        return {v["name"] for v in volumes if (v.get("persistentVolumeClaim") or {}).get("readOnly")}

    async def _place(self, name: str) -> tuple[str, bool, bool]:
        """(path on the node or nothing, whether it is a device, whether an fsGroup may own it) of a claim's volume."""
        try:
            claim = await self.client.get("persistentvolumeclaims", name, self.namespace)
            bound = claim["spec"].get("volumeName")
            if not bound or (claim.get("status") or {}).get("phase") != "Bound":
                raise MountError(f'PVC "{self.namespace}/{name}" is not bound')
            spec = (await self.client.get("persistentvolumes", bound))["spec"]
        except StatusError as error:
            raise MountError(f"error processing PVC {self.namespace}/{name}: {error.message}") from error
        source = spec.get("local") or spec.get("hostPath") or {}
        return str(source.get("path") or ""), spec.get("volumeMode") == "Block", spec.get("hostPath") is None
