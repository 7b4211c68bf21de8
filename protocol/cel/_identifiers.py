"""Names of properties as expressions write them. Owns the escapes.

Source: k8s.io/apiserver/pkg/cel/escaping.go
"""

from __future__ import annotations

import re

__all__ = ["escape"]

_RESERVED = frozenset(
    ["true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"]
)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SYMBOLS = {"-": "__dash__", ".": "__dot__", "/": "__slash__"}


def escape(name: str) -> str:
    """A property's name in expressions: `my-field` is `my__dash__field`, `namespace` is
    `__namespace__`; empty when it cannot be used there."""
    if name in _RESERVED:
        return f"__{name}__"
    if _IDENTIFIER.match(name) and "__" not in name:
        return name
    out = name.replace("__", "__underscores__")
    for symbol, word in _SYMBOLS.items():
        out = out.replace(symbol, word)
    return out if _IDENTIFIER.match(out) else ""
