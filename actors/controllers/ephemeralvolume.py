"""The ephemeral volume controller: a claim for each generic ephemeral volume of a pod.

Owns the claims named `POD-VOLUME`, which the pod owns. Facts: kubernetes
pkg/controller/volume/ephemeral; KEP-1698.
"""

from __future__ import annotations

from typing import ClassVar

from actors.client import StatusError
from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, deleting, is_controlled_by, key, metadata, owner_reference, spec

__all__ = ["EphemeralVolumeController"]


class EphemeralVolumeController(Controller):
    """Makes claims for pods. Keys: pods."""

    component: ClassVar[str] = "ephemeral_volume"
    resources: ClassVar[tuple[str, ...]] = ("pods", "persistentvolumeclaims")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.on_change("pods", self._pod_changed)
        self.on_change("persistentvolumeclaims", self._claim_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is None and new is not None and any(v.get("ephemeral") for v in spec(new).get("volumes") or ()):
            self.queue.add(key(new))

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            for ref in metadata(old).get("ownerReferences") or ():
                if ref.get("kind") == "Pod":
                    self.queue.add(f"{metadata(old)['namespace']}/{ref['name']}")

    async def reconcile(self, key: str) -> None:
        pod = self.store("pods").get(key)
        if pod is None or deleting(pod):
            return
        for volume in spec(pod).get("volumes") or ():
            if volume.get("ephemeral"):
                await self._ensure(pod, volume)

    async def _ensure(self, pod: Object, volume: Object) -> None:
        namespace = metadata(pod)["namespace"]
        name = f"{metadata(pod)['name']}-{volume['name']}"
        claim = self.store("persistentvolumeclaims").named(namespace, name)
        if claim is not None:
            if not is_controlled_by(claim, pod):
                text = f"PVC {namespace}/{name} was not created for pod {namespace}/{metadata(pod)['name']} (pod is not owner)"
                self.recorder.event(pod, "Warning", "EphemeralVolume", text)
            return
        template = volume["ephemeral"].get("volumeClaimTemplate") or {}
        given = template.get("metadata") or {}
        meta: Object = {
            "name": name,
            "namespace": namespace,
            "ownerReferences": [owner_reference({"apiVersion": "v1", "kind": "Pod", **pod})],
        }
        for field in ("labels", "annotations"):
            if given.get(field):
                meta[field] = given[field]
        wanted = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": meta,
            "spec": template.get("spec") or {},
        }
        try:
            await self.client.create("persistentvolumeclaims", wanted, namespace)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                text = f"ephemeral volume {volume['name']}: create PVC {namespace}/{name}: {error.message}"
                self.recorder.event(pod, "Warning", "EphemeralVolume", text)
                raise
