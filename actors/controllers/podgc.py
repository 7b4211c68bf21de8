"""The pod garbage collector: pods that nobody else will ever remove.

Owns the deletion of pods on nodes that are no more, of terminating pods that were never scheduled,
of terminating pods on nodes marked out of service, and of finished pods above a threshold. Facts:
kubernetes pkg/controller/podgc.
"""

from __future__ import annotations

from typing import ClassVar

from actors.client import StatusError
from actors.client._client import STRATEGIC_PATCH
from actors.controllers._pods import condition_patch
from actors.controllers._reconcile import Context, Controller
from actors.kernel import handles
from protocol.message import Message
from protocol.objects import Object, condition, condition_status, deleting, key, metadata, spec, split_key, status

__all__ = ["PodGarbageCollector"]

PERIOD_S = 20.0
QUARANTINE_S = 40.0
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
FINISHED = ("Succeeded", "Failed")
AT_ONCE = 20


class _Sweep(Message, frozen=True):
    """Look at all pods."""


class PodGarbageCollector(Controller):
    """See the module."""

    component: ClassVar[str] = "pod-garbage-collector-controller"
    resources: ClassVar[tuple[str, ...]] = ("pods", "nodes")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._missing_since: dict[str, float] = {}
        self._sweeping = False

    def synced(self) -> None:
        self.every(PERIOD_S, _Sweep())

    @handles(_Sweep)
    async def sweep(self, message: _Sweep) -> None:
        if self._sweeping:
            return
        self._sweeping = True
        try:
            pods = list(self.store("pods"))
            await self._finished_above_threshold(pods)
            await self._out_of_service([p for p in pods if deleting(p)])
            await self._on_lost_nodes(pods)
            await self._never_scheduled([p for p in pods if deleting(p) and not spec(p).get("nodeName")])
        finally:
            self._sweeping = False

    async def _finished_above_threshold(self, pods: list[Object]) -> None:
        threshold = self.options.terminated_pod_gc_threshold
        finished = [p for p in pods if status(p).get("phase") in FINISHED]
        if threshold > 0 and len(finished) > threshold:
            finished.sort(key=_evicted_then_age)
            await self._remove_all(finished[: len(finished) - threshold])

    async def _out_of_service(self, pods: list[Object]) -> None:
        marked = []
        for pod in pods:
            node = self.store("nodes").get(spec(pod).get("nodeName") or "")
            if node is None or condition_status(node, "Ready") == "True":
                continue
            if any(t.get("key") == OUT_OF_SERVICE for t in spec(node).get("taints") or ()):
                marked.append(pod)
        await self._remove_all(sorted(marked, key=_evicted_then_age))

    async def _on_lost_nodes(self, pods: list[Object]) -> None:
        """A node must have been missing for a while, and then be asked for once more."""
        now = self.clock.monotonic()
        nodes = self.store("nodes")
        missing = dict.fromkeys(n for p in pods if (n := spec(p).get("nodeName")) and n not in nodes)
        self._missing_since = {n: self._missing_since.get(n, now) for n in missing}
        lost = {
            n for n, since in self._missing_since.items() if now - since >= QUARANTINE_S and not await self._exists(n)
        }
        reason = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
        }
        await self._remove_all([p for p in pods if spec(p).get("nodeName") in lost], reason)

    async def _exists(self, node: str) -> bool:
        try:
            await self.client.get("nodes", node)
        except StatusError as error:
            return error.code != 404
        return True

    async def _never_scheduled(self, pods: list[Object]) -> None:
        await self._remove_all(pods)

    async def _remove_all(self, pods: list[Object], reason: Object | None = None) -> None:
        for at in range(0, len(pods), AT_ONCE):
            await self.gather(*(self._remove(pod, reason) for pod in pods[at : at + AT_ONCE]))

    async def _remove(self, pod: Object, reason: Object | None) -> None:
        """Mark as failed, for nobody else will, and delete without grace."""
        namespace, name = split_key(key(pod))
        uid = metadata(pod)["uid"]
        try:
            if status(pod).get("phase") not in FINISHED:
                body: Object = {"metadata": {"uid": uid}, "status": {}}
                if reason is not None and condition(pod, reason["type"]) is None:
                    entry = {**reason, "lastTransitionTime": self.clock.rfc3339()}
                    if metadata(pod).get("generation"):
                        entry["observedGeneration"] = metadata(pod)["generation"]
                    body = condition_patch(pod, entry)
                body["status"]["phase"] = "Failed"
                await self.client.patch("pods", name, namespace, body, patch_type=STRATEGIC_PATCH, subresource="status")
            await self.client.delete("pods", name, namespace, uid=uid, grace_period_s=0)
        except StatusError as error:
            if error.code not in (404, 409):
                self.log.info("pod_gc_failed", pod=key(pod), error=error.message)


def _evicted_then_age(pod: Object) -> tuple[bool, str, str]:
    evicted = status(pod).get("phase") == "Failed" and status(pod).get("reason") == "Evicted"
    return not evicted, metadata(pod).get("creationTimestamp", ""), metadata(pod)["name"]
