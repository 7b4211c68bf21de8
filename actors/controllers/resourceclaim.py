"""The resource claim controller: claims that pods take from templates, and who holds a claim.

Owns the claims generated for pods (`POD-CLAIM-xxxxx`, which the pod owns), their mention in
`status.resourceClaimStatuses`, the reservation for a pod that was bound without the scheduler, and
the end of reservations of pods that are gone or done. It allocates no device: the scheduler does.
Facts: kubernetes pkg/controller/resourceclaim; KEP-4381.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from actors.client import StatusError
from actors.controllers._pods import is_finished
from actors.controllers._reconcile import Context, Controller
from protocol.objects import (
    Object,
    deleting,
    is_controlled_by,
    key,
    metadata,
    mutable,
    owner_reference,
    split_key,
    status,
    uid,
)
from protocol.objects import annotations as annotations_of
from protocol.objects import spec as spec_of

__all__ = ["ResourceClaimController"]

CLAIMS, TEMPLATES = "resourceclaims.resource.k8s.io", "resourceclaimtemplates.resource.k8s.io"
POD_CLAIM = "resource.kubernetes.io/pod-claim-name"
FINALIZER = "resource.kubernetes.io/delete-protection"
FIELD_MANAGER = "ResourceClaimController"
MAX_RESERVED_FOR = 256
MAX_BASE_LENGTH = 57


class ResourceClaimController(Controller):
    """Makes and releases claims. Keys: `pod/NS/NAME`, `claim/NS/NAME`."""

    component: ClassVar[str] = "resource_claim"
    resources: ClassVar[tuple[str, ...]] = ("pods", CLAIMS, TEMPLATES)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods, self.claims = self.store("pods"), self.store(CLAIMS)
        self.pods.add_index("resource-claims", _claim_keys)
        self.pods.add_index("resource-claim-templates", _template_keys)
        self.claims.add_index("pod-owner", _owner_uid)
        self.on_change("pods", self._pod_changed)
        self.on_change(CLAIMS, self._claim_changed)
        self.on_change(TEMPLATES, self._template_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old or {}
        if not spec_of(pod).get("resourceClaims"):
            return
        if new is None or _is_done(new):
            for claim_key in _claim_keys(pod):
                self.queue.add(f"claim/{claim_key}")
        if new is not None and not deleting(new):
            self.queue.add(f"pod/{key(new)}")

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        claim_key = key(new or old or {})
        if new is not None:
            self.queue.add(f"claim/{claim_key}")
        for pod in self.pods.by("resource-claims", claim_key):
            if not deleting(pod):
                self.queue.add(f"pod/{key(pod)}")

    def _template_changed(self, old: Object | None, new: Object | None) -> None:
        if old is None and new is not None:
            for pod in self.pods.by("resource-claim-templates", key(new)):
                self.queue.add(f"pod/{key(pod)}")

    async def reconcile(self, key: str) -> None:
        what, _, object_key = key.partition("/")
        if what == "pod":
            await self._look_at_pod(object_key)
        else:
            await self._look_at_claim(object_key)

    # --- what a pod needs -----------------------------------------------------------------------

    async def _look_at_pod(self, pod_key: str) -> None:
        pod = self.pods.get(pod_key)
        if pod is None or deleting(pod) or is_finished(pod):
            return
        known = dict(_names(pod))
        made: dict[str, str] = {}
        for wanted in spec_of(pod).get("resourceClaims") or ():
            try:
                name = await self._ensure(pod, wanted, known.get(wanted["name"]))
            except StatusError as error:
                text = f"PodResourceClaim {wanted['name']}: {error.message}"
                self.recorder.event(pod, "Warning", "FailedResourceClaimCreation", text)
                raise
            if name:
                made[wanted["name"]] = name
        if made:
            await self._mention(pod, {**known, **made})
        if spec_of(pod).get("nodeName"):
            await self._reserve(pod, {**known, **made})

    async def _ensure(self, pod: Object, wanted: Object, known: str | None) -> str:
        """The name of a claim that the pod does not mention yet; empty when nothing is to do."""
        template_name = wanted.get("resourceClaimTemplateName")
        if not template_name:
            return ""
        namespace = metadata(pod)["namespace"]
        if known is not None:
            claim = self.claims.named(namespace, known) if known else None
            if not known or (claim is not None and is_controlled_by(claim, pod)):
                return ""
        for claim in self.claims.by("pod-owner", uid(pod)):
            if annotations_of(claim).get(POD_CLAIM) == wanted["name"]:
                return str(metadata(claim)["name"])
        template = self.store(TEMPLATES).named(namespace, template_name)
        if template is None:
            text = (
                f'resource claim template "{template_name}":'
                f' resourceclaimtemplate.resource.k8s.io "{template_name}" not found'
            )
            raise StatusError({"code": 404, "reason": "NotFound", "message": text})
        return await self._create(pod, wanted["name"], template)

    async def _create(self, pod: Object, claim_name: str, template: Object) -> str:
        namespace = metadata(pod)["namespace"]
        # The answer to an earlier creation may have been lost, and the store may lag.
        listed = await self.client.list(CLAIMS, namespace)
        for claim in listed.get("items") or ():
            if is_controlled_by(claim, pod) and annotations_of(claim).get(POD_CLAIM) == claim_name:
                return str(metadata(claim)["name"])
        given = spec_of(template).get("metadata") or {}
        meta: Object = {
            "generateName": _base_name(metadata(pod)["name"], claim_name),
            "namespace": namespace,
            "annotations": {**(given.get("annotations") or {}), POD_CLAIM: claim_name},
            "ownerReferences": [owner_reference({"apiVersion": "v1", "kind": "Pod", **pod})],
        }
        if given.get("labels"):
            meta["labels"] = given["labels"]
        body = {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaim",
            "metadata": meta,
            "spec": spec_of(template).get("spec") or {},
        }
        try:
            claim = await self.client.create(CLAIMS, body, namespace)
        except StatusError as error:
            text = f"create ResourceClaim : {error.message}"
            raise StatusError({**error.status, "message": text}) from None
        return str(metadata(claim)["name"])

    async def _mention(self, pod: Object, names: dict[str, str]) -> None:
        entries = [{"name": k, "resourceClaimName": v} for k, v in names.items() if _is_generated(pod, k)]
        body = {"status": {"resourceClaimStatuses": entries}, "metadata": {"uid": uid(pod)}}
        await self.client.patch(
            "pods",
            metadata(pod)["name"],
            metadata(pod)["namespace"],
            body,
            patch_type="application/strategic-merge-patch+json",
            subresource="status",
            fieldManager=FIELD_MANAGER,
        )

    async def _reserve(self, pod: Object, names: dict[str, str]) -> None:
        """A pod that came to its node without the scheduler holds its allocated claims all the same."""
        for name in names.values():
            claim = self.claims.named(metadata(pod)["namespace"], name)
            held = status(claim).get("reservedFor") or [] if claim else []
            if claim is None or not status(claim).get("allocation") or len(held) >= MAX_RESERVED_FOR:
                continue
            if any(h.get("uid") == uid(pod) for h in held):
                continue
            changed = mutable(claim)
            mine = {"resource": "pods", "name": metadata(pod)["name"], "uid": uid(pod)}
            changed["status"]["reservedFor"] = [*held, mine]
            await self.client.update_status(CLAIMS, changed)

    # --- who holds a claim ----------------------------------------------------------------------

    async def _look_at_claim(self, claim_key: str) -> None:
        claim = self.claims.get(claim_key)
        if claim is None:
            return
        held = status(claim).get("reservedFor") or []
        valid = [h for h in held if await self._still_holds(claim_key, h)]
        protected = FINALIZER in (metadata(claim).get("finalizers") or [])
        if len(valid) < len(held):
            claim = await self._release(claim, valid, deallocate=protected and not valid)
        elif protected and deleting(claim) and not valid and status(claim).get("allocation"):
            claim = await self._release(claim, valid, deallocate=True)
        if protected and not valid and not status(claim).get("allocation"):
            if len(held) > 0 or deleting(claim):
                await self._unprotect(claim)
        await self._delete_if_done(claim)

    async def _still_holds(self, claim_key: str, holder: Object) -> bool:
        if holder.get("apiGroup") or holder.get("resource") != "pods":
            return True  # of a kind that nobody here knows
        namespace, _ = split_key(claim_key)
        pod = self.pods.named(namespace, holder.get("name", ""))
        if pod is None:
            try:
                pod = await self.client.get("pods", holder.get("name", ""), namespace)
            except StatusError as error:
                if error.code != 404:
                    raise
                return False
        return uid(pod) == holder.get("uid") and not _is_done(pod)

    async def _release(self, claim: Object, valid: list[Object], *, deallocate: bool) -> Object:
        changed = mutable(claim)
        if valid:
            changed["status"]["reservedFor"] = valid
        else:
            changed["status"].pop("reservedFor", None)
        if deallocate:
            changed["status"].pop("allocation", None)
            changed["status"].pop("devices", None)
        return await self.client.update_status(CLAIMS, changed)

    async def _unprotect(self, claim: Object) -> None:
        changed = mutable(claim)
        changed["metadata"]["finalizers"] = [f for f in metadata(claim)["finalizers"] if f != FINALIZER]
        await self.client.update(CLAIMS, changed)

    async def _delete_if_done(self, claim: Object) -> None:
        """A generated claim goes as soon as its pod has ended, not only when the pod goes."""
        if POD_CLAIM not in annotations_of(claim) or deleting(claim):
            return
        namespace = metadata(claim)["namespace"]
        for owner in metadata(claim).get("ownerReferences") or ():
            pod = self.pods.named(namespace, owner.get("name", ""))
            if pod is not None and owner.get("controller") and uid(pod) == owner.get("uid") and _is_done(pod):
                try:
                    await self.client.delete(CLAIMS, metadata(claim)["name"], namespace, uid=uid(claim))
                except StatusError as error:
                    if error.code not in (404, 409):
                        raise


def _is_done(pod: Object) -> bool:
    """Whether a pod runs no more, or was deleted before it had a node."""
    return is_finished(pod) or (deleting(pod) and not spec_of(pod).get("nodeName"))


def _names(pod: Object) -> Iterator[tuple[str, str]]:
    """What a pod calls a claim, and the claim's name where it is known; empty: none is needed."""
    noted = {s["name"]: s.get("resourceClaimName") or "" for s in status(pod).get("resourceClaimStatuses") or ()}
    for wanted in spec_of(pod).get("resourceClaims") or ():
        if wanted.get("resourceClaimName"):
            yield wanted["name"], wanted["resourceClaimName"]
        elif wanted["name"] in noted:
            yield wanted["name"], noted[wanted["name"]]


