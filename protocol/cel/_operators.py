"""Operators and conversions: arithmetic within 64 bits, indexing, membership, casts.

Owns what CEL's own operators mean for values. It must never know expressions or costs.

Source: cel-spec doc/langdef.md "Standard Definitions"; words as in github.com/google/cel-go/common/types
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

from protocol.cel._times import checked, duration_text, parse_duration, parse_timestamp, timestamp_text
from protocol.cel._values import (
    INT_MAX,
    INT_MIN,
    NONE,
    UINT_MAX,
    Duration,
    Failure,
    MapList,
    Opaque,
    Optional,
    SetList,
    Timestamp,
    TypeName,
    Uint,
    a_key,
    compare,
    equal,
    no_overload,
    shown,
    type_name,
)

__all__ = ["OPERATORS", "convert", "find", "index", "inside", "select"]

_SECOND = 1_000_000_000
_SPANS = ("google.protobuf.Timestamp", "google.protobuf.Duration")


def _int(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise Failure("integer overflow")


def _uint(value: int) -> Uint:
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise Failure("unsigned integer overflow")


def _duration(value: int) -> Duration:
    if INT_MIN <= value <= INT_MAX:
        return Duration(value)
    raise Failure("duration overflow")


def _numeric(a: Any, b: Any) -> str:
    """The type of two numbers that go together. Raises `Failure`."""
    name = type_name(a)
    if name not in ("int", "uint", "double") or name != type_name(b):
        raise no_overload()
    return name


def add(a: Any, b: Any) -> Any:
    """`a + b`"""
    if type(a) is int and type(b) is int:
        return _int(a + b)
    name, other = type_name(a), type_name(b)
    if name in ("string", "bytes", "double") and name == other:
        return a + b
    if name == "list" and other == "list":
        return _joined(a, b)
    if name in _SPANS and other in _SPANS:
        if name == other == _SPANS[1]:
            return _duration(int(a) + int(b))
        if name != other:
            return checked(int(a) + int(b), (a if name == _SPANS[0] else b).offset_s)
    if name not in ("string", "bytes", "double", "list", "int", "uint", *_SPANS):
        raise Failure("no such overload: _+_")
    return _uint(int(a) + int(b)) if _numeric(a, b) == "uint" else _int(a + b)


def _joined(a: list[Any], b: list[Any]) -> list[Any]:
    """Two lists after each other; a set takes what it lacks, a map list replaces what it has."""
    if isinstance(a, SetList):
        out: list[Any] = SetList(a)
        out += [item for item in b if not any(equal(item, mine) for mine in a)]
        return out
    if isinstance(a, MapList):
        merged = MapList(a)
        merged.fields = a.fields
        places = {a_key(item, a.fields): i for i, item in enumerate(a)}
        for item in b:
            place = places.get(a_key(item, a.fields))
            if place is None:
                merged.append(item)
            else:
                merged[place] = item
        return merged
    return [*a, *b]


def subtract(a: Any, b: Any) -> Any:
    """`a - b`"""
    if type(a) is int and type(b) is int:
        return _int(a - b)
    name, other = type_name(a), type_name(b)
    if name in _SPANS and other in _SPANS:
        if name == _SPANS[0]:
            return _duration(int(a) - int(b)) if other == name else checked(int(a) - int(b), a.offset_s)
        if other == name:
            return _duration(int(a) - int(b))
    if name not in ("int", "uint", "double", *_SPANS):
        raise Failure("no such overload: _-_")
    kind = _numeric(a, b)
    return a - b if kind == "double" else _uint(int(a) - int(b)) if kind == "uint" else _int(a - b)


def multiply(a: Any, b: Any) -> Any:
    """`a * b`"""
    if type_name(a) not in ("int", "uint", "double"):
        raise Failure("no such overload: _*_")
    kind = _numeric(a, b)
    return a * b if kind == "double" else _uint(int(a) * int(b)) if kind == "uint" else _int(a * b)


def divide(a: Any, b: Any) -> Any:
    """`a / b`; integers towards zero."""
    if type_name(a) not in ("int", "uint", "double"):
        raise Failure("no such overload: _/_")
    kind = _numeric(a, b)
    if kind == "double":
        if b == 0:
            return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)
        return a / b
    if b == 0:
        raise Failure("division by zero")
    quotient = abs(int(a)) // abs(int(b))
    if kind == "uint":
        return Uint(quotient)
    return _int(-quotient if (a < 0) != (b < 0) else quotient)


def modulo(a: Any, b: Any) -> Any:
    """`a % b`, with the sign of `a`."""
    if type_name(a) not in ("int", "uint"):
        raise Failure("no such overload: _%_")
    kind = _numeric(a, b)
    if b == 0:
        raise Failure("modulus by zero")
    rest = abs(int(a)) % abs(int(b))
    return Uint(rest) if kind == "uint" else -rest if a < 0 else rest


def negate(a: Any) -> Any:
    """`-a`"""
    name = type_name(a)
    if name == "double":
        return -a
    if name == "int":
        return _int(-a)
    if name == "google.protobuf.Duration":
        return _duration(-int(a))
    raise Failure("no such overload: -_" if name != "bool" else "no such overload")


def _not(a: Any) -> bool:
    if not isinstance(a, bool):
        raise no_overload()
    return not a


def _ordered(test: Callable[[int], bool], name: str) -> Callable[[Any, Any], bool]:
    def run(a: Any, b: Any) -> bool:
        if type(a) is type(b) and type(a) in (int, str):
            return test((a > b) - (a < b))
        if isinstance(a, (dict, list)) or a is None:
            raise Failure(f"no such overload: {name}")
        return test(compare(a, b))

    return run


OPERATORS: dict[str, Callable[..., Any]] = {
    "_+_": add,
    "_-_": subtract,
    "_*_": multiply,
    "_/_": divide,
    "_%_": modulo,
    "-_": negate,
    "!_": _not,
    "_<_": _ordered(lambda order: order < 0, "_<_"),
    "_<=_": _ordered(lambda order: order <= 0, "_<=_"),
    "_>_": _ordered(lambda order: order > 0, "_>_"),
    "_>=_": _ordered(lambda order: order >= 0, "_>=_"),
    "_==_": equal,
    "_!=_": lambda a, b: not equal(a, b),
}


# --- members ----------------------------------------------------------------------------------

_MISSING = object()


def find(holder: Any, key: Any) -> tuple[bool, Any]:
    """Whether there is a field, an entry or an item, and what it is. Raises `Failure`."""
    if isinstance(holder, dict):
        value = holder.get(key, _MISSING) if _is_key(key) else _MISSING
        return (False, None) if value is _MISSING else (True, value)
    if isinstance(holder, list):
        place = _place(key)
        return (True, holder[place]) if 0 <= place < len(holder) else (False, None)
    if isinstance(holder, Optional):
        return find(holder.value, key) if holder.held else (False, None)
    finder = getattr(holder, "find", None) if isinstance(holder, Opaque) else None
    return finder(key) if finder is not None else (False, None)


def _is_key(key: Any) -> bool:
    return isinstance(key, (str, int, float))


def _place(key: Any) -> int:
    if isinstance(key, bool) or not isinstance(key, (int, float)):
        raise Failure(f"unsupported index type '{type_name(key)}' in list")
    if isinstance(key, float) and not key.is_integer():
        raise Failure(f"unsupported index value {shown(key)} in list")
    return int(key)


def select(holder: Any, key: Any) -> Any:
    """A field or an entry. Raises `Failure` when it is missing."""
    if isinstance(holder, dict):
        value = holder.get(key, _MISSING) if _is_key(key) else _MISSING
        if value is not _MISSING:
            return value
        raise Failure(f"no such key: {shown(key)}")
    if isinstance(holder, list):
        place = _place(key)
        if 0 <= place < len(holder):
            return holder[place]
        raise Failure(f"index out of bounds: {place}")
    if isinstance(holder, Optional):
        held, value = find(holder, key)
        return Optional(True, value) if held else NONE
    held, value = find(holder, key)
    if held:
        return value
    raise Failure(f"no such key: {shown(key)}")


index = select


def inside(item: Any, holder: Any) -> bool:
    """`item in holder`"""
    if isinstance(holder, list):
        if type(item) is str:
            return item in holder
        if type(item) is int and item not in (0, 1):  # 0 and 1 are False and True to Python
            return item in holder
        return any(equal(item, other) for other in holder)
    if isinstance(holder, dict) and _is_key(item):
        return item in holder
    raise no_overload()


# --- conversions ------------------------------------------------------------------------------


def _refuse(value: Any, target: str) -> Failure:
    return Failure(f"type conversion error from '{type_name(value)}' to '{target}'")


def _to_int(value: Any) -> int:
    if isinstance(value, bool):
        raise _refuse(value, "int")
    if isinstance(value, Timestamp):
        return int(value) // _SECOND
    if isinstance(value, int):
        return _int(int(value))
    if isinstance(value, float):
        if math.isnan(value) or math.isinf(value) or not -(2**63) < value < 2**63:
            raise Failure("integer overflow")
        return int(value)
    if isinstance(value, str) and _INTEGER(value):
        number = int(value)
        if INT_MIN <= number <= INT_MAX:
            return number
    raise _refuse(value, "int")


def _INTEGER(text: str) -> bool:
    digits = text[1:] if text[:1] in ("-", "+") else text
    return digits.isascii() and digits.isdigit()


def _to_uint(value: Any) -> Uint:
    if isinstance(value, (bool, Timestamp, Duration)):
        raise _refuse(value, "uint")
    if isinstance(value, int):
        return _uint(int(value))
    if isinstance(value, float):
        if math.isnan(value) or not 0 <= value < 2**64:
            raise Failure("unsigned integer overflow")
        return Uint(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and int(value) <= UINT_MAX:
        return Uint(value)
    raise _refuse(value, "uint")


def _to_double(value: Any) -> float:
    if isinstance(value, (bool, Timestamp, Duration)):
        raise _refuse(value, "double")
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, str) and value.strip() == value and "_" not in value:
        try:
            return float(value)
        except ValueError:
            pass
    raise _refuse(value, "double")


_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in _TRUE + _FALSE:
        return value in _TRUE
    raise _refuse(value, "bool")


def _to_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise _refuse(value, "bytes")


def double_text(value: float) -> str:
    """A double in Go's shortest form (`%g` without an exponent below 21 digits)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    exponent = math.floor(math.log10(abs(value)))
    if -5 < exponent < 21:
        text = repr(value)
        if "e" in text:
            return str(int(value)) if value.is_integer() else format(value, "f").rstrip("0")
        return text.removesuffix(".0")
    mantissa, _, power = repr(value).partition("e")
    if not power:
        mantissa, _, power = format(value, "e").partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa.removesuffix('.0')}e{int(power):+03d}"


