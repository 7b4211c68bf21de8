"""The attach/detach controller: which CSI volumes are attached to which nodes.

Owns the VolumeAttachments (a driver's attacher acts on them and reports back) and
`status.volumesAttached` of nodes. Drivers whose CSIDriver says `attachRequired: false` need none of
this. A volume stays attached while the node says that it is in use, for six minutes at most, unless
the node is tainted out of service. Facts: kubernetes pkg/controller/volume/attachdetach and
pkg/volume/csi/csi_attacher.go.
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, NamedTuple

from actors.client import StatusError
from actors.controllers._pods import is_finished
from actors.controllers._reconcile import Context, Controller
from actors.controllers.volumeprotection import claims_of
from protocol.objects import Object, deleting, key, metadata, spec, split_key, status, uid
from protocol.objects import annotations as annotations_of

__all__ = ["AttachDetachController", "attachment_name"]

ATTACHMENTS, DRIVERS = "volumeattachments.storage.k8s.io", "csidrivers.storage.k8s.io"
CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"
MANAGED = "volumes.kubernetes.io/controller-managed-attach-detach"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
MAX_UNMOUNT_WAIT_S = 360.0
LOOK_AGAIN_S = 5.0
SHARED_MODES = ("ReadWriteMany", "ReadOnlyMany")


class Wanted(NamedTuple):
    """A volume that a pod on a node needs there."""

    volume: Object
    pod: Object


class AttachDetachController(Controller):
    """Attaches and detaches. Keys: nodes."""

    component: ClassVar[str] = "attachdetach-controller"
    resources: ClassVar[tuple[str, ...]] = ("pods", "nodes", CLAIMS, VOLUMES, ATTACHMENTS, DRIVERS)
    workers: ClassVar[int] = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods, self.attachments = self.store("pods"), self.store(ATTACHMENTS)
        self.pods.add_index("volume-node", _node_of)
        self.pods.add_index("claims", claims_of)
        self.attachments.add_index("node", lambda a: (spec(a).get("nodeName", ""),))
        self.attachments.add_index("volume", lambda a: (_volume_name(a),))
        self._unwanted_since: dict[str, float] = {}
        self.on_change("pods", self._pod_changed)
        self.on_change(ATTACHMENTS, self._attachment_changed)
        self.on_change("nodes", self._node_changed)
        self.on_change(CLAIMS, self._claim_changed)
        self.on_change(VOLUMES, self._volume_changed)
        self.on_change(DRIVERS, self._driver_changed)

    # --- what leads to a look -------------------------------------------------------------------

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        for pod in (old, new):
            for node in _node_of(pod) if pod is not None else ():
                self.queue.add(node)

    def _attachment_changed(self, old: Object | None, new: Object | None) -> None:
        attachment = new or old or {}
        self.queue.add(spec(attachment).get("nodeName", ""))
        if new is None:  # whoever waits for the volume elsewhere may have it now
            self._unwanted_since.pop(metadata(attachment)["name"], None)
            volume = self.store(VOLUMES).get(_volume_name(attachment))
            self._volume_changed(volume, volume)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        node = new or old or {}
        in_use = status(old or {}).get("volumesInUse") != status(new or {}).get("volumesInUse")
        if in_use or old is None or new is None or spec(old).get("taints") != spec(new).get("taints"):
            if self._concerned(metadata(node)["name"]):
                self.queue.add(metadata(node)["name"])

    def _concerned(self, node: str) -> bool:
        return bool(self.pods.by("volume-node", node) or self.attachments.by("node", node))

    def _driver_changed(self, old: Object | None, new: Object | None) -> None:
        for node in self.store("nodes"):
            if self._concerned(metadata(node)["name"]):
                self.queue.add(metadata(node)["name"])

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        self._look_for_users(key(new or old or {}))

    def _volume_changed(self, old: Object | None, new: Object | None) -> None:
        volume = new or old or {}
        reference = spec(volume).get("claimRef")
        if spec(volume).get("csi") and reference:
            self._look_for_users(f"{reference.get('namespace', '')}/{reference.get('name', '')}")

    def _look_for_users(self, claim_key: str) -> None:
        for pod in self.pods.by("claims", claim_key):
            for node in _node_of(pod):
                self.queue.add(node)

    # --- reconciling ----------------------------------------------------------------------------

    async def reconcile(self, key: str) -> None:
        node = self.store("nodes").get(key)
        wanted = self._wanted(key) if node is not None else {}
        present = {metadata(a)["name"]: a for a in self.attachments.by("node", key)}
        for name, attachment in present.items():
            if name in wanted:
                self._unwanted_since.pop(name, None)
            elif not deleting(attachment) and self._may_detach(name, attachment, node):
                await self._report(node, present, leave_out=name)
                await self._detach(attachment)
        if node is None or annotations_of(node).get(MANAGED) != "true":
            return
        for name, (volume, pod) in wanted.items():
            if name not in present:
                await self._attach(key, name, volume, pod)
            else:
                self._tell(present[name], volume, pod, node)
        await self._report(node, {n: a for n, a in present.items() if n in wanted or not deleting(a)})

    def _wanted(self, node: str) -> dict[str, Wanted]:
        found: dict[str, Wanted] = {}
        for pod in self.pods.by("volume-node", node):
            for claim_key in claims_of(pod):
                claim = self.store(CLAIMS).get(claim_key)
                volume = self.store(VOLUMES).get(spec(claim).get("volumeName", "")) if claim else None
                csi = spec(volume).get("csi") if volume else None
                if volume is None or not csi or not self._attachable(csi.get("driver", "")):
                    continue
                if status(claim or {}).get("phase") == "Bound":
                    found[attachment_name(csi, node)] = Wanted(volume, pod)
        return found

    def _attachable(self, driver: str) -> bool:
        known = self.store(DRIVERS).get(driver)
        return known is None or spec(known).get("attachRequired", True)

    async def _attach(self, node: str, name: str, volume: Object, pod: Object) -> None:
        others = [a for a in self.attachments.by("volume", metadata(volume)["name"]) if spec(a).get("nodeName") != node]
        if others and not any(m in SHARED_MODES for m in spec(volume).get("accessModes") or ()):
            self._refuse(volume, pod, others)
            return
        body = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttachment",
            "metadata": {"name": name},
            "spec": {
                "attacher": spec(volume)["csi"]["driver"],
                "nodeName": node,
                "source": {"persistentVolumeName": metadata(volume)["name"]},
            },
        }
        try:
            await self.client.create(ATTACHMENTS, body)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                text = f'AttachVolume.Attach failed for volume "{metadata(volume)["name"]}" : {error.message}'
                self.recorder.event(pod, "Warning", "FailedAttachVolume", text)
                raise

    def _refuse(self, volume: Object, pod: Object, others: list[Object]) -> None:
        """One node at a time: say who has the volume."""
        name = metadata(volume)["name"]
        nodes = [spec(a).get("nodeName", "") for a in others]
        users = [
            p
            for n in nodes
            for p in self.pods.by("volume-node", n)
            if any(self._is_claim_of(k, volume) for k in claims_of(p))
        ]
        mine = [metadata(p)["name"] for p in users if metadata(p)["namespace"] == metadata(pod)["namespace"]]
        strangers = len(users) - len(mine)
        if not users:
            why = "Volume is already exclusively attached to one node and can't be attached to another"
        elif not mine:
            why = f"Volume is already used by {strangers} pod(s) in different namespaces"
        else:
            more = f" and {strangers} pod(s) in different namespaces" if strangers else ""
            why = f"Volume is already used by pod(s) {', '.join(mine)}{more}"
        self.recorder.event(pod, "Warning", "FailedAttachVolume", f'Multi-Attach error for volume "{name}" {why}')

    def _is_claim_of(self, claim_key: str, volume: Object) -> bool:
        reference = spec(volume).get("claimRef") or {}
        return split_key(claim_key) == (reference.get("namespace", ""), reference.get("name", ""))

    def _tell(self, attachment: Object, volume: Object, pod: Object, node: Object) -> None:
        """Events for the pod: attached for the first time, or an error of the attacher's."""
        name, state = metadata(volume)["name"], status(attachment)
        if state.get("attached"):
            reported = {v.get("name") for v in status(node).get("volumesAttached") or ()}
            if _unique_name(spec(volume)["csi"]) not in reported:
                text = f'AttachVolume.Attach succeeded for volume "{name}" '
                self.recorder.event(pod, "Normal", "SuccessfulAttachVolume", text)
        elif state.get("attachError"):
            text = f'AttachVolume.Attach failed for volume "{name}" : {state["attachError"].get("message", "")}'
            self.recorder.event(pod, "Warning", "FailedAttachVolume", text)

    def _may_detach(self, name: str, attachment: Object, node: Object | None) -> bool:
        """Not while the node has it mounted, unless that has been waited for or cannot end."""
        now = self.clock.monotonic()
        since = self._unwanted_since.setdefault(name, now)
        if node is None or any(t.get("key") == OUT_OF_SERVICE for t in spec(node).get("taints") or ()):
            return True
        volume = self.store(VOLUMES).get(_volume_name(attachment))
        csi = spec(volume).get("csi") if volume else None
        if csi is None or _unique_name(csi) not in (status(node).get("volumesInUse") or ()):
            return True
        if now - since >= MAX_UNMOUNT_WAIT_S:
            return True
        self.queue.add_after(spec(attachment).get("nodeName", ""), LOOK_AGAIN_S)
        return False

    async def _detach(self, attachment: Object) -> None:
        try:
            await self.client.delete(ATTACHMENTS, metadata(attachment)["name"], uid=uid(attachment))
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    async def _report(self, node: Object | None, present: dict[str, Object], leave_out: str = "") -> None:
        """Say in the node's status what is attached, before anything is taken away."""
        if node is None:
            return
        entries: list[Any] = []
        for name, attachment in sorted(present.items()):
            volume = self.store(VOLUMES).get(_volume_name(attachment))
            csi = spec(volume).get("csi") if volume else None
            if csi and name != leave_out and status(attachment).get("attached") and not deleting(attachment):
                entries.append({"name": _unique_name(csi), "devicePath": ""})
        if entries != (status(node).get("volumesAttached") or []):
            body = {"status": {"volumesAttached": entries or None}}
            await self.client.patch("nodes", metadata(node)["name"], "", body, subresource="status")


def attachment_name(csi: Object, node: str) -> str:
    """One name per driver, volume and node."""
    text = f"{csi.get('volumeHandle', '')}{csi.get('driver', '')}{node}"
    return f"csi-{hashlib.sha256(text.encode()).hexdigest()}"


def _unique_name(csi: Object) -> str:
    return f"kubernetes.io/csi/{csi.get('driver', '')}^{csi.get('volumeHandle', '')}"


def _volume_name(attachment: Object) -> str:
    return str((spec(attachment).get("source") or {}).get("persistentVolumeName") or "")


def _node_of(pod: Object) -> tuple[str, ...]:
    """Index function: the node of a pod that has claims and has not ended."""
    node = spec(pod).get("nodeName")
    return (node,) if node and claims_of(pod) and not is_finished(pod) else ()
