"""Whether a schema is structural: every value it speaks of has a place of known type.

Owns the invariants of structural schemas and what junctors (`allOf`, `anyOf`, `oneOf`, `not`) may
say. It must never look at objects.

Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema: validation.go, complete.go, convert.go
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.apiserver.crd._values import compile_pattern
from actors.apiserver.strategies import FieldError
from actors.apiserver.strategies._errors import forbidden, invalid, required

__all__ = ["JUNCTORS", "check_structural", "why_not_built"]

Schema = dict[str, Any]
Errors = list[FieldError]
JUNCTORS = ("allOf", "oneOf", "anyOf")
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_EMPTY_HINTS = {"root": "at the root", "item": "for specified array items", "field": "for specified object fields"}
_UNSUPPORTED = ("id", "$schema", "$ref", "patternProperties", "dependencies", "additionalItems", "definitions")
_POINTERS = frozenset(
    ("maximum", "minimum", "maxLength", "minLength", "maxItems", "minItems", "multipleOf", "maxProperties", "minProperties",
     "not", "items", "additionalProperties", "externalDocs", "example", "x-kubernetes-list-type", "x-kubernetes-map-type")
)  # fmt: skip
"""Fields that count as set whatever they hold."""


def check_structural(schema: Schema, path: str) -> Errors:
    """What keeps a schema from being structural, in the order of the texts."""
    errors = [*_invariants(schema, "root", path), *_incomplete(schema, schema, path, path)]
    return sorted(errors, key=lambda error: f"{error.field}: {error.message}")


def why_not_built(schema: Schema) -> str:
    """Why a schema cannot even be put into structural form; empty when it can."""
    for field in _UNSUPPORTED:
        present = schema.get(field) is not None if field == "additionalItems" else bool(schema.get(field))
        if present:
            return f"OpenAPIV3Schema '{field.removeprefix('$') if field == '$schema' else field}' is not supported"
    nested = [schema["not"]] if schema.get("not") is not None else []
    for junctor in ("allOf", "anyOf", "oneOf"):
        nested += schema.get(junctor) or ()
    for part in nested:
        if words := why_not_built(part):
            return words
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        return "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined"
    items, extra = schema.get("items"), schema.get("additionalProperties")
    if isinstance(items, list) and items:
        return "OpenAPIV3Schema 'items' must be a schema, but is an array"
    below = [items] if isinstance(items, dict) else []
    below += [sub for _, sub in sorted((schema.get("properties") or {}).items())]
    below += [extra] if isinstance(extra, dict) else []
    return next((words for sub in below if (words := why_not_built(sub))), "")


def _invariants(schema: Schema, level: str, path: str) -> Iterator[FieldError]:
    items, extra = schema.get("items"), schema.get("additionalProperties")
    if schema.get("type") == "array" and items is None:
        yield required(f"{path}.items", "must be specified")
    if isinstance(items, dict):
        yield from _invariants(items, "item", f"{path}.items")
    for name, sub in (schema.get("properties") or {}).items():
        yield from _invariants(sub, "field", f"{path}.properties[{name}]")
    if extra is not None:
        if level == "root":
            yield forbidden(f"{path}.additionalProperties", "must not be used at the root")
        if isinstance(extra, dict):
            yield from _invariants(extra, "field", f"{path}.additionalProperties")
    yield from _extensions(schema, path)
    skip_any = schema.get("anyOf") == _INT_OR_STRING
    all_of = schema.get("allOf") or []
    skip_first = bool(all_of) and all_of[0].get("anyOf") == _INT_OR_STRING
    yield from _value_rules(schema, path, skip_any, skip_first)
    yield from _type_needed(schema, level, path)
    yield from _header_types(schema, level, path)


def _extensions(schema: Schema, path: str) -> Iterator[FieldError]:
    if schema.get("x-kubernetes-int-or-string"):
        for field in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if schema.get(field):
                yield invalid(f"{path}.{field}", True, "must be false if x-kubernetes-int-or-string is true")


def _type_needed(schema: Schema, level: str, path: str) -> Iterator[FieldError]:
    word, embedded = schema.get("type", ""), schema.get("x-kubernetes-embedded-resource")
    if embedded and word != "object":
        words = "must be object if x-kubernetes-embedded-resource is true"
        yield invalid(f"{path}.type", word, words) if word else required(f"{path}.type", words)
    elif not word and not (
        schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        yield required(f"{path}.type", f"must not be empty {_EMPTY_HINTS[level]}")
    if embedded and schema.get("additionalProperties") is not None:
        yield forbidden(
            f"{path}.additionalProperties", "must not be used if x-kubernetes-embedded-resource is set"
        )
    if level == "root" and word and word != "object":
        yield invalid(f"{path}.type", word, "must be object at the root")


def _header_types(schema: Schema, level: str, path: str) -> Iterator[FieldError]:
    properties = schema.get("properties") or {}
    embedded = schema.get("x-kubernetes-embedded-resource")
    for name in ("kind", "apiVersion"):
        if (level == "root" or embedded) and name in properties and properties[name].get("type", "") != "string":
            yield invalid(f"{path}.properties[{name}].type", properties[name].get("type", ""), "must be string")
    meta = properties.get("metadata")
    if meta is not None:
        where = f"{path}.properties[metadata]"
        if (level == "root" or embedded) and meta.get("type", "") != "object":
            yield invalid(f"{where}.type", meta.get("type", ""), "must be object")
        if level == "root" and not _only_names(meta):
            words = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            yield forbidden(where, words)
    if embedded and not schema.get("x-kubernetes-preserve-unknown-fields") and not properties:
        words = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        yield required(f"{path}.properties", words)


def _only_names(meta: Schema) -> bool:
    if set(meta.get("properties") or ()) - {"name", "generateName"}:
        return False
    rest = {key: value for key, value in meta.items() if key not in ("type", "default", "properties")}
    return not any(value is not None if key in _POINTERS else value for key, value in rest.items())


def _value_rules(schema: Schema, path: str, skip_any: bool, skip_first: bool) -> Iterator[FieldError]:
    if not skip_any:
        for i, part in enumerate(schema.get("anyOf") or ()):
            yield from _nested(part, f"{path}.anyOf[{i}]")
    for i, part in enumerate(schema.get("allOf") or ()):
        yield from _nested(part, f"{path}.allOf[{i}]", skip_first and i == 0)
    for i, part in enumerate(schema.get("oneOf") or ()):
        yield from _nested(part, f"{path}.oneOf[{i}]")
    if schema.get("not") is not None:
        yield from _nested(schema["not"], f"{path}.not")
    if schema.get("pattern"):
        try:
            compile_pattern(schema["pattern"])
        except ValueError as error:
            words = f"must be a valid regular expression, but isn't: {error}"
            yield invalid(f"{path}.pattern", schema["pattern"], words)


_NESTED_FORBIDDEN = (
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
)
_SET_IF_THERE = ("default", "x-kubernetes-list-type", "x-kubernetes-map-type")


def _nested(schema: Schema, path: str, skip_any: bool = False) -> Iterator[FieldError]:
    """A schema under a junctor may only validate values."""
    yield from _value_rules(schema, path, skip_any, False)
    if isinstance(schema.get("items"), dict):
        yield from _nested(schema["items"], f"{path}.items")
    properties = schema.get("properties") or {}
    for name, sub in properties.items():
        yield from _nested(sub, f"{path}.properties[{name}]")
    for field, words in _NESTED_FORBIDDEN:
        value = schema.get(field)
        if value or (value is not None and (field in _SET_IF_THERE or isinstance(value, dict))):
            yield forbidden(f"{path}.{field}", words)
    if "metadata" in properties:
        yield forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context")


def _incomplete(rules: Schema, schema: Schema | None, path: str, source: str) -> Iterator[FieldError]:
    """What junctors speak of that the structure does not have. `rules` stand at `source`, for `schema` at `path`."""
    parts = [("not", rules["not"])] if rules.get("not") is not None else []
    for junctor in JUNCTORS:
        parts += [(f"{junctor}[{i}]", part) for i, part in enumerate(rules.get(junctor) or ())]
    for name, part in parts:
        yield from _incomplete_nested(part, schema, path, f"{source}.{name}")


def _incomplete_nested(rules: Schema, schema: Schema | None, path: str, source: str) -> Iterator[FieldError]:
    if schema is None:
        yield required(path, f"because it is defined in {source}")
        return
    yield from _incomplete(rules, schema, path, source)
    if isinstance(rules.get("items"), dict):
        yield from _incomplete_nested(rules["items"], schema.get("items"), f"{path}.items", f"{source}.items")
    there = schema.get("properties") or {}
    for name, sub in (rules.get("properties") or {}).items():
        where, said = f"{path}.properties[{name}]", f"{source}.properties[{name}]"
        yield from _incomplete_nested(sub, there.get(name), where, said)
