"""A served cluster whose clock the test owns, and the verbs that break it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from cli.kubectl import find_kubectl
from cluster import Cluster, SimulatedCluster
from protocol.api import StatusError
from protocol.conditions import BreakWatches
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


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


def seconds_of(cluster: SimulatedCluster, work: Callable[[], object]) -> float:
    """How much of the cluster's time passes over a piece of work."""
    before = cluster.clock.monotonic()
    work()
    return cluster.clock.monotonic() - before


def test_messages_over_a_delayed_link_take_as_long_as_told_both_ways() -> None:
    cluster = SimulatedCluster(seed=1, nodes=1)
    assert seconds_of(cluster, lambda: cluster.client.create("configmaps", config_map("a"), "default")) < 0.1
    fault = cluster.faults.delay("apiserver", "etcd", 0.5)
    assert 1.0 <= seconds_of(cluster, lambda: cluster.client.create("configmaps", config_map("b"), "default")) < 1.5
    cluster.faults.stop(fault)
    assert seconds_of(cluster, lambda: cluster.client.create("configmaps", config_map("c"), "default")) < 0.1


def test_delays_up_to_a_most_differ_and_order_is_kept() -> None:
    cluster = SimulatedCluster(seed=1, nodes=1)
    cluster.faults.delay("apiserver", "etcd", 0.1, most=2.0)
    took = [seconds_of(cluster, lambda n=n: cluster.client.create("configmaps", config_map(f"m{n}"), "default"))  # type: ignore[misc]
            for n in range(8)]  # fmt: skip
    assert all(0.2 <= seconds <= 4.1 for seconds in took)
    assert len({round(seconds, 3) for seconds in took}) > 4
    made = sorted(cluster.client.list("configmaps", "default", label_selector=""), key=version_of)
    assert [m["metadata"]["name"] for m in made if m["metadata"]["name"][0] == "m"] == [f"m{n}" for n in range(8)]


def version_of(obj: dict[str, Any]) -> int:
    return int(obj["metadata"]["resourceVersion"])


def test_a_node_whose_messages_are_all_lost_is_found_out() -> None:
    cluster = SimulatedCluster(seed=1, nodes=2)
    fault = cluster.faults.drop("node-1", "apiserver")
    cluster.clock.advance(100)
    assert [c["status"] for c in cluster.client.get("nodes", "node-1")["status"]["conditions"] if c["type"] == "Ready"] == ["Unknown"]
    assert [c["status"] for c in cluster.client.get("nodes", "node-0")["status"]["conditions"] if c["type"] == "Ready"] == ["True"]
    cluster.faults.stop(fault)
    cluster.wait("nodes/node-1", "Ready", timeout_s=120)


def test_a_rollout_ends_though_a_third_of_a_nodes_messages_are_lost() -> None:
    cluster = SimulatedCluster(seed=3, nodes=1)
    links = cluster.sim.links
    cluster.faults.drop("node-0", "apiserver", 0.3)
    cluster.apply(WEB)
    cluster.wait("deployments/web", "Available", timeout_s=900)
    assert links.dropped > 0


def test_a_message_that_comes_twice_is_done_once() -> None:
    cluster = SimulatedCluster(seed=1, nodes=2)
    for a, b in (("apiserver", "controllers"), ("apiserver", "scheduler"), ("apiserver", "node-0"), ("apiserver", "node-1")):
        cluster.faults.duplicate(a, b)
    cluster.apply(WEB)
    cluster.wait("deployments/web", "Available", timeout_s=120)
    cluster.clock.advance(60)
    pods = cluster.client.list("pods", label_selector="app=web")
    assert len(pods) == 4
    assert cluster.sim.links.duplicated > 0
    assert all(p["status"]["containerStatuses"][0]["restartCount"] == 0 for p in pods)


def test_pulls_take_longer_while_the_registry_is_slow_for_the_images_that_are_meant() -> None:
    cluster = SimulatedCluster(seed=1, nodes=1)
    cluster.wait("serviceaccounts/default")
    cluster.faults.registry_slow(45, images="nginx*")
    cluster.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: other}\nspec: {containers: [{name: c, image: busybox}]}\n")
    assert seconds_of(cluster, lambda: cluster.wait("pods/other", "Ready", timeout_s=60)) < 10
    cluster.apply(WEB)
    took = seconds_of(cluster, lambda: cluster.wait("deployments/web", "Available", timeout_s=300))
    assert took >= 45
    [message] = {e["message"] for e in cluster.client.list("events") if e["reason"] == "Pulled" and "nginx" in e["message"]
                 and "already present" not in e["message"]}  # fmt: skip
    assert "45s" in message


def test_requests_that_are_meant_take_longer_and_others_do_not() -> None:
    cluster = SimulatedCluster(seed=1, nodes=1)
    fault = cluster.faults.api_delay(3.0, resources="configmaps", verbs="create")
    assert 3.0 <= seconds_of(cluster, lambda: cluster.client.create("configmaps", config_map("a"), "default")) < 3.5
    assert seconds_of(cluster, lambda: cluster.client.list("configmaps", "default")) < 0.1
    cluster.faults.stop(fault)
    assert seconds_of(cluster, lambda: cluster.client.create("configmaps", config_map("b"), "default")) < 0.1


def test_only_the_watches_of_the_users_that_are_meant_break() -> None:
    cluster = SimulatedCluster(seed=1, nodes=2)
    apiserver = cluster.parts.apiserver
    assert cluster.sim.ask(apiserver, BreakWatches(users=("nobody",))) == 0
    schedulers = cluster.sim.ask(apiserver, BreakWatches(users=("system:kube-sched*",)))
    assert schedulers > 0
    cluster.clock.advance(30)
    assert cluster.sim.ask(apiserver, BreakWatches()) > schedulers
    cluster.clock.advance(30)
    assert cluster.sim.ask(apiserver, BreakWatches(users=("system:kube-sched*",))) == schedulers  # all are open again
    cluster.faults.break_watches(users="system:kube-scheduler", resources="pods")
    cluster.apply(WEB)
    cluster.wait("deployments/web", "Available", timeout_s=120)


def test_the_clock_over_http_answers_when_the_time_has_come(cluster: Cluster) -> None:
    from cli._errors import Failed
    from cli.chaos import _request

    cluster.apply(CRON)
    before = cluster.clock.now()
    answer = _request(cluster.kubeconfig, "POST", "/kubekka/clock", {"advance": "5m"})
    assert cluster.clock.now() == pytest.approx(before + 300)
    assert datetime.fromisoformat(answer["now"]).timestamp() == pytest.approx(before + 300)
    assert len(cluster.client.list("jobs")) == 5
    with pytest.raises(Failed, match="is no duration"):
        _request(cluster.kubeconfig, "POST", "/kubekka/clock", {"advance": "-5m"})


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
