"""The msgpack wire: messages as bytes, and nothing else from bytes.

A frame is one msgpack array `[version, type name, fields]`, fields in the order of their
declaration. Times, addresses and nested messages are extension types. Decoding is strict: what
is malformed, truncated, too large, of an unknown type or of wrongly typed fields raises
`WireError` and never anything else.

| ext | holds                                                             |
|-----|-------------------------------------------------------------------|
| 1   | an actor's address: its urn as UTF-8 (decoded by the given resolver) |
| 2   | a nested message: a whole frame without the version                |
| 3   | a tuple of anything that msgpack would else turn into a list        |
| -1  | msgpack's own timestamp: a `datetime` with time zone UTC            |
"""

from __future__ import annotations

import datetime
import importlib
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgpack

from protocol.message import Address, Message

__all__ = ["MAX_FRAME_BYTES", "VERSION", "WireError", "decode", "encode", "message_type"]

VERSION = 1
MAX_FRAME_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 64  # nested messages and containers
MAX_ITEMS = 1_000_000  # entries of one list or map

EXT_ADDRESS, EXT_MESSAGE, EXT_TUPLE = 1, 2, 3

MODULES = ("protocol.etcd", "protocol.api", "protocol.cri", "protocol.http", "protocol.node")


class WireError(ValueError):
    """Bytes that are not a message of ours, or a value that cannot be put on the wire."""


_types: dict[str, type[Message]] = {}


def message_type(name: str) -> type[Message]:
    """The message class that the wire calls `module.Class`, e.g. `etcd.Put`.

    Raises: `WireError` for a name that is none.
    """
    if not _types:
        _load_types()
    found = _types.get(name)
    if found is None:
        raise WireError(f"unknown message type {name[:100]!r}")
    return found


def _load_types() -> None:
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for member in vars(module).values():
            if isinstance(member, type) and issubclass(member, Message) and member.__module__ == module_name:
                _types[_name_of(member)] = member


def _name_of(kind: type) -> str:
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__qualname__}"


# -- Encoding ----------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """One message as a frame.

    Raises: `WireError` when a field holds what the wire has no form for, or the frame is too big.
    """
    try:
        frame: bytes = msgpack.packb([VERSION, *_fields(message, 0)], use_bin_type=True, datetime=True)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise WireError(f"cannot encode {type(message).__name__}: {error}") from None
    if len(frame) > MAX_FRAME_BYTES:
        raise WireError(f"{type(message).__name__} takes {len(frame)} bytes, more than {MAX_FRAME_BYTES}")
    return frame


def _fields(message: Message, depth: int) -> list[Any]:
    kind = type(message)
    name = _name_of(kind)
    if message_type(name) is not kind:
        raise WireError(f"{kind.__name__} is not a message of the protocol")
    return [name, [_plain(getattr(message, field), depth + 1) for field in kind.__struct_fields__]]


def _plain(value: Any, depth: int) -> Any:
    """`value` in msgpack's own types and our extensions."""
    kind = type(value)
    if kind in (str, bytes, int, float, bool, type(None)):
        return value
    if depth > MAX_DEPTH:
        raise WireError("nested too deeply")
    if isinstance(value, dict):
        return {_key(k): _plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, tuple):
        packed = msgpack.packb([_plain(v, depth + 1) for v in value], use_bin_type=True, datetime=True)
        return msgpack.ExtType(EXT_TUPLE, packed)
    if isinstance(value, list):
        return [_plain(v, depth + 1) for v in value]
    if isinstance(value, Message):
        packed = msgpack.packb(_fields(value, depth), use_bin_type=True, datetime=True)
        return msgpack.ExtType(EXT_MESSAGE, packed)
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            raise WireError("a time on the wire has a time zone")
        return value.astimezone(datetime.UTC)
    if isinstance(value, (str, int, float, bytes)):  # enums and other subclasses travel as their base
        return value
    if isinstance(value, Address):
        return msgpack.ExtType(EXT_ADDRESS, value.actor_urn.encode())
    raise WireError(f"no form on the wire for {kind.__name__}")


def _key(key: Any) -> Any:
    if isinstance(key, (str, bytes, int)):
        return key
    raise WireError(f"a map key on the wire is text, bytes or a number, not {type(key).__name__}")


# -- Decoding ----------------------------------------------------------------------------------


