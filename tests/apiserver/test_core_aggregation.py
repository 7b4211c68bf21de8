"""API groups that another server answers for: requests, watches, identity, discovery, availability."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from actors.apiserver import pki
from actors.apiserver._aggregation import _request
from actors.apiserver._messages import HttpCall
from cluster import ApiServerProcess
from protocol.api import ApiRequest, Resource, StatusError, UserInfo

GROUP, VERSION = "metrics.example.com", "v1beta1"
BASE = f"/apis/{GROUP}/{VERSION}"
RESOURCES = [{"name": "podmetrics", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list", "watch"]}]


class Extension(BaseHTTPRequestHandler):
    """A server of one group."""

    seen: list[tuple[str, dict[str, str], str, Any]]

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        peer = self.connection.getpeercert()  # type: ignore[attr-defined]
        self.seen.append((self.path, dict(self.headers), body.decode(), peer))
        if self.path == BASE:
            self._send({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}", "resources": RESOURCES})
        elif "watch=true" in self.path:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            for number in range(3):
                self.wfile.write(json.dumps({"type": "ADDED", "object": {"n": number}}).encode() + b"\n")
                time.sleep(0.02)
        else:
            self._send({"kind": "PodMetricsList", "items": []}, 201 if self.command == "POST" else 200)

    def _send(self, obj: Any, code: int = 200) -> None:
        data = json.dumps(obj).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def extension(https: ApiServerProcess) -> Iterator[Any]:
    """An extension API server, its Service and its APIService; removed in the end."""
    authority = pki.Authority.create(time.time())
    pair = authority.server(["metrics.default.svc"])
    seen: list[Any] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Extension,), {"seen": seen}))
    context = pki.server_context(pair, https.authority.certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    make(https, Resource("", "v1", "services"), "default", {
        "metadata": {"name": "metrics"}, "spec": {"type": "ExternalName", "externalName": "127.0.0.1"},
    })
    make(https, Resource("apiregistration.k8s.io", "v1", "apiservices"), "", {
        "metadata": {"name": f"{VERSION}.{GROUP}"},
        "spec": {
            "group": GROUP, "version": VERSION, "groupPriorityMinimum": 100, "versionPriority": 100,
            "caBundle": base64.b64encode(authority.certificate).decode(),
            "service": {"name": "metrics", "namespace": "default", "port": port},
        },
    })
    yield seen
    for resource, namespace, name in (("apiservices.apiregistration.k8s.io", "", f"{VERSION}.{GROUP}"), ("services", "default", "metrics")):
        word, _, group = resource.partition(".")
        https.apiserver.ask(ApiRequest("delete", Resource(group, "v1", word), namespace, name), timeout=10)
    server.shutdown()
    server.server_close()


def make(https: ApiServerProcess, resource: Resource, namespace: str, body: Any) -> None:
    https.apiserver.ask(ApiRequest("create", resource, namespace, body=body), timeout=10)


def patch(https: ApiServerProcess, resource: Resource, name: str, body: Any) -> None:
    request = ApiRequest("patch", resource, "default", name, body=body, patch_type="application/merge-patch+json")
    https.apiserver.ask(request, timeout=10)


def reasons(https: ApiServerProcess, name: str, wanted: str) -> str:
    """The message of the condition once its reason is the wanted one: it follows soon."""
    path = f"/apis/apiregistration.k8s.io/v1/apiservices/{name}"
    deadline = time.monotonic() + 10
    while True:
        conditions = json.loads(call(https, "GET", path)[1]).get("status", {}).get("conditions") or [{}]
        if conditions[0].get("reason") == wanted:
            return str(conditions[0]["message"])
        assert time.monotonic() < deadline, conditions
        time.sleep(0.05)


def call(https: ApiServerProcess, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    context = ssl.create_default_context(cadata=https.authority.certificate.decode())
    connection = http.client.HTTPSConnection("127.0.0.1", https.port, context=context, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {"Authorization": "Bearer secret", **named})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, data


def test_requests_go_to_the_other_server_under_the_clients_name(https: ApiServerProcess, extension: Any) -> None:
    path = f"{BASE}/namespaces/default/podmetrics"
    code, data = call(https, "GET", f"{path}?limit=5", X_Remote_User="mallory")
    assert (code, json.loads(data)) == (200, {"kind": "PodMetricsList", "items": []})
    code, _ = call(https, "POST", path, b'{"a": 1}', Content_Type="application/json")
    assert code == 201
    (target, headers, _, peer), (_, _, sent, _) = [entry for entry in extension if entry[0] != BASE]
    assert target == f"{path}?limit=5"
    assert sent == '{"a": 1}'
    assert "Authorization" not in headers
    assert headers["X-Remote-User"] == "admin"
    assert headers["X-Remote-Group"] == "system:masters"
    assert ((("commonName", "front-proxy-client"),)) in peer["subject"]


def test_a_watch_streams_from_the_other_server(https: ApiServerProcess, extension: Any) -> None:
    code, data = call(https, "GET", f"{BASE}/podmetrics?watch=true")
    assert code == 200
    assert [json.loads(line)["object"]["n"] for line in data.splitlines()] == [0, 1, 2]


def test_discovery_shows_the_other_servers_resources_when_it_answers(https: ApiServerProcess, extension: Any) -> None:
    deadline = time.monotonic() + 20
    while call(https, "GET", BASE)[0] != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert json.loads(call(https, "GET", BASE)[1])["resources"] == RESOURCES
    assert GROUP in [group["name"] for group in json.loads(call(https, "GET", "/apis")[1])["groups"]]
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    items = json.loads(call(https, "GET", "/apis", Accept=accept)[1])["items"]
    (mine,) = [item for item in items if item["metadata"]["name"] == GROUP]
    assert mine["versions"][0]["resources"][0]["resource"] == "podmetrics"
    service = json.loads(call(https, "GET", f"/apis/apiregistration.k8s.io/v1/apiservices/{VERSION}.{GROUP}")[1])
    (condition,) = service["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("True", "Passed")


def test_a_server_that_is_not_there_is_unavailable(https: ApiServerProcess) -> None:
    services = Resource("apiregistration.k8s.io", "v1", "apiservices")
    make(https, services, "", {
        "metadata": {"name": "v1.none.example.com"},
        "spec": {
            "group": "none.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "insecureSkipTLSVerify": True, "service": {"name": "none", "namespace": "default"},
        },
    })
    assert call(https, "GET", "/apis/none.example.com/v1/things") == (503, b"service unavailable\n")
    assert reasons(https, "v1.none.example.com", "ServiceNotFound") == 'service/none in "default" is not present'
    service = {"metadata": {"name": "none"}, "spec": {"clusterIP": "", "ports": [{"name": "s", "port": 444}]}}
    make(https, Resource("", "v1", "services"), "default", service)
    assert reasons(https, "v1.none.example.com", "ServicePortError") == 'service/none in "default" is not listening on port 443'
    body = {"spec": {"ports": [{"name": "s", "port": 443}]}}
    patch(https, Resource("", "v1", "services"), "none", body)
    text = 'cannot find endpointslices for service/none in "default"'
    assert reasons(https, "v1.none.example.com", "EndpointsNotFound") == text
    make(https, Resource("discovery.k8s.io", "v1", "endpointslices"), "default", {
        "metadata": {"name": "none", "labels": {"kubernetes.io/service-name": "none"}}, "addressType": "IPv4",
        "endpoints": [], "ports": [{"name": "s", "port": 9}],
    })
    text = 'endpointslices for service/none in "default" have no addresses with port name "s"'
    assert reasons(https, "v1.none.example.com", "MissingEndpoints") == text
    https.apiserver.ask(ApiRequest("delete", services, "", "v1.none.example.com"), timeout=10)
    assert call(https, "GET", "/apis/none.example.com/v1/things")[0] == 404


def test_a_name_with_line_ends_makes_no_headers() -> None:
    sent = _request(HttpCall("GET", "/x", "", {}, b""), UserInfo("a\r\nX-Remote-Group: system:masters", ("g\n",)), "h")
    lines = sent.split(b"\r\n")
    assert sum(line.startswith(b"X-Remote-Group") for line in lines) == 1
    assert b"\n" not in b"".join(lines)


def test_clients_in_the_process_are_passed_on_as_well(https: ApiServerProcess, extension: Any) -> None:
    what = Resource(GROUP, VERSION, "podmetrics")
    user = UserInfo("system:kube-controller-manager", ("system:masters",))
    listed = https.apiserver.ask(ApiRequest("list", what, "default", options={"labelSelector": "a=b"}, user=user), timeout=10)
    assert listed == {"kind": "PodMetricsList", "items": []}
    made = ApiRequest("create", what, "default", "x", "sub", body={"a": 1}, user=user)
    assert https.apiserver.ask(made, timeout=10)["kind"] == "PodMetricsList"
    (target, headers, *_), (other, _, sent, _) = [entry for entry in extension if entry[0] != BASE][-2:]
    assert target == f"{BASE}/namespaces/default/podmetrics?labelSelector=a%3Db"
    assert headers["X-Remote-User"] == "system:kube-controller-manager"
    assert (other, sent) == (f"{BASE}/namespaces/default/podmetrics/x/sub", '{"a":1}')


def test_what_the_other_server_refuses_is_refused_in_the_process(https: ApiServerProcess, extension: Any) -> None:
    with pytest.raises(StatusError, match="could not find the requested resource"):
        https.apiserver.ask(ApiRequest("get", Resource(GROUP, "v9", "podmetrics"), "default", "x"), timeout=10)
    with pytest.raises(StatusError) as refused:
        https.apiserver.ask(ApiRequest("watch", Resource(GROUP, VERSION, "podmetrics"), "default"), timeout=10)
    assert refused.value.code == 405
