"""`/healthz`, `/livez` and `/readyz`: in a word, check by check, and while etcd is away."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.api import ADMIN
from protocol.http import HttpCall, HttpReply


def get(api: Any, path: str, query: str = "") -> HttpReply:
    reply: HttpReply = api.sim.ask(api.server, HttpCall("GET", path, query, {}, b"", ADMIN))
    return reply


@pytest.mark.parametrize("kind", ["healthz", "livez", "readyz"])
def test_health_is_a_word_or_a_list_of_checks(api: Any, kind: str) -> None:
    assert get(api, f"/{kind}").body == b"ok"
    assert get(api, f"/{kind}/etcd").body == b"ok"
    assert get(api, f"/{kind}/nonsense").status == 404
    lines = get(api, f"/{kind}", "verbose").body.decode().splitlines()
    assert lines[0] == "[+]ping ok"
    assert "[+]etcd ok" in lines
    assert lines[-1] == f"{kind} check passed"


def test_checks_can_be_left_out_and_unknown_ones_are_named(api: Any) -> None:
    text = get(api, "/livez", "verbose&exclude=etcd&exclude=log&exclude=nope").body.decode()
    assert "[+]etcd excluded: ok\n" in text
    assert "[+]log excluded: ok\n" in text
    assert 'warn: some health checks cannot be excluded: no matches for "nope"\n' in text


def test_without_its_storage_a_server_is_not_ready_unless_that_is_left_out(api: Any) -> None:
    assert get(api, "/readyz").status == 200
    body = b'{"metadata":{"name":"a"}}'
    headers = {"content-type": "application/json"}
    api.sim.pause(api.etcd)
    api.server.ask(HttpCall("POST", "/api/v1/namespaces/default/configmaps", "", headers, body, ADMIN), block=False)
    api.sim.advance(0.1)
    api.sim.resume(api.etcd)
    api.sim.crash(api.etcd, restart_after_s=30.0)
    api.sim.advance(2)
    reply = get(api, "/readyz")
    assert reply.status == 500
    assert "[-]etcd failed: reason withheld\n" in reply.body.decode()
    assert reply.body.endswith(b"readyz check failed\n")
    assert get(api, "/readyz/etcd").status == 500
    assert get(api, "/readyz", "exclude=etcd&exclude=etcd-readiness").status == 200
    api.sim.advance(60)
    assert get(api, "/readyz").status == 200
