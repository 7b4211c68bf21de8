"""Decoding bodies: Go's errors, unknown and repeated fields, canonical values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.apiserver.fieldvalidation import convert, decode, to_yaml
from protocol.api import StatusError
from protocol.schema import LAST_MINOR, load

Object = dict[str, Any]
SCHEMA = load(LAST_MINOR)
POD = ("", "v1", "Pod")
YAML = "application/yaml"


def pod(**spec: Any) -> Object:
    base = {"containers": [{"name": "a", "image": "b"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {**base, **spec}}


def read(body: Any, directive: str = "Warn", gvk: tuple[str, str, str] = POD, media: str = "application/json") -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode(SCHEMA, gvk, raw, directive, media)


def refusal(*args: Any, **more: Any) -> StatusError:
    with pytest.raises(StatusError) as caught:
        read(*args, **more)
    return caught.value


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (pod(hostNetwork="yes"),
         "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool"),
        (pod(containers="x"),
         "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container"),
        (pod(priority=1.5),
         "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type int32"),
        (pod(priority=2**40),
         "json: cannot unmarshal number 1099511627776 into Go struct field PodSpec.spec.priority of type int32"),
    ],
)
def test_wrong_types_are_refused_in_gos_words(body: Object, words: str) -> None:
    error = refusal(body)
    assert error.code == 400
    assert error.message.startswith('Pod in version "v1" cannot be handled as a Pod: ')
    assert words in error.message


def test_an_unknown_field_is_dropped_and_warned_of() -> None:
    obj, warnings = read(pod(nonsense=1))
    assert "nonsense" not in obj["spec"]
    assert warnings == ['unknown field "spec.nonsense"']


def test_strict_decoding_refuses_what_others_warn_of() -> None:
    error = refusal(pod(nonsense=1), "Strict")
    prefix = 'Pod in version "v1" cannot be handled as a Pod: strict decoding error: '
    assert error.message == prefix + 'unknown field "spec.nonsense"'


def test_ignoring_says_nothing() -> None:
    assert read(pod(nonsense=1), "Ignore")[1] == []


def test_repeated_fields_are_found_and_the_last_counts() -> None:
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"1","k":"2"}}'
    obj, warnings = read(body, gvk=("", "v1", "ConfigMap"))
    assert obj["data"] == {"k": "2"}
    assert warnings == ['duplicate field "data.k"']


def test_names_of_fields_are_case_sensitive() -> None:
    obj, warnings = read({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "Data": {"k": "v"}},
                         gvk=("", "v1", "ConfigMap"))
    assert "data" not in obj
    assert warnings == ['unknown field "Data"']


def test_yaml_means_what_the_same_json_means() -> None:
    body = pod(hostNetwork=True, nodeSelector={"a": "b"})
    assert read(to_yaml(body), media=YAML)[0] == read(body)[0]


def test_yaml_is_version_one_point_one() -> None:
    text = b"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {hostNetwork: yes, containers: []}\n"
    assert read(text, media=YAML)[0]["spec"]["hostNetwork"] is True


def test_a_repeated_key_of_yaml_is_named_with_its_line() -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: a\n  k: b\n"
    warnings = read(text, gvk=("", "v1", "ConfigMap"), media=YAML)[1]
    assert warnings == ['yaml: unmarshal errors:\n  line 6: key "k" already set in map']


@pytest.mark.parametrize(
    ("given_", "kept"), [("1000m", "1"), ("1024Mi", "1Gi"), ("0.5", "500m"), (2, "2"), ("1e3", "1e3")]
)
def test_quantities_are_kept_in_canonical_form(given_: Any, kept: str) -> None:
    body = pod(containers=[{"name": "a", "image": "b", "resources": {"limits": {"memory": given_}}}])
    assert read(body)[0]["spec"]["containers"][0]["resources"]["limits"]["memory"] == kept


def test_a_quantity_that_is_none_is_refused() -> None:
    body = pod(containers=[{"name": "a", "image": "b", "resources": {"limits": {"memory": "lots"}}}])
    assert "quantities must match the regular expression" in refusal(body).message


def test_times_are_kept_in_utc_to_the_second() -> None:
    body = pod()
    body["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05.678+02:00"
    assert read(body)[0]["metadata"]["deletionTimestamp"] == "2026-01-02T01:04:05Z"


def test_empty_optional_fields_are_not_kept() -> None:
    obj = read(pod(hostname="", nodeSelector={}, hostNetwork=False, tolerations=[]))[0]
    assert set(obj["spec"]) == {"containers"}


def test_null_is_the_same_as_nothing() -> None:
    assert read(pod(hostname=None, volumes=None))[0] == read(pod())[0]


def test_bytes_must_be_base64() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "%%%"}}
    assert "illegal base64 data at input byte 0" in refusal(secret, gvk=("", "v1", "Secret")).message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "unexpected end of JSON input"),
        (b'{"kind":"Pod"}{', "after top-level value"),
        (b'{"apiVersion":"v1","kind":"Nonsense"}', 'no kind "Nonsense" is registered for version "v1"'),
    ],
)
def test_bodies_that_are_no_pod_are_refused(body: bytes, words: str) -> None:
    error = refusal(body)
    assert error.code == 400
    assert words in error.message


NAMES = st.text("abc", min_size=1, max_size=3)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "hostname": NAMES,
            "hostNetwork": st.booleans(),
            "priority": st.integers(-9, 9),
            "nodeSelector": st.dictionaries(NAMES, NAMES, max_size=2),
            "tolerations": st.lists(st.fixed_dictionaries({"key": NAMES}), max_size=2),
        },
    )
)
def test_what_was_decoded_decodes_to_itself(spec: Object) -> None:
    once = read(pod(**spec))[0]
    assert read(once) == (once, [])
    type_ = SCHEMA.by_gvk(*POD)
    assert type_ is not None
    assert convert(type_, once) == (once, [])


CRD = ("apiextensions.k8s.io", "v1", "CustomResourceDefinition")


def definition(**schema: Any) -> Object:
    properties = {"a": {"type": "array", **schema}}
    version = {"name": "v1", "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": {"versions": [version]}}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"items": ["x"]}, "cannot unmarshal string into Go struct field {}.items of type v1.JSONSchemaProps"),
        ({"items": {"properties": 3}},
         "cannot unmarshal number into Go struct field {}.items of type map[string]v1.JSONSchemaProps"),
        ({"additionalProperties": {"items": {"type": 4}}},
         "cannot unmarshal number into Go struct field {}.additionalProperties of type string"),
        ({"additionalProperties": "x"}, "boolean or JSON schema expected"),
        ({"items": {"additionalItems": 1}}, "boolean or JSON schema expected"),
        ({"dependencies": {"b": [1]}}, "cannot unmarshal number into Go struct field {}.dependencies of type string"),
    ],
)
def test_schemas_within_schemas_are_decoded_apart(schema: Object, words: str) -> None:
    place = "JSONSchemaProps.spec.versions.schema.openAPIV3Schema.properties"
    assert refusal(definition(**schema), gvk=CRD).status["message"].endswith(words.format(place))


def test_schemas_within_schemas_are_never_decoded_strictly() -> None:
    given_ = definition(items={"type": "string", "bogus": 1, "default": {"any": [1]}}, additionalProperties=False)
    decoded, _ = read(given_, "Strict", CRD)
    (version,) = decoded["spec"]["versions"]
    kept = {"type": "array", "items": {"type": "string", "default": {"any": [1]}}, "additionalProperties": False}
    assert version["schema"]["openAPIV3Schema"]["properties"]["a"] == kept
