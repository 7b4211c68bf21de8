"""The syntax of the small shell that simulated containers understand.

Owns the way from a script's text to a tree. It never runs anything and knows no commands. What it
does not cover (functions, here-documents, `case`, globs) raises `ShellSyntaxError`, by name.

Grammar, after POSIX (https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html):

    list     := andor ((';' | '&' | newline) andor)*
    andor    := pipeline (('&&' | '||') pipeline)*
    pipeline := ['!'] command ('|' command)*
    command  := simple | 'if' ... 'fi' | ('while' | 'until') ... 'done' | 'for' ... 'done'
              | '{' list '}' | '(' list ')', each followed by redirections
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Union

__all__ = [
    "AndOr", "Arith", "Command", "For", "Group", "If", "Lit", "Loop", "Node", "Pipeline",
    "Redirect", "Sequence", "ShellSyntaxError", "Substitution", "Var", "Word", "parse",
]

MAX_SCRIPT_CHARS = 65_536
MAX_DEPTH = 40


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
KEYWORDS = frozenset(("if", "then", "elif", "else", "fi", "while", "until", "do", "done", "for",
                      "in", "{", "}", "!", "case", "esac", "function"))


class Lexer:
    """Splits a script into tokens."""

    def __init__(self, text: str, depth: int) -> None:
        self.text = text
        self.at = 0
        self.depth = depth

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
        if text[self.at] in "012" and text[self.at + 1:self.at + 2] in ("<", ">"):
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
                parts.append(Lit(text[self.at + 1:close], True))
                self.at = close + 1
                bare = False
            elif char == '"':
                flush()
                self._double_quoted(parts)
                bare = False
            elif char == "\\":
                flush()
                if text[self.at + 1:self.at + 2] != "\n":
                    parts.append(Lit(text[self.at + 1:self.at + 2], True))
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
                after = text[self.at + 1:self.at + 2]
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
            body = text[self.at + 1:close]
            self.at = close + 1
            return Substitution(parse(body, self.depth + 1), quoted)
        if text.startswith("$((", self.at):
            close = self._matching("((", "))", self.at + 1)
            expression = text[self.at + 3:close]
            self.at = close + 2
            return Arith(expression, quoted)
        if text.startswith("$(", self.at):
            close = self._closing_paren(self.at + 2)
            body = text[self.at + 2:close]
            self.at = close + 1
            return Substitution(parse(body, self.depth + 1), quoted)
        if text.startswith("${", self.at):
            close = self._matching("{", "}", self.at + 1)
            inner = text[self.at + 2:close]
            self.at = close + 1
            return self._braced(inner, quoted)
        after = text[self.at + 1:self.at + 2]
        if after and after in "?$!#@*0123456789":
            self.at += 2
            return Var(after, "", "", quoted)
        stop = self.at + 1
        while stop < len(text) and text[stop] in (NAME_START if stop == self.at + 1 else NAME):
            stop += 1
        name = text[self.at + 1:stop]
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
                return Var(name, op, rest[len(op):], quoted)
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


class Parser:
    """Builds the tree from tokens, by recursive descent."""

    def __init__(self, tokens: list[Token], depth: int) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = depth

    def script(self) -> Node:
        node = self._list(frozenset())
        if self.at < len(self.tokens):
            raise ShellSyntaxError(f"unexpected {self.tokens[self.at].op or self.tokens[self.at].bare!r}")
        return node

    def _peek(self) -> Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _keyword(self) -> str:
        token = self._peek()
        return token.bare if token is not None and not token.op and token.bare in KEYWORDS else ""

    def _expect(self, keyword: str) -> None:
        self._newlines()
        if self._keyword() != keyword:
            raise ShellSyntaxError(f"expected {keyword!r}")
        self.at += 1

    def _newlines(self) -> None:
        while (token := self._peek()) is not None and token.op in ("\n", ";"):
            self.at += 1

    def _list(self, stops: frozenset[str]) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ShellSyntaxError("nested too deeply")
        items: list[tuple[Node, bool]] = []
        while True:
            self._newlines()
            token = self._peek()
            if token is None or token.op == ")" or self._keyword() in stops:
                break
            node = self._and_or()
            token = self._peek()
            background = token is not None and token.op == "&"
            items.append((node, background))
            if token is None or token.op not in (";", "&", "\n"):
                break
            self.at += 1
        self.depth -= 1
        return items[0][0] if len(items) == 1 and not items[0][1] else Sequence(tuple(items))

    def _and_or(self) -> Node:
        first = self._pipeline()
        rest: list[tuple[str, Node]] = []
        while (token := self._peek()) is not None and token.op in ("&&", "||"):
            self.at += 1
            self._newlines_only()
            rest.append((token.op, self._pipeline()))
        return AndOr(first, tuple(rest)) if rest else first

    def _newlines_only(self) -> None:
        while (token := self._peek()) is not None and token.op == "\n":
            self.at += 1

    def _pipeline(self) -> Node:
        negated = False
        while self._keyword() == "!":
            negated = not negated
            self.at += 1
        commands = [self._command()]
        while (token := self._peek()) is not None and token.op == "|":
            self.at += 1
            self._newlines_only()
            commands.append(self._command())
        return Pipeline(tuple(commands), negated) if negated or len(commands) > 1 else commands[0]

    def _command(self) -> Node:
        token = self._peek()
        keyword = self._keyword()
        if token is not None and token.op == "(":
            self.at += 1
            body = self._list(frozenset())
            closing = self._peek()
            if closing is None or closing.op != ")":
                raise ShellSyntaxError("missing )")
            self.at += 1
            return Group(body, True, self._redirects())
        if keyword in ("while", "until"):
            self.at += 1
            condition = self._list(frozenset(("do",)))
            return Loop(condition, keyword == "until", self._do_body(), self._redirects())
        if keyword == "if":
            return self._if()
        if keyword == "for":
            return self._for()
        if keyword == "{":
            self.at += 1
            body = self._list(frozenset(("}",)))
            self._expect("}")
            return Group(body, False, self._redirects())
        if keyword:
            raise ShellSyntaxError(f"{keyword!r} is not supported here")
        return self._simple()

    def _do_body(self) -> Node:
        self._expect("do")
        body = self._list(frozenset(("done",)))
        self._expect("done")
        return body

    def _if(self) -> Node:
        branches: list[tuple[Node, Node]] = []
        otherwise: Node | None = None
        while True:
            self.at += 1  # if, elif
            condition = self._list(frozenset(("then",)))
            self._expect("then")
            branches.append((condition, self._list(frozenset(("elif", "else", "fi")))))
            keyword = self._keyword()
            if keyword == "elif":
                continue
            if keyword == "else":
                self.at += 1
                otherwise = self._list(frozenset(("fi",)))
            self._expect("fi")
            return If(tuple(branches), otherwise, self._redirects())

    def _for(self) -> Node:
        self.at += 1
        token = self._peek()
        if token is None or not token.bare:
            raise ShellSyntaxError("bad for loop")
        name = token.bare
        self.at += 1
        words: list[Word] = []
        if self._keyword() == "in":
            self.at += 1
            while (token := self._peek()) is not None and not token.op:
                words.append(token.word)
                self.at += 1
        return For(name, tuple(words), self._do_body(), self._redirects())

    def _redirects(self) -> tuple[Redirect, ...]:
        found: list[Redirect] = []
        while (token := self._peek()) is not None and token.op in ("<", ">", ">>", ">&"):
            self.at += 1
            target = self._peek()
            if target is None or target.op:
                raise ShellSyntaxError("missing target of redirection")
            self.at += 1
            found.append(Redirect(token.fd, token.op, target.word))
        return tuple(found)

    def _simple(self) -> Node:
        assignments: list[tuple[str, Word]] = []
        words: list[Word] = []
        redirects: list[Redirect] = []
        while (token := self._peek()) is not None:
            if token.op in ("<", ">", ">>", ">&"):
                redirects.extend(self._redirects())
                continue
            if token.op:
                break
            self.at += 1
            assignment = _assignment(token.word) if not words else None
            if assignment is not None:
                assignments.append(assignment)
            else:
                words.append(token.word)
        if (token := self._peek()) is not None and token.op == "(" and words:
            raise ShellSyntaxError("functions are not supported")
        if not assignments and not words and not redirects:
            raise ShellSyntaxError(f"unexpected {token.op if token else 'end'!r}")
        return Command(tuple(assignments), tuple(words), tuple(redirects))


def _assignment(word: Word) -> tuple[str, Word] | None:
    """`name=value` as (name, value), else None."""
    head = word[0] if word else None
    if not isinstance(head, Lit) or head.quoted:
        return None
    name, equals, value = head.text.partition("=")
    if not equals or not name or name[0] not in NAME_START or any(c not in NAME for c in name):
        return None
    rest = word[1:]
    return name, ((Lit(value, False), *rest) if value or not rest else rest)


@lru_cache(maxsize=256)
def parse(script: str, depth: int = 0) -> Node:
    """The tree of a script; raises `ShellSyntaxError`. Cached, as replicas share their commands."""
    if len(script) > MAX_SCRIPT_CHARS:
        raise ShellSyntaxError("script too long")
    if depth > MAX_DEPTH:
        raise ShellSyntaxError("nested too deeply")
    return Parser(Lexer(script, depth).tokens(), depth).script()
