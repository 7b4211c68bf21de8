"""Splits the text of a script into words and operators.

Owns quoting and expansions as they are written; what they mean is the shell's. Substitutions are
parsed by the function that the lexer is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from actors.runtime._shell_tree import Arith, Lit, Node, Part, ShellSyntaxError, Substitution, Var, Word

__all__ = ["KEYWORDS", "NAME", "NAME_START", "Lexer", "Token"]


@dataclass(slots=True)
class Token:
    """An operator (`op` set) or a word; `fd` precedes a redirection."""

    op: str = ""
    word: Word = ()
    fd: int = -1
    bare: str = field(default="")
    """The word's text if nothing in it was quoted or expanded: a candidate for a keyword."""


OPERATORS = ("&&", "||", ">>", ">&", "<<", ";;", ";", "&", "|", "<", ">", "(", ")", "\n")
NAME_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
NAME = NAME_START | frozenset("0123456789")
KEYWORDS = frozenset(
    (
        "if",
        "then",
        "elif",
        "else",
        "fi",
        "while",
        "until",
        "do",
        "done",
        "for",
        "in",
        "{",
        "}",
        "!",
        "case",
        "esac",
        "function",
    )
)


class Lexer:
    """Splits a script into tokens."""

    def __init__(self, text: str, depth: int, parse: Callable[[str, int], Node]) -> None:
        self.text = text
        self.at = 0
        self.depth = depth
        self.parse = parse

    def tokens(self) -> list[Token]:
        found: list[Token] = []
        text, end = self.text, len(self.text)
        while self.at < end:
            char = text[self.at]
            if char in " \t":
                self.at += 1
            elif text.startswith("\\\n", self.at):
                self.at += 2
            elif char == "#":
                newline = text.find("\n", self.at)
                self.at = end if newline < 0 else newline
            else:
                found.append(self._token())
        return found

    def _token(self) -> Token:
        text = self.text
        for op in OPERATORS:
            if text.startswith(op, self.at):
                self.at += len(op)
                if op == "<<":
                    raise ShellSyntaxError("here-documents are not supported")
                return Token(op=op, fd=0 if op == "<" else 1 if op[0] == ">" else -1)
        if text[self.at] in "012" and text[self.at + 1 : self.at + 2] in ("<", ">"):
            fd = int(text[self.at])
            self.at += 1
            token = self._token()
            token.fd = fd
            return token
        return self._word()

    def _word(self) -> Token:
        parts: list[Part] = []
        plain: list[str] = []
        bare = True
        text, end = self.text, len(self.text)

        def flush() -> None:
            if plain:
                parts.append(Lit("".join(plain), False))
                plain.clear()

        while self.at < end:
            char = text[self.at]
            if char in " \t\n;&|<>()":
                break
            if char == "'":
                flush()
                close = text.find("'", self.at + 1)
                if close < 0:
                    raise ShellSyntaxError("unterminated quoted string")
                parts.append(Lit(text[self.at + 1 : close], True))
                self.at = close + 1
                bare = False
            elif char == '"':
                flush()
                self._double_quoted(parts)
                bare = False
            elif char == "\\":
                flush()
                if text[self.at + 1 : self.at + 2] != "\n":
                    parts.append(Lit(text[self.at + 1 : self.at + 2], True))
                self.at += 2
                bare = False
            elif char in "$`":
                flush()
                parts.append(self._expansion(False))
                bare = False
            else:
                plain.append(char)
                self.at += 1
        flush()
        return Token(word=tuple(parts), bare=parts[0].text if bare and parts else "")  # type: ignore[union-attr]

    def _double_quoted(self, parts: list[Part]) -> None:
        text, end = self.text, len(self.text)
        self.at += 1
        plain: list[str] = []
        before = len(parts)
        while self.at < end and text[self.at] != '"':
            char = text[self.at]
            if char == "\\":
                after = text[self.at + 1 : self.at + 2]
                plain.append(after if after in '$`"\\' else "" if after == "\n" else "\\" + after)
                self.at += 2
            elif char in "$`":
                if plain:
                    parts.append(Lit("".join(plain), True))
                    plain.clear()
                parts.append(self._expansion(True))
            else:
                plain.append(char)
                self.at += 1
        if self.at >= end:
            raise ShellSyntaxError("unterminated quoted string")
        self.at += 1
        if plain or len(parts) == before:
            parts.append(Lit("".join(plain), True))

    def _expansion(self, quoted: bool) -> Part:
        text = self.text
        if text[self.at] == "`":
            close = text.find("`", self.at + 1)
            if close < 0:
                raise ShellSyntaxError("unterminated backquote")
            body = text[self.at + 1 : close]
            self.at = close + 1
            return Substitution(self.parse(body, self.depth + 1), quoted)
        if text.startswith("$((", self.at):
            close = self._matching("((", "))", self.at + 1)
            expression = text[self.at + 3 : close]
            self.at = close + 2
            return Arith(expression, quoted)
        if text.startswith("$(", self.at):
            close = self._closing_paren(self.at + 2)
            body = text[self.at + 2 : close]
            self.at = close + 1
            return Substitution(self.parse(body, self.depth + 1), quoted)
        if text.startswith("${", self.at):
            close = self._matching("{", "}", self.at + 1)
            inner = text[self.at + 2 : close]
            self.at = close + 1
            return self._braced(inner, quoted)
        after = text[self.at + 1 : self.at + 2]
        if after and after in "?$!#@*0123456789":
            self.at += 2
            return Var(after, "", "", quoted)
        stop = self.at + 1
        while stop < len(text) and text[stop] in (NAME_START if stop == self.at + 1 else NAME):
            stop += 1
        name = text[self.at + 1 : stop]
        self.at = stop
        return Var(name, "", "", quoted) if name else Lit("$", quoted)

    @staticmethod
    def _braced(inner: str, quoted: bool) -> Var:
        if inner.startswith("#") and len(inner) > 1:
            return Var(inner[1:], "#", "", quoted)
        stop = 0
        while stop < len(inner) and inner[stop] in NAME:
            stop += 1
        if not stop:
            stop = 1 if inner[:1] in ("?", "@", "*", "$", "!") and inner else 0
        name, rest = inner[:stop], inner[stop:]
        for op in (":-", ":+", ":=", ":?", "-", "+", "=", "?", "%%", "%", "##", "#"):
            if rest.startswith(op):
                return Var(name, op, rest[len(op) :], quoted)
        if rest or not name:
            raise ShellSyntaxError(f"bad substitution: ${{{inner}}}")
        return Var(name, "", "", quoted)

    def _matching(self, opening: str, closing: str, start: int) -> int:
        """The index of the `closing` that ends what `opening` at `start` began."""
        depth, at, text = 1, start + len(opening), self.text
        while at < len(text):
            if depth == 1 and text.startswith(closing, at):
                return at
            if text[at] == opening[0]:
                depth += 1
            elif text[at] == closing[0]:
                depth -= 1
            at += 1
        raise ShellSyntaxError(f"missing {closing}")

    def _closing_paren(self, start: int) -> int:
        depth, at, text, quote = 1, start, self.text, ""
        while at < len(text):
            char = text[at]
            if quote:
                if char == "\\" and quote == '"':
                    at += 1
                elif char == quote:
                    quote = ""
            elif char in "'\"":
                quote = char
            elif char == "\\":
                at += 1
            elif char == "(":
                depth += 1
            elif char == ")":
                depth -= 1
                if depth == 0:
                    return at
            at += 1
        raise ShellSyntaxError("missing )")
