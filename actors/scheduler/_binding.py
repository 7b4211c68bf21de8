"""From a chosen node to a bound pod: reserve, permit, then bind beside the next pods.

Owns the order of these steps and their undoing. A pod is assumed on its node before anything else
happens, so that the next pod sees it there; whatever fails afterwards takes the assumption back and
lets the queue know. The API server refuses a second binding of one pod, so a binding whose answer
was lost is looked up, never repeated blindly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.kernel import Future
from actors.scheduler._engine import Decision, Engine
from actors.scheduler._events import DELETE, ClusterEvent
from actors.scheduler._framework import Plugin
from actors.scheduler._pods import PodInfo
from actors.scheduler._queue import QueuedPod
from actors.scheduler._status import SUCCESS, Code, Status
from protocol.api import StatusError

if TYPE_CHECKING:
    from actors.scheduler._actor import Scheduler

__all__ = ["Binder", "WaitingPod"]

LOOK_AGAIN_S = 1.0


class WaitingPod:
    """A pod that permit plugins hold."""

    def __init__(self, pod: PodInfo, plugins: set[str]) -> None:
        self.pod = pod
        self.plugins = plugins
        self.verdict: Future[Status] = Future()

    def allow(self, plugin: str) -> None:
        """One plugin lets it go; it goes when all have."""
        self.plugins.discard(plugin)
        if not self.plugins and not self.verdict.done:
            self.verdict.resolve(SUCCESS)

    def reject(self, plugin: str, message: str) -> None:
        """One plugin refuses it."""
        if not self.verdict.done:
            self.verdict.resolve(Status(Code.UNSCHEDULABLE, (message,), plugin))


class Binder:
    """Carries out decisions for one scheduler actor. `finished` is called after each binding."""

    def __init__(self, scheduler: Scheduler, finished: Callable[[], None]) -> None:
        self.scheduler = scheduler
        self.finished = finished
        self.under_way = 0

    def carry_out(self, engine: Engine, queued: QueuedPod, decision: Decision) -> None:
        """Assume the pod on its node, reserve, ask for permission, and start to bind."""
        scheduler, pod, cycle, node = self.scheduler, queued.pod, decision.cycle, decision.node
        scheduler.cache.assume(pod, decision.row)
        scheduler.watching.denominate(pod.uid)
        held: set[str] = set()
        try:
            status, timeout_s = self._reserve_and_permit(engine, decision, held)
        except Exception as error:
            status, timeout_s = self._mistake(pod, error), 0.0
        if not status.ok:
            self._give_up(engine, queued, decision, status)
            return
        self.under_way += 1
        if held or any(p.has_pre_bind_work(cycle) for p in engine.profile.pre_bind):
            # It will take a while: let others (and this scheduler after a crash) know where.
            scheduler.reporter(pod).nominate(pod, node)
        scheduler.background(self._bind(engine, queued, decision, held, timeout_s))

    def _reserve_and_permit(self, engine: Engine, decision: Decision, held: set[str]) -> tuple[Status, float]:
        """The first refusal, or success and how long the plugins in `held` hold the pod at most."""
        cycle, node = decision.cycle, decision.node
        for plugin in engine.profile.reserve:
            status = plugin.reserve(cycle, node)
            if not status.ok:
                return self._failure("Reserve", plugin, status), 0.0
        timeout_s = float("inf")
        for plugin in engine.profile.permit:
            result = plugin.permit(cycle, node)
            if result.status.code is Code.WAIT:
                held.add(plugin.name)
                timeout_s = min(timeout_s, result.timeout_s)
            elif not result.status.ok:
                return self._failure("Permit", plugin, result.status), 0.0
        return SUCCESS, timeout_s

    def _mistake(self, pod: PodInfo, error: Exception) -> Status:
        """A plugin's mistake costs its pod an attempt, not everybody the scheduler."""
        self.scheduler.log.error("plugin_failed", pod=pod.key, exc_info=error)
        return Status(Code.ERROR, (f"{type(error).__name__}: {error}",))

    def _failure(self, point: str, plugin: Plugin, status: Status) -> Status:
        """A refusal as it is, a failure with the plugin and the point named."""
        if status.rejected:
            return status.by(plugin.name)
        return Status(status.code, (f'running {point} plugin "{plugin.name}": {status.message}',))

    async def _bind(
        self, engine: Engine, queued: QueuedPod, decision: Decision, held: set[str], timeout_s: float
    ) -> None:
        try:
            status = await self._wait(queued.pod, held, timeout_s) if held else SUCCESS
            if status.ok:
                self.scheduler.queue.done(queued.pod.uid)
                status = await self._pre_bind_and_bind(engine, queued.pod, decision)
        except Exception as error:
            status = self._mistake(queued.pod, error)
        self.under_way -= 1
        if status.ok:
            self._bound(engine, queued, decision)
        else:
            self._give_up(engine, queued, decision, status)
        self.finished()

    async def _wait(self, pod: PodInfo, held: set[str], timeout_s: float) -> Status:
        waiting = WaitingPod(pod, held)
        handle = self.scheduler.handles[pod.scheduler_name]
        handle.waiting[pod.uid] = waiting
        plugin = sorted(held)[0]

        async def expire() -> None:
            await self.scheduler.sleep(timeout_s)
            waiting.reject(plugin, f"rejected due to timeout after waiting {timeout_s:g}s at plugin {plugin}")

        self.scheduler.background(expire())
        status = await waiting.verdict
        handle.waiting.pop(pod.uid, None)
        return status

    async def _pre_bind_and_bind(self, engine: Engine, pod: PodInfo, decision: Decision) -> Status:
        cycle, node = decision.cycle, decision.node
        await self.scheduler.reporter(pod).settled(pod)
        for plugin in engine.profile.pre_bind:
            status = await plugin.pre_bind(cycle, node)
            if not status.ok:
                return self._failure("PreBind", plugin, status)
        for extender in engine.extenders:
            if extender.binds and extender.interested(pod):
                bound: Status = await extender.bind(pod, node)
                if bound.code is not Code.SKIP:
                    return bound
        status = Status(Code.ERROR, ("no bind plugin bound the pod",))
        for plugin in engine.profile.bind:
            status = await plugin.bind(cycle, node)
            if status.code is Code.SKIP:
                continue
            if status.ok:
                return status
            if await self._is_bound(pod, node):
                return SUCCESS
            return self._failure("Bind", plugin, status)
        return status

    async def look(self, pod: PodInfo) -> dict[str, Any] | None:
        """The pod as the API server has it now; None if it is gone. Asks until there is an answer:
        while nobody knows, the pod keeps its room."""
        while True:
            try:
                seen: dict[str, Any] = await self.scheduler.client.get("pods", pod.name, pod.namespace)
                return seen if seen["metadata"].get("uid") == pod.uid else None
            except StatusError as error:
                if error.code == 404:
                    return None
            await self.scheduler.sleep(LOOK_AGAIN_S)

    async def find_out(self, pod: PodInfo) -> None:
        """What became of a pod that should have been seen bound by now."""
        scheduler, cache = self.scheduler, self.scheduler.cache
        seen = await self.look(pod)
        scheduler.log.warning("assumed_pod_overdue", pod=pod.key, exists=seen is not None)
        if not cache.is_assumed(pod.uid):
            return
        if seen is not None and (seen.get("spec") or {}).get("nodeName"):
            cache.put_pod(cache.classes.info(seen, pod))
            return
        cache.forget(pod.uid)
        if seen is not None and scheduler.queue.add(cache.classes.info(seen, pod), scheduler.clock.monotonic()):
            scheduler.work()

    async def _is_bound(self, pod: PodInfo, node: str) -> bool:
        """Whether a binding that failed took place all the same: its answer may have been lost."""
        seen = await self.look(pod)
        return seen is not None and (seen.get("spec") or {}).get("nodeName") == node

    def _bound(self, engine: Engine, queued: QueuedPod, decision: Decision) -> None:
        scheduler, pod = self.scheduler, queued.pod
        scheduler.cache.binding_done(pod.uid, scheduler.clock.monotonic() + scheduler.config.assumed_ttl_s)
        scheduler.watch_the_clock()
        scheduler.reporter(pod).scheduled(pod, decision.node)
        scheduler.counters["scheduled"] += 1
        for plugin in engine.profile.post_bind:
            scheduler.background(plugin.post_bind(decision.cycle, decision.node))

    def _give_up(self, engine: Engine, queued: QueuedPod, decision: Decision, status: Status) -> None:
        """Undo, and hand the pod back to the queue."""
        scheduler, pod = self.scheduler, queued.pod
        for plugin in reversed(engine.profile.reserve):
            try:
                plugin.unreserve(decision.cycle, decision.node)
            except Exception as error:
                self._mistake(pod, error)
        forgotten = scheduler.cache.forget(pod.uid)
        scheduler.failed(engine, queued, status, decision.node)
        if forgotten is not None:
            # Its room is free again, which may help others (but not itself: it would spin).
            event = ClusterEvent("AssignedPod", frozenset({DELETE}), _on_node(pod, decision.node), None)
            if scheduler.queue.move(event, scheduler.clock.monotonic()):
                scheduler.work()


def _on_node(pod: PodInfo, node: str) -> dict[str, Any]:
    return {**pod.object, "spec": {**(pod.object.get("spec") or {}), "nodeName": node}}
