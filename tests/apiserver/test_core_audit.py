"""The audit log: the policy's first matching rule decides what is written of a request."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.apiserver._audit import Policy, PolicyError
from actors.apiserver._authz import Attributes
from actors.apiserver._messages import HttpCall
from protocol.api import UserInfo

JANE = UserInfo("jane", ("devs",))
ADMIN_TOKEN = {"authorization": "Bearer t", "user-agent": "test/1", "content-type": "application/json"}


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({}, True),
        ({"users": ["joe"]}, False),
        ({"userGroups": ["devs"]}, True),
        ({"verbs": ["get"]}, False),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, False),
        ({"resources": [{"group": "", "resources": ["pods/log"]}]}, True),
        ({"resources": [{"group": "", "resources": ["pods/*"]}]}, True),
        ({"resources": [{"group": "apps"}]}, False),
        ({"resources": [{"group": "", "resourceNames": ["p"]}]}, True),
        ({"namespaces": ["other"]}, False),
        ({"nonResourceURLs": ["/healthz*"]}, False),
    ],
)
def test_a_rule_matches_by_what_it_names(rule: dict[str, Any], matches: bool) -> None:
    policy = Policy({"rules": [{"level": "Request", **rule}]})
    wanted = Attributes("create", "", "pods", "log", "default", "p")
    assert (policy.level(JANE, wanted)[0] == "Request") is matches


def test_paths_are_matched_by_their_beginning() -> None:
    policy = Policy({"rules": [{"level": "None", "nonResourceURLs": ["/healthz*"]}, {"level": "Metadata"}]})
    assert policy.level(JANE, Attributes("get", path="/healthz/ping"))[0] == "None"
    assert policy.level(JANE, Attributes("get", path="/version"))[0] == "Metadata"


def test_a_policy_with_an_unknown_level_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"rules\[0\].level"):
        Policy({"rules": [{"level": "Everything"}]})


def test_requests_are_written_as_far_as_the_policy_says(make_api: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "log" / "audit.jsonl"
    rules = [
        {"level": "None", "nonResourceURLs": ["/healthz"]},
        {"level": "RequestResponse", "verbs": ["create"], "resources": [{"group": ""}]},
        {"level": "Metadata"},
    ]
    admin = UserInfo("admin", ("system:masters",))
    api = make_api(audit_path=path, audit_policy={"rules": rules}, tokens={"t": admin})

    def call(method: str, where: str, body: Any = None) -> int:
        data = json.dumps(body).encode() if body else b""
        reply = api.sim.ask(api.server, HttpCall(method, where, "", ADMIN_TOKEN, data, peer_address="10.0.0.1"))
        return int(reply.status)

    base = "/api/v1/namespaces/default"
    assert call("GET", "/healthz") == 200
    assert call("POST", f"{base}/services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}) == 201
    assert call("POST", f"{base}/secrets", {"metadata": {"name": "s"}, "stringData": {"k": "hidden"}}) == 201
    assert call("GET", f"{base}/configmaps/none") == 404
    api.settle()
    text = path.read_text()
    assert "hidden" not in text
    written = [json.loads(line) for line in text.splitlines()]
    received, events = written[::2], written[1::2]
    assert [event["stage"] for event in written] == ["RequestReceived", "ResponseComplete"] * 3
    assert [event["auditID"] for event in received] == [event["auditID"] for event in events]
    assert all("responseStatus" not in event and "requestObject" not in event for event in received)
    assert [event["verb"] for event in events] == ["create", "create", "get"]
    made, secret, missing = events
    assert made["requestObject"]["spec"] == {"ports": [{"port": 80}]}
    assert made["responseObject"]["spec"]["type"] == "ClusterIP"
    assert "requestObject" not in secret
    assert missing["responseStatus"]["code"] == 404
    assert missing["objectRef"] == {"resource": "configmaps", "namespace": "default", "name": "none", "apiVersion": "v1"}
    assert made["user"]["username"] == "admin"
    assert made["sourceIPs"] == ["10.0.0.1"]
    assert path.stat().st_mode & 0o077 == 0


def test_every_answer_names_its_request_as_the_audit_log_does(make_api: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    api = make_api(audit_path=path, tokens={"t": UserInfo("admin", ("system:masters",))})

    def named(headers: dict[str, str], where: str = "/version") -> str:
        lines = api.sim.ask(api.server, HttpCall("GET", where, "", headers, b"")).flow.decode()
        return str(lines.split("\r\n")[0].removeprefix("Audit-Id: "))

    assert named({**ADMIN_TOKEN, "audit-id": "mine"}) == "mine"
    ids = {named(ADMIN_TOKEN), named(ADMIN_TOKEN), named({}, "/api/v1/secrets"), named({"authorization": "Bearer x"})}
    assert len(ids) == 4
    assert all(len(one) == 36 for one in ids)
    api.settle()
    assert {"mine", *ids} <= {json.loads(line)["auditID"] for line in path.read_text().splitlines()}


def test_clients_in_this_process_are_written_too(make_api: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    api = make_api(audit_path=path)
    account = UserInfo("system:serviceaccount:kube-system:deployment-controller", ("system:authenticated",))
    api.create("secrets", "default", {"metadata": {"name": "s"}, "stringData": {"k": "hidden"}})
    with pytest.raises(Exception, match="forbidden"):
        api.get("secrets", "default", "s", user=account)
    api.settle()
    text = path.read_text()
    made, refused = [json.loads(line) for line in text.splitlines()][-2:]
    assert "hidden" not in text
    assert (made["verb"], made["requestURI"]) == ("create", "/api/v1/namespaces/default/secrets")
    assert refused["user"]["username"] == account.name
    assert refused["responseStatus"]["code"] == 403
    assert refused["objectRef"]["name"] == "s"
    assert refused["annotations"]["authorization.k8s.io/decision"] == "forbid"
