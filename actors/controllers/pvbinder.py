"""The persistent volume binder: claims find volumes, volumes follow their claims.

Owns the binding of both sides, their phases, reclaiming, and a local provisioner of its own, which
makes a directory's worth of volume for classes that name it. Volumes of other provisioners are
theirs to make and delete; here they are only waited for. Facts: kubernetes
pkg/controller/volume/persistentvolume/pv_controller.go.

    claim (Pending) + volume (Available) -> volume.claimRef -> claim.volumeName -> both Bound
    claim deleted -> volume Released -> Retain: stays; Delete: goes
"""

from __future__ import annotations

from typing import ClassVar

from actors.client import StatusError
from actors.controllers._localvolume import LOCAL_PROVISIONER, LOCAL_ROOT, local_volume
from actors.controllers._newest import Newest
from actors.controllers._reconcile import Context, Controller
from actors.controllers._volumes import (
    BETA_PROVISIONER,
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    PROVISIONED_BY,
    PROVISIONER,
    best_match,
    claim_reference,
    class_of,
    default_class,
    is_bound_to,
    mismatch,
    selected_node,
    undeletable,
    unscheduled_consumer,
)
from protocol.objects import (
    Object,
    deleting,
    key,
    metadata,
    mutable,
    namespace,
    spec,
    status,
    uid,
)
from protocol.objects import annotations as annotations_of

__all__ = ["PersistentVolumeBinder"]

CLAIMS, VOLUMES, CLASSES = "persistentvolumeclaims", "persistentvolumes", "storageclasses"
PENDING_RECHECK_S = 15.0


