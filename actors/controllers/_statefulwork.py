"""The part of the StatefulSet controller that writes pods and claims.

Owns creation and deletion of the pods of ordinals, their claims and who owns these. When what is to
happen is decided in `statefulset`.
"""

from __future__ import annotations

from actors.controllers._reconcile import Context, Controller
from actors.controllers._revisions import apply_revision
from actors.controllers._statefulpods import (
    claims_of,
    new_pod,
    ordinal,
    ordinals,
    owned_claim,
    start_ordinal,
)
from protocol.api import StatusError
from protocol.objects import (
    Object,
    deleting,
    key,
    metadata,
    name,
    namespace,
    spec,
    status,
    uid,
)
from protocol.status import failure

__all__ = ["PodsAndClaims", "View"]


class View:
    """One reconcile's view of a set: its two revisions and the pods by what is to become of them."""

    def __init__(self, stateful_set: Object, current: Object, update: Object) -> None:
        self.stateful_set = stateful_set
        self.current = current
        self.update = update
        self.current_set = apply_revision(stateful_set, current)
        self.update_set = apply_revision(stateful_set, update)
        self.replicas: list[Object] = []
        self.condemned: list[Object] = []
        policy = spec(stateful_set).get("podManagementPolicy", "OrderedReady")
        self.ordered = policy != "Parallel"
        self.min_ready_s: int = spec(stateful_set).get("minReadySeconds") or 0

    def sort(self, pods: list[Object]) -> None:
        """Put pods in their places, with new ones where there is none."""
        wanted = ordinals(self.stateful_set)
        present = {ordinal(pod): pod for pod in pods}
        self.replicas = [present.get(n) or self.new_version(n) for n in wanted]
        self.condemned = [present[n] for n in sorted(present, reverse=True) if n not in wanted]

    def new_version(self, number: int) -> Object:
        """The pod to be made for an ordinal: below the partition of the current revision."""
        if number < start_ordinal(self.stateful_set) + self.held():
            return new_pod(self.current_set, name(self.current), number)
        return new_pod(self.update_set, name(self.update), number)

    def held(self) -> int:
        """How many of the first pods stay at the current revision."""
        strategy = spec(self.stateful_set).get("updateStrategy") or {}
        rolling = strategy.get("rollingUpdate")
        if rolling is not None:
            return int(rolling.get("partition") or 0)
        if strategy.get("type") == "RollingUpdate":
            return int(status(self.stateful_set).get("currentReplicas") or 0)
        return 0


class PodsAndClaims(Controller):
    """See the module."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.claims = self.store("persistentvolumeclaims")

    async def create_pod(self, view: View, pod: Object) -> None:
        try:
            await self.ensure_claims(view, pod)
            created = await self.client.create("pods", pod)
            self.own_writes.wrote(key(view.stateful_set), "pods", created)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                self.record(view, "Create", pod, error)
            raise
        self.record(view, "Create", pod, None)

    async def delete_pod(self, view: View, pod: Object) -> None:
        try:
            gone = await self.client.delete("pods", name(pod), namespace(pod), uid=uid(pod))
            self.own_writes.wrote(key(view.stateful_set), "pods", gone)
        except StatusError as error:
            if error.code == 404:
                return
            self.record(view, "Delete", pod, error)
            raise
        self.record(view, "Delete", pod, None)

    def record(self, view: View, verb: str, pod: Object, error: StatusError | None) -> None:
        what = f"{verb} Pod {name(pod)} in StatefulSet {name(view.stateful_set)}"
        if error is None:
            self.recorder.event(
                view.stateful_set, "Normal", f"Successful{verb}", f"{what} successful"
            )
        else:
            self.recorder.event(
                view.stateful_set,
                "Warning",
                f"Failed{verb}",
                f"{what} failed error: {error.message}",
            )

    async def ensure_claims(self, view: View, pod: Object) -> None:
        """Create the claims of the pod's ordinal that there are not."""
        stateful_set = view.stateful_set
        for claim in claims_of(stateful_set, ordinal(pod)):
            present = self.claims.named(namespace(claim), name(claim))
            if present is not None:
                if deleting(present):
                    raise _wait_for(present)
                continue
            owners = owned_claim(stateful_set, pod, claim)
            if owners:
                claim["metadata"]["ownerReferences"] = owners
            what = (
                f"Create Claim {name(claim)} Pod {name(pod)} in StatefulSet {name(stateful_set)}"
            )
            try:
                await self.client.create("persistentvolumeclaims", claim)
            except StatusError as error:
                if error.reason == "AlreadyExists":
                    continue
                self.recorder.event(
                    stateful_set,
                    "Warning",
                    "FailedCreate",
                    f"{what} failed error: {error.message}",
                )
                raise
            self.recorder.event(stateful_set, "Normal", "SuccessfulCreate", f"{what} success")

    async def claims_going(self, view: View, pod: Object) -> bool:
        """Whether a claim of an earlier pod of this ordinal is on its way out: wait for it."""
        for claim in claims_of(view.stateful_set, ordinal(pod)):
            present = self.claims.named(namespace(claim), name(claim))
            owners = (metadata(present).get("ownerReferences") or ()) if present else ()
            if any(o.get("kind") == "Pod" and o.get("name") == name(pod) for o in owners):
                self.queue.add_after(key(view.stateful_set), 1.0)
                return True
        return False

    async def ensure_claim_owners(self, view: View, pod: Object) -> None:
        """Have the pod's claims owned as the retention policy says."""
        for claim in claims_of(view.stateful_set, ordinal(pod)):
            present = self.claims.named(namespace(claim), name(claim))
            if present is None or deleting(present):
                continue
            owners = owned_claim(view.stateful_set, pod, present)
            if owners is not None:
                meta = {**metadata(present), "ownerReferences": owners}
                await self.client.update("persistentvolumeclaims", {**present, "metadata": meta})


def _wait_for(claim: Object) -> StatusError:
    """Not an answer of the API server: what makes the reconcile be tried again."""
    message = f"pvc {name(claim)} is being deleted"
    return failure(409, "Conflict", message, {"name": name(claim)})
