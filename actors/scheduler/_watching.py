"""From watches to what the scheduler knows: nodes, pods and everything else it reads.

Owns the informers and the translation of each change into the cache, the queue and a cluster event
that may let waiting pods back in. It schedules nothing; `on_work` says that there may be a pod to
try.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from actors.client import Client, Informer
from actors.scheduler._cache import Cache
from actors.scheduler._events import ADD, DELETE, LABELS, UPDATE, ClusterEvent, node_actions, pod_actions
from actors.scheduler._objects import Objects
from actors.scheduler._pods import DEFAULT_SCHEDULER, PodInfo
from actors.scheduler._queue import SchedulingQueue
from protocol.objects import key as key_of
from protocol.objects import labels as labels_of

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Watching"]

Object = dict[str, Any]

# resource -> (the name of its events, whether the scheduler may not begin without it)
OTHERS: dict[str, tuple[str, bool]] = {
    "services": ("Service", True),
    "replicationcontrollers": ("ReplicationController", True),
    "replicasets": ("ReplicaSet", True),
    "statefulsets": ("StatefulSet", True),
    "persistentvolumes": ("PersistentVolume", True),
    "persistentvolumeclaims": ("PersistentVolumeClaim", True),
    "storageclasses": ("StorageClass", True),
    "csinodes": ("CSINode", True),
    "poddisruptionbudgets": ("PodDisruptionBudget", True),
    "csidrivers": ("CSIDriver", False),
    "csistoragecapacities": ("CSIStorageCapacity", False),
    "volumeattachments": ("VolumeAttachment", False),
    "resourceclaims": ("ResourceClaim", False),
    "resourceslices": ("ResourceSlice", False),
    "deviceclasses": ("DeviceClass", False),
}
_SELECTORS_ONLY = ("services", "replicationcontrollers", "replicasets", "statefulsets")
"""Of these only the selector is read, and they change all the time otherwise."""
_EVENTLESS = (*_SELECTORS_ONLY, "poddisruptionbudgets")
_UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"


class Watching:
    """See the module. `responsible(scheduler_name)`: whether pods of that name are ours."""

    def __init__(
        self,
        client: Client,
        cache: Cache,
        objects: Objects,
        queue: SchedulingQueue,
        responsible: Callable[[str], bool],
        nominated: dict[str, dict[str, PodInfo]],
        on_work: Callable[[], None],
        on_gone: Callable[[str], None],
    ) -> None:
        self.client = client
        self.cache = cache
        self.objects = objects
        self.queue = queue
        self.responsible = responsible
        self.nominated = nominated
        self._nominations: dict[str, str] = {}
        self.on_work = on_work
        self.on_gone = on_gone
        self.informers: list[Informer] = []
        self._needed: list[Informer] = []
        self.pods = self._inform("pods", True, self._pod_added, self._pod_updated, self._pod_deleted, _UNFINISHED)
        self._inform("nodes", True, partial(self._node, None), self._node, self._node_deleted)
        self._inform("namespaces", True, partial(self._namespace, None), self._namespace, self._namespace_deleted)
        for resource, (_, needed) in OTHERS.items():
            self._inform(
                resource,
                needed,
                partial(self._other, resource, None),
                partial(self._other, resource),
                partial(self._other_deleted, resource),
            )

    def _inform(self, resource: str, needed: bool, add: Any, update: Any, delete: Any, fields: str = "") -> Informer:
        informer = Informer(
            self.client, resource, field_selector=fields, on_add=add, on_update=update, on_delete=delete
        )
        self.informers.append(informer)
        if needed:
            self._needed.append(informer)
        return informer

    def start(self) -> None:
        """List and watch, in the background."""
        for informer in self.informers:
            informer.start()

    async def synced(self) -> None:
        """Wait for the first list of everything that decisions need."""
        for informer in self._needed:
            await informer.synced()

    @property
    def now(self) -> float:
        return self.client.actor.clock.monotonic()

    def _happened(self, event: ClusterEvent) -> None:
        if self.queue.move(event, self.now):
            self.on_work()

    # --- pods ------------------------------------------------------------------------------

    def _pod_added(self, pod: Object) -> None:
        self._pod_updated(None, pod)

    def _pod_updated(self, old: Object | None, pod: Object) -> None:
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            # The selector keeps such pods out; a server that ignores it must not confuse us.
            self._pod_deleted(pod if old is None else old)
            return
        spec = pod.get("spec") or {}
        uid = pod["metadata"].get("uid") or key_of(pod)
        if spec.get("nodeName"):
            self._assigned(uid, old, pod)
        elif self.responsible(spec.get("schedulerName") or DEFAULT_SCHEDULER):
            self._unassigned(uid, pod)

    def _assigned(self, uid: str, old: Object | None, pod: Object) -> None:
        known = self.cache.placed(uid)
        confirmed = known is not None and not self.cache.is_assumed(uid)
        info = self.cache.classes.info(pod, known)
        self.cache.put_pod(info)
        if not confirmed:
            self.queue.delete(uid)
            self.denominate(uid)
            self._happened(ClusterEvent("AssignedPod", frozenset({ADD}), None, pod))
            return
        actions = pod_actions(known, info)
        if actions:
            self._happened(ClusterEvent("AssignedPod", actions, old, pod))

    def _unassigned(self, uid: str, pod: Object) -> None:
        if self.cache.placed(uid) is not None:
            # Assumed, and its binding under way: this is news from before it.
            return
        queued = self.queue.pods.get(uid)
        before = queued.pod if queued is not None else None
        info = self.cache.classes.info(pod, before)
        if info.nominated_node or (before is not None and before.nominated_node):
            # Otherwise what was decided a moment ago is not written yet, and holds.
            self.nominate(info)
        if before is None:
            event = ClusterEvent("UnscheduledPod", frozenset({UPDATE}), None, pod)
            active = self.queue.update(info, event, self.now)
        else:
            actions = pod_actions(before, info)
            event = ClusterEvent("UnscheduledPod", actions, before.object, pod)
            active = self.queue.update(info, event, self.now)
        if active:
            self.on_work()

    def _pod_deleted(self, pod: Object) -> None:
        uid = pod["metadata"].get("uid") or key_of(pod)
        self.denominate(uid)
        self.on_gone(uid)
        known = self.cache.remove_pod(uid)
        self.queue.delete(uid)
        if known is None:
            return
        last = pod
        if not (pod.get("spec") or {}).get("nodeName"):
            # It was only assumed to be somewhere, and took room there all the same.
            last = known.object
        self._happened(ClusterEvent("AssignedPod", frozenset({DELETE}), last, None))

    # --- nominations -----------------------------------------------------------------------

    def nominate(self, pod: PodInfo, node: str | None = None) -> None:
        """Note which node a pod hopes for: `node`, or what its status says."""
        wanted = pod.nominated_node if node is None else node
        if self._nominations.get(pod.uid, "") != wanted:
            self.denominate(pod.uid)
        if wanted:
            self._nominations[pod.uid] = wanted
            self.nominated.setdefault(wanted, {})[pod.uid] = pod

    def denominate(self, uid: str) -> None:
        """The pod hopes for no node any more."""
        node = self._nominations.pop(uid, "")
        if node:
            pods = self.nominated[node]
            pods.pop(uid, None)
            if not pods:
                del self.nominated[node]

    # --- nodes -----------------------------------------------------------------------------

    def _node(self, old: Object | None, node: Object) -> None:
        if not self.cache.put_node(node):
            return
        actions = node_actions(old, node)
        if actions:
            self._happened(ClusterEvent("Node", actions, old, node))

    def _node_deleted(self, node: Object) -> None:
        self.cache.remove_node(node["metadata"]["name"])
        self._happened(ClusterEvent("Node", frozenset({DELETE}), node, None))

    # --- everything else -------------------------------------------------------------------

    def _namespace(self, old: Object | None, namespace: Object) -> None:
        labels = dict(labels_of(namespace))
        if self.cache.tallies.put_namespace(namespace["metadata"]["name"], labels):
            action = ADD if old is None else LABELS
            self._happened(ClusterEvent("Namespace", frozenset({action}), old, namespace))

    def _namespace_deleted(self, namespace: Object) -> None:
        self.cache.tallies.put_namespace(namespace["metadata"]["name"], None)

    def _other(self, resource: str, old: Object | None, obj: Object) -> None:
        if resource in _SELECTORS_ONLY:
            selector = (obj.get("spec") or {}).get("selector")
            before = self.objects.get(resource, key_of(obj))
            if before is not None and before["spec"]["selector"] == selector:
                return
            meta = {k: obj["metadata"].get(k) for k in ("name", "namespace", "uid")}
            obj = {"metadata": meta, "spec": {"selector": selector}}
        self.objects.put(resource, obj)
        if resource not in _EVENTLESS:
            action = ADD if old is None else UPDATE
            self._happened(ClusterEvent(OTHERS[resource][0], frozenset({action}), old, obj))

    def _other_deleted(self, resource: str, obj: Object) -> None:
        self.objects.remove(resource, key_of(obj))
        if resource not in _EVENTLESS:
            self._happened(ClusterEvent(OTHERS[resource][0], frozenset({DELETE}), obj, None))

    def statistics(self) -> Collection[dict[str, Any]]:
        """What each informer holds."""
        return [i.statistics() for i in self.informers]
