"""Parsing: text to tree.

Owns CEL's grammar for texts that follow it. What is wrong with a text that does not is told by the CEL
project's own parser (`_environment`), in ANTLR's words, so nothing here explains syntax errors.

Source: cel-spec doc/langdef.md "Syntax"; positions as in github.com/google/cel-go/parser
"""

from __future__ import annotations

import re
from typing import NamedTuple

from protocol.cel._ast import Expr, Source, Uint

__all__ = ["NotCel", "parse"]

MAX_DEPTH = 250
_RESERVED = frozenset(
    [
        "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
        "package", "namespace", "null", "return", "true", "var", "void", "while",
    ]
)  # fmt: skip
_TEXT = r"""(?:[rR](?:\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|"[^"\n\r]*"|'[^'\n\r]*')"""
_TEXT += r"""|\"\"\"(?:\\[\s\S]|[^\\])*?\"\"\"|'''(?:\\[\s\S]|[^\\])*?'''"""
_TEXT += r"""|"(?:\\[^\n\r]|[^\\"\n\r])*"|'(?:\\[^\n\r]|[^\\'\n\r])*')"""
_TOKEN = re.compile(
    rf"""(?P<space>[\t \r\n\f]+|//[^\n]*)"""
    rf"""|(?P<bytes>[bB]{_TEXT})|(?P<text>{_TEXT})"""
    rf"""|(?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)"""
    rf"""|(?P<uint>(?:0x[0-9a-fA-F]+|\d+)[uU])|(?P<int>0x[0-9a-fA-F]+|\d+)"""
    rf"""|(?P<name>[A-Za-z_]\w*)|(?P<quoted>`[A-Za-z0-9_.\-/ ]+`)"""
    rf"""|(?P<sign>==|!=|<=|>=|&&|\|\||[<>\[\]{{}}().,\-!?:+*/%])""",
    re.ASCII,
)
_RELATIONS = {
    "<": "_<_", "<=": "_<=_", ">": "_>_", ">=": "_>=_", "==": "_==_", "!=": "_!=_", "in": "@in",
}  # fmt: skip
_SUMS = {"+": "_+_", "-": "_-_"}
_PRODUCTS = {"*": "_*_", "/": "_/_", "%": "_%_"}
_INT_MIN, _INT_MAX, _UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1


class NotCel(Exception):
    """A text that does not follow the grammar."""


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def parse(text: str) -> tuple[Expr, Source]:
    """The tree of an expression, macros unexpanded. Raises `NotCel`."""
    source = Source(text, {})
    parser = _Parser(_tokens(text), source)
    found = parser.expression()
    parser.expect("end", "")
    return found, source


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotCel
        kind = match.lastgroup or ""
        if kind != "space":
            found.append(_Token(kind, match[0], at))
        at = match.end()
    found.append(_Token("end", "", len(text)))
    return found


