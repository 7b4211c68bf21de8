"""Object initializers of mutating policies, as the map literals that the engine builds.

`Object.spec{replicas: 3}` and `JSONPatch{op: "add"}` name types that only Kubernetes' environment
has; their values are plain objects. Owns the rewriting of such text, and nothing of its meaning.
"""

from __future__ import annotations

import re

__all__ = ["as_maps"]

_TOKEN = re.compile(
    r"""(?P<text>[rRbB]{0,2}(?:\"\"\".*?\"\"\"|'''.*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))"""
    r"""|(?P<comment>//[^\n]*)"""
    r"""|(?P<type>(?<![\w.])(?:Object(?:\s*\.\s*[A-Za-z_]\w*)*|JSONPatch)(?=\s*\{))"""
    r"""|(?P<field>`[^`\n]*`|[A-Za-z_]\w*)(?P<colon>\s*:)"""
    r"""|(?P<word>[A-Za-z_]\w*)"""
    r"""|(?P<open>[\[({])|(?P<close>[\])}])|(?P<other>.)""",
    re.DOTALL,
)
_RESERVED = re.compile(r"__(\w+)__\Z")
_ESCAPES = {"__dash__": "-", "__dot__": ".", "__slash__": "/", "__underscores__": "__"}


def _name(word: str) -> str:
    """The property that an escaped identifier means."""
    word = word.strip("`")
    if "__" not in word:
        return word
    for escape, symbol in _ESCAPES.items():
        word = word.replace(escape, symbol)
    reserved = _RESERVED.match(word)
    return reserved[1] if reserved else word


def as_maps(source: str) -> str:
    """The expression with every initializer of an object written as a map."""
    out: list[str] = []
    brackets: list[bool] = []
    """Per open bracket, whether it opens an initializer."""
    after_type = False
    expecting = False
    for token in _TOKEN.finditer(source):
        kind, text = token.lastgroup, token[0]
        if kind == "colon":
            if brackets and brackets[-1] and expecting:
                text = f'"{_name(token["field"])}"{token["colon"]}'
            expecting = False
        elif kind == "type":
            after_type = True
            continue
        elif kind == "open":
            brackets.append(after_type and text == "{")
            expecting, after_type = brackets[-1], False
        elif kind == "close":
            if brackets:
                brackets.pop()
            expecting = False
        elif text == ",":
            expecting = bool(brackets and brackets[-1])
        elif not text.isspace() and text != "?" and kind != "comment":
            expecting = False
        out.append(text)
    return "".join(out)
