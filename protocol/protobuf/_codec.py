"""Between protobuf messages and JSON-like objects.

It owns the envelope and the types whose JSON differs from their fields (times, quantities,
int-or-string, raw JSON, schema unions). It validates nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from protocol.protobuf._pool import META, FieldSpec, message_class, message_name, spec

__all__ = ["MAGIC", "ProtobufError", "can_encode", "decode", "encode"]

MAGIC = b"k8s\x00"
UNKNOWN = "apimachinery.pkg.runtime.Unknown"
SCHEMA = "apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"

Object = dict[str, Any]


class ProtobufError(ValueError):
    """A body that is no Kubernetes protobuf, or of a kind that has none."""


def can_encode(group: str, version: str, kind: str) -> bool:
    """Whether the kind has a protobuf form."""
    return message_name(group, version, kind) is not None


def decode(body: bytes, default: tuple[str, str, str] | None = None) -> Object:
    """The object in `body`, with its apiVersion and kind; `default` is the (group, version, kind)
    to take when the envelope names none.

    Raises: ProtobufError.
    """
    if not body.startswith(MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    from google.protobuf.message import DecodeError

    envelope = message_class(UNKNOWN)()
    try:
        envelope.ParseFromString(body[len(MAGIC) :])
        api_version, kind = _text(envelope.f1.f1), _text(envelope.f1.f2)
        group, _, version = api_version.rpartition("/")
        if not kind and default is not None:
            group, version, kind = default
            api_version = f"{group}/{version}" if group else version
        name = message_name(group, version, kind)
        if name is None:
            raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}" in protobuf')
        message = message_class(name)()
        message.ParseFromString(envelope.f2)
        obj = _reader(name)(message)
    except ProtobufError:
        raise
    except (DecodeError, ValueError, OverflowError, OSError, RecursionError) as error:
        raise ProtobufError(f"cannot decode protobuf: {error}") from None
    return {"apiVersion": api_version, "kind": kind, **obj}


def encode(obj: Object) -> bytes:
    """`obj` in its envelope. Fields that the table does not know are left out.

    Raises: ProtobufError for a kind that has no protobuf form, or a value of the wrong type.
    """
    api_version, kind = str(obj.get("apiVersion", "")), str(obj.get("kind", ""))
    group, _, version = api_version.rpartition("/")
    name = message_name(group, version, kind)
    if name is None:
        raise ProtobufError(f"{api_version} {kind} has no protobuf form")
    envelope = message_class(UNKNOWN)()
    envelope.f1.f1, envelope.f1.f2 = api_version, kind
    message = message_class(name)()
    try:
        _writer(name)(message, obj)
    except (TypeError, ValueError, AttributeError) as error:
        raise ProtobufError(f"cannot encode {kind}: {error}") from None
    envelope.f2 = message.SerializeToString(deterministic=True)
    envelope.f3 = envelope.f4 = ""
    return MAGIC + bytes(envelope.SerializeToString())


# -- Reading -----------------------------------------------------------------------------------

Reader = Callable[[Any], Any]


@cache
def _reader(name: str) -> Reader:
    """What turns a message of this name into its JSON form."""
    special = _READERS.get(name)
    if special is not None:
        return special
    found = spec(name)
    if found is None:
        raise ProtobufError(f"unknown message {name}")
    if found.is_list:
        return lambda message: list(message.f1)
    by_number = {field.number: field for field in found.fields}

    def read(message: Any) -> Object:
        obj: Object = {}
        for descriptor, value in message.ListFields():
            field = by_number[descriptor.number]
            if field.shape == "^":
                obj.update(_reader(field.kind)(value))
            else:
                obj[field.name] = _read_value(field, value)
        return obj

    return read


def _read_value(field: FieldSpec, value: Any) -> Any:
    kind = field.kind
    if len(kind) == 1:
        if kind == "b":
            return _each(field, value, lambda data: base64.b64encode(data).decode())
        if kind == "s":
            return _each(field, value, _text)
        if field.shape == "*":
            return list(value)
        return dict(value) if field.shape == "%" else value
    return _each(field, value, _reader(kind))


def _each(field: FieldSpec, value: Any, read: Reader) -> Any:
    if field.shape == "*":
        return [read(item) for item in value]
    if field.shape == "%":
        return {_text(key): read(item) for key, item in value.items()}
    return read(value)


def _text(value: Any) -> str:
    if type(value) is not str:  # the runtime hands out bytes for what is not UTF-8
        raise ProtobufError("text that is not UTF-8")
    return value


def _read_time(message: Any) -> str | None:
    if not message.HasField("f1") and not message.HasField("f2"):
        return None
    moment = datetime.fromtimestamp(message.f1, UTC)
    if moment.year <= 1:
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _read_micro_time(message: Any) -> str | None:
    text = _read_time(message)
    return None if text is None else f"{text[:-1]}.{message.f2 // 1000:06d}Z"


def _read_int_or_string(message: Any) -> int | str:
    return str(message.f3) if message.f1 == 1 else int(message.f2)


def _read_raw(message: Any) -> Any:
    raw = message.f1
    if not raw:
        return None
    return decode(raw) if raw.startswith(MAGIC) else json.loads(raw)


def _read_schema_or_bool(message: Any) -> Any:
    return _reader(SCHEMA)(message.f2) if message.HasField("f2") else bool(message.f1)


def _read_schema_or_array(message: Any) -> Any:
    if message.f2:
        return [_reader(SCHEMA)(item) for item in message.f2]
    return _reader(SCHEMA)(message.f1)


def _read_schema_or_strings(message: Any) -> Any:
    return list(message.f2) if message.f2 else _reader(SCHEMA)(message.f1)


# -- Writing -----------------------------------------------------------------------------------

Writer = Callable[[Any, Any], None]


@cache
def _writer(name: str) -> Writer:
    """What fills a message of this name from its JSON form."""
    special = _WRITERS.get(name)
    if special is not None:
        return special
    found = spec(name)
    if found is None:
        raise ProtobufError(f"unknown message {name}")
    if found.is_list:
        return lambda message, value: message.f1.extend(value or ())
    named = {field.name: field for field in found.fields if field.shape != "^"}
    inlined = [field for field in found.fields if field.shape == "^"]
    inner = {field.number: _own_names(field.kind) for field in inlined}

    def write(message: Any, obj: Object) -> None:
        for key, value in obj.items():
            field = named.get(key)
            if field is not None:
                if value is not None:
                    _write_value(message, field, value)
                continue
            for outer in inlined:
                if key in inner[outer.number]:
                    target = getattr(message, f"f{outer.number}")
                    target.SetInParent()
                    _writer(outer.kind)(target, {key: value})

    return write


@cache
def _own_names(name: str) -> frozenset[str]:
    """The JSON names of a message's fields, those of its inlined messages too."""
    found = spec(name)
    names: set[str] = set()
    for field in found.fields if found is not None else ():
        names |= _own_names(field.kind) if field.shape == "^" else {field.name}
    return frozenset(names)


