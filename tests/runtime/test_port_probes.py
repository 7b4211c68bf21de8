"""Probes against real servers on the loopback, and the words for what fails."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from actors.runtime._port_probes import probe_port
from protocol.cri import Probe, ProbeResponse


def probe(kind: str, port: int, detail: str = "", timeout_s: float = 5.0, **fields: Any) -> ProbeResponse:
    return probe_port(Probe("c", kind, port, detail=detail, timeout_s=timeout_s, **fields)).get(timeout=20)


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Pages(BaseHTTPRequestHandler):
    seen: dict[str, str] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        Pages.seen = dict(self.headers)
        self.send_response(int(self.path.strip("/") or "200"))
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def web() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_a_page_is_healthy_from_200_to_399(web: int) -> None:
    assert probe("http", web, "/200").ok
    assert probe("http", web, "/399").ok
    failed = probe("http", web, "/503")
    assert (failed.ok, failed.output) == (False, "HTTP probe failed with statuscode: 503")


def test_a_probe_says_who_it_is_and_sends_the_headers_of_the_manifest(web: int) -> None:
    assert probe("http", web, "/", headers=(("Host", "example.org"), ("X-Own", "1"))).ok
    assert Pages.seen["User-Agent"].startswith("kube-probe/")
    assert (Pages.seen["Host"], Pages.seen["X-Own"]) == ("example.org", "1")


def test_what_is_not_there_refuses_in_gos_words(closed_port: int) -> None:
    dialled = f"dial tcp 127.0.0.1:{closed_port}: connect: connection refused"
    assert probe("tcp", closed_port) == ProbeResponse(False, dialled)
    assert probe("http", closed_port, "/x").output == f'Get "http://127.0.0.1:{closed_port}/x": {dialled}'


def test_who_does_not_answer_is_given_up(web: int) -> None:
    assert probe("tcp", web).ok
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        assert probe("http", port, timeout_s=0.3).output == f'Get "http://127.0.0.1:{port}/": {late}'
        words = f'timeout: failed to connect service "127.0.0.1:{port}" within 0.3s: context deadline exceeded'
        assert probe("grpc", port, timeout_s=0.3).output == words


@pytest.fixture
def health() -> Iterator[int]:
    """A gRPC server whose services `good` and the whole are well, `bad` is not."""
    import grpc

    def check(request: bytes, context: Any) -> bytes:
        if request == b"\x0a\x07missing":
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return b"\x08\x02" if request == b"\x0a\x03bad" else b"\x08\x01"

    server = grpc.server(ThreadPoolExecutor(1))
    handler = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handler),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


def test_grpc_services_tell_their_health(health: int) -> None:
    assert probe("grpc", health).ok
    assert probe("grpc", health, "good").ok
    assert probe("grpc", health, "bad") == ProbeResponse(False, 'service unhealthy (responded with "NOT_SERVING")')
    words = "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service"
    assert probe("grpc", health, "missing").output == words
