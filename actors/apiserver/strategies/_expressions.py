"""Expressions in objects: CEL that must compile before an object is stored.

Owns the words of a failed compilation in a field error. Running expressions, and what they are
for, belongs to admission.

https://kubernetes.io/docs/reference/using-api/cel/
"""

from __future__ import annotations

import re
from typing import Any

from actors.apiserver.cel import CelError, compile_program
from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    invalid,
    required,
    too_many,
)
from actors.apiserver.strategies._names import qualified_name

__all__ = [
    "REQUEST_VARIABLES",
    "check_expression",
    "check_syntax",
    "validate_match_conditions",
    "variables_of",
]

Object = dict[str, Any]

REQUEST_VARIABLES = ("object", "oldObject", "request", "namespaceObject")
_MAX_CONDITIONS = 64
_UNDECLARED = re.compile(
    r"ERROR: <input>:(\d+):(\d+): undeclared reference to '([A-Za-z_]\w*)(\.[\w.]*)' "
)


def variables_of(params: bool, authorizer: bool = True, composed: bool = False) -> tuple[str, ...]:
    """The variables an admission expression may use."""
    extra = [*REQUEST_VARIABLES]
    if params:
        extra.append("params")
    if authorizer:
        extra.append("authorizer")
    if composed:
        extra.append("variables")
    return tuple(extra)


def _problem(source: str, names: tuple[str, ...], kinds: tuple[str, ...]) -> str:
    """Why an expression is refused, or nothing."""
    try:
        program = compile_program(source, names)
    except CelError as error:
        return "compilation failed: " + _root_reference(str(error))
    if program.kind in (*kinds, "dyn"):
        return ""
    if len(kinds) == 1:
        return f"must evaluate to {kinds[0]}"
    return f"must evaluate to one of [{' '.join(kinds)}]"


def _root_reference(text: str) -> str:
    """An undeclared `a.b` is reported as `a`, at its place."""
    found = _UNDECLARED.search(text)
    if found is None:
        return text
    line, column, root, rest = found.groups()
    dot = rest.rfind(".")
    start = max(int(column) - len(root) - dot, 1)
    head = f"ERROR: <input>:{line}:{start}: undeclared reference to '{root}' "
    lines = (text[: found.start()] + head + text[found.end() :]).split("\n")
    marks = len(lines) - 1
    if lines[marks].startswith(" | ") and lines[marks].endswith("^"):
        lines[marks] = " | " + "." * (start - 1) + "^"
    return "\n".join(lines)


def check_expression(
    source: str, path: str, names: tuple[str, ...], kinds: tuple[str, ...]
) -> list[FieldError]:
    """An expression over `names` whose result is of one of `kinds`."""
    problem = _problem(source, names, kinds)
    return [invalid(path, source, problem)] if problem else []


def check_syntax(source: str, path: str, names: tuple[str, ...]) -> list[FieldError]:
    """Only the syntax, for expressions that build typed objects."""
    problem = _problem(source, names, ("dyn",))
    return [invalid(path, source, problem)] if "Syntax error" in problem else []


def validate_match_conditions(
    conditions: list[Object], path: str, params: bool = False
) -> list[FieldError]:
    """Named conditions of a webhook or policy."""
    errors: list[FieldError] = []
    if len(conditions) > _MAX_CONDITIONS:
        errors.append(too_many(path, len(conditions), _MAX_CONDITIONS))
    seen: set[str] = set()
    names = variables_of(params)
    for index, condition in enumerate(conditions):
        at = f"{path}[{index}]"
        source, name = condition.get("expression", "").strip(), condition.get("name", "")
        if not source:
            errors.append(required(at + ".expression"))
        else:
            errors += check_expression(source, at + ".expression", names, ("bool",))
        if not name:
            errors.append(required(at + ".name"))
            continue
        errors += [invalid(at + ".name", name, message) for message in qualified_name(name)]
        if name in seen:
            errors.append(duplicate(at + ".name", name))
        seen.add(name)
    return errors
