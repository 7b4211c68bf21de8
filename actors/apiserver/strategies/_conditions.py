"""Conditions of the common form (`metav1.Condition`).

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/
"""

from __future__ import annotations

import re
from typing import Any

from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
)
from actors.apiserver.strategies._meta import validate_label_name

__all__ = ["validate_conditions"]

Object = dict[str, Any]

_STATUSES = ("False", "True", "Unknown")
_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_is_reason = re.compile(f"(?:{_REASON})\\Z").match
_REASON_TEXT = (
    "a condition reason must start with alphabetic character, optionally followed by a string of "
    "alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' "
    f"(e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', "
    f"regex used for validation is '{_REASON}')"
)


def validate_conditions(conditions: list[Object], path: str) -> list[FieldError]:
    """Conditions with unique types, known statuses, a reason and a time."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        at = f"{path}[{index}]"
        kind = condition.get("type", "")
        if kind in seen:
            errors.append(duplicate(at, kind))
        seen.add(kind)
        errors += _validate(condition, at)
    return errors


def _validate(condition: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    kind, status = condition.get("type", ""), condition.get("status", "")
    if not kind:
        errors.append(required(path + ".type", "is required"))
    else:
        errors += validate_label_name(kind, path + ".type")
    if not status:
        errors.append(required(path + ".status"))
    elif status not in _STATUSES:
        errors.append(not_supported(path + ".status", status, _STATUSES))
    generation = condition.get("observedGeneration", 0)
    if generation < 0:
        detail = "must be greater than or equal to zero"
        errors.append(invalid(path + ".observedGeneration", generation, detail))
    if not condition.get("lastTransitionTime"):
        errors.append(required(path + ".lastTransitionTime", "must be set"))
    reason = condition.get("reason", "")
    if not reason:
        errors.append(required(path + ".reason", "must be set"))
    else:
        if not _is_reason(reason):
            errors.append(invalid(path + ".reason", reason, _REASON_TEXT))
        if len(reason) > 1024:
            errors.append(too_long(path + ".reason", 1024))
    if len(condition.get("message", "")) > 32768:
        errors.append(too_long(path + ".message", 32768))
    return errors
