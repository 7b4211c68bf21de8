"""From a parsed body to a clean object of a type: one quick pass, a careful one when that fails.

The quick pass is a closure per type, compiled when first needed; it returns a new object that
shares nothing with its input, with canonical values, without empty optional fields and with the
fields that Go always writes. Anything odd raises `Unclean` and the careful pass (`_careful`)
names it. Owns the quick pass only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from actors.apiserver.fieldvalidation._careful import walk
from actors.apiserver.fieldvalidation._errors import DecodeFailure, Unclean
from actors.apiserver.fieldvalidation._values import (
    INTEGER_RANGES,
    base64_text,
    micro_time_text,
    quantity_text,
    time_text,
)
from protocol.schema import Field, Type

__all__ = ["convert", "empty", "quick"]

Pass = Callable[[Any], Any]
_Entry = tuple[type | None, Pass | None, bool]
_NULL_KINDS = frozenset({"list", "map", "time", "micro-time", "bytes", "any"})
_ZEROS: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "quantity": "0", "int-or-string": 0}


def convert(
    type_: Type, obj: Any, raw: bytes | None = None, *, careful: bool = False, ordered: bool = False
) -> tuple[Any, list[str]]:
    """A clean copy of `obj` and the strict errors found (unknown and duplicate fields).

    `raw`: the JSON text of `obj` where there is one, for the literals that errors quote. `careful`:
    it repeats keys, so the quick pass would miss something. `ordered`: fields are looked at in the
    order of their names, as after a patch. Raises `DecodeFailure` when a value does not fit.
    """
    if not careful:
        try:
            return quick(type_)(obj), []
        except (Unclean, DecodeFailure):
            pass
    return walk(type_, obj, raw, ordered)


def quick(type_: Type) -> Pass:
    """The quick pass of a type. It raises `Unclean` or `DecodeFailure`."""
    found = type_.cache.get("quick")
    if found is None:
        found = type_.cache["quick"] = _compile(type_)
    return cast(Pass, found)


def empty(field: Field) -> Any:
    """What Go writes for a field of this type that nobody set."""
    kind = field.type.kind
    if field.pointer or kind in _NULL_KINDS:
        return None
    if kind == "object":
        return quick(field.type)({})
    return _ZEROS.get(kind)


class _Entries(dict[str, _Entry]):
    """What to do with each field of a type; fields are compiled when they are first met."""

    def __init__(self, type_: Type) -> None:
        super().__init__()
        self.type = type_

    def __missing__(self, key: str) -> _Entry:
        field = self.type.fields.get(key)
        if field is None:
            if self.type.elem is not None:
                return (None, quick(self.type.elem), False)
            raise Unclean(key)
        entry = self[key] = _entry(field)
        return entry


def _entry(field: Field) -> _Entry:
    kind = field.type.kind
    omit = field.omit and not field.pointer
    if kind == "string":
        return (str, None, omit)
    if kind == "boolean":
        return (bool, None, omit)
    if kind == "integer":
        return (int, quick(field.type), omit)
    if kind in ("list", "map"):
        return (list if kind == "list" else dict, quick(field.type), omit)
    if kind == "object":
        return (dict, _later(field.type), False)
    if kind in ("time", "micro-time"):
        return (str, quick(field.type), False)
    if kind == "bytes":
        return (str, base64_text, omit)
    return (None, quick(field.type), False)


def _later(type_: Type) -> Pass:
    """The quick pass of a type that may contain itself."""

    def run(value: Any) -> Any:
        return quick(type_)(value)

    return cast(Pass, type_.cache.get("quick") or run)


def _compile(type_: Type) -> Pass:
    kind = type_.kind
    if kind == "object":
        return _object_pass(type_)
    if kind == "list":
        return _list_pass(type_.elem)
    if kind == "map":
        return _map_pass(type_.elem)
    if type_.choice is not None:
        return _choice_pass(type_.format, type_.choice)
    return {
        "string": _string,
        "boolean": _boolean,
        "number": _number,
        "quantity": _quantity,
        "int-or-string": _int_or_string,
        "time": _time,
        "micro-time": _micro_time,
        "bytes": _bytes,
        "any": _copy,
    }.get(kind) or _integer_pass(type_.format)


def _object_pass(type_: Type) -> Pass:
    entries = _Entries(type_)
    always = tuple((name, field) for name, field in type_.fields.items() if field.always)

    def run(obj: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(obj, dict):
            raise Unclean
        out: dict[str, Any] = {}
        for key, value in obj.items():
            cls, act, omit = entries[key]
            if value.__class__ is cls:
                if act is not None:
                    value = act(value)
                if value or not omit:
                    out[key] = value
            elif value is None:
                continue
            elif cls is None:
                out[key] = act(value) if act is not None else value
            else:
                raise Unclean(key)
        for name, field in always:
            if name not in out:
                out[name] = empty(field)
        return out

    return run


def _list_pass(elem: Type | None) -> Pass:
    if elem is None:
        return _copy
    if elem.kind == "string":

        def strings(value: list[Any]) -> list[Any]:
            for item in value:
                if item.__class__ is not str:
                    raise Unclean
            return value.copy()

        return strings

    def run(value: list[Any]) -> list[Any]:
        if not isinstance(value, list):
            raise Unclean
        act = quick(elem)
        return [act(item) for item in value]

    return run


def _map_pass(elem: Type | None) -> Pass:
    if elem is None:
        return _copy
    if elem.kind == "string":

        def strings(value: dict[str, Any]) -> dict[str, Any]:
            for item in value.values():
                if item.__class__ is not str:
                    raise Unclean
            return value.copy()

        return strings

    def run(value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Unclean
        act = quick(elem)
        return {key: act(item) for key, item in value.items()}

    return run


def _choice_pass(choice: str, elem: Type) -> Pass:
    lists = {"or-array": _list_pass(elem), "or-strings": _list_pass(Type("string"))}.get(choice)

    def run(value: Any) -> Any:
        if isinstance(value, dict):
            return quick(elem)(value)
        if isinstance(value, list) and lists is not None:
            return lists(value)
        if isinstance(value, bool) and choice == "or-bool":
            return value
        raise Unclean

    return run


def _string(value: Any) -> Any:
    if value.__class__ is not str:
        raise Unclean
    return value


def _boolean(value: Any) -> Any:
    if value.__class__ is not bool:
        raise Unclean
    return value


def _integer_pass(form: str) -> Pass:
    low, high = INTEGER_RANGES.get(form, INTEGER_RANGES["int64"])

    def run(value: Any) -> Any:
        if value.__class__ is not int or not low <= value <= high:
            raise Unclean
        return value

    return run


def _number(value: Any) -> Any:
    if value.__class__ is int or value.__class__ is float:
        return value
    raise Unclean


def _quantity(value: Any) -> Any:
    if value.__class__ is str:
        return quantity_text(value)
    if value.__class__ is int:
        return quantity_text(str(value))
    raise Unclean


def _int_or_string(value: Any) -> Any:
    if value.__class__ is str or (value.__class__ is int and -(2**31) <= value < 2**31):
        return value
    raise Unclean


def _time(value: Any) -> Any:
    if value.__class__ is not str:
        raise Unclean
    return time_text(value)


def _micro_time(value: Any) -> Any:
    if value.__class__ is not str:
        raise Unclean
    return micro_time_text(value)


def _bytes(value: Any) -> Any:
    if value.__class__ is not str:
        raise Unclean
    return base64_text(value)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
