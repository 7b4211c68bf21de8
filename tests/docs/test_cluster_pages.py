"""The commands of pages about a running cluster, run in their order, print what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cli.kubectl import find_kubectl
from cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 20.0
PAGES: dict[str, dict[str, Any]] = {  # and the cluster that each is about
    "services.md": {"nodes": 4},
    "controllers.md": {"nodes": 3, "controllers": {"node_monitor_grace_period": 8.0}},
}
NAMES = (  # what differs from run to run, by kind
    (re.compile(r"KUBE-SEP-[A-Z2-7]{16}"), "KUBE-SEP-X"),
    (re.compile(r"\b10\.244\.\d+\.\d+"), "POD-IP"),
    (re.compile(r"\b10\.96\.(?!0\.10?\b)\d+\.\d+"), "CLUSTER-IP"),
    (re.compile(r"\bweb-[0-9a-f]{8,10}-[a-z0-9]{5}\b"), "POD"),
    (re.compile(r"\bweb-[a-z0-9]{5}\b"), "SLICE"),
    (re.compile(r"^node-\d:"), "node-N:"),
    (re.compile(r"\b(\d+m)?\d+s$"), "AGE"),
    (re.compile(r"(172\.18\.0\.5:)\d{5}"), r"\1PORT"),
    (re.compile(r"^(\s+)\d+(  -)"), r"\1N\2"),  # a rule's place in its chain: endpoints are in chance's order
    (re.compile(r" -m statistic --mode random --probability 0\.5000000000"), ""),
)


def commands(page: str) -> list[tuple[str, list[str]]]:
    """(command, lines that it prints), in the order of the page."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.M | re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def plain(line: str) -> str:
    for pattern, name in NAMES:
        line = pattern.sub(name, line)
    return " ".join(line.split())


def agrees(printed: list[str], page: list[str]) -> bool:
    """Whether the lines are alike but for what differs from run to run; `...` stands for some lines."""
    pattern = "".join("(?:.*\n)*?" if line == "..." else re.escape(plain(line)) + "\n" for line in page)
    return re.fullmatch(pattern, "".join(plain(line) + "\n" for line in printed)) is not None


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_as_the_cluster_says(name: str) -> None:
    try:
        kubectl = find_kubectl()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    functions = f'kubectl() {{ "{kubectl}" "$@"; }}; kubekka() {{ "{sys.executable}" "{ROOT / "cluster.py"}" "$@"; }}; '
    with Cluster(**PAGES[name]) as cluster:
        environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PYTHONPATH": str(ROOT)}
        for command, page in commands(name):
            changes = re.search(r"kubectl (create|run|expose|delete|scale|set|patch|apply|label|rollout undo)", command) is not None
            until = time.monotonic() + WAIT_S
            while True:
                done = subprocess.run(
                    ["bash", "-c", f"{functions}{command}"],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    env=environment,
                    check=False,
                )
                if agrees(done.stdout.splitlines(), page):
                    break
                # what is read follows what was changed a moment later
                assert not changes, f"$ {command}\n{done.stdout}"
                assert time.monotonic() < until, f"$ {command}\n{done.stdout}"
                time.sleep(0.3)
