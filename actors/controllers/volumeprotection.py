"""Protection of claims, volumes and their attributes' classes that are in use.

Owns the finalizers `kubernetes.io/pvc-protection`, `kubernetes.io/pv-protection` and
`kubernetes.io/vac-protection`: a claim goes when no pod uses it, a volume when no claim is bound to
it, a VolumeAttributesClass when neither names it. Facts: kubernetes
pkg/controller/volume/{pvcprotection,pvprotection,vacprotection}.
"""

from __future__ import annotations

from typing import ClassVar

from actors.client import StatusError
from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, deleting, key, metadata, mutable, namespace, spec, split_key, status, uid

__all__ = ["AttributesClassProtection", "ClaimProtection", "VolumeProtection"]

CLAIM_FINALIZER, VOLUME_FINALIZER = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"
CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"
CLASSES, CLASS_FINALIZER = "volumeattributesclasses.storage.k8s.io", "kubernetes.io/vac-protection"


def _finalizers(obj: Object) -> list[str]:
    return metadata(obj).get("finalizers") or []


class ClaimProtection(Controller):
    """Keeps claims that pods use. Keys: claims."""

    component: ClassVar[str] = "pvc-protection-controller"
    resources: ClassVar[tuple[str, ...]] = (CLAIMS, "pods")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.on_change(CLAIMS, self._claim_changed)
        self.on_change("pods", self._pod_changed)
        self.store("pods").add_index("claims", claims_of)

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (deleting(new) or CLAIM_FINALIZER not in _finalizers(new)):
            self.queue.add(key(new))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        """A pod that ended or went may have been the last user."""
        if old is None or (new is not None and not _ended(new) and uid(old) == uid(new)):
            return
        for claim_key in claims_of(old):
            claim = self.store(CLAIMS).get(claim_key)
            if claim is not None and deleting(claim):
                self.queue.add(claim_key)

    async def reconcile(self, key: str) -> None:
        claim = self.store(CLAIMS).get(key)
        if claim is None:
            return
        held = CLAIM_FINALIZER in _finalizers(claim)
        if deleting(claim) and held:
            if not await self._in_use(key):
                await self._set(claim, [f for f in _finalizers(claim) if f != CLAIM_FINALIZER])
        elif not deleting(claim) and not held:
            await self._set(claim, [*_finalizers(claim), CLAIM_FINALIZER])

    async def _in_use(self, claim_key: str) -> bool:
        if any(_uses(pod) for pod in self.store("pods").by("claims", claim_key)):
            return True
        # The store may lag; before a claim is let go the server is asked.
        space, _ = split_key(claim_key)
        pods = (await self.client.list("pods", space)).get("items") or []
        return any(_uses(pod) and claim_key in claims_of(pod) for pod in pods)

    async def _set(self, claim: Object, finalizers: list[str]) -> None:
        changed = mutable(claim)
        changed["metadata"]["finalizers"] = finalizers
        try:
            await self.client.update(CLAIMS, changed)
        except StatusError as error:
            if error.code != 404:
                raise


def _ended(pod: Object) -> bool:
    return status(pod).get("phase") in ("Succeeded", "Failed")


def _uses(pod: Object) -> bool:
    """A pod that was scheduled and has not ended holds its claims."""
    return bool(spec(pod).get("nodeName")) and not _ended(pod)


def claims_of(pod: Object) -> tuple[str, ...]:
    """Index function: keys of the claims that a pod names."""
    found = []
    for volume in spec(pod).get("volumes") or ():
        source = volume.get("persistentVolumeClaim")
        if source:
            found.append(f"{namespace(pod)}/{source.get('claimName', '')}")
        elif volume.get("ephemeral"):
            found.append(f"{namespace(pod)}/{metadata(pod)['name']}-{volume['name']}")
    return tuple(found)


class VolumeProtection(Controller):
    """Keeps volumes that are bound. Keys: volumes."""

    component: ClassVar[str] = "pv-protection-controller"
    resources: ClassVar[tuple[str, ...]] = (VOLUMES,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.on_change(VOLUMES, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (deleting(new) or VOLUME_FINALIZER not in _finalizers(new)):
            self.queue.add(metadata(new)["name"])

    async def reconcile(self, key: str) -> None:
        volume = self.store(VOLUMES).get(key)
        if volume is None:
            return
        held = VOLUME_FINALIZER in _finalizers(volume)
        if deleting(volume) and held and status(volume).get("phase") != "Bound":
            finalizers = [f for f in _finalizers(volume) if f != VOLUME_FINALIZER]
        elif not deleting(volume) and not held:
            finalizers = [*_finalizers(volume), VOLUME_FINALIZER]
        else:
            return
        changed = mutable(volume)
        changed["metadata"]["finalizers"] = finalizers
        try:
            await self.client.update(VOLUMES, changed)
        except StatusError as error:
            if error.code != 404:
                raise


class AttributesClassProtection(Controller):
    """Keeps VolumeAttributesClasses that a claim or a volume names. Keys: classes."""

    component: ClassVar[str] = "volumeattributesclass-protection-controller"
    resources: ClassVar[tuple[str, ...]] = (CLASSES, CLAIMS, VOLUMES)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.on_change(CLASSES, self._changed)
        for what in (CLAIMS, VOLUMES):
            self.store(what).add_index("attributes-class", attributes_classes)
            self.on_change(what, self._user_changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (deleting(new) or CLASS_FINALIZER not in _finalizers(new)):
            self.queue.add(metadata(new)["name"])

    def _user_changed(self, old: Object | None, new: Object | None) -> None:
        """Who named a class and does so no longer may have been the last."""
        for name in attributes_classes(old) if old is not None else ():
            found = self.store(CLASSES).get(name)
            if found is not None and deleting(found) and (new is None or name not in attributes_classes(new)):
                self.queue.add(name)

    async def reconcile(self, key: str) -> None:
        found = self.store(CLASSES).get(key)
        if found is None:
            return
        held = CLASS_FINALIZER in _finalizers(found)
        if deleting(found) and held and not await self._in_use(key):
            finalizers = [f for f in _finalizers(found) if f != CLASS_FINALIZER]
        elif not deleting(found) and not held:
            finalizers = [*_finalizers(found), CLASS_FINALIZER]
        else:
            return
        changed = mutable(found)
        changed["metadata"]["finalizers"] = finalizers
        try:
            await self.client.update(CLASSES, changed)
        except StatusError as error:
            if error.code != 404:
                raise

    async def _in_use(self, name: str) -> bool:
        if any(self.store(what).by("attributes-class", name) for what in (CLAIMS, VOLUMES)):
            return True
        for what in (CLAIMS, VOLUMES):  # the stores may lag
            listed = await self.client.list(what)
            if any(name in attributes_classes(obj) for obj in listed.get("items") or ()):
                return True
        return False


def attributes_classes(obj: Object) -> tuple[str, ...]:
    """Index function: the VolumeAttributesClasses that a claim or a volume has, wants or goes to."""
    state = status(obj)
    going = (state.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName")
    named = (spec(obj).get("volumeAttributesClassName"), state.get("currentVolumeAttributesClassName"), going)
    return tuple(dict.fromkeys(n for n in named if n))
