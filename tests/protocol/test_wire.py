"""The msgpack wire: what goes in comes out; what is no message raises one error."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import wire
from protocol.api import ApiRequest, Resource
from protocol.etcd import Put, Txn, Watch
from protocol.message import Address, Message
from protocol.wire import WireError, decode, encode


class Place:
    """An address of the test."""

    def __init__(self, urn: str) -> None:
        self.actor_urn = urn

    def tell(self, message: Any) -> None:
        """Never used."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and other.actor_urn == self.actor_urn

    def __hash__(self) -> int:
        return hash(self.actor_urn)


wire.message_type("etcd.Put")
TYPES = sorted(wire._types.values(), key=lambda kind: (kind.__module__, kind.__qualname__))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
times = st.datetimes(
    min_value=datetime.datetime(1971, 1, 1), max_value=datetime.datetime(2200, 1, 1), timezones=st.just(datetime.UTC)
)


def values(hint: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a field's declared type."""
    if hint is Any:
        return json_values | times
    if hint is None or hint is type(None):
        return st.none()
    if hint is Address:
        return st.builds(Place, st.text(max_size=20))
    simple = {
        str: st.text(max_size=20),
        bytes: st.binary(max_size=40),
        bool: st.booleans(),
        int: st.integers(-(2**63), 2**63),
        float: st.floats(allow_nan=False),
    }
    if hint in simple:
        return simple[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        options = [a for a in arguments if depth < 2 or not (isinstance(a, type) and issubclass(a, Message))]
        return st.one_of([values(a, depth) for a in options])
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0], depth + 1), max_size=3 if depth < 2 else 0).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(a, depth) for a in arguments))
    if origin is list:
        return st.lists(values(arguments[0], depth + 1), max_size=3)
    if origin in (dict, Mapping):
        return st.dictionaries(values(arguments[0], depth + 1), values(arguments[1], depth + 1), max_size=3)
    if origin is Literal:
        return st.sampled_from(arguments)
    return messages(hint, depth + 1)


def messages(kind: type, depth: int = 0) -> st.SearchStrategy[Any]:
    """Messages of one type."""
    return st.fixed_dictionaries({n: values(h, depth) for n, h in get_type_hints(kind).items()}).flatmap(
        lambda fields: st.just(_built(kind, fields)).filter(lambda built: built is not None)
    )


def _built(kind: type, fields: dict[str, Any]) -> Any:
    try:
        return kind(**fields)
    except (TypeError, ValueError):  # a message that refuses these fields
        return None


def test_every_message_of_the_protocol_is_known_to_the_wire() -> None:
    assert {"etcd.Put", "etcd.WatchResponse", "api.ApiRequest", "api.WatchEvents"} <= {wire._name_of(t) for t in TYPES}


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: wire._name_of(kind))
def test_a_message_comes_back_as_it_went(kind: type[Message]) -> None:
    @given(messages(kind))
    @settings(max_examples=15, database=None)
    def round_trip(message: Message) -> None:
        assert decode(encode(message), Place) == message

    round_trip()


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_random_bytes_raise_one_error(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data, Place)


sample = st.sampled_from([
    encode(Put(b"key", b"value" * 10, lease=7)),
    encode(Txn(success=(Put(b"a"), Txn(failure=(Put(b"b"),))))),
    encode(ApiRequest("get", Resource("apps", "v1", "deployments"), body={"a": [1, {"b": None}]}, watcher=Place("x"))),
    encode(Watch(Place("watcher"), 3, b"/registry/")),
])  # fmt: skip


@given(sample, st.data())
@settings(max_examples=300)
def test_damaged_frames_raise_that_error_or_are_another_message(frame: bytes, data: st.DataObject) -> None:
    damaged = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = decode(bytes(damaged), Place)
    except WireError:
        return
    assert decode(encode(message), Place) == message


@given(sample, st.integers(1, 200))
@settings(max_examples=100)
def test_truncated_frames_raise_that_error(frame: bytes, cut: int) -> None:
    with pytest.raises(WireError):
        decode(frame[: max(len(frame) - cut, 0)], Place)


def test_a_deeply_nested_frame_is_refused_without_exhausting_the_stack() -> None:
    nested = b""
    for _ in range(10_000):
        nested = msgpack.packb([msgpack.ExtType(wire.EXT_TUPLE, nested or msgpack.packb([]))])
        if len(nested) > 200_000:
            break
    frame = msgpack.packb([1, "etcd.Put", [msgpack.ExtType(wire.EXT_TUPLE, nested)] + [None] * 5])
    with pytest.raises(WireError):
        decode(frame)
    with pytest.raises(WireError):
        decode(b"\x91" * 100_000)


def test_a_length_that_lies_is_refused() -> None:
    with pytest.raises(WireError):
        decode(b"\xdd\xff\xff\xff\xff" + b"\x00" * 10)
    with pytest.raises(WireError):
        decode(b"\xc6\xff\xff\xff\xff")


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([2, "etcd.Compact", [1, False]], "version"),
        ([1, "etcd.Nothing", []], "unknown message type"),
        ([1, "etcd.Compact", [1]], "has 2 fields"),
        ([1, "etcd.Compact", ["one", False]], "etcd.Compact.revision cannot be str"),
        ([True, "etcd.Compact", [1, False]], "version"),
        ([1, "etcd.Compact"], r"\[version, type, fields\]"),
        ({}, r"\[version, type, fields\]"),
    ],
)
def test_a_wrong_frame_is_told_what_is_wrong(parts: Any, text: str) -> None:
    with pytest.raises(WireError, match=text):
        decode(msgpack.packb(parts))


def test_too_large_a_frame_is_refused_on_both_sides() -> None:
    big = Put(b"k", b"x" * (wire.MAX_FRAME_BYTES + 1))
    with pytest.raises(WireError, match="bytes"):
        encode(big)
    with pytest.raises(WireError, match="larger"):
        decode(b"\x00" * (wire.MAX_FRAME_BYTES + 1))


def test_what_has_no_form_on_the_wire_is_refused_by_name() -> None:
    with pytest.raises(WireError, match="no form on the wire for set"):
        encode(ApiRequest("get", Resource("", "v1", "pods"), body={"a": {1, 2}}))
    with pytest.raises(WireError, match="time zone"):
        encode(ApiRequest("get", Resource("", "v1", "pods"), body=datetime.datetime(2026, 1, 1)))
    with pytest.raises(WireError):
        encode(ApiRequest("get", Resource("", "v1", "pods"), body=2**70))


def test_an_address_needs_somebody_who_can_resolve_it() -> None:
    frame = encode(Watch(Place("w"), 1, b"k"))
    with pytest.raises(WireError, match="address"):
        decode(frame)
    assert decode(frame, Place).watcher == Place("w")  # type: ignore[attr-defined]
