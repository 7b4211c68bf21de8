"""The paths of a kubelet's own API: what nodes/proxy shows of a node of this process."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from actors.kubelet import KubeletConfig
from actors.kubelet._configz import ConfigurationError, configuration, read_configuration
from actors.kubelet._duration import duration_s, duration_text
from actors.kubelet._exposition import Family, exposition, histogram
from protocol.http import HttpCall, HttpReply
from protocol.node import PodExec

World = Any
Object = dict[str, Any]


def call(world: World, path: str, query: str = "", method: str = "GET", **headers: str) -> HttpReply:
    from protocol.node import NodeCall

    answer = world.sim.ask(world.kubelet, NodeCall(HttpCall(method, path, query, headers, b"")))
    reply: HttpReply = answer.reply
    return reply


def samples(world: World, path: str) -> dict[str, float]:
    """Sample (name and labels) -> value."""
    found = {}
    for line in call(world, path).body.decode().splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r"(\w+(?:\{.*\})?) ([-0-9.e+]+)( \d+)?", line)
            assert match, line
            found[match[1]] = float(match[2])
    return found


LIMITED = {"resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "500m", "memory": "64Mi"}}}


def test_the_kubelets_own_figures(world: World) -> None:
    world.pod("a", container=LIMITED)
    world.pod("b", container={"image": "nginx:broken"})
    world.pod("c", container={"resources": {"requests": {"cpu": "99"}}})
    world.until(lambda: world.ready("a") and world.phase("c") == "Failed")
    figures = samples(world, "/metrics")
    assert figures['kubelet_node_name{node="node-0"}'] == 1
    assert figures["kubelet_running_pods"] == 2
    assert figures['kubelet_running_containers{container_state="running"}'] == 1
    assert figures["kubelet_started_pods_total"] == 2
    assert figures['kubelet_started_containers_total{container_type="container"}'] == 1
    assert figures['kubelet_started_containers_errors_total{code="ErrImagePull",container_type="container"}'] >= 1
    assert figures['kubelet_admission_rejections_total{reason="OutOfcpu"}'] == 1
    assert figures["kubelet_pod_start_duration_seconds_count"] == 1
    assert (
        figures['kubelet_http_requests_total{long_running="false",method="GET",path="metrics",server_type="readwrite"}']
        == 1
    )


def test_cadvisors_figures_tell_of_containers_pods_and_the_node(world: World) -> None:
    world.pod("a", annotations={"kubekka.dev/usage-cpu": "1", "kubekka.dev/usage-memory": "32Mi"}, container=LIMITED)
    world.until(lambda: world.ready("a"))
    world.sim.advance(10)
    figures = samples(world, "/metrics/cadvisor")
    memory = {k: v for k, v in figures.items() if k.startswith("container_memory_working_set_bytes{")}
    assert sorted(memory.values()) == [32 << 20] * 3, "the container, its pod's group, the root group"
    assert any('container="c"' in k and 'pod="a"' in k and 'image="nginx:1"' in k for k in memory)
    limits = [v for k, v in figures.items() if k.startswith("container_spec_memory_limit_bytes{")]
    assert limits == [64 << 20]
    assert any(v >= 4.9 for k, v in figures.items() if k.startswith("container_cpu_cfs_throttled_seconds_total{"))
    assert sum(k.startswith("machine_cpu_cores{") for k in figures) == 1


def test_resource_figures_have_pods_and_the_node(world: World) -> None:
    world.pod("a", annotations={"kubekka.dev/usage-memory": "32Mi"})
    world.until(lambda: world.ready("a"))
    figures = samples(world, "/metrics/resource")
    labels = 'namespace="default",pod="a"'
    assert figures[f'container_memory_working_set_bytes{{container="c",{labels}}}'] == 32 << 20
    assert figures[f"pod_memory_working_set_bytes{{{labels}}}"] == 32 << 20
    assert figures["node_memory_working_set_bytes"] == 32 << 20
    assert figures["resource_scrape_error"] == 0


def test_probes_that_need_not_be_asked_again_count_as_if_they_were(world: World) -> None:
    probe = {"httpGet": {"port": 80}, "periodSeconds": 5}
    world.pod("a", container={"readinessProbe": probe, "livenessProbe": {**probe, "exec": None}})
    world.until(lambda: world.ready("a"))
    world.sim.advance(60)
    uid = world.get("pods", "a")["metadata"]["uid"]
    labels = f'container="c",namespace="default",pod="a",pod_uid="{uid}",probe_type="Readiness"'
    found = samples(world, "/metrics/probes")[f'prober_probe_total{{{labels},result="successful"}}']
    assert 12 <= found <= 14
    world.do(world.client.patch("pods", "a", "default", {"metadata": {"annotations": {"kubekka.dev/probe": "fail"}}}))
    world.sim.advance(12)
    figures = samples(world, "/metrics/probes")
    assert figures[f'prober_probe_total{{{labels},result="failed"}}'] >= 2
    assert figures[f'prober_probe_total{{{labels},result="successful"}}'] == pytest.approx(found, abs=1)


def test_the_summary_has_file_systems_and_processes_unless_little_is_asked_for(world: World) -> None:
    world.pod("a", annotations={"kubekka.dev/usage-storage": "1Gi", "kubekka.dev/usage-pids": "7"})
    world.until(lambda: world.ready("a"))
    told = json.loads(call(world, "/stats/summary").body)
    assert told["pods"][0]["ephemeral-storage"]["usedBytes"] == 1 << 30
    assert told["pods"][0]["process_stats"]["process_count"] == 7
    assert told["node"]["fs"]["usedBytes"] == (1 << 30) + told["node"]["runtime"]["imageFs"]["usedBytes"]
    brief = json.loads(call(world, "/stats/summary", "only_cpu_and_memory=true").body)
    assert set(brief["node"]) == {"nodeName", "startTime", "cpu", "memory"}


def test_logs_are_files_below_the_log_directory(world: World) -> None:
    world.pod("a", "sh", "-c", "echo one; echo two; sleep 1000")
    world.until(lambda: world.ready("a"))
    assert b'<a href="pods/">' in call(world, "/logs/").body
    folder = f"default_a_{world.get('pods', 'a')['metadata']['uid']}"
    assert folder in call(world, "/logs/pods/").body.decode()
    lines = call(world, f"/logs/pods/{folder}/c/0.log").body.decode().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["stdout F one", "stdout F two"]
    assert call(world, "/logs/pods/nothing/").status == 404


def test_logs_commands_and_streams_go_the_same_way(world: World) -> None:
    world.pod("a", "sh", "-c", "echo one; sleep 1000")
    world.until(lambda: world.ready("a"))
    assert call(world, "/containerLogs/default/a/c").body == b"one\n"
    assert call(world, "/run/default/a/c", "cmd=echo+hi", "POST").body == b"hi\n"
    opened = call(world, "/exec/default/a/c", "command=date&output=1", upgrade="websocket")
    assert opened.status == 101
    assert opened.tunnel is not None
    assert isinstance(opened.tunnel.request, PodExec)
    refused = call(world, "/containerLogs/default/a/nope")
    assert (refused.status, refused.body) == (400, b"container nope is not valid for pod a")
    assert call(world, "/pods", method="DELETE").status == 405


def test_running_pods_are_those_with_a_sandbox(world: World) -> None:
    world.pod("a")
    world.pod("b", nodeSelector={"no": "where"})
    world.until(lambda: world.ready("a") and world.phase("b") == "Failed")
    names = [p["metadata"]["name"] for p in json.loads(call(world, "/runningpods/").body)["items"]]
    assert names == ["a"]
    assert len(json.loads(call(world, "/pods").body)["items"]) == 2


def test_text_format() -> None:
    family = Family("x_seconds", "histogram", "Words.")
    histogram(family, (0.5, 1), [0.2, 0.7, 3], {"a": 'b"\n'})
    assert exposition([family, Family("empty", "gauge", "")]).decode().splitlines() == [
        "# HELP x_seconds Words.",
        "# TYPE x_seconds histogram",
        'x_seconds_bucket{a="b\\"\\n",le="0.5"} 1',
        'x_seconds_bucket{a="b\\"\\n",le="1"} 2',
        'x_seconds_bucket{a="b\\"\\n",le="+Inf"} 3',
        'x_seconds_sum{a="b\\"\\n"} 3.9',
        'x_seconds_count{a="b\\"\\n"} 3',
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.2, "200ms"), (10, "10s"), (300, "5m0s"), (14400, "4h0m0s")]
)
def test_durations_as_go_writes_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
    assert duration_s(text) == seconds


HEAD = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
MACHINE = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "100Gi"}


def test_a_configuration_file_becomes_settings() -> None:
    document = {
        **HEAD,
        "maxPods": 20,
        "systemReserved": {"cpu": "500m", "memory": "512Mi"},
        "kubeReserved": {"cpu": "500m", "memory": "256Mi"},
        "evictionHard": {"memory.available": "256Mi", "nodefs.available": "10%"},
        "evictionSoft": {"memory.available": "1Gi"},
        "evictionSoftGracePeriod": {"memory.available": "1m30s"},
        "containerLogMaxSize": "1Mi",
        "imageGCHighThresholdPercent": 70,
        "imageGCLowThresholdPercent": 60,
        "cpuManagerPolicy": "static",
        "nodeLeaseDurationSeconds": 20,
        "crashLoopBackOff": {"maxContainerRestartPeriod": "30s"},
        "featureGates": {"Whatever": True},
    }
    config = KubeletConfig(**read_configuration(document, MACHINE))
    assert config.capacity["pods"] == "20"
    assert config.reserved == {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "10Gi"}
    assert config.eviction_soft_grace_s == {"memory.available": 90.0}
    assert (config.container_log_max_bytes, config.image_gc_high_percent, config.crash_loop_max_s) == (
        1 << 20,
        70,
        30.0,
    )
    assert (config.lease_duration_s, config.lease_renew_s) == (20, 5.0)
    shown = configuration(config)
    assert {k: shown[k] for k in document} == document
    assert shown["imageMinimumGCAge"] == "2m0s"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"kind": "Pod"}, "no KubeletConfiguration"),
        ({**HEAD, "maxPod": 3}, 'strict decoding error: unknown field "maxPod"'),
        ({**HEAD, "imageGCHighThresholdPercent": 50}, "must be less than imageGCHighThresholdPercent"),
        ({**HEAD, "memoryManagerPolicy": "Static"}, "not supported"),
        ({**HEAD, "evictionSoft": {"memory.available": "1Gi"}}, "grace period must be specified"),
        ({**HEAD, "imageMinimumGCAge": "soon"}, 'time: invalid duration "soon"'),
        ({**HEAD, "systemReserved": {"cpu": "lots"}}, "invalid configuration"),
        ({**HEAD, "apiVersion": "v1"}, 'is registered for version "v1"'),
    ],
)
def test_what_is_no_configuration_is_refused_with_the_reason(document: Object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        read_configuration(document, MACHINE)
