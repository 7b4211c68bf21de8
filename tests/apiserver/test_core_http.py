"""The HTTP front on real sockets: keep-alive, pipelining, streams, slow and hostile clients, TLS."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.kernel import Actor, Child, handles
from cluster import ApiServerProcess
from protocol import protobuf, status
from protocol.api import ApiRequest, Resource
from protocol.node import NodeConnected, PodExec, PodLogs, StreamClosed, StreamData, StreamOpened

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
_TIMEOUT_S = 10.0


def context(server: ApiServerProcess) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=server.authority.certificate.decode())


def connect(server: ApiServerProcess) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=_TIMEOUT_S)
    return context(server).wrap_socket(raw, server_hostname="127.0.0.1")


def client(server: ApiServerProcess) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("127.0.0.1", server.port, timeout=_TIMEOUT_S, context=context(server))


def call(
    server: ApiServerProcess, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None,
    connection: http.client.HTTPSConnection | None = None,
) -> tuple[int, dict[str, str], bytes]:
    made = connection or client(server)
    sent = {"Authorization": "Bearer secret", "Content-Type": "application/json", **(headers or {})}
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body)
    made.request(method, path, data, sent)
    response = made.getresponse()
    content = response.read()
    if connection is None:
        made.close()
    return response.status, {k.lower(): v for k, v in response.getheaders()}, content


def create(server: ApiServerProcess, name: str, **fields: Any) -> None:
    code, _, content = call(server, "POST", CONFIG_MAPS, {"metadata": {"name": name}, **fields})
    assert code == 201, content


def test_a_connection_serves_many_requests(https: ApiServerProcess) -> None:
    connection = client(https)
    for number in range(20):
        code, headers, content = call(https, "GET", "/version", connection=connection)
        assert code == 200, number
        assert json.loads(content)["major"] == "1"
    connection.close()


def request_bytes(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n{more}\r\n".encode()


def read_until(sock: ssl.SSLSocket, count: int, marker: bytes) -> bytes:
    data = b""
    while data.count(marker) < count:
        piece = sock.recv(65536)
        if not piece:
            break
        data += piece
    return data


def test_pipelined_requests_are_answered_in_order(https: ApiServerProcess) -> None:
    with closing(connect(https)) as sock:
        paths = ["/healthz", "/version", "/nosuch", "/livez"] * 25
        sock.sendall(b"".join(request_bytes(path) for path in paths))
        data = read_until(sock, 100, b"HTTP/1.1 ")
        codes = [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]]
        assert codes == [200, 200, 404, 200] * 25


@pytest.mark.parametrize(
    "garbage",
    [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"FROB / HTTP/1.1\r\nHost: x\r\n\r\n",
     b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n"],
)
def test_what_is_no_http_is_refused_and_others_go_on(https: ApiServerProcess, garbage: bytes) -> None:
    with closing(connect(https)) as sock:
        sock.sendall(garbage)
        answer = sock.recv(65536)
        assert answer.startswith(b"HTTP/1.1 4") or answer == b""
    assert call(https, "GET", "/healthz")[0] == 200


@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_no_body_is_worse_than_a_bad_request(https: ApiServerProcess, body: bytes) -> None:
    code, _, content = call(https, "POST", CONFIG_MAPS + "?dryRun=All", body)
    assert 200 <= code < 500, content


def test_deeply_nested_json_is_refused(https: ApiServerProcess) -> None:
    body = b'{"metadata":{"name":"deep"},"data":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    assert 400 <= call(https, "POST", CONFIG_MAPS, body)[0] < 500


def test_a_body_above_the_limit_is_refused(https: ApiServerProcess) -> None:
    body = json.dumps({"metadata": {"name": "big"}, "data": {"k": "x" * (4 * 1024 * 1024)}}).encode()
    code, _, content = call(https, "POST", CONFIG_MAPS, body)
    assert code == 413
    assert json.loads(content)["reason"] == "RequestEntityTooLarge"


def test_a_certificate_names_its_user_and_no_credentials_nobody(https: ApiServerProcess, tmp_path: Path) -> None:
    pair = https.authority.client("jane", ("devs",))
    (tmp_path / "c.pem").write_bytes(pair.certificate + pair.key)
    with_certificate = context(https)
    with_certificate.load_cert_chain(tmp_path / "c.pem")
    review = json.dumps({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"})
    connection = http.client.HTTPSConnection("127.0.0.1", https.port, timeout=_TIMEOUT_S, context=with_certificate)
    connection.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review, {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer["status"]["userInfo"]["username"] == "jane"
    assert answer["status"]["userInfo"]["groups"] == ["devs", "system:authenticated"]
    assert call(https, "GET", CONFIG_MAPS, headers={"Authorization": ""})[0] == 403
    assert call(https, "GET", CONFIG_MAPS, headers={"Authorization": "Bearer wrong"})[0] == 401
    assert call(https, "GET", "/healthz", headers={"Authorization": ""})[0] == 200


def test_old_tls_is_not_spoken(https: ApiServerProcess) -> None:
    old = context(https)
    old.minimum_version = ssl.TLSVersion.TLSv1
    try:
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    except ValueError:
        pytest.skip("this OpenSSL has no TLS 1.1 to offer")
    with pytest.raises((ssl.SSLError, ConnectionError)), socket.create_connection(("127.0.0.1", https.port)) as raw:
        old.wrap_socket(raw, server_hostname="127.0.0.1")


def test_large_answers_are_compressed_for_those_who_want_it(https: ApiServerProcess) -> None:
    create(https, "large", data={"k": "x" * 300_000})
    _, headers, packed = call(https, "GET", CONFIG_MAPS + "/large", headers={"Accept-Encoding": "gzip"})
    assert headers["content-encoding"] == "gzip"
    assert len(packed) < 10_000
    _, headers, plain = call(https, "GET", CONFIG_MAPS + "/large")
    assert "content-encoding" not in headers
    assert gzip.decompress(packed) == plain


def test_protobuf_goes_in_and_comes_out(https: ApiServerProcess) -> None:
    binary = "application/vnd.kubernetes.protobuf"
    body = protobuf.encode({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "binary"}, "data": {"k": "v"}})
    assert call(https, "POST", CONFIG_MAPS, body, {"Content-Type": binary})[0] == 201
    code, headers, content = call(https, "GET", CONFIG_MAPS + "/binary", headers={"Accept": binary})
    assert (code, headers["content-type"]) == (200, binary)
    assert protobuf.decode(content)["data"] == {"k": "v"}
    assert call(https, "POST", CONFIG_MAPS, b"k8s\x00\xff\xff", {"Content-Type": binary})[0] == 400


def lines(sock: ssl.SSLSocket, count: int) -> list[dict[str, Any]]:
    """The next events of a watch: chunked lines of JSON."""
    data = b""
    while data.count(b'"type"') < count or not data.endswith(b"\r\n"):
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    found = [line for line in data.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b'{"type"')]
    return [json.loads(line) for line in found]


def test_a_watch_streams_events_and_ends_in_time(https: ApiServerProcess) -> None:
    with closing(connect(https)) as sock:
        sock.sendall(request_bytes(CONFIG_MAPS + "?watch=1&timeoutSeconds=2&fieldSelector=metadata.name=streamed"))
        create(https, "streamed")
        assert [event["type"] for event in lines(sock, 1)] == ["ADDED"]
        sock.settimeout(5)
        assert read_until(sock, 1, b"0\r\n\r\n").endswith(b"0\r\n\r\n")
        sock.sendall(request_bytes("/healthz"))
        assert b"200 OK" in sock.recv(4096)


def open_watches(server: ApiServerProcess) -> int:
    page = call(server, "GET", "/metrics")[2].decode()
    return sum(int(line.split()[-1]) for line in page.splitlines() if line.startswith("apiserver_longrunning_requests{"))


def eventually(condition: Callable[[], bool], timeout_s: float = _TIMEOUT_S) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_watch_is_forgotten_when_its_client_hangs_up(https: ApiServerProcess) -> None:
    before = open_watches(https)
    sock = connect(https)
    sock.sendall(request_bytes(CONFIG_MAPS + "?watch=1"))
    assert eventually(lambda: open_watches(https) == before + 1)
    sock.close()
    assert eventually(lambda: open_watches(https) == before)


def test_a_client_that_does_not_read_is_dropped_and_hurts_nobody(https: ApiServerProcess) -> None:
    before = open_watches(https)
    slow = connect(https)
    slow.sendall(request_bytes(CONFIG_MAPS + "?watch=1&labelSelector=flood"))
    assert eventually(lambda: open_watches(https) == before + 1)
    body = {"metadata": {"labels": {"flood": "yes"}}, "data": {"k": "x" * 900_000}}
    connection = client(https)
    for number in range(30):
        body["metadata"]["name"] = "flood"
        body["data"]["n"] = str(number)
        if number == 0:
            call(https, "POST", CONFIG_MAPS, body, connection=connection)
        else:
            call(https, "PUT", CONFIG_MAPS + "/flood", body, connection=connection)
        if open_watches(https) == before:
            break
    connection.close()
    assert open_watches(https) == before
    slow.close()
    assert call(https, "GET", "/healthz")[0] == 200


# --- what a node answers ------------------------------------------------------------------------


class FakeNode(Actor):
    """A kubelet that logs a line and echoes what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.peers: dict[int, Any] = {}

    @handles(PodLogs)
    def logs(self, message: PodLogs) -> Any:
        if not message.follow:
            return f"log of {message.container}\n".encode()
        assert message.peer is not None
        message.peer.tell(StreamData(message.stream_id, 1, b"first\n"))
        message.peer.tell(StreamData(message.stream_id, 1, b"second\n"))
        message.peer.tell(StreamClosed(message.stream_id))
        return StreamOpened(message.stream_id, self.ref)

    @handles(PodExec)
    def execute(self, message: PodExec) -> StreamOpened:
        self.peers[message.stream_id] = message.peer
        message.peer.tell(StreamData(message.stream_id, 1, " ".join(message.command).encode()))
        return StreamOpened(message.stream_id, self.ref)

    @handles(StreamData)
    def data(self, message: StreamData) -> None:
        peer = self.peers[message.stream_id]
        peer.tell(StreamData(message.stream_id, 1, message.data.upper()))
        failed = status.failure(500, "NonZeroExitCode", "command terminated with exit code 3", {
            "causes": [{"reason": "ExitCode", "message": "3"}]}).status
        peer.tell(StreamClosed(message.stream_id, failed))


