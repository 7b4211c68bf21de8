"""Stages in the manner of KWOK: templates, queries, and objects whose lives stages tell."""

from __future__ import annotations

import random
from typing import Any

import pytest
import yaml

from actors.kubelet.stages import StageError, load_stages
from actors.kubelet.stages._gotemplate import Template, TemplateError
from actors.kubelet.stages._query import Query, QueryError
from actors.kubelet.stages._stage import choose, duration_s
from cluster import SimulatedCluster

Object = dict[str, Any]
DATA = {
    "metadata": {"name": "web", "labels": {"a.b/c": "d"}},
    "spec": {"containers": [{"name": "x", "n": 1}, {"name": "y"}], "on": True},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ .metadata.name }}", "web"),
        ("{{ .status.phase }}", "<no value>"),
        ("{{ .status.deep.deeper }}", "<no value>"),
        ("{{ if .spec.on }}yes{{ else }}no{{ end }}", "yes"),
        ("{{ if .none }}a{{ else if eq .metadata.name \"web\" }}b{{ else }}c{{ end }}", "b"),
        ("{{ range .spec.containers }}[{{ .name }}]{{ end }}", "[x][y]"),
        ("{{ range $i, $c := .spec.containers }}{{ $i }}={{ $c.name }} {{ end }}", "0=x 1=y "),
        ("{{ range .none }}x{{ else }}empty{{ end }}", "empty"),
        ("{{ with .metadata }}{{ .name }}{{ $.spec.on }}{{ end }}", "webtrue"),
        ('{{ index .metadata.labels "a.b/c" }}', "d"),
        ("{{ index (index .spec.containers 1).name 0 | printf \"%v\" }}", "y"),
        ('{{ or .none "fallback" }} {{ and .spec.on .metadata.name }}', "fallback web"),
        ('{{ $x := false }}{{ range .spec.containers }}{{ if eq .name "y" }}{{ $x = true }}{{ end }}{{ end }}{{ $x }}', "true"),
        ("a  {{- /* comment */ -}}  b", "ab"),
        ('{{ printf "%s-%03d %q" .metadata.name 7 "z" }}', 'web-007 "z"'),
        ("{{ len .spec.containers }} {{ not .spec.on }}", "2 false"),
        ("{{ eq .metadata.name \"a\" \"web\" }}", "true"),
        ("{{ range .spec.containers }}{{ .name }}{{ break }}{{ end }}", "x"),
        ("{{ `raw \"text\"` }}", 'raw "text"'),
    ],
)  # fmt: skip
def test_a_template_renders_as_go_does(template: str, text: str) -> None:
    assert Template(template).render(DATA) == text


@pytest.mark.parametrize(
    "template", ["{{ frobnicate . }}", "{{ if . }}", "{{ end }}", '{{ template "x" }}', "{{ (.a }}", "{{ # }}"]
)
def test_a_template_that_is_none_is_refused_when_it_is_read(template: str) -> None:
    with pytest.raises(TemplateError):
        Template(template)


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (".metadata.name", ["web"]),
        (".metadata.none", []),
        ('.metadata.labels["a.b/c"]', ["d"]),
        (".spec.containers.[].name", ["x", "y"]),
        (".spec.containers[1].name", ["y"]),
        ('.spec.containers.[] | select( .name == "y" ) | .name', ["y"]),
        ('.spec.containers.[] | select( .name != "y" and .n == 1 ) | .name', ["x"]),
        ('.status.conditions.[] | select( .type == "Ready" ) | .status', []),
    ],
)
def test_a_query_finds_what_jq_finds(query: str, values: list[Any]) -> None:
    assert Query(query).values(DATA) == values


@pytest.mark.parametrize("query", ["metadata", ".a | length", '.a | select(test("x"))'])
def test_a_query_outside_of_the_known_part_is_refused_when_it_is_read(query: str) -> None:
    with pytest.raises(QueryError):
        Query(query)


def test_durations_are_gos() -> None:
    assert [duration_s(t) for t in ("1m30s", "250ms", "1.5h", "0", "5", "soon")] == [
        90.0,
        0.25,
        5400.0,
        0.0,
        None,
        None,
    ]


def stage(name: str, kind: str, expressions: list[tuple[str, ...]], following: Object, **spec: Any) -> Object:
    match = [{"key": k, "operator": op, **({"values": list(v)} if v else {})} for k, op, *v in expressions]
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name},
        "spec": {"resourceRef": {"apiGroup": "v1", "kind": kind}, "selector": {"matchExpressions": match}, "next": following, **spec},
    }  # fmt: skip


