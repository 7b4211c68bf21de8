"""The OpenAPI documents: what kubectl reads from them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from actors.apiserver.openapi import CustomDocument, Documents
from protocol.kinds import ALL_VERBS, Kind
from protocol.schema import LAST_MINOR, load

Object = dict[str, Any]
DOCUMENTS = Documents(load(LAST_MINOR))


def document(path: str, documents: Documents = DOCUMENTS) -> Object:
    found = documents.v3(path)
    assert found is not None
    parsed: Object = orjson.loads(found)
    return parsed


def test_the_index_names_every_group_and_version_with_a_hash() -> None:
    paths = DOCUMENTS.index()["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/batch/v1", "version"} <= set(paths)
    url = paths["apis/apps/v1"]["serverRelativeURL"]
    assert url == f"/openapi/v3/apis/apps/v1?hash={DOCUMENTS.hash('apis/apps/v1')}"


def test_patch_operations_carry_what_kubectl_verifies() -> None:
    patch = document("apis/apps/v1")["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-action"] == "patch"
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert {"dryRun", "fieldManager", "fieldValidation", "force"} <= {p["name"] for p in patch["parameters"]}


def test_schemas_say_which_kind_they_are() -> None:
    schema = document("apis/apps/v1")["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]
    assert {"group": "apps", "version": "v1", "kind": "Deployment"} in schema["x-kubernetes-group-version-kind"]
    assert schema["properties"]["spec"]["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]


@pytest.mark.parametrize("path", ["api/v1", "apis/apps/v1", "apis/rbac.authorization.k8s.io/v1"])
def test_every_reference_leads_somewhere(path: str) -> None:
    found = document(path)
    schemas = found["components"]["schemas"]

    def references(node: Any) -> list[str]:
        if isinstance(node, list):
            return [ref for item in node for ref in references(item)]
        if not isinstance(node, dict):
            return []
        mine = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return mine + [ref for item in node.values() for ref in references(item)]

    missing = {ref for ref in references(found) if ref.rpartition("/")[2] not in schemas}
    assert not missing


def test_an_unknown_path_has_no_document() -> None:
    assert DOCUMENTS.v3("apis/nonsense/v1") is None


def test_custom_resources_appear_in_a_document_of_their_group() -> None:
    kind = Kind("example.com", "v1", "Widget", "widgets", "widget", True, verbs=ALL_VERBS,
                storage_group="example.com", storage_version="v1")
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    documents = Documents(load(LAST_MINOR), [CustomDocument(kind, schema)])
    found = document("apis/example.com/v1", documents)
    assert "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}" in found["paths"]
    patch = found["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
    widget = found["components"]["schemas"]["com.example.v1.Widget"]
    assert widget["properties"]["spec"]["properties"]["size"] == {"type": "integer"}
    before = DOCUMENTS.index()["paths"]["apis/apps/v1"]
    assert documents.index()["paths"]["apis/apps/v1"] == before


def test_version_two_has_definitions_and_paths() -> None:
    found = orjson.loads(DOCUMENTS.v2())
    assert found["swagger"] == "2.0"
    assert "io.k8s.api.core.v1.Pod" in found["definitions"]
    assert "/api/v1/namespaces/{namespace}/pods/{name}" in found["paths"]


def fields(data: bytes) -> dict[int, list[Any]]:
    """The fields of a protobuf message, read without its description: number to values."""
    found: dict[int, list[Any]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            found.setdefault(key >> 3, []).append(varint())
        elif key & 7 == 1:
            found.setdefault(key >> 3, []).append(data[at : at + 8])
            at += 8
        else:
            assert key & 7 == 2
            size = varint()
            found.setdefault(key >> 3, []).append(data[at : at + size])
            at += size
    return found


def named(values: list[bytes]) -> dict[str, dict[int, list[Any]]]:
    return {(pair := fields(value))[1][0].decode(): fields(pair[2][0]) for value in values}


def test_the_protobuf_form_of_v2_says_what_its_json_says() -> None:
    text = orjson.loads(DOCUMENTS.v2())
    binary = fields(DOCUMENTS.v2_protobuf())
    assert binary[1] == [b"2.0"]
    schemas = named(fields(binary[9][0])[1])
    assert schemas.keys() == text["definitions"].keys()
    for name, schema in text["definitions"].items():
        properties = schemas[name].get(25)
        assert (named(fields(properties[0])[1]).keys() if properties else set()) == schema.get("properties", {}).keys(), name
        assert [word.decode() for word in schemas[name].get(19, [])] == schema.get("required", [])
        assert schemas[name].get(4, [b""])[0].decode() == schema.get("description", "")
    paths = named(fields(binary[8][0])[2])
    assert paths.keys() == text["paths"].keys()
    verbs = {2: "get", 3: "put", 4: "post", 5: "delete", 8: "patch"}
    for path, item in text["paths"].items():
        assert {verbs[number] for number in paths[path] if number in verbs} == item.keys() - {"parameters"}


def test_the_protobuf_form_tells_the_kind_of_a_schema_and_of_a_patch() -> None:
    binary = fields(DOCUMENTS.v2_protobuf())
    deployment = named(fields(binary[9][0])[1])["io.k8s.api.apps.v1.Deployment"]
    extensions = {(pair := fields(value))[1][0].decode(): fields(pair[2][0])[2][0] for value in deployment[31]}
    assert extensions["x-kubernetes-group-version-kind"] == b"- group: apps\n  kind: Deployment\n  version: v1\n"
    patch = fields(named(fields(binary[8][0])[2])["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"][8][0])
    parameters = [fields(fields(value)[1][0]) for value in patch[8]]
    assert any(1 in parameter for parameter in parameters), "one of them is the body"
    queries = [fields(fields(parameter[2][0])[3][0]) for parameter in parameters if 2 in parameter]
    assert {b"dryRun", b"fieldManager", b"fieldValidation", b"force"} <= {query[4][0] for query in queries}


@pytest.mark.parametrize("path", ["api/v1", "apis/apps/v1", "apis/apiextensions.k8s.io/v1", "version"])
def test_the_protobuf_form_of_v3_says_what_its_json_says(path: str) -> None:
    text = orjson.loads(DOCUMENTS.v3(path) or b"")
    binary = fields(DOCUMENTS.v3_protobuf(path) or b"")
    assert binary[1] == [b"3.0.0"]
    schemas = named(fields(fields(binary[5][0])[1][0])[1])
    assert schemas.keys() == text["components"]["schemas"].keys()
    for name, schema in text["components"]["schemas"].items():
        found = fields(schemas[name][1][0])
        properties = named(fields(found[31][0])[1]) if 31 in found else {}
        assert properties.keys() == schema.get("properties", {}).keys(), name
        assert {word for word in properties if 2 in properties[word]} == {
            word for word, item in schema.get("properties", {}).items() if "$ref" in item}, "references"
        assert [word.decode() for word in found.get(23, [])] == schema.get("required", [])
        assert found.get(34, [b""])[0].decode() == schema.get("description", "")
    paths = named(fields(binary[4][0])[1])
    assert paths.keys() == text["paths"].keys()
    verbs = {4: "get", 5: "put", 6: "post", 7: "delete", 10: "patch"}
    for route, item in text["paths"].items():
        assert {verbs[number] for number in paths[route] if number in verbs} == item.keys() - {"parameters"}
        get = item.get("get")
        if get is not None:
            responses = named(fields(fields(paths[route][4][0])[8][0])[2])
            assert responses.keys() == get["responses"].keys()


def test_defaults_are_kept_as_far_as_gnostic_has_them() -> None:
    pod = fields(DOCUMENTS.v3_protobuf("api/v1") or b"")
    schemas = named(fields(fields(pod[5][0])[1][0])[1])

    def default(kind: str, name: str) -> dict[int, list[Any]]:
        properties = named(fields(fields(schemas[f"io.k8s.api.core.v1.{kind}"][1][0])[31][0])[1])
        return fields(fields(properties[name][1][0])[33][0])

    assert default("Container", "name") == {3: [b""]}
    assert default("ContainerPort", "containerPort") == {1: [bytes(8)]}
    assert default("ContainerPort", "protocol") == {3: [b"TCP"]}
    assert default("Pod", "spec") == {}, "there is one, and nothing is said of it"


def test_a_document_that_is_not_there_is_in_no_form() -> None:
    assert DOCUMENTS.v3_protobuf("apis/nothing/v1") is None
