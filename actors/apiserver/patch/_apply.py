"""A patch request: the body read, applied, the result decoded again, and the errors of each step.

Owns which HTTP error each failure is. What decodes the patched object is a parameter, so custom
resources come with their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from actors.apiserver.fieldvalidation import DecodeFailure, convert, parse_json, strict_message
from actors.apiserver.fieldvalidation._careful import walk, word_for
from actors.apiserver.patch import _json, _strategic
from actors.apiserver.patch._gotext import go_quote, go_value
from actors.apiserver.patch._restore import restore_words
from protocol import status
from protocol.api import StatusError
from protocol.objects import mutable
from protocol.schema import ANY, Type

__all__ = ["APPLY", "JSON", "MERGE", "STRATEGIC", "apply_json", "apply_merge", "apply_patch", "apply_strategic"]

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

MAX_OPERATIONS = 10_000

Object = dict[str, Any]
Decoder = Callable[[Object], tuple[Object, list[str]]]
"""Cleans a patched object: returns it and its strict errors, or raises `DecodeFailure`."""


class _PatchError(NamedTuple):
    type: str
    field: str
    message: str


def apply_patch(
    media_type: str,
    type_: Type | None,
    current: Object,
    patch: Any,
    directive: str = "Warn",
    decoder: Decoder | None = None,
) -> tuple[Object, list[str]]:
    """`current` (which is left alone) after a patch, and warnings. Raises `StatusError`.

    `patch`: bytes, or the parsed document. `type_` None with a `decoder`: a custom resource.
    """
    if media_type == JSON:
        return apply_json(type_, current, patch, directive, decoder)
    if media_type == MERGE:
        return apply_merge(type_, current, patch, directive, decoder)
    if media_type == STRATEGIC and type_ is not None:
        return apply_strategic(type_, current, patch, directive)
    raise status.unsupported_media_type((JSON, MERGE, APPLY))


def apply_json(
    type_: Type | None, current: Object, patch: Any, directive: str = "Warn", decoder: Decoder | None = None
) -> tuple[Object, list[str]]:
    """JSON patch; see `apply_patch`."""
    operations, strict = _read(patch, "[]handlers.jsonPatchOp", list, directive)
    if not isinstance(operations, list):
        operations = []
    for i, operation in enumerate(operations):
        if operation is not None and not isinstance(operation, dict):
            raise status.bad_request(
                f"error decoding patch: json: cannot unmarshal {word_for(operation)} into Go value of type handlers.jsonPatchOp"
            )
        for field in operation or ():
            if field not in ("op", "path", "from", "value"):
                strict.append(f'unknown field "[{i}].{field}"')
    strict = [f"json patch {words}" for words in strict] if directive != "Ignore" else []
    if len(operations) > MAX_OPERATIONS:
        raise status.request_entity_too_large(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        )
    try:
        patched = _json.apply_operations(mutable(current), operations)
    except _json.PatchProblem:
        # The reason stays on the server: clients read a generic text.
        raise status.unprocessable("the server rejected our request due to an error in our request") from None
    return _finish(type_, current, patched, strict, directive, decoder)


def apply_merge(
    type_: Type | None, current: Object, patch: Any, directive: str = "Warn", decoder: Decoder | None = None
) -> tuple[Object, list[str]]:
    """JSON merge patch; see `apply_patch`."""
    document, strict = _read(patch, "map[string]interface {}", dict, directive)
    if not isinstance(document, dict):
        if document is not None:
            raise status.bad_request("Invalid JSON Patch")
        document = {}
    patched = _json.merge(mutable(current), document)
    return _finish(type_, current, patched, strict, directive, decoder)


def _read(patch: Any, go: str, shape: type, directive: str) -> tuple[Any, list[str]]:
    """The patch document and its duplicate fields."""
    if not isinstance(patch, (bytes, str)):
        return patch, []
    raw = patch.encode() if isinstance(patch, str) else patch
    try:
        document, repeated = parse_json(raw)
    except DecodeFailure as failure:
        prefix = "" if directive == "Ignore" and shape is list else "error decoding patch: "
        raise status.bad_request(f"{prefix}{failure}") from None
    if document is not None and not isinstance(document, shape) and directive != "Ignore":
        raise status.bad_request(f"error decoding patch: json: cannot unmarshal {word_for(document)} into Go value of type {go}")
    strict = walk(ANY, None, raw, False)[1] if repeated and directive != "Ignore" else []
    return document, strict


def _finish(
    type_: Type | None, current: Object, patched: Any, strict: list[str], directive: str, decoder: Decoder | None
) -> tuple[Object, list[str]]:
    """Decode the patched document as if it had been sent whole."""
    text = _Lazy(patched)
    if not isinstance(patched, dict):
        raise _invalid(text, f"json: cannot unmarshal {word_for(patched)} into Go value of type v1.TypeMeta")
    _check_kind(current, patched, text)
    try:
        if decoder is not None:
            obj, more = decoder(patched)
        else:
            assert type_ is not None
            obj, more = convert(type_, patched, ordered=True)
    except DecodeFailure as failure:
        raise _invalid(text, str(failure)) from None
    strict = strict + more
    if strict and directive == "Strict":
        raise _invalid(text, strict_message(strict))
    obj["apiVersion"], obj["kind"] = current["apiVersion"], current["kind"]
    return obj, strict if directive != "Ignore" else []


class _Lazy:
    """The patched document as text, made when an error needs it."""

    def __init__(self, document: Any) -> None:
        self.document = document

    def __str__(self) -> str:
        return orjson.dumps(self.document, option=orjson.OPT_SORT_KEYS).decode()


def _check_kind(current: Object, patched: Object, text: _Lazy) -> None:
    kind, api_version = patched.get("kind"), patched.get("apiVersion")
    for field, value in (("apiVersion", api_version), ("kind", kind)):
        if value is not None and not isinstance(value, str):
            raise _invalid(
                text,
                "couldn't get version/kind; json parse error: json: cannot unmarshal"
                f" {word_for(value)} into Go struct field .{field} of type string",
            )
    if kind == current.get("kind") and api_version == current.get("apiVersion"):
        return
    if not kind:
        raise _invalid(text, f"Object 'Kind' is missing in '{text}'")
    if not api_version:
        raise _invalid(text, f"Object 'apiVersion' is missing in '{text}'")
    raise _invalid(
        text,
        f'no kind "{kind}" is registered for version "{api_version}" in scheme "pkg/api/legacyscheme/scheme.go:30"',
    )


def _invalid(shown: object, words: str) -> StatusError:
    message = f"Invalid value: {go_quote(str(shown))}: {words}"
    return status.invalid("", "", "", [_PatchError("FieldValueInvalid", "patch", message)])


def apply_strategic(type_: Type, current: Object, patch: Any, directive: str = "Warn") -> tuple[Object, list[str]]:
    """Strategic merge patch; see `apply_patch`."""
    strict: list[str] = []
    document = patch
    if isinstance(patch, (bytes, str)):
        raw = patch.encode() if isinstance(patch, str) else patch
        try:
            document, repeated = parse_json(raw)
        except DecodeFailure as failure:
            raise status.bad_request(str(failure)) from None
        if repeated and directive != "Ignore":
            strict = walk(ANY, None, raw, False)[1]
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise status.bad_request(
            f"json: cannot unmarshal {word_for(document)} into Go value of type map[string]interface {{}}"
        )
    document = mutable(document)
    try:
        patched = _strategic.merge_map(mutable(current), document, type_)
    except _strategic.Refused as problem:
        raise status.bad_request(str(problem)) from None
    except _strategic.Unprocessable:
        raise status.unprocessable("the server rejected our request due to an error in our request") from None
    except _strategic.Problem as problem:
        raise status.unknown_error(str(problem)) from None
    try:
        obj, more = convert(type_, patched, ordered=True)
    except DecodeFailure as failure:
        raise _invalid(go_value(document), restore_words(str(failure))) from None
    strict = strict + sorted(more)
    if strict and directive == "Strict":
        raise _invalid(go_value(document), strict_message(strict))
    obj["apiVersion"], obj["kind"] = current["apiVersion"], current["kind"]
    return obj, strict if directive != "Ignore" else []