class _Parser:
    def __init__(self, tokens: list[_Token], source: Source) -> None:
        self.tokens = tokens
        self.at = 0
        self.source = source
        self.depth = 0

    # --- tokens -----------------------------------------------------------------------------

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def sign(self, text: str) -> _Token | None:
        """Take a sign if it is next."""
        token = self.tokens[self.at]
        if token.text == text and token.kind == "sign":
            self.at += 1
            return token
        return None

    def expect(self, kind: str, text: str) -> _Token:
        """Take what must be next."""
        token = self.tokens[self.at]
        if token.kind != kind or (text and token.text != text):
            raise NotCel
        self.at += 1
        return token

    def node(self, kind: str, at: int, name: str = "", target: Expr | None = None) -> Expr:
        """A new node, which begins at a place."""
        node = Expr(len(self.source.offsets) + 1, kind, name, target)
        self.source.offsets[node.id] = at
        return node

    def call(self, at: int, name: str, *args: Expr) -> Expr:
        """A call of an operator."""
        node = self.node("call", at, name)
        node.args = list(args)
        return node

    # --- operators --------------------------------------------------------------------------

    def expression(self) -> Expr:
        """`a ? b : c`, and all that binds closer."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotCel
        found = self.logic("||", "_||_")
        question = self.sign("?")
        if question is not None:
            yes = self.logic("||", "_||_")
            self.expect("sign", ":")
            found = self.call(question.at, "_?_:_", found, yes, self.expression())
        self.depth -= 1
        return found

    def logic(self, sign: str, name: str) -> Expr:
        """Terms between `||` or `&&`, as a tree that is as flat as can be."""
        terms, places = [self.term(sign)], []
        while (token := self.sign(sign)) is not None:
            places.append(token.at)
            terms.append(self.term(sign))

        def tree(low: int, high: int) -> Expr:
            middle = (low + high + 1) // 2
            left = terms[middle] if middle == low else tree(low, middle - 1)
            right = terms[middle + 1] if middle == high else tree(middle + 1, high)
            return self.call(places[middle], name, left, right)

        return tree(0, len(places) - 1) if places else terms[0]

    def term(self, sign: str) -> Expr:
        """What stands between two logical operators."""
        return self.logic("&&", "_&&_") if sign == "||" else self.relation()

    def relation(self) -> Expr:
        """Comparisons, from left to right."""
        return self.chain(_RELATIONS, self.sum)

    def sum(self) -> Expr:
        """Sums, from left to right."""
        return self.chain(_SUMS, self.product)

    def product(self) -> Expr:
        """Products, from left to right."""
        return self.chain(_PRODUCTS, self.unary)

    def chain(self, operators: dict[str, str], operand: object) -> Expr:
        """Operands between operators of one rank."""
        found: Expr = operand()  # type: ignore[operator]
        deeper = 0
        while True:
            token = self.token
            name = operators.get(token.text) if token.kind in ("sign", "name") else None
            if name is None:
                return found
            self.at += 1
            deeper += 1
            if self.depth + deeper > MAX_DEPTH:
                raise NotCel
            found = self.call(token.at, name, found, operand())  # type: ignore[operator]

    def unary(self) -> Expr:
        """`!a` and `-a`; two of them are none."""
        first = self.token
        if first.kind != "sign" or first.text not in "!-":
            return self.member()
        following = self.tokens[self.at + 1]
        if first.text == "-" and following.kind in ("int", "float"):
            return self.member()
        count = 0
        while self.sign(first.text) is not None:
            count += 1
        # The last `-` before a number is the number's own.
        if first.text == "-" and self.token.kind in ("int", "float") and count > 1:
            self.at -= 1
            count -= 1
        found = self.member()
        name = "!_" if first.text == "!" else "-_"
        return self.call(first.at, name, found) if count % 2 else found

    # --- members ----------------------------------------------------------------------------

    def member(self) -> Expr:
        """A primary and what is asked of it."""
        found = self.primary()
        deeper = 0
        while True:
            deeper += 1
            if self.depth + deeper > MAX_DEPTH:
                raise NotCel
            dot = self.sign(".")
            if dot is not None:
                found = self.field(found, dot)
                continue
            bracket = self.sign("[")
            if bracket is None:
                return found
            name = "_[?_]" if self.sign("?") is not None else "_[_]"
            key = self.expression()
            self.expect("sign", "]")
            found = self.call(bracket.at, name, found, key)

    def field(self, holder: Expr, dot: _Token) -> Expr:
        """`.a`, `.?a` or `.a(...)`."""
        if self.sign("?") is not None:
            name = self.expect("name", "")
            text = self.node("const", name.at)
            text.value = name.text
            return self.call(dot.at, "_?._", holder, text)
        name = self.expect("name", "")
        if name.text in ("in", "true", "false", "null"):
            raise NotCel
        opened = self.sign("(")
        if opened is None:
            return self.node("select", dot.at, name.text, holder)
        node = self.node("call", opened.at, name.text, holder)
        node.args = self.items(")")
        return node

    def items(self, end: str) -> list[Expr]:
        """Arguments up to a bracket."""
        found: list[Expr] = []
        if self.sign(end) is not None:
            return found
        while True:
            found.append(self.expression())
            if self.sign(",") is None:
                self.expect("sign", end)
                return found

    # --- primaries --------------------------------------------------------------------------

    def primary(self) -> Expr:
        """A literal, a name, a list, a map, an object, or an expression in brackets."""
        token = self.token
        if token.kind in ("int", "uint", "float", "text", "bytes") or token.text == "-":
            return self.literal()
        if token.kind == "name":
            return self.name()
        if token.kind != "sign":
            raise NotCel
        self.at += 1
        if token.text == "(":
            found = self.expression()
            self.expect("sign", ")")
            return found
        if token.text == "[":
            return self.list(token)
        if token.text == "{":
            return self.entries(self.node("struct", token.at), False)
        if token.text == "." and self.token.kind == "name":
            return self.name(".")
        raise NotCel

    def name(self, dot: str = "") -> Expr:
        """A variable, a call of a function, or the type of an object with its fields."""
        token = self.expect("name", "")
        if token.text in ("true", "false", "null"):
            if dot:
                raise NotCel
            node = self.node("const", token.at)
            node.value = None if token.text == "null" else token.text == "true"
            return node
        built = self.message(dot + token.text)
        if built is not None:
            return built
        if token.text in _RESERVED:
            raise NotCel
        opened = self.sign("(")
        if opened is None:
            return self.node("ident", token.at, dot + token.text)
        node = self.node("call", opened.at, dot + token.text)
        node.args = self.items(")")
        return node

    def message(self, name: str) -> Expr | None:
        """`a.b{...}`, if that is what follows a name; otherwise nothing is taken."""
        at = self.at
        while self.tokens[at].text == "." and self.tokens[at + 1].kind == "name":
            name += "." + self.tokens[at + 1].text
            at += 2
        if self.tokens[at].text != "{" or self.tokens[at].kind != "sign":
            return None
        self.at = at + 1
        return self.entries(self.node("struct", self.tokens[at].at, name), True)

    def list(self, token: _Token) -> Expr:
        """`[a, ?b]`"""
        node = self.node("list", token.at)
        optional: set[int] = set()
        while self.sign("]") is None:
            if self.sign("?") is not None:
                optional.add(len(node.args))
            node.args.append(self.expression())
            if self.sign(",") is None:
                self.expect("sign", "]")
                break
        node.optional = frozenset(optional)
        return node

    def entries(self, node: Expr, fields: bool) -> Expr:
        """`{key: value}` behind its bracket; `fields`: the keys are names."""
        while self.sign("}") is None:
            optional = self.sign("?") is not None
            key: Expr | str = self.expect("name", "").text if fields else self.expression()
            colon = self.expect("sign", ":")
            place = self.node("const", colon.at)
            node.entries.append((key, self.expression(), optional, place.id))
            if self.sign(",") is None:
                self.expect("sign", "}")
                break
        return node

    def literal(self) -> Expr:
        """A number or a text."""
        minus = self.sign("-")
        token = self.token
        self.at += 1
        node = self.node("const", minus.at if minus is not None else token.at)
        sign = -1 if minus is not None else 1
        if token.kind == "float":
            node.value = sign * float(token.text)
        elif token.kind == "int":
            node.value = sign * int(token.text, 0 if token.text.startswith("0x") else 10)
            if not _INT_MIN <= node.value <= _INT_MAX:
                raise NotCel
        elif minus is not None:
            raise NotCel
        elif token.kind == "uint":
            node.value = Uint(int(token.text[:-1], 0 if token.text.startswith("0x") else 10))
            if node.value > _UINT_MAX:
                raise NotCel
        elif token.kind == "text":
            node.value = _unquoted(token.text)
        elif token.kind == "bytes":
            node.value = _bytes(token.text[1:])
        else:
            raise NotCel
        return node


# --- texts ------------------------------------------------------------------------------------

_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|X([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL)
_CHARACTERS = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"', "`": "`", "?": "?",
}  # fmt: skip


def _body(text: str) -> tuple[str, bool]:
    """What is between the quotes, and whether it is raw."""
    raw = text[0] in "rR"
    text = text[1:] if raw else text
    quotes = 3 if text[:3] in ('"""', "'''") else 1
    return text[quotes:-quotes], raw


def _unquoted(text: str) -> str:
    body, raw = _body(text)
    if raw or "\\" not in body:
        return body.replace("\r\n", "\n").replace("\r", "\n") if "\r" in body else body
    return _ESCAPE.sub(_character, body)


def _character(found: re.Match[str]) -> str:
    digits = found[1] or found[2] or found[3] or found[4]
    if digits or found[5]:
        code = int(digits, 16) if digits else int(found[5], 8)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise NotCel
        return chr(code)
    known = _CHARACTERS.get(found[6])
    if known is None:
        raise NotCel
    return known


def _bytes(text: str) -> bytes:
    body, raw = _body(text)
    if raw or "\\" not in body:
        return body.encode()
    out, at = b"", 0
    for found in _ESCAPE.finditer(body):
        out += body[at : found.start()].encode()
        byte = found[1] or found[2]
        if found[3] or found[4]:
            raise NotCel
        out += bytes([int(byte, 16) if byte else int(found[5], 8)]) if byte or found[5] else _character(found).encode()
        at = found.end()
    return out + body[at:].encode()
