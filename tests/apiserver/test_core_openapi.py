"""OpenAPI over HTTP: representations, tags and redirects."""

from __future__ import annotations

import http.client
import ssl

import pytest

from cluster import ApiServerProcess

OLD = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
NEW = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def get(server: ApiServerProcess, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    trust = ssl.create_default_context(cadata=server.authority.certificate.decode())
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=trust)
    connection.request("GET", path, None, {"Authorization": "Bearer secret", **headers})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers, content


@pytest.mark.parametrize(
    ("accept", "media"),
    [("*/*", "application/json"), ("application/json", "application/json"), (OLD, NEW), (NEW, NEW),
     (f"application/json;q=0.5,{OLD}", NEW), ("text/html,application/*", "application/json")],
)
def test_v2_comes_in_the_representation_that_is_liked_best(https: ApiServerProcess, accept: str, media: str) -> None:
    code, headers, content = get(https, "/openapi/v2", Accept=accept)
    assert (code, headers["Content-Type"], headers["Vary"]) == (200, media, "Accept")
    assert content.startswith(b'{"swagger":"2.0"' if media == "application/json" else b"\n\x032.0")


@pytest.mark.parametrize("accept", [OLD, NEW])
def test_v3_comes_as_protobuf_too(https: ApiServerProcess, accept: str) -> None:
    code, headers, content = get(https, "/openapi/v3/apis/apps/v1", Accept=accept.replace("spec.v2", "spec.v3"))
    assert (code, headers["Content-Type"], headers["Vary"]) == (200, NEW.replace("spec.v2", "spec.v3"), "Accept")
    assert content.startswith(b"\n\x053.0.0")


@pytest.mark.parametrize("path", ["/openapi/v2", "/openapi/v3/api/v1"])
def test_a_document_in_no_known_representation_is_not_acceptable(https: ApiServerProcess, path: str) -> None:
    assert get(https, path, Accept="text/html")[0] == 406


def test_who_has_the_document_need_not_read_it_again(https: ApiServerProcess) -> None:
    code, headers, _ = get(https, "/openapi/v2", Accept=OLD)
    again = get(https, "/openapi/v2", **{"Accept": OLD, "If-None-Match": headers["ETag"]})
    assert (code, again[0], again[2]) == (200, 304, b"")


def test_an_outdated_hash_leads_to_the_document_of_today(https: ApiServerProcess) -> None:
    code, headers, _ = get(https, "/openapi/v3/apis/apps/v1?hash=OLD")
    assert code == 301
    fresh = get(https, headers["Location"])
    assert (fresh[0], fresh[1]["Cache-Control"]) == (200, "public, immutable")
