"""Expressions in objects: CEL that must compile before an object is stored.

Owns the words of a failed compilation in a field error. Running expressions, and what they are
for, belongs to admission.

https://kubernetes.io/docs/reference/using-api/cel/
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    invalid,
    required,
    too_many,
)
from protocol.cel import DYN, CelError, Environment, Type
from protocol.cel.policies import environment
from protocol.names import qualified_name

__all__ = ["Scope", "check_expression", "problem_of", "validate_match_conditions"]

Object = dict[str, Any]

_MAX_CONDITIONS = 64


class Scope:
    """What the expressions of one policy or webhook may mention. `composed`: there is `variables`, which
    grows with every variable that is declared."""

    def __init__(self, params: bool, composed: bool = False, mutating: bool = False) -> None:
        self._params = params
        self._mutating = mutating
        self._variables: dict[str, Type] | None = {} if composed else None

    def environment(self, authorizer: bool = True) -> Environment:
        """The environment as of now."""
        return environment(self._params, authorizer, self._variables, self._mutating)

    def declare(self, name: str, source: str) -> str:
        """One more variable; why it does not compile, or nothing."""
        assert self._variables is not None
        try:
            self._variables[name] = self.environment().compile(source).checked.type
        except CelError as error:
            self._variables[name] = DYN
            return f"compilation failed: {error}"
        return ""


def problem_of(source: str, where: Environment, kinds: tuple[str, ...]) -> str:
    """Why an expression is refused, or nothing. `kinds`: types, one of which its result must have."""
    try:
        found = where.compile(source).type
    except CelError as error:
        return f"compilation failed: {error}"
    if found in kinds:
        return ""
    wanted = kinds[0] if len(kinds) == 1 else f"one of [{' '.join(kinds)}]"
    return f"must evaluate to {wanted} but got {found}"


def check_expression(
    source: str, path: str, where: Environment, kinds: tuple[str, ...]
) -> list[FieldError]:
    """An expression whose result is of one of `kinds`."""
    problem = problem_of(source, where, kinds)
    return [invalid(path, source, problem)] if problem else []


def validate_match_conditions(
    conditions: list[Object], path: str, params: bool = False
) -> list[FieldError]:
    """Named conditions of a webhook or policy."""
    errors: list[FieldError] = []
    if len(conditions) > _MAX_CONDITIONS:
        errors.append(too_many(path, len(conditions), _MAX_CONDITIONS))
    seen: set[str] = set()
    where = Scope(params).environment()
    for index, condition in enumerate(conditions):
        at = f"{path}[{index}]"
        source, name = condition.get("expression", "").strip(), condition.get("name", "")
        if not source:
            errors.append(required(at + ".expression"))
        else:
            errors += check_expression(source, at + ".expression", where, ("bool",))
        if not name:
            errors.append(required(at + ".name"))
            continue
        errors += [invalid(at + ".name", name, message) for message in qualified_name(name)]
        if name in seen:
            errors.append(duplicate(at + ".name", name))
        seen.add(name)
    return errors
