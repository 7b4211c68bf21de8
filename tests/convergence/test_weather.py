"""Whatever goes wrong, every moment is safe, and in the end all is as it should be.

Each history is drawn from a seed (`weather`). `KUBEKKA_THOROUGH=100:300` plays the seeds from 100 up to 300.
"""

from __future__ import annotations

import os

import pytest
from weather import Weather

FIRST, _, LAST = os.environ.get("KUBEKKA_THOROUGH", "0:16").partition(":")


@pytest.mark.parametrize("seed", range(int(FIRST), int(LAST)))
def test_a_history_is_safe_at_every_moment_and_ends_well(seed: int) -> None:
    told: list[str] = []
    broken = Weather(seed).play(told.append)
    assert not broken, "\n".join([f"python tests/convergence/weather.py {seed}", *told, *broken])


def test_one_seed_gives_one_history() -> None:
    first, second = Weather(3), Weather(3)
    assert first.steps == second.steps
    first.play()
    second.play()
    assert first.sim.digest() == second.sim.digest()
