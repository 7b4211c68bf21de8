"""What a definition's schema may say, place by place, beyond being structural.

Owns the rules about extensions, lists, maps, defaults' places and the form of validation rules. What
its expressions say is judged by whoever `walk` calls.

Source: k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from actors.apiserver.crd._field_path import PathProblem, find_path
from actors.apiserver.crd._shown import shown_items
from actors.apiserver.crd._structural import why_not_built
from actors.apiserver.strategies import FieldError
from actors.apiserver.strategies._errors import forbidden, invalid, not_supported, required

__all__ = ["Surroundings", "check_form", "check_form_after", "parts"]

Schema = dict[str, Any]
Errors = list[FieldError]
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_HEADER = ("metadata", "kind", "apiVersion")


class Surroundings(NamedTuple):
    """What is known of a place from above: why it may have no default, whether it is metadata, and the
    first place above it whose parts cannot be told apart after a change."""

    root: bool = True
    no_default: str = ""
    in_meta: bool = False
    uncorrelatable: str = ""


def parts(schema: Schema, path: str, place: Surroundings) -> Iterator[tuple[Schema, str, Surroundings, bool]]:
    """The schemas below one, with their paths, places, and whether rules count there (not under junctors)."""
    extra = schema.get("additionalProperties")
    inner = place._replace(root=False)
    if isinstance(extra, dict):
        words = "inside additionalProperties applying to object metadata"
        yield extra, f"{path}.additionalProperties", inner._replace(no_default=words) if place.in_meta else inner, True
    atomic = schema.get("x-kubernetes-map-type") not in (None, "granular")
    for name, sub in sorted((schema.get("properties") or {}).items()):
        there = inner
        if atomic and not there.uncorrelatable:
            there = there._replace(uncorrelatable=path)
        if (place.root or schema.get("x-kubernetes-embedded-resource")) and name in _HEADER:
            there = there._replace(in_meta=True)
            if place.root:
                there = there._replace(no_default=f"in top-level {name}")
        yield sub, f"{path}.properties[{name}]", there, True
    if schema.get("not") is not None:
        yield schema["not"], f"{path}.not", inner, False
    for junctor in ("allOf", "oneOf", "anyOf"):
        for i, part in enumerate(schema.get(junctor) or ()):
            yield part, f"{path}.{junctor}[{i}]", inner, False
    for name, sub in sorted((schema.get("definitions") or {}).items()):
        yield sub, f"{path}.definitions[{name}]", inner, False
    items = schema.get("items")
    there = inner
    if schema.get("x-kubernetes-list-type") != "map" and not there.uncorrelatable:
        there = there._replace(uncorrelatable=path)
    if isinstance(items, dict):
        yield items, f"{path}.items", there, True
    elif isinstance(items, list):
        for i, part in enumerate(items):
            yield part, f"{path}.items[{i}]", there, True
    for name, sub in sorted((schema.get("dependencies") or {}).items()):
        if isinstance(sub, dict):
            yield sub, f"{path}.dependencies[{name}]", inner, False


def check_form(schema: Schema, path: str, place: Surroundings) -> Errors:
    """The errors of this very place, without those below. Those that stand before the ones below come first."""
    errors = [*_unsupported(schema, path, place)]
    if schema.get("uniqueItems"):
        words = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        errors.append(forbidden(f"{path}.uniqueItems", words))
    extra = schema.get("additionalProperties")
    if extra is not None and schema.get("properties") and extra is not True:
        words = "additionalProperties and properties are mutual exclusive"
        errors.append(forbidden(f"{path}.additionalProperties", words))
    return errors


def check_form_after(schema: Schema, path: str) -> Errors:
    """Those errors of this very place that stand after the ones below."""
    errors: Errors = []
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        errors.append(invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined"))
    return [*errors, *_map_type(schema, path), *_list_type(schema, path), *_rule_form(schema, path)]


def _unsupported(schema: Schema, path: str, place: Surroundings) -> Iterator[FieldError]:
    word = schema.get("type", "")
    if word and word not in _TYPES:
        yield not_supported(f"{path}.type", word, _TYPES)
    if schema.get("default") is not None and place.no_default:
        yield forbidden(f"{path}.default", f"must not be set {place.no_default}")
    for field in ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"):
        value = schema.get(field)
        if value or (value is not None and field in ("additionalItems", "dependencies", "$ref")):
            yield forbidden(f"{path}.{field}", f"{field} is not supported")
    if word == "null":
        yield forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    if isinstance(schema.get("items"), list) and schema["items"]:
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")
    if place.in_meta and schema.get("x-kubernetes-embedded-resource"):
        yield forbidden(f"{path}.x-kubernetes-embedded-resource", "must not be used inside of resource meta")


def _typed(schema: Schema, path: str, word: str, extension: str) -> Iterator[FieldError]:
    there = schema.get("type", "")
    if there != word:
        words = f"must be {word} if {extension} is specified"
        yield invalid(f"{path}.type", there, words) if there else required(f"{path}.type", words)


def _map_type(schema: Schema, path: str) -> Iterator[FieldError]:
    kind = schema.get("x-kubernetes-map-type")
    if kind is None:
        return
    yield from _typed(schema, path, "object", "x-kubernetes-map-type")
    if kind not in ("atomic", "granular"):
        yield not_supported(f"{path}.x-kubernetes-map-type", kind, ("atomic", "granular"))


def _list_type(schema: Schema, path: str) -> Iterator[FieldError]:
    kind, items = schema.get("x-kubernetes-list-type"), schema.get("items")
    keys: list[str] = schema.get("x-kubernetes-list-map-keys") or []
    if kind is not None and schema.get("type", "") != "array":
        yield from _typed(schema, path, "array", "x-kubernetes-list-type")
    elif kind == "set" and isinstance(items, dict):
        words = "must be atomic as item of a list with x-kubernetes-list-type=set"
        if items.get("type") == "array" and items.get("x-kubernetes-list-type", "atomic") != "atomic":
            yield invalid(f"{path}.items.x-kubernetes-list-type", items["x-kubernetes-list-type"], words)
        if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
            # upstream prints the list type here
            yield invalid(f"{path}.items.x-kubernetes-map-type", items.get("x-kubernetes-list-type"), words)
    if kind not in (None, "atomic", "set", "map"):
        yield not_supported(f"{path}.x-kubernetes-list-type", kind, ("atomic", "set", "map"))
    if keys and kind != "map":
        words, where = "must be map if x-kubernetes-list-map-keys is non-empty", f"{path}.x-kubernetes-list-type"
        yield required(where, words) if kind is None else invalid(where, kind, words)
    if kind == "map":
        yield from _map_list(keys, items, path)
    if kind in ("map", "set") and isinstance(items, dict):
        yield from _key_values(kind, keys, items, path)


def _map_list(keys: list[str], items: Any, path: str) -> Iterator[FieldError]:
    where = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        yield required(where, "must not be empty if x-kubernetes-list-type is map")
    if items is None:
        yield required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")
    if isinstance(items, list):
        words = "must only have a single schema if x-kubernetes-list-type is map"
        yield invalid(f"{path}.items", shown_items(items), words)
    if not isinstance(items, dict):
        return
    if items.get("type", "") != "object":
        words = "must be object if parent array's x-kubernetes-list-type is map"
        yield invalid(f"{path}.items.type", items.get("type", ""), words)
        return
    seen: set[str] = set()
    for key in keys:
        sub = (items.get("properties") or {}).get(key)
        if sub is None:
            yield invalid(where, keys, "entries must all be names of item properties")
        elif sub.get("type") in ("array", "object"):
            words = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield invalid(f"{path}.items.properties[{key}].type", items["type"], words)
        if key in seen:
            yield invalid(where, keys, "must not contain duplicate entries")
        seen.add(key)


def _key_values(kind: str, keys: list[str], items: Schema, path: str) -> Iterator[FieldError]:
    if items.get("nullable"):
        yield forbidden(f"{path}.items.nullable", f"cannot be nullable when x-kubernetes-list-type is {kind}")
    for key in keys if kind == "map" else ():
        sub = (items.get("properties") or {}).get(key)
        if sub is None:
            continue
        where, part = f"{path}.items.properties[{key}]", "this property is in x-kubernetes-list-map-keys, so it"
        if key not in (items.get("required") or ()) and sub.get("default") is None:
            yield required(f"{where}.default", f"{part} must have a default or be a required property")
        if sub.get("nullable"):
            yield forbidden(f"{where}.nullable", f"{part} cannot be nullable")


def _has_breaks(text: str) -> bool:
    return "\n" in text or "\r" in text


def _rule_form(schema: Schema, path: str) -> Iterator[FieldError]:
    for i, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        where = f"{path}.x-kubernetes-validations[{i}]"
        source, message = str(rule.get("rule") or "").strip(), rule.get("message") or ""
        if not source:
            yield required(f"{where}.rule", "rule is not specified")
        elif message and not message.strip():
            yield invalid(f"{where}.message", message, "must be non-empty if specified")
        elif _has_breaks(message.strip()):
            yield invalid(f"{where}.message", message, "must not contain line breaks")
        elif _has_breaks(source) and not message.strip():
            yield required(f"{where}.message", "message must be specified if rule contains line breaks")
        expression = rule.get("messageExpression") or ""
        if expression and not expression.strip():
            yield required(f"{where}.messageExpression", "messageExpression must be non-empty if specified")
        reason = rule.get("reason")
        if reason is not None and reason not in _REASONS:
            yield not_supported(f"{where}.reason", reason, _REASONS)
        target = rule.get("fieldPath") or ""
        if target and not target.strip():
            yield invalid(f"{where}.fieldPath", target, "must be non-empty if specified")
        if _has_breaks(target):
            yield invalid(f"{where}.fieldPath", target, "must not contain line breaks")
        if target and not why_not_built(schema):
            try:
                find_path(target, schema)
            except PathProblem:
                yield invalid(f"{where}.fieldPath", target, "must be a valid path")
