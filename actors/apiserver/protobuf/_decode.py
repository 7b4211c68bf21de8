"""From protobuf to the JSON form of an object.

Owns the wire types, and the few messages whose JSON is no object (times, quantities, ...). Hostile
input raises `ProtobufError` and nothing else.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import base64
import struct
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

__all__ = ["ProtobufError", "unwrap"]

MAGIC = b"k8s\0"
_MAX_DEPTH = 64
_META = "k8s.io.apimachinery.pkg.apis.meta.v1."
_EXTENSIONS = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1."
_NANOS_PER_S = 1_000_000_000


class ProtobufError(ValueError):
    """The bytes are not what they should be; the text says where."""


class _Field(NamedTuple):
    name: str
    type: str
    repeated: bool
    map: bool
    inline: bool


@cache
def _table() -> dict[str, str]:
    table: dict[str, str] = orjson.loads((Path(__file__).parent / "fields.json").read_bytes())
    return table


@cache
def _fields(message: str) -> dict[int, _Field]:
    line = _table().get(message)
    if line is None:
        raise ProtobufError(f"no message {message} is known")
    out = {}
    for word in line.split():
        name, _, rest = word.partition("=")
        number, _, kind = rest.partition(":")
        inline = kind.endswith("!")
        kind = kind.rstrip("!")
        out[int(number)] = _Field(name, kind.lstrip("*%"), kind[:1] == "*", kind[:1] == "%", inline)
    return out


def unwrap(data: bytes, group: str, version: str, kind: str) -> dict[str, Any]:
    """The object in an enveloped body. `group`, `version` and `kind` are used when it names none.

    Raises `ProtobufError`.
    """
    if data[:4] != MAGIC:
        raise ProtobufError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        return _unwrap(data[4:], group, version, kind)
    except (IndexError, struct.error, UnicodeDecodeError, OverflowError, RecursionError) as error:
        raise ProtobufError(f"unexpected EOF ({type(error).__name__})") from None


def _unwrap(data: bytes, group: str, version: str, kind: str) -> dict[str, Any]:
    api_version, found, raw = "", "", b""
    for number, _, value in _read(data):
        if number == 1:
            for inner, _, text in _read(_bytes(value)):
                if inner == 1:
                    api_version = _bytes(text).decode()
                elif inner == 2:
                    found = _bytes(text).decode()
        elif number == 2:
            raw = _bytes(value)
    if api_version:
        group, _, version = api_version.rpartition("/")
    obj = _message(message_name(group, version, found or kind), raw, 0)
    obj["apiVersion"] = f"{group}/{version}" if group else version
    obj["kind"] = found or kind
    return obj


def message_name(group: str, version: str, kind: str) -> str:
    """The message of a kind: `("apps", "v1", "Deployment")` is `k8s.io.api.apps.v1.Deployment`."""
    if group == "apiextensions.k8s.io":
        return f"{_EXTENSIONS}{kind}"
    if kind.endswith("Options") and kind in ("DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions"):
        return f"{_META}{kind}"
    package = _PACKAGES.get(group) or group.split(".")[0] or "core"
    return f"k8s.io.api.{package}.{version}.{kind}"


_PACKAGES = {"rbac.authorization.k8s.io": "rbac", "flowcontrol.apiserver.k8s.io": "flowcontrol"}


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ProtobufError("wrong wireType")
    return value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
        if shift > 63:
            raise ProtobufError("integer overflow")


def _read(data: bytes) -> list[tuple[int, int, Any]]:
    """The fields of a message: number, wire type, value."""
    out: list[tuple[int, int, Any]] = []
    at, size = 0, len(data)
    while at < size:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            out.append((number, wire, value))
        elif wire == 2:
            length, at = _varint(data, at)
            if at + length > size:
                raise ProtobufError("unexpected EOF")
            out.append((number, wire, data[at : at + length]))
            at += length
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
            if at + length > size:
                raise ProtobufError("unexpected EOF")
            out.append((number, wire, struct.unpack("<d" if wire == 1 else "<f", data[at : at + length])[0]))
            at += length
        else:
            raise ProtobufError(f"illegal wireType {wire}")
    return out


def _message(name: str, data: bytes, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ProtobufError("nested too deeply")
    special = _SPECIAL.get(name)
    if special is not None:
        return special(data, depth)
    fields = _fields(name)
    out: dict[str, Any] = {}
    for number, wire, value in _read(data):
        field = fields.get(number)
        if field is None:
            continue
        if field.map:
            key, item = _entry(field, _bytes(value), depth)
            out.setdefault(field.name, {})[key] = item
        elif field.repeated:
            if wire == 2 and field.type in ("i", "o"):  # packed
                out.setdefault(field.name, []).extend(_packed(field.type, _bytes(value)))
            else:
                out.setdefault(field.name, []).append(_value(field.type, value, depth))
        elif field.inline:
            out.update(_message(field.type, _bytes(value), depth + 1))
        else:
            out[field.name] = _value(field.type, value, depth)
    return out


def _packed(kind: str, data: bytes) -> list[Any]:
    out, at = [], 0
    while at < len(data):
        number, at = _varint(data, at)
        out.append(_value(kind, number, 0))
    return out


def _entry(field: _Field, data: bytes, depth: int) -> tuple[str, Any]:
    key, item = "", _ZERO.get(field.type)
    for number, _, value in _read(data):
        if number == 1:
            key = _bytes(value).decode()
        elif number == 2:
            item = _value(field.type, value, depth)
    if item is None:
        item = _message(field.type, b"", depth + 1)
    return key, item


_ZERO: dict[str, Any] = {"s": "", "b": "", "i": 0, "o": False, "d": 0.0}


def _value(kind: str, value: Any, depth: int) -> Any:
    if kind == "s":
        return _bytes(value).decode()
    if kind == "i":
        if not isinstance(value, int):
            raise ProtobufError("wrong wireType")
        return value - (1 << 64) if value >= 1 << 63 else value
    if kind == "o":
        return bool(value)
    if kind == "b":
        return base64.b64encode(_bytes(value)).decode()
    if kind == "d":
        return float(value)
    return _message(kind, _bytes(value), depth + 1)


# --- messages whose JSON is no object ---------------------------------------------------------


def _numbers(data: bytes) -> dict[int, Any]:
    return {number: value for number, _, value in _read(data)}


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _time(data: bytes, depth: int, micro: bool = False) -> str | None:
    found = _numbers(data)
    if not found:
        return None
    seconds, nanos = _signed(found.get(1, 0)), found.get(2, 0)
    try:
        when = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OSError):
        raise ProtobufError("time out of range") from None
    text = when.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanos // 1000:06d}Z" if micro else text + "Z"


def _micro_time(data: bytes, depth: int) -> str | None:
    return _time(data, depth, True)


def _duration(data: bytes, depth: int) -> str:
    total = _signed(_numbers(data).get(1, 0))
    sign, total = ("-", -total) if total < 0 else ("", total)
    seconds, nanos = divmod(total, _NANOS_PER_S)
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    text = f"{hours}h" if hours else ""
    if hours or minutes:
        text += f"{minutes}m"
    return f"{sign}{text}{left}{fraction}s"


def _quantity(data: bytes, depth: int) -> str:
    return bytes(_numbers(data).get(1, b"0")).decode() or "0"


def _int_or_string(data: bytes, depth: int) -> Any:
    found = _numbers(data)
    if found.get(1, 0) == 1:
        return bytes(found.get(3, b"")).decode()
    return _signed(found.get(2, 0))


def _raw(data: bytes, depth: int) -> Any:
    raw = bytes(_numbers(data).get(1, b""))
    if not raw:
        return None
    try:
        return orjson.loads(raw)
    except ValueError:
        raise ProtobufError("embedded JSON does not parse") from None


def _items(kind: str) -> Any:
    def read(data: bytes, depth: int) -> list[Any]:
        return [_value(kind, value, depth) for number, _, value in _read(data) if number == 1]

    return read


def _schema_or(word: str) -> Any:
    def read(data: bytes, depth: int) -> Any:
        found: Any = None
        many: list[Any] = []
        for number, _, value in _read(data):
            if word == "array":
                if number == 1:
                    found = _message(_EXTENSIONS + "JSONSchemaProps", _bytes(value), depth + 1)
                else:
                    many.append(_message(_EXTENSIONS + "JSONSchemaProps", _bytes(value), depth + 1))
            elif word == "bool":
                if number == 1:
                    found = bool(value) if found is None else found
                else:
                    found = _message(_EXTENSIONS + "JSONSchemaProps", _bytes(value), depth + 1)
            elif number == 1:
                found = _message(_EXTENSIONS + "JSONSchemaProps", _bytes(value), depth + 1)
            else:
                many.append(_bytes(value).decode())
        return many or found

    return read


_SPECIAL: dict[str, Any] = {
    _META + "Time": _time,
    _META + "MicroTime": _micro_time,
    _META + "Duration": _duration,
    _META + "FieldsV1": _raw,
    _META + "Verbs": _items("s"),
    "k8s.io.apimachinery.pkg.api.resource.Quantity": _quantity,
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    "k8s.io.apimachinery.pkg.runtime.RawExtension": _raw,
    "k8s.io.api.authentication.v1.ExtraValue": _items("s"),
    "k8s.io.api.authorization.v1.ExtraValue": _items("s"),
    "k8s.io.api.certificates.v1.ExtraValue": _items("s"),
    _EXTENSIONS + "JSON": _raw,
    _EXTENSIONS + "JSONSchemaPropsOrArray": _schema_or("array"),
    _EXTENSIONS + "JSONSchemaPropsOrBool": _schema_or("bool"),
    _EXTENSIONS + "JSONSchemaPropsOrStringArray": _schema_or("strings"),
}
