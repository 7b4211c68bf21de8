"""Parsed expressions as a tree, and where in the text its nodes are.

Owns the nodes. It must never read a text, check or run anything.

Source: cel-spec proto/cel/expr/syntax.proto
"""

from __future__ import annotations

from typing import Any

__all__ = ["Expr", "Fold", "Source", "Uint"]

_DOT, _WIDE_DOT, _WIDE_HEAD, _TAB = ".", "\uff0e", "\uff3e", "\t"


class Expr:
    """A node. What its other fields mean depends on `kind`:

    - `const`: `value` (int, `Uint`, float, bool, str, bytes or None)
    - `ident`: `name`
    - `select`: `target`.`name`; `test` asks for presence only
    - `call`: `name`(`args`), on `target` if that is not None
    - `list`: `args`; `optional` has the places of optional items
    - `struct`: a message `name`, or a map if that is empty; `entries` of (key, value, optional, id), whose
      key is a node in a map and a text in a message
    - `fold`: `fold` has iteration variables, range, accumulator, its start, condition, step, result
    """

    __slots__ = ("args", "entries", "fold", "id", "kind", "name", "optional", "target", "test", "value")

    def __init__(self, id_: int, kind: str, name: str = "", target: Expr | None = None, value: Any = None) -> None:
        self.id = id_
        self.kind = kind
        self.name = name
        self.target = target
        self.value = value
        self.test = False
        self.args: list[Expr] = []
        self.optional: frozenset[int] = frozenset()
        self.entries: list[tuple[Any, Expr, bool, int]] = []
        self.fold: Fold | None = None


class Fold:
    """The parts of a comprehension."""

    __slots__ = ("accumulator", "condition", "over", "result", "start", "step", "variable", "variable2")

    def __init__(self, variable: str, variable2: str, over: Expr, accumulator: str, start: Expr) -> None:
        self.variable = variable
        self.variable2 = variable2
        self.over = over
        self.accumulator = accumulator
        self.start = start
        self.condition: Expr = start
        self.step: Expr = start
        self.result: Expr = start


class Uint(int):
    """An unsigned integer."""

    __slots__ = ()


class Source:
    """An expression's text and where its nodes begin."""

    def __init__(self, text: str, offsets: dict[int, int]) -> None:
        self.text = text
        self.offsets = offsets
        self._last = 0

    def fresh(self) -> int:
        """An id for a new node."""
        self._last = max(self._last, len(self.offsets)) + 1
        return self._last

    def place(self, node: int) -> tuple[int, int]:
        """Line and column, both from 1, of a node."""
        offset = self.offsets.get(node)
        if offset is None:
            return 0, 0
        before = self.text[:offset]
        return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1

    def error(self, node: int, message: str) -> str:
        """A message with its place and the line that it is about."""
        line, column = self.place(node)
        if not line:
            return f"ERROR: <input>:-1:0: {message}"
        shown = self.text.split("\n")[line - 1]
        marks = "".join(_DOT if character.isascii() else _WIDE_DOT for character in shown[: column - 1])
        end = _WIDE_HEAD if not shown[column - 1 : column].isascii() else "^"
        return f"ERROR: <input>:{line}:{column}: {message}\n | {shown.replace(_TAB, ' ')}\n | {marks}{end}"
