"""The commands of docs/chaos.md and docs/simulate.md run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.kubectl import find_kubectl
from cluster import Cluster
from simulation import load_scenario, run_scenario

ROOT = Path(__file__).resolve().parents[2]


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = command.replace("kubekka ", f"{sys.executable} {ROOT / 'cluster.py'} ", 1) if command.startswith("kubekka") else command
    return subprocess.run(
        command, shell=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}, check=False
    )


def test_the_commands_of_simulate_run() -> None:
    for command in "".join(blocks("simulate.md", "sh")).splitlines():
        done = run(command)
        assert done.returncode == 0, (command, done.stdout[-500:], done.stderr)
        assert re.fullmatch("trace hash: [0-9a-f]{32}", done.stdout.splitlines()[-1])


def test_the_scenario_of_the_page_holds(tmp_path: Path) -> None:
    path = tmp_path / "page.yaml"
    path.write_text(blocks("simulate.md", "yaml")[0])
    assert run_scenario(load_scenario(path), 1).broken == []


def test_the_commands_of_chaos_run() -> None:
    try:
        kubectl = find_kubectl()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with Cluster(nodes=2, seed=1) as cluster:
        for command in "".join(blocks("chaos.md", "sh")).splitlines():
            command = command.replace("kubectl", str(kubectl))
            done = run(command, KUBECONFIG=str(cluster.kubeconfig))
            assert done.returncode == 0, (command, done.stderr)


def test_the_python_of_chaos_runs() -> None:
    for text in blocks("chaos.md", "python"):
        exec(compile(text, "chaos.md", "exec"), {})
