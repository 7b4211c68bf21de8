"""Decoding request bodies: from bytes to clean objects of a type, as Go's typed decoder does it.

Owns parsing (JSON, YAML 1.1), type errors with Go's texts, unknown and duplicate fields, and the
form in which typed values are kept (canonical quantities and times, no empty optional fields).
It must never know of storage, defaults or validation rules.

    obj, warnings = decode(schema, ("", "v1", "Pod"), body, "Warn")

https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation
"""

from __future__ import annotations

from actors.apiserver.fieldvalidation._convert import convert, empty
from actors.apiserver.fieldvalidation._decode import DIRECTIVES, decode, decode_kind, parse_body
from actors.apiserver.fieldvalidation._errors import DecodeFailure, strict_message
from actors.apiserver.fieldvalidation._gojson import measured, parse_json, to_json
from actors.apiserver.fieldvalidation._yaml import parse_yaml, to_yaml

__all__ = [
    "DIRECTIVES",
    "DecodeFailure",
    "convert",
    "decode",
    "decode_kind",
    "empty",
    "measured",
    "parse_body",
    "parse_json",
    "parse_yaml",
    "strict_message",
    "to_json",
    "to_yaml",
]
