"""The controller manager and the scheduler as processes beside others of their kind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli._remote import remote_client

CLUSTER = str(Path(__file__).resolve().parents[2] / "cluster.py")
PATIENCE_S = 30.0
QUICK = ("--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=500ms")


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(
        [sys.executable, CLUSTER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("ready: ")
        yield running
    finally:
        if running.poll() is None:
            running.kill()
        running.communicate()


def eventually(claim: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (found := claim()):
        assert time.monotonic() < end, f"not within {PATIENCE_S} s"
        time.sleep(0.1)
    return found


def refused(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, CLUSTER, *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 2
    return done.stderr


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def test_when_the_leading_controller_manager_is_killed_another_takes_over(kubeconfig: Path) -> None:
    with ExitStack() as stack:
        arguments = ("controllers", "--kubeconfig", str(kubeconfig), "--leader-elect-resource-name=managers", *QUICK)
        managers = [stack.enter_context(process(*arguments)) for _ in range(2)]
        client = stack.enter_context(remote_client(kubeconfig))

        def lease() -> dict[str, Any]:
            found = client.list("leases", "kube-system", field_selector="metadata.name=managers")
            return found[0]["spec"] if found else {}

        def holder() -> str:
            return str(lease().get("holderIdentity") or "")

        first = eventually(holder)
        client.create("deployments", deployment("before"), "default")
        eventually(lambda: len(client.list("pods", "default")) == 2)
        # Which of the two leads is not told by its process: kill one, and if that was the other, this one too.
        managers[0].send_signal(signal.SIGKILL)
        managers[0].wait()
        renewed = lease()["renewTime"]
        eventually(lambda: lease()["renewTime"] != renewed)  # by the other one, which led or leads now
        if holder() == first:
            managers.append(stack.enter_context(process(*arguments)))
            managers[1].send_signal(signal.SIGKILL)
            managers[1].wait()
        second = eventually(lambda: (now := holder()) != first and now)
        client.create("deployments", deployment("after"), "default")
        eventually(lambda: len(client.list("pods", "default")) == 4)
        assert lease()["leaseTransitions"] >= 1
        assert lease()["leaseDurationSeconds"] == 3

        def told() -> set[str]:
            return {e["message"] for e in client.list("events", "kube-system") if e["reason"] == "LeaderElection"}

        eventually(lambda: {f"{first} became leader", f"{second} became leader"} <= told())


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of an API server that runs for the tests of this module."""
    where = tmp_path_factory.mktemp("apiserver")
    with process("apiserver", "--port", "0", "--data-dir", str(where)):
        yield where / "kubeconfig"


def test_with_credentials_of_their_own_controllers_keep_within_their_roles(kubeconfig: Path) -> None:
    binding = "system:controller:deployment-controller"
    with ExitStack() as stack:
        client = stack.enter_context(remote_client(kubeconfig))
        bound = client.get("clusterrolebindings", binding)
        client.delete("clusterrolebindings", binding)
        arguments = ("--leader-elect=false", "--use-service-account-credentials")
        stack.enter_context(process("controllers", "--kubeconfig", str(kubeconfig), *arguments))
        client.create("replicasets", {**deployment("direct"), "kind": "ReplicaSet"}, "default")
        client.create("deployments", deployment("barred"), "default")
        eventually(lambda: len(client.list("pods", "default", label_selector="app=direct")) == 2)
        assert client.list("replicasets", "default", label_selector="app=barred") == []
        client.create("clusterrolebindings", {k: bound[k] for k in ("kind", "apiVersion", "roleRef", "subjects")} | {"metadata": {"name": binding}})
        eventually(lambda: len(client.list("pods", "default", label_selector="app=barred")) == 2)
        # An account that is made anew has other tokens.
        client.delete("serviceaccounts", "replicaset-controller", "kube-system")
        client.create("replicasets", {**deployment("again"), "kind": "ReplicaSet"}, "default")
        eventually(lambda: len(client.list("pods", "default", label_selector="app=again")) == 2)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--leader-elect-renew-deadline=20s",), "leaseDuration must be greater than renewDeadline"),
        (("--leader-elect-retry-period=9s",), "renewDeadline must be greater than retryPeriod*JitterFactor"),
        (("--leader-elect-resource-lock=endpoints",), "'endpoints' is not supported"),
        (("--leader-elect=perhaps",), "'perhaps' is neither true nor false"),
        (("--pod-eviction-timeout=5m",), "unrecognized arguments: --pod-eviction-timeout=5m"),
        (("--concurrent-job-syncs=0",), "at least 1 at a time"),
        (("--max-endpoints-per-slice=2000",), "between 1 and 1000"),
        (("--unhealthy-zone-threshold=much",), "'much' is no number"),
        (("--cluster-signing-cert-file=/dev/null", "--cluster-signing-kubelet-client-cert-file=/dev/null"), "at the same time"),
    ],
)
def test_options_that_cannot_be_met_are_refused(arguments: tuple[str, ...], text: str, kubeconfig: Path) -> None:
    assert text in refused("controllers", "--kubeconfig", str(kubeconfig), *arguments)


def test_options_of_the_manager_become_settings() -> None:
    import argparse

    from actors.controllers import Options
    from cli.manageroptions import (
        add_controller_options,
        add_election_options,
        add_manager_options,
        manager_options,
    )

    parser = argparse.ArgumentParser()
    add_controller_options(parser)
    add_manager_options(parser)
    add_election_options(parser)
    given = (
        "--concurrent-deployment-syncs=9 --node-eviction-rate=0.5 --allocate-node-cidrs --cluster-cidr=10.9.0.0/16 "
        "--node-cidr-mask-size=26 --leader-elect=false --cluster-signing-duration=1h --enable-garbage-collector=false"
    )
    settings = Options(**manager_options(parser.parse_args(given.split()), lambda: "CA"))
    assert settings.concurrent_syncs == {"deployment-controller": 9}
    assert settings.node_eviction_rate == 0.5
    assert (settings.allocate_node_cidrs, settings.cluster_cidr) == (True, "10.9.0.0/16")
    assert settings.node_cidr_mask_size_ipv4 == 26
    assert not settings.leader_elect
    assert not settings.enable_garbage_collector
    assert settings.cluster_signing_duration == 3600.0
    assert settings.extra["root_ca"] == "CA"
