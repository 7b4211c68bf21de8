"""OpenAPI documents as protobuf: the same content as their JSON, in gnostic's messages.

Owns the encoding. It must never say what a document contains. `swagger.tsv` and `openapi3.tsv` hold
the facts of gnostic's `OpenAPIv2.proto` and `OpenAPIv3.proto`: per message its fields as
`number key kind`, where a kind is a scalar's letter (s string, b bool, l int64, d double), `?` any
value (as YAML text), `~` the `x-...` members, `*` a list of, `%` a map to, or another message.
Messages that only choose between others (a schema or a reference, a body or a query parameter) are
functions here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

import orjson

__all__ = ["encode_v2", "encode_v3"]


class _Field(NamedTuple):
    number: int
    key: str
    shape: str
    kind: str


@lru_cache(maxsize=2)
def _messages(table: str) -> dict[str, tuple[_Field, ...]]:
    messages = {}
    for line in resources.files("actors.apiserver.openapi").joinpath(table).read_text().splitlines():
        name, *entries = line.split("\t")
        fields = []
        for entry in entries:
            number, key, kind = entry.split(" ")
            shape = kind[0] if kind[0] in "*%" else ""
            fields.append(_Field(int(number), key, shape, kind.removeprefix(shape)))
        messages[name] = tuple(fields)
    return messages


@lru_cache(maxsize=8192)
def _varint(number: int) -> bytes:
    out = bytearray()
    number &= 0xFFFFFFFFFFFFFFFF
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _bytes(number: int, data: bytes) -> bytes:
    size = len(data)
    return _varint(number << 3 | 2) + (_varint(size)) + data


def _scalar(number: int, kind: str, value: Any) -> bytes:
    """Nothing for a zero value, as proto3 has it."""
    if kind == "s":
        return _bytes(number, value.encode()) if value else b""
    if kind == "b":
        return _varint(number << 3) + b"\x01" if value else b""
    if kind == "l":
        return _varint(number << 3) + _varint(int(value)) if value else b""
    return _varint(number << 3 | 1) + struct.pack("<d", value) if value else b""


@lru_cache(maxsize=4096)
def _yaml(text: bytes) -> bytes:
    """`text` (JSON) as a message that carries a value's YAML."""
    value = orjson.loads(text)
    if isinstance(value, (dict, list)) and value:
        import yaml

        return _bytes(2, yaml.safe_dump(value, sort_keys=True, default_flow_style=False, width=1 << 20).encode())
    if isinstance(value, str) and value.replace("-", "").isalpha() and value.lower() not in _WORDS:
        return _bytes(2, value.encode() + b"\n")
    return _bytes(2, text + b"\n")


_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n", "-", ""))


