"""Validation of values against a structural schema, with the words of kube-openapi's validator.

Owns types, bounds, patterns, formats, enumerations, required fields, logical junctors, and the
uniqueness of list sets and maps. It must never evaluate rules (see `_rules`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from actors.apiserver.crd._node import Node
from actors.apiserver.strategies import FieldError
from actors.apiserver.strategies._errors import (
    duplicate,
    go_json,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
    type_invalid,
)
from protocol.cel import compile_pattern as compiled
from protocol.formats import check_format

__all__ = ["check_unique", "check_value", "compile_pattern"]

Schema = dict[str, Any]
Errors = list[FieldError]


def compile_pattern(pattern: str) -> Callable[[str], Any]:
    """A Go regular expression as a search. Raises `ValueError` with Go's words."""
    found: Callable[[str], Any] = compiled(pattern).search
    return found


def _word(value: Any) -> str:
    """The JSON type of a value as the validator calls it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number" if not value.is_integer() else "integer"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict) else "array"


def check_value(schema: Schema, value: Any, path: str) -> Errors:
    """All errors of a value. `path`: as in `spec.size`; empty at the root."""
    errors: Errors = []
    _check(schema, value, path, errors)
    return errors


def _check(schema: Schema, value: Any, path: str, errors: Errors) -> None:
    if value is None and schema.get("nullable"):
        return
    expected = _expected(schema)
    found = _word(value)
    if expected and found not in expected and not (found == "integer" and "number" in expected):
        detail = f'{path} in body must be of type {",".join(expected)}: "{found}"'
        errors.append(type_invalid(path or "<nil>", found, detail))
        return
    if isinstance(value, str):
        _check_string(schema, value, path, errors)
    elif found in ("integer", "number"):
        _check_number(schema, value, path, errors)
    elif isinstance(value, list):
        _check_list(schema, value, path, errors)
    _check_junctors(schema, value, path, errors)
    if schema.get("enum") is not None and not any(_same(value, item) for item in schema["enum"]):
        shown = [item if isinstance(item, str) else go_json(item) for item in schema["enum"]]
        errors.append(not_supported(path or "<nil>", value, shown))
    if isinstance(value, dict):
        _check_object(schema, value, path, errors)


def _expected(schema: Schema) -> tuple[str, ...]:
    if schema.get("x-kubernetes-int-or-string"):
        return ("integer", "string")
    word = schema.get("type")
    return (word,) if word else ()


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _check_string(schema: Schema, value: str, path: str, errors: Errors) -> None:
    where = path or "<nil>"
    longest = schema.get("maxLength")
    if longest is not None and len(value) > longest:
        errors.append(too_long(where, longest))
    shortest = schema.get("minLength")
    if shortest is not None and len(value) < shortest:
        errors.append(invalid(where, value, f"{path} in body should be at least {shortest} chars long"))
    pattern = schema.get("pattern")
    if pattern and not compile_pattern(pattern)(value):
        errors.append(invalid(where, value, f"{path} in body should match '{pattern}'"))
    form = schema.get("format")
    if form and not check_format(form, value):
        detail = f"{path} in body must be of type {form.replace('-', '') if form == 'date-time' else form}: {go_json(value)}"
        errors.append(type_invalid(where, value, detail))


def _number_text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _check_number(schema: Schema, value: Any, path: str, errors: Errors) -> None:
    where = path or "<nil>"
    factor = schema.get("multipleOf")
    if factor:
        quotient = value / factor
        if abs(quotient - math.floor(quotient + 0.5)) > 1e-9:
            errors.append(invalid(where, value, f"{path} in body should be a multiple of {_number_text(factor)}"))
    high = schema.get("maximum")
    if high is not None:
        exclusive = schema.get("exclusiveMaximum")
        if value > high or (exclusive and value == high):
            words = "less than" if exclusive else "less than or equal to"
            errors.append(invalid(where, value, f"{path} in body should be {words} {_number_text(high)}"))
    low = schema.get("minimum")
    if low is not None:
        exclusive = schema.get("exclusiveMinimum")
        if value < low or (exclusive and value == low):
            words = "greater than" if exclusive else "greater than or equal to"
            errors.append(invalid(where, value, f"{path} in body should be {words} {_number_text(low)}"))


def _check_list(schema: Schema, value: list[Any], path: str, errors: Errors) -> None:
    where = path or "<nil>"
    items = schema.get("items")
    if isinstance(items, dict):
        for i, item in enumerate(value):
            _check(items, item, f"{path}[{i}]", errors)
    fewest = schema.get("minItems")
    if fewest is not None and len(value) < fewest:
        errors.append(invalid(where, len(value), f"{path} in body should have at least {fewest} items"))
    most = schema.get("maxItems")
    if most is not None and len(value) > most:
        errors.append(too_many(where, len(value), most))


def _check_object(schema: Schema, value: dict[str, Any], path: str, errors: Errors) -> None:
    where = path or "<nil>"
    most = schema.get("maxProperties")
    if most is not None and len(value) > most:
        errors.append(too_many(where, len(value), most))
    fewest = schema.get("minProperties")
    if fewest is not None and len(value) < fewest:
        errors.append(invalid(where, len(value), f"{path} in body should have at least {fewest} properties"))
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    prefix = f"{path}." if path else ""
    for name in schema.get("required") or ():
        if name not in value:
            errors.append(required(f"{prefix}{name}"))
    for key in sorted(value):
        sub = properties.get(key)
        if sub is None and isinstance(extra, dict):
            sub = extra
        if sub is not None and not (not path and key == "metadata"):
            _check(sub, value[key], f"{prefix}{key}", errors)


def _fewest(found: list[Errors]) -> Errors:
    """The errors of the branch that fits best."""
    return min(found, key=lambda errors: len(errors))


def _check_junctors(schema: Schema, value: Any, path: str, errors: Errors) -> None:
    where = path or "<nil>"
    any_of = schema.get("anyOf")
    if any_of and all(check_value(sub, value, path) for sub in any_of):
        errors.append(invalid(where, "", f'"{path}" must validate at least one schema (anyOf)'))
        errors += _fewest([check_value(sub, value, path) for sub in any_of])
    one_of = schema.get("oneOf")
    if one_of:
        passing = sum(1 for sub in one_of if not check_value(sub, value, path))
        if passing != 1:
            tail = "Found none valid" if passing == 0 else f"Found {passing} valid alternatives"
            errors.append(invalid(where, "", f'"{path}" must validate one and only one schema (oneOf). {tail}'))
            if passing == 0:
                errors += _fewest([check_value(sub, value, path) for sub in one_of])
    all_of = schema.get("allOf")
    if all_of:
        broken = [problems for problems in (check_value(sub, value, path) for sub in all_of) if problems]
        for problems in broken:
            errors += problems
        if broken:
            errors.append(invalid(where, "", f'"{path}" must validate all the schemas (allOf)'))
    not_ = schema.get("not")
    if not_ is not None and not check_value(not_, value, path):
        errors.append(invalid(where, "", f'"{path}" must not validate the schema (not)'))


def check_unique(node: Node, value: Any, path: str) -> Errors:
    """Items of sets, and keys of map lists, that appear twice."""
    errors: Errors = []
    _check_unique(node, value, path, errors)
    return errors


def _check_unique(node: Node, value: Any, path: str, errors: Errors) -> None:
    if isinstance(value, list):
        seen: set[str] = set()
        for i, item in enumerate(value):
            shown = item
            if node.list_type == "map" and isinstance(item, dict):
                shown = {key: item.get(key) for key in node.map_keys if key in item}
            elif node.list_type != "set":
                continue
            key = go_json(shown)
            if key in seen:
                errors.append(duplicate(f"{path}[{i}]", shown))
            seen.add(key)
        if node.items is not None:
            for i, item in enumerate(value):
                _check_unique(node.items, item, f"{path}[{i}]", errors)
    elif isinstance(value, dict):
        for key, item in value.items():
            sub = node.properties.get(key) or node.additional
            if sub is not None:
                where = f"{path}.{key}" if path else key
                if key not in node.properties:
                    where = f"{path}[{key}]"
                _check_unique(sub, item, where, errors)


