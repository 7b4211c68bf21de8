"""The DaemonSet controller: one pod on every node that wants one.

It makes pods that only one node can take; the scheduler binds them. Nodes that come, go or change
their labels and taints make every DaemonSet look again.
https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/ , upstream's
`pkg/controller/daemon`.
"""

from __future__ import annotations

from actors.client import UidExpectations
from actors.controllers._daemonpods import daemon_pod, fits, surplus, target_node, update_limits
from actors.controllers._daemonrollout import COUNTS, counts, replaceable, surging
from actors.controllers._ownership import Claimer, owner_of
from actors.controllers._pods import availability_wait_s, by_owner_or_orphan, is_finished
from actors.controllers._reconcile import Context, Controller, outcome_unknown
from actors.controllers._revisions import (
    REVISION_HASH,
    claim_revisions,
    create_revision,
    new_revision,
    next_number,
    renumber,
    same_data,
    truncate,
)
from actors.controllers._selectors import cached_selector
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

__all__ = ["DaemonSetController"]

BURST = 250
FAILED_BACKOFF_S = 1.0
FAILED_BACKOFF_MAX_S = 900.0


class DaemonSetController(Controller):
    """See the module."""

    component = "daemonset-controller"
    resources = ("daemonsets", "pods", "nodes", "controllerrevisions")
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.sets = self.store("daemonsets")
        self.nodes = self.store("nodes")
        self.pods = self.store("pods")
        self.pods.add_index("owner", by_owner_or_orphan)
        self.revisions = self.store("controllerrevisions")
        self.revisions.add_index("owner", by_owner_or_orphan)
        self.expectations = UidExpectations(self.clock.monotonic)
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}
        self.on_change("daemonsets", self._set_changed)
        self.on_change("nodes", self._node_changed)
        self.on_change("pods", self._pod_changed)

    # --- what changes mean ----------------------------------------------------------------------

    def _set_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and (new is None or uid(old) != uid(new)):
            self.expectations.delete(key(old))
        obj = new or old
        assert obj is not None
        self.queue.add(key(obj))

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None:
            same_taints = spec(old).get("taints") == spec(new).get("taints")
            if labels(old) == labels(new) and same_taints:
                return  # heartbeats and status decide nothing
        for daemon_set in self.sets:
            if new is None or old is None or fits(daemon_set, old) != fits(daemon_set, new):
                self.queue.add(key(daemon_set))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        assert pod is not None
        reference = controller_of(pod)
        if reference is None:
            if new is not None and (old is None or labels(old) != labels(new)):
                self._look_at_matching(new)
            former = controller_of(old) if old is not None else None
            if former is not None and old is not None:
                self._look_at_owner(old)
            return
        if reference.get("kind") != "DaemonSet":
            return
        owner = self._owner(pod)
        if owner is None:
            return
        if new is None or deleting(new):
            self.expectations.uid_deletion_observed(key(owner), uid(pod))
        elif old is None:
            self.expectations.creation_observed(key(owner))
        self.queue.add(key(owner))

    def _owner(self, pod: Object) -> Object | None:
        return owner_of(pod, "DaemonSet", self.sets)

    def _look_at_owner(self, pod: Object) -> None:
        owner = self._owner(pod)
        if owner is not None:
            self.queue.add(key(owner))

    def _look_at_matching(self, orphan: Object) -> None:
        for daemon_set in self.sets.in_namespace(namespace(orphan)):
            if cached_selector(spec(daemon_set).get("selector")).matches(labels(orphan)):
                self.queue.add(key(daemon_set))

    # --- reconcile ------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> None:
        daemon_set = self.sets.get(key)
        if daemon_set is None:
            self.expectations.delete(key)
            self.own_writes.forget(key)
            return
        if self.lags(key):
            return
        if spec(daemon_set).get("selector") == {}:
            self.recorder.event(
                daemon_set,
                "Warning",
                "SelectingAll",
                "This daemon set is selecting all pods. A non-empty selector is required.",
            )
            return
        if deleting(daemon_set):
            return
        current, old, collisions = await self._history(daemon_set)
        code = labels(current).get(REVISION_HASH, "")
        if not self.expects_nothing(self.expectations, key):
            await self._write_status(daemon_set, code, collisions, observe=False)
            return
        await self._manage(key, daemon_set, code)
        strategy = (spec(daemon_set).get("updateStrategy") or {}).get("type", "RollingUpdate")
        if self.expectations.satisfied(key) and strategy == "RollingUpdate":
            await self._roll(key, daemon_set, code)
        pods = await self._write_status(daemon_set, code, collisions, observe=True)
        live = {labels(p).get(REVISION_HASH, "") for p in pods} | {code}
        await truncate(self.client, old, live, spec(daemon_set).get("revisionHistoryLimit"))
        min_ready_s = spec(daemon_set).get("minReadySeconds") or 0
        wait_s = availability_wait_s(pods, min_ready_s, self.clock.now())
        if wait_s is not None:
            self.queue.add_after(key, wait_s)

    async def _history(self, daemon_set: Object) -> tuple[Object, list[Object], int]:
        """(the present template's revision, the others, collision count)."""
        revisions = await claim_revisions(
            self.client,
            daemon_set,
            "daemonsets",
            cached_selector(spec(daemon_set).get("selector")),
            [
                *self.revisions.by("owner", uid(daemon_set)),
                *self.revisions.by("owner", f"orphan/{namespace(daemon_set)}"),
            ],
        )
        collisions = status(daemon_set).get("collisionCount") or 0
        wanted = new_revision(daemon_set, 0, collisions, REVISION_HASH)
        same = [r for r in revisions if same_data(r, wanted)]
        old = [r for r in revisions if not same_data(r, wanted)]
        number = next_number(old)
        if same:
            current = same[-1]
            if current.get("revision", 0) < number:
                current = await renumber(self.client, current, number)
            return current, old, collisions
        created = None
        while created is None:
            wanted = new_revision(daemon_set, number, collisions, REVISION_HASH)
            created = await create_revision(self.client, daemon_set, wanted)
            collisions += created is None
        return created, old, collisions

    async def _by_node(self, daemon_set: Object) -> dict[str, list[Object]]:
        """The DaemonSet's pods by the node they are for, after adopting and releasing."""
        claimer = Claimer(
            self.client,
            "pods",
            daemon_set,
            "daemonsets",
            cached_selector(spec(daemon_set).get("selector")),
        )
        orphans = self.pods.by("owner", f"orphan/{namespace(daemon_set)}")
        pods = await claimer.claim([*self.pods.by("owner", uid(daemon_set)), *orphans])
        found: dict[str, list[Object]] = {}
        for pod in pods:
            if is_finished(pod) and deleting(pod):
                continue
            node = target_node(pod)
            if node:
                found.setdefault(node, []).append(pod)
        return found

    async def _manage(self, key: str, daemon_set: Object, code: str) -> None:
        """One pod on every node that should have one, none where it must not run."""
        by_node = await self._by_node(daemon_set)
        missing: list[str] = []
        doomed: list[Object] = []
        for node in self.nodes:
            should_run, may_stay = fits(daemon_set, node)
            pods = by_node.get(name(node), [])
            if should_run and not pods:
                missing.append(name(node))
            elif may_stay and pods:
                doomed += self._excess(daemon_set, pods, code)
            elif pods:
                doomed += [p for p in pods if not deleting(p)]
        for node_name, pods in by_node.items():
            if self.nodes.get(node_name) is None:
                # Waits for a node that is no more; what ran there is the pod collector's.
                doomed += [p for p in pods if not spec(p).get("nodeName") and not deleting(p)]
        await self._sync(key, daemon_set, code, missing, doomed)

    def _excess(self, daemon_set: Object, pods: list[Object], code: str) -> list[Object]:
        """What must go from a node that keeps a pod: the finished, and all but one."""
        doomed, running = [], []
        for pod in pods:
            if deleting(pod):
                continue
            phase = status(pod).get("phase")
            where = f"daemon pod {namespace(pod)}/{name(pod)} on node {target_node(pod)}"
            if phase == "Failed":
                if self._in_backoff(daemon_set, target_node(pod)):
                    continue
                self.recorder.event(
                    daemon_set,
                    "Warning",
                    "FailedDaemonPod",
                    f"Found failed {where}, will try to kill it",
                )
                doomed.append(pod)
            elif phase == "Succeeded":
                self.recorder.event(
                    daemon_set,
                    "Normal",
                    "SucceededDaemonPod",
                    f"Found succeeded {where}, will try to delete it",
                )
                doomed.append(pod)
            else:
                running.append(pod)
        surge, _ = update_limits(daemon_set, 1)
        return doomed + surplus(running, daemon_set, code, surge > 0, self.clock.now())

    def _in_backoff(self, daemon_set: Object, node: str) -> bool:
        """Failed pods of one node are replaced after 1 s, 2 s, 4 s, ... up to 15 min."""
        entry = (uid(daemon_set), node)
        now = self.clock.monotonic()
        count, at = self._failures.get(entry, (0, now))
        wait_s = min(FAILED_BACKOFF_S * 2 ** (count - 1), FAILED_BACKOFF_MAX_S) if count else 0.0
        if now - at > 2 * FAILED_BACKOFF_MAX_S:
            count, wait_s = 0, 0.0
        if now - at < wait_s:
            self.queue.add_after(key(daemon_set), wait_s - (now - at) + 0.001)
            return True
        self._failures[entry] = (min(count + 1, 12), now)
        return False

    # --- rolling update -------------------------------------------------------------------------

    async def _roll(self, key: str, daemon_set: Object, code: str) -> None:
        by_node = await self._by_node(daemon_set)
        desired = sum(fits(daemon_set, node)[0] for node in self.nodes)
        surge, unavailable = update_limits(daemon_set, desired)
        live_nodes = {n: p for n, p in by_node.items() if self.nodes.get(n) is not None}
        now = self.clock.now()
        if surge == 0:
            doomed = replaceable(daemon_set, live_nodes, code, unavailable, now)
            await self._sync(key, daemon_set, code, [], doomed)
        else:
            missing, doomed = surging(daemon_set, live_nodes, code, surge, now)
            await self._sync(key, daemon_set, code, missing, doomed)

    # --- pods -----------------------------------------------------------------------------------

    async def _sync(
        self, key: str, daemon_set: Object, code: str, missing: list[str], doomed: list[Object]
    ) -> None:
        """Create and delete. Raises the first failure."""
        if not missing and not doomed:
            return
        missing, doomed = missing[:BURST], doomed[:BURST]
        self.expectations.expect_deletions(key, [uid(p) for p in doomed])
        self.expectations.raise_by(key, creations=len(missing))
        await self._create(key, daemon_set, code, missing)
        await self.gather(*(self._delete_one(key, daemon_set, pod) for pod in doomed))

    async def _create(self, key: str, daemon_set: Object, code: str, nodes: list[str]) -> None:
        """In batches of 1, 2, 4, ... so that a template that cannot be created fails once."""
        at, size = 0, 1
        while at < len(nodes):
            batch = nodes[at : at + size]
            errors = await self.gather(*(self._create_one(daemon_set, n, code) for n in batch))
            failed = [e for e in errors if e is not None]
            at += len(batch)
            if failed:
                lost = sum(map(outcome_unknown, failed))
                if lost:
                    self.background(self.lower_later(self.expectations, key, creations=lost))
                self.expectations.creation_observed(key, len(failed) - lost + len(nodes) - at)
                raise failed[0]
            size *= 2

    async def _create_one(self, daemon_set: Object, node: str, code: str) -> StatusError | None:
        try:
            created = await self.client.create("pods", daemon_pod(daemon_set, node, code))
            self.own_writes.wrote(key(daemon_set), "pods", created)
        except StatusError as error:
            causes = (error.status.get("details") or {}).get("causes") or ()
            if not any(c.get("reason") == "NamespaceTerminating" for c in causes):
                self.recorder.event(
                    daemon_set, "Warning", "FailedCreate", f"Error creating: {error.message}"
                )
            return error
        self.recorder.event(
            daemon_set, "Normal", "SuccessfulCreate", f"Created pod: {name(created)}"
        )
        return None

    async def _delete_one(self, key: str, daemon_set: Object, pod: Object) -> None:
        try:
            gone = await self.client.delete("pods", name(pod), namespace(pod))
            self.own_writes.wrote(key, "pods", gone)
        except StatusError as error:
            if outcome_unknown(error):
                self.background(self.lower_later(self.expectations, key, uids=[uid(pod)]))
            else:
                self.expectations.uid_deletion_observed(key, uid(pod))
            if error.code == 404:
                return
            self.recorder.event(
                daemon_set, "Warning", "FailedDelete", f"Error deleting: {error.message}"
            )
            raise
        self.recorder.event(daemon_set, "Normal", "SuccessfulDelete", f"Deleted pod: {name(pod)}")

    # --- status ---------------------------------------------------------------------------------

    async def _write_status(
        self, daemon_set: Object, code: str, collisions: int, *, observe: bool
    ) -> list[Object]:
        """Write the counts if they changed; returns the pods counted."""
        by_node = await self._by_node(daemon_set)
        new = counts(daemon_set, self.nodes, by_node, code, self.clock.now())
        old = status(daemon_set)
        generation = metadata(daemon_set).get("generation") if observe else None
        new["observedGeneration"] = generation or old.get("observedGeneration") or 0
        if collisions:
            new["collisionCount"] = collisions
        if old.get("conditions"):
            new["conditions"] = old["conditions"]
        if not new["observedGeneration"]:
            del new["observedGeneration"]
        if new != {**dict.fromkeys(COUNTS, 0), **old}:
            await self.write_status("daemonsets", daemon_set, new)
        return [pod for pods in by_node.values() for pod in pods]
