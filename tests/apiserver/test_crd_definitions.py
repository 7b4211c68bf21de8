"""Definitions of custom resources: what may be defined, when it is served, and what happens at the end."""

from __future__ import annotations

from typing import Any

import pytest

Object = dict[str, Any]
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
WIDGET = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}}
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition(plural: str = "widgets", schema: Object | None = None, **spec: Any) -> Object:
    kind = plural[:-1].capitalize()
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema or ANYTHING}}
    names = {"plural": plural, "singular": plural[:-1], "kind": kind, "listKind": f"{kind}List"}
    base = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    return {"metadata": {"name": f"{plural}.example.com"}, "spec": {**base, **spec}}


def field_schema(**more: Any) -> Object:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": {"f": more}}}}


def test_a_definition_is_established_and_served(api: Any) -> None:
    api.create(CRDS, "", definition())
    api.settle()
    conditions = {c["type"]: c["status"] for c in api.get(CRDS, "", "widgets.example.com")["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    api.create("widgets.example.com", "default", WIDGET)
    assert api.names("widgets.example.com") == ["a"]


def test_taken_names_are_not_accepted(api: Any) -> None:
    api.create(CRDS, "", definition())
    api.settle()
    other = definition("gadgets")
    other["spec"]["names"]["kind"] = "Widget"
    api.create(CRDS, "", other)
    api.settle()
    conditions = {c["type"]: c for c in api.get(CRDS, "", "gadgets.example.com")["status"]["conditions"]}
    assert conditions["NamesAccepted"]["status"] == "False"
    assert conditions["NamesAccepted"]["message"] == '"Widget" is already in use'
    assert conditions["Established"]["status"] == "False"


def test_deleting_a_definition_deletes_its_objects_and_ends_serving(api: Any, refused: Any) -> None:
    api.create(CRDS, "", definition())
    api.settle()
    api.create("widgets.example.com", "default", WIDGET)
    api.ask("delete", CRDS, "", "widgets.example.com")
    api.sim.advance(1)
    assert refused(api.get, "widgets.example.com", "default", "a").code == 404
    assert api.names(CRDS) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scope": "Sideways"}, 'spec.scope: Unsupported value: "Sideways": supported values: "Cluster", "Namespaced"'),
        ({"group": "nodots"}, "spec.group: Invalid value: \"nodots\": should be a domain with at least one dot"),
        ({"versions": []}, "spec.versions: Invalid value: []: must have exactly one version marked as storage version"),
    ],
)
def test_definitions_that_make_no_sense_are_refused(api: Any, refused: Any, change: Object, words: str) -> None:
    error = refused(api.create, CRDS, "", definition(**change))
    assert error.code == 422
    assert words in error.message


def test_the_name_is_made_of_plural_and_group(api: Any, refused: Any) -> None:
    body = definition()
    body["metadata"]["name"] = "other.example.com"
    assert 'metadata.name: Invalid value: "other.example.com": must be spec.names.plural+"."+spec.group' in refused(
        api.create, CRDS, "", body
    ).message


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "array"}, "items: Required value: must be specified"),
        ({}, "type: Required value: must not be empty for specified object fields"),
        ({"type": "string", "x-kubernetes-list-type": "set"}, "type: Invalid value: \"string\": must be array if "
         "x-kubernetes-list-type is specified"),
        ({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"},
         "x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"),
        ({"type": "string", "x-kubernetes-validations": [{"rule": "self.nope == 1"}]}, "compilation failed"),
    ],
)
def test_schemas_must_be_structural(api: Any, refused: Any, schema: Object, words: str) -> None:
    assert words in refused(api.create, CRDS, "", definition(schema=field_schema(**schema))).message


def test_the_storage_version_is_remembered(api: Any) -> None:
    api.create(CRDS, "", definition())
    api.settle()
    versions = definition()["spec"]["versions"]
    newer = [{**versions[0], "storage": False}, {**versions[0], "name": "v2"}]
    api.merge(CRDS, "", "widgets.example.com", {"spec": {"versions": newer}})
    api.settle()
    assert api.get(CRDS, "", "widgets.example.com")["status"]["storedVersions"] == ["v1", "v2"]


def test_definitions_are_served_again_after_a_crash(api: Any) -> None:
    api.create(CRDS, "", definition())
    api.settle()
    api.create("widgets.example.com", "default", WIDGET)
    api.sim.crash(api.server)
    api.sim.advance(1)
    assert api.names("widgets.example.com") == ["a"]
