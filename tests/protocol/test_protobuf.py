"""Kubernetes' protobuf: objects come back as they went, and hostile bytes raise one error."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import protobuf
from protocol.kinds import KINDS
from protocol.protobuf import MAGIC, ProtobufError, can_encode, decode, encode
from protocol.protobuf._pool import META, message_name, spec

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=8)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "s": TEXT,
    "b": st.binary(min_size=1, max_size=9).map(lambda b: base64.b64encode(b).decode()),
    "i": st.integers(-(2**31), 2**31 - 1),
    "l": st.integers(-(2**63), 2**63 - 1),
    "t": st.booleans(),
    "d": st.floats(allow_nan=False, allow_infinity=False),
}
SECONDS = st.datetimes(
    min_value=__import__("datetime").datetime(1971, 1, 1), max_value=__import__("datetime").datetime(2200, 1, 1)
)
SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    f"{META}.Time": SECONDS.map(lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ")),
    f"{META}.MicroTime": SECONDS.map(lambda t: t.strftime("%Y-%m-%dT%H:%M:%S.%fZ")),
    "apimachinery.pkg.api.resource.Quantity": st.sampled_from(["1", "500m", "2Gi", "0"]),
    "apimachinery.pkg.util.intstr.IntOrString": st.integers(0, 2**31 - 1) | TEXT,
    "apimachinery.pkg.runtime.RawExtension": st.fixed_dictionaries({"kind": TEXT, "n": st.integers(0, 9)}),
    f"{META}.FieldsV1": st.just({"f:metadata": {"f:labels": {".": {}}}}),
}


def values(kind: str, depth: int) -> st.SearchStrategy[Any]:
    if kind in SCALARS:
        return SCALARS[kind]
    if kind in SPECIAL:
        return SPECIAL[kind]
    if ".apiextensions." in kind and kind.rpartition(".")[2].startswith("JSON"):
        return st.nothing()
    found = spec(kind)
    assert found is not None
    if found.is_list:
        return st.lists(TEXT, min_size=1, max_size=2)
    return objects(kind, depth + 1)


def objects(name: str, depth: int = 0) -> st.SearchStrategy[Any]:
    found = spec(name)
    assert found is not None
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field in found.fields:
        if depth > 3 and len(field.kind) > 1:
            continue
        value = values(field.kind, depth)
        if value.is_empty:
            continue
        if field.shape == "*":
            fields[field.name] = st.lists(value, min_size=1, max_size=2)
        elif field.shape == "%":
            fields[field.name] = st.dictionaries(TEXT, value, min_size=1, max_size=2)
        elif field.shape == "":
            fields[field.name] = value
        elif depth <= 3:
            inner = spec(field.kind)
            assert inner is not None
            for own in inner.fields[:2]:
                fields[own.name] = values(own.kind, depth + 1) if not own.shape else st.nothing()
    fields = {k: v for k, v in fields.items() if not v.is_empty}
    keys = st.lists(st.sampled_from(sorted(fields)), unique=True, max_size=4) if fields else st.just([])
    return keys.flatmap(lambda chosen: st.fixed_dictionaries({k: fields[k] for k in chosen}))


STORED = sorted({(k.group, k.version, k.kind) for k in KINDS if can_encode(k.group, k.version, k.kind)})


@given(st.sampled_from(STORED), st.data())
@settings(max_examples=200)
def test_an_object_comes_back_as_it_went(gvk: tuple[str, str, str], data: st.DataObject) -> None:
    group, version, kind = gvk
    name = message_name(group, version, kind)
    assert name is not None
    body = data.draw(objects(name))
    body = {k: v for k, v in body.items() if k not in ("apiVersion", "kind")}
    obj = {"apiVersion": f"{group}/{version}" if group else version, "kind": kind, **body}
    assert decode(encode(obj)) == obj


def test_every_built_in_kind_has_a_protobuf_form_except_those_upstream_serves_as_json_only() -> None:
    without = {(k.group, k.version, k.kind) for k in KINDS if not can_encode(k.group, k.version, k.kind)}
    assert not without


def test_a_schemas_unions_keep_their_form() -> None:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "a": {"type": "array", "items": {"type": "string"}, "default": ["x"]},
            "b": {"additionalProperties": {"type": "integer"}, "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]},
    }
    assert decode(encode(crd)) == crd


def test_null_in_a_map_is_nothing() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"a": None, "b": "Yg=="}}
    assert decode(encode(secret)) == {**secret, "data": {"a": "", "b": "Yg=="}}
    extra = {"x": None, "y": ["z"]}
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": {"user": {"extra": extra}}}
    assert decode(encode(review))["status"]["user"]["extra"] == {"x": [], "y": ["z"]}


@given(st.binary(max_size=100))
def test_bytes_that_are_no_object_raise_one_error(data: bytes) -> None:
    for body in (data, MAGIC + data):
        try:
            decode(body)
        except ProtobufError:
            pass


@given(st.data())
@settings(max_examples=200)
def test_damaged_objects_raise_that_error_or_are_others(data: st.DataObject) -> None:
    body = bytearray(
        encode(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "web", "labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c"}]},
            }
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(4, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(body))
    except ProtobufError:
        pass


def test_a_kind_that_nobody_registered_is_named_in_the_error() -> None:
    with pytest.raises(ProtobufError, match="Widget"):
        protobuf.encode({"apiVersion": "example.com/v1", "kind": "Widget"})
