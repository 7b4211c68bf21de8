"""A served cluster whose clock the test owns, and the verbs that break it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from cli.kubectl import find_kubectl
from cluster import Cluster, SimulatedCluster
from protocol.api import StatusError
from simulation import FaultError

CRON = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  successfulJobsHistoryLimit: 10
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: ["true"]}]}}}}
"""
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx, readinessProbe: {httpGet: {port: 80}, periodSeconds: 5, failureThreshold: 1}}]}
"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=2, clock="virtual", seed=1) as cluster:
        yield cluster


def ready(cluster: Cluster | SimulatedCluster) -> int:
    pods = cluster.client.list("pods", label_selector="app=web")
    return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"]["conditions"]) for p in pods)


def test_a_cronjob_fires_three_times_in_three_minutes(cluster: Cluster) -> None:
    try:
        find_kubectl()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    cluster.kubectl("apply", "-f", "-", stdin=CRON)
    started = time.monotonic()
    cluster.clock.advance(minutes=3)
    assert time.monotonic() - started < 20
    assert len(cluster.kubectl("get", "jobs", "-o", "name").split()) == 3


def test_time_stands_still_until_it_is_moved(cluster: Cluster) -> None:
    before = cluster.clock.now()
    assert cluster.client.list("nodes")
    assert cluster.clock.now() == before
    cluster.clock.advance(90)
    assert cluster.clock.now() == pytest.approx(before + 90)


def test_the_pods_of_a_dead_node_are_evicted_after_five_minutes(cluster: Cluster) -> None:
    cluster.apply(WEB)
    cluster.wait("deployments/web", "Available")
    cluster.faults.kill("node/node-0")
    cluster.clock.advance(minutes=5)
    assert not any(p["metadata"].get("deletionTimestamp") for p in cluster.client.list("pods"))
    cluster.clock.advance(minutes=2)
    left = [p for p in cluster.client.list("pods") if not p["metadata"].get("deletionTimestamp")]
    assert {p["spec"]["nodeName"] for p in left} == {"node-1"}
    assert ready(cluster) == 4


def test_an_accelerated_clock_runs_faster_than_the_machines() -> None:
    with Cluster(nodes=1, clock=200) as cluster:
        cluster.apply(CRON)
        cluster.wait("jobs", bool, timeout_s=200.0)
        with pytest.raises(TypeError, match="virtual"):
            cluster.clock.advance(1)


@pytest.mark.parametrize("code", [429, 500, 503])
def test_requests_fail_as_told_and_others_do_not(cluster: Cluster, code: int) -> None:
    fault = cluster.faults.api_error(code, resources="configmaps", verbs="list")
    with pytest.raises(StatusError) as caught:
        cluster.client.list("configmaps", "default")
    assert caught.value.code == code
    assert cluster.client.list("secrets") is not None
    cluster.faults.stop(fault)
    cluster.client.list("configmaps")


def test_a_request_whose_answer_is_lost_was_carried_out() -> None:
    cluster = SimulatedCluster(seed=1, nodes=1)
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}
    fault = cluster.faults.api_error(504, after=True, verbs="create", resources="configmaps")
    with pytest.raises(StatusError):
        cluster.client.create("configmaps", made, "default")
    cluster.faults.stop(fault)
    cluster.clock.advance(5)
    assert cluster.client.get("configmaps", "a", "default")


def test_a_full_disk_refuses_writes_until_there_is_room() -> None:
    cluster = SimulatedCluster(seed=1, nodes=1)
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}
    fault = cluster.faults.full_disk()
    with pytest.raises(StatusError, match="database space exceeded"):
        cluster.client.create("configmaps", made, "default")
    cluster.faults.stop(fault)
    cluster.client.create("configmaps", made, "default")


def test_a_slow_disk_makes_writes_slow() -> None:
    cluster = SimulatedCluster(seed=1, nodes=0)
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}
    cluster.faults.slow_disk(2.0)
    before = cluster.clock.monotonic()
    cluster.client.create("configmaps", made, "default")
    assert cluster.clock.monotonic() - before >= 2.0


