"""The trees that scripts of the small shell become: plain records, and the error of what is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

__all__ = [
    "AndOr",
    "Arith",
    "Command",
    "For",
    "Group",
    "If",
    "Lit",
    "Loop",
    "Node",
    "Part",
    "Pipeline",
    "Redirect",
    "Sequence",
    "ShellSyntaxError",
    "Substitution",
    "Var",
    "Word",
]


class ShellSyntaxError(ValueError):
    """The script is not one that this shell understands."""


@dataclass(frozen=True, slots=True)
class Lit:
    text: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class Var:
    """`$name`, `${name}`, `${name:-default}` (operators `:-`, `-`, `:+`, `+`, `:=`, `=`, `#`)."""

    name: str
    op: str
    arg: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class Substitution:
    """`$(list)` or backquotes."""

    body: Node
    quoted: bool


@dataclass(frozen=True, slots=True)
class Arith:
    """`$((expression))`, not parsed further here."""

    expression: str
    quoted: bool


Part = Union[Lit, Var, Substitution, Arith]
Word = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Redirect:
    """`fd` is 0, 1, 2; `op` one of `<`, `>`, `>>`, `>&`."""

    fd: int
    op: str
    target: Word


@dataclass(frozen=True, slots=True)
class Command:
    assignments: tuple[tuple[str, Word], ...]
    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    commands: tuple[Node, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class AndOr:
    """`first`, then (`&&` or `||`, node) in order."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class Sequence:
    """Nodes one after the other; a node whose flag is true goes to the background."""

    items: tuple[tuple[Node, bool], ...]


@dataclass(frozen=True, slots=True)
class If:
    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node | None
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class Loop:
    condition: Node
    until: bool
    body: Node
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class For:
    name: str
    words: tuple[Word, ...]
    body: Node
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    body: Node
    subshell: bool
    redirects: tuple[Redirect, ...] = ()


Node = Union[Command, Pipeline, AndOr, Sequence, If, Loop, For, Group]
