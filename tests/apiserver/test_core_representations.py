"""Tables and metadata-only answers over HTTPS: versions, order of rows, and what cannot be had."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

import pytest

from cluster import ApiServerProcess

NAMESPACES = "/api/v1/namespaces"
FLOWS = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"


def get(server: ApiServerProcess, path: str, accept: str, method: str = "GET") -> tuple[int, Any]:
    trust = ssl.create_default_context(cadata=server.authority.certificate.decode())
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=trust)
    connection.request(method, path, None, {"Authorization": "Bearer secret", "Accept": accept})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, json.loads(content)


def shaped(shape: str, version: str = "v1") -> str:
    return f"application/json;as={shape};v={version};g=meta.k8s.io"


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_table_is_in_the_version_asked_for(https: ApiServerProcess, version: str) -> None:
    code, table = get(https, NAMESPACES, shaped("Table", version))
    assert (code, table["apiVersion"]) == (200, f"meta.k8s.io/{version}")
    assert {row["object"]["apiVersion"] for row in table["rows"]} == {f"meta.k8s.io/{version}"}


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_metadata_is_in_the_version_asked_for(https: ApiServerProcess, version: str) -> None:
    code, found = get(https, NAMESPACES, shaped("PartialObjectMetadataList", version))
    assert (code, found["apiVersion"]) == (200, f"meta.k8s.io/{version}")
    code, one = get(https, f"{NAMESPACES}/default", shaped("PartialObjectMetadata", version))
    assert (code, one["apiVersion"], one["kind"]) == (200, f"meta.k8s.io/{version}", "PartialObjectMetadata")


def test_metadata_of_a_list_and_of_one_object_are_different_requests(https: ApiServerProcess) -> None:
    code, refusal = get(https, NAMESPACES, shaped("PartialObjectMetadata"))
    assert (code, refusal["reason"]) == (406, "NotAcceptable")
    assert refusal["message"].endswith("but the requested object is a list (*core.NamespaceList)")
    code, refusal = get(https, f"{NAMESPACES}/default", shaped("PartialObjectMetadataList"))
    assert (code, refusal["message"].partition("but ")[2]) == (406, "the requested object is not a list (*core.Namespace)")


def test_flow_schemas_are_shown_in_the_order_in_which_they_match(https: ApiServerProcess) -> None:
    _, table = get(https, FLOWS, shaped("Table"))
    shown = [(int(row["cells"][2]), row["cells"][0]) for row in table["rows"]]
    assert shown == sorted(shown)
    assert shown[0][1] == "exempt"
    _, plain = get(https, FLOWS, "application/json")
    names = [item["metadata"]["name"] for item in plain["items"]]
    assert names == sorted(names), "a list itself is in the order of names"


def test_a_token_cannot_continue_outside_of_its_list(https: ApiServerProcess) -> None:
    outside = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NSwic3RhcnQiOiIuLi9hIn0"
    code, refusal = get(https, f"{NAMESPACES}?limit=1&continue={outside}", "application/json")
    assert (code, refusal["message"]) == (400, "invalid continue token: continue key is not valid: ../a")


def test_the_version_can_only_be_read(https: ApiServerProcess) -> None:
    assert get(https, "/version", "application/json", "POST")[0] == 405