def to_text(value: Any) -> str:
    """A value as `string()` writes it."""
    if isinstance(value, TypeName) or type(value) is str:
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Timestamp):
        return timestamp_text(value)
    if isinstance(value, Duration):
        return duration_text(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return double_text(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Failure("invalid UTF-8 in bytes, cannot convert to string") from None
    if isinstance(value, Opaque) and hasattr(value, "text"):
        return str(value.text)
    raise _refuse(value, "string")


def _to_timestamp(value: Any) -> Timestamp:
    if isinstance(value, Timestamp):
        return value
    if type(value) is int:
        return checked(value * _SECOND)
    if isinstance(value, str):
        try:
            return parse_timestamp(value)
        except ValueError:
            pass
    raise _refuse(value, "google.protobuf.Timestamp")


def _to_duration(value: Any) -> Duration:
    if isinstance(value, Duration):
        return value
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError:
            pass
    raise _refuse(value, "google.protobuf.Duration")


convert: dict[str, Callable[[Any], Any]] = {
    "int": _to_int,
    "uint": _to_uint,
    "double": _to_double,
    "bool": _to_bool,
    "bytes": _to_bytes,
    "string": to_text,
    "timestamp": _to_timestamp,
    "duration": _to_duration,
    "dyn": lambda value: value,
    "type": lambda value: TypeName(type_name(value)),
}


def base64_bytes(text: str) -> bytes:
    """The bytes that a text in base64 stands for. Raises `ValueError`."""
    return base64.b64decode(text, validate=True)
