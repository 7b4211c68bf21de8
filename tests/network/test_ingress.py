"""Ingress: which backend a request is for, and requests that go there."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from actors.network.ingress import Backend, Routes
from cluster import Cluster


def ingress(name: str, *rules: tuple[str, str, str, str], **spec: Any) -> dict[str, Any]:
    """Rules are (host, path, pathType, Service)."""
    made: list[Any] = []
    for host, path, kind, service in rules:
        backend = {"service": {"name": service, "port": {"number": 80}}}
        entry = {"http": {"paths": [{"path": path, "pathType": kind, "backend": backend}]}}
        made.append({**entry, "host": host} if host else entry)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"rules": made, **spec} if made else spec,
    }


def routes(*ingresses: dict[str, Any]) -> Routes:
    found = Routes()
    for obj in ingresses:
        found.set(f"default/{obj['metadata']['name']}", obj)
    return found


@pytest.mark.parametrize(
    ("kind", "path", "request_path", "fits"),
    [
        ("Prefix", "/", "/any/thing", True),
        ("Prefix", "/foo", "/foo", True),
        ("Prefix", "/foo", "/foo/", True),
        ("Prefix", "/foo/", "/foo", True),
        ("Prefix", "/foo/", "/foo/bar", True),
        ("Prefix", "/foo", "/foobar", False),
        ("Prefix", "/aaa/bb", "/aaa/bbb", False),
        ("Exact", "/foo", "/foo", True),
        ("Exact", "/foo", "/foo/", False),
        ("Exact", "/foo/", "/foo", False),
    ],
)
def test_paths_fit_as_documented(kind: str, path: str, request_path: str, fits: bool) -> None:
    found = routes(ingress("a", ("", path, kind, "web"))).match("x", request_path)
    assert found == (Backend("default", "web", 80) if fits else None)


def test_the_most_particular_rule_counts() -> None:
    found = routes(
        ingress("a", ("", "/", "Prefix", "any"), ("*.example.com", "/", "Prefix", "wild")),
        ingress("b", ("www.example.com", "/", "Prefix", "www"), ("www.example.com", "/api", "Prefix", "api")),
        ingress("c", ("www.example.com", "/api", "Exact", "exact")),
    )
    names = {
        "www.example.com/x": "www",
        "WWW.example.com:8080/api/v1": "api",
        "www.example.com/api": "exact",
        "a.example.com/": "wild",
        "a.b.example.com/": "any",
        "other/": "any",
    }
    for url, expected in names.items():
        host, _, path = url.partition("/")
        backend = found.match(host, f"/{path}")
        assert backend is not None, url
        assert backend.service == expected, url


def test_what_no_rule_is_for_goes_to_the_default_backend() -> None:
    default = {"defaultBackend": {"service": {"name": "rest", "port": {"name": "http"}}}}
    found = routes(ingress("a", ("www", "/x", "Prefix", "web"), **default))
    assert found.match("www", "/y") == Backend("default", "rest", "http")
    found.set("default/a", None)
    assert found.match("www", "/y") is None


class Pod(BaseHTTPRequestHandler):
    """Tells what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = f"{self.command} {self.path} {self.headers['Host']} {self.headers['X-Forwarded-For']} {body.decode()}"
        self.send_response(201)
        self.send_header("Content-Length", str(len(told)))
        self.send_header("X-Pod", "one")
        self.end_headers()
        self.wfile.write(told.encode())

    do_GET = do_POST

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def pod_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pod)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def ask(address: tuple[str, int], method: str, path: str, host: str, body: str = "") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection(*address, timeout=5.0)
    connection.request(method, path, body or None, {"Host": host})
    answer = connection.getresponse()
    told = answer.status, answer.getheader("X-Pod") or "", answer.read().decode()
    connection.close()
    return told


def test_requests_reach_a_ready_endpoint(pod_port: int) -> None:
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080}],
        "endpoints": [
            {"addresses": ["10.244.0.8"], "conditions": {"ready": True}},
            {"addresses": ["10.244.0.9"], "conditions": {"ready": False}},
        ],
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80, "targetPort": 8080}]},
    }
    dialled = []

    def dial(ip: str, port: int) -> tuple[str, int]:
        dialled.append((ip, port))
        return "127.0.0.1", pod_port

    with Cluster(nodes=0, ingress_port=0) as cluster:
        cluster.ingress.dial, cluster.ingress.network = dial, None  # a pod that really listens
        rules = (("www.example.com", "/", "Prefix", "web"), ("empty.example.com", "/", "Prefix", "none"))
        cluster.apply([service, slices, ingress("a", *rules)])
        cluster.wait(
            "ingresses/a", lambda i: (i["status"].get("loadBalancer") or {}).get("ingress") == [{"ip": "127.0.0.1"}]
        )
        cluster.wait("ingressclasses/kubekka")
        for _ in range(200):  # the controller hears of the endpoints a moment later
            told = ask(cluster.ingress_address, "POST", "/a%20b?x=1", "www.example.com", "body")
            if told[0] != 503:
                break
        assert told == (201, "one", "POST /a%20b?x=1 www.example.com 127.0.0.1 body")
        assert set(dialled) == {("10.244.0.8", 8080)}
        assert ask(cluster.ingress_address, "GET", "/", "empty.example.com")[0] == 503
        assert ask(cluster.ingress_address, "GET", "/", "other")[0] == 404


def test_simulated_pods_answer_with_their_names() -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    with Cluster(nodes=1, ingress_port=0) as cluster:
        cluster.apply([pod, service, ingress("a", ("www.example.com", "/", "Prefix", "web"))])
        cluster.wait("pods/web", "Ready")
        for _ in range(200):  # the controller hears of the endpoint a moment later
            told = ask(cluster.ingress_address, "GET", "/", "www.example.com")
            if told[0] != 503:
                break
        assert (told[0], told[2]) == (200, "web\n")
        deny = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "deny"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
        }
        cluster.apply(deny)
        for _ in range(200):
            if ask(cluster.ingress_address, "GET", "/", "www.example.com")[0] == 502:
                return
        raise AssertionError("the policy does not hold")
