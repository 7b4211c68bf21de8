"""Tokens of other issuers: whom they name, and when they name nobody."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from actors.apiserver import pki
from actors.apiserver._jose import load_keys
from actors.apiserver._jwt import JwtAuthenticator, JwtRefused, anonymous_of, from_options, issuers_of
from cluster import ApiServerProcess
from protocol.http import HttpCall

Object = dict[str, Any]
ISSUER = "https://id.example.com"
NOW = 1_000_000.0
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
BASE: Object = {
    "issuer": {"url": ISSUER, "audiences": ["kube"]},
    "claimMappings": {"username": {"claim": "sub", "prefix": "id:"}, "groups": {"claim": "roles", "prefix": ""}},
}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def key_set() -> Object:
    public, point = RSA.public_key().public_numbers(), EC.public_key().public_numbers()
    return {"keys": [
        {"kty": "RSA", "kid": "r", "use": "sig", "n": number(public.n), "e": number(public.e)},
        {"kty": "EC", "kid": "e", "crv": "P-256", "x": number(point.x), "y": number(point.y)},
        {"kty": "oct", "kid": "unknown"}, {"kty": "RSA", "kid": "for encryption", "use": "enc", "n": "AQ", "e": "AQ"},
    ]}  # fmt: skip


def token(algorithm: str = "RS256", kid: str = "r", issuer: str = ISSUER, **claims: Any) -> str:
    body = {"iss": issuer, "aud": "kube", "exp": NOW + 60, "sub": "jane", **claims}
    text = f"{b64(json.dumps({'alg': algorithm, 'kid': kid}).encode())}.{b64(json.dumps(body).encode())}"
    if algorithm.startswith("ES"):
        r, s = utils.decode_dss_signature(EC.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
    return f"{text}.{b64(RSA.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def made(**changes: Any) -> JwtAuthenticator:
    found = JwtAuthenticator({**BASE, **changes}, "jwt[0]")
    found.keys = load_keys(key_set())
    return found


def refused(authenticator: JwtAuthenticator, text: str, now: float = NOW) -> str:
    with pytest.raises(JwtRefused) as caught:
        authenticator.user(text, now)
    return str(caught.value)


@pytest.mark.parametrize(("algorithm", "kid"), [("RS256", "r"), ("ES256", "e"), ("RS256", "")])
def test_claims_name_a_user_and_groups(algorithm: str, kid: str) -> None:
    user = made().user(token(algorithm, kid, roles=["a", "b"], jti="7"), NOW)
    assert (user.name, user.groups) == ("id:jane", ("a", "b"))
    assert user.extra == {"authentication.kubernetes.io/credential-id": ("JTI=7",)}
    assert made().user(token(roles="one"), NOW).groups == ("one",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (token(aud="other"), 'expected audience in ["kube"] got ["other"]'),
        (token(exp=NOW - 1), "token is expired (Token Expiry: 1970-01-12 13:46:39 +0000 UTC)"),
        (token("HS256"), "unsupported algorithm"),
        (token("none"), "unsupported algorithm"),
        (token(kid="e"), "failed to verify id token signature"),
        (token("ES256", "r"), "failed to verify id token signature"),
        (token()[:-6] + "AAAAAA", "failed to verify id token signature"),
        (token(sub=7), 'parse username claims "sub"'),
    ],
)
def test_a_token_that_is_wrong_names_nobody(text: str, words: str) -> None:
    assert words in refused(made(), text)


def test_an_unverified_address_names_nobody() -> None:
    mappings = {"username": {"claim": "email", "prefix": ""}}
    assert refused(made(claimMappings=mappings), token(email="a@b", email_verified=False)) == "oidc: email not verified"
    assert made(claimMappings=mappings).user(token(email="a@b"), NOW).name == "a@b"


def test_expressions_map_and_judge_claims() -> None:
    authenticator = made(
        claimMappings={
            "username": {"expression": "'x:' + claims.sub"},
            "groups": {"expression": "claims.roles.filter(r, r != 'no')"},
            "uid": {"claim": "uid"},
            "extra": [{"key": "example.com/team", "valueExpression": "claims.team"}],
        },
        claimValidationRules=[
            {"claim": "hd", "requiredValue": "example.com"},
            {"expression": "claims.level > 2", "message": "too low"},
        ],
        userValidationRules=[{"expression": "!user.username.startsWith('x:system:')", "message": "reserved"}],
    )
    good = {"roles": ["a", "no"], "uid": "1", "team": "red", "hd": "example.com", "level": 3}
    user = authenticator.user(token(**good), NOW)
    assert (user.name, user.groups, user.uid) == ("x:jane", ("a",), "1")
    assert user.extra["example.com/team"] == ("red",)
    assert refused(authenticator, token(**{**good, "hd": "b"})).endswith("Got = b, want = example.com")
    assert refused(authenticator, token(**{**good, "level": 1})).endswith("'claims.level > 2' failed: too low")
    assert refused(authenticator, token(**{**good, "sub": "system:x"})).endswith("failed: reserved")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"issuer": {"url": "http://a", "audiences": ["k"]}}, "URL scheme must be https"),
        ({"issuer": {"url": ISSUER}}, "issuer.audiences: Required value"),
        ({"issuer": {"url": ISSUER, "audiences": ["a", "b"]}}, "must be MatchAny"),
        ({"claimMappings": {}}, "username: Required value"),
        ({"claimMappings": {"username": {"claim": "sub"}}}, "prefix is required"),
        ({"claimMappings": {"username": {"expression": "claims."}}}, "compilation failed"),
        ({"claimValidationRules": [{}]}, "claim or expression is required"),
    ],
)
def test_a_configuration_that_is_wrong_is_refused(changes: Object, words: str) -> None:
    document = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [{**BASE, **changes}]}
    with pytest.raises(ValueError, match=words):
        issuers_of(document, "https://own")


def test_anonymous_requests_may_be_for_some_paths_only(make_api: Callable[..., Any]) -> None:
    assert anonymous_of({}) == (True, ())
    assert anonymous_of({"anonymous": {"enabled": False}}) == (False, ())
    with pytest.raises(ValueError, match="enabled should be set to true"):
        anonymous_of({"anonymous": {"enabled": False, "conditions": [{"path": "/livez"}]}})
    api = make_api(anonymous_paths=("/livez",))
    codes = [api.sim.ask(api.server, HttpCall("GET", path, "", {}, b"")).status for path in ("/livez", "/readyz")]
    assert codes == [200, 401]


def test_options_say_the_same_as_a_configuration() -> None:
    found = from_options(ISSUER, "kube", "sub", "", "roles", "g:", "", {"hd": "x"}, ("RS256",))
    found.keys = load_keys(key_set())
    user = found.user(token(roles=["a"], hd="x"), NOW)
    assert (user.name, user.groups) == (f"{ISSUER}#jane", ("g:a",))
    assert "unsupported algorithm" in refused(found, token("ES256", "e", hd="x"))


# --- keys are fetched ---------------------------------------------------------------------------


@pytest.fixture
def issuer() -> Iterator[tuple[str, str, list[str]]]:
    """A live issuer: its URL, its authority, and what it was asked."""
    authority = pki.Authority.create(1_700_000_000.0)
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            document = key_set() if self.path == "/keys" else {"issuer": url, "jwks_uri": f"{url}/keys"}
            data = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = pki.server_context(authority.server(["127.0.0.1"])).wrap_socket(server.socket, server_side=True)
    url = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield url, authority.certificate.decode(), asked
    server.shutdown()
    server.server_close()


def test_a_server_learns_an_issuers_keys_and_asks_no_more_than_it_must(issuer: tuple[str, str, list[str]]) -> None:
    url, authority, asked = issuer
    entry = {**BASE, "issuer": {"url": url, "audiences": ["kube"], "certificateAuthority": authority}}
    server = ApiServerProcess(apiserver={"jwt": (JwtAuthenticator(entry, "jwt[0]"),)}).start()
    try:
        def code(text: str) -> int:
            call = HttpCall("GET", "/api/v1/namespaces", "", {"authorization": f"Bearer {text}"}, b"")
            return int(server.apiserver.ask(call, timeout=20).status)

        late = {"exp": 4_000_000_000, "issuer": url}
        assert code(token(**late)) == 403, "known, and without rights"
        assert code(token(kid="rotated", **late)) == 401
        assert code(token(kid="rotated again", **late)) == 401
        assert asked.count("/keys") == 1
    finally:
        server.stop()
