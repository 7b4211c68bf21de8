"""`/metrics`, `/metrics/slis`, `/statusz` and `/flagz`."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from actors.apiserver import ApiServerConfig
from actors.apiserver._authz import Authorizer
from protocol.api import ADMIN, UserInfo
from protocol.http import HttpCall, HttpReply

SAMPLE = re.compile(r"[a-z_]+(\{([a-z_]+=\"[^\"]*\"(,[a-z_]+=\"[^\"]*\")*)?\})? [-+.e0-9Inf]+")


def send(api: Any, method: str, path: str, query: str = "", body: bytes = b"", **headers: str) -> HttpReply:
    sent = {"content-type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
    reply: HttpReply = api.sim.ask(api.server, HttpCall(method, path, query, sent, body, ADMIN))
    return reply


def page(api: Any, path: str = "/metrics") -> str:
    return send(api, "GET", path).body.decode()


def test_every_line_of_the_page_is_a_sample_of_a_declared_metric(api: Any) -> None:
    send(api, "GET", "/api/v1/pods")
    send(api, "GET", "/readyz")
    declared: set[str] = set()
    for line in page(api).splitlines():
        if line.startswith("# TYPE "):
            declared.add(line.split()[2])
        elif not line.startswith("#"):
            assert SAMPLE.fullmatch(line), line
            name = re.split(r"[{ ]", line)[0]
            assert any(name in (known, *(known + end for end in ("_sum", "_count", "_bucket"))) for known in declared), line


def test_requests_are_counted_under_upstreams_labels(api: Any) -> None:
    maps = "/api/v1/namespaces/default/configmaps"
    send(api, "POST", maps, "dryRun=All", b'{"metadata":{"name":"a"}}')
    send(api, "GET", maps)
    send(api, "GET", f"{maps}/none")
    send(api, "DELETE", maps)
    apply = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}'
    send(api, "PATCH", f"{maps}/b", "fieldManager=m", apply, content_type="application/apply-patch+yaml")
    send(api, "GET", "/healthz")
    text = page(api)

    def line(code: int, verb: str, scope: str, dry_run: str = "") -> str:
        return (
            f'apiserver_request_total{{code="{code}",component="apiserver",dry_run="{dry_run}",group="",'
            f'resource="configmaps",scope="{scope}",subresource="",verb="{verb}",version="v1"}} 1\n'
        )

    assert line(201, "POST", "resource", "All") in text
    assert line(200, "LIST", "namespace") in text
    assert line(404, "GET", "resource") in text
    assert line(200, "DELETECOLLECTION", "namespace") in text
    assert line(201, "APPLY", "resource") in text
    assert 'subresource="/healthz",verb="GET",version=""} 1\n' in text
    assert 'etcd_requests_total{group="",operation="create",resource="configmaps"} 1\n' in text
    assert 'apiserver_current_inflight_requests{request_kind="readOnly"} 1\n' in text, "the page's own"


def test_who_asks_is_counted_without_naming_everybody(make_api: Any) -> None:
    api = make_api(tokens={"t": UserInfo("jane")})
    for token in ("t", "t", "nonsense"):
        call = HttpCall("GET", "/version", "", {"authorization": f"Bearer {token}"}, b"")
        api.sim.ask(api.server, call)
    text = page(api)
    assert 'authentication_attempts{result="failure"} 1\n' in text
    assert 'authenticated_user_requests{username="other"} 3\n' in text
    assert "jane" not in text


def test_checks_of_health_have_a_page_of_their_own(api: Any) -> None:
    send(api, "GET", "/readyz")
    text = page(api, "/metrics/slis")
    assert 'kubernetes_healthcheck{name="etcd",type="readyz"} 1\n' in text
    assert 'kubernetes_healthchecks_total{name="etcd",status="success",type="readyz"} 1\n' in text


def test_statusz_says_what_runs_since_when(make_api: Any) -> None:
    api = make_api(minor=36)
    api.sim.advance(3725)
    lines = page(api, "/statusz").splitlines()
    assert lines[1] == "apiserver statusz"
    assert lines[2].startswith("Warning: This endpoint is not meant to be machine parseable, ")
    assert "Up: 1 hr 02 min 05 sec" in lines
    assert "Emulation version: 1.36" in lines
    assert lines[-1] == "Paths: /flagz /healthz /livez /metrics /readyz /statusz /version"


@pytest.mark.parametrize(("kind", "version", "warned"), [("Statusz", "v1beta1", False), ("Flagz", "v1alpha1", True)])
def test_zpages_have_a_structured_form_for_those_who_name_it(api: Any, kind: str, version: str, warned: bool) -> None:
    accept = f"application/json;v={version};g=config.k8s.io;as={kind}"
    reply = send(api, "GET", f"/{kind.lower()}", accept=accept)
    found = json.loads(reply.body)
    assert (found["kind"], found["apiVersion"]) == (kind, f"config.k8s.io/{version}")
    assert any(name == "Warning" for name, _ in reply.headers) is warned
    assert send(api, "GET", f"/{kind.lower()}", accept="application/json").status == 406


def test_flagz_shows_settings_and_no_secret(make_api: Any) -> None:
    api = make_api(tokens={"hidden": UserInfo("jane")}, service_cidrs=("10.0.0.0/24",))
    text = page(api, "/flagz")
    assert "\nservice-cluster-ip-range=10.0.0.0/24\n" in text
    assert "\nauthorization-mode=[Node,RBAC]\n" in text
    assert "hidden" not in text


def test_older_clusters_have_no_zpages(make_api: Any) -> None:
    assert send(make_api(minor=35), "GET", "/statusz").status == 404


def test_modes_of_authorization_are_asked_as_configured(make_api: Any, refused: Any) -> None:
    node = UserInfo("system:node:n", ("system:nodes",))
    assert refused(make_api(authorization="RBAC").get, "nodes", "", "n", user=node).code == 403


def test_a_mode_that_is_none_is_refused() -> None:
    class Core:
        config = ApiServerConfig(authorization="Sometimes")

    with pytest.raises(ValueError, match="Sometimes"):
        Authorizer(Core())  # type: ignore[arg-type]
