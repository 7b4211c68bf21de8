"""JSON patch, merge patch and strategic merge patch: what they do and how they refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.apiserver.patch import JSON, MERGE, STRATEGIC, PatchProblem, apply_operations, apply_patch
from actors.apiserver.patch._json import merge
from protocol.api import StatusError
from protocol.schema import LAST_MINOR, load

Object = dict[str, Any]
DEPLOYMENT = load(LAST_MINOR).by_gvk("apps", "v1", "Deployment")
CONFIG_MAP = load(LAST_MINOR).by_gvk("", "v1", "ConfigMap")
VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-9, 9), st.text("ab~/", max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=3)),
    max_leaves=8,
)


def config_map(**fields: Any) -> Object:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, **fields}


def patched(media: str, obj: Object, patch: Any, type_: Any = CONFIG_MAP) -> Object:
    return apply_patch(media, type_, obj, json.dumps(patch).encode(), "Warn")[0]


def refusal(media: str, obj: Object, patch: Any, type_: Any = CONFIG_MAP) -> StatusError:
    with pytest.raises(StatusError) as caught:
        patched(media, obj, patch, type_)
    return caught.value


# --- JSON patch -------------------------------------------------------------------------------


def test_operations_apply_in_order() -> None:
    operations = [
        {"op": "add", "path": "/data", "value": {"a": "1"}},
        {"op": "copy", "from": "/data/a", "path": "/data/b"},
        {"op": "move", "from": "/data/a", "path": "/data/c"},
        {"op": "test", "path": "/data/c", "value": "1"},
        {"op": "replace", "path": "/data/b", "value": "2"},
    ]
    assert patched(JSON, config_map(), operations)["data"] == {"b": "2", "c": "1"}


def test_words_of_a_path_escape_slashes_and_tildes() -> None:
    operations = [{"op": "add", "path": "/metadata/annotations", "value": {}},
                  {"op": "add", "path": "/metadata/annotations/a~1b~0c", "value": "x"}]
    assert patched(JSON, config_map(), operations)["metadata"]["annotations"] == {"a/b~c": "x"}


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"op": "test", "path": "/data/a", "value": "2"}, "testing value /data/a failed: test failed"),
        ({"op": "remove", "path": "/data/zz"}, "Unable to remove nonexistent key: zz"),
        ({"op": "add", "path": "/x/y", "value": 1}, "add operation does not apply: doc is missing path"),
        ({"op": "nonsense", "path": "/data"}, "Unexpected kind: nonsense"),
    ],
)
def test_an_operation_that_does_not_apply_is_refused(operation: Object, words: str) -> None:
    with pytest.raises(PatchProblem, match=words):
        apply_operations(config_map(data={"a": "1"}), [operation])
    assert refusal(JSON, config_map(data={"a": "1"}), [operation]).code == 422


def test_the_object_that_is_patched_stays_as_it_was() -> None:
    before = config_map(data={"a": "1"})
    patched(JSON, before, [{"op": "remove", "path": "/data/a"}])
    assert before["data"] == {"a": "1"}


@given(VALUES, VALUES)
def test_adding_at_the_root_replaces_the_document(document: Any, value: Any) -> None:
    replaced = apply_operations({"x": document}, [{"op": "add", "path": "/x", "value": value}])
    assert replaced == {"x": value}


# --- merge patch ------------------------------------------------------------------------------


def test_null_removes_and_maps_merge() -> None:
    merged = patched(MERGE, config_map(data={"a": "1", "b": "2"}), {"data": {"a": None, "c": "3"}})
    assert merged["data"] == {"b": "2", "c": "3"}


@given(VALUES)
def test_merging_a_document_with_itself_changes_nothing(document: Any) -> None:
    before = json.loads(json.dumps(document))
    assert merge(json.loads(json.dumps(document)), document) == before


MAPS = st.dictionaries(st.text("ab", max_size=2), VALUES, max_size=3)


@given(MAPS, MAPS)
def test_a_merge_patch_applied_twice_is_applied_once(document: Object, patch: Object) -> None:
    once = merge(json.loads(json.dumps(document)), patch)
    assert merge(json.loads(json.dumps(once)), patch) == once


def test_a_patch_that_is_no_object_is_refused() -> None:
    assert refusal(MERGE, config_map(), [1]).code == 400


# --- strategic merge patch --------------------------------------------------------------------


def deployment(**spec: Any) -> Object:
    containers = [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "2"}]
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": "d"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": containers, **spec}}},
    }


def strategic(template_spec: Object, obj: Object | None = None) -> Object:
    patch = {"spec": {"template": {"spec": template_spec}}}
    found: Object = patched(STRATEGIC, obj or deployment(), patch, DEPLOYMENT)["spec"]["template"]["spec"]
    return found


def test_lists_with_a_merge_key_merge_by_it() -> None:
    containers = strategic({"containers": [{"name": "b", "image": "3"}]})["containers"]
    assert [(c["name"], c["image"]) for c in containers] == [("a", "1"), ("b", "3")]


def test_a_directive_deletes_an_element() -> None:
    containers = strategic({"containers": [{"name": "a", "$patch": "delete"}]})["containers"]
    assert [c["name"] for c in containers] == ["b"]


def test_a_directive_replaces_a_list() -> None:
    containers = strategic({"containers": [{"name": "c", "image": "9"}, {"$patch": "replace"}]})["containers"]
    assert [c["name"] for c in containers] == ["c"]


def test_an_order_is_imposed() -> None:
    patch = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a", "image": "7"}]}
    assert [c["name"] for c in strategic(patch)["containers"]] == ["b", "a"]


def test_retained_keys_drop_the_others() -> None:
    before = deployment(volumes=[{"name": "v", "emptyDir": {}}])
    patch = {"volumes": [{"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/x"}}]}
    assert strategic(patch, before)["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]


def test_primitive_elements_are_deleted_by_value() -> None:
    before = {**config_map(), "metadata": {"name": "a", "finalizers": ["x/1", "x/2", "x/3"]}}
    merged = patched(STRATEGIC, before, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/2"]}})
    assert merged["metadata"]["finalizers"] == ["x/1", "x/3"]


def test_lists_without_a_merge_key_are_replaced() -> None:
    before = deployment(tolerations=[{"key": "a", "operator": "Exists"}])
    assert strategic({"tolerations": [{"key": "b", "operator": "Exists"}]}, before)["tolerations"] == [
        {"key": "b", "operator": "Exists"}
    ]


def test_an_element_without_its_merge_key_is_refused() -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"image": "3"}]}}}}
    error = refusal(STRATEGIC, deployment(), patch, DEPLOYMENT)
    assert "does not contain declared merge key: name" in error.message


def test_custom_resources_have_no_strategic_merge_patch() -> None:
    error = refusal(STRATEGIC, config_map(), {"a": 1}, None)
    assert (error.code, error.reason) == (415, "UnsupportedMediaType")
