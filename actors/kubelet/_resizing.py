"""Part of a pod's worker: in-place resize.

Owns the way from what the spec asks for (desired) to what the pod may have (allocated: the specs of
its members) to what the runtime was told (actuated), with the conditions `PodResizePending` and
`PodResizeInProgress` and the events of each step (KEP-1287). Whether there is room, the kubelet
says. What was allocated outlives a crash in `status.containerStatuses[*].resources`.
"""

from __future__ import annotations

from typing import Any

import orjson

from actors.kernel import ActorDead, AskTimeout, handles
from actors.kubelet._messages import AllocationChanged, ConsiderResize, Resize
from actors.kubelet._plan import RUNNING, Member
from actors.kubelet._recovering import Recovering, plain
from actors.kubelet._spec import EPHEMERAL, MAIN, SIDECAR, default_grace_s
from actors.kubelet._status import RESIZE_IN_PROGRESS, RESIZE_PENDING
from protocol.cri import CriError, UpdateContainerResources, UpdatePodSandboxResources

__all__ = ["Resizing", "resize_text", "with_resources"]

Object = dict[str, Any]
RETRY_S = 10.0
RESTARTED_WITHIN_S = 60.0
LOOK_S = 0.2


class Resizing(Recovering):
    """See the module."""

    def _differing(self) -> list[tuple[Member, Object]]:
        """Members whose allocated resources are not those that the spec asks for, with these."""
        specs = {c["name"]: c for group in ("initContainers", "containers") for c in self.pod["spec"].get(group) or ()}
        return [
            (m, specs[m.name].get("resources") or {})
            for m in self.members
            if m.kind in (MAIN, SIDECAR)
            and m.name in specs
            and plain(specs[m.name].get("resources")) != plain(m.spec.get("resources"))
        ]

    async def _tell_again(self) -> None:
        """Of a change that failed, or that a crash came between, nobody knows what became of it."""
        for member in [m for m in self.members if m.name in self.unsure]:
            self.unsure.discard(member.name)
            if member.state != RUNNING:
                continue
            try:
                await self.ask(
                    self.node.runtime, UpdateContainerResources(member.container_id, self.resources_of(member))
                )
            except (CriError, ActorDead, AskTimeout) as error:
                self.log.info("resources_not_told", pod=self.full_name(), container=member.name, error=str(error))
                self.unsure.add(member.name)
                self.after(RETRY_S, ConsiderResize())

    def _level_differs(self) -> bool:
        """Whether the pod as a whole asks for other resources than it has."""
        return plain(self.pod["spec"].get("resources")) != plain(self.facts.level)

    @handles(ConsiderResize, serial=lambda m: "resize")
    async def consider_resize(self, message: ConsiderResize) -> None:
        """Ask for what the spec wants; give it to the containers, or say why not yet."""
        if self.ending or self.done or self.gone or self.recover:
            return
        await self._tell_again()
        if not self._differing() and not self._level_differs():
            if self.facts.resize is not None:  # taken back
                self.facts.resize = None
                self.flush()
            return
        pod = self.pod
        refusal = await self.ask(self.node.kubelet, Resize(self.uid, pod), timeout=None)
        if self.pod["spec"] != pod["spec"]:
            self.ref.tell(ConsiderResize())
            return
        generation = int(pod["metadata"].get("generation") or 0)
        if refusal is not None:
            self._put_off(pod, generation, *refusal)
            return
        self.facts.resize = (RESIZE_IN_PROGRESS, "", "", generation)
        self.record("Normal", "ResizeStarted", resize_text(pod, "started", generation))
        self.flush()
        await self._actuate(pod, generation)

    def _put_off(self, pod: Object, generation: int, reason: str, text: str) -> None:
        verdict = (RESIZE_PENDING, reason, text, generation)
        if self.facts.resize != verdict:
            self.facts.resize = verdict
            self.record("Warning", f"Resize{reason}", resize_text(pod, reason, generation, text))
        self.flush()

    async def _actuate(self, pod: Object, generation: int) -> None:
        changes = self._differing()
        before, level = [(m, m.spec) for m, _ in changes], self.facts.level
        self.facts.level = pod["spec"].get("resources")
        try:
            for member, resources in changes:
                old, member.spec = member.spec, with_resources(member.spec, resources)
                if member.state == RUNNING:
                    await self._resize_member(member, old)
        except (CriError, ActorDead, AskTimeout) as error:
            self.facts.level = level
            for member, spec in before:
                member.spec = spec
                self.unsure.add(member.name)  # the runtime may have done it all the same
            self.facts.resize = (RESIZE_IN_PROGRESS, "Error", str(error), generation)
            self.record("Warning", "ResizeError", resize_text(pod, "error", generation, str(error)))
            self.flush()
            self.after(RETRY_S, ConsiderResize())
            return
        finally:
            await self._resize_pod()
        self.note_allocation()
        self.facts.resize = None
        self.record("Normal", "ResizeCompleted", resize_text(pod, "completed", generation))
        self.flush()

    def note_allocation(self) -> None:
        """What is held now outlives the kubelet."""
        held: Object = {m.name: m.spec.get("resources") for m in self.members if m.kind != EPHEMERAL}
        self.node.kubelet.tell(AllocationChanged(self.uid, {**held, "": self.facts.level}))

    async def _resize_pod(self) -> None:
        """The pod's own group holds what its containers have now."""
        if self.node.features is not None and self.sandbox_id:
            try:
                await self.ask(self.node.runtime, UpdatePodSandboxResources(self.sandbox_id, self.pod_resources()))
            except (CriError, ActorDead, AskTimeout) as error:
                self.log.info("pod_group_not_resized", pod=self.full_name(), error=str(error))

    async def _resize_member(self, member: Member, old: Object) -> None:
        """The runtime gets the new limits; a container that asks for it is started anew."""
        if _restarts(member.spec, old):
            text = f"Container {member.name} resize requires restart"
            await self.stop_member(member, float(default_grace_s(self.pod)), text)
            self.kick()
            for _ in range(int(RESTARTED_WITHIN_S / LOOK_S)):
                if member.state == RUNNING or self.ending or self.gone:
                    break
                await self.sleep(LOOK_S)
            return
        change = UpdateContainerResources(member.container_id, self.resources_of(member))
        await self.ask(self.node.runtime, change)


