"""Custom objects: pruning, defaults, validation with upstream's texts, rules, versions, subresources."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.apiserver.crd._node import node_of
from actors.apiserver.crd._shape import default, prune
from actors.apiserver.crd._values import check_value
from protocol.objects import mutable

Object = dict[str, Any]
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
SPEC = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 9},
        "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "word": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 4},
        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "inner": {"type": "object", "properties": {"n": {"type": "integer", "default": 3}}},
        "replicas": {"type": "integer"},
    },
    "x-kubernetes-validations": [
        {"rule": "!has(self.replicas) || self.replicas <= self.size", "message": "too many replicas"},
        {"rule": "!has(oldSelf.word) || self.word == oldSelf.word", "message": "the word is fixed"},
    ],
}
STATUS = {"type": "object", "properties": {"replicas": {"type": "integer"}}}


@pytest.fixture
def widgets(api: Any) -> Any:
    """An API server with widgets in two versions, of which the second is stored."""
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC, "status": STATUS}}}
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    version = {"served": True, "schema": schema, "subresources": {"status": {}, "scale": scale}}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    versions = [{"name": "v1", "storage": False, **version}, {"name": "v2", "storage": True, **version}]
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions}
    api.create(CRDS, "", {"metadata": {"name": "widgets.example.com"}, "spec": spec})
    api.settle()
    return api


def make(api: Any, name: str = "w", **spec: Any) -> Object:
    head = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}}
    found: Object = api.create("widgets.example.com", "default", {**head, "spec": spec})
    return found


def test_defaults_fill_in_what_is_missing_but_not_its_parents(widgets: Any) -> None:
    assert make(widgets, size=1)["spec"] == {"size": 1, "color": "red"}
    assert make(widgets, "x", size=1, inner={})["spec"]["inner"] == {"n": 3}


def test_unknown_fields_are_pruned_unless_they_are_preserved(widgets: Any) -> None:
    spec = make(widgets, size=1, nonsense=1, free={"any": {"thing": 1}})["spec"]
    assert "nonsense" not in spec
    assert spec["free"] == {"any": {"thing": 1}}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "spec.size: Required value"),
        ({"size": 0}, "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        ({"size": 10}, "spec.size: Invalid value: 10: spec.size in body should be less than or equal to 9"),
        ({"size": "x"}, 'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"'),
        ({"size": 1, "color": "green"}, 'spec.color: Unsupported value: "green": supported values: "red", "blue"'),
        ({"size": 1, "word": "A"}, 'spec.word: Invalid value: "A": spec.word in body should match \'^[a-z]+$\''),
        ({"size": 1, "word": "abcde"}, "spec.word: Too long: may not be more than 4 bytes"),
        ({"size": 1, "tags": ["a", "a"]}, 'spec.tags[1]: Duplicate value: "a"'),
        ({"size": 1, "replicas": 2}, "spec: Invalid value: too many replicas"),
    ],
)
def test_values_are_checked_in_upstreams_words(widgets: Any, refused: Any, spec: Object, words: str) -> None:
    error = refused(make, widgets, **spec)
    assert (error.code, error.reason) == (422, "Invalid")
    assert words in error.message


def test_a_transition_rule_sees_the_old_object(widgets: Any, refused: Any) -> None:
    make(widgets, size=1, word="ab")
    error = refused(widgets.merge, "widgets.example.com", "default", "w", {"spec": {"word": "cd"}})
    assert "the word is fixed" in error.message


def test_a_wrong_value_that_was_there_before_may_stay(widgets: Any) -> None:
    make(widgets, size=1, word="abc")
    definition = mutable(widgets.get(CRDS, "", "widgets.example.com"))
    for version in definition["spec"]["versions"]:
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["word"]["maxLength"] = 2
    widgets.ask("update", CRDS, "", "widgets.example.com", body=definition)
    widgets.settle()
    changed = widgets.merge("widgets.example.com", "default", "w", {"spec": {"size": 2}})
    assert changed["spec"] == {"size": 2, "color": "red", "word": "abc"}

def test_a_default_that_came_later_is_seen_in_what_was_stored_before(widgets: Any) -> None:
    old = make(widgets, size=1)
    watcher = widgets.watch("widgets.example.com", "default", resourceVersion=old["metadata"]["resourceVersion"])
    definition = mutable(widgets.get(CRDS, "", "widgets.example.com"))
    for version in definition["spec"]["versions"]:
        fields = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        fields["word"]["default"] = "abc"
        if version["name"] == "v1":
            fields["replicas"]["default"] = 1  # not of the stored version: only what is written gets it
    widgets.ask("update", CRDS, "", "widgets.example.com", body=definition)
    widgets.settle()
    shown = {"size": 1, "color": "red", "word": "abc"}
    found = widgets.get("widgets.example.com", "default", "w")
    assert (found["spec"], found["metadata"]["resourceVersion"]) == (shown, old["metadata"]["resourceVersion"])
    assert widgets.ask("list", "widgets.v2.example.com", "default")["items"][0]["spec"] == shown
    assert watcher.closed  # its client lists again
    assert widgets.watch("widgets.example.com", "default").events[0][1]["spec"] == shown
    written = widgets.merge("widgets.v2.example.com", "default", "w", {})
    assert written["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]  # stored with its default
    assert widgets.merge("widgets.v2.example.com", "default", "w", {}) == written


def test_a_field_that_went_from_the_schema_is_not_shown_any_more(widgets: Any) -> None:
    make(widgets, size=1, word="abc")
    definition = mutable(widgets.get(CRDS, "", "widgets.example.com"))
    for version in definition["spec"]["versions"]:
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        del spec["properties"]["word"], spec["x-kubernetes-validations"]
    widgets.ask("update", CRDS, "", "widgets.example.com", body=definition)
    widgets.settle()
    assert widgets.get("widgets.example.com", "default", "w")["spec"] == {"size": 1, "color": "red"}
    watcher = widgets.watch("widgets.example.com", "default")
    widgets.ask("delete", "widgets.example.com", "default", "w")
    widgets.settle()
    assert [(type_, "word" in obj["spec"]) for type_, obj in watcher.events] == [("ADDED", False), ("DELETED", False)]


def test_versions_show_the_same_object(widgets: Any) -> None:
    make(widgets, size=1)
    for version in ("v1", "v2"):
        found = widgets.get(f"widgets.{version}.example.com", "default", "w")
        assert (found["apiVersion"], found["spec"]["size"]) == (f"example.com/{version}", 1)


def test_status_and_spec_are_written_apart(widgets: Any) -> None:
    made = make(widgets, size=1)
    assert made["metadata"]["generation"] == 1
    body = {**made, "spec": {"size": 5}, "status": {"replicas": 2}}
    after = widgets.ask("update", "widgets.example.com", "default", "w", sub="status", body=body)
    assert (after["spec"]["size"], after["status"], after["metadata"]["generation"]) == (1, {"replicas": 2}, 1)
    after = widgets.merge("widgets.example.com", "default", "w", {"spec": {"size": 5}, "status": {"replicas": 9}})
    assert (after["status"], after["metadata"]["generation"]) == ({"replicas": 2}, 2)


def test_scale_reads_and_writes_through_its_paths(widgets: Any) -> None:
    make(widgets, size=9, replicas=1)
    scale = widgets.get("widgets.example.com", "default", "w", sub="scale")
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 1})
    widgets.ask("update", "widgets.example.com", "default", "w", sub="scale", body={**scale, "spec": {"replicas": 4}})
    assert widgets.get("widgets.example.com", "default", "w")["spec"]["replicas"] == 4


def test_server_side_apply_owns_fields_of_custom_objects(widgets: Any) -> None:
    config = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}}
    made = widgets.ask("patch", "widgets.example.com", "default", "w", body=config,
                       patch="application/apply-patch+yaml", fieldManager="m")
    assert made["metadata"]["managedFields"][0]["fieldsV1"] == {"f:spec": {"f:size": {}}}


def test_a_strategic_merge_patch_is_not_supported(widgets: Any, refused: Any) -> None:
    make(widgets, size=1)
    error = refused(widgets.ask, "patch", "widgets.example.com", "default", "w", body={"spec": {"size": 2}},
                    patch="application/strategic-merge-patch+json")
    assert error.code == 415


def test_an_optional_old_value_is_judged_at_creation_too(api: Any, refused: Any) -> None:
    rule = {"rule": "oldSelf.hasValue() || self.startsWith('new')", "optionalOldSelf": True, "message": "starts anew"}
    field = {"type": "string", "x-kubernetes-validations": [rule]}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"f": field}}}}
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    api.create(CRDS, "", {"metadata": {"name": "things.example.com"}, "spec": spec})
    api.settle()
    thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}}
    error = refused(api.create, "things.example.com", "default", {**thing, "spec": {"f": "old"}})
    assert "starts anew" in error.message
    api.create("things.example.com", "default", {**thing, "spec": {"f": "new"}})
    changed = api.merge("things.example.com", "default", "t", {"spec": {"f": "old"}})
    assert changed["spec"]["f"] == "old"


# --- pure -------------------------------------------------------------------------------------

NODE = node_of({"type": "object", "properties": {"spec": SPEC}})
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(-1, 11),
        "color": st.sampled_from(["red", "blue", "green"]),
        "inner": st.dictionaries(st.sampled_from(["n", "x"]), st.integers(0, 3), max_size=2),
        "unknown": st.integers(),
    },
)


@given(SPECS)
def test_pruning_and_defaulting_are_done_once(spec: Object) -> None:
    obj: Object = {"spec": spec}
    prune(obj, NODE, root=True)
    default(obj, NODE)
    again = {"spec": dict(obj["spec"])}
    assert prune(again, NODE, root=True) == []
    default(again, NODE)
    assert again == obj


@given(SPECS)
def test_defaults_are_always_valid(spec: Object) -> None:
    spec = {**spec, "size": 1}
    spec.pop("color", None)
    obj: Object = {"spec": spec}
    prune(obj, NODE, root=True)
    default(obj, NODE)
    assert check_value({"type": "object", "properties": {"spec": SPEC}}, obj, "") == []