def _write_value(message: Any, field: FieldSpec, value: Any) -> None:
    attribute, kind = f"f{field.number}", field.kind
    if len(kind) == 1:
        convert = _bytes if kind == "b" else float if kind == "d" else _same
        if field.shape == "*":
            getattr(message, attribute).extend([convert(item) for item in value])
        elif field.shape == "%":
            target = getattr(message, attribute)
            for key, item in value.items():
                target[key] = convert(item)
        else:
            setattr(message, attribute, convert(value))
        return
    write, target = _writer(kind), getattr(message, attribute)
    if field.shape == "*":
        for item in value:
            write(target.add(), item)
    elif field.shape == "%":
        for key, item in value.items():
            write(target[key], item)
    else:
        target.SetInParent()
        write(target, value)


def _same(value: Any) -> Any:
    return value


def _bytes(value: str | None) -> bytes:
    return base64.b64decode(value or "")  # a map may hold null for nothing


def _write_time(message: Any, value: str) -> None:
    moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    message.f1 = int(moment.replace(microsecond=0).timestamp())
    message.f2 = moment.microsecond * 1000


def _write_quantity(message: Any, value: Any) -> None:
    message.f1 = str(value)


def _write_int_or_string(message: Any, value: int | str) -> None:
    if isinstance(value, str):
        message.f1, message.f2, message.f3 = 1, 0, value
    else:
        message.f1, message.f2, message.f3 = 0, value, ""


def _write_raw(message: Any, value: Any) -> None:
    message.f1 = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _write_schema_or_bool(message: Any, value: Any) -> None:
    if isinstance(value, bool):
        message.f1 = value
    else:
        message.f1 = True
        message.f2.SetInParent()
        _writer(SCHEMA)(message.f2, value)


def _write_schema_or_array(message: Any, value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _writer(SCHEMA)(message.f2.add(), item)
    else:
        message.f1.SetInParent()
        _writer(SCHEMA)(message.f1, value)


def _write_schema_or_strings(message: Any, value: Any) -> None:
    if isinstance(value, list):
        message.f2.extend(value)
    else:
        message.f1.SetInParent()
        _writer(SCHEMA)(message.f1, value)


_QUANTITY = "apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "apimachinery.pkg.util.intstr.IntOrString"
_RAW = ("apimachinery.pkg.runtime.RawExtension", f"{META}.FieldsV1", f"{SCHEMA.rpartition('.')[0]}.JSON")
_READERS: dict[str, Reader] = {
    f"{META}.Time": _read_time,
    f"{META}.MicroTime": _read_micro_time,
    f"{META}.Duration": lambda message: f"{message.f1 / 1e9:g}s",
    _QUANTITY: lambda message: message.f1,
    _INT_OR_STRING: _read_int_or_string,
    **dict.fromkeys(_RAW, _read_raw),
    f"{SCHEMA}OrBool": _read_schema_or_bool,
    f"{SCHEMA}OrArray": _read_schema_or_array,
    f"{SCHEMA}OrStringArray": _read_schema_or_strings,
}
_WRITERS: dict[str, Writer] = {
    f"{META}.Time": _write_time,
    f"{META}.MicroTime": _write_time,
    _QUANTITY: _write_quantity,
    _INT_OR_STRING: _write_int_or_string,
    **dict.fromkeys(_RAW, _write_raw),
    f"{SCHEMA}OrBool": _write_schema_or_bool,
    f"{SCHEMA}OrArray": _write_schema_or_array,
    f"{SCHEMA}OrStringArray": _write_schema_or_strings,
}
