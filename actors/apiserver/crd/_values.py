"""Validation of values against a structural schema, with the words of kube-openapi's validator.

Owns types, bounds, patterns, formats, enumerations, required fields, logical junctors, and the
uniqueness of list sets and maps. It must never evaluate rules (see `_rules`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from actors.apiserver.crd._node import Node
from actors.apiserver.crd._was import Was
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
from protocol.formats import FORMATS, check_format

__all__ = ["check_unique", "check_value", "compile_pattern"]

Schema = dict[str, Any]
Errors = list[FieldError]
_FORMATS: dict[str, Collection[str]] = {
    "": FORMATS, "string": FORMATS, "integer": ("int32", "int64"), "number": ("float", "double")
}  # fmt: skip
"""Which formats mean something, by type."""
_HEADER = ("apiVersion", "kind", "metadata")


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


def check_value(schema: Schema, value: Any, path: str, was: Was | None = None) -> Errors:
    """All errors of a value. `path`: as in `spec.size`; empty at the root. `was`: what it was before a
    change; what is wrong and did not change is no error."""
    return _check_part(schema, value, path, was).errors


class _Result:
    """What a schema finds in a value. `matches` counts the checks that were made: of several schemas that
    do not fit, the errors of the one with the most are shown."""

    __slots__ = ("_texts", "errors", "matches")

    def __init__(self, *errors: FieldError, matches: int = 0) -> None:
        self.errors: Errors = []
        self._texts: set[str] = set()
        self.matches = matches
        self.add(errors)

    def add(self, errors: Iterable[FieldError]) -> None:
        """Note errors, each text once."""
        for error in errors:
            text = f"{error.field}: {error.message}"
            if text not in self._texts:
                self._texts.add(text)
                self.errors.append(error)

    def merge(self, other: _Result) -> None:
        """Add what another schema found."""
        if other.errors:
            self.add(other.errors)
        self.matches += other.matches


def _field(name: str) -> str:
    return name.removeprefix(".") or "<nil>"


def _unplaced(text: str) -> FieldError:
    return invalid("<nil>", "", text)


def _check_part(schema: Schema, value: Any, path: str, was: Was | None) -> _Result:
    result = _check(schema, value, path, was)
    if result.errors and was is not None and was.unchanged:
        return _Result(matches=result.matches)
    return result


def _check(schema: Schema, value: Any, path: str, was: Was | None) -> _Result:
    result = _check_type(schema, value, path)
    if value is None:
        result.add(_check_enum(schema, value, path))
        return result
    _check_junctors(schema, value, path, result)  # inside, all of the value counts
    result.matches += 2  # enumerations and the schema itself
    if isinstance(value, str):
        _check_string(schema, value, path, result)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_number(schema, value, path, result)
    elif isinstance(value, list):
        _check_list(schema, value, path, was, result)
    result.add(_check_enum(schema, value, path))
    if isinstance(value, dict):
        _check_object(schema, value, path, was, result)
    return result


def _check_type(schema: Schema, value: Any, path: str) -> _Result:
    expected, form = _expected(schema), _format(schema)
    if value is None:
        if not expected or schema.get("nullable"):
            return _Result(matches=1)
        return _Result(_mistyped(path, ",".join(expected), "null"))
    if not expected and not form:
        return _Result()
    found = _word(value)
    texts = isinstance(value, (str, list))
    numeric = "number" in expected or "integer" in expected
    fits = found in expected or (found == "integer" and "number" in expected)
    fits = fits or (found == "number" and "integer" in expected and float(value).is_integer())
    inherent = {"integer": "int64", "number": "float64"}.get(found, "")
    if not texts and form and not fits and inherent != form:
        return _Result(_mistyped(path, form, inherent), matches=1)
    if texts and form and not numeric:  # the format decides about it
        return _Result(matches=2)
    if not fits:
        return _Result(_mistyped(path, ",".join(expected), found), matches=1)
    return _Result(matches=2)


def _mistyped(path: str, expected: str, found: str) -> FieldError:
    return type_invalid(_field(path), found, f'{path} in body must be of type {expected}: "{found}"')


def _expected(schema: Schema) -> tuple[str, ...]:
    if schema.get("x-kubernetes-int-or-string"):
        return ("integer", "string")
    word = schema.get("type")
    return (word,) if word else ()


def _format(schema: Schema) -> str:
    """The format of a schema if it has a meaning for its type."""
    form = schema.get("format", "")
    expected = _expected(schema)
    known = _FORMATS.get(expected[0] if len(expected) == 1 else "", ())
    return form if form and (form in known or form.replace("-", "") in known) else ""


def _same(value: Any, allowed: Any) -> bool:
    """Null is never one of an enumeration; a number counts as what it is in the type of the allowed one."""
    if value is None or isinstance(value, bool) or isinstance(allowed, bool):
        return value is allowed and value is not None
    if isinstance(value, float) and isinstance(allowed, int):
        return int(value) == allowed
    return bool(value == allowed)


def _check_enum(schema: Schema, value: Any, path: str) -> Iterator[FieldError]:
    allowed = schema.get("enum")
    if allowed and not any(_same(value, item) for item in allowed):
        shown = [item if isinstance(item, str) else go_json(item) for item in allowed]
        yield not_supported(_field(path), _sorted(value), shown)


def _sorted(value: Any) -> Any:
    """A value as Go prints it: maps in the order of their keys."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else _plain(value)


