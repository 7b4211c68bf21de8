"""Field errors: what validation says about one field, in Kubernetes' words.

Owns the constructors of `FieldError` and the rendering of bad values
(`k8s.io/apimachinery/pkg/util/validation/field`). Knows no kind. A path is plain text such as
`spec.containers[0].name`; the validators build it as they descend.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

__all__ = [
    "OMIT",
    "FieldError",
    "duplicate",
    "forbidden",
    "go_json",
    "internal",
    "invalid",
    "not_found",
    "not_supported",
    "quote",
    "required",
    "too_few",
    "too_long",
    "too_many",
    "type_invalid",
]


class FieldError(NamedTuple):
    """One cause of an Invalid status."""

    type: str
    """The cause's reason, e.g. `FieldValueRequired`."""
    field: str
    message: str
    """Without the field: `Required value: ...`, `Invalid value: "x": ...`."""


class _Omit:
    """Marks that a bad value is not to be shown."""


OMIT = _Omit()

_PLAIN = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}


def quote(text: str) -> str:
    """Text in double quotes as Go's `%q` writes it."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    out = []
    for char in text:
        if char in '"\\':
            out.append("\\" + char)
        elif char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif char.isprintable():
            out.append(char)
        elif ord(char) < 0x80:
            out.append(f"\\x{ord(char):02x}")
        elif ord(char) <= 0xFFFF:
            out.append(f"\\u{ord(char):04x}")
        else:
            out.append(f"\\U{ord(char):08x}")
    return '"' + "".join(out) + '"'


def go_json(value: Any) -> str:
    """JSON as Go's encoder writes it: no spaces, HTML characters escaped, map keys in order given."""
    return orjson.dumps(value).decode().translate(_PLAIN)


def _shown(value: Any) -> str:
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, (int, float)):
        return str(value)
    return go_json(value)


def _with(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text


def required(field: str, detail: str = "") -> FieldError:
    """A value is missing."""
    return FieldError("FieldValueRequired", field, _with("Required value", detail))


def forbidden(field: str, detail: str = "") -> FieldError:
    """A value that is well formed must not be given here."""
    return FieldError("FieldValueForbidden", field, _with("Forbidden", detail))


def invalid(field: str, value: Any, detail: str = "") -> FieldError:
    """A malformed value. `OMIT` as value leaves it out of the text."""
    text = "Invalid value" if value is OMIT else "Invalid value: " + _shown(value)
    return FieldError("FieldValueInvalid", field, _with(text, detail))


def type_invalid(field: str, value: Any, detail: str = "") -> FieldError:
    """A value of the wrong type, as custom resources' schemas find."""
    text = "Invalid value: " + _shown(value)
    return FieldError("FieldValueTypeInvalid", field, _with(text, detail))


def not_found(field: str, value: Any) -> FieldError:
    """A name that refers to nothing."""
    return FieldError("FieldValueNotFound", field, "Not found: " + _shown(value))


def duplicate(field: str, value: Any) -> FieldError:
    """A value that must be unique, seen again."""
    return FieldError("FieldValueDuplicate", field, "Duplicate value: " + _shown(value))


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    """A value outside an enumeration; `supported` is shown in the order given."""
    listed = ", ".join(quote(str(item)) for item in supported)
    detail = f"supported values: {listed}" if listed else ""
    text = "Unsupported value: " + _shown(value)
    return FieldError("FieldValueNotSupported", field, _with(text, detail))


def too_long(field: str, max_bytes: int) -> FieldError:
    """Text of more than `max_bytes` bytes; a negative limit is not shown."""
    detail = f"may not be more than {max_bytes} bytes" if max_bytes >= 0 else "value is too long"
    if max_bytes == 1:
        detail = "may not be more than 1 byte"
    return FieldError("FieldValueTooLong", field, f"Too long: {detail}")


def too_many(field: str, actual: int, max_items: int) -> FieldError:
    """A list of more than `max_items` items."""
    noun = "item" if max_items == 1 else "items"
    detail = f"must have at most {max_items} {noun}" if max_items >= 0 else "has too many items"
    return FieldError("FieldValueTooMany", field, f"Too many: {actual}: {detail}")


def too_few(field: str, actual: int, min_items: int) -> FieldError:
    """A list of fewer than `min_items` items."""
    noun = "item" if min_items == 1 else "items"
    text = f"Too few: {actual}: must have at least {min_items} {noun}"
    return FieldError("FieldValueTooFew", field, text)


def internal(field: str, detail: str) -> FieldError:
    """Validation itself failed."""
    return FieldError("InternalError", field, f"Internal error: {detail}")
