"""Go's text/template, as far as templates of Kubernetes' world use it.

Owns parsing and rendering: actions (if, with, range and their else, break and continue, variables, comments, trim
markers), pipelines, and the built-in functions. What is not known is refused at parse time, by name.
A value that is absent is None, and prints as Go prints it.

https://pkg.go.dev/text/template
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["Template", "TemplateError"]

_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\])*")|(?P<raw>`[^`]*`)|(?P<number>[-+]?\d+(?:\.\d+)?)"""
    r"""|(?P<field>\.[A-Za-z_]\w*)|(?P<variable>\$\w*)|(?P<word>[A-Za-z_]\w*)|(?P<mark>:=|=|\||\(|\)|,|\.))"""
)
Scope = dict[str, Any]
Node = tuple[Any, ...]


class TemplateError(ValueError):
    """A template that is none, or that cannot be rendered with this data."""


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Template:
    """A parsed template. Raises `TemplateError`."""

    def __init__(self, text: str, functions: Mapping[str, Callable[..., Any]] | None = None) -> None:
        self._functions = {**_BUILTIN, **(functions or {})}
        self._parts = _split(text)
        self._at = 0
        self._nodes, end = self._block()
        if end:
            raise TemplateError(f"unexpected {{{{{end}}}}}")

    def render(self, data: Any, functions: Mapping[str, Callable[..., Any]] | None = None) -> str:
        """The text for `data`; `functions` replace those of the same name that were given at the start.
        Raises `TemplateError`."""
        out: list[str] = []
        run = _Run({**self._functions, **(functions or {})}, out)
        try:
            run.block(self._nodes, data, [{"$": data}])
        except (TypeError, KeyError, IndexError, AttributeError, ZeroDivisionError) as error:
            raise TemplateError(str(error)) from None
        return "".join(out)

    # -- parsing

    def _block(self) -> tuple[list[Node], str]:
        nodes: list[Node] = []
        while self._at < len(self._parts):
            kind, text = self._parts[self._at]
            self._at += 1
            if kind == "text":
                nodes.append(("text", text))
                continue
            word, _, rest = text.partition(" ")
            if word in ("end", "else"):
                return nodes, text
            if word in ("if", "with", "range"):
                nodes.append(self._branch(word, rest))
            elif word in ("break", "continue"):
                nodes.append((word,))
            elif word in ("define", "template", "block"):
                raise TemplateError(f"{{{{{word}}}}} is not supported")
            else:
                nodes.append(self._action(text))
        return nodes, ""

    def _branch(self, word: str, head: str) -> Node:
        names, pipe = self._declared(head) if word == "range" else ([], None)
        if pipe is None:
            action = self._action(head)
            names, pipe = ([action[1]], action[2]) if action[0] == "declare" else ([], action[1])
        body, end = self._block()
        other: list[Node] = []
        if end.startswith("else"):
            more = end[4:].strip()
            if more:
                kind, _, rest = more.partition(" ")
                other = [self._branch(kind, rest)]
                return (word, names, pipe, body, other)
            other, end = self._block()
        if end != "end":
            raise TemplateError(f"{{{{{word}}}}} without {{{{end}}}}")
        return (word, names, pipe, body, other)

    def _declared(self, head: str) -> tuple[list[str], Any]:
        match = re.match(r"\s*(\$\w+)\s*(?:,\s*(\$\w+))?\s*:=\s*(.*)", head, re.DOTALL)
        if match is None:
            return [], None
        return [n for n in match.groups()[:2] if n], self._action(match[3])[1]

    def _action(self, text: str) -> Node:
        tokens = _tokens(text)
        if len(tokens) > 2 and tokens[0][0] == "variable" and tokens[1][1] in (":=", "="):
            pipe, rest = self._pipe(tokens, 2)
            found: Node = ("declare" if tokens[1][1] == ":=" else "assign", tokens[0][1], pipe)
        else:
            pipe, rest = self._pipe(tokens, 0)
            found = ("print", pipe)
        if rest != len(tokens):
            raise TemplateError(f"unexpected {tokens[rest][1]!r} in {text!r}")
        return found

    def _pipe(self, tokens: list[tuple[str, str]], at: int) -> tuple[list[list[Any]], int]:
        commands: list[list[Any]] = [[]]
        while at < len(tokens) and tokens[at][1] != ")":
            if tokens[at] == ("mark", "|"):
                commands.append([])
                at += 1
                continue
            operand, at = self._operand(tokens, at)
            commands[-1].append(operand)
        if not all(commands):
            raise TemplateError("missing value for command")
        return commands, at

    def _operand(self, tokens: list[tuple[str, str]], at: int) -> tuple[Any, int]:
        kind, text = tokens[at]
        at += 1
        base: Any
        if kind == "string":
            base = ("value", json.loads(text))
        elif kind == "raw":
            base = ("value", text[1:-1])
        elif kind == "number":
            base = ("value", float(text) if "." in text else int(text))
        elif kind == "start":
            base = ("dot", [text[1:]])
        elif kind == "variable":
            base = ("variable", text, [])
        elif text == ".":
            base = ("dot", [])
        elif text == "(":
            pipe, at = self._pipe(tokens, at)
            if at >= len(tokens):
                raise TemplateError("unclosed parenthesis")
            base, at = ("pipe", pipe, []), at + 1
        elif text in ("true", "false", "nil"):
            base = ("value", {"true": True, "false": False, "nil": None}[text])
        elif kind == "word":
            if text not in self._functions:
                raise TemplateError(f'function "{text}" not defined')
            return ("function", text), at
        else:
            raise TemplateError(f"unexpected {text!r}")
        while at < len(tokens) and tokens[at][0] == "field" and base[0] != "value":
            base[-1].append(tokens[at][1][1:])
            at += 1
        return base, at


