"""Field selectors: parsing, matching, printing.

Owns the text of `?fieldSelector=`. Which fields an object can be selected by is its kind's affair.
Texts of errors are those of apimachinery's `pkg/fields`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from protocol.selectors import SelectorError

__all__ = ["FieldSelector", "parse_field_selector"]


class FieldSelector:
    """A compiled field selector: `(field, operator, value)` terms, all of which must hold.

    `operator` is `=` or `!=`. A field that an object does not have counts as empty.
    """

    __slots__ = ("terms",)

    def __init__(self, terms: tuple[tuple[str, str, str], ...] = ()) -> None:
        self.terms = terms

    @property
    def empty(self) -> bool:
        return not self.terms

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all((fields.get(f, "") == value) == (sign == "=") for f, sign, value in self.terms)

    def required(self, field: str) -> str | None:
        """The one value that `field` must have, if the selector says so."""
        for name, operator, value in self.terms:
            if name == field and operator == "=":
                return value
        return None

    def __str__(self) -> str:
        return ",".join(f"{f}{o}{_escape(v)}" for f, o, v in self.terms)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def _split_terms(text: str) -> Iterator[str]:
    start, at = 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == ",":
            yield text[start:at]
            start = at + 1
        at += 1
    yield text[start:]


def _unescape(text: str) -> str:
    out, escaped = [], False
    for char in text:
        if escaped:
            if char not in "\\,=":
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{char}")
            out.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in ",=":
            raise SelectorError(f"invalid field selector: unescaped character in value: {char}")
        else:
            out.append(char)
    if escaped:
        raise SelectorError("invalid field selector: invalid escape sequence: \\")
    return "".join(out)


def parse_field_selector(text: str) -> FieldSelector:
    """Compile the text of a `fieldSelector` parameter. Raises `SelectorError`."""
    terms = []
    for part in _split_terms(text) if text else ():
        if not part:
            continue
        match = re.match(r"(.*?)(!=|==|=)(.*)\Z", part, re.DOTALL)
        if match is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        field, operator, value = match.groups()
        terms.append((field, "!=" if operator == "!=" else "=", _unescape(value)))
    return FieldSelector(tuple(terms))
