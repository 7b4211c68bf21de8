"""Faults as verbs, and scenarios that use them in virtual time.

`Faults` disturbs a cluster, live or simulated; `run_scenario` plays a scenario file; `explore` plays
it under many seeds. It may import every component, as `cluster` does; no component imports it.
"""

from simulation._clock import ClusterClock, make_clock
from simulation._desk import ChaosDesk
from simulation._explore import explore, shrink
from simulation._faults import VERBS, FaultError, Faults, Injection
from simulation._report import text_of
from simulation._run import Result, run_scenario
from simulation._schema import Scenario, ScenarioError, load_scenario, read_duration

__all__ = [
    "VERBS",
    "ChaosDesk",
    "ClusterClock",
    "FaultError",
    "Faults",
    "Injection",
    "Result",
    "Scenario",
    "ScenarioError",
    "explore",
    "load_scenario",
    "make_clock",
    "read_duration",
    "run_scenario",
    "shrink",
    "text_of",
]