@pytest.fixture
def node(https: ApiServerProcess) -> Iterator[str]:
    ref = https.system.spawn(Child("fake-node", FakeNode))
    https.apiserver.tell(NodeConnected("fake", ref))
    pod = {"metadata": {"name": "on-node"}, "spec": {"nodeName": "fake", "containers": [{"name": "c", "image": "i"}]}}
    pods = Resource("", "v1", "pods")
    https.apiserver.ask(ApiRequest("create", pods, "default", body=pod), timeout=10)
    yield "/api/v1/namespaces/default/pods/on-node"
    https.apiserver.ask(ApiRequest("delete", pods, "default", "on-node", body={"gracePeriodSeconds": 0}), timeout=10)
    https.system.wait_for(https.system.actors["fake-node"].request_stop())


def test_logs_come_from_the_node_whole_or_followed(https: ApiServerProcess, node: str) -> None:
    assert call(https, "GET", node + "/log")[2] == b"log of c\n"
    assert call(https, "GET", node + "/log?follow=true")[2] == b"first\nsecond\n"
    assert call(https, "GET", node + "/log?container=zz")[0] == 400


def frame(channel: int, data: bytes) -> bytes:
    payload, mask = bytes([channel]) + data, os.urandom(4)
    masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return bytes([0x82, 0x80 | len(payload)]) + mask + masked


