"""Compiling and running expressions.

Programs run on plain JSON values: variables are dynamic, so a program can be used with any object.
What the static types of a schema would refuse is `_typed`'s to find, once, when a rule is declared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from actors.apiserver.cel._formats import plain_optionals
from protocol.objects import FrozenDict, FrozenList, mutable

__all__ = ["CelError", "Program", "Scope", "compile_program", "plain", "tidy_error", "with_authorizer"]

MAX_PROGRAMS = 4096


class CelError(Exception):
    """An expression does not compile, or fails when it runs; the text is cel-go's where known."""


_STATUS = re.compile(
    r"^(?:INVALID_ARGUMENT|NOT_FOUND|UNKNOWN|INTERNAL|OUT_OF_RANGE|UNIMPLEMENTED|FAILED_PRECONDITION): |\s*\[[A-Z_]+\]$"
)
_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"undefined field '([^']*)' not found in struct '[^']*'"), r"undefined field '\1'"),
    (re.compile(r'Key not found in map : "([^"]*)"'), r"no such key: \1"),
    (re.compile(r"No matching overloads found : .*"), "no such overload"),
    (re.compile(r"[Ii]ndex error: .*index=(-?\d+) size=\d+.*"), r"index out of bounds: \1"),
    (re.compile(r"divide by zero"), "division by zero"),
    (re.compile(r"modulus by zero"), "modulus by zero"),
)


def tidy_error(text: str) -> str:
    """The engine's words as cel-go would put them."""
    text = _STATUS.sub("", _STATUS.sub("", text.strip())).strip()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text


@lru_cache(maxsize=256)
def _environment(variables: tuple[str, ...]) -> Any:
    from cel_expr_python import cel

    from actors.apiserver.cel._functions import extensions

    return cel.NewEnv(variables=dict.fromkeys(variables, cel.Type.DYN), extensions=extensions())


class Scope:
    """Values of variables, converted once for all the programs that use them.

    A program runs in a scope of exactly the variables that it was compiled with, in that order.
    """

    __slots__ = ("activation",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.activation = _environment(tuple(values)).Activation(_data(values))


_FROZEN = (FrozenDict, FrozenList)


def _data(values: Mapping[str, Any]) -> dict[str, Any]:
    """The variables as the evaluator takes them: it knows dicts, not their frozen kin."""
    return {name: _thawed(value) for name, value in values.items()}


def _thawed(value: Any) -> Any:
    if isinstance(value, _FROZEN):
        return mutable(value)
    if isinstance(value, dict) and any(isinstance(part, _FROZEN) for part in value.values()):
        return {key: _thawed(part) for key, part in value.items()}
    return value


class Program:
    """A compiled expression. `kind` is the static type of its result: `bool`, `string`, `dyn`, ..."""

    __slots__ = ("_expression", "kind", "source")

    def __init__(self, source: str, expression: Any) -> None:
        self.source = source
        self._expression = expression
        self.kind = str(expression.return_type().name()).lower()

    def run(self, variables: Mapping[str, Any] | Scope) -> Any:
        """The value, as plain Python. Raises `CelError`."""
        try:
            if isinstance(variables, Scope):
                value = self._expression.eval(variables.activation)
            else:
                value = self._expression.eval(data=_data(variables))
        except Exception as error:
            raise CelError(tidy_error(str(error))) from None
        if value.type().name() == "*error*" or str(value.type().name()).upper() == "ERROR":
            raise CelError(tidy_error(str(value.value())))
        return plain(value)


def plain(value: Any) -> Any:
    """A result without the engine's wrappers."""
    try:
        return value.plain_value()
    except AttributeError:
        return value


@lru_cache(maxsize=MAX_PROGRAMS)
def compile_program(source: str, variables: tuple[str, ...]) -> Program:
    """Compile once per source and set of variable names. Raises `CelError` with cel-go's layout."""
    try:
        return Program(source, _environment(variables).compile(plain_optionals(source)))
    except Exception as error:
        raise CelError(tidy_error(str(error))) from None


_authorizers: list[Callable[..., bool]] = []


@contextmanager
def with_authorizer(allowed: Callable[..., bool]) -> Iterator[None]:
    """Who answers `authorizer` in expressions that run inside the block: a function of verb, group,
    resource, subresource, namespace, name (or of verb and path) and service account."""
    _authorizers.append(allowed)
    try:
        yield
    finally:
        _authorizers.pop()


def ask_authorizer(**question: str) -> bool:
    """The answer of the innermost authorizer; no when there is none."""
    return bool(_authorizers and _authorizers[-1](**question))
