"""What upstream's validators said of these values and schemas, to the letter."""

from __future__ import annotations

from typing import Any

import pytest

from actors.apiserver.crd._node import node_of
from actors.apiserver.crd._schema_rules import check_schema
from actors.apiserver.crd._values import check_unique, check_value
from actors.apiserver.crd._was import Was

Object = dict[str, Any]

VALUES: list[tuple[Object, Any, list[str]]] = [
    ({'type': 'string', 'enum': ['a', 'b']}, 1, ['f: Invalid value: "integer": f in body must be of type string: "integer"', 'f: Unsupported value: 1: supported values: "a", "b"']),
    ({'type': 'string', 'enum': ['a', 'b'], 'nullable': True}, None, ['f: Unsupported value: null: supported values: "a", "b"']),
    ({'type': 'integer', 'multipleOf': 2, 'maximum': 3, 'exclusiveMaximum': True}, 3, ['f: Invalid value: 3: f in body should be a multiple of 2', 'f: Invalid value: 3: f in body should be less than 3']),
    ({'type': 'number', 'multipleOf': 0.5}, 3, ['f: Invalid value: 0: factor MultipleOf declared for f must be positive: 0']),
    ({'type': 'number', 'maximum': 1.5}, 2, ['f: Invalid value: 2: f in body should be less than or equal to 1']),
    ({'type': 'integer', 'format': 'int32'}, 2147483648, ['<nil>: Invalid value: "": Checked value must be of type integer with format int32 in f']),
    ({'type': 'integer', 'format': 'int64'}, True, ['f: Invalid value: "": f in body must be of type int64: ""']),
    ({'type': 'integer'}, 1.5, ['f: Invalid value: "number": f in body must be of type integer: "number"', '<nil>: Invalid value: "": Checked value must be of type integer (default format) in f']),
    ({'type': 'string', 'format': 'hostname'}, 'a.b', ['f: Invalid value: "a.b": f in body must be of type hostname: "a.b"']),
    ({'type': 'string', 'format': 'date-time'}, 'soon', ['f: Invalid value: "soon": f in body must be of type date-time: "soon"']),
    ({'type': 'string', 'format': 'ipv4'}, [1], []),
    ({'type': 'integer', 'anyOf': [{'minimum': 5}, {'multipleOf': 4}]}, 3, ['<nil>: Invalid value: "": "f" must validate at least one schema (anyOf)', 'f: Invalid value: 3: f in body should be greater than or equal to 5']),
    ({'type': 'integer', 'oneOf': [{'minimum': 1}, {'minimum': 2}]}, 3, ['<nil>: Invalid value: "": "f" must validate one and only one schema (oneOf). Found 2 valid alternatives']),
    ({'type': 'integer', 'allOf': [{'minimum': 5}, {'maximum': 9}]}, 3, ['f: Invalid value: 3: f in body should be greater than or equal to 5', '<nil>: Invalid value: "": "f" must validate all the schemas (allOf)']),
    ({'type': 'integer', 'allOf': [{'minimum': 5}]}, 3, ['f: Invalid value: 3: f in body should be greater than or equal to 5', '<nil>: Invalid value: "": "f" must validate all the schemas (allOf). None validated']),
    ({'type': 'integer', 'not': {'minimum': 1}}, 3, ['<nil>: Invalid value: "": "f" must not validate the schema (not)']),
    ({'type': 'array', 'items': {'type': 'object', 'properties': {'k': {'type': 'string'}}, 'required': ['k']}, 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['k']}, [{'k': 'a'}, {'k': 'a'}, {'k': 'a'}], ['f[1]: Duplicate value: {"k":"a"}']),
    ({'type': 'array', 'items': {'type': 'object', 'properties': {'k': {'type': 'string'}}, 'required': ['k']}, 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['k']}, [1], ['f[0]: Invalid value: "integer": f[0] in body must be of type object: "integer"', 'f[0]: Invalid value: 1: must be an object for an array of list-type map']),
    ({'type': 'array', 'items': {'type': 'integer'}, 'x-kubernetes-list-type': 'set', 'minItems': 4}, [1, 1, 1], ['f: Invalid value: 3: f in body should have at least 4 items', 'f[1]: Duplicate value: 1']),
    ({'type': 'object', 'additionalProperties': {'type': 'integer'}, 'minProperties': 3}, {'b': 'x', 'a': 1}, ['f: Invalid value: 2: f in body should have at least 3 properties', 'f.b: Invalid value: "string": f.b in body must be of type integer: "string"']),
]