def _any(value: Any) -> bytes:
    return _yaml(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def _named(number: int, key: str, data: bytes) -> bytes:
    return _bytes(number, _bytes(1, key.encode()) + _bytes(2, data))


class _Encoder:
    """One version's messages: `table` holds their fields, `choices` what is decided by looking at the value."""

    def __init__(self, table: str, choices: Mapping[str, Callable[[_Encoder, Any], bytes]], apart: Mapping[str, tuple[str, ...]]) -> None:
        self._fields = _messages(table)
        self._choices = choices
        self._apart = apart
        """By message: the members (or beginnings of their names) that are not entries of its map."""

    def message(self, name: str, value: Any) -> bytes:
        """A value (a JSON tree) as this message, without its own length."""
        choose = self._choices.get(name)
        if choose is not None:
            return choose(self, value)
        if name.endswith("OrReference"):
            if "$ref" in value:
                return _bytes(2, _reference(value))
            return _bytes(1, self.message(name.removesuffix("OrReference"), value))
        out: list[bytes] = []
        for number, key, shape, kind in self._fields[name]:
            if kind == "~":
                out += [_named(number, word, _any(item)) for word, item in value.items() if word.startswith("x-")]
            elif shape == "%":
                apart = self._apart.get(name, ())
                out += [_named(number, word, item.encode() if kind == "s" else self.message(kind, item))
                        for word, item in value.items() if not word.startswith(apart)]
            elif key in value:
                for item in value[key] if shape else (value[key],):
                    out.append(self._one(number, kind, item, bool(shape)))
        return b"".join(out)

    def _one(self, number: int, kind: str, item: Any, repeated: bool) -> bytes:
        if kind == "?":
            return _bytes(number, _any(item))
        if len(kind) == 1:
            return _bytes(number, item.encode()) if repeated else _scalar(number, kind, item)
        return _bytes(number, self.message(kind, item))


def _reference(value: Any) -> bytes:
    return _scalar(1, "s", value["$ref"]) + _scalar(2, "s", value.get("description", ""))


def _strings(_: _Encoder, value: Any) -> bytes:
    return b"".join(_bytes(1, item.encode()) for item in ([value] if isinstance(value, str) else value))


def _additional(schema: str) -> Callable[[_Encoder, Any], bytes]:
    def encode(encoder: _Encoder, value: Any) -> bytes:
        if isinstance(value, bool):
            return _varint(2 << 3) + bytes([value])
        return _bytes(1, encoder.message(schema, value))

    return encode


def _items(schema: str) -> Callable[[_Encoder, Any], bytes]:
    def encode(encoder: _Encoder, value: Any) -> bytes:
        return b"".join(_bytes(1, encoder.message(schema, item)) for item in (value if isinstance(value, list) else [value]))

    return encode


def _parameter(encoder: _Encoder, value: Any) -> bytes:
    if "$ref" in value:
        return _bytes(2, _reference(value))
    if value["in"] == "body":
        inner = _bytes(1, encoder.message("BodyParameter", value))
    else:
        is_path = value["in"] == "path"
        kind = "PathParameter" if is_path else "QueryParameter"
        inner = _bytes(2, _bytes(4 if is_path else 3, encoder.message(kind, value)))
    return _bytes(1, inner)


def _response(encoder: _Encoder, value: Any) -> bytes:
    return _bytes(2, _reference(value)) if "$ref" in value else _bytes(1, encoder.message("Response", value))


def _default(_: _Encoder, value: Any) -> bytes:
    """A number, a boolean or a string: gnostic keeps of any other default that there is one."""
    if isinstance(value, bool):
        return _varint(2 << 3) + bytes([value])
    if isinstance(value, (int, float)):
        return _varint(1 << 3 | 1) + struct.pack("<d", value)
    return _bytes(3, value.encode()) if isinstance(value, str) else b""


_CHOICES_V2 = {
    "AdditionalPropertiesItem": _additional("Schema"),
    "ItemsItem": _items("Schema"),
    "ParametersItem": _parameter,
    "ResponseValue": _response,
    "SchemaItem": lambda encoder, value: _bytes(1, encoder.message("Schema", value)),
    "SecurityDefinitionsItem": lambda encoder, value: _bytes(2, encoder.message("ApiKeySecurity", value)),
    "StringArray": _strings,
    "TypeItem": _strings,
}
_CHOICES_V3 = {
    "AdditionalPropertiesItem": _additional("SchemaOrReference"),
    "DefaultType": _default,
    "ItemsItem": _items("SchemaOrReference"),
    "StringArray": _strings,
}


def encode_v2(document: dict[str, Any]) -> bytes:
    """A Swagger 2.0 document (a JSON tree) as gnostic's `openapi.v2.Document`."""
    return _Encoder("swagger.tsv", _CHOICES_V2, {"Paths": ("x-",), "Responses": ("x-",)}).message("Document", document)


def encode_v3(document: dict[str, Any]) -> bytes:
    """An OpenAPI 3.0 document (a JSON tree) as gnostic's `openapi.v3.Document`."""
    return _Encoder("openapi3.tsv", _CHOICES_V3, {"Paths": ("x-",), "Responses": ("x-", "default")}).message("Document", document)
