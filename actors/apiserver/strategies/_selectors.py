"""Label selectors inside objects: validation and matching for strategies.

Owns `k8s.io/apimachinery/pkg/apis/meta/v1/validation`'s rules for `LabelSelector` and the text of
a selector in a Table. Parsing of selectors in URLs is `protocol.selectors`.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._errors import FieldError, forbidden, invalid, required
from actors.apiserver.strategies._meta import validate_label_name, validate_labels
from protocol.names import label_value
from protocol.selectors import Selector, SelectorError, selector_of

__all__ = [
    "compile_selector",
    "format_labels",
    "format_selector",
    "has_invalid_value",
    "selector_form",
    "validate_selector",
]

Object = dict[str, Any]


def validate_selector(
    selector: Object | None, path: str, allow_invalid_values: bool = False
) -> list[FieldError]:
    """A label selector in an object."""
    if not selector:
        return []
    errors = validate_labels(selector.get("matchLabels"), path + ".matchLabels")
    for index, requirement in enumerate(selector.get("matchExpressions") or ()):
        at = f"{path}.matchExpressions[{index}]"
        errors += _validate_requirement(requirement, at, allow_invalid_values)
    return errors


def _validate_requirement(
    requirement: Object, path: str, allow_invalid_values: bool
) -> list[FieldError]:
    errors: list[FieldError] = []
    operator = requirement.get("operator", "")
    values = requirement.get("values") or []
    if operator in ("In", "NotIn"):
        if not values:
            detail = "must be specified when `operator` is 'In' or 'NotIn'"
            errors.append(required(path + ".values", detail))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden(path + ".values", detail))
    else:
        errors.append(invalid(path + ".operator", operator, "not a valid selector operator"))
    errors += validate_label_name(requirement.get("key", ""), path + ".key")
    if not allow_invalid_values:
        for index, value in enumerate(values):
            for message in label_value(value):
                errors.append(invalid(f"{path}.values[{index}]", value, message))
    return errors


def has_invalid_value(selector: Object | None) -> bool:
    """Whether an expression has a value that is no label value, as old objects may."""
    for expression in (selector or {}).get("matchExpressions") or ():
        if any(label_value(value) for value in expression.get("values") or ()):
            return True
    return False


def compile_selector(selector: Object | None) -> Selector | None:
    """The selector ready to match; None where it is not a selector at all."""
    for expression in (selector or {}).get("matchExpressions") or ():
        if expression.get("values") and expression.get("operator") in ("Exists", "DoesNotExist"):
            return None
    try:
        return selector_of(selector)
    except SelectorError:
        return None


def selector_form(selector: Object | None) -> Object | None:
    """A selector with its fields in Go's order and its labels sorted, for error texts."""
    if selector is None:
        return None
    out: Object = {}
    if selector.get("matchLabels"):
        out["matchLabels"] = dict(sorted(selector["matchLabels"].items()))
    if selector.get("matchExpressions"):
        out["matchExpressions"] = [
            {key: item[key] for key in ("key", "operator", "values") if key in item}
            for item in selector["matchExpressions"]
        ]
    return out


def format_selector(selector: Object | None) -> str:
    """The text of a selector in a Table: `app=web`, `<none>` for an empty one."""
    if selector is None:
        return "<none>"
    compiled = compile_selector(selector)
    return "<error>" if compiled is None else str(compiled) or "<none>"


def format_labels(labels: dict[str, str] | None) -> str:
    """The text of labels in a Table: `a=b,c=d`, `<none>` when there are none."""
    if not labels:
        return "<none>"
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
