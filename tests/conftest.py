"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from actors.kernel import LiveSystem, Simulation

settings.register_profile(
    "kubekka", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("kubekka")


@pytest.fixture
def live() -> Iterator[LiveSystem]:
    """A live system that must not have been blocked by anybody when the test ends."""
    system = LiveSystem("test", seed=1).start_thread()
    yield system
    system.shutdown()
    assert not system.slow_turns, f"the loop thread was blocked: {list(system.slow_turns)}"


@pytest.fixture
def sim() -> Simulation:
    """A simulation with seed 0."""
    return Simulation(seed=0)
