"""Scenarios: what a file may say, one seed one history, and what is told of a failure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from simulation import ScenarioError, explore, load_scenario, run_scenario, shrink
from simulation._report import text_of

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(p for p in (ROOT / "examples").glob("*.yaml") if "\nduration:" in p.read_text())
SHORT = """
duration: 90s
nodes: 3
workloads:
- manifest: |
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      replicas: 3
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec: {containers: [{name: web, image: nginx}]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "scenario.yaml"
    path.write_text(text)
    return path


def simulate(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, str(ROOT / "cluster.py"), "simulate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_holds_its_checks(path: Path) -> None:
    scenario = load_scenario(path)
    if scenario.nodes[0]["count"] > 100:  # the same at a size for tests
        scenario.nodes[0]["count"] = 50
        scenario.workloads = [(at, text.replace("5000", "50")) for at, text in scenario.workloads]
        scenario.duration_s = 60.0
    assert run_scenario(scenario, 1).broken == []


def test_a_workload_that_comes_with_the_nodes_is_spread_over_all_of_them(tmp_path: Path) -> None:
    text = SHORT.replace("nodes: 3", "nodes: 12").replace("replicas: 3", "replicas: 12").replace("90s", "20s")
    result = run_scenario(load_scenario(write(tmp_path, text)), 1)
    assert (len(result.pod_start_s), result.spread) == (12, 0)


def test_a_seed_gives_one_hash_in_every_process_whatever_its_hash_seed() -> None:
    example = str(ROOT / "examples" / "compaction-partition.yaml")
    lines = [simulate(example, "--seed", "3", hash_seed=h).stdout.splitlines()[-1] for h in ("0", "1", "4242")]
    assert len(set(lines)) == 1
    assert re.fullmatch("trace hash: [0-9a-f]{32}", lines[0])


def test_the_first_run_of_a_process_writes_what_later_ones_do(tmp_path: Path) -> None:
    """To the byte, the order of keys included, though what was worked out for twins is kept over runs."""
    program = """
import sys
from pathlib import Path
from simulation import load_scenario
from simulation._run import _Run
stores = []
def remember(run):
    caches = run.sim.lookup("apiserver").actor.core.store.caches
    stores.append({(kind, name): bytes(entry.value) for kind in caches for name, entry in caches[kind].all.entries.items()})
    return ""
_Run._hash = remember
for _ in range(2):
    _Run(load_scenario(Path(sys.argv[1])), 1, []).play()
print(len(stores[0]), [key for key in stores[0] if stores[0][key] != stores[1].get(key)])
"""
    command = [sys.executable, "-c", program, str(write(tmp_path, SHORT.replace("90s", "20s")))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert re.fullmatch(r"\d+ \[\]\n", done.stdout)


def test_another_seed_gives_another_hash(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, SHORT))
    assert run_scenario(scenario, 1).trace_hash != run_scenario(scenario, 2).trace_hash


def test_runs_on_other_processes_are_those_of_this_one(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, SHORT))
    hashes = [result.trace_hash for result in explore(scenario, range(3), workers=2)]
    assert hashes == [run_scenario(scenario, seed).trace_hash for seed in range(3)]


def test_of_a_failing_schedule_only_what_matters_is_left(tmp_path: Path) -> None:
    faults = """
faults:
- {at: 35s, verb: compact}
- {at: 47.3s, verb: kill, target: node/*, for: 80s}
- {at: 50s, verb: break-watches}
checks:
- {available: web, at-least: 3, from: 20s}
"""
    scenario = load_scenario(write(tmp_path, SHORT.replace("90s", "3m") + faults))
    left, result = shrink(scenario, 5)
    assert [fault["verb"] for fault in left] == ["kill"]
    assert result.broken


def test_a_check_in_cel_tells_when_it_first_failed_and_what_it_could_not_judge(tmp_path: Path) -> None:
    checks = """
checks:
- {always: "size(pods) < 3", name: few pods}
- {always: "size(pods) < 3", from: 200s}
- {always: "seconds < 1000.0 && pods.all(p, !has(p.spec.nodeName) || nodes.exists(n, n.metadata.name == p.spec.nodeName))"}
- {finally: "deployments.all(d, d.status.availableReplicas == 3)"}
- {finally: "deployments.exists(d, d.metadata.name == 'other')"}
- {finally: "services.all(s, s.spec.nothing == 1)"}
"""
    broken = run_scenario(load_scenario(write(tmp_path, SHORT + checks)), 1).broken
    assert len(broken) == 3
    assert re.fullmatch(r"t=0\.\d few pods: size\(pods\) < 3 does not hold", broken[0])
    assert broken[1] == "t=90.0 deployments.exists(d, d.metadata.name == 'other') does not hold"
    assert broken[2] == "t=90.0 services.all(s, s.spec.nothing == 1) cannot be judged (no such key: nothing)"


def test_the_report_tells_how_long_requests_took_and_which_were_refused(tmp_path: Path) -> None:
    faults = """
faults:
- {at: 0s, verb: api-delay, seconds: 2, verbs: create, resources: pods}
- {at: 0s, verb: api-error, code: 503, rate: 0.5, resources: leases, for: 60s}
checks:
- {api-p99: 1s}
- {api-p99: 3s}
"""
    result = run_scenario(load_scenario(write(tmp_path, SHORT + faults)), 1)
    assert result.write_s[-3:] == [2.0, 2.0, 2.0]
    assert set(result.read_s) == {0.0}
    assert result.codes[503] > 3
    assert result.broken == ["99 % of requests take up to 2 s, expected 1 s"]
    report = text_of(result)
    assert re.search(r"API writes \(\d+\) p50, p90, p99, most: 0, 0, 2000, 2000 ms", report)
    assert re.search(r"API requests refused: .*\d x 503", report)


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("nodez: 3\n", 12 + 3, "nodez"),
        ("faults:\n- {at: 3s, verb: explode}\n", 16, "explode"),
        ("faults:\n- {at: 3x, verb: compact}\n", 16, "duration"),
        ("checks:\n- {converged: 3s, most: 3}\n", 16, "most"),
        ("checks:\n- {always: 'podz.size() > 3'}\n", 16, "undeclared reference to 'podz'"),
        ("checks:\n- {finally: '3'}\n", 16, "true or false"),
    ],
)
def test_what_is_wrong_in_a_scenario_is_named_with_its_line(tmp_path: Path, text: str, line: int, word: str) -> None:
    with pytest.raises(ScenarioError, match=word) as caught:
        load_scenario(write(tmp_path, SHORT + text))
    assert f"scenario.yaml:{line}:" in str(caught.value)


def test_bad_input_is_one_line_and_status_2(tmp_path: Path) -> None:
    for path in (write(tmp_path, "nodes: 3\n"), tmp_path / "absent.yaml"):
        done = simulate(str(path))
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
