"""What ReplicaSet and ReplicationController do alike: keep so many pods of a template.

Owns the whole algorithm of upstream's `pkg/controller/replicaset`, which serves both kinds there
too; the two subclasses say what differs between the kinds. Pods are created in batches that double
from one, so that a template which cannot run costs one failure and not a thousand, and no decision
is made before the effects of the last one have been seen (`UidExpectations`).
"""

from __future__ import annotations

from typing import ClassVar

from actors.client import UidExpectations
from actors.controllers._ownership import Claimer, owner_of
from actors.controllers._pods import (
    availability_wait_s,
    by_owner_or_orphan,
    deletion_order,
    is_active,
    is_available,
    is_ready,
    matches_labels,
    pod_from_template,
)
from actors.controllers._reconcile import Context, Controller, outcome_unknown
from protocol.api import StatusError
from protocol.objects import (
    Object,
    Selector,
    controller_of,
    deleting,
    find_condition,
    key,
    labels,
    name,
    namespace,
    resource_version,
    spec,
    status,
    uid,
)

__all__ = ["ReplicaController"]

BURST = 500
INTERVAL_PER_POD_S = 50e-6
INTERVAL_MAX_S = 0.5
NAMESPACE_TERMINATING = "NamespaceTerminating"


class ReplicaController(Controller):
    """See the module. `kind` and `resource_name` are the controlled kind's."""

    kind: ClassVar[str]
    resource_name: ClassVar[str]
    counts_terminating: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.sets = self.store(self.resource_name)
        self.pods = self.store("pods")
        self.pods.add_index("owner", by_owner_or_orphan)
        self.expectations = UidExpectations(self.clock.monotonic)
        self._sizes: dict[str, int] = {}
        self.on_change(self.resource_name, self._set_changed)
        self.on_change("pods", self._pod_changed)

    def selector(self, replica_set: Object) -> Selector:
        """The compiled selector of a controlled object."""
        raise NotImplementedError

    def related_pods(self, replica_set: Object) -> list[Object]:
        """Pods that count as doubles on a node when some have to go."""
        return list(self.pods.by("owner", uid(replica_set)))

    def interval(self, key: str) -> float:
        return min(self._sizes.get(key, 0) * INTERVAL_PER_POD_S, INTERVAL_MAX_S)

    # --- what changes mean ----------------------------------------------------------------------

    def _set_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self.expectations.delete(key(old))
            self._sizes.pop(key(old), None)
            self.queue.add(key(old))
            return
        if old is not None and uid(old) != uid(new):
            self.expectations.delete(key(old))
        self.queue.add(key(new))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            if old is not None:
                self._pod_going(old)
        elif deleting(new):
            self._pod_going(new)
            if old is not None and _owner_uid(old) != _owner_uid(new):
                self._pod_going(old)
        elif old is None:
            self._pod_added(new)
        else:
            self._pod_updated(old, new)

    def _pod_added(self, pod: Object) -> None:
        owner_key = self._owner_key(pod)
        if owner_key:
            waited = not self.expectations.satisfied(owner_key)
            self.expectations.creation_observed(owner_key)
            self._look_at(owner_key, waited)
        elif controller_of(pod) is None:
            self._look_at_matching(pod)

    def _pod_updated(self, old: Object, new: Object) -> None:
        if resource_version(old) == resource_version(new):
            return
        owner_changed = _owner_uid(old) != _owner_uid(new)
        if owner_changed:
            former = self._owner_key(old)
            if former:
                self._look_at(former)
        owner_key = self._owner_key(new)
        if owner_key:
            self._look_at(owner_key)
        elif controller_of(new) is None and (owner_changed or labels(old) != labels(new)):
            self._look_at_matching(new)

    def _pod_going(self, pod: Object) -> None:
        owner_key = self._owner_key(pod)
        if owner_key:
            waited = not self.expectations.satisfied(owner_key)
            self.expectations.uid_deletion_observed(owner_key, uid(pod))
            self._look_at(owner_key, waited)

    def _look_at(self, owner_key: str, waited: bool = False) -> None:
        """Soon; at once, if this was what it waited for before it may act again."""
        self.queue.add(owner_key, urgent=waited and self.expectations.satisfied(owner_key))

    def _look_at_matching(self, orphan: Object) -> None:
        for replica_set in self.sets.in_namespace(namespace(orphan)):
            if self.selector(replica_set).matches(labels(orphan)):
                self.queue.add(key(replica_set))

    def _owner_key(self, pod: Object) -> str:
        """The key of the controlled object that owns `pod`, or an empty string."""
        owner = owner_of(pod, self.kind, self.sets)
        return key(owner) if owner is not None else ""

    # --- reconcile ------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> None:
        replica_set = self.sets.get(key)
        if replica_set is None:
            self.expectations.delete(key)
            self.own_writes.forget(key)
            return
        if self.lags(key):
            return
        settled = self.expects_nothing(self.expectations, key)
        selector = self.selector(replica_set)
        pods = await self._claim(replica_set, selector)
        active = [pod for pod in pods if is_active(pod)]
        self._sizes[key] = len(active)
        failure: StatusError | None = None
        if settled and not deleting(replica_set):
            try:
                await self._manage(key, replica_set, active)
            except StatusError as error:
                failure = error
        new_status = self._new_status(replica_set, pods, active, failure)
        await self._write_status(replica_set, new_status)
        if failure is not None:
            raise failure
        min_ready_s = spec(replica_set).get("minReadySeconds") or 0
        wait_s = availability_wait_s(active, min_ready_s, self.clock.now())
        if wait_s is not None:
            self.queue.add_after(key, wait_s)

    async def _claim(self, replica_set: Object, selector: Selector) -> list[Object]:
        owned = self.pods.by("owner", uid(replica_set))
        orphans = [
            pod
            for pod in self.pods.by("owner", f"orphan/{namespace(replica_set)}")
            if is_active(pod) and selector.matches(labels(pod))
        ]
        if not orphans and all(selector.matches(labels(pod)) for pod in owned):
            return list(owned)  # nearly always: nobody to adopt, nobody to let go
        claimer = Claimer(self.client, "pods", replica_set, self.resource_name, selector)
        return await claimer.claim([*owned, *orphans])

    async def _manage(self, key: str, replica_set: Object, active: list[Object]) -> None:
        """Create or delete pods until their number is right. Raises the first failure."""
        wanted = _replicas(replica_set)
        surplus = len(active) - wanted
        if surplus < 0:
            count = min(-surplus, BURST)
            self.expectations.expect(key, creations=count)
            await self._create(key, replica_set, count)
        elif surplus > 0:
            surplus = min(surplus, BURST)
            await self._delete(key, replica_set, self._victims(replica_set, active, surplus))

    async def _create(self, key: str, replica_set: Object, count: int) -> None:
        """Create pods in concurrent batches of 1, 2, 4, ...; stop after one in which some fail."""
        pod = pod_from_template(spec(replica_set).get("template") or {}, replica_set)
        done, size = 0, 1
        while size > 0:
            results = await self.gather(*(self._create_one(replica_set, pod) for _ in range(size)))
            failures = [error for error in results if error is not None]
            done += size
            if failures:
                lost = sum(map(outcome_unknown, failures))
                if lost:
                    self.background(self.lower_later(self.expectations, key, creations=lost))
                never = count - done + len(failures) - lost
                if never:
                    self.expectations.creation_observed(key, never)
                raise failures[0]
            size = min(2 * size, count - done)

    async def _create_one(self, replica_set: Object, pod: Object) -> StatusError | None:
        try:
            created = await self.client.create("pods", pod)
            self.own_writes.wrote(key(replica_set), "pods", created)
        except StatusError as error:
            causes = (error.status.get("details") or {}).get("causes") or ()
            if any(c.get("reason") == NAMESPACE_TERMINATING for c in causes):
                return None  # all creations there will fail, and the owner goes with the namespace
            self.recorder.event(
                replica_set, "Warning", "FailedCreate", f"Error creating: {error.message}"
            )
            return error
        self.recorder.event(
            replica_set, "Normal", "SuccessfulCreate", f"Created pod: {name(created)}"
        )
        return None

    def _victims(self, replica_set: Object, active: list[Object], count: int) -> list[Object]:
        if count >= len(active):
            return active
        on_node: dict[str, int] = {}
        for pod in self.related_pods(replica_set):
            node = spec(pod).get("nodeName")
            if node and is_active(pod):
                on_node[node] = on_node.get(node, 0) + 1
        now = self.clock.now()
        return deletion_order(active, lambda node: on_node.get(node, 0), now)[:count]

    async def _delete(self, key: str, replica_set: Object, victims: list[Object]) -> None:
        self.expectations.expect_deletions(key, [uid(pod) for pod in victims])
        await self.gather(*(self._delete_one(key, replica_set, pod) for pod in victims))

    async def _delete_one(self, key: str, replica_set: Object, pod: Object) -> None:
        try:
            gone = await self.client.delete("pods", name(pod), namespace(pod))
            self.own_writes.wrote(key, "pods", gone)
        except StatusError as error:
            if outcome_unknown(error):
                self.background(self.lower_later(self.expectations, key, uids=[uid(pod)]))
            else:  # it will not be seen going because of this request
                self.expectations.uid_deletion_observed(key, uid(pod))
            if error.code == 404:
                return
            self.recorder.event(
                replica_set, "Warning", "FailedDelete", f"Error deleting: {error.message}"
            )
            raise
        self.recorder.event(
            replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {name(pod)}"
        )

    # --- status ---------------------------------------------------------------------------------

    def _new_status(
        self,
        replica_set: Object,
        pods: list[Object],
        active: list[Object],
        failure: StatusError | None,
    ) -> Object:
        now = self.clock.now()
        of = spec(replica_set)
        template_labels = ((of.get("template") or {}).get("metadata") or {}).get("labels") or {}
        min_ready_s = of.get("minReadySeconds") or 0
        ready = [pod for pod in active if is_ready(pod)]
        counts = {
            "replicas": len(active),
            "fullyLabeledReplicas": sum(matches_labels(p, template_labels) for p in active),
            "readyReplicas": len(ready),
            "availableReplicas": (
                sum(is_available(pod, min_ready_s, now) for pod in ready)
                if min_ready_s
                else len(ready)
            ),
        }
        new: Object = {field: n for field, n in counts.items() if n or field == "replicas"}
        if self.counts_terminating:
            new["terminatingReplicas"] = sum(
                deleting(pod) and status(pod).get("phase") not in ("Succeeded", "Failed")
                for pod in pods
            )
        conditions = self._conditions(replica_set, active, failure)
        if conditions:
            new["conditions"] = conditions
        return new

    def _conditions(
        self, replica_set: Object, active: list[Object], failure: StatusError | None
    ) -> list[Object]:
        current: list[Object] = status(replica_set).get("conditions") or []
        present = find_condition(current, "ReplicaFailure")
        if failure is None:
            return [c for c in current if c is not present]
        if present is not None:
            return current
        creating = len(active) < _replicas(replica_set)
        entry = {
            "type": "ReplicaFailure",
            "status": "True",
            "lastTransitionTime": self.clock.rfc3339(),
            "reason": "FailedCreate" if creating else "FailedDelete",
            "message": failure.message,
        }
        return [*current, entry]

    async def _write_status(self, replica_set: Object, new: Object) -> None:
        """Write the status unless it says all this already; after a conflict once more."""
        old = status(replica_set)
        generation = replica_set["metadata"].get("generation") or 0
        same = all(
            (old.get(field) or 0) == (new.get(field) or 0)
            for field in (
                "replicas",
                "fullyLabeledReplicas",
                "readyReplicas",
                "availableReplicas",
            )
        )
        if (
            same
            and old.get("terminatingReplicas") == new.get("terminatingReplicas")
            and (old.get("conditions") or []) == (new.get("conditions") or [])
            and (old.get("observedGeneration") or 0) == generation
        ):
            return
        new["observedGeneration"] = generation
        await self.write_status(self.resource_name, replica_set, new)


def _replicas(replica_set: Object) -> int:
    wanted = spec(replica_set).get("replicas")
    return 1 if wanted is None else int(wanted)


def _owner_uid(pod: Object) -> str:
    reference = controller_of(pod)
    return reference.get("uid", "") if reference else ""