def _check_string(schema: Schema, value: str, path: str, result: _Result) -> None:
    result.matches += 1
    form = _format(schema)
    result.add(_string_errors(schema, value, path))
    if form in FORMATS:
        result.matches += 1
        if not check_format(form, value):
            detail = f"{path} in body must be of type {form}: {go_json(value)}"
            result.add([type_invalid(_field(path), value, detail)])


def _string_errors(schema: Schema, value: str, path: str) -> Errors:
    """The first thing that is wrong with a text's length or pattern."""
    longest, shortest, pattern = schema.get("maxLength"), schema.get("minLength"), schema.get("pattern")
    if longest is not None and len(value) > longest:
        return [too_long(_field(path), longest)]
    if shortest is not None and len(value) < shortest:
        return [invalid(_field(path), value, f"{path} in body should be at least {shortest} chars long")]
    if pattern and not compile_pattern(pattern)(value):
        return [invalid(_field(path), value, f"{path} in body should match '{pattern}'")]
    return []


def _number_text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _out_of_range(schema: Schema, value: Any, what: str, path: str) -> Errors:
    """Whether a number is one of the schema's type. A type that is one of several says nothing."""
    if _expected(schema) != ("integer",):
        return []
    form = schema.get("format", "") if schema.get("format") in ("int32", "int64") else ""
    most = 1 << (31 if form == "int32" else 63)
    if float(value).is_integer() and -most <= value < most:
        return []
    sort = f"integer with format {form}" if form else "integer (default format)"
    return [_unplaced(f"{what} value must be of type {sort} in {path}")]


def _check_number(schema: Schema, value: Any, path: str, result: _Result) -> None:
    result.matches += 2
    result.add(_out_of_range(schema, value, "Checked", path))
    factor = schema.get("multipleOf")
    if factor is not None:
        problems = _out_of_range(schema, factor, "MultipleOf", path)
        # an integer is judged by integers, whatever the schema says
        exact = int(factor) if not problems and isinstance(value, int) else factor
        result.add(problems)
        result.add(_multiple(value, exact, path))
    for name, words, sign in (("minimum", "greater than", -1), ("maximum", "less than", 1)):
        bound = schema.get(name)
        if bound is None:
            continue
        problems = _out_of_range(schema, bound, f"{name.capitalize()} boundary", path)
        limit = int(bound) if not problems and isinstance(value, int) else bound
        exclusive = bool(schema.get(f"exclusive{name.capitalize()}"))
        result.add(problems)
        if (value - limit) * sign > 0 or (exclusive and value == limit):
            words += "" if exclusive else " or equal to"
            detail = f"{path} in body should be {words} {_number_text(limit)}"
            result.add([invalid(_field(path), _plain(value), detail)])


