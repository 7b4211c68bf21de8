"""Validation of the schema inside a definition: structural form, extensions, defaults, rules.

Owns upstream's errors about `openAPIV3Schema`. It must never look at custom objects.

Source: k8s.io/apiextensions-apiserver: pkg/apiserver/schema/validation.go, .../defaulting/validation.go and
pkg/apis/apiextensions/validation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.apiserver.crd._node import node_of
from actors.apiserver.crd._places import field_path
from actors.apiserver.crd._shape import prune
from actors.apiserver.crd._values import check_value, compile_pattern
from actors.apiserver.strategies import FieldError
from actors.apiserver.strategies._errors import forbidden, invalid, not_supported, required

if TYPE_CHECKING:
    from actors.apiserver.crd._rule_costs import RuleCosts

__all__ = ["check_schema"]

Schema = dict[str, Any]
Errors = list[FieldError]
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_EMPTY_HINTS = {"root": "at the root", "item": "for specified array items", "field": "for specified object fields"}
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


def check_schema(validation: Schema | None, path: str, has_status: bool, known: bool = False) -> Errors:
    """The errors of `{openAPIV3Schema: ...}`. `known`: it was there before, whatever its rules cost."""
    schema = (validation or {}).get("openAPIV3Schema")
    if not schema:
        return []
    path = f"{path}.openAPIV3Schema"
    errors: Errors = []
    if has_status and schema.get("type", "object") != "object":
        detail = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
        errors.append(invalid(f"{path}.type", schema["type"], detail))
    if schema.get("nullable"):
        errors.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    structural = _structural(schema, "root", path)
    if not structural:
        structural = _defaults(schema, path, True)
    errors += structural
    form = _form(schema, path, True, "")
    errors += form
    if not structural and not form:
        from actors.apiserver.crd._rule_costs import RuleCosts

        costs = RuleCosts(known)
        errors += _rules(schema, path, True, "", 1, costs)
        errors += costs.all(path)
    return errors


# --- structural form --------------------------------------------------------------------------


def _structural(schema: Schema, level: str, path: str) -> Errors:
    errors: Errors = []
    word = schema.get("type", "")
    items = schema.get("items")
    if word == "array" and items is None:
        errors.append(required(f"{path}.items", "must be specified"))
    if isinstance(items, dict):
        errors += _structural(items, "item", f"{path}.items")
    properties = schema.get("properties") or {}
    for name in sorted(properties):
        errors += _structural(properties[name], "field", f"{path}.properties[{name}]")
    extra = schema.get("additionalProperties")
    if extra is not None:
        if level == "root":
            errors.append(forbidden(f"{path}.additionalProperties", "must not be used at the root"))
        if isinstance(extra, dict):
            errors += _structural(extra, "field", f"{path}.additionalProperties")
    errors += _extensions(schema, path)
    errors += _junctors(schema, path)
    errors += _type_needed(schema, level, path)
    errors += _header_types(schema, level, path)
    return errors


def _extensions(schema: Schema, path: str) -> Errors:
    errors: Errors = []
    if schema.get("x-kubernetes-int-or-string"):
        for field in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if schema.get(field):
                errors.append(invalid(f"{path}.{field}", True, "must be false if x-kubernetes-int-or-string is true"))
    return errors


def _type_needed(schema: Schema, level: str, path: str) -> Errors:
    word = schema.get("type", "")
    errors: Errors = []
    if schema.get("x-kubernetes-embedded-resource") and word != "object":
        words = "must be object if x-kubernetes-embedded-resource is true"
        errors.append(invalid(f"{path}.type", word, words) if word else required(f"{path}.type", words))
    elif not word and not (
        schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        errors.append(required(f"{path}.type", f"must not be empty {_EMPTY_HINTS[level]}"))
    if schema.get("x-kubernetes-embedded-resource") and schema.get("additionalProperties") is not None:
        words = "must not be used if x-kubernetes-embedded-resource is set"
        errors.append(forbidden(f"{path}.additionalProperties", words))
    if level == "root" and word and word != "object":
        errors.append(invalid(f"{path}.type", word, "must be object at the root"))
    return errors


def _header_types(schema: Schema, level: str, path: str) -> Errors:
    errors: Errors = []
    properties = schema.get("properties") or {}
    whole = level == "root" or bool(schema.get("x-kubernetes-embedded-resource"))
    for name in ("kind", "apiVersion"):
        if whole and name in properties and properties[name].get("type") != "string":
            word = properties[name].get("type", "")
            errors.append(invalid(f"{path}.properties[{name}].type", word, "must be string"))
    meta = properties.get("metadata")
    if meta is not None:
        where = f"{path}.properties[metadata]"
        if whole and meta.get("type") != "object":
            errors.append(invalid(f"{where}.type", meta.get("type", ""), "must be object"))
        if level == "root":
            known = {"type", "properties", "description", "default"}
            named = set(meta.get("properties") or ())
            if set(meta) - known or named - {"name", "generateName"}:
                words = "must not specify anything other than name and generateName, but metadata is implicitly specified"
                errors.append(forbidden(where, words))
    if (
        schema.get("x-kubernetes-embedded-resource")
        and not schema.get("x-kubernetes-preserve-unknown-fields")
        and not properties
    ):
        words = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        errors.append(required(f"{path}.properties", words))
    return errors


def _junctors(schema: Schema, path: str) -> Errors:
    errors: Errors = []
    plain_any = schema.get("anyOf") == _INT_OR_STRING and schema.get("x-kubernetes-int-or-string")
    all_of = schema.get("allOf") or []
    plain_all = bool(all_of) and all_of[0].get("anyOf") == _INT_OR_STRING and schema.get("x-kubernetes-int-or-string")
    if not plain_any:
        for i, part in enumerate(schema.get("anyOf") or ()):
            errors += _nested(part, f"{path}.anyOf[{i}]", False)
    for i, part in enumerate(all_of):
        errors += _nested(part, f"{path}.allOf[{i}]", bool(plain_all) and i == 0, rules=True)
    for i, part in enumerate(schema.get("oneOf") or ()):
        errors += _nested(part, f"{path}.oneOf[{i}]", False)
    if schema.get("not") is not None:
        errors += _nested(schema["not"], f"{path}.not", False)
    pattern = schema.get("pattern")
    if pattern:
        try:
            compile_pattern(pattern)
        except ValueError as error:
            words = f"must be a valid regular expression, but isn't: {error}"
            errors.append(invalid(f"{path}.pattern", pattern, words))
    return errors


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
)


def _nested(schema: Schema, path: str, skip_any: bool, rules: bool = False) -> Errors:
    """A schema under a logical junctor may only validate values."""
    errors = _junctors({key: value for key, value in schema.items() if not (skip_any and key == "anyOf")}, path)
    if isinstance(schema.get("items"), dict):
        errors += _nested(schema["items"], f"{path}.items", False, rules)
    properties = schema.get("properties") or {}
    for name in sorted(properties):
        errors += _nested(properties[name], f"{path}.properties[{name}]", False, rules)
    for field, words in _NESTED_FORBIDDEN:
        if schema.get(field) or (field == "default" and schema.get(field) is not None):
            errors.append(forbidden(f"{path}.{field}", words))
    if schema.get("x-kubernetes-validations") and not rules:
        errors.append(forbidden(f"{path}.x-kubernetes-validations", "must be empty to be structural"))
    return errors


# --- defaults ---------------------------------------------------------------------------------


def _defaults(schema: Schema, path: str, root: bool) -> Errors:
    errors: Errors = []
    if schema.get("default") is not None:
        errors += _default(schema, f"{path}.default")
    if isinstance(schema.get("items"), dict):
        errors += _defaults(schema["items"], f"{path}.items", False)
    properties = schema.get("properties") or {}
    for name in sorted(properties):
        if root and name in ("metadata", "apiVersion", "kind"):
            continue
        errors += _defaults(properties[name], f"{path}.properties[{name}]", False)
    return errors


def _default(schema: Schema, path: str) -> Errors:
    from actors.apiserver.crd._rules import check_rules

    value = schema["default"]
    node = node_of(schema)
    copy = _copy(value)
    if prune(copy, node):
        return [invalid(path, value, "must not have unknown fields")]
    errors = check_value(schema, value, "") or check_rules(node, value, None).errors
    return [
        FieldError(error.type, path if error.field == "<nil>" else f"{path}.{error.field}", error.message)
        for error in errors
    ]


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


# --- extensions and forbidden fields ----------------------------------------------------------


def _form(schema: Schema, path: str, root: bool, no_defaults: str) -> Errors:
    errors = _unsupported(schema, path, no_defaults)
    if schema.get("uniqueItems"):
        words = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        errors.append(forbidden(f"{path}.uniqueItems", words))
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    if extra is not None and properties and extra is not True:
        words = "additionalProperties and properties are mutual exclusive"
        errors.append(forbidden(f"{path}.additionalProperties", words))
    if isinstance(extra, dict):
        errors += _form(extra, f"{path}.additionalProperties", False, no_defaults)
    for name in sorted(properties):
        reason = f"in top-level {name}" if root and name in ("metadata", "apiVersion", "kind") else no_defaults
        errors += _form(properties[name], f"{path}.properties[{name}]", False, reason)
    if isinstance(schema.get("items"), dict):
        errors += _form(schema["items"], f"{path}.items", False, no_defaults)
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        errors.append(invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined"))
    errors += _map_type(schema, path)
    errors += _list_type(schema, path)
    return errors + _rule_form(schema, path)


def _unsupported(schema: Schema, path: str, no_defaults: str) -> Errors:
    errors: Errors = []
    word = schema.get("type", "")
    if word and word not in _TYPES:
        errors.append(not_supported(f"{path}.type", word, _TYPES))
    if schema.get("default") is not None and no_defaults:
        errors.append(forbidden(f"{path}.default", f"must not be set {no_defaults}"))
    for field in ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"):
        if schema.get(field):
            errors.append(forbidden(f"{path}.{field}", f"{field} is not supported"))
    if word == "null":
        errors.append(forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative"))
    if isinstance(schema.get("items"), list):
        errors.append(forbidden(f"{path}.items", "items must be a schema object and not an array"))
    return errors


def _map_type(schema: Schema, path: str) -> Errors:
    errors: Errors = []
    kind, word = schema.get("x-kubernetes-map-type"), schema.get("type", "")
    if kind is None:
        return errors
    if word != "object":
        words = "must be object if x-kubernetes-map-type is specified"
        errors.append(invalid(f"{path}.type", word, words) if word else required(f"{path}.type", words))
    if kind not in ("atomic", "granular"):
        errors.append(not_supported(f"{path}.x-kubernetes-map-type", kind, ("atomic", "granular")))
    return errors


def _list_type(schema: Schema, path: str) -> Errors:
    errors: Errors = []
    kind, word = schema.get("x-kubernetes-list-type"), schema.get("type", "")
    keys, items = schema.get("x-kubernetes-list-map-keys") or [], schema.get("items")
    if kind is not None and word != "array":
        words = "must be array if x-kubernetes-list-type is specified"
        errors.append(invalid(f"{path}.type", word, words) if word else required(f"{path}.type", words))
    elif kind == "set" and isinstance(items, dict):
        words = "must be atomic as item of a list with x-kubernetes-list-type=set"
        if items.get("type") == "array" and items.get("x-kubernetes-list-type", "atomic") != "atomic":
            errors.append(invalid(f"{path}.items.x-kubernetes-list-type", items["x-kubernetes-list-type"], words))
        if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
            errors.append(invalid(f"{path}.items.x-kubernetes-map-type", items.get("x-kubernetes-list-type"), words))
    if kind not in (None, "atomic", "set", "map"):
        errors.append(not_supported(f"{path}.x-kubernetes-list-type", kind, ("atomic", "set", "map")))
    if keys and kind != "map":
        words = "must be map if x-kubernetes-list-map-keys is non-empty"
        where = f"{path}.x-kubernetes-list-type"
        errors.append(required(where, words) if kind is None else invalid(where, kind, words))
    if kind == "map":
        errors += _map_list(schema, keys, items, path)
    if kind in ("map", "set") and isinstance(items, dict):
        errors += _key_values(kind, keys, items, path)
    return errors


def _map_list(schema: Schema, keys: list[str], items: Any, path: str) -> Errors:
    errors: Errors = []
    where = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        errors.append(required(where, "must not be empty if x-kubernetes-list-type is map"))
    if items is None:
        errors.append(required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map"))
        return errors
    if not isinstance(items, dict):
        return errors
    if items.get("type") != "object":
        words = "must be object if parent array's x-kubernetes-list-type is map"
        errors.append(invalid(f"{path}.items.type", items.get("type", ""), words))
        return errors
    seen: set[str] = set()
    for key in keys:
        sub = (items.get("properties") or {}).get(key)
        if sub is None:
            errors.append(invalid(where, keys, "entries must all be names of item properties"))
        elif sub.get("type") in ("array", "object"):
            words = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            errors.append(invalid(f"{path}.items.properties[{key}].type", items.get("type"), words))
        if key in seen:
            errors.append(invalid(where, keys, "must not contain duplicate entries"))
        seen.add(key)
    return errors


def _key_values(kind: str, keys: list[str], items: Schema, path: str) -> Errors:
    errors: Errors = []
    if items.get("nullable"):
        words = f"cannot be nullable when x-kubernetes-list-type is {kind}"
        errors.append(forbidden(f"{path}.items.nullable", words))
    if kind != "map":
        return errors
    for key in keys:
        sub = (items.get("properties") or {}).get(key)
        if sub is None:
            continue
        where = f"{path}.items.properties[{key}]"
        if key not in (items.get("required") or ()) and sub.get("default") is None:
            words = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            errors.append(required(f"{where}.default", words))
        if sub.get("nullable"):
            words = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            errors.append(forbidden(f"{where}.nullable", words))
    return errors


# --- rules ------------------------------------------------------------------------------------


def _rule_form(schema: Schema, path: str) -> Errors:
    errors: Errors = []
    for i, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        where = f"{path}.x-kubernetes-validations[{i}]"
        source, message = str(rule.get("rule") or "").strip(), rule.get("message") or ""
        if not source:
            errors.append(required(f"{where}.rule", "rule is not specified"))
        elif message and not message.strip():
            errors.append(invalid(f"{where}.message", message, "must be non-empty if specified"))
        elif "\n" in message.strip():
            errors.append(invalid(f"{where}.message", message, "must not contain line breaks"))
        elif "\n" in source and not message.strip():
            words = "message must be specified if rule contains line breaks"
            errors.append(required(f"{where}.message", words))
        expression = rule.get("messageExpression") or ""
        if expression and not expression.strip():
            words = "messageExpression must be non-empty if specified"
            errors.append(required(f"{where}.messageExpression", words))
        reason = rule.get("reason")
        if reason is not None and reason not in _REASONS:
            errors.append(not_supported(f"{where}.reason", reason, _REASONS))
        target = rule.get("fieldPath") or ""
        if target and not target.strip():
            errors.append(invalid(f"{where}.fieldPath", target, "must be non-empty if specified"))
        if target.strip() and field_path(target, schema) is None:
            errors.append(invalid(f"{where}.fieldPath", target, "must be a valid path"))
    return errors


def _rules(
    schema: Schema, path: str, root: bool, uncorrelatable: str, times: int | None, costs: RuleCosts
) -> Errors:
    """The errors of rules here and below. `times`: how often this place may occur; None: no bound."""
    from actors.apiserver.crd._rule_costs import below

    errors: Errors = []
    inner = below(schema, times)
    if isinstance(schema.get("additionalProperties"), dict):
        where = f"{path}.additionalProperties"
        errors += _rules(schema["additionalProperties"], where, False, uncorrelatable, inner, costs)
    for name, sub in sorted((schema.get("properties") or {}).items()):
        blocked = uncorrelatable or (path if schema.get("x-kubernetes-map-type") == "atomic" else "")
        errors += _rules(sub, f"{path}.properties[{name}]", False, blocked, inner, costs)
    if isinstance(schema.get("items"), dict):
        blocked = uncorrelatable or (path if schema.get("x-kubernetes-list-type") != "map" else "")
        errors += _rules(schema["items"], f"{path}.items", False, blocked, inner, costs)
    rules = schema.get("x-kubernetes-validations") or ()
    if rules:
        errors += _compile(schema, rules, path, root, uncorrelatable, times, costs)
    return errors


def _rule_json(rule: Schema) -> Schema:
    return {
        "Rule": rule.get("rule") or "",
        "Message": rule.get("message") or "",
        "MessageExpression": rule.get("messageExpression") or "",
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath") or "",
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }


def _compile(
    schema: Schema, rules: Any, path: str, root: bool, uncorrelatable: str, times: int | None, costs: RuleCosts
) -> Errors:
    from actors.apiserver.crd._places import Rule
    from protocol.cel import Checker

    errors: Errors = []
    checker = Checker(schema, root)
    for i, declared in enumerate(rules):
        where = f"{path}.x-kubernetes-validations[{i}]"
        rule = Rule(declared, checker)
        if rule.error:
            errors.append(invalid(f"{where}.rule", _rule_json(declared), rule.error))
        elif rule.program is not None:
            errors += costs.rule(checker, checker.cost(rule.program), times, f"{where}.rule")
        if rule.message_error:
            errors.append(invalid(f"{where}.messageExpression", _rule_json(declared), rule.message_error))
        elif rule.message_program is not None:
            errors += costs.message(checker.cost(rule.message_program), f"{where}.messageExpression")
        if rule.uses_old and uncorrelatable:
            words = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelatable}"
            errors.append(invalid(f"{where}.rule", rule.source, words))
        elif not rule.uses_old and declared.get("optionalOldSelf") is not None:
            words = "may not be set if oldSelf is not used in rule"
            errors.append(invalid(f"{where}.optionalOldSelf", declared["optionalOldSelf"], words))
    return errors
