"""The document of `/openapi/v2` as protobuf: the same content as its JSON, in gnostic's messages.

Owns the encoding. It must never say what the document contains. `swagger.tsv` holds the facts of
gnostic's `openapiv2/OpenAPIv2.proto`: per message its fields as `number key kind`, where a kind is
a scalar's letter (s string, b bool, l int64, d double), `?` any value (as YAML text), `~` the
`x-...` members, `*` a list of, `%` a map to, or another message. Messages that only choose between
others (a schema or a reference, a body or a query parameter) are functions here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

import orjson

__all__ = ["encode_document"]


class _Field(NamedTuple):
    number: int
    key: str
    shape: str
    kind: str


@lru_cache(maxsize=1)
def _messages() -> dict[str, tuple[_Field, ...]]:
    table = {}
    for line in resources.files("actors.apiserver.openapi").joinpath("swagger.tsv").read_text().splitlines():
        name, *entries = line.split("\t")
        fields = []
        for entry in entries:
            number, key, kind = entry.split(" ")
            shape = kind[0] if kind[0] in "*%" else ""
            fields.append(_Field(int(number), key, shape, kind.removeprefix(shape)))
        table[name] = tuple(fields)
    return table


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


def _message(name: str, value: Any) -> bytes:
    """A value (a JSON tree) as this message, without its own length."""
    choose = _CHOICES.get(name)
    if choose is not None:
        return choose(value)
    out: list[bytes] = []
    for number, key, shape, kind in _messages()[name]:
        if kind == "~":
            out += [_named(number, word, _any(item)) for word, item in value.items() if word.startswith("x-")]
        elif shape == "%":
            extended = name in ("Paths", "Responses")  # maps whose `x-...` members are not entries
            out += [_named(number, word, _message(kind, item)) for word, item in value.items()
                    if not (extended and word.startswith("x-"))]
        elif key in value:
            for item in value[key] if shape else (value[key],):
                out.append(_one(number, kind, item, bool(shape)))
    return b"".join(out)


def _one(number: int, kind: str, item: Any, repeated: bool) -> bytes:
    if kind == "?":
        return _bytes(number, _any(item))
    if len(kind) == 1:
        return _bytes(number, item.encode()) if repeated else _scalar(number, kind, item)
    return _bytes(number, _message(kind, item))


def _additional(value: Any) -> bytes:
    return _varint(2 << 3) + bytes([value]) if isinstance(value, bool) else _bytes(1, _message("Schema", value))


def _parameter(value: Any) -> bytes:
    if "$ref" in value:
        return _bytes(2, _reference(value))
    if value["in"] == "body":
        inner = _bytes(1, _message("BodyParameter", value))
    else:
        is_path = value["in"] == "path"
        inner = _bytes(2, _bytes(4 if is_path else 3, _message("PathParameter" if is_path else "QueryParameter", value)))
    return _bytes(1, inner)


def _reference(value: Any) -> bytes:
    return _scalar(1, "s", value["$ref"]) + _scalar(2, "s", value.get("description", ""))


def _response(value: Any) -> bytes:
    return _bytes(2, _reference(value)) if "$ref" in value else _bytes(1, _message("Response", value))


def _strings(value: Any) -> bytes:
    return b"".join(_bytes(1, item.encode()) for item in ([value] if isinstance(value, str) else value))


def _schemas(value: Any) -> bytes:
    return b"".join(_bytes(1, _message("Schema", item)) for item in (value if isinstance(value, list) else [value]))


_CHOICES: dict[str, Callable[[Any], bytes]] = {
    "AdditionalPropertiesItem": _additional,
    "ItemsItem": _schemas,
    "ParametersItem": _parameter,
    "ResponseValue": _response,
    "SchemaItem": lambda value: _bytes(1, _message("Schema", value)),
    "SecurityDefinitionsItem": lambda value: _bytes(2, _message("ApiKeySecurity", value)),
    "StringArray": _strings,
    "TypeItem": _strings,
}


def encode_document(document: dict[str, Any]) -> bytes:
    """A Swagger 2.0 document (a JSON tree) as gnostic's `openapi.v2.Document`."""
    return _message("Document", document)
