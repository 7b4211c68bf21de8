"""Validating and mutating admission policies and their bindings.

Owns defaults, validation with the compilation of expressions, and columns. Applying policies
belongs to admission.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

from typing import Any, ClassVar

from actors.apiserver.strategies._admission_rules import (
    FAILURE_POLICIES,
    default_match_resources,
    validate_match_resources,
)
from actors.apiserver.strategies._base import AGE, NAME, Column, Object, Strategy
from actors.apiserver.strategies._conditions import validate_conditions
from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._expressions import (
    Scope,
    validate_match_conditions,
)
from actors.apiserver.strategies._policy_rules import (
    validate_actions,
    validate_audit,
    validate_mutation,
    validate_param_kind,
    validate_param_ref,
    validate_validation,
    validate_variable,
)
from protocol.names import (
    dns1123_subdomain,
)

__all__ = ["MutatingBindingStrategy", "MutatingPolicyStrategy", "PolicyBindingStrategy", "PolicyStrategy"]

_REINVOCATION = ("IfNeeded", "Never")
_MUTABLE = ("*", "CONNECT", "CREATE", "UPDATE")
_MAX_AUDIT_ANNOTATIONS = 20
_NOTHING = "validations or auditAnnotations must contain at least one item"


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

    def _check_scope(self, spec: Object, scope: Scope) -> list[FieldError]:
        """Failure policy, parameters, the requests concerned, and variables, which `scope` learns."""
        errors: list[FieldError] = []
        policy = spec.get("failurePolicy")
        if policy is None:
            errors.append(required("spec.failurePolicy"))
        elif policy not in FAILURE_POLICIES:
            errors.append(not_supported("spec.failurePolicy", policy, FAILURE_POLICIES))
        kind, match = spec.get("paramKind"), spec.get("matchConstraints")
        if kind is not None:
            errors += validate_param_kind(kind, "spec.paramKind")
        if match is None:
            errors.append(required("spec.matchConstraints"))
        else:
            errors += validate_match_resources(match, "spec.matchConstraints")
            if not match.get("resourceRules"):
                errors.append(required("spec.matchConstraints.resourceRules"))
            errors += self._check_operations(match, "spec.matchConstraints")
        conditions = spec.get("matchConditions") or []
        errors += validate_match_conditions(conditions, "spec.matchConditions", kind is not None)
        for index, variable in enumerate(spec.get("variables") or ()):
            errors += validate_variable(variable, f"spec.variables[{index}]", scope)
        return errors

    def _check_operations(self, match: Object, path: str) -> list[FieldError]:
        """The operations that this kind of policy cannot do anything about."""
        return []

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check(new)

    def _param_cell(self, obj: Object) -> str:
        kind = (obj.get("spec") or {}).get("paramKind")
        return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else "<unset>"


class PolicyStrategy(_PolicyStrategy):
    """ValidatingAdmissionPolicy."""

    has_status = True
    status_keeps_metadata = True

    def check(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        scope = Scope(spec.get("paramKind") is not None, composed=bool(spec.get("variables")))
        errors = self.check_meta(obj) + self._check_scope(spec, scope)
        validations = spec.get("validations") or []
        annotations = spec.get("auditAnnotations") or []
        if not validations and not annotations:
            errors.append(required("spec.validations", _NOTHING))
            errors.append(required("spec.auditAnnotations", _NOTHING))
        for index, validation in enumerate(validations):
            errors += validate_validation(validation, f"spec.validations[{index}]", scope)
        if len(annotations) > _MAX_AUDIT_ANNOTATIONS:
            detail = f"must not have more than {_MAX_AUDIT_ANNOTATIONS} auditAnnotations"
            errors.append(invalid("spec.auditAnnotations", annotations, detail))
        keys = [annotation.get("key", "") for annotation in annotations]
        for index, annotation in enumerate(annotations):
            at = f"spec.auditAnnotations[{index}]"
            errors += validate_audit(annotation, at, obj["metadata"].get("name", ""), scope)
            if keys[index] in keys[:index]:
                errors.append(duplicate(at + ".key", keys[index]))
        return errors

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        status = new.get("status") or {}
        checking, at = status.get("typeChecking") or {}, "status.typeChecking.expressionWarnings"
        errors: list[FieldError] = []
        for index, warning in enumerate(checking.get("expressionWarnings") or ()):
            if not warning.get("warning"):
                errors.append(required(f"{at}[{index}].warning"))
            errors += _check_field_ref(warning.get("fieldRef", "").strip(), f"{at}[{index}].fieldRef")
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
        scope = Scope(spec.get("paramKind") is not None, composed=True, mutating=True)
        errors = self.check_meta(obj) + self._check_scope(spec, scope)
        mutations = spec.get("mutations") or []
        if not mutations:
            detail = "mutations must contain at least one item"
            errors.append(required("spec.mutations", detail))
        for index, mutation in enumerate(mutations):
            errors += validate_mutation(mutation, f"spec.mutations[{index}]", scope)
        policy = spec.get("reinvocationPolicy", "")
        if not policy:
            errors.append(required("spec.reinvocationPolicy"))
        elif policy not in _REINVOCATION:
            errors.append(not_supported("spec.reinvocationPolicy", policy, _REINVOCATION))
        return errors

    def _check_operations(self, match: Object, path: str) -> list[FieldError]:
        return _check_mutable(match, path)

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
        errors += validate_param_ref(spec.get("paramRef"), "spec.paramRef")
        if spec.get("matchResources") is not None:
            errors += validate_match_resources(spec["matchResources"], "spec.matchResources")
            if not self.actions:
                errors += _check_mutable(spec["matchResources"], "spec.matchResources")
        if self.actions:
            errors += validate_actions(spec.get("validationActions") or [], "spec.validationActions")
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


def _check_field_ref(reference: str, path: str) -> list[FieldError]:
    if not reference:
        return [required(path)]
    from actors.apiserver.crd._paths import PathProblem, parse

    try:
        parse("{" + reference + "}")
    except PathProblem as problem:
        return [invalid(path, reference, f"invalid JSONPath: {problem}")]
    return []


def _check_mutable(match: Object, path: str) -> list[FieldError]:
    """What is deleted cannot be mutated."""
    return [
        not_supported(path + ".resourceRules.operations", operation, _MUTABLE)
        for rule in match.get("resourceRules") or ()
        for operation in rule.get("operations") or ()
        if operation not in _MUTABLE
    ]


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


