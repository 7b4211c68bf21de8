"""Compiling expressions: parse, expand macros, check, and make ready to run.

Owns environments (which variables and types there are), compiled programs and the one exception that
users of this package see. `cel-expr-python`, the CEL project's own implementation, tells what is wrong
with a text that `_parser` does not take; it is loaded when there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from protocol.cel._ast import Expr, Source
from protocol.cel._checker import Checked, Structs, check
from protocol.cel._interpreter import compile_code
from protocol.cel._macros import MacroProblem, expand
from protocol.cel._parser import NotCel, parse
from protocol.cel._run import PER_CALL_LIMIT, Broken, Cancelled, Run
from protocol.cel._types import DYN, Type, full_name
from protocol.cel._values import Failure

__all__ = ["CelError", "Environment", "Program", "dynamic"]

MAX_PROGRAMS = 4096
MAX_CODE_POINTS = 100_000
_DEPTH = 12_000
"""Python's frames for the deepest expression that the parser takes."""


class CelError(Exception):
    """An expression does not compile, or fails when it runs; the text is cel-go's.

    `cost` is what a run had cost by then; `cancelled` says that it cost too much.
    """

    def __init__(self, text: str, cost: int = 0, cancelled: bool = False) -> None:
        super().__init__(text)
        self.cost = cost
        self.cancelled = cancelled


_STATUS = re.compile(r"^(?:[A-Z_]+): (?=ERROR: )|\s*\[[A-Z_]+\]\s*$")
_UNPLACED = re.compile(r"\s*ERROR: <input>:4294967295:0: .*|CANCELLED: .*")
_QUOTED_NAME = re.compile(r"`[A-Za-z0-9_.\-/ ]+`")


@lru_cache(maxsize=1)
def _reference() -> Any:
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_optional

    return cel.NewEnv(variables={}, extensions=[ext_optional.ExtOptional()])


def _syntax_problem(text: str) -> str:
    """What is wrong with a text that is no expression."""
    try:
        _reference().compile(text, disable_check=True)
    except Exception as error:
        found = _UNPLACED.sub("", _STATUS.sub("", _STATUS.sub("", str(error).strip()))).strip()
        if found:
            return found
        return "ERROR: <input>:-1:0: expression recursion limit exceeded: 250"
    quoted = _QUOTED_NAME.search(text)
    if quoted is not None:
        source = Source(text, {0: quoted.start()})
        return source.error(0, "unsupported syntax: '`'")
    return "ERROR: <input>:-1:0: Syntax error"


@contextmanager
def _deep() -> Iterator[None]:
    """Room for trees that are deep: their walks recurse."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


class Program:
    """A compiled expression. `kind` is the static type of its result: `bool`, `string`, `dyn`, ..."""

    __slots__ = ("_code", "checked", "kind", "source")

    def __init__(self, source: str, checked: Checked) -> None:
        self.source = source
        self.checked = checked
        self.kind = checked.type.kind
        self._code = compile_code(checked)

    @property
    def type(self) -> str:
        """The static type of the result, by its full name."""
        return full_name(self.checked.type)

    @property
    def used(self) -> frozenset[str]:
        """The variables that the expression mentions."""
        return self.checked.used

    def run(self, variables: Mapping[str, Any]) -> Any:
        """The value. Raises `CelError`."""
        return self.costed(variables)[0]

    def costed(self, variables: Mapping[str, Any], limit: int = PER_CALL_LIMIT) -> tuple[Any, int]:
        """The value, and what it cost. Raises `CelError`, cancelled when it would cost more than `limit`."""
        run = Run(dict(variables), limit)
        try:
            value = self._code(run)
            if run.cost > limit:
                raise Cancelled
        except (Failure, Broken) as failure:
            raise CelError(str(failure), run.cost) from None
        except Cancelled as cancelled:
            raise CelError(str(cancelled), run.cost, True) from None
        except RecursionError:
            raise CelError("expression is nested too deeply", run.cost) from None
        return value, run.cost


class Environment:
    """What expressions may mention. `structs` finds the types of objects that they may build."""

    def __init__(self, variables: Mapping[str, Type], structs: Structs | None = None, bindings: bool = False) -> None:
        self.variables = dict(variables)
        self._structs = structs
        self._bindings = bindings

    def check(self, text: str) -> Checked:
        """Parse and check. Raises `CelError` with all that is wrong."""
        if len(text) > MAX_CODE_POINTS:
            limit = f"expression code point size exceeds limit: size: {len(text)}, limit {MAX_CODE_POINTS}"
            raise CelError(f"ERROR: <input>:-1:0: {limit}")
        source = Source(text, {})
        try:
            with _deep():
                expr, source = _parsed(text)
                checked = check(expand(expr, source, self._bindings), source, self.variables, self._structs)
        except MacroProblem as problem:
            raise CelError(source.error(problem.node, str(problem))) from None
        except RecursionError:
            raise CelError("ERROR: <input>:-1:0: expression recursion limit exceeded: 250") from None
        if checked.errors:
            raise CelError("\n".join(checked.errors))
        return checked

    def compile(self, text: str) -> Program:
        """A program. Raises `CelError`."""
        checked = self.check(text)
        with _deep():
            return Program(text, checked)


def _parsed(text: str) -> tuple[Expr, Source]:
    try:
        return parse(text)
    except NotCel:
        raise CelError(_syntax_problem(text)) from None


@lru_cache(maxsize=256)
def dynamic(names: tuple[str, ...]) -> Environment:
    """An environment whose variables can be anything."""
    return Environment(dict.fromkeys(names, DYN))
