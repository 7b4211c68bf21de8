"""Validation of the schema inside a definition: structural form, extensions, defaults, rules.

Owns upstream's errors about `openAPIV3Schema` and their order. It must never look at custom objects.

Source: k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.apiserver.crd._default_rules import check_defaults
from actors.apiserver.crd._form import Surroundings, check_form, check_form_after, parts
from actors.apiserver.crd._shown import ROOT_FIELDS, SCHEMA_FIELDS, shown_rule, shown_schema
from actors.apiserver.crd._structural import check_structural, why_not_built
from actors.apiserver.strategies import FieldError
from actors.apiserver.strategies._errors import forbidden, invalid

if TYPE_CHECKING:
    from actors.apiserver.crd._rule_costs import RuleCosts

__all__ = ["check_schema"]

Schema = dict[str, Any]
Errors = list[FieldError]


def check_schema(validation: Schema | None, path: str, has_status: bool, known: bool = False) -> Errors:
    """The errors of `{openAPIV3Schema: ...}`. `known`: it was there before, whatever its rules cost."""
    schema = (validation or {}).get("openAPIV3Schema")
    if schema is None:
        return []
    path = f"{path}.openAPIV3Schema"
    errors = _root_fields(schema, path) if has_status else []
    if schema.get("nullable"):
        errors.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    not_built = why_not_built(schema)
    structure = [] if not_built else check_structural(schema, path) or check_defaults(schema, path)
    errors += structure
    costs: RuleCosts | None = None
    if not not_built and not structure:  # else expressions would be judged by types that are not there
        from actors.apiserver.crd._rule_costs import RuleCosts

        costs = RuleCosts(known)
    form, rules = _judge(schema, path, Surroundings(), 1, costs)
    errors += form + rules
    if not errors and not_built:
        errors.append(invalid(path, "", not_built))
    return errors + costs.all(path) if costs is not None else errors


def _root_fields(schema: Schema, path: str) -> Errors:
    """`status` is judged by `properties[status]` alone: the root may say only what is not lost so."""
    for field, name, unset, _ in SCHEMA_FIELDS:
        value = schema.get(field)
        if value is None or (value == unset and unset is not None):
            continue
        if name == "Type":
            if value != "object":
                words = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
                return [invalid(f"{path}.type", value, words)]
        elif name not in ROOT_FIELDS:
            words = "fields are allowed at the root of the schema if the status subresource is enabled"
            return [invalid(path, shown_schema(schema), f"only [{' '.join(ROOT_FIELDS)}] {words}")]
    return []


def _judge(
    schema: Schema, path: str, around: Surroundings, times: int | None, costs: RuleCosts | None
) -> tuple[Errors, Errors]:
    """The errors of a place and of all below it: of the schemas, and of the rules. Rules are judged where
    the schema is right from there on down. `times`: how often this place may occur; None: no bound."""
    from actors.apiserver.crd._rule_costs import below

    form = check_form(schema, path, around)
    rules: Errors = []
    inner = below(schema, times)
    for sub, where, there, counts in parts(schema, path, around):
        found, broken = _judge(sub, where, there, inner, costs if counts else None)
        form += found
        rules += broken
    form += check_form_after(schema, path)
    declared = schema.get("x-kubernetes-validations")
    if declared and not form and costs is not None:
        rules += _compile(schema, declared, path, around.root, around.uncorrelatable, times, costs)
    return form, rules


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
            errors.append(invalid(f"{where}.rule", shown_rule(declared), rule.error))
        elif rule.program is not None:
            errors += costs.rule(checker, checker.cost(rule.program), times, f"{where}.rule")
        if rule.message_error:
            errors.append(invalid(f"{where}.messageExpression", shown_rule(declared), rule.message_error))
        elif rule.message_program is not None:
            errors += costs.message(checker.cost(rule.message_program), f"{where}.messageExpression")
        if rule.uses_old and uncorrelatable:
            words = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelatable}"
            errors.append(invalid(f"{where}.rule", rule.source, words))
        elif not rule.uses_old and declared.get("optionalOldSelf") is not None:
            words = "may not be set if oldSelf is not used in rule"
            errors.append(invalid(f"{where}.optionalOldSelf", declared["optionalOldSelf"], words))
    return errors
