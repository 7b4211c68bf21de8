"""HTTP to pods and services through the API server."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator

import kubernetes
import pytest

from cluster import Cluster

POD = {
    "apiVersion": "v1", "kind": "Pod",
    "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
    "spec": {"containers": [{"name": "c", "image": "nginx", "ports": [{"name": "http", "containerPort": 8080}]}]},
}  # fmt: skip
SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
    "spec": {"selector": {"app": "web"}, "ports": [{"name": "main", "port": 80, "targetPort": "http"}]},
}  # fmt: skip


@pytest.fixture(scope="module")
def ready(cluster: Cluster, kubectl) -> Cluster:  # type: ignore[no-untyped-def]
    empty = {**SERVICE, "metadata": {"name": "empty", "namespace": "default"}}
    empty["spec"] = {**SERVICE["spec"], "selector": {"app": "nobody"}}  # type: ignore[dict-item]
    for obj in (POD, SERVICE, empty):
        kubectl("apply", "-f", "-", stdin=json.dumps(obj))
    kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=20s")
    kubectl("wait", "--for=jsonpath={.endpoints[0].conditions.ready}=true", "endpointslice",
            "-l", "kubernetes.io/service-name=web", "--timeout=20s")  # fmt: skip
    return cluster


@pytest.mark.parametrize(
    "target", ["pods/web", "pods/web:8080", "pods/http:web:8080", "services/web:main", "services/web:80",
               "services/http:web:main"],
)  # fmt: skip
def test_a_pod_answers_through_the_proxy(ready: Cluster, kubectl, target: str) -> None:  # type: ignore[no-untyped-def]
    assert kubectl("get", "--raw", f"/api/v1/namespaces/default/{target}/proxy/some/path?x=1") == "web\n"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("services/empty:main", 'no endpoints available for service "empty:main"'),
        ("services/web", 'no endpoints available for service "web"'),
        ("services/web:81", 'no service port 81 found for service "web"'),
        ("services/gone", 'services "gone" not found'),
        ("services/ftp:web:80", 'invalid service request "ftp:web:80"'),
        ("pods/web:9", "error trying to reach service: "),
        ("pods/gone:80", 'pods "gone" not found'),
    ],
)
def test_what_cannot_be_reached_is_said(ready: Cluster, kubectl, target: str, text: str) -> None:  # type: ignore[no-untyped-def]
    assert text in kubectl("get", "--raw", f"/api/v1/namespaces/default/{target}/proxy/", fails=True)


SERVER = """
import http.server, sys
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen = (self.command, self.path, self.headers.get("X-Mine"), self.headers.get("Authorization"), "")
        text = " ".join(map(str, seen)).encode() + body
        self.send_response(418)
        self.send_header("X-Theirs", "yes")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\\r\\n%s\\r\\n0\\r\\n\\r\\n" % (len(text), text))
    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET = answer
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
"""


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Cluster, int]]:
    """A process that serves HTTP, and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    container = {"name": "c", "image": "host", "command": [sys.executable, "-c", SERVER, str(port)]}
    container["readinessProbe"] = {"tcpSocket": {"port": port, "host": "127.0.0.1"}, "periodSeconds": 1}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "echo"}, "spec": {"containers": [container]}}
    with Cluster(nodes=1, runtime="process") as cluster:
        api = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(cluster.kubeconfig)))
        api.create_namespaced_pod("default", pod)
        for event in kubernetes.watch.Watch().stream(api.list_namespaced_pod, "default", timeout_seconds=20):
            conditions = event["object"].status.conditions or ()
            if any(c.type == "Ready" and c.status == "True" for c in conditions):
                break
        yield cluster, port


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
def test_a_process_gets_the_request_whole_and_its_answer_comes_back(served: tuple[Cluster, int], method: str) -> None:
    cluster, port = served
    client = kubernetes.config.new_client_from_config(str(cluster.kubeconfig))
    url = f"{client.configuration.host}/api/v1/namespaces/default/pods/echo:{port}/proxy/a%20b/?q=1"
    headers = {"X-Mine": "mine", "Content-Type": "text/plain"}
    headers |= {"Authorization": key} if (key := client.configuration.api_key.get("authorization")) else {}
    sent = "hello" if method != "GET" else None
    answer = client.rest_client.pool_manager.request(method, url, headers=headers, body=sent)
    assert (answer.status, answer.headers["X-Theirs"]) == (418, "yes")
    assert answer.data.decode() == f"{method} /a%20b/?q=1 mine None {sent or ''}"


def test_a_proxy_path_without_its_slash_is_redirected(served: tuple[Cluster, int]) -> None:
    cluster, port = served
    client = kubernetes.config.new_client_from_config(str(cluster.kubeconfig))
    path = f"/api/v1/namespaces/default/pods/echo:{port}/proxy"
    key = client.configuration.api_key.get("authorization")
    answer = client.rest_client.pool_manager.request(
        "GET", client.configuration.host + path, headers={"Authorization": key} if key else {}, redirect=False
    )
    assert (answer.status, answer.headers["Location"]) == (301, f"{path}/")
