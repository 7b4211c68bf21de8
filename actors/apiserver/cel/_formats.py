"""Kubernetes' `format` library: `format.dns1123Label().validate(name).hasValue()`.

`validate` yields an optional list of errors in Kubernetes. The engine's functions cannot yield
optionals, so here it yields the list, or null when there is none, and `plain_optionals` rewrites
what expressions ask of the optional.

https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-format-library
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

__all__ = ["NAMES", "is_format", "named_format", "plain_optionals", "validate"]

FORMAT = "~format"
NAMES = (
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
)
_WORDS = {
    "uri": "parse {!r}: invalid URI for request",
    "uuid": "does not match the UUID format",
    "byte": "invalid base64",
    "date": "invalid date",
    "datetime": "invalid datetime",
}
_CALL = re.compile(r"(\.validate|\bformat\.named)\(")
_ASKED = re.compile(r"\s*\.\s*(hasValue|value)\(\)")
_TEXT = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")


def is_format(name: str) -> bool:
    """Whether there is such a format."""
    return name in NAMES


def named_format(name: str) -> dict[str, str]:
    """A format by its name."""
    if name not in NAMES:
        raise ValueError("optional.none() dereference")
    return {FORMAT: name}


def validate(found: Any, text: str) -> list[str] | None:
    """What is wrong with a text; None when nothing is."""
    name = found.get(FORMAT) if isinstance(found, dict) else None
    if not isinstance(name, str):
        raise ValueError("no such overload")
    return _check(name)(text) or None


def _check(name: str) -> Callable[[str], list[str]]:
    from actors.apiserver.crd._formats import check_format
    from actors.apiserver.strategies import _names as names

    rules: dict[str, Callable[[str, bool], Any]] = {
        "dns1123Label": names.dns_label_name,
        "dns1123Subdomain": names.dns_subdomain_name,
        "dns1035Label": names.dns1035_name,
    }
    prefix = name.endswith("Prefix")
    rule = rules.get(name.removesuffix("Prefix"))
    if rule is not None:
        return lambda text: list(rule(text, prefix))
    if name in ("qualifiedName", "labelValue"):
        plain = names.qualified_name if name == "qualifiedName" else names.label_value
        return lambda text: list(plain(text))
    return lambda text: [] if check_format(name, text) else [_WORDS[name].format(text)]


def plain_optionals(source: str) -> str:
    """An expression whose formats and errors are no optionals."""
    if "format." not in source:
        return source
    out: list[str] = []
    at = 0
    for call in _CALL.finditer(source):
        if call.start() < at:
            continue
        end = _end(source, call.end())
        asked = _ASKED.match(source, end)
        if asked is None:
            continue
        name, has = call[1], asked[1] == "hasValue"
        if has:
            name = ".hasErrors" if name == ".validate" else "format.isNamed"
        out += [source[at : call.start()], name, source[call.end() - 1 : end]]
        at = asked.end()
    out.append(source[at:])
    return "".join(out)


def _end(source: str, at: int) -> int:
    """The place after the bracket that closes an argument list."""
    depth = 1
    while at < len(source) and depth:
        text = _TEXT.match(source, at)
        if text is not None:
            at = text.end()
            continue
        depth += (source[at] == "(") - (source[at] == ")")
        at += 1
    return at
