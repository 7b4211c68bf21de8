"""metrics.k8s.io: what nodes and pods use reaches `kubectl top` and the autoscaler."""

from __future__ import annotations

from typing import Any

import pytest

from cluster import SimulatedCluster
from protocol.api import Resource, StatusError

Object = dict[str, Any]
PODS = Resource("metrics.k8s.io", "v1beta1", "pods")
NODES = Resource("metrics.k8s.io", "v1beta1", "nodes")


def deployment(name: str, usage: str, replicas: int = 1, limit: str = "") -> Object:
    resources: Object = {"requests": {"cpu": "100m", "memory": "64Mi"}}
    if limit:
        resources["limits"] = {"cpu": limit}
    template = {
        "metadata": {
            "labels": {"app": name},
            "annotations": {"kubekka.dev/usage-cpu": usage, "kubekka.dev/usage-memory": "48Mi"},
        },
        "spec": {"containers": [{"name": "c", "image": "nginx:1", "resources": resources}]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def settled(**settings: Any) -> SimulatedCluster:
    cluster = SimulatedCluster(nodes=2, metrics_server=True, **settings)
    cluster.wait("apiservices/v1beta1.metrics.k8s.io", "Available")
    return cluster


def test_pods_and_nodes_show_what_their_containers_use() -> None:
    cluster = settled()
    cluster.apply(deployment("web", "20m,60s=70m", replicas=2))
    cluster.apply(deployment("other", "5m"))
    cluster.wait("deployments/web", "Available")
    cluster.wait("deployments/other", "Available")
    cluster.sim.advance(5)
    found = cluster.client.list(PODS, "default", label_selector="app=web")
    assert [[c["usage"] for c in p["containers"]] for p in found] == [[{"cpu": "20000000n", "memory": "49152Ki"}]] * 2
    cluster.sim.advance(70)
    found = cluster.client.list(PODS, "default", label_selector="app=web")
    assert [p["containers"][0]["usage"]["cpu"] for p in found] == ["70000000n"] * 2
    nodes = cluster.client.list(NODES)
    assert sum(int(n["usage"]["cpu"].rstrip("n")) for n in nodes) == 145_000_000
    with pytest.raises(StatusError) as refused:
        cluster.client.get(PODS, "none", "default")
    assert refused.value.code == 404


def test_a_limit_caps_what_is_used() -> None:
    cluster = settled()
    cluster.apply(deployment("busy", "900m", limit="250m"))
    cluster.wait("deployments/busy", "Available")
    cluster.sim.advance(5)
    [pod] = cluster.client.list(PODS, "default")
    assert pod["containers"][0]["usage"]["cpu"] == "250000000n"


def test_an_autoscaler_follows_what_pods_use() -> None:
    cluster = settled()
    cluster.apply(deployment("web", "40m,90s=180m,400s=10m"))
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
    }
    cluster.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 1,
                "maxReplicas": 5,
                "metrics": [metric],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
            },
        }
    )
    cluster.wait("hpa/web", lambda h: (h.get("status") or {}).get("currentMetrics"), timeout_s=120)
    assert cluster.client.get("deployments", "web", "default")["spec"]["replicas"] == 1
    cluster.wait("deployments/web", lambda d: (d.get("status") or {}).get("readyReplicas") == 5, timeout_s=300)
    cluster.wait("deployments/web", lambda d: d["spec"]["replicas"] == 1, timeout_s=900)


def test_without_an_apiservice_there_are_no_metrics() -> None:
    cluster = SimulatedCluster(nodes=1)
    with pytest.raises(StatusError) as refused:
        cluster.client.list(PODS, "default")
    assert refused.value.code == 404


def test_metrics_outlive_a_crash_of_the_api_server() -> None:
    cluster = settled()
    cluster.apply(deployment("web", "20m"))
    cluster.wait("deployments/web", "Available")
    cluster.sim.crash(cluster.sim.lookup("apiserver"))
    cluster.sim.advance(15)
    assert [p["containers"][0]["usage"]["cpu"] for p in cluster.client.list(PODS, "default")] == ["20000000n"]
