"""The StatefulSet controller: pods with names, one after the other.

Whatever happens there is at most one pod per ordinal, since a pod is only ever created under its
name and the API server lets a name be used once. In order (OrderedReady): one step per reconcile,
and none before all earlier pods are ready. In parallel: all at once.
https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/ , upstream's
`pkg/controller/statefulset`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from actors.controllers._ownership import Claimer, owner_of
from actors.controllers._pods import availability_wait_s, by_owner_or_orphan
from actors.controllers._reconcile import Context
from actors.controllers._revisions import (
    claim_revisions,
    create_revision,
    new_revision,
    next_number,
    renumber,
    same_data,
    truncate,
)
from actors.controllers._rollout import scaled_value
from actors.controllers._selectors import cached_selector
from actors.controllers._statefulpods import (
    identity_matches,
    is_created,
    is_healthy,
    is_running_available,
    is_running_ready,
    parent_and_ordinal,
    pod_revision,
    replicas,
    storage_matches,
    with_identity,
)
from actors.controllers._statefulwork import PodsAndClaims, View
from protocol.api import StatusError
from protocol.objects import (
    Object,
    controller_of,
    deleting,
    key,
    labels,
    metadata,
    name,
    namespace,
    spec,
    status,
    uid,
)

__all__ = ["StatefulSetController"]

COUNTS = ("replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas")
ALWAYS_WRITTEN = ("replicas", "availableReplicas")


class StatefulSetController(PodsAndClaims):
    """See the module."""

    component = "statefulset-controller"
    resources = ("statefulsets", "pods", "controllerrevisions", "persistentvolumeclaims")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.sets = self.store("statefulsets")
        self.pods = self.store("pods")
        self.pods.add_index("owner", by_owner_or_orphan)
        self.revisions = self.store("controllerrevisions")
        self.revisions.add_index("owner", by_owner_or_orphan)
        self.on_change("statefulsets", self._set_changed)
        self.on_change("pods", self._pod_changed)

    # --- what changes mean ----------------------------------------------------------------------

    def _set_changed(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        self.queue.add(key(obj))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        for pod in (new, old):
            if pod is None:
                continue
            if controller_of(pod) is not None:
                owner = owner_of(pod, "StatefulSet", self.sets)
                if owner is not None:
                    self.queue.add(key(owner))
            elif pod is new and (old is None or labels(old) != labels(new) or controller_of(old)):
                self._look_at_matching(new)

    def _look_at_matching(self, orphan: Object) -> None:
        for stateful_set in self.sets.in_namespace(namespace(orphan)):
            if cached_selector(spec(stateful_set).get("selector")).matches(labels(orphan)):
                self.queue.add(key(stateful_set))

    # --- reconcile ------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> None:
        stateful_set = self.sets.get(key)
        if stateful_set is None:
            self.own_writes.forget(key)
            return
        if self.lags(key):
            return
        selector = cached_selector(spec(stateful_set).get("selector"))
        in_namespace = f"orphan/{namespace(stateful_set)}"
        revisions = await claim_revisions(
            self.client,
            stateful_set,
            "statefulsets",
            selector,
            [
                *self.revisions.by("owner", uid(stateful_set)),
                *self.revisions.by("owner", in_namespace),
            ],
        )
        claimer = Claimer(self.client, "pods", stateful_set, "statefulsets", selector)
        members = [
            pod
            for pod in (
                *self.pods.by("owner", uid(stateful_set)),
                *self.pods.by("owner", in_namespace),
            )
            if parent_and_ordinal(pod)[0] == name(stateful_set)
        ]
        pods = await claimer.claim(members)
        current, update, collisions = await self._revisions_of(stateful_set, revisions)
        view = View(stateful_set, current, update)
        view.sort(pods)
        failure: StatusError | None = None
        try:
            await self._step(view)
        except StatusError as error:
            failure = error
        await self._write_status(view, pods, collisions)
        if failure is not None:
            raise failure
        await self._forget_revisions(view, revisions, pods)
        wait_s = availability_wait_s(pods, view.min_ready_s, self.clock.now())
        if wait_s is not None:
            self.queue.add_after(key, wait_s)

    async def _revisions_of(
        self, stateful_set: Object, revisions: list[Object]
    ) -> tuple[Object, Object, int]:
        """(current revision, update revision, collision count); makes the update revision."""
        collisions = status(stateful_set).get("collisionCount") or 0
        update = new_revision(stateful_set, next_number(revisions), collisions)
        equal = [r for r in revisions if same_data(r, update)]
        if equal and same_data(revisions[-1], update):
            update = revisions[-1]
        elif equal:
            update = await renumber(self.client, equal[-1], update["revision"])
        else:
            created = await create_revision(self.client, stateful_set, update)
            while created is None:
                collisions += 1
                update = new_revision(stateful_set, update["revision"], collisions)
                created = await create_revision(self.client, stateful_set, update)
            update = created
        wanted = status(stateful_set).get("currentRevision")
        current = next((r for r in revisions if name(r) == wanted), update)
        return current, update, collisions

    async def _step(self, view: View) -> None:
        """Do what may be done now. Raises `StatusError`."""
        if deleting(view.stateful_set):
            return
        if await self._for_all(view, view.replicas, self._place):
            return
        for pod in view.condemned:
            await self.ensure_claim_owners(view, pod)
        first_sick = self._first_sick(view)
        if await self._for_all(
            view, view.condemned, lambda v, pod: self._condemn(v, pod, first_sick)
        ):
            return
        await self._update(view)

    async def _for_all(
        self,
        view: View,
        pods: list[Object],
        process: Callable[[View, Object], Awaitable[bool]],
    ) -> bool:
        """Process pods: in order until one says stop, or all at once. Returns whether to stop."""
        if view.ordered:
            for pod in pods:
                if await process(view, pod):
                    return True
            return False
        return any(await self.gather(*(process(view, pod) for pod in pods)))

    async def _place(self, view: View, pod: Object) -> bool:
        """Have one wanted pod exist, healthy and with its identity. Returns whether to stop."""
        if not uid(pod):
            if await self.claims_going(view, pod):
                return True
            await self.create_pod(view, pod)
            return view.ordered
        phase = status(pod).get("phase")
        if phase in ("Failed", "Succeeded"):
            await self._replace(view, pod, phase)
            return True
        if phase == "Pending" and not deleting(pod):
            await self.ensure_claims(view, pod)
        if view.ordered:
            if deleting(pod) or not is_running_ready(pod):
                return True
            if not is_running_available(pod, view.min_ready_s, self.clock.now()):
                return True
        await self._ensure_identity(view, pod)
        return False

    async def _replace(self, view: View, pod: Object, phase: str) -> None:
        """A pod that has ended is taken away; the next reconcile makes it anew."""
        if deleting(pod):
            return
        where = f"StatefulSet {namespace(pod)}/{name(view.stateful_set)}"
        if phase == "Failed":
            self.recorder.event(
                view.stateful_set,
                "Warning",
                "RecreatingFailedPod",
                f"{where} is recreating failed Pod {name(pod)}",
            )
        else:
            self.recorder.event(
                view.stateful_set,
                "Normal",
                "RecreatingTerminatedPod",
                f"{where} is recreating terminated Pod {name(pod)}",
            )
        await self.delete_pod(view, pod)

    async def _ensure_identity(self, view: View, pod: Object) -> None:
        stateful_set = view.stateful_set
        await self.ensure_claim_owners(view, pod)
        if identity_matches(stateful_set, pod) and storage_matches(stateful_set, pod):
            return
        await self.ensure_claims(view, pod)
        fixed = with_identity(view.update_set, pod)
        try:
            updated = await self.client.update("pods", fixed)
            self.own_writes.wrote(key(stateful_set), "pods", updated)
        except StatusError as error:
            self.record(view, "Update", pod, error)
            raise
        self.record(view, "Update", pod, None)

    async def _condemn(self, view: View, pod: Object, first_sick: Object | None) -> bool:
        """Take down one pod too many. Returns whether to stop."""
        if deleting(pod):
            return view.ordered
        now = self.clock.now()
        up = is_running_ready(pod) and is_running_available(pod, view.min_ready_s, now)
        if view.ordered and not up and pod is not first_sick:
            return True
        await self.delete_pod(view, pod)
        return True

    def _first_sick(self, view: View) -> Object | None:
        """The unhealthy pod of the lowest ordinal: that one may go, the others wait for it."""
        for pod in (*view.replicas, *reversed(view.condemned)):
            if not is_healthy(pod):
                return pod
        return None

    async def _update(self, view: View) -> None:
        """Replace pods of another revision, from the highest ordinal down to the partition."""
        strategy = spec(view.stateful_set).get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        rolling = strategy.get("rollingUpdate") or {}
        lowest = int(rolling.get("partition") or 0)
        limit = rolling.get("maxUnavailable")
        allowed = 1
        if limit is not None:
            allowed = max(1, scaled_value(limit, replicas(view.stateful_set), round_up=False))
        now = self.clock.now()
        down = sum(
            deleting(pod) or not is_running_available(pod, view.min_ready_s, now)
            for pod in view.replicas
        )
        for index in range(len(view.replicas) - 1, lowest - 1, -1):
            if down >= allowed:
                return
            pod = view.replicas[index]
            if pod_revision(pod) != name(view.update) and not deleting(pod):
                await self.delete_pod(view, pod)
                view.replicas[index] = _going(pod)
                down += 1

    # --- status and history ---------------------------------------------------------------------

    async def _write_status(self, view: View, pods: list[Object], collisions: int) -> None:
        stateful_set = view.stateful_set
        new = self._new_status(view, pods, collisions)
        old = status(stateful_set)
        keys = ("observedGeneration", "currentRevision", "updateRevision", "collisionCount")
        same = all((old.get(f) or 0) == (new.get(f) or 0) for f in COUNTS)
        if same and all((old.get(f) or 0) == (new.get(f) or 0) for f in keys):
            return
        await self.write_status("statefulsets", stateful_set, new)

    def _new_status(self, view: View, pods: list[Object], collisions: int) -> Object:
        now = self.clock.now()
        numbers = dict.fromkeys(COUNTS, 0)
        gone = {uid(p) for p in view.replicas if p.get("going")}
        for pod in pods:
            if not is_created(pod):
                continue
            numbers["replicas"] += 1
            if is_running_ready(pod):
                numbers["readyReplicas"] += 1
                numbers["availableReplicas"] += is_running_available(pod, view.min_ready_s, now)
            if not deleting(pod) and uid(pod) not in gone:
                numbers["currentReplicas"] += pod_revision(pod) == name(view.current)
                numbers["updatedReplicas"] += pod_revision(pod) == name(view.update)
        new: Object = {f: n for f, n in numbers.items() if n or f in ALWAYS_WRITTEN}
        new["observedGeneration"] = metadata(view.stateful_set).get("generation") or 0
        new["currentRevision"] = name(view.current)
        new["updateRevision"] = name(view.update)
        new["collisionCount"] = collisions
        if status(view.stateful_set).get("conditions"):
            new["conditions"] = status(view.stateful_set)["conditions"]
        self._finish_rollout(view, new)
        return new

    def _finish_rollout(self, view: View, new: Object) -> None:
        """When all pods are of the update revision and ready, that one is the current one."""
        strategy = spec(view.stateful_set).get("updateStrategy") or {}
        wanted = replicas(view.stateful_set)
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        if all(new.get(f, 0) == wanted for f in ("updatedReplicas", "readyReplicas", "replicas")):
            new["currentRevision"] = new["updateRevision"]
            if new.get("updatedReplicas"):
                new["currentReplicas"] = new["updatedReplicas"]
            else:
                new.pop("currentReplicas", None)

    async def _forget_revisions(
        self, view: View, revisions: list[Object], pods: list[Object]
    ) -> None:
        live = {name(view.current), name(view.update), *(pod_revision(p) for p in pods)}
        limit = spec(view.stateful_set).get("revisionHistoryLimit")
        await truncate(self.client, revisions, live, limit)


def _going(pod: Object) -> Object:
    """A pod as it is once its deletion was asked for, before the store shows it."""
    return {**pod, "going": True}