RUN = stage(
    "run",
    "Pod",
    [(".metadata.deletionTimestamp", "DoesNotExist"), (".status.phase", "In", "Pending")],
    {
        "event": {"type": "Normal", "reason": "Told", "message": "a stage says so"},
        "statusTemplate": """
phase: Running
podIP: {{ PodIPWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace | Quote }}
conditions:
- type: Ready
  status: "True"
  lastTransitionTime: {{ Now | Quote }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  restartCount: 0
  state: {running: {startedAt: {{ Now | Quote }}}}
{{ end }}
""",
    },
    delay={"durationMilliseconds": 10000, "durationFrom": {"expressionFrom": '.metadata.annotations["delay"]'}},
)
DELETE = stage(
    "delete", "Pod", [(".metadata.deletionTimestamp", "Exists")], {"finalizers": {"empty": True}, "delete": True}
)
NODE = stage(
    "node",
    "Node",
    [('.status.conditions.[] | select( .type == "Ready" ) | .status', "NotIn", "True")],
    {
        "statusTemplate": """
conditions:
{{ range NodeConditions }}
- {type: {{ .type | Quote }}, status: {{ .status | Quote }}, reason: {{ .reason | Quote }}, message: {{ .message | Quote }}}
{{ end }}
allocatable:
{{ with .status.allocatable }}
{{ YAML . 1 }}
{{ else }}
  {cpu: 10, memory: 1Gi, pods: 50}
{{ end }}
capacity: {cpu: 10, memory: 1Gi, pods: 50}
"""
    },
)


def pod(name: str, node: str, **annotations: str) -> Object:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "a:1"}]},
    }  # fmt: skip


def test_stages_tell_how_pods_and_nodes_fare() -> None:
    cluster = SimulatedCluster(nodes=1, stages=(RUN, DELETE, NODE))
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "fake", "annotations": {"kwok.x-k8s.io/node": "fake"}},
        }
    )
    cluster.wait("nodes/fake", "Ready")
    began = cluster.sim.clock.now()
    cluster.apply([pod("slow", "fake"), pod("fast", "fake", delay="2s"), pod("here", "node-0", delay="3s")])
    cluster.wait("pods/fast", "Ready")
    assert 1.9 <= cluster.sim.clock.now() - began <= 3.5
    cluster.wait("pods/here", "Ready")
    assert "phase" in cluster.client.get("pods", "slow", "default")["status"]
    assert cluster.client.get("pods", "slow", "default")["status"]["phase"] == "Pending"
    cluster.wait("pods/slow", "Ready")
    assert 9.9 <= cluster.sim.clock.now() - began <= 12
    ips = [p["status"]["podIP"] for p in cluster.client.list("pods", "default")]
    assert len(set(ips)) == 3
    assert "Told" in [e["reason"] for e in cluster.client.list("events", "default")]
    cluster.client.delete("pods", "fast", "default")
    cluster.wait("pods/fast", "deleted")


def test_a_node_without_kubelet_stays_ready_by_its_lease() -> None:
    cluster = SimulatedCluster(nodes=0, stages=(NODE,))
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "fake", "annotations": {"kwok.x-k8s.io/node": "fake"}},
        }
    )
    cluster.wait("nodes/fake", "Ready")
    cluster.sim.advance(200)
    conditions = cluster.client.get("nodes", "fake")["status"]["conditions"]
    assert [c["status"] for c in conditions if c["type"] == "Ready"] == ["True"]


def test_without_pod_stages_kubelets_run_the_pods() -> None:
    cluster = SimulatedCluster(nodes=1, stages=(NODE,))
    cluster.apply(pod("web", "node-0"))
    cluster.wait("pods/web", "Ready")
    assert cluster.client.get("pods", "web", "default")["status"]["containerStatuses"][0]["containerID"]


def test_among_stages_that_match_the_weight_decides() -> None:
    one, other = (stage(n, "Pod", [(".metadata.name", "Exists")], {}, weight=w) for n, w in (("one", 0), ("other", 5)))
    stages = load_stages([one, other])
    assert {choose(stages, DATA, random.Random(seed)).name for seed in range(20)} == {"other"}  # type: ignore[union-attr]


def test_what_is_not_supported_is_refused_by_name() -> None:
    text = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: volumes}
spec:
  resourceRef: {kind: PersistentVolumeClaim}
  selector: {matchExpressions: [{cel: {expression: 'true'}}]}
"""
    with pytest.raises(StageError, match="stage volumes: .* cel is not supported"):
        load_stages([yaml.safe_load(text)])
