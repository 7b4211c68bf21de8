"""Validating and mutating admission policies and their bindings.

Owns defaults, validation with the compilation of expressions, and columns. Applying policies
belongs to admission.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from actors.apiserver.strategies._admission_rules import (
    FAILURE_POLICIES,
    default_match_resources,
    validate_match_resources,
)
from actors.apiserver.strategies._base import AGE, NAME, Column, Object, Strategy
from actors.apiserver.strategies._conditions import validate_conditions
from actors.apiserver.strategies._errors import (
    OMIT,
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._expressions import (
    check_expression,
    check_syntax,
    validate_match_conditions,
    variables_of,
)
from actors.apiserver.strategies._names import (
    dns1035_label,
    dns1123_subdomain,
    path_segment_name,
    qualified_name,
)
from actors.apiserver.strategies._selectors import validate_selector

__all__ = ["MutatingBindingStrategy", "MutatingPolicyStrategy", "PolicyBindingStrategy", "PolicyStrategy"]

_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_ACTIONS = ("Audit", "Deny", "Warn")
_NOT_FOUND_ACTIONS = ("Deny", "Allow")
_REINVOCATION = ("IfNeeded", "Never")
_PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
_MAX_AUDIT_ANNOTATIONS = 20
_MAX_VALUE_EXPRESSION = 5 * 1024
_NOTHING = "validations or auditAnnotations must contain at least one item"
_is_identifier = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z").match
_RESERVED = frozenset(
    ["true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"]
)


class _PolicyStrategy(Strategy):
    """What both kinds of policies share."""

    has_generation = True
    allow_unconditional_update = False

    def default(self, obj: Object) -> None:
        spec = obj.get("spec")
        if spec is None:
            return
        if spec.get("failurePolicy") is None:
            spec["failurePolicy"] = "Fail"
        if spec.get("matchConstraints") is not None:
            default_match_resources(spec["matchConstraints"])

    def _check_scope(self, spec: Object) -> list[FieldError]:
        """Failure policy, parameters and the requests concerned."""
        errors: list[FieldError] = []
        policy = spec.get("failurePolicy")
        if policy is None:
            errors.append(required("spec.failurePolicy"))
        elif policy not in FAILURE_POLICIES:
            errors.append(not_supported("spec.failurePolicy", policy, FAILURE_POLICIES))
        kind, match = spec.get("paramKind"), spec.get("matchConstraints")
        if kind is not None:
            errors += _param_kind(kind, "spec.paramKind")
        if match is None:
            errors.append(required("spec.matchConstraints"))
        else:
            errors += validate_match_resources(match, "spec.matchConstraints")
            if not match.get("resourceRules"):
                errors.append(required("spec.matchConstraints.resourceRules"))
        conditions = spec.get("matchConditions") or []
        errors += validate_match_conditions(conditions, "spec.matchConditions", kind is not None)
        for index, variable in enumerate(spec.get("variables") or ()):
            errors += _variable(variable, f"spec.variables[{index}]", kind is not None)
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check(new)

    def _param_cell(self, obj: Object) -> str:
        kind = (obj.get("spec") or {}).get("paramKind")
        return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else "<unset>"


class PolicyStrategy(_PolicyStrategy):
    """ValidatingAdmissionPolicy."""

    has_status = True

    def check(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        errors = self.check_meta(obj) + self._check_scope(spec)
        params = spec.get("paramKind") is not None
        validations = spec.get("validations") or []
        annotations = spec.get("auditAnnotations") or []
        if not validations and not annotations:
            errors.append(required("spec.validations", _NOTHING))
            errors.append(required("spec.auditAnnotations", _NOTHING))
        for index, validation in enumerate(validations):
            errors += _validation(validation, f"spec.validations[{index}]", params)
        if len(annotations) > _MAX_AUDIT_ANNOTATIONS:
            detail = f"must not have more than {_MAX_AUDIT_ANNOTATIONS} auditAnnotations"
            errors.append(invalid("spec.auditAnnotations", annotations, detail))
        keys = [annotation.get("key", "") for annotation in annotations]
        for index, annotation in enumerate(annotations):
            at = f"spec.auditAnnotations[{index}]"
            errors += _audit(annotation, at, obj["metadata"].get("name", ""), params)
            if keys[index] in keys[:index]:
                errors.append(duplicate(at + ".key", keys[index]))
        return errors

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        status = new.get("status") or {}
        checking, at = status.get("typeChecking") or {}, "status.typeChecking.expressionWarnings"
        errors: list[FieldError] = []
        for index, warning in enumerate(checking.get("expressionWarnings") or ()):
            errors += [
                required(f"{at}[{index}].{key}")
                for key in ("warning", "fieldRef")
                if not warning.get(key, "").strip()
            ]
        conditions = status.get("conditions") or []
        return errors + validate_conditions(conditions, "status.conditions")

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Validations", "integer", "", "Number of validations."),
            Column("ParamKind", "string", "", "Kind of the parameters."),
            AGE,
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        validations = (obj.get("spec") or {}).get("validations") or ()
        name = obj["metadata"].get("name", "")
        return [name, len(validations), self._param_cell(obj), self.age(obj, now)]


class MutatingPolicyStrategy(_PolicyStrategy):
    """MutatingAdmissionPolicy."""

    def check(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        errors = self.check_meta(obj) + self._check_scope(spec)
        params = spec.get("paramKind") is not None
        mutations = spec.get("mutations") or []
        if not mutations:
            detail = "mutations must contain at least one item"
            errors.append(required("spec.mutations", detail))
        for index, mutation in enumerate(mutations):
            errors += _mutation(mutation, f"spec.mutations[{index}]", params)
        policy = spec.get("reinvocationPolicy", "")
        if not policy:
            errors.append(required("spec.reinvocationPolicy"))
        elif policy not in _REINVOCATION:
            errors.append(not_supported("spec.reinvocationPolicy", policy, _REINVOCATION))
        return errors

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Mutations", "integer", "", "Number of mutations."),
            Column("ParamKind", "string", "", "Kind of the parameters."),
            AGE,
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        mutations = (obj.get("spec") or {}).get("mutations") or ()
        name = obj["metadata"].get("name", "")
        return [name, len(mutations), self._param_cell(obj), self.age(obj, now)]


class PolicyBindingStrategy(Strategy):
    """ValidatingAdmissionPolicyBinding."""

    has_generation = True
    allow_unconditional_update = False
    actions: ClassVar[bool] = True
    """Whether bindings say what happens to a refused request."""

    def default(self, obj: Object) -> None:
        spec = obj.get("spec") or {}
        if spec.get("matchResources") is not None:
            default_match_resources(spec["matchResources"])

    def check(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        errors, name = self.check_meta(obj), spec.get("policyName", "")
        if not name:
            errors.append(required("spec.policyName"))
        else:
            errors += [invalid("spec.policyName", name, m) for m in dns1123_subdomain(name)]
        errors += _param_ref(spec.get("paramRef"), "spec.paramRef")
        if spec.get("matchResources") is not None:
            errors += validate_match_resources(spec["matchResources"], "spec.matchResouces")
        if self.actions:
            errors += _actions(spec.get("validationActions") or [], "spec.validationActions")
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check(new)

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("PolicyName", "string", "", "The policy that is put in force."),
            Column("ParamRef", "string", "", "The parameters of the policy."),
            AGE,
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        reference, cell = spec.get("paramRef"), "<unset>"
        if reference is not None:
            if reference.get("name"):
                cell = f"{reference.get('namespace') or '*'}/{reference['name']}"
            elif reference.get("selector") is not None:
                cell = _go_selector(reference["selector"])
        return [
            obj["metadata"].get("name", ""),
            spec.get("policyName", ""),
            cell,
            self.age(obj, now),
        ]


class MutatingBindingStrategy(PolicyBindingStrategy):
    """MutatingAdmissionPolicyBinding."""

    actions = False


def _go_selector(selector: Object) -> str:
    """A selector as Go's generated `String` prints it."""
    labels = selector.get("matchLabels") or {}
    shown = "".join(f"{key}: {labels[key]}," for key in sorted(labels))
    requirements = "".join(
        f"LabelSelectorRequirement{{Key:{r.get('key', '')},Operator:{r.get('operator', '')},"
        f"Values:[{' '.join(r.get('values') or ())}],}},"
        for r in selector.get("matchExpressions") or ()
    )
    listed = f"[]LabelSelectorRequirement{{{requirements}}}"
    return f"&LabelSelector{{MatchLabels:map[string]string{{{shown}}},MatchExpressions:{listed},}}"