def decode(frame: bytes, resolve: Callable[[str], Address] | None = None) -> Message:
    """The message in `frame`. `resolve(urn)` makes the addresses in it; without one, a frame
    with an address is refused.

    Raises: `WireError`, and only that, for everything that is not a valid frame.
    """
    if len(frame) > MAX_FRAME_BYTES:
        raise WireError(f"a frame of {len(frame)} bytes is larger than {MAX_FRAME_BYTES}")
    decoder = _Decoder(resolve)
    try:
        parts = decoder.unpack(frame)
        if type(parts) is not list or len(parts) != 3:
            raise WireError("a frame is [version, type, fields]")
        version, name, fields = parts
        if type(version) is not int or version != VERSION:
            raise WireError(f"wire version {version!r:.40} is not {VERSION}")
        return decoder.message(name, fields)
    except WireError:
        raise
    except RecursionError:
        raise WireError("nested too deeply") from None
    except Exception as error:  # whatever the libraries raise on hostile bytes, callers see one type
        raise WireError(f"not a frame: {error}") from error


class _Decoder:
    """One frame's decoding; it counts the depth of nested extensions."""

    def __init__(self, resolve: Callable[[str], Address] | None) -> None:
        self._resolve = resolve
        self._depth = 0

    def unpack(self, data: bytes) -> Any:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=False,
            timestamp=3,
            ext_hook=self._extension,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
        )

    def message(self, name: Any, fields: Any) -> Message:
        if type(name) is not str or type(fields) is not list:
            raise WireError("a message is a type name and a list of fields")
        kind = message_type(name)
        names = kind.__struct_fields__
        if len(fields) != len(names):
            raise WireError(f"{name} has {len(names)} fields, not {len(fields)}")
        try:
            return _checked(kind, dict(zip(names, fields)))
        except (TypeError, ValueError) as error:  # a message that refuses to be built wrong
            raise WireError(f"{name}: {error}") from None

    def _extension(self, code: int, data: bytes) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise WireError("nested too deeply")
        try:
            if code == EXT_TUPLE:
                items = self.unpack(data)
                if type(items) is not list:
                    raise WireError("a tuple on the wire holds a list")
                return tuple(items)
            if code == EXT_MESSAGE:
                parts = self.unpack(data)
                if type(parts) is not list or len(parts) != 2:
                    raise WireError("a nested message is [type, fields]")
                return self.message(*parts)
            if code == EXT_ADDRESS:
                if self._resolve is None:
                    raise WireError("an address where none is expected")
                return self._resolve(data.decode())
        finally:
            self._depth -= 1
        raise WireError(f"unknown extension {code}")


def _checked(kind: type[Message], fields: dict[str, Any]) -> Message:
    """A message whose fields have their declared types."""
    checks = _checks.get(kind)
    if checks is None:
        checks = _checks[kind] = {name: _check_for(hint) for name, hint in get_type_hints(kind).items()}
    for name, value in fields.items():
        if not checks[name](value):
            raise WireError(f"{_name_of(kind)}.{name} cannot be {type(value).__name__}")
    return kind(**fields)


_Check = Callable[[Any], bool]
_checks: dict[type, dict[str, _Check]] = {}


def _check_for(hint: Any) -> _Check:
    """A test whether a value has the type `hint`: the shapes that messages are declared with."""
    if hint is Any:
        return lambda value: True
    if hint is None or hint is type(None):
        return lambda value: value is None
    if hint is float:
        return lambda value: type(value) in (float, int)
    if hint in (str, bytes, int, bool):
        return lambda value: type(value) is hint
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        options = [_check_for(argument) for argument in arguments]
        return lambda value: any(option(value) for option in options)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        item = _check_for(arguments[0])
        return lambda value: type(value) is tuple and all(map(item, value))
    if origin is tuple:
        items = [_check_for(argument) for argument in arguments]
        return lambda value: (
            type(value) is tuple and len(value) == len(items) and all(check(v) for check, v in zip(items, value))
        )
    if origin is list:
        item = _check_for(arguments[0])
        return lambda value: type(value) is list and all(map(item, value))
    if origin in (dict, Mapping):
        key, item = (_check_for(argument) for argument in arguments)
        return lambda value: type(value) is dict and all(key(k) and item(v) for k, v in value.items())
    if origin is Literal:
        return lambda value: value in arguments and type(value) in map(type, arguments)
    if isinstance(hint, type):
        return lambda value: isinstance(value, hint)
    raise TypeError(f"the wire has no check for a field of type {hint}")
