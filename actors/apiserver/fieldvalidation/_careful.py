"""The careful pass: the same conversion as the quick one, but it can say what is wrong and where.

Owns the texts of type errors (Go's `encoding/json`) and of strict errors (`sigs.k8s.io/json`).
Raises what Go's decoder would return: the first value of a custom type that fails at once, else
the first type error once everything was looked at.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.fieldvalidation._errors import DecodeFailure
from actors.apiserver.fieldvalidation._gojson import GoFloat, Pairs, parse_pairs
from actors.apiserver.fieldvalidation._values import (
    base64_text,
    integer_problem,
    micro_time_text,
    quantity_text,
    time_text,
)
from protocol.schema import Field, Type

__all__ = ["walk"]

MAX_STRICT_ERRORS = 100


def walk(type_: Type, obj: Any, raw: bytes | None, ordered: bool) -> tuple[Any, list[str]]:
    """See `convert`."""
    if raw is not None:
        obj = parse_pairs(raw)
    careful = _Careful(ordered)
    result = careful.value(type_, obj, "", "", "")
    if careful.failure:
        raise DecodeFailure(careful.failure)
    return result, list(dict.fromkeys(careful.strict))[:MAX_STRICT_ERRORS]


def word_for(value: Any) -> str:
    """What Go calls a JSON value."""
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "bool"
    return "number"


def literal(value: Any) -> str:
    """A number as it was written, as far as that is known."""
    if isinstance(value, GoFloat):
        return value.text
    return repr(value)


class _Misfit(DecodeFailure):
    """A type error within a value that is decoded apart."""

    def __init__(self, found: str, go: str, text: str = "") -> None:
        super().__init__(text)
        self.found = found
        self.go = go


class _Careful:
    """One walk. `path` is the field's path in strict errors; `fields` and `struct` are what Go's
    type errors print: the names down to the field, and the innermost struct."""

    def __init__(self, ordered: bool) -> None:
        self.ordered = ordered
        self.strict: list[str] = []
        self.failure = ""
        self.misfit: tuple[str, str] | None = None
        """The first type error: what was found, and the Go type that it should have been."""

    def type_error(self, found: str, go: str, struct: str, fields: str) -> None:
        if self.failure:
            return
        self.misfit = found, go
        where = f"Go struct field {struct}.{fields}" if struct else "Go value"
        self.failure = f"json: cannot unmarshal {found} into {where} of type {go}"

    def value(self, type_: Type, value: Any, path: str, struct: str, fields: str) -> Any:
        """The clean value; None for null and for what does not fit."""
        if value is None:
            return None
        kind = type_.kind
        if kind == "object":
            return self.object(type_, value, path, struct, fields)
        if kind == "list":
            return self.list(type_, value, path, struct, fields)
        if kind == "map":
            return self.map(type_, value, path, struct, fields)
        if kind == "any":
            if type_.choice is not None:
                return self.choice(type_.format, type_.choice, value, struct, fields)
            return self.anything(value, path)
        return self.scalar(type_, value, struct, fields)

    def object(self, type_: Type, value: Any, path: str, struct: str, fields: str) -> Any:
        if not isinstance(value, dict):
            self.type_error(word_for(value), type_.go, struct, fields)
            return None
        name = type_.go.rsplit(".", 1)[-1]
        out: dict[str, Any] = {}
        seen: set[str] = set()
        for key, item in self.members(value):
            where = f"{path}.{key}" if path else key
            field = type_.fields.get(key)
            if field is None and type_.elem is None:
                if not type_.preserve:
                    self.strict.append(f'unknown field "{where}"')
                else:
                    out[key] = self.anything(item, where)
                continue
            if key in seen:
                self.strict.append(f'duplicate field "{where}"')
            seen.add(key)
            target = field.type if field is not None else type_.elem
            assert target is not None
            clean = self.value(target, item, where, name, f"{fields}.{key}" if fields else key)
            self.keep(out, key, field, clean)
        self.complete(type_, out)
        return out

    def members(self, value: dict[str, Any]) -> list[tuple[str, Any]]:
        pairs = value.pairs if isinstance(value, Pairs) else list(value.items())
        return sorted(pairs, key=lambda pair: pair[0]) if self.ordered else pairs

    @staticmethod
    def keep(out: dict[str, Any], key: str, field: Field | None, clean: Any) -> None:
        out.pop(key, None)
        if clean is None:
            return
        droppable = field is not None and field.omit and not field.pointer
        if droppable and not clean and (field is None or field.type.kind != "object"):
            return
        out[key] = clean

    @staticmethod
    def complete(type_: Type, out: dict[str, Any]) -> None:
        from actors.apiserver.fieldvalidation._convert import empty

        for name, field in type_.fields.items():
            if field.always and name not in out:
                out[name] = empty(field)

    def list(self, type_: Type, value: Any, path: str, struct: str, fields: str) -> Any:
        if not isinstance(value, list):
            self.type_error(word_for(value), type_.go, struct, fields)
            return None
        elem = type_.elem
        assert elem is not None
        return [
            self.element(elem, item, f"{path}[{i}]", struct, fields) for i, item in enumerate(value)
        ]

    def map(self, type_: Type, value: Any, path: str, struct: str, fields: str) -> Any:
        if not isinstance(value, dict):
            self.type_error(word_for(value), type_.go, struct, fields)
            return None
        elem = type_.elem
        assert elem is not None
        out: dict[str, Any] = {}
        for key, item in self.members(value):
            where = f"{path}.{key}" if path else key
            if key in out:
                self.strict.append(f'duplicate field "{where}"')
            out[key] = self.element(elem, item, where, struct, fields)
        return out

    def element(self, elem: Type, item: Any, path: str, struct: str, fields: str) -> Any:
        """A list's element or a map's value: null is the zero value there."""
        clean = self.value(elem, item, path, struct, fields)
        if clean is not None:
            return clean
        from actors.apiserver.fieldvalidation._convert import empty

        return empty(Field("", elem))

    def choice(self, choice: str, elem: Type, value: Any, struct: str, fields: str) -> Any:
        """A schema or what may stand in its place. Go decodes it apart: by itself, and not strictly."""
        inner = _Careful(self.ordered)
        try:
            if isinstance(value, dict):
                clean = inner.value(elem, value, "", "", "")
            elif choice == "or-bool":
                if not isinstance(value, bool):
                    raise DecodeFailure("boolean or JSON schema expected")
                return value
            elif isinstance(value, list):
                of = elem if choice == "or-array" else Type("string", go="string")
                clean = inner.list(Type("list", elem=of), value, "", "", "")
            else:
                return None  # Go's decoder passes over it
            if inner.misfit is not None:
                raise _Misfit(*inner.misfit)
        except _Misfit as misfit:  # each level says where by its own field
            self.type_error(misfit.found, misfit.go, struct, fields)
            raise _Misfit(misfit.found, misfit.go, self.failure) from None
        if inner.failure:
            raise DecodeFailure(inner.failure)
        return clean

    def anything(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            out: dict[str, Any] = {}
            for key, item in self.members(value):
                where = f"{path}.{key}" if path else key
                if key in out:
                    self.strict.append(f'duplicate field "{where}"')
                out[key] = self.anything(item, where)
            return out
        if isinstance(value, list):
            return [self.anything(item, f"{path}[{i}]") for i, item in enumerate(value)]
        return float(value) if isinstance(value, GoFloat) else value

    def scalar(self, type_: Type, value: Any, struct: str, fields: str) -> Any:
        kind = type_.kind
        if kind == "quantity":
            return _quantity(value)
        if kind == "int-or-string":
            return _int_or_string(value)
        if kind in ("time", "micro-time"):
            if not isinstance(value, str):
                raise DecodeFailure(f"json: cannot unmarshal {word_for(value)} into Go value of type string")
            return time_text(value) if kind == "time" else micro_time_text(value)
        found = word_for(value)
        if kind == "bytes" and found == "string":
            try:
                return base64_text(value)
            except DecodeFailure as failure:
                self.failure = self.failure or str(failure)
                return None
        if found == {"string": "string", "boolean": "bool", "integer": "number", "number": "number"}.get(kind):
            if kind == "integer" and (isinstance(value, float) or integer_problem(value, type_.format)):
                self.type_error(f"number {literal(value)}", type_.go, struct, fields)
                return None
            return float(value) if isinstance(value, GoFloat) else value
        self.type_error(found, type_.go, struct, fields)
        return None


def _quantity(value: Any) -> str:
    if isinstance(value, str):
        return quantity_text(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return quantity_text("?")
    return quantity_text(literal(value))


def _int_or_string(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DecodeFailure(f"json: cannot unmarshal {word_for(value)} into Go value of type int32")
    if isinstance(value, float) or integer_problem(value, "int32"):
        raise DecodeFailure(f"json: cannot unmarshal number {literal(value)} into Go value of type int32")
    return value