def _param_kind(kind: Object, path: str) -> list[FieldError]:
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


def _variable(variable: Object, path: str, params: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    name, source = variable.get("name", ""), variable.get("expression", "")
    if not name.strip():
        errors.append(required(path + ".name", "name is not specified"))
    elif not _is_identifier(name) or name in _RESERVED:
        errors.append(invalid(path + ".name", name, "name is not a valid CEL identifier"))
    if not source.strip():
        errors.append(required(path + ".expression", "expression is not specified"))
    else:
        errors += _anything(source, path + ".expression", variables_of(params, composed=True))
    return errors


def _anything(source: str, path: str, names: tuple[str, ...]) -> list[FieldError]:
    """An expression whose result may be of any type."""
    found = check_expression(source, path, names, ("any",))
    return [error for error in found if "must evaluate to" not in error.message]


def _validation(validation: Object, path: str, params: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    source, message = validation.get("expression", ""), validation.get("message", "")
    text = validation.get("messageExpression", "")
    if not source.strip():
        errors.append(required(path + ".expression", "expression is not specified"))
    else:
        names = variables_of(params, composed=True)
        errors += check_expression(source, path + ".expression", names, ("bool",))
    if text and not text.strip():
        detail = "must be non-empty if specified"
        errors.append(invalid(path + ".messageExpression", text, detail))
    elif text:
        names = variables_of(params, authorizer=False, composed=True)
        errors += check_expression(text, path + ".messageExpression", names, ("string",))
    at, trimmed = path + ".message", message.strip()
    if message and not trimmed:
        errors.append(invalid(at, message, "message must be non-empty if specified"))
    elif "\n" in trimmed or "\r" in trimmed:
        errors.append(invalid(at, message, "message must not contain line breaks"))
    reason = validation.get("reason")
    if reason is not None and reason not in _REASONS:
        errors.append(not_supported(path + ".reason", reason, _REASONS))
    return errors


def _audit(annotation: Object, path: str, name: str, params: bool) -> list[FieldError]:
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
        names = variables_of(params, composed=True)
        errors += check_expression(source, at, names, ("string", "null_type"))
    return errors


def _mutation(mutation: Object, path: str, params: bool) -> list[FieldError]:
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
                errors.append(invalid(at, OMIT, detail))
        elif given is None:
            errors.append(required(at, f"must be specified when patchType is {patch}"))
        elif not given.get("expression", "").strip():
            errors.append(required(at + ".expression", "expression is not specified"))
        else:
            names = variables_of(params, composed=True)
            errors += check_syntax(given["expression"], at + ".expression", names)
    return errors


def _param_ref(reference: Object | None, path: str) -> list[FieldError]:
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


def _actions(actions: list[str], path: str) -> list[FieldError]:
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
