"""Whatever bytes and parameters come, no answer is a 5xx and nothing crashes: bytes of a connection by
Hypothesis, parameters and bodies by Schemathesis from the OpenAPI that the server itself publishes."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from actors.apiserver.http._connection import Connection
from actors.kernel._activity import Activity
from protocol.api import UserInfo
from protocol.http import HttpCall

TOKENS = {"t": UserInfo("admin", ("system:masters",))}
QUIET = settings(
    max_examples=60, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


class Wire:
    """A transport that remembers what was written."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def writelines(self, parts: Any) -> None:
        for part in parts:
            self.write(part)

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> Any:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


BODY = b'{"metadata":{"name":"a"},"data":{"k":"v"}}'
GOOD = (
    b"POST /api/v1/namespaces/default/configmaps?fieldManager=x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")


def answers(api: Any, *pieces: bytes) -> list[int]:
    """The codes that a connection answers to these bytes."""
    wire = Wire()
    api.sim.activity = Activity()  # which only live systems have
    connection = Connection(None, api.server, set(), 1 << 20)
    connection.connection_made(wire)
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
    api.sim.advance(0.01)
    connection.connection_lost(None)
    return [int(code) for code in STATUS.findall(bytes(wire.sent))]


@pytest.fixture
def open_api(make_api: Callable[..., Any]) -> Any:
    return make_api(tokens=TOKENS)


def test_a_request_in_any_pieces_is_one_request(open_api: Any) -> None:
    assert answers(open_api, *(GOOD[i : i + 1] for i in range(len(GOOD)))) == [201]
    assert answers(open_api, GOOD + GOOD) == [409, 409]


def test_spoiled_bytes_are_the_clients_fault(open_api: Any) -> None:
    @seed(5)
    @QUIET
    @given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.binary(max_size=12)), min_size=1, max_size=4))
    def spoiled(changes: list[tuple[int, bytes]]) -> None:
        data = bytearray(GOOD)
        for at, new in changes:
            data[at : at + len(new)] = new
        assert all(code < 500 for code in answers(open_api, bytes(data))), bytes(data)

    spoiled()


def test_noise_is_the_clients_fault(open_api: Any) -> None:
    @seed(6)
    @QUIET
    @given(st.lists(st.binary(max_size=300), max_size=4))
    def noise(pieces: list[bytes]) -> None:
        assert all(code < 500 for code in answers(open_api, *pieces))

    noise()


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"metadata":{"labels":['])
@pytest.mark.parametrize("depth", [100, 9_999, 200_000])
def test_deep_nesting_is_refused(open_api: Any, opening: bytes, depth: int) -> None:
    body = opening * depth
    for media in (b"application/json", b"application/yaml", b"application/merge-patch+json", b"application/apply-patch+yaml"):
        method, where = (b"PATCH", b"/c?fieldManager=x") if b"patch" in media else (b"POST", b"")
        head = b"%b /api/v1/namespaces/default/configmaps%b HTTP/1.1\r\nAuthorization: Bearer t\r\n" % (method, where)
        data = head + b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (media, len(body), body)
        (code,) = answers(open_api, data)
        assert 400 <= code < 500, media


GROUPS = (
    "apis/coordination.k8s.io/v1", "apis/scheduling.k8s.io/v1", "apis/rbac.authorization.k8s.io/v1", "apis/events.k8s.io/v1",
    "apis/authorization.k8s.io/v1", "apis/discovery.k8s.io/v1", "apis/certificates.k8s.io/v1", "apis/node.k8s.io/v1",
)  # fmt: skip
OPERATIONS, EXAMPLES = 4, 6


@pytest.mark.parametrize("group", GROUPS)
def test_what_the_openapi_allows_is_answered(open_api: Any, group: str) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    document = send(open_api, "GET", f"/openapi/v3/{group}")
    found = schemathesis.openapi.from_dict(json.loads(document.body)).get_all_operations()
    operations = [one.ok() for one in found]
    chosen = [one for one in operations if "/watch/" not in one.path]
    random.Random(group).shuffle(chosen)
    seen: list[int] = []
    for operation in chosen[:OPERATIONS]:

        @seed(1)
        @settings(QUIET, max_examples=EXAMPLES)
        @given(operation.as_strategy())
        def try_one(case: Any) -> None:
            sent = case.as_transport_kwargs(base_url="http://h")
            path = sent["url"].removeprefix("http://h")
            query = urlencode({key: value for key, value in (sent.get("params") or {}).items() if key != "watch"}, True)
            body = sent.get("data") or (json.dumps(sent["json"]).encode() if "json" in sent else b"")
            media = (sent.get("headers") or {}).get("Content-Type") or "application/json"
            reply = send(open_api, sent["method"], path, query, body if isinstance(body, bytes) else str(body).encode(), media)
            seen.append(reply.status)
            assert reply.status < 500, (sent, reply.body)

        try_one()
    assert seen


def send(api: Any, method: str, path: str, query: str = "", body: bytes = b"", media: str = "application/json") -> Any:
    headers = {"authorization": "Bearer t", "accept": "application/json", "content-type": media}
    return api.sim.ask(api.server, HttpCall(method, path, query, headers, body))


def test_an_object_nested_too_deeply_for_any_answer_is_refused_and_others_are_served_in_every_form(open_api: Any) -> None:
    version = {"name": "v1", "served": True, "storage": True, "schema": {
        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}  # fmt: skip
    names = {"plural": "ws", "singular": "w", "kind": "W", "listKind": "WList"}
    open_api.create("customresourcedefinitions.apiextensions.k8s.io", "", {
        "metadata": {"name": "ws.x.io"}, "spec": {"group": "x.io", "scope": "Cluster", "names": names, "versions": [version]},
    })  # fmt: skip
    where = "/apis/x.io/v1/ws"

    def deep(levels: int) -> bytes:
        return b'{"a":' * levels + b"1" + b"}" * levels

    for levels, code in ((150, 201), (400, 400), (3000, 400)):
        body = b'{"apiVersion":"x.io/v1","kind":"W","metadata":{"name":"w%d"},"spec":%b}' % (levels, deep(levels))
        assert send(open_api, "POST", where, "", body).status == code
    # A patch may be shallow and its result not.
    pointer = "/spec" + "/a" * 140 + "/b"
    assert send(open_api, "PATCH", f"{where}/w150", "", json.dumps(
        [{"op": "add", "path": pointer, "value": json.loads(deep(150))}]
    ).encode(), "application/json-patch+json").status == 400  # fmt: skip
    for accept in ("application/json", "application/yaml", "application/json;as=Table;v=v1;g=meta.k8s.io"):
        headers = {"authorization": "Bearer t", "accept": accept}
        assert open_api.sim.ask(open_api.server, HttpCall("GET", where, "", headers, b"")).status == 200
