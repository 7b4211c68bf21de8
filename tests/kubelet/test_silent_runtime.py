"""A runtime that does not answer questions takes no kubelet down."""

from __future__ import annotations

from typing import Any

import pytest

from actors.kernel import handles
from actors.runtime import SimulatedRuntime
from protocol.cri import CriError, Image, ListContainerStats, ListImages, ListVolumeUsage
from tests.kubelet import conftest

World = Any


class Silent(SimulatedRuntime):
    """Once told so, it answers no question about figures and images."""

    silent = False

    @handles(ListImages)
    def list_images(self, message: ListImages) -> tuple[Image, ...]:
        self._answer()
        return super().list_images(message)

    @handles(ListContainerStats)
    def list_container_stats(self, message: ListContainerStats) -> Any:
        self._answer()
        return super().list_container_stats(message)

    @handles(ListVolumeUsage)
    def list_volume_usage(self, message: ListVolumeUsage) -> Any:
        self._answer()
        return {}

    def _answer(self) -> None:
        if self.silent:
            raise CriError("Unavailable", "it is away")


def test_the_kubelet_of_a_runtime_that_is_away_knows_its_pods_and_renews_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "SimulatedRuntime", Silent)
    world = conftest.NodeWorld(capacity={"cpu": "4", "memory": "4Gi", "ephemeral-storage": "100Gi", "pods": "10"})
    world.pod("web", annotations={"kubekka.dev/usage-memory": "1Mi"})
    world.until(lambda: world.ready())
    monkeypatch.setattr(Silent, "silent", True)

    def renewed() -> str:
        return str(world.get("leases", "node-0", "kube-node-lease")["spec"]["renewTime"])

    before, status_at = renewed(), world.get("nodes", "node-0", "")["status"]["conditions"][0]["lastHeartbeatTime"]
    world.sim.advance(700)  # the status was due twice
    assert renewed() > before
    assert world.get("nodes", "node-0", "")["status"]["conditions"][0]["lastHeartbeatTime"] == status_at
    restarts = {stats.actor_urn: stats.restarts for stats in world.sim.statistics()}
    assert [path for path, count in restarts.items() if count] == []
    monkeypatch.setattr(Silent, "silent", False)
    world.sim.advance(60)
    assert world.get("nodes", "node-0", "")["status"]["conditions"][0]["lastHeartbeatTime"] > status_at
    assert world.ready()
