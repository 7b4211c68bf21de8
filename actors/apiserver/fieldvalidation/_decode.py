"""From the bytes of a write's body to the object it means.

Owns the errors of a body that is not the expected kind. It must never touch the store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.apiserver.fieldvalidation._careful import word_for
from actors.apiserver.fieldvalidation._convert import convert
from actors.apiserver.fieldvalidation._errors import DecodeFailure, strict_message
from actors.apiserver.fieldvalidation._gojson import parse_json, to_json
from actors.apiserver.fieldvalidation._yaml import parse_yaml
from protocol import protobuf, status
from protocol.api import StatusError
from protocol.schema import Schema, Type

__all__ = ["DIRECTIVES", "decode", "decode_kind", "parse_body"]

DIRECTIVES = ("", "Ignore", "Strict", "Warn")
_HEADER_TYPE = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
_SCHEME = "pkg/api/legacyscheme/scheme.go:30"

GVK = tuple[str, str, str]


class Body:
    """A parsed body: its value, its JSON text, whether that repeats keys, strict findings so far, and
    whether members count as ordered by name (they were YAML)."""

    __slots__ = ("ordered", "raw", "repeated", "strict", "value")

    def __init__(
        self,
        value: Any,
        raw: bytes | None = None,
        repeated: bool = False,
        strict: list[str] | None = None,
        ordered: bool = False,
    ) -> None:
        self.value = value
        self.raw = raw
        self.repeated = repeated
        self.strict = strict or []
        self.ordered = ordered


def parse_body(raw: Any, media_type: str = "application/json") -> Body:
    """Bytes of JSON or YAML, or an object that is parsed already. Raises `DecodeFailure`."""
    if not isinstance(raw, (bytes, bytearray, memoryview, str)):
        return Body(raw)
    data = raw.encode() if isinstance(raw, str) else bytes(raw)
    if data.startswith(protobuf.MAGIC):
        try:
            return Body(protobuf.decode(data))
        except protobuf.ProtobufError as error:
            raise DecodeFailure(str(error)) from None
    if "yaml" in media_type:
        value, duplicates = parse_yaml(data)
        return Body(value, strict=[duplicates] if duplicates else [], ordered=True)
    value, repeated = parse_json(data)
    return Body(value, data, repeated)


def decode_kind(value: Any) -> tuple[str, str]:
    """`apiVersion` and `kind` of a parsed body. Raises `DecodeFailure` when they cannot be read."""
    prefix = "couldn't get version/kind; json parse error: json: cannot unmarshal"
    if value is None:
        return "", ""
    if not isinstance(value, dict):
        raise DecodeFailure(f"{prefix} {word_for(value)} into Go value of type {_HEADER_TYPE}")
    words = []
    for field in ("apiVersion", "kind"):
        word = value.get(field)
        if word is not None and not isinstance(word, str):
            raise DecodeFailure(f"{prefix} {word_for(word)} into Go struct field .{field} of type string")
        words.append(word or "")
    if words[0].count("/") > 1:
        raise DecodeFailure(f"unexpected GroupVersion string: {words[0]}")
    return words[0], words[1]


def summarize(raw: Any, limit: int = 30) -> str:
    """The start of a body for an error: text when it looks like JSON, else hexadecimal."""
    data = raw if isinstance(raw, bytes) else to_json(raw)
    if not data:
        return "<empty>"
    text = data[:limit].decode("utf-8", "replace") if data[:1] == b"{" else data[:limit].hex()
    return text + " ..." if len(data) > limit else text


def decode(
    schema: Schema,
    expected: GVK,
    raw: Any,
    directive: str = "Warn",
    media_type: str = "application/json",
    accepts: Callable[[GVK], Type | None] | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """The object that a body means and the warnings that its strict errors become.

    `raw`: bytes, or an object of an in-process client (which is left alone). `accepts`: the type
    for a kind other than the expected one that the resource takes too. Raises `StatusError` (400).
    """
    kind = expected[2]
    try:
        body = parse_body(raw, media_type)
    except DecodeFailure as failure:
        words = str(failure)
        if "yaml" not in media_type:
            words = f"couldn't get version/kind; json parse error: {words}"
        raise _unrecognized(kind, words, raw) from None
    try:
        api_version, found_kind = decode_kind(body.value)
    except DecodeFailure as failure:
        raise _unrecognized(kind, str(failure), raw) from None
    found = _with_defaults(api_version, found_kind, expected)
    type_ = schema.by_gvk(*expected)
    foreign = found != expected
    if foreign:
        type_ = accepts(found) if accepts is not None else None
        if type_ is not None:
            foreign = False
        else:
            type_ = schema.by_gvk(*found)
    if type_ is None:
        shown = f"{found[0]}/{found[1]}" if found[0] else found[1]
        raise _cannot_handle(
            found, kind, f'no kind "{found[2]}" is registered for version "{shown}" in scheme "{_SCHEME}"'
        )
    obj, strict = _typed(type_, body, found, kind)
    if strict and directive == "Strict":
        raise _cannot_handle(found, kind, strict_message(strict))
    if foreign:
        raise _foreign(found, expected)
    obj["apiVersion"] = f"{found[0]}/{found[1]}" if found[0] else found[1]
    obj["kind"] = found[2]
    return obj, strict if directive != "Ignore" else []


def _typed(type_: Type, body: Body, found: GVK, kind: str) -> tuple[dict[str, Any], list[str]]:
    try:
        obj, strict = convert(
            type_, body.value or {}, body.raw, careful=body.repeated, ordered=body.ordered
        )
    except DecodeFailure as failure:
        raise _cannot_handle(found, kind, str(failure)) from None
    return obj, body.strict + strict


def _with_defaults(api_version: str, kind: str, expected: GVK) -> GVK:
    if not api_version:
        return expected[0], expected[1], kind or expected[2]
    group, _, version = api_version.rpartition("/")
    return group, version, kind or expected[2]


def _unrecognized(kind: str, words: str, raw: Any) -> StatusError:
    return status.bad_request(f"the object provided is unrecognized (must be of type {kind}): {words} ({summarize(raw)})")


def _cannot_handle(found: GVK, kind: str, words: str) -> StatusError:
    return status.bad_request(f'{found[2]} in version "{found[1]}" cannot be handled as a {kind}: {words}')


def _foreign(found: GVK, expected: GVK) -> StatusError:
    if found[0] == expected[0] and found[2] == expected[2]:
        shown = f"{found[0]}/{found[1]}" if found[0] else found[1]
        wanted = f"{expected[0]}/{expected[1]}" if expected[0] else expected[1]
        return status.bad_request(
            f"the API version in the data ({shown}) does not match the expected API version ({wanted})"
        )
    package = expected[0].split(".")[0] or "core"
    words = f"converting ({found[1]}.{found[2]}) to ({package}.{expected[2]}): unknown conversion"
    return _cannot_handle(found, expected[2], words)
