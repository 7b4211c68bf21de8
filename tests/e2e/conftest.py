"""A live cluster and the real kubectl."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from cli._errors import UsageError
from cli.kubectl import find_kubectl
from cluster import Cluster

Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One cluster of three nodes per test module."""
    with Cluster(nodes=3, debug=True) as running:
        yield running


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster) -> Kubectl:
    """`kubectl("get", "pods")` answers stdout; a failure raises with what kubectl said."""
    try:
        binary = find_kubectl()
    except UsageError as missing:
        pytest.skip(str(missing))

    def run(*arguments: str, stdin: str | None = None, fails: bool = False) -> str:
        command = [binary, f"--kubeconfig={cluster.kubeconfig}", "--request-timeout=30s", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        if fails:
            assert done.returncode != 0, f"kubectl {arguments} should fail and printed {done.stdout}"
            return done.stderr
        assert done.returncode == 0, f"kubectl {arguments}: {done.stderr}"
        return done.stdout

    return run
