"""Stages in the manner of KWOK: templates, queries, and objects whose lives stages tell."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.kubelet.stages import Scripts, StageError, load_stages
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


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("{cel: {expression: 'self.('}}", "stage volumes: .*Syntax error"),
        ("{cel: {expression: 'nobody.x'}}", "stage volumes: .*undeclared reference to 'nobody'"),
        ("{key: .x, operator: Near}", "operator 'Near' is not supported"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(selector: str, words: str) -> None:
    text = f"""
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {{name: volumes}}
spec:
  resourceRef: {{kind: PersistentVolumeClaim}}
  selector: {{matchExpressions: [{selector}]}}
"""
    with pytest.raises(StageError, match=re.compile(words, re.DOTALL)):
        load_stages([yaml.safe_load(text)])


def by_cel(text: str) -> Object:
    return {"cel": {"expression": text}}


def test_expressions_in_cel_select_delay_and_weigh() -> None:
    spec = {
        "resourceRef": {"kind": "Pod"},
        "selector": {"matchExpressions": [by_cel('self.metadata.name == "web"'), by_cel("has(self.metadata.labels)")]},
        "delay": {"durationMilliseconds": 5, "durationFrom": by_cel("self.metadata.annotations.wait")},
        "weight": 1,
        "weightFrom": by_cel("size(self.metadata.labels) * 7"),
    }
    (found,) = load_stages(
        [{"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": "s"}, "spec": spec}]
    )
    pod = {"metadata": {"name": "web", "labels": {"a": "b"}, "annotations": {"wait": "3s"}}}
    assert found.matches(pod)
    assert not found.matches({"metadata": {"name": "web"}})
    assert not found.matches({"metadata": {"name": "other", "labels": {}}})
    assert found.weight(pod) == 7
    assert found.delay_s(pod, 0.0, random.Random(1)) == 3.0
    assert found.delay_s({"metadata": {"name": "web"}}, 0.0, random.Random(1)) == 0.005


def kwok(kind: str, name: str, spec: Object, namespace: str = "") -> Object:
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}


USAGE = kwok(
    "ClusterResourceUsage",
    "from-annotation",
    {
        "usages": [
            {
                "usage": {
                    "cpu": {
                        "expression": '"use/cpu" in pod.metadata.annotations'
                        ' ? Quantity(pod.metadata.annotations["use/cpu"]) : Quantity("1m")'
                    },
                    "memory": {"value": "10Mi"},
                }
            }
        ]
    },
)


def test_played_pods_use_what_usage_objects_say() -> None:
    own = kwok("ResourceUsage", "own", {"usages": [{"containers": ["c"], "usage": {"cpu": {"value": "2"}}}]}, "default")
    scripts = Scripts([USAGE, own])
    container = {"name": "c"}
    assert scripts.usage(pod("a", "n"), {}, container) == {"cpu": 0.001, "memory": 10 << 20}
    assert scripts.usage(pod("a", "n", **{"use/cpu": "250m"}), {}, container)["cpu"] == 0.25
    mine = pod("own", "n")
    mine["metadata"]["namespace"] = "default"
    assert scripts.usage(mine, {}, container) == {"cpu": 2.0}
    with pytest.raises(StageError, match="from-annotation"):
        Scripts(
            [
                kwok(
                    "ClusterResourceUsage",
                    "from-annotation",
                    {"usages": [{"usage": {"cpu": {"expression": "Fuel()"}}}]},
                )
            ]
        )


def test_who_asks_about_played_pods_gets_answers(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("one\ntwo\n")
    logs = kwok("ClusterLogs", "all", {"logs": [{"containers": ["c"], "logsFile": str(tmp_path / "log")}]})
    cluster = SimulatedCluster(nodes=1, stages=(RUN, DELETE, NODE, USAGE, logs))
    fake = {"name": "fake", "annotations": {"kwok.x-k8s.io/node": "fake"}}
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": fake})
    cluster.wait("nodes/fake", "Ready")
    cluster.apply([pod("web", "fake", delay="1s", **{"use/cpu": "500m"}), pod("here", "node-0", delay="1s")])
    cluster.wait("pods/web", "Ready")
    cluster.wait("pods/here", "Ready")
    for name in ("web", "here"):
        log = cluster.client.run(lambda c, name=name: c.get_subresource("pods", name, "default", "log"))
        assert log["log"] == "one\ntwo\n"
    told = cluster.client.run(lambda c: c.get_subresource("nodes", "fake", "", "proxy/stats/summary"))
    assert [p["cpu"]["usageNanoCores"] for p in told["pods"]] == [500_000_000]


def test_a_status_is_written_as_whom_a_stage_names() -> None:
    named = stage(
        "named",
        "Pod",
        [(".status.phase", "NotIn", "Running")],
        {"statusTemplate": "phase: Running", "statusPatchAs": {"username": "nobody"}},
    )
    cluster = SimulatedCluster(nodes=1, stages=(named,))
    cluster.apply(pod("web", "node-0"))
    cluster.sim.advance(5)
    assert cluster.client.get("pods", "web", "default")["status"]["phase"] == "Pending", "nobody may not"
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}
    api = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "x"}}
    cluster.apply({**api, "roleRef": ref, "subjects": [subject]})
    cluster.apply(pod("other", "node-0"))
    cluster.wait("pods/other", lambda found: found["status"]["phase"] == "Running")
