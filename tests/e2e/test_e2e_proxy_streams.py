"""Proxies to pods that speak TLS, that change the protocol, that never end, and whose node is in another
process."""

from __future__ import annotations

import http.client
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.apiserver import pki
from cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 15.0
SERVER = """
import socket, ssl, sys, threading, time
context = None
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
def serve(raw):
    peer = context.wrap_socket(raw, server_side=True) if context else raw
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += peer.recv(4096)
        if not head.startswith(b"GET "):
            peer.sendall(b"HTTP/1.0 400 Bad Request\\r\\n\\r\\n")
            return peer.close()
    if b"\\r\\nUpgrade: " in head:
        peer.sendall(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: echo\\r\\nConnection: Upgrade\\r\\n\\r\\n")
        while data := peer.recv(4096):
            peer.sendall(data.upper())
    elif b"/endless" in head:
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
        for number in range(1000):
            peer.sendall(b"3\\r\\n%03d\\r\\n" % number)
            time.sleep(0.1)
    else:
        line = head.split(b"\\r\\n")[0]
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(line), line))
    peer.close()
def guarded(raw):
    try:
        serve(raw)
    except OSError:
        pass
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Served:
    """A cluster with pods that listen on ports of this machine."""

    def __init__(self, cluster: Cluster, ports: dict[str, int]) -> None:
        self.cluster = cluster
        self.ports = ports

    def path(self, pod: str, rest: str = "/", scheme: str = "") -> str:
        return f"/api/v1/namespaces/default/pods/{scheme}{pod}:{self.ports[pod]}/proxy{rest}"

    def connect(self) -> http.client.HTTPSConnection:
        """A connection of the administrator's."""
        user = self.cluster.authority.client("admin", ["system:masters"])
        context = ssl.create_default_context(cadata=self.cluster.authority.certificate.decode())
        file = Path(self.cluster.kubeconfig).with_name("client.pem")
        pki.write_private(file, user.certificate + user.key)
        context.load_cert_chain(file)
        return http.client.HTTPSConnection("127.0.0.1", self.cluster.port, context=context, timeout=_TIMEOUT_S)


def pod(name: str, port: int, *arguments: str) -> dict[str, Any]:
    container = {"name": "c", "image": "host", "command": [sys.executable, "-c", SERVER, str(port), *arguments]}
    container["readinessProbe"] = {"tcpSocket": {"port": port, "host": "127.0.0.1"}, "periodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": {"containers": [container]}}


@pytest.fixture(scope="module", params=["here", "joined"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Processes that serve, on a node of this process or of another."""
    authority = pki.Authority.create(time.time())
    pair = authority.server(["localhost"])
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    pki.write_private(file, pair.certificate + pair.key)
    ports = {"plain": free_port(), "secure": free_port()}
    here = request.param == "here"
    if not here and shutil.which("kubectl") is None and not Path(sys.executable).with_name("kubectl").exists():
        pytest.skip("no kubectl")
    with Cluster(nodes=1 if here else 0, runtime="process") as cluster:
        process = None
        if not here:
            command = [sys.executable, str(ROOT / "cluster.py"), "kubelet", "--kubeconfig", str(cluster.kubeconfig),
                       "--node-name", "joined", "--port", "0", "--runtime", "process"]  # fmt: skip
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            assert "ready:" in process.stdout.readline()
        try:
            cluster.apply([pod("plain", ports["plain"]), pod("secure", ports["secure"], str(file))])
            for name in ports:
                cluster.wait(f"pods/{name}", "Ready")
            yield Served(cluster, ports)
        finally:
            if process is not None:
                process.terminate()
                process.wait()


@pytest.mark.parametrize(("pod", "scheme"), [("plain", ""), ("plain", "http:"), ("secure", "https:")])
def test_a_pod_is_spoken_to_as_the_path_says(served: Served, pod: str, scheme: str) -> None:
    connection = served.connect()
    connection.request("GET", served.path(pod, "/some/path?q=1", scheme))
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"GET /some/path?q=1 HTTP/1.1")
    connection.close()


def test_tls_with_a_port_that_speaks_none_fails(served: Served) -> None:
    connection = served.connect()
    connection.request("GET", served.path("plain", scheme="https:"))
    answer = connection.getresponse()
    assert answer.status == 503
    assert b"error trying to reach service: " in answer.read()
    connection.close()


def test_a_body_without_an_end_comes_as_it_is_made(served: Served) -> None:
    connection = served.connect()
    connection.request("GET", served.path("plain", "/endless"))
    answer = connection.getresponse()
    assert answer.headers["Content-Type"] == "text/plain"
    assert [answer.read(3) for _ in range(8)] == [b"%03d" % number for number in range(8)]
    connection.close()


@pytest.mark.parametrize(("pod", "scheme"), [("plain", ""), ("secure", "https:")])
def test_a_connection_that_changes_its_protocol_goes_on_to_the_pod(served: Served, pod: str, scheme: str) -> None:
    connection = served.connect()
    connection.request("GET", served.path(pod, "/", scheme), headers={"Upgrade": "echo", "Connection": "Upgrade"})
    raw = connection.sock
    assert raw is not None
    head = b""
    while b"\r\n\r\n" not in head:
        head += raw.recv(4096)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nUpgrade: echo\r\n" in head
    for word in (b"hello", b"again"):
        raw.sendall(word)
        assert raw.recv(4096) == word.upper()
    connection.close()