@contextmanager
def websocket(server: ApiServerProcess, path: str, protocol: str) -> Iterator[Callable[[], tuple[int, bytes]]]:
    with closing(connect(server)) as sock:
        key = base64.b64encode(os.urandom(16)).decode()
        more = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        sock.sendall(request_bytes(path, more + f"Sec-WebSocket-Protocol: {protocol}\r\n"))
        stream = sock.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += stream.readline()
        assert b"101 Switching Protocols" in head
        assert protocol.encode() in head

        def receive() -> tuple[int, bytes]:
            opcode, size = stream.read(2)
            if size == 126:
                (size,) = struct.unpack(">H", stream.read(2))
            payload = stream.read(size)
            return (-1, payload) if opcode & 15 == 8 else (payload[0], payload[1:])

        receive.sock = sock  # type: ignore[attr-defined]
        yield receive


def test_exec_carries_channels_both_ways_and_the_exit_code(https: ApiServerProcess, node: str) -> None:
    path = node + "/exec?command=echo&command=hi&stdin=1&stdout=1&stderr=1"
    with websocket(https, path, "v5.channel.k8s.io") as receive:
        assert receive() == (1, b"")
        assert receive() == (1, b"echo hi")
        receive.sock.sendall(frame(0, b"shout"))  # type: ignore[attr-defined]
        assert receive() == (1, b"SHOUT")
        channel, data = receive()
        assert channel == 3
        assert json.loads(data)["details"]["causes"][0]["message"] == "3"
        assert receive()[0] == -1


def test_exec_without_an_upgrade_is_a_bad_request(https: ApiServerProcess, node: str) -> None:
    assert call(https, "GET", node + "/exec?command=ls")[0] == 400


def test_a_bootstrap_token_names_its_bearer_until_it_expires(https: ApiServerProcess) -> None:
    def keep(**more: str) -> None:
        data = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true", **more}
        secret = {"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "stringData": data}
        call(https, "DELETE", "/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef")
        assert call(https, "POST", "/api/v1/namespaces/kube-system/secrets", secret)[0] == 201

    def whoami() -> tuple[int, Any]:
        body = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
        bearer = {"Authorization": "Bearer abcdef.0123456789abcdef"}
        code, _, content = call(https, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body, bearer)
        return code, json.loads(content)

    keep(**{"auth-extra-groups": "system:bootstrappers:workers"})
    code, answer = whoami()
    assert code == 201
    assert answer["status"]["userInfo"]["username"] == "system:bootstrap:abcdef"
    assert "system:bootstrappers:workers" in answer["status"]["userInfo"]["groups"]
    keep(expiration="2020-01-01T00:00:00Z")
    assert whoami()[0] == 401