def _split(text: str) -> list[tuple[str, str]]:
    parts: list[tuple[str, str]] = []
    at, trim = 0, False
    for match in _ACTION.finditer(text):
        plain = text[at : match.start()]
        if trim:
            plain = plain.lstrip()
        parts.append(("text", plain.rstrip() if match[1] else plain))
        body = match[2].strip()
        if not body.startswith("/*"):
            parts.append(("action", body))
        at, trim = match.end(), bool(match[3])
    parts.append(("text", text[at:].lstrip() if trim else text[at:]))
    return parts


def _tokens(text: str) -> list[tuple[str, str]]:
    """The words of an action. A field that follows a space is an operand of its own (`start`); one that
    does not belongs to what is before it (`field`)."""
    found: list[tuple[str, str]] = []
    at, text = 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise TemplateError(f"unexpected {text[at : at + 10]!r}")
        kind, word = match.lastgroup, match[match.lastgroup]
        joined = (
            found
            and match.start(kind) == at
            and (found[-1][0] in ("field", "start", "variable") or found[-1][1] == ")")
        )
        found.append(("start" if kind == "field" and not joined else kind, word))
        at = match.end()
    return found


class _Run:
    """One rendering."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]], out: list[str]) -> None:
        self.functions = functions
        self.out = out

    def block(self, nodes: list[Node], dot: Any, scopes: list[Scope]) -> None:
        for node in nodes:
            kind = node[0]
            if kind == "text":
                self.out.append(node[1])
            elif kind == "print":
                self.out.append(_text(self.pipe(node[1], dot, scopes)))
            elif kind == "declare":
                scopes[-1][node[1]] = self.pipe(node[2], dot, scopes)
            elif kind == "assign":
                value = self.pipe(node[2], dot, scopes)
                _scope_of(node[1], scopes)[node[1]] = value
            elif kind == "break":
                raise _Break
            elif kind == "continue":
                raise _Continue
            elif kind == "range":
                self._range(node, dot, scopes)
            else:
                self._branch(node, dot, scopes)

    def _branch(self, node: Node, dot: Any, scopes: list[Scope]) -> None:
        kind, names, pipe, body, other = node
        value = self.pipe(pipe, dot, scopes)
        inner = [*scopes, dict.fromkeys(names, value)]
        if _true(value):
            self.block(body, value if kind == "with" else dot, inner)
        else:
            self.block(other, dot, inner)

    def _range(self, node: Node, dot: Any, scopes: list[Scope]) -> None:
        _, names, pipe, body, other = node
        value = self.pipe(pipe, dot, scopes)
        if isinstance(value, Mapping):
            items: list[tuple[Any, Any]] = sorted(value.items())
        elif isinstance(value, int) and not isinstance(value, bool):
            items = [(i, i) for i in range(value)]
        elif value is None or isinstance(value, (list, tuple)):
            items = list(enumerate(value or ()))
        else:
            raise TemplateError(f"range can't iterate over {value!r}")
        if not items:
            self.block(other, dot, [*scopes, {}])
        for key, item in items:
            inner = {names[0]: item} if len(names) == 1 else {names[0]: key, names[1]: item} if names else {}
            try:
                self.block(body, item, [*scopes, inner])
            except _Continue:
                continue
            except _Break:
                break

    def pipe(self, commands: list[list[Any]], dot: Any, scopes: list[Scope]) -> Any:
        value: Any = None
        for index, command in enumerate(commands):
            more = (value,) if index else ()
            first = command[0]
            if first[0] == "function":
                value = self.call(first[1], command[1:], more, dot, scopes)
            elif len(command) > 1 or more:
                raise TemplateError("a value is no function")
            else:
                value = self.operand(first, dot, scopes)
        return value

    def call(self, name: str, operands: list[Any], more: tuple[Any, ...], dot: Any, scopes: list[Scope]) -> Any:
        if name in ("and", "or"):  # as in Go, what follows the answer is not looked at
            value: Any = None
            for operand in operands:
                value = self.operand(operand, dot, scopes)
                if _true(value) == (name == "or"):
                    return value
            return more[0] if more else value
        arguments = [self.operand(o, dot, scopes) for o in operands]
        return self.functions[name](*arguments, *more)

    def operand(self, operand: Any, dot: Any, scopes: list[Scope]) -> Any:
        kind = operand[0]
        if kind == "value":
            return operand[1]
        if kind == "function":
            return self.call(operand[1], [], (), dot, scopes)
        if kind == "dot":
            value = dot
        elif kind == "variable":
            value = _scope_of(operand[1], scopes)[operand[1]]
        else:
            value = self.pipe(operand[1], dot, scopes)
        for name in operand[-1]:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


def _scope_of(name: str, scopes: list[Scope]) -> Scope:
    for scope in reversed(scopes):
        if name in scope:
            return scope
    raise TemplateError(f"undefined variable {name}")


def _true(value: Any) -> bool:
    return bool(value)


def _text(value: Any) -> str:
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{k}:{_text(v)}" for k, v in sorted(value.items())) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(_text, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None:
            return None
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, Sequence) and 0 <= key < len(value):
            value = value[key]
        else:
            raise TemplateError(f"index out of range: {key}")
    return value


def _printf(form: str, *values: Any) -> str:
    given = iter(values)

    def one(match: re.Match[str]) -> str:
        verb = match[0][-1]
        if verb == "%":
            return "%"
        value = next(given, None)
        if verb == "q":
            return json.dumps(_text(value))
        if verb in "dxXof":
            return match[0] % (value if verb == "f" else int(value or 0))
        return (match[0][:-1] + "s") % _text(value)

    return re.sub(r"%[-+ 0#]*\d*(?:\.\d+)?[svdqxXof%]", one, form)


def _dict(*pairs: Any) -> dict[str, Any]:
    return {str(pairs[i]): pairs[i + 1] if i + 1 < len(pairs) else "" for i in range(0, len(pairs), 2)}


_BUILTIN: dict[str, Callable[..., Any]] = {
    "and": lambda *_: None,
    "or": lambda *_: None,
    "not": lambda v: not _true(v),
    "eq": lambda a, *b: any(a == one for one in b),
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "len": len,
    "index": _index,
    "slice": lambda v, *ends: v[slice(*ends)] if len(ends) != 1 else v[ends[0] :],
    "print": lambda *v: "".join(map(_text, v)),
    "println": lambda *v: " ".join(map(_text, v)) + "\n",
    "printf": _printf,
    "default": lambda fallback, value=None: value if _true(value) else fallback,
    "dict": _dict,
    "list": lambda *v: list(v),
    "lower": lambda v: str(v).lower(),
    "upper": lambda v: str(v).upper(),
    "trim": lambda v: str(v).strip(),
    "contains": lambda part, v: part in v,
    "hasPrefix": lambda part, v: str(v).startswith(part),
    "hasSuffix": lambda part, v: str(v).endswith(part),
    "replace": lambda old, new, v: str(v).replace(old, new),
    "join": lambda between, v: between.join(map(_text, v)),
    "add": lambda *v: sum(int(x) for x in v),
    "sub": lambda a, b: int(a) - int(b),
    "mul": lambda a, b: int(a) * int(b),
    "mod": lambda a, b: int(a) % int(b),
    "quote": lambda v: json.dumps(_text(v)),
    "toString": lambda v: _text(v),
}