def with_resources(container: Object, resources: Object | None) -> Object:
    """The container's spec with other resources."""
    kept = {k: v for k, v in container.items() if k != "resources"}
    if resources is not None:
        kept["resources"] = resources
    return kept


def _restarts(new: Object, old: Object) -> bool:
    """Whether one of the resources that change wants a restart (resizePolicy)."""
    wanting = {
        p.get("resourceName") for p in new.get("resizePolicy") or () if p.get("restartPolicy") == "RestartContainer"
    }
    return any(_amounts(new, name) != _amounts(old, name) for name in wanting)


def _amounts(container: Object, name: Any) -> tuple[Any, Any]:
    resources = container.get("resources") or {}
    return (resources.get("requests") or {}).get(name), (resources.get("limits") or {}).get(name)


def resize_text(pod: Object, what: str, generation: int, error: str = "") -> str:
    """`Pod resize completed: {"containers":[...],"generation":2}`, as events tell it
    (upstream's pkg/kubelet/events)."""
    summary: Object = {}
    for group in ("initContainers", "containers"):
        entries = [
            {"name": c["name"], "resources": _sorted(c.get("resources") or {})} for c in pod["spec"].get(group) or ()
        ]
        if entries:
            summary[group] = entries
    summary["generation"] = generation
    if error:
        summary["error"] = error
    return f"Pod resize {what}: {orjson.dumps(summary).decode()}"


def _sorted(resources: Object) -> Object:
    return {k: dict(sorted(resources[k].items())) for k in ("limits", "requests") if resources.get(k)}
