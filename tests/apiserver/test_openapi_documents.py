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