def _plain(value: Any) -> Any:
    """A number as Go prints it: `1`, not `1.0`."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e21 else value


def _multiple(value: Any, factor: Any, path: str) -> Errors:
    if factor <= 0:
        words = f"factor MultipleOf declared for {path} must be positive: {_number_text(factor)}"
        return [invalid(_field(path), _plain(factor), words)]
    if isinstance(value, int) and isinstance(factor, int):
        fits = value % factor == 0
    else:
        quotient = 1 / factor * value if factor < 1 else value / factor
        fits = abs(quotient - math.floor(quotient + 0.5)) <= 1e-9
    if fits:
        return []
    words = f"{path} in body should be a multiple of {_number_text(factor)}"
    return [invalid(_field(path), _plain(value), words)]


def _check_list(schema: Schema, value: list[Any], path: str, was: Was | None, result: _Result) -> None:
    items, fewest, most = schema.get("items"), schema.get("minItems"), schema.get("maxItems")
    if isinstance(items, dict):
        for i, item in enumerate(value):
            result.merge(_check_part(items, item, f"{path}[{i}]", was and was.index(i)))
    if fewest is not None and len(value) < fewest:
        result.add([invalid(_field(path), len(value), f"{path} in body should have at least {fewest} items")])
    if most is not None and len(value) > most:
        result.add([too_many(_field(path), len(value), most)])
    result.matches += 2


def _check_object(schema: Schema, value: dict[str, Any], path: str, was: Was | None, result: _Result) -> None:
    fewest, most = schema.get("minProperties"), schema.get("maxProperties")
    if fewest is not None and len(value) < fewest:
        words = f"{path} in body should have at least {fewest} properties"
        result.add([invalid(_field(path), len(value), words)])
    if most is not None and len(value) > most:
        result.add([too_many(_field(path), len(value), most)])
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for key in sorted(value):
        sub = properties.get(key)
        if sub is not None:
            if path or key != "metadata":
                before = was.key(key) if was is not None and (path or key not in _HEADER) else None
                result.merge(_check_part(sub, value[key], f"{path}.{key}" if path else key, before))
        elif isinstance(extra, dict):
            result.merge(_check_part(extra, value[key], f"{path}.{key}", was and was.key(key)))
    for name in schema.get("required") or ():
        if name not in value:
            result.add([required(_field(f"{path}.{name}"))])
    result.matches += 1


def _best(found: list[_Result]) -> _Result:
    """Of those that do not fit, the first with the most checks."""
    return max(found, key=lambda result: result.matches)


def _check_junctors(schema: Schema, value: Any, path: str, result: _Result) -> None:
    any_of, one_of, all_of, not_ = (schema.get(name) for name in ("anyOf", "oneOf", "allOf", "not"))
    result.matches += 2
    if any_of:
        failures = []
        for sub in any_of:
            found = _check(sub, value, path, None)
            if not found.errors:
                result.merge(found)
                break
            failures.append(found)
        else:
            result.add([_unplaced(f'"{path}" must validate at least one schema (anyOf)')])
            result.merge(_best(failures))
    if one_of:
        tried = [_check(sub, value, path, None) for sub in one_of]
        passing = [found for found in tried if not found.errors]
        if len(passing) == 1:
            result.merge(passing[0])
        else:
            tail = f"Found {len(passing)} valid alternatives" if passing else "Found none valid"
            result.add([_unplaced(f'"{path}" must validate one and only one schema (oneOf). {tail}')])
            if not passing:
                result.merge(_best(tried))
    if all_of:
        tried = [_check(sub, value, path, None) for sub in all_of]
        for found in tried:
            result.merge(found)
        if any(found.errors for found in tried):
            none = ". None validated" if all(found.errors for found in tried) else ""
            result.add([_unplaced(f'"{path}" must validate all the schemas (allOf){none}')])
    if not_ is not None and not _check(not_, value, path, None).errors:
        result.add([_unplaced(f'"{path}" must not validate the schema (not)')])


def check_unique(node: Node, value: Any, path: str) -> Errors:
    """Items of sets, and keys of map lists, that appear twice."""
    errors: Errors = []
    _check_unique(node, value, path, errors)
    return errors


def _check_unique(node: Node, value: Any, path: str, errors: Errors) -> None:
    if isinstance(value, list):
        if node.list_type in ("set", "map"):
            errors += _repeated(node, value, path)
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


def _repeated(node: Node, value: list[Any], path: str) -> Errors:
    """The second of each kind."""
    keys = value
    if node.list_type == "map":
        for i, item in enumerate(value):
            if item is not None and not isinstance(item, dict):
                return [invalid(f"{path}[{i}]", _sorted(item), "must be an object for an array of list-type map")]
        keys = [{key: item[key] for key in node.map_keys if key in item} if item else {} for item in value]
    errors: Errors = []
    seen: dict[str, int] = {}
    for i, key in enumerate(keys):
        text = go_json(_sorted_exactly(key))
        seen[text] = seen.get(text, 0) + 1
        if seen[text] == 2:
            errors.append(duplicate(f"{path}[{i}]", _sorted(key)))
    return errors


def _sorted_exactly(value: Any) -> Any:
    """For comparing: 1 and 1.0 are not the same item."""
    if isinstance(value, dict):
        return {key: _sorted_exactly(value[key]) for key in sorted(value)}
    return [_sorted_exactly(item) for item in value] if isinstance(value, list) else value