SCHEMAS: list[tuple[Object, list[str]]] = [
    ({'type': 'object', 'properties': {'a': {}}}, ['.properties[a].type: Required value: must not be empty for specified object fields']),
    ({'type': 'object', 'anyOf': [{'properties': {'a': {'minimum': 1}}}]}, ['.properties[a]: Required value: because it is defined in spec.validation.openAPIV3Schema.anyOf[0].properties[a]']),
    ({'type': 'object', 'properties': {'a': {'type': 'integer'}}, 'allOf': [{'properties': {'a': {'type': 'integer', 'default': 1}}}]}, ['.allOf[0].properties[a].default: Forbidden: must be undefined to be structural', '.allOf[0].properties[a].type: Forbidden: must be empty to be structural']),
    ({'type': 'object', 'not': {'properties': {'metadata': {}}}}, ['.not.properties[metadata]: Forbidden: must not be specified in a nested context', '.properties[metadata]: Required value: because it is defined in spec.validation.openAPIV3Schema.not.properties[metadata]']),
    ({'type': 'object', 'additionalProperties': {'type': 'string'}}, ['.additionalProperties: Forbidden: must not be used at the root']),
    ({'type': 'object', 'properties': {'metadata': {'type': 'object', 'properties': {'labels': {'type': 'object'}}}}}, ['.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified']),
    ({'type': 'object', 'properties': {'metadata': {'type': 'object', 'properties': {'name': {'type': 'string', 'maxLength': 3}}}}}, []),
    ({'type': 'object', 'properties': {'a': {'type': 'array', 'items': [{'type': 'string'}]}}}, ['.properties[a].items: Forbidden: items must be a schema object and not an array']),
    ({'type': 'object', 'properties': {'a': {'type': 'string', '$ref': '#/x'}}}, ['.properties[a].$ref: Forbidden: $ref is not supported']),
    ({'type': 'object', 'properties': {'a': {'type': 'string', 'pattern': '(?=x)'}}}, ['.properties[a].pattern: Invalid value: "(?=x)": must be a valid regular expression, but isn\'t: error parsing regexp: invalid or unsupported Perl syntax: `(?=`']),
    ({'type': 'object', 'properties': {'a': {'type': 'integer', 'default': 'x'}}}, ['.properties[a].default: Invalid value: "string":  in body must be of type integer: "string"']),
    ({'type': 'object', 'properties': {'a': {'type': 'object', 'properties': {'b': {'type': 'integer'}}, 'default': {'c': 1}}}}, ['.properties[a].default: Invalid value: {"c":1}: must not have unknown fields']),
    ({'type': 'object', 'properties': {'a': {'type': 'object', 'properties': {'metadata': {'type': 'object'}}, 'x-kubernetes-embedded-resource': True, 'default': {'metadata': {}}}}}, ['.properties[a].default.apiVersion: Required value', '.properties[a].default.kind: Required value']),
    ({'type': 'object', 'properties': {'a': {'type': 'object', 'x-kubernetes-preserve-unknown-fields': False}}}, ['.properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined']),
    ({'type': 'object', 'properties': {'a': {'type': 'string', 'x-kubernetes-validations': [{'rule': 'true', 'fieldPath': '.b'}, {'rule': 'a\nb'}]}}}, ['.properties[a].x-kubernetes-validations[0].fieldPath: Invalid value: ".b": must be a valid path', '.properties[a].x-kubernetes-validations[1].message: Required value: message must be specified if rule contains line breaks']),
    ({'type': 'object', 'properties': {'a': {'type': 'string', 'x-kubernetes-int-or-string': True, 'x-kubernetes-preserve-unknown-fields': True}}}, ['.properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if x-kubernetes-int-or-string is true']),
    ({'type': 'object', 'nullable': True}, ['.nullable: Forbidden: nullable cannot be true at the root']),
    ({'type': 'string'}, ['.type: Invalid value: "string": must be object at the root']),
]


@pytest.mark.parametrize(("schema", "value", "texts"), VALUES)
def test_values_are_judged_in_upstreams_words(schema: Object, value: Any, texts: list[str]) -> None:
    root, obj = {"type": "object", "properties": {"f": schema}}, {"f": value}
    errors = check_value(root, obj, "") + check_unique(node_of(root), obj, "")
    assert [f"{error.field}: {error.message}" for error in errors] == texts


@pytest.mark.parametrize(("schema", "texts"), SCHEMAS)
def test_schemas_are_judged_in_upstreams_words(schema: Object, texts: list[str]) -> None:
    path = "spec.validation.openAPIV3Schema"
    errors = check_schema({"openAPIV3Schema": schema}, "spec.validation", False)
    assert [f"{error.field.removeprefix(path)}: {error.message}" for error in errors] == texts


KEYED = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["k"],
    "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "n": {"type": "integer", "minimum": 5}}},
}


@pytest.mark.parametrize(
    ("schema", "old", "new", "texts"),
    [
        ({"a": {"type": "integer", "minimum": 5}, "b": {}}, {"a": 1, "b": 1}, {"a": 1, "b": 2}, []),
        ({"a": {"type": "integer", "minimum": 5}}, {"a": 1}, {"a": 2}, ["f.a: Invalid value: 2: f.a in body should be greater than or equal to 5"]),
        ({"l": KEYED}, {"l": [{"k": "x", "n": 1}, {"k": "y", "n": 1}]}, {"l": [{"k": "y", "n": 1}, {"k": "x", "n": 1}, {"k": "z", "n": 5}]}, []),
        ({"l": {**KEYED, "x-kubernetes-list-type": "atomic"}}, {"l": [{"k": "x", "n": 1}]}, {"l": [{"k": "x", "n": 1}, {"k": "y"}]},
         ["f.l[0].n: Invalid value: 1: f.l[0].n in body should be greater than or equal to 5"]),
    ],
)  # fmt: skip
def test_what_was_wrong_may_stay_where_it_did_not_change(schema: Object, old: Object, new: Object, texts: list[str]) -> None:
    root = {"type": "object", "properties": {"f": {"type": "object", "properties": schema}}}
    errors = check_value(root, {"f": new}, "", Was({"f": new}, {"f": old}, root))
    assert [f"{error.field}: {error.message}" for error in errors] == texts


def test_what_lacked_before_lacks_still_when_its_object_changes() -> None:
    root = {"type": "object", "properties": {"f": {"type": "object", "required": ["a"], "properties": {"a": {}, "b": {}}}}}
    new, old = {"f": {"b": 2}}, {"f": {"b": 1}}
    assert [error.field for error in check_value(root, new, "", Was(new, old, root))] == ["f.a"]
    assert check_value(root, old, "", Was(old, old, root)) == []
