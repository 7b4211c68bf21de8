"""What the API is told of a pod that was not placed: its condition, nomination and event.

Owns the words of `PodScheduled` and of the scheduler's events, and when they are written: a
condition that stands already is not written again.
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions
"""

from __future__ import annotations

from typing import Any

from actors.client import Client, EventRecorder
from actors.kernel import Future
from actors.scheduler._explain import ACCOUNT, annotation
from actors.scheduler._pods import PodInfo
from protocol.api import StatusError
from protocol.objects import find_condition

__all__ = ["Reporter"]

Object = dict[str, Any]
NOTE_MAX = 1024
EVENTS_MAX = 50_000
"""Events that may wait to be sent: bindings are never kept waiting by events, so a large rollout
writes its events a little later than its bindings."""
UNSCHEDULABLE = "Unschedulable"
ERROR = "SchedulerError"
STRATEGIC = "application/strategic-merge-patch+json"


class Reporter:
    """Writes about the pods of one scheduler name."""

    def __init__(self, client: Client, scheduler_name: str) -> None:
        self.client = client
        self._writing: dict[str, Future[None]] = {}
        self.events = EventRecorder(client, scheduler_name, queue_max=EVENTS_MAX)

    def event(
        self,
        obj: Object,
        event_type: str,
        reason: str,
        message: str,
        *,
        action: str = "",
        related: Object | None = None,
    ) -> None:
        """Record an event; too long a message is cut as upstream cuts it."""
        if len(message) > NOTE_MAX:
            message = message[: NOTE_MAX - len(" ...")] + " ..."
        self.events.regarding(_typed(obj), event_type, reason, action, message, related=_typed(related))

    def scheduled(self, pod: PodInfo, node: str) -> None:
        """It is bound."""
        text = f"Successfully assigned {pod.namespace}/{pod.name} to {node}"
        self.event(pod.object, "Normal", "Scheduled", text, action="Binding")

    def nominate(self, pod: PodInfo, node: str) -> None:
        """It is about to go to this node, but not at once (KEP-5278)."""
        if pod.nominated_node != node:
            self._patch_after(pod, {"nominatedNodeName": node})

    def failed(self, pod: PodInfo, reason: str, message: str, nominated: str | None) -> None:
        """It could not be placed. `nominated`: the node it hopes for from now on; None: as
        before."""
        self.event(pod.object, "Warning", "FailedScheduling", message, action="Scheduling")
        status: Object = {}
        condition = _condition(pod.object, reason, message, self.client.actor.clock.rfc3339())
        if condition is not None:
            status["conditions"] = [condition]
        if nominated is not None and nominated != pod.nominated_node:
            status["nominatedNodeName"] = nominated or None
        if status:
            self._patch_after(pod, status)

    def _patch_after(self, pod: PodInfo, status: Object) -> None:
        """Patch a pod's status in the background, after what is being written about it already."""
        writing = self.client.actor.background(self._patch(self._writing.get(pod.uid), pod, status))
        self._writing[pod.uid] = writing
        writing.add_callback(lambda done: self._written(pod.uid, done))

    def _written(self, uid: str, writing: Any) -> None:
        if self._writing.get(uid) is writing:
            del self._writing[uid]

    async def _patch(self, before: Future[None] | None, pod: PodInfo, status: Object) -> None:
        if before is not None:
            await before
        body = {"metadata": {"uid": pod.uid}, "status": status}
        try:
            await self.client.patch("pods", pod.name, pod.namespace, body, patch_type=STRATEGIC, subresource="status")
        except StatusError as error:
            # 404, 409: the pod is gone, or is another one of the same name.
            if error.code not in (404, 409):
                self.client.actor.log.warning("status_refused", pod=pod.key, error=error.message)

    async def settled(self, pod: PodInfo) -> None:
        """Wait until what was said of a pod is written: a late "unschedulable" must not land on a
        pod that is bound."""
        writing = self._writing.get(pod.uid)
        if writing is not None:
            await writing

    async def account(self, pod: PodInfo, account: Object, node: str) -> None:
        """Write the account of a decision into the pod's annotation."""
        body = {"metadata": {"uid": pod.uid, "annotations": {ACCOUNT: annotation({**account, "node": node})}}}
        try:
            await self.client.patch("pods", pod.name, pod.namespace, body)
        except StatusError as error:
            if error.code not in (404, 409):
                self.client.actor.log.warning("account_refused", pod=pod.key, error=error.message)


def _condition(pod: Object, reason: str, message: str, now: str) -> Object | None:
    """The PodScheduled condition to write; None if it stands so already."""
    new: Object = {
        "type": "PodScheduled",
        "status": "False",
        "reason": reason,
        "message": message,
    }
    generation = pod["metadata"].get("generation")
    if generation:
        new["observedGeneration"] = generation
    old = find_condition((pod.get("status") or {}).get("conditions"), "PodScheduled")
    if old is not None and all(old.get(k) == v for k, v in new.items()):
        return None
    same = old is not None and old.get("status") == "False"
    new["lastTransitionTime"] = old.get("lastTransitionTime", now) if same and old else now
    new["lastProbeTime"] = None
    return new


def _typed(obj: Any) -> Any:
    if obj is None or "kind" in obj:
        return obj
    return {"apiVersion": "v1", "kind": "Pod", **obj}