def _is_generated(pod: Object, claim_name: str) -> bool:
    return any(
        w["name"] == claim_name and w.get("resourceClaimTemplateName") for w in spec_of(pod).get("resourceClaims") or ()
    )


def _claim_keys(pod: Object) -> tuple[str, ...]:
    """Index function: the keys of a pod's claims."""
    if not spec_of(pod).get("resourceClaims"):
        return ()
    return tuple(f"{metadata(pod)['namespace']}/{name}" for _, name in _names(pod) if name)


def _template_keys(pod: Object) -> tuple[str, ...]:
    """Index function: the keys of the templates that a pod takes claims from."""
    return tuple(
        f"{metadata(pod)['namespace']}/{w['resourceClaimTemplateName']}"
        for w in spec_of(pod).get("resourceClaims") or ()
        if w.get("resourceClaimTemplateName")
    )


def _owner_uid(claim: Object) -> tuple[str, ...]:
    """Index function: the uid of the pod that a claim was made for."""
    return tuple(o["uid"] for o in metadata(claim).get("ownerReferences") or () if o.get("kind") == "Pod")


def _base_name(pod_name: str, claim_name: str) -> str:
    """Both names in the room that a generated suffix leaves, shortened by the same share."""
    base = f"{pod_name}-{claim_name}-"
    if len(base) <= MAX_BASE_LENGTH:
        return base
    share = MAX_BASE_LENGTH / len(base)
    return f"{pod_name[: int(len(pod_name) * share)]}-{claim_name[: int(len(claim_name) * share)]}"
