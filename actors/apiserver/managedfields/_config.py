"""Reading the body of an apply request: YAML or JSON, repeated keys noticed."""

from __future__ import annotations

from typing import Any

from actors.apiserver.fieldvalidation import DecodeFailure, parse_json, parse_yaml
from protocol import status

__all__ = ["read_config"]


def read_config(body: Any, directive: str = "Warn") -> tuple[dict[str, Any], list[str]]:
    """The applied configuration and warnings. Raises `StatusError` (400)."""
    if not isinstance(body, (bytes, str)):
        return body or {}, []
    raw = body.encode() if isinstance(body, str) else body
    strict = ""
    try:
        value, strict = _read(raw)
    except DecodeFailure as failure:
        raise status.bad_request(f"error decoding patch: error converting YAML to JSON: {failure}") from None
    if value is None:
        value = {}
    if not isinstance(value, dict):
        word = "array" if isinstance(value, list) else "string" if isinstance(value, str) else "number"
        raise status.bad_request(
            "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal"
            f" {word} into Go value of type map[string]interface {{}}"
        )
    if strict and directive != "Ignore":
        strict = f"error converting YAML to JSON: {strict}"
        if directive == "Strict":
            raise status.bad_request(f"error strict decoding patch: {strict}")
        return value, [strict]
    return value, []


def _read(raw: bytes) -> tuple[Any, str]:
    if raw.lstrip()[:1] == b"{":
        try:
            value, repeated = parse_json(raw)
        except DecodeFailure:
            return parse_yaml(raw)
        if not repeated:
            return value, ""
    return parse_yaml(raw)
