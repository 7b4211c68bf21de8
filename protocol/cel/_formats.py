"""Kubernetes' `format` library: `format.dns1123Label().validate(name).hasValue()`.

Owns the names, the checks behind them, and how long their patterns count in costs.

https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-format-library
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from protocol.cel._opaque import Format, url_problem
from protocol.cel._values import NONE, Optional

__all__ = ["FORMATS", "named", "of_name", "validate"]

_LENGTHS = {
    "dns1123Label": 30, "dns1123Subdomain": 60, "dns1035Label": 30, "qualifiedName": 60, "dns1123LabelPrefix": 30,
    "dns1123SubdomainPrefix": 60, "dns1035LabelPrefix": 30, "labelValue": 40, "uri": 1103, "uuid": 70, "byte": 84,
    "date": 71, "datetime": 71,
}  # fmt: skip
FORMATS = tuple(_LENGTHS)
_WORDS = {
    "uuid": "does not match the UUID format",
    "byte": "invalid base64",
    "date": "invalid date",
    "datetime": "invalid datetime",
}


@cache
def of_name(name: str) -> Format:
    """A format. Raises `KeyError`."""
    return Format(name, _check(name), _LENGTHS[name])


def named(name: str) -> Optional:
    """`format.named(name)`"""
    return Optional(True, of_name(name)) if name in _LENGTHS else NONE


def validate(form: Format, text: str) -> Optional:
    """What is wrong with a text, if anything is."""
    problems = form.check(text)
    return Optional(True, problems) if problems else NONE


def _check(name: str) -> Callable[[str], list[str]]:
    from protocol import names
    from protocol.formats import check_format

    rules = {
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
    if name == "uri":
        return lambda text: [problem] if (problem := url_problem(text)) else []
    return lambda text: [] if check_format(name, text) else [_WORDS[name]]
