"""`$((expression))`: integer arithmetic of C, as POSIX shells have it. Pure.

A checked subset of Python's own grammar does the parsing; what it does not cover is 0.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

__all__ = ["evaluate"]


def evaluate(expression: str, lookup: Callable[[str], str]) -> int:
    """The value of `expression`; `lookup` answers the text of a variable."""
    text = (
        re.sub(r"\$?\{?([A-Za-z_]\w*)\}?", lambda m: f"({lookup(m.group(1))})", expression.replace("$((", "((")).strip()
        or "0"
    )
    text = text.replace("&&", " and ").replace("||", " or ").replace("/", "//")
    text = re.sub(r"!(?!=)", " not ", text)
    try:
        return int(_evaluate(ast.parse(text, mode="eval").body))
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return 0


OPERATIONS: dict[type, Any] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: int(a / b),
    ast.Mod: lambda a, b: a - b * int(a / b),
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.BitAnd: lambda a, b: a & b,
    ast.BitOr: lambda a, b: a | b,
    ast.BitXor: lambda a, b: a ^ b,
}


def _evaluate(node: ast.AST) -> int:
    """Integer arithmetic of C over a checked subset of expressions; raises ValueError otherwise."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return int(node.value)
    if isinstance(node, ast.UnaryOp):
        value = _evaluate(node.operand)
        if isinstance(node.op, ast.Not):
            return int(not value)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        return _wrapped(OPERATIONS[type(node.op)](_evaluate(node.left), _evaluate(node.right)))
    if isinstance(node, ast.BoolOp):
        values = [bool(_evaluate(v)) for v in node.values]
        return int(all(values) if isinstance(node.op, ast.And) else any(values))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in OPERATIONS:
        return int(OPERATIONS[type(node.ops[0])](_evaluate(node.left), _evaluate(node.comparators[0])))
    if isinstance(node, ast.IfExp):
        return _evaluate(node.body if _evaluate(node.test) else node.orelse)
    raise ValueError("unsupported arithmetic")


def _wrapped(value: int) -> int:
    """As a signed 64-bit number."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
