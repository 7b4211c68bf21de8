"""Playing a scenario under many seeds on all cores, and making a failure small.

Owns the pool of processes. Each is started anew (spawn), so that nothing of the parent reaches a
run; what a seed gives there it gives anywhere.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

from simulation._run import Result, faults_of, run_scenario
from simulation._schema import Scenario

__all__ = ["explore", "shrink"]


def explore(scenario: Scenario, seeds: range, workers: int | None = None) -> Iterator[Result]:
    """Play every seed; results come in the order of the seeds."""
    count = min(workers or os.cpu_count() or 1, len(seeds))
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        yield from pool.imap(_play, [(scenario, seed) for seed in seeds])


def _play(task: tuple[Scenario, int]) -> Result:
    scenario, seed = task
    try:
        return run_scenario(scenario, seed)
    except Exception as error:  # some exceptions do not survive the way between processes
        return Result(scenario.name, seed, broken=[f"the run ended with {type(error).__name__}: {error}"])


def shrink(scenario: Scenario, seed: int, tries: int = 60) -> tuple[list[dict[str, Any]], Result]:
    """The fewest faults, at the simplest times, under which this seed still fails; `tries` bounds
    the runs. Answers the faults and the run with them."""
    faults = faults_of(scenario, seed)
    best = run_scenario(scenario, seed, faults)
    changed = True
    while changed and tries > 0:
        changed = False
        for candidate in _simpler(faults):
            tries -= 1
            result = run_scenario(scenario, seed, candidate)
            if result.broken:
                faults, best, changed = candidate, result, True
                break
            if tries <= 0:
                break
    return faults, best


def _simpler(faults: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for index in range(len(faults)):
        yield faults[:index] + faults[index + 1 :]
    for index, fault in enumerate(faults):
        for unit in (60.0, 10.0, 1.0):
            rounded = fault["at"] // unit * unit
            if rounded != fault["at"]:
                yield [*faults[:index], {**fault, "at": rounded}, *faults[index + 1 :]]
