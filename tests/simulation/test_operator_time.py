"""An operator in another process lives with a clock that the test owns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import Cluster

OPERATOR = """
import kopf, kubernetes

@kopf.on.startup()
def log_in(**_):
    kubernetes.config.load_kube_config()

@kopf.timer("configmaps", interval=0.2, labels={"count": "yes"})
def count(name, namespace, body, **_):
    found = int((body.get("data") or {}).get("count", "0"))
    patch = {"data": {"count": str(found + 1)}}
    kubernetes.client.CoreV1Api().patch_namespaced_config_map(name, namespace, patch)
"""


def test_an_operators_timer_goes_on_while_hours_pass(tmp_path: Path) -> None:
    pytest.importorskip("kopf", reason="kopf is not installed")
    pytest.importorskip("kubernetes", reason="the kubernetes client is not installed")
    (tmp_path / "operator.py").write_text(OPERATOR)
    with Cluster(nodes=1, clock="virtual") as cluster:
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"count": "yes"}}}
        cluster.apply(made)
        command = [sys.executable, "-m", "kopf", "run", "--all-namespaces", "--standalone", "operator.py"]
        environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)
        try:
            def counted(least: int) -> int:
                found = cluster.wait(
                    "configmaps/a", lambda o: int((o.get("data") or {}).get("count", "0")) >= least, timeout_s=30
                )
                return int(found["data"]["count"])

            before = counted(2)
            cluster.clock.advance(minutes=30)
            assert counted(before + 3) >= before + 3
        finally:
            process.terminate()
            process.wait(20)
