"""Part of the kubelet: relief of a node that runs out of memory, disk or process numbers.

Owns when a pod is told to go, one at a time, and what the node says of its pressure. Which pod, and in
which words, is in `_eviction`.
"""

from __future__ import annotations

from typing import Any

from actors.kubelet._admission import Admission
from actors.kubelet._eviction import (
    STORAGE,
    Shortage,
    Use,
    capacities,
    eviction_message,
    over_limit,
    shortages,
    use_by_pod,
    victims,
)
from actors.kubelet._local_storage import excess, is_bounded
from actors.kubelet._messages import Evict
from actors.kubelet._spec import is_deleting, is_terminal
from actors.kubelet._tidying import Tidying
from protocol.cri import CriError, ListContainerStats, ListImages, ListVolumeUsage

__all__ = ["Relief"]

Object = dict[str, Any]


class Relief(Tidying):
    """See the module."""

    admission: Admission

    def begin_relief(self) -> None:
        """Nothing is short at the start."""
        self.evicted: set[str] = set()
        self.soft_since: dict[str, float] = {}

    async def relieve(self) -> None:
        """Evict one pod if the node runs out of something, and those that exceed a limit of storage. What the
        runtime does not tell now, the next look tells."""
        try:
            await self._relieve()
        except CriError as error:
            self.log.info("use_unknown", node=self.node.name, error=error.message)

    async def _relieve(self) -> None:
        """Nodes whose pods' use cannot be told from their requests (none is scripted) are not looked at: that
        keeps thousands of them cheap."""
        if self.node.features is not None:
            await self._keep_local_limits()
        if not self.pressures and not self.node.pods.scripted:
            return
        uses = use_by_pod(await self.ask(self.node.runtime, ListContainerStats()))
        for uid, use in uses.items():
            pod = self.node.pods.get(uid)
            words = over_limit(pod, use) if pod is not None and not is_deleting(pod) and not is_terminal(pod) else ""
            if words:
                self._evict(uid, words, 0, "ephemeralcontainerfs.limit")
        have = capacities(self.config.capacity, self.config.pid_max)
        if STORAGE in have:
            images = await self.ask(self.node.runtime, ListImages())
            have[STORAGE] -= sum(i.size_bytes for i in images)
        hard = shortages(self.config.eviction_hard, have, uses, self.config.capacity)
        soft = shortages(self.config.eviction_soft, have, uses, self.config.capacity)
        before = self.pressures
        await self.set_pressure(frozenset(s.condition for s in (*hard, *soft)))
        self.pressure_changed(before, self.pressures)
        if hard:
            self.node_event("Warning", "EvictionThresholdMet", f"Attempting to reclaim {hard[0].resource}")
            if hard[0].resource == STORAGE and await self.remove_unused_images():
                return  # that may have been enough: the next look tells
            self._evict_one(hard[0], uses, 0)
            return
        now = self.clock.monotonic()
        self.soft_since = {s.signal: self.soft_since.get(s.signal, now) for s in soft}
        for short in soft:
            if now - self.soft_since[short.signal] >= self.config.eviction_soft_grace_s.get(short.signal, 0.0):
                self._evict_one(short, uses, self.config.eviction_max_pod_grace_s)
                return

    async def _keep_local_limits(self) -> None:
        """Evict pods that store more on a real machine than they may."""
        bounded = [uid for uid, p in self.node.pods.items() if is_bounded(p) and not (is_deleting(p) or is_terminal(p))]
        if not bounded:
            return
        uses = use_by_pod(await self.ask(self.node.runtime, ListContainerStats()))
        for uid in bounded:
            volumes = await self.ask(self.node.runtime, ListVolumeUsage(uid))
            held = {name: usage.used_bytes for name, usage in volumes.items()}
            pod = self.node.pods.get(uid)
            words, signal = excess(pod, uses.get(uid, {}), held) if pod is not None else ("", "")
            if words:
                self._evict(uid, words, 0, signal)

    def _evict_one(self, short: Shortage, uses: dict[str, Use], grace_s: int) -> None:
        for pod in victims(self.node.pods, uses, short.resource):
            uid = pod["metadata"]["uid"]
            if self._evict(uid, eviction_message(pod, uses[uid], short), grace_s, short.signal):
                return

    def _evict(self, uid: str, words: str, grace_s: int, signal: str) -> bool:
        worker = self.node.workers.get(uid)
        if worker is None or uid in self.evicted:
            return False
        self.evicted.add(uid)
        self.node.tallies.evictions[signal] += 1
        worker.tell(Evict("Evicted", words, grace_s))
        return True
