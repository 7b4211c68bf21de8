"""The taint eviction controller: pods leave nodes whose NoExecute taints they do not tolerate.

Owns the timing of these deletions and the condition that explains them. Facts: kubernetes
pkg/controller/tainteviction.
"""

from __future__ import annotations

from typing import ClassVar

from actors.client import StatusError
from actors.client._client import STRATEGIC_PATCH
from actors.controllers._pods import condition_patch
from actors.controllers._reconcile import Context, Controller
from actors.controllers._taints import by_node, key_of, matching_tolerations, no_execute
from actors.kernel import Timer, handles
from protocol.message import Message
from protocol.objects import Object, condition, key, metadata, spec, split_key

__all__ = ["TaintEvictionController"]


class _Evict(Message, frozen=True):
    """The time that a pod tolerates its node's taints is over."""

    key: str
    uid: str


class _Scheduled:
    """A deletion that is set for later."""

    __slots__ = ("due_at", "since", "timer", "uid")

    def __init__(self, uid: str, since: float, due_at: float, timer: Timer) -> None:
        self.uid, self.since, self.due_at, self.timer = uid, since, due_at, timer


class TaintEvictionController(Controller):
    """See the module. Keys: `node/NAME` and `pod/NAMESPACE/NAME`."""

    component: ClassVar[str] = "taint-eviction-controller"
    resources: ClassVar[tuple[str, ...]] = ("nodes", "pods")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.scheduled: dict[str, _Scheduled] = {}
        self.on_change("nodes", self._node_changed)
        self.on_change("pods", self._pod_changed)
        self.store("pods").add_index("nodeName", by_node)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        before = [key_of(t) for t in no_execute(old)] if old else []
        after = [key_of(t) for t in no_execute(new)] if new else []
        if before != after:
            self.queue.add(f"node/{metadata(new or old or {})['name']}")

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            self._cancel(key(old or {}), told=False)
            return
        if old is not None and spec(old).get("nodeName") == spec(new).get("nodeName"):
            if spec(old).get("tolerations") == spec(new).get("tolerations"):
                return
        node = self.store("nodes").get(spec(new).get("nodeName") or "")
        if node is not None and (no_execute(node) or key(new) in self.scheduled):
            self.queue.add(f"pod/{key(new)}")

    async def reconcile(self, key: str) -> None:
        what, _, name = key.partition("/")
        if what == "pod":
            pod = self.store("pods").get(name)
            if pod is not None:
                self._judge(pod)
            return
        for pod in list(self.store("pods").by("nodeName", name)):
            self._judge(pod)

    def _judge(self, pod: Object) -> None:
        """Delete now, later or never."""
        pod_key = key(pod)
        node = self.store("nodes").get(spec(pod).get("nodeName") or "")
        taints = no_execute(node) if node is not None else []
        if not taints:
            self._cancel(pod_key)
            return
        used = matching_tolerations(taints, spec(pod).get("tolerations") or ())
        wait_s = 0.0 if used is None else _shortest(used)
        if wait_s is None:
            self._cancel(pod_key)
            return
        now = self.clock.monotonic()
        earlier = self.scheduled.get(pod_key)
        since = earlier.since if earlier and used is not None else now
        if earlier is not None:
            if used is not None and since + wait_s >= earlier.due_at:
                return  # the clock runs from when the pod first had to go
            self._cancel(pod_key)
        due_at = since + wait_s
        uid = metadata(pod)["uid"]
        timer = self.after(max(0.0, due_at - now), _Evict(pod_key, uid))
        self.scheduled[pod_key] = _Scheduled(uid, since, due_at, timer)

    def _cancel(self, pod_key: str, *, told: bool = True) -> None:
        entry = self.scheduled.pop(pod_key, None)
        if entry is None:
            return
        entry.timer.cancel()
        if told:
            self._event(pod_key, f"Cancelling deletion of Pod {pod_key}")

    def _event(self, pod_key: str, message: str) -> None:
        namespace, name = split_key(pod_key)
        about = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name}
        self.recorder.event(about, "Normal", "TaintManagerEviction", message)

    @handles(_Evict)
    async def evict(self, message: _Evict) -> None:
        entry = self.scheduled.get(message.key)
        if entry is None or entry.uid != message.uid:
            return
        try:
            if not await self._still_tainted(message.key):
                self._cancel(message.key)
                return
            self._event(message.key, f"Marking for deletion Pod {message.key}")
            await self._delete(message.key, message.uid)
        except StatusError as error:
            if error.code not in (404, 409):
                self.log.info("eviction_failed", pod=message.key, error=error.message)
                entry.timer = self.after(1.0, message)
                return
        if self.scheduled.get(message.key) is entry:
            del self.scheduled[message.key]

    async def _still_tainted(self, pod_key: str) -> bool:
        """Whether the pod's node still has a NoExecute taint, by the server's word: the store may be
        as old as our last word from it."""
        pod = self.store("pods").get(pod_key)
        if pod is None:
            return True
        try:
            return bool(no_execute(await self.client.get("nodes", spec(pod).get("nodeName") or "")))
        except StatusError as error:
            if error.code == 404:
                return True
            raise

    async def _delete(self, pod_key: str, uid: str) -> None:
        namespace, name = split_key(pod_key)
        pod = await self.client.get("pods", name, namespace)
        target = condition(pod, "DisruptionTarget")
        if target is None or target.get("status") != "True":
            change = {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint",
                "lastTransitionTime": self.clock.rfc3339(),
            }
            if metadata(pod).get("generation"):
                change["observedGeneration"] = metadata(pod)["generation"]
            body = condition_patch({**pod, "metadata": {**metadata(pod), "uid": uid}}, change)
            await self.client.patch("pods", name, namespace, body, patch_type=STRATEGIC_PATCH, subresource="status")
        await self.client.delete("pods", name, namespace, uid=uid)


def _shortest(tolerations: list[Object]) -> float | None:
    """The least time in seconds that these tolerations allow, None for ever."""
    limits = [max(0, t["tolerationSeconds"]) for t in tolerations if t.get("tolerationSeconds") is not None]
    return float(min(limits)) if limits else None
