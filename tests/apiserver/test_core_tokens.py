"""TokenRequest and TokenReview: what is asked for, and what is said of a token."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from protocol.api import StatusError, UserInfo


@pytest.mark.parametrize(
    ("metadata", "code", "text"),
    [
        ({"name": "other"}, 422, 'TokenRequest.authentication.k8s.io "robot" is invalid: metadata.name: Invalid value: '
         '"other": must match the service account name if specified'),
        ({"namespace": "other"}, 400, "the namespace of the provided object does not match the namespace sent on the request"),
    ],
)
def test_a_token_request_names_its_account_or_nobody(
    api: Any, refused: Callable[..., StatusError], metadata: dict[str, str], code: int, text: str
) -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": "robot"}})
    body = {"metadata": metadata, "spec": {}}
    error = refused(api.create, "serviceaccounts", "default", body, name="robot", sub="token")
    assert (error.status["code"], error.status["message"]) == (code, text)


def test_a_token_request_may_repeat_its_account(api: Any) -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": "robot"}})
    body = {"metadata": {"name": "robot", "namespace": "default"}, "spec": {}}
    assert api.create("serviceaccounts", "default", body, name="robot", sub="token")["status"]["token"]


def claims(token: str) -> Any:
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def request_token(api: Any, **spec: Any) -> Any:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return api.ask("create", "serviceaccounts", "default", "sa", body=body, sub="token")["status"]


def review(api: Any, token: str, **spec: Any) -> Any:
    return api.create("tokenreviews.authentication.k8s.io", "", {"spec": {"token": token, **spec}})["status"]


def account(api: Any, name: str = "sa") -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": name}})


def test_a_review_says_for_which_audiences_a_token_is_good(api: Any) -> None:
    account(api)
    own = "https://kubernetes.default.svc"
    assert review(api, request_token(api)["token"])["audiences"] == [own]
    vault = request_token(api, audiences=["vault", "other"])["token"]
    assert review(api, vault, audiences=["vault"])["audiences"] == ["vault"]
    assert review(api, vault)["error"] == (
        f'[invalid bearer token, token audiences ["vault" "other"] is invalid for the target audiences ["{own}"]]'
    )


def test_a_review_says_why_a_token_is_good_no_longer(api: Any) -> None:
    account(api)
    api.create("secrets", "default", {"metadata": {"name": "s"}})
    token = request_token(api, expirationSeconds=600)["token"]
    bound = request_token(api, boundObjectRef={"apiVersion": "v1", "kind": "Secret", "name": "s"})["token"]
    api.ask("delete", "secrets", "default", "s")
    assert review(api, bound)["error"] == "[invalid bearer token, service account token has been invalidated]"
    api.sim.advance(630)  # clocks may differ by a minute
    assert review(api, token)["authenticated"]
    api.sim.advance(40)
    assert review(api, token)["error"] == "[invalid bearer token, service account token has expired]"
    fresh = request_token(api)["token"]
    api.ask("delete", "serviceaccounts", "default", "sa")
    assert review(api, fresh)["error"] == '[invalid bearer token, serviceaccounts "sa" not found]'
    assert review(api, "nonsense")["error"] == "invalid bearer token"


def test_static_tokens_are_for_the_api_server_only(make_api: Any) -> None:
    api = make_api(tokens={"t": UserInfo("jane", ("devs",))})
    assert review(api, "t")["user"] == {"username": "jane", "groups": ["devs", "system:authenticated"]}
    assert "authenticated" not in review(api, "t", audiences=["elsewhere"])


def test_the_default_tokens_of_pods_live_on_for_a_year(api: Any) -> None:
    account(api)
    api.create("pods", "default", {"metadata": {"name": "p"}, "spec": {
        "serviceAccountName": "sa", "containers": [{"name": "c", "image": "i"}]}})
    ref = {"apiVersion": "v1", "kind": "Pod", "name": "p"}
    asked = request_token(api, boundObjectRef=ref, expirationSeconds=3607)
    found = claims(asked["token"])
    assert found["exp"] - found["iat"] == 365 * 24 * 3600
    assert found["kubernetes.io"]["warnafter"] - found["iat"] == 3607
    short = claims(request_token(api, boundObjectRef=ref, expirationSeconds=3608)["token"])
    assert "warnafter" not in short["kubernetes.io"]


def test_discovery_names_the_port_that_was_picked(https: Any) -> None:
    context = ssl.create_default_context(cadata=https.authority.certificate.decode())
    connection = http.client.HTTPSConnection("127.0.0.1", https.port, context=context, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/.well-known/openid-configuration", headers={"Authorization": "Bearer secret"})
        found = json.loads(connection.getresponse().read())
    assert found["jwks_uri"] == f"https://127.0.0.1:{https.port}/openid/v1/jwks"
