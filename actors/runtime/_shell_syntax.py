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

from functools import lru_cache

from actors.runtime._shell_lexer import KEYWORDS, NAME, NAME_START, Lexer, Token
from actors.runtime._shell_tree import (
    AndOr,
    Command,
    For,
    Group,
    If,
    Lit,
    Loop,
    Node,
    Pipeline,
    Redirect,
    Sequence,
    ShellSyntaxError,
    Word,
)

__all__ = ["ShellSyntaxError", "parse"]

MAX_SCRIPT_CHARS = 65_536
MAX_DEPTH = 40


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
    return Parser(Lexer(script, depth, parse).tokens(), depth).script()
