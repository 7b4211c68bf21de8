"""Autoscalers by custom and external metrics, which a server behind the aggregator gives."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from actors.apiserver import pki
from cluster import Cluster

Object = dict[str, Any]
CUSTOM, EXTERNAL = "custom.metrics.k8s.io", "external.metrics.k8s.io"


class Adapter:
    """A metrics adapter: what it answers, and what it was asked."""

    def __init__(self) -> None:
        self.pods: dict[str, str] = {}
        """Metric -> value of each pod."""
        self.objects: dict[str, str] = {}
        """Path below the group's version -> value."""
        self.external: dict[str, list[str]] = {}
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.names: Callable[[], list[str]] = list

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Object]:
        _, _, group, version, *rest = path.split("/")
        if not rest:
            return 200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}", "resources": []}
        self.asked.append((path, query))
        if group == EXTERNAL:
            values = self.external.get(rest[-1])
            items = [{"metricName": rest[-1], "value": v, "timestamp": stamp()} for v in values or ()]
        elif rest[2] == "pods" and rest[3] == "*":
            value = self.pods.get(rest[-1])
            values = None if value is None else [value]
            items = [
                {"describedObject": {"kind": "Pod", "name": name}, "value": value, "timestamp": stamp()}
                for name in self.names()
            ]
        else:
            value = self.objects.get("/".join(rest))
            values = None if value is None else [value]
            items = [{"describedObject": {"kind": "X", "name": rest[-2]}, "value": value, "timestamp": stamp()}]
        if values is None:
            text = f"the server could not find the metric {rest[-1]} for {rest[2]}"
            return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound", "message": text}
        return 200, {"kind": "MetricValueList", "apiVersion": f"{group}/{version}", "metadata": {}, "items": items}


def stamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def serve(adapter: Adapter) -> tuple[ThreadingHTTPServer, bytes]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            code, body = adapter.answer(parts.path, parse_qs(parts.query))
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            return

    authority = pki.Authority.create(time.time())
    context = pki.server_context(authority.server(["metrics.default.svc"]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, authority.certificate


class World:
    """A cluster with a Deployment and an adapter."""

    def __init__(self, cluster: Cluster, adapter: Adapter) -> None:
        self.cluster, self.adapter = cluster, adapter
        adapter.names = lambda: [p["metadata"]["name"] for p in cluster.client.list("pods", "default")]

    def scale_by(self, metric: Object, **spec: Any) -> None:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        found = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10, "metrics": [metric], **spec}
        body = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": found}
        self.cluster.client.create("hpa", body, "default")

    def replicas(self) -> int:
        return int(self.cluster.client.get("deployments", "web", "default")["spec"]["replicas"])

    def status(self) -> Object:
        found: Object = self.cluster.client.get("hpa", "web", "default").get("status") or {}
        return found

    def events(self, reason: str) -> list[str]:
        return [e["message"] for e in self.cluster.client.list("events", "default") if e["reason"] == reason]

    def eventually(self, claim: Callable[[], Any]) -> Any:
        end = time.monotonic() + 20.0
        while not (found := claim()):
            assert time.monotonic() < end, self.status()
            time.sleep(0.05)
        return found

    def condition(self, kind: str) -> tuple[str, str, str]:
        found = next((c for c in self.status().get("conditions") or () if c["type"] == kind), {})
        return found.get("status", ""), found.get("reason", ""), found.get("message", "")


@pytest.fixture(scope="module")
def standing() -> Iterator[World]:
    options = {"horizontal_pod_autoscaler_sync_period": 0.2, "horizontal_pod_autoscaler_downscale_stabilization": 0.5}
    adapter = Adapter()
    server, authority = serve(adapter)
    with Cluster(nodes=2, controllers=options) as cluster:
        service = {"metadata": {"name": "metrics"}, "spec": {"type": "ExternalName", "externalName": "127.0.0.1"}}
        cluster.client.create("services", service, "default")
        # An adapter such as Prometheus' has the older version of custom metrics alone.
        for group in (CUSTOM, EXTERNAL):
            spec = {
                "group": group, "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
                "caBundle": base64.b64encode(authority).decode(),
                "service": {"name": "metrics", "namespace": "default", "port": server.server_port},
            }
            cluster.client.create("apiservices", {"metadata": {"name": f"v1beta1.{group}"}, "spec": spec})
        labels = {"app": "web"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
        body = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
        cluster.client.create("deployments", {"metadata": {"name": "web"}, "spec": body}, "default")
        cluster.wait("deployments/web", "Available")
        made = World(cluster, adapter)
        made.eventually(lambda: all(
            any(c["type"] == "Available" and c["status"] == "True" for c in (s.get("status") or {}).get("conditions") or ())
            for s in cluster.client.list("apiservices") if s["spec"].get("group") in (CUSTOM, EXTERNAL)
        ))
        yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def world(standing: World) -> Iterator[World]:
    """The cluster with two pods, no autoscaler and no metrics."""
    client = standing.cluster.client
    client.patch("deployments", "web", "default", {"spec": {"replicas": 2}})
    standing.eventually(lambda: len(standing.adapter.names()) == 2)
    standing.cluster.wait("deployments/web", "Available")
    yield standing
    client.delete_collection("hpa", "default")
    client.delete_collection("events", "default")
    adapter = standing.adapter
    for answers in (adapter.pods, adapter.objects, adapter.external):
        answers.clear()
    adapter.asked.clear()


def test_a_metric_of_each_pod(world: World) -> None:
    world.adapter.pods["requests"] = "200"
    selector = {"matchLabels": {"verb": "GET"}}
    target = {"type": "AverageValue", "averageValue": "100"}
    world.scale_by({"type": "Pods", "pods": {"metric": {"name": "requests", "selector": selector}, "target": target}}, maxReplicas=4)
    world.eventually(lambda: world.replicas() == 4)
    path, query = world.adapter.asked[0]
    assert path == f"/apis/{CUSTOM}/v1beta1/namespaces/default/pods/*/requests"
    assert query == {"labelSelector": ["app=web"], "metricLabelSelector": ["verb=GET"]}
    world.eventually(lambda: world.condition("ScalingLimited")[1] == "TooManyReplicas")
    assert world.condition("ScalingActive")[2].endswith("calculate a replica count from pods metric requests")
    (entry,) = world.status()["currentMetrics"]
    assert entry == {"type": "Pods", "pods": {"metric": {"name": "requests", "selector": selector}, "current": {"averageValue": "200"}}}
    world.adapter.pods["requests"] = "20"
    world.eventually(lambda: world.replicas() == 1)


def test_a_metric_of_another_object_in_all_or_by_pod(world: World) -> None:
    about = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "front"}
    world.adapter.objects["namespaces/default/ingresses.networking.k8s.io/front/hits"] = "3k"
    metric = {"describedObject": about, "metric": {"name": "hits"}, "target": {"type": "Value", "value": "2k"}}
    world.scale_by({"type": "Object", "object": metric})
    world.eventually(lambda: world.replicas() == 3)
    assert world.condition("ScalingActive")[2].endswith("from Ingress metric hits")
    world.cluster.client.delete("hpa", "web", "default")
    by_pod = {**metric, "target": {"type": "AverageValue", "averageValue": "600"}}
    world.scale_by({"type": "Object", "object": by_pod})
    world.eventually(lambda: world.replicas() == 5)
    world.eventually(lambda: world.condition("ScalingActive")[2].endswith("from external metric hits(nil)"))


def test_a_metric_of_the_namespace(world: World) -> None:
    world.adapter.objects["namespaces/default/metrics/load"] = "6"
    about = {"apiVersion": "v1", "kind": "Namespace", "name": "default"}
    metric = {"describedObject": about, "metric": {"name": "load"}, "target": {"type": "AverageValue", "averageValue": "2"}}
    world.scale_by({"type": "Object", "object": metric})
    world.eventually(lambda: world.replicas() == 3)


def test_a_metric_from_outside_the_cluster(world: World) -> None:
    world.adapter.external["queue"] = ["30", "20"]
    named = {"name": "queue", "selector": {"matchLabels": {"q": "mail"}}}
    world.scale_by({"type": "External", "external": {"metric": named, "target": {"type": "AverageValue", "averageValue": "10"}}})
    world.eventually(lambda: world.replicas() == 5)
    path, query = world.adapter.asked[0]
    assert path == f"/apis/{EXTERNAL}/v1beta1/namespaces/default/queue"
    assert query == {"labelSelector": ["q=mail"]}
    shown = "&LabelSelector{MatchLabels:map[string]string{q: mail,},MatchExpressions:[]LabelSelectorRequirement{},}"
    assert f"New size: 5; reason: external metric queue({shown}) above target" in world.events("SuccessfulRescale")
    world.cluster.client.delete("hpa", "web", "default")
    world.cluster.wait("deployments/web", "Available")
    world.scale_by({"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "100"}}})
    world.eventually(lambda: world.replicas() == 3)


@pytest.mark.parametrize(
    ("metric", "reason", "why", "whole"),
    [
        (
            {"type": "Pods", "pods": {"metric": {"name": "none"}, "target": {"type": "AverageValue", "averageValue": "1"}}},
            "FailedGetPodsMetric",
            "unable to get metric none: unable to fetch metrics from custom metrics API: the server could not find the metric none for pods",
            "failed to get pods metric value: ",
        ),
        (
            {"type": "Object", "object": {"describedObject": {"apiVersion": "v1", "kind": "Service", "name": "s"},
                                          "metric": {"name": "none"}, "target": {"type": "Value", "value": "1"}}},
            "FailedGetObjectMetric",
            "unable to get metric none: Service on default s/unable to fetch metrics from custom metrics API: the server could not "
            "find the metric none for services",
            "failed to get object metric value: ",
        ),
        (
            {"type": "External", "external": {"metric": {"name": "none"}, "target": {"type": "Value", "value": "1"}}},
            "FailedGetExternalMetric",
            "unable to get external metric default/none/nil: unable to fetch metrics from external metrics API: the server could not "
            "find the metric none for none",
            "failed to get none external metric value: failed to get external metric none: ",
        ),
    ],
    ids=["pods", "object", "external"],
)
def test_a_metric_that_is_not_there_is_told_in_events_and_condition(
    world: World, metric: Object, reason: str, why: str, whole: str
) -> None:
    world.scale_by(metric)
    world.eventually(lambda: world.condition("ScalingActive")[1] == reason)
    assert world.condition("ScalingActive") == ("False", reason, f"the HPA was unable to compute the replica count: {why}")
    world.eventually(lambda: world.events("FailedComputeMetricsReplicas"))
    assert why in world.events(reason)
    text = f"invalid metrics (1 invalid out of 1), first error is: {whole}{why}"
    assert text in world.events("FailedComputeMetricsReplicas")
    assert world.replicas() == 2


def test_with_one_metric_unknown_it_may_grow_but_not_shrink(world: World) -> None:
    world.adapter.external["queue"] = ["10"]
    known = {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}}}
    unknown = {"type": "External", "external": {"metric": {"name": "none"}, "target": {"type": "AverageValue", "averageValue": "10"}}}
    world.scale_by(known, metrics=[unknown, known])
    world.eventually(lambda: world.condition("ScalingActive")[1] == "FailedGetExternalMetric")
    assert world.replicas() == 2
    world.adapter.external["queue"] = ["40"]
    world.eventually(lambda: world.replicas() == 4)
    world.eventually(lambda: [m["type"] for m in world.status().get("currentMetrics") or ()] == ["", "External"])