class PersistentVolumeBinder(Controller):
    """See the module. Keys: `claim/NS/NAME` and `volume/NAME`."""

    component: ClassVar[str] = "persistentvolume-controller"
    resources: ClassVar[tuple[str, ...]] = (CLAIMS, VOLUMES, CLASSES, "nodes", "pods")
    workers: ClassVar[int] = 1  # one at a time, so that two claims never take one volume

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.provisioners = {LOCAL_PROVISIONER, *context.options.extra.get("local_provisioners", ())}
        self.root = str(context.options.extra.get("local_volume_root", LOCAL_ROOT))
        self.newest = Newest(self.store)
        self.on_change(CLAIMS, self._claim_changed)
        self.on_change(VOLUMES, self._volume_changed)
        self.on_change(CLASSES, self._class_changed)
        self.on_change("pods", self._pod_changed)

    # --- what changes mean ----------------------------------------------------------------------

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        claim = new or old or {}
        self.queue.add(f"claim/{key(claim)}")
        if new is None and spec(claim).get("volumeName"):
            self.queue.add(f"volume/{spec(claim)['volumeName']}")

    def _volume_changed(self, old: Object | None, new: Object | None) -> None:
        volume = new or old or {}
        self.queue.add(f"volume/{metadata(volume)['name']}")
        ref = spec(volume).get("claimRef")
        if ref:
            self.queue.add(f"claim/{ref.get('namespace', '')}/{ref.get('name', '')}")
        elif new is not None and (old is None or status(old).get("phase") != status(new).get("phase")):
            for claim in self.store(CLAIMS):
                if not spec(claim).get("volumeName"):
                    self.queue.add(f"claim/{key(claim)}")

    def _class_changed(self, old: Object | None, new: Object | None) -> None:
        for claim in self.store(CLAIMS):
            if not spec(claim).get("volumeName"):
                self.queue.add(f"claim/{key(claim)}")

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        """A first consumer may have come."""
        if old is None and new is not None:
            for volume in spec(new).get("volumes") or ():
                source = volume.get("persistentVolumeClaim")
                if source:
                    self.queue.add(f"claim/{namespace(new)}/{source.get('claimName', '')}")

    def _volumes(self) -> list[Object]:
        newest = (self.newest.get(VOLUMES, metadata(v)["name"]) for v in self.store(VOLUMES))
        return [v for v in newest if v is not None]

    async def _update(self, what: str, obj: Object, subresource: str = "") -> Object:
        stored = await self.client.update(what, obj, subresource=subresource)
        self.newest.wrote(what, stored)
        return stored

    # --- reconciling ----------------------------------------------------------------------------

    async def reconcile(self, key: str) -> None:
        what, _, name = key.partition("/")
        if what == "claim":
            claim = self.newest.get(CLAIMS, name)
            if claim is None:
                return
            if BIND_COMPLETED in annotations_of(claim):
                await self._bound_claim(claim)
            else:
                await self._unbound_claim(claim)
        else:
            volume = self.newest.get(VOLUMES, name)
            if volume is not None:
                await self._volume(volume)

    async def _unbound_claim(self, claim: Object) -> None:
        name = spec(claim).get("volumeName")
        if not name:
            await self._find_volume(claim)
            return
        volume = self.newest.get(VOLUMES, name)
        if volume is None:
            await self._claim_phase(claim, "Pending")
        elif not spec(volume).get("claimRef"):
            why = mismatch(volume, claim)
            if why:
                self._event(claim, "Warning", "VolumeMismatch", f'Cannot bind to requested volume "{name}": {why}')
                await self._claim_phase(claim, "Pending")
            else:
                await self._bind(volume, claim)
        elif is_bound_to(volume, claim):
            await self._bind(volume, claim)
        elif BOUND_BY_CONTROLLER not in annotations_of(claim):
            self._event(claim, "Warning", "FailedBinding", f'volume "{name}" already bound to a different claim.')
            await self._claim_phase(claim, "Pending")

    async def _find_volume(self, claim: Object) -> None:
        storage_class = self.store(CLASSES).get(class_of(claim)) if class_of(claim) else None
        late = bool(storage_class) and (storage_class or {}).get("volumeBindingMode") == "WaitForFirstConsumer"
        waiting = late and not selected_node(claim)
        node = self.store("nodes").get(selected_node(claim)) if selected_node(claim) else None
        volume = best_match(claim, self._volumes(), node, only_reserved=waiting)
        if volume is not None:
            await self._bind(volume, claim)
            return
        if await self._take_default_class(claim):
            return
        if waiting:
            self._say_who_is_waited_for(claim)
        elif class_of(claim):
            await self._provision(claim, storage_class)
            return
        else:
            text = "no persistent volumes available for this claim and no storage class is set"
            self._event(claim, "Normal", "FailedBinding", text)
        await self._claim_phase(claim, "Pending")
        self.queue.add_after(f"claim/{key(claim)}", PENDING_RECHECK_S)

    def _say_who_is_waited_for(self, claim: Object) -> None:
        consumer = unscheduled_consumer(claim, self.store("pods").in_namespace(namespace(claim)))
        if consumer:
            self._event(claim, "Normal", "WaitForPodScheduled", f"waiting for pod {consumer} to be scheduled")
        else:
            text = "waiting for first consumer to be created before binding"
            self._event(claim, "Normal", "WaitForFirstConsumer", text)

    async def _take_default_class(self, claim: Object) -> bool:
        """A claim that names no class, not even none, takes the default one when there is one."""
        if spec(claim).get("storageClassName") is not None or class_of(claim):
            return False
        newest = default_class(self.store(CLASSES))
        if newest is None:
            return False
        changed = mutable(claim)
        changed["spec"]["storageClassName"] = metadata(newest)["name"]
        await self._update(CLAIMS, changed)
        return True

    async def _bound_claim(self, claim: Object) -> None:
        name = spec(claim).get("volumeName")
        if not name:
            await self._lost(
                claim, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
            )
            return
        volume = self.newest.get(VOLUMES, name)
        if volume is None:
            await self._lost(
                claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
            )
        elif not spec(volume).get("claimRef") or (spec(volume)["claimRef"]).get("uid") == uid(claim):
            await self._bind(volume, claim)
        else:
            text = "Two claims are bound to the same volume, this one is bound incorrectly"
            await self._lost(claim, "ClaimMisbound", text)

    async def _lost(self, claim: Object, reason: str, message: str) -> None:
        if status(claim).get("phase") != "Lost":
            await self._claim_phase(claim, "Lost")
            self._event(claim, "Warning", reason, message)

    # --- binding --------------------------------------------------------------------------------

    async def _bind(self, volume: Object, claim: Object) -> None:
        """Four writes at most, each of which can be the first that is still to be done."""
        volume = await self._bind_volume(volume, claim)
        volume = await self._volume_phase(volume, "Bound")
        claim = await self._bind_claim(claim, volume)
        await self._claim_bound(claim, volume)

    async def _bind_volume(self, volume: Object, claim: Object) -> Object:
        ref = spec(volume).get("claimRef") or {}
        if ref.get("uid") == uid(claim):
            return volume
        changed = mutable(volume)
        if not ref:
            changed["metadata"].setdefault("annotations", {})[BOUND_BY_CONTROLLER] = "yes"
        changed["spec"]["claimRef"] = claim_reference(claim)
        return await self._update(VOLUMES, changed)

    async def _bind_claim(self, claim: Object, volume: Object) -> Object:
        name = metadata(volume)["name"]
        notes = dict(annotations_of(claim))
        if spec(claim).get("volumeName") != name:
            notes[BOUND_BY_CONTROLLER] = "yes"
        notes[BIND_COMPLETED] = "yes"
        if notes == annotations_of(claim) and spec(claim).get("volumeName") == name:
            return claim
        changed = mutable(claim)
        changed["metadata"]["annotations"] = notes
        changed["spec"]["volumeName"] = name
        return await self._update(CLAIMS, changed)

    async def _claim_bound(self, claim: Object, volume: Object) -> None:
        current = status(claim)
        wanted = {**current, "phase": "Bound", "accessModes": spec(volume).get("accessModes") or []}
        if current.get("phase") != "Bound" or not current.get("capacity"):
            wanted["capacity"] = spec(volume).get("capacity") or {}
        if wanted != current:
            changed = mutable(claim)
            changed["status"] = wanted
            await self._update(CLAIMS, changed, "status")

    async def _claim_phase(self, claim: Object, phase: str) -> None:
        if status(claim).get("phase") == phase:
            return
        changed = mutable(claim)
        changed["status"] = {**status(claim), "phase": phase}
        if phase == "Pending":
            changed["status"].pop("accessModes", None)
            changed["status"].pop("capacity", None)
        await self._update(CLAIMS, changed, "status")

    async def _volume_phase(self, volume: Object, phase: str, message: str = "") -> Object:
        if status(volume).get("phase") == phase and status(volume).get("message", "") == message:
            return volume
        changed = mutable(volume)
        found: Object = {**status(volume), "phase": phase}
        if status(volume).get("phase") != phase:
            found["lastPhaseTransitionTime"] = self.clock.rfc3339()
        found.pop("message", None)
        if message:
            found["message"] = message
        changed["status"] = found
        return await self._update(VOLUMES, changed, "status")

    # --- volumes --------------------------------------------------------------------------------

    async def _volume(self, volume: Object) -> None:
        ref = spec(volume).get("claimRef")
        if not ref:
            await self._volume_phase(volume, "Available")
            return
        if not ref.get("uid"):
            await self._volume_phase(volume, "Available")
            return
        claim = await self._claim_of(ref)
        if claim is None:
            await self._reclaim(volume)
        elif not spec(claim).get("volumeName"):
            self.queue.add(f"claim/{key(claim)}")
        elif spec(claim)["volumeName"] == metadata(volume)["name"]:
            await self._volume_phase(volume, "Bound")
        elif PROVISIONED_BY in annotations_of(volume) and spec(volume).get("persistentVolumeReclaimPolicy") == "Delete":
            await self._reclaim(volume)
        elif BOUND_BY_CONTROLLER in annotations_of(volume):
            await self._unbind(volume)

    async def _claim_of(self, ref: Object) -> Object | None:
        """The claim that a volume is bound to; its absence is believed only from the server."""
        name = f"{ref.get('namespace', '')}/{ref.get('name', '')}"
        claim = self.newest.get(CLAIMS, name)
        if claim is None:
            try:
                claim = await self.client.get(CLAIMS, ref.get("name", ""), ref.get("namespace", ""))
            except StatusError as error:
                if error.code != 404:
                    raise
        return claim if claim is not None and uid(claim) == ref["uid"] else None

    async def _unbind(self, volume: Object) -> None:
        changed = mutable(volume)
        del changed["spec"]["claimRef"]
        changed["metadata"].get("annotations", {}).pop(BOUND_BY_CONTROLLER, None)
        await self._volume_phase(await self._update(VOLUMES, changed), "Available")

    async def _reclaim(self, volume: Object) -> None:
        if status(volume).get("phase") not in ("Released", "Failed"):
            volume = await self._volume_phase(volume, "Released")
        policy = spec(volume).get("persistentVolumeReclaimPolicy") or "Retain"
        if policy == "Retain" or deleting(volume):
            return
        by = annotations_of(volume).get(PROVISIONED_BY)
        if policy == "Delete" and by in self.provisioners:
            await self._delete_volume(volume)
        elif policy == "Delete" and by:
            return  # its provisioner deletes it
        elif policy == "Delete":
            why = undeletable(volume)
            if not why:
                await self._delete_volume(volume)
                return
            self._event(volume, "Warning", "VolumeFailedDelete", why)
            await self._volume_phase(volume, "Failed", why)
        elif policy == "Recycle":
            await self._unbind(volume)

    async def _delete_volume(self, volume: Object) -> None:
        try:
            await self.client.delete(VOLUMES, metadata(volume)["name"], uid=uid(volume))
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    # --- provisioning ---------------------------------------------------------------------------

    async def _provision(self, claim: Object, storage_class: Object | None) -> None:
        name = class_of(claim)
        if storage_class is None:
            text = f'storageclass.storage.k8s.io "{name}" not found'
            self._event(claim, "Warning", "ProvisioningFailed", text)
            await self._claim_phase(claim, "Pending")
            return
        provisioner = storage_class.get("provisioner", "")
        if provisioner in self.provisioners:
            await self._provision_here(claim, storage_class)
            return
        if provisioner.startswith("kubernetes.io/"):
            text = f"no volume plugin matched name: {provisioner}"
            self._event(claim, "Warning", "ProvisioningFailed", text)
            await self._claim_phase(claim, "Pending")
            return
        if annotations_of(claim).get(PROVISIONER) != provisioner:
            changed = mutable(claim)
            notes = changed["metadata"].setdefault("annotations", {})
            notes.update({PROVISIONER: provisioner, BETA_PROVISIONER: provisioner})
            claim = await self._update(CLAIMS, changed)
        text = (
            "Waiting for a volume to be created either by the external provisioner "
            f"'{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify "
            "that the provisioner is running and correctly registered."
        )
        self._event(claim, "Normal", "ExternalProvisioning", text)
        await self._claim_phase(claim, "Pending")
        self.queue.add_after(f"claim/{key(claim)}", PENDING_RECHECK_S)

    async def _provision_here(self, claim: Object, storage_class: Object) -> None:
        provisioner = storage_class["provisioner"]
        name = f"pvc-{uid(claim)}"
        volume = local_volume(name, claim, storage_class, self.root, self.store("nodes").get(selected_node(claim)))
        try:
            stored = await self.client.create(VOLUMES, volume)
            self.newest.wrote(VOLUMES, stored)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                text = (
                    f'failed to provision volume with StorageClass "{metadata(storage_class)["name"]}": {error.message}'
                )
                self._event(claim, "Warning", "ProvisioningFailed", text)
                raise
            return
        self._event(
            claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name} using {provisioner}"
        )

    def _event(self, obj: Object, event_type: str, reason: str, message: str) -> None:
        kind = "PersistentVolume" if "hostPath" in spec(obj) or not namespace(obj) else "PersistentVolumeClaim"
        self.recorder.event({"apiVersion": "v1", "kind": kind, **obj}, event_type, reason, message)
