"""Label selectors: parsing, matching, printing.

Owns both forms of a label selector (the text of `?labelSelector=` and the object with `matchLabels`
and `matchExpressions`), compiled to one immutable `Selector`. Texts of errors are those of
apimachinery's `pkg/labels`, since the API server answers with them.

A selector never reads anything but the labels it is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = [
    "EVERYTHING",
    "NOTHING",
    "Requirement",
    "Selector",
    "SelectorError",
    "parse_selector",
    "selector_of",
]


class SelectorError(ValueError):
    """The text or object is not a selector; the message is Kubernetes' own."""


_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")

_NAME_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an"
    " alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for"
    " validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.',"
    " and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or"
    " '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_PREFIX_RULE = (
    "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric"
    " characters, '-' or '.', and must start and end with an alphanumeric character (e.g."
    " 'example.com', regex used for validation is"
    " '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def _key_problems(key: str) -> list[str]:
    """What is wrong with a label key, as `IsQualifiedName` says it."""
    parts = key.split("/")
    problems = []
    if len(parts) > 2:
        return [
            f"a valid label key {_NAME_RULE} with an optional DNS subdomain prefix and '/'"
            " (e.g. 'example.com/MyName')"
        ]
    if len(parts) == 2:
        prefix = parts[0]
        if not prefix:
            problems.append("prefix part must be non-empty")
        elif not _SUBDOMAIN.match(prefix):
            problems.append(_PREFIX_RULE)
    label = parts[-1]
    if not label:
        problems.append("name part must be non-empty")
    elif len(label) > 63:
        problems.append("name part must be no more than 63 bytes")
    if not _QUALIFIED.match(label):
        problems.append(f"name part {_NAME_RULE}")
    return problems


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Requirement(NamedTuple):
    """One condition on one label. `operator`: in, notin, =, ==, !=, exists, !, gt, lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        operator = self.operator
        if operator in ("=", "==", "in"):
            return value is not None and value in self.values
        if operator in ("!=", "notin"):
            return value is None or value not in self.values
        if operator == "exists":
            return value is not None
        if operator == "!":
            return value is None
        if value is None:
            return False
        try:
            number, bound = int(value), int(self.values[0])
        except ValueError:
            return False
        return number > bound if operator == "gt" else number < bound

    def __str__(self) -> str:
        if self.operator == "exists":
            return self.key
        if self.operator == "!":
            return f"!{self.key}"
        if self.operator in ("in", "notin"):
            return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
        sign = {"gt": ">", "lt": "<"}.get(self.operator, self.operator)
        return f"{self.key}{sign}{self.values[0]}"


def _check(key: str, operator: str, values: tuple[str, ...]) -> Requirement:
    errors = []
    problems = _key_problems(key)
    if problems:
        errors.append(f"<nil>: Invalid value: {_quoted(key)}: {'; '.join(problems)}")
    if operator in ("in", "notin") and not values:
        errors.append("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in ("gt", "lt") and _INTEGER.match(values[0]) is None:
        words = "for 'Gt', 'Lt' operators, the value must be an integer"
        errors.append(f"values[0]: Invalid value: {_quoted(values[0])}: {words}")
    for i, value in enumerate(values):
        problems = ["must be no more than 63 bytes"] if len(value.encode()) > 63 else []
        if not _VALUE.match(value):
            problems.append(_VALUE_RULE)
        if problems:
            errors.append(f"values[{i}][{key}]: Invalid value: {_quoted(value)}: {'; '.join(problems)}")
    if errors:
        raise SelectorError(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")
    return Requirement(key, operator, values)


class Selector:
    """A compiled label selector: all of its requirements must hold."""

    __slots__ = ("_equalities", "_none", "_others", "requirements")

    def __init__(self, requirements: tuple[Requirement, ...] = (), *, none: bool = False) -> None:
        self.requirements = requirements
        self._none = none
        # The usual selector is a handful of `key=value`: compare these without a call each.
        self._equalities = tuple(
            (r.key, r.values[0])
            for r in requirements
            if r.operator in ("=", "==") or (r.operator == "in" and len(r.values) == 1)
        )
        self._others = tuple(
            r
            for r in requirements
            if not (r.operator in ("=", "==") or (r.operator == "in" and len(r.values) == 1))
        )

    @property
    def empty(self) -> bool:
        """Whether it selects everything."""
        return not self.requirements and not self._none

    @property
    def nothing(self) -> bool:
        """Whether it selects nothing, whatever the labels."""
        return self._none

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self._none:
            return False
        found = labels or {}
        for key, value in self._equalities:
            if found.get(key) != value:
                return False
        return all(requirement.matches(found) for requirement in self._others)

    def __str__(self) -> str:
        return ",".join(str(r) for r in self.requirements)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Selector)
            and other.requirements == self.requirements
            and other._none == self._none
        )

    def __hash__(self) -> int:
        return hash((self.requirements, self._none))

    def __repr__(self) -> str:
        return f"Selector({'nothing' if self._none else str(self)!r})"


EVERYTHING = Selector()
NOTHING = Selector(none=True)

_EXPRESSION_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def selector_of(label_selector: Mapping[str, Any] | None) -> Selector:
    """Compile a `LabelSelector` object: None selects nothing, an empty one everything.

    Raises `SelectorError` for an operator or value that is not one.
    """
    if label_selector is None:
        return NOTHING
    requirements = [
        _check(key, "=", (value,))
        for key, value in sorted((label_selector.get("matchLabels") or {}).items())
    ]
    for expression in label_selector.get("matchExpressions") or ():
        operator = _EXPRESSION_OPERATORS.get(expression.get("operator", ""))
        if operator is None:
            raise SelectorError(
                f"{_quoted(expression.get('operator', ''))} is not a valid label selector operator"
            )
        values = tuple(expression.get("values") or ())
        requirements.append(_check(expression.get("key", ""), operator, values))
    return Selector(tuple(sorted(requirements, key=lambda r: r.key)))


# --- the text form ------------------------------------------------------------------------------

_TOKENS = re.compile(r"\s*(?:(==|!=|[=!(),<>])|([^\s=!(),<>]+)|\Z)")
_OPERATORS = {"=": "=", "==": "==", "!=": "!=", ">": "gt", "<": "lt", "in": "in", "notin": "notin"}
_END = ""


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _TOKENS.match(text, at)
        if match is None or match.end() == at:
            break
        at = match.end()
        token = match.group(1) or match.group(2)
        if token:
            yield token


def _is_word(token: str) -> bool:
    return token not in ("", "=", "==", "!=", "!", "(", ")", ",", "<", ">")


class _Parser:
    """Recursive descent over the tokens, with apimachinery's messages."""

    def __init__(self, text: str) -> None:
        self.tokens = list(_tokens(text))
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else _END

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def parse(self) -> Iterator[Requirement]:
        while True:
            token = self.peek()
            if token == _END:
                return
            if not _is_word(token) and token != "!":
                raise SelectorError(f"found '{token}', expected: !, identifier, or 'end of string'")
            try:
                yield self.requirement()
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            token = self.take()
            if token == _END:
                return
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or 'end of string'")
            following = self.peek()
            if not _is_word(following) and following != "!":
                raise SelectorError(f"found '{following}', expected: identifier after ','")

    def requirement(self) -> Requirement:
        negated = self.peek() == "!"
        if negated:
            self.take()
        key = self.take()
        if not _is_word(key):
            raise SelectorError(f"found '{key}', expected: identifier")
        problems = _key_problems(key)
        if problems:
            raise SelectorError(f"<nil>: Invalid value: {_quoted(key)}: {problems[0]}")
        if negated:
            return Requirement(key, "!")
        if self.peek() in (_END, ","):
            return Requirement(key, "exists")
        word = self.take()
        operator = _OPERATORS.get(word)
        if operator is None:
            raise SelectorError(f"found '{word}', expected: in, notin, =, ==, !=, gt, lt")
        values = self.values() if operator in ("in", "notin") else (self.exact_value(),)
        return _check(key, operator, values)

    def values(self) -> tuple[str, ...]:
        token = self.take()
        if token != "(":
            raise SelectorError(f"found '{token}' expected: '('")
        token = self.peek()
        if token == ")":
            self.take()
            return ("",)
        if not _is_word(token) and token != ",":
            raise SelectorError(f"found '{token}', expected: ',', ')' or identifier")
        values = self.identifiers()
        self.take()
        return values

    def identifiers(self) -> tuple[str, ...]:
        found: set[str] = set()
        while True:
            token = self.take()
            following = self.peek()
            if _is_word(token):
                found.add(token)
                if following == ")":
                    return tuple(sorted(found))
                if following != ",":
                    raise SelectorError(f"found '{following}', expected: ',' or ')'")
            elif token == ",":
                if not found:
                    found.add("")
                if following == ")":
                    found.add("")
                    return tuple(sorted(found))
                if following == ",":
                    found.add("")
            else:
                raise SelectorError(f"found '{token}', expected: ',', or identifier")

    def exact_value(self) -> str:
        if self.peek() in (_END, ","):
            return ""
        token = self.take()
        if not _is_word(token):
            raise SelectorError(f"found '{token}', expected: identifier")
        return token


def parse_selector(text: str) -> Selector:
    """Compile the text of a `labelSelector` parameter; empty selects everything.

    Raises `SelectorError` with the text that the API server puts after
    `unable to parse labels: `-like prefixes.
    """
    if not text:
        return EVERYTHING
    return Selector(tuple(sorted(_Parser(text).parse(), key=lambda r: r.key)))
