"""Part of a pod's worker: life after a crash of the kubelet.

Owns how what the runtime runs and what the API remembers become the worker's records again.
Nothing is started, stopped or restarted by it.
"""

from __future__ import annotations

from typing import Any

from actors.kubelet._messages import ConsiderResize
from actors.kubelet._plan import EXITED, NEW, RUNNING
from actors.kubelet._reporting import Reporting
from actors.kubelet._spec import MAIN, SIDECAR, is_terminal
from actors.kubelet._status import RESIZES, RESTARTING
from protocol.cri import (
    CONTAINER_CREATED,
    CONTAINER_EXITED,
    CONTAINER_RUNNING,
    ContainerStatus,
    ListContainers,
    ListPodSandbox,
    RemoveContainer,
)

__all__ = ["Recovering", "plain"]

Object = dict[str, Any]


def plain(resources: Object | None) -> Object:
    """Resources without what is empty, so that they compare."""
    return {k: v for k, v in (resources or {}).items() if v}


class Recovering(Reporting):
    """See the module."""

    async def _recover(self) -> None:
        """Take up what the runtime runs and the API knows. Nothing is restarted."""
        sandboxes = await self.ask(self.node.runtime, ListPodSandbox(self.uid))
        containers = await self.ask(self.node.runtime, ListContainers(self.uid))
        status = self.pod.get("status") or {}
        known = {
            c["name"]: c
            for group in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
            for c in status.get(group) or ()
        }
        for member in self.members:
            self._recall(member, known.get(member.name))
        latest = max(sandboxes, key=lambda s: (s.attempt, s.created_at), default=None)
        self.old_sandboxes = [s.id for s in sandboxes if s is not latest]
        if latest is not None:
            self.sandbox_id = latest.id
            self.sandbox_attempt = latest.attempt + 1
            self.facts.sandbox_ready = latest.ready
            if latest.ready:
                self.tell_annotations(latest.annotations)
            host = self.pod["spec"].get("hostNetwork")
            self.facts.ips = self.node.config.node_ips if host else latest.ips
        for found in sorted(containers, key=lambda c: (c.created_at, c.attempt)):
            self._take_up(found)
        for member in self.members:
            self._account_if_lost(member, known.get(member.name))
        if status.get("reason") in ("DeadlineExceeded", "Evicted") and is_terminal(self.pod):
            self.facts.reason, self.facts.message = status["reason"], status.get("message", "")
        self._recall_resize(known)
        conditions = status.get("conditions") or ()
        self.facts.restarting = any(c["type"] == RESTARTING and c.get("status") == "True" for c in conditions)
        if latest is not None and self.node.features is not None:
            self.aside(self.provide_again())
        self.recover = False
        self.ref.tell(ConsiderResize())

    def _recall_resize(self, known: dict[str, Object]) -> None:
        """What containers were allocated when it was last reported, and what became of a resize."""
        noted = self.node.allocations.get(self.uid)
        level = noted.get("") if noted is not None else (self.pod.get("status") or {}).get("resources")
        if level is not None and self.facts.level is not None:
            self.facts.level = level
        for member in self.members:
            resources = (known.get(member.name) or {}).get("resources")
            if noted is not None and member.name in noted:
                resources = noted[member.name] or {}
            if resources is not None and resources != plain(member.spec.get("resources")):
                member.spec = {**member.spec, "resources": resources}
        self.unsure = {m.name for m in self.members if m.kind in (MAIN, SIDECAR) and m.spec.get("resources")}
        for condition in (self.pod.get("status") or {}).get("conditions") or ():
            if condition["type"] in RESIZES:
                reason, message = condition.get("reason", ""), condition.get("message", "")
                self.facts.resize = (condition["type"], reason, message, condition.get("observedGeneration") or 0)

    @staticmethod
    def _recall(member: Any, known: Object | None) -> None:
        """What the API remembers of a container: how often it ran, and how it ended."""
        if known is None:
            return
        member.restart_count = max(member.restart_count, int(known.get("restartCount") or 0))
        member.image, member.image_id = known.get("image", ""), known.get("imageID", "")
        waiting = ((known.get("state") or {}).get("waiting") or {}).get("reason")
        if member.kind == MAIN and waiting == "PodInitializing":
            member.base_restarts = member.restart_count  # the whole pod was started again
            member.last_terminated = (known.get("lastState") or {}).get("terminated")
            return
        last = (known.get("lastState") or {}).get("terminated")
        ended = (known.get("state") or {}).get("terminated")
        member.last_terminated = last
        final = ended or (last if "waiting" in (known.get("state") or {}) else None)
        if final is not None:
            member.terminated = final
            member.exit_code = int(final.get("exitCode") or 0)
            member.state = EXITED
            member.container_id = (known.get("containerID") or "").partition("://")[2]

    def _account_if_lost(self, member: Any, known: Object | None) -> None:
        """A container that ran when last reported and of which the runtime knows nothing (the
        machine was started anew) ended somehow; it restarts as its policy says."""
        if known is None or "running" not in (known.get("state") or {}) or member.container_id:
            return
        member.state = EXITED
        member.exit_code = 137
        member.container_id = (known.get("containerID") or "").partition("://")[2]
        member.terminated = {
            "exitCode": 137,
            "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the pod was deleted.  The container used to be Running",
            "startedAt": None,
            "finishedAt": None,
        }

    def _take_up(self, found: ContainerStatus) -> None:
        member = self.member(found.name)
        if member is None or found.state == CONTAINER_CREATED:
            if member is not None:
                self.ask(self.node.runtime, RemoveContainer(found.id))
            return
        if (
            member.container_id
            and member.container_id != found.id
            and member.state != NEW
            and found.attempt < member.restart_count
        ):
            self.previous_ids[member.name] = found.id
            return
        if member.container_id and member.container_id != found.id:
            self.previous_ids[member.name] = member.container_id
        if found.attempt > member.restart_count or (member.terminated is not None and member.container_id != found.id):
            member.last_terminated = member.terminated or member.last_terminated
        member.restart_count = max(found.attempt, member.restart_count)
        member.container_id = found.id
        member.image, member.image_id = member.image or found.image, found.image_ref
        member.started_at = found.started_at
        member.waiting = None
        if found.state == CONTAINER_RUNNING:
            member.state, member.terminated = RUNNING, None
            self.begin_probes(member)
        elif found.state == CONTAINER_EXITED:
            member.state, member.terminated = RUNNING, None
            self.ended(member, found)