@pytest.mark.parametrize("verb", ["pause", "kill"])
def test_nothing_is_scheduled_while_the_scheduler_is_away(cluster: Cluster, verb: str) -> None:
    fault = cluster.faults.inject(verb, target="scheduler")
    cluster.apply(WEB)
    cluster.clock.advance(30)
    assert not any(p["spec"].get("nodeName") for p in cluster.client.list("pods"))
    cluster.faults.stop(fault)
    cluster.wait("deployments/web", "Available", timeout_s=60)


def test_a_cut_node_is_found_out_and_comes_back(cluster: Cluster) -> None:
    cluster.faults.cut("node-1", for_s=120)
    cluster.clock.advance(100)
    node = cluster.client.get("nodes", "node-1")
    assert [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"] == ["Unknown"]
    cluster.clock.advance(60)
    cluster.wait("nodes/node-1", "Ready")


def test_pods_are_not_ready_while_their_probes_fail() -> None:
    cluster = SimulatedCluster(seed=1, nodes=1)
    cluster.apply(WEB)
    cluster.wait("deployments/web", "Available")
    fault = cluster.faults.flap_probes(1.0)
    cluster.clock.advance(20)
    assert ready(cluster) == 0
    cluster.faults.stop(fault)
    cluster.clock.advance(20)
    assert ready(cluster) == 4


def test_images_cannot_be_pulled_while_the_registry_is_down() -> None:
    cluster = SimulatedCluster(seed=1, nodes=1)
    cluster.faults.registry_down(for_s=30)
    cluster.apply(WEB)
    cluster.clock.advance(10)
    assert ready(cluster) == 0
    cluster.wait("deployments/web", "Available", timeout_s=120)


def test_a_killed_container_is_restarted() -> None:
    cluster = SimulatedCluster(seed=1, nodes=1)
    cluster.apply(WEB)
    cluster.wait("deployments/web", "Available")
    cluster.faults.kill("container/default/*/web")
    cluster.clock.advance(30)
    restarts = [p["status"]["containerStatuses"][0]["restartCount"] for p in cluster.client.list("pods")]
    assert sorted(restarts) == [0, 0, 0, 1]


def test_a_skewed_host_writes_wrong_times() -> None:
    cluster = SimulatedCluster(seed=1, nodes=1)
    fault = cluster.faults.skew("apiserver", 3600)
    made = cluster.client.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "late"}})
    assert made["metadata"]["creationTimestamp"].startswith("2026-01-01T01:")
    cluster.faults.stop(fault)


@pytest.mark.parametrize(
    ("verb", "parameters", "word"),
    [
        ("explode", {}, "there are: kill"),
        ("kill", {}, "needs `target`"),
        ("kill", {"target": "node/nine"}, "no node matches"),
        ("kill", {"target": "etcd"}, "pause etcd"),
        ("cut", {"a": "a", "b": "b"}, "no host"),
        ("api-error", {"code": 418}, "one of 409"),
        ("drop", {"a": "etcd", "b": "apiserver", "rate": 3}, "probability"),
        ("compact", {"hard": 1}, "takes no 'hard'"),
    ],
)
def test_a_fault_that_cannot_be_says_why(verb: str, parameters: dict[str, object], word: str) -> None:
    cluster = SimulatedCluster(seed=1, nodes=1)
    with pytest.raises(FaultError, match=word):
        cluster.faults.inject(verb, **parameters)


def test_only_the_administrator_may_break_things(cluster: Cluster) -> None:
    from cli.chaos import _request

    cluster.apply(WEB)
    path = "/kubekka/chaos"
    assert _request(cluster.kubeconfig, "POST", path, {"verb": "pause", "target": "scheduler"})["id"] == 1
    assert [f["verb"] for f in _request(cluster.kubeconfig, "GET", path)["faults"]] == ["pause"]
    assert _request(cluster.kubeconfig, "DELETE", path + "/1") == {"ended": [1]}
    try:
        command = [find_kubectl(), f"--kubeconfig={cluster.kubeconfig}", "get", "--raw", path, "--as=somebody"]
    except FileNotFoundError as error:
        pytest.skip(str(error))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Forbidden" in done.stderr
