"""Parts of admission policies and bindings: variables, validations, mutations, parameters.

Owns their rules with the compilation of expressions (`pkg/apis/admissionregistration/validation`).
"""

from __future__ import annotations

import re

from actors.apiserver.strategies._base import Object
from actors.apiserver.strategies._errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from actors.apiserver.strategies._expressions import Scope, check_expression
from actors.apiserver.strategies._selectors import validate_selector
from protocol.names import dns1035_label, dns1123_subdomain, path_segment_name, qualified_name

__all__ = ["validate_actions", "validate_audit", "validate_mutation", "validate_param_kind", "validate_param_ref", "validate_validation", "validate_variable"]

_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_ACTIONS = ("Audit", "Deny", "Warn")
_NOT_FOUND_ACTIONS = ("Deny", "Allow")
_PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
_RESULTS = {"ApplyConfiguration": "Object", "JSONPatch": "list(JSONPatch)"}
_MAX_VALUE_EXPRESSION = 5 * 1024
_is_identifier = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z").match
_RESERVED = frozenset(
    ["true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"]
)


def validate_param_kind(kind: Object, path: str) -> list[FieldError]:
    """The kind of the parameters: a version and a kind."""
    errors: list[FieldError] = []
    text, name, at = kind.get("apiVersion", ""), kind.get("kind", ""), path + ".apiVersion"
    group, _, version = text.rpartition("/")
    if not text:
        errors.append(required(at))
    elif text.count("/") > 1:
        errors.append(invalid(at, text, f"unexpected GroupVersion string: {text}"))
    else:
        if group and (messages := dns1123_subdomain(group)):
            errors.append(invalid(at, group, ",".join(messages)))
        if not version:
            errors.append(invalid(at, text, "version must be specified"))
        elif messages := dns1035_label(version):
            errors.append(invalid(at, version, ",".join(messages)))
    if not name:
        errors.append(required(path + ".kind"))
    elif messages := dns1035_label(name.lower()):
        detail = "may have mixed case, but should otherwise match: " + ",".join(messages)
        errors.append(invalid(path + ".kind", name, detail))
    return errors


def validate_variable(variable: Object, path: str, scope: Scope) -> list[FieldError]:
    """A named expression that later ones may use."""
    errors: list[FieldError] = []
    name, source = variable.get("name", ""), variable.get("expression", "")
    if not name.strip():
        errors.append(required(path + ".name", "name is not specified"))
    elif not _is_identifier(name) or name in _RESERVED:
        errors.append(invalid(path + ".name", name, "must be a valid CEL identifier"))
    if not source.strip():
        errors.append(required(path + ".expression", "expression is not specified"))
    else:
        problem = scope.declare(name, source)
        if problem:
            errors.append(invalid(path + ".expression", source, problem))
    return errors


def validate_validation(validation: Object, path: str, scope: Scope) -> list[FieldError]:
    """An expression that must hold, and what is said when it does not."""
    errors: list[FieldError] = []
    source, message = validation.get("expression", ""), validation.get("message", "")
    text = validation.get("messageExpression", "")
    if not source.strip():
        errors.append(required(path + ".expression", "expression is not specified"))
    else:
        errors += check_expression(source, path + ".expression", scope.environment(), ("bool",))
    if text and not text.strip():
        detail = "must be non-empty if specified"
        errors.append(invalid(path + ".messageExpression", text, detail))
    elif text:
        errors += check_expression(text, path + ".messageExpression", scope.environment(authorizer=False), ("string",))
    at, trimmed = path + ".message", message.strip()
    if message and not trimmed:
        errors.append(invalid(at, message, "must be non-empty if specified"))
    elif "\n" in trimmed or "\r" in trimmed:
        errors.append(invalid(at, message, "must not contain line breaks"))
    reason = validation.get("reason")
    if reason is not None and reason not in _REASONS:
        errors.append(not_supported(path + ".reason", reason, _REASONS))
    return errors


def validate_audit(annotation: Object, path: str, name: str, scope: Scope) -> list[FieldError]:
    """A key and the expression of its value."""
    errors: list[FieldError] = []
    key, source = annotation.get("key", ""), annotation.get("valueExpression", "")
    if name:
        errors += [invalid(path + ".key", key, m) for m in qualified_name(f"{name}/{key}")]
    else:
        errors.append(invalid(path + ".key", key, "requires metadata.name be non-empty"))
    at = path + ".valueExpression"
    if not source.strip():
        errors.append(required(at, "valueExpression is not specified"))
    elif len(source.strip().encode()) > _MAX_VALUE_EXPRESSION:
        detail = f"must not exceed {_MAX_VALUE_EXPRESSION} bytes in length"
        errors.append(required(at, detail))
    else:
        errors += check_expression(source, at, scope.environment(), ("string", "null_type"))
    return errors


def validate_mutation(mutation: Object, path: str, scope: Scope) -> list[FieldError]:
    """A patch of one of the two types."""
    patch = mutation.get("patchType", "")
    if not patch:
        return [required(path + ".patchType")]
    if patch not in _PATCHES:
        return [not_supported(path + ".patchType", patch, _PATCHES)]
    errors: list[FieldError] = []
    for kind, key in _PATCHES.items():
        given, at = mutation.get(key), f"{path}.{key}"
        if kind != patch:
            if given is not None:
                detail = f"must not be specified when patchType is {patch}"
                errors.append(invalid(at, f"{{{key}}}", detail))
        elif given is None:
            errors.append(required(at, f"must be specified when patchType is {patch}"))
        elif source := given.get("expression", "").strip():
            errors += check_expression(source, at + ".expression", scope.environment(), (_RESULTS[kind],))
        else:
            errors.append(required(at + ".expression"))
    return errors


def validate_param_ref(reference: Object | None, path: str) -> list[FieldError]:
    """The parameters of a binding, by name or by labels."""
    if reference is None:
        return []
    errors: list[FieldError] = []
    name, selector = reference.get("name", ""), reference.get("selector")
    both = "name and selector are mutually exclusive"
    if name:
        errors += [invalid(path + ".name", name, m) for m in path_segment_name(name, False)]
        if selector is not None:
            errors.append(forbidden(path + ".name", both))
    if selector is not None:
        errors += validate_selector(selector, path + ".selector")
        if name:
            errors.append(forbidden(path + ".selector", both))
    if not name and selector is None:
        errors.append(required(path, "one of name or selector must be specified"))
    action = reference.get("parameterNotFoundAction")
    at = path + ".parameterNotFoundAction"
    if not action:
        errors.append(required(at))
    elif action not in _NOT_FOUND_ACTIONS:
        errors.append(not_supported(at, action, _NOT_FOUND_ACTIONS))
    return errors


def validate_actions(actions: list[str], path: str) -> list[FieldError]:
    """What happens to refused requests."""
    errors: list[FieldError] = []
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            errors.append(not_supported(f"{path}[{index}]", action, _ACTIONS))
        if action in actions[:index]:
            errors.append(duplicate(f"{path}[{index}]", action))
    if "Deny" in actions and "Warn" in actions:
        detail = (
            "must not contain both Deny and Warn (repeating the same validation failure "
            "information in the API response and headers serves no purpose)"
        )
        errors.append(invalid(path, actions, detail))
    if not actions:
        errors.append(required(path, "at least one validation action is required"))
    return errors
