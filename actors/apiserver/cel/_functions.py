"""Kubernetes' CEL functions: lists, regular expressions, URLs, quantities, addresses, semver, authorizer.

Values of Kubernetes' opaque types (a quantity, a URL, an address) travel through the engine as maps
with one reserved key, since only plain values can. Owns the functions' meaning, not the engine.

https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-cel-libraries
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache, partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from actors.apiserver.cel._formats import NAMES, is_format, named_format, validate
from actors.apiserver.cel._lists import (
    distinct,
    extreme,
    find,
    find_all,
    flat,
    index_of,
    is_sorted,
    last_index_of,
    slice_of,
    total,
)
from protocol.quantity import QuantityError, format_quantity, parse_quantity, quantity_format

__all__ = ["extensions"]

Object = dict[str, Any]
QUANTITY, URL, IP, CIDR, SEMVER, AUTHORIZER = "~quantity", "~url", "~ip", "~cidr", "~semver", "~authorizer"


def _raw(value: Any) -> Any:
    """A plain value out of what the engine hands over."""
    if hasattr(value, "plain_value"):
        return value.plain_value()
    if isinstance(value, list):
        return [_raw(item) for item in value]
    if isinstance(value, dict):
        return {_raw(key): _raw(item) for key, item in value.items()}
    return value


def _opaque(value: Any, kind: str) -> Any:
    value = _raw(value)
    if not isinstance(value, dict) or kind not in value:
        raise ValueError("no such overload")
    return value[kind]


# --- quantities -------------------------------------------------------------------------------


def _quantity(text: str) -> Object:
    try:
        return {QUANTITY: format_quantity(parse_quantity(text), quantity_format(text))}
    except QuantityError as error:
        raise ValueError(str(error)) from None


def _is_quantity(text: str) -> bool:
    try:
        parse_quantity(text)
    except QuantityError:
        return False
    return True


def _number(value: Any) -> Decimal:
    value = _raw(value)
    return parse_quantity(value[QUANTITY]) if isinstance(value, dict) else Decimal(str(value))


def _quantity_sum(sign: int) -> Callable[[Any, Any], Object]:
    def run(left: Any, right: Any) -> Object:
        style = quantity_format(_opaque(left, QUANTITY))
        return {QUANTITY: format_quantity(_number(left) + sign * _number(right), style)}

    return run


def _compare(left: Any, right: Any) -> int:
    a, b = _comparable(left), _comparable(right)
    return (a > b) - (a < b)


def _comparable(value: Any) -> Any:
    value = _raw(value)
    if isinstance(value, dict) and SEMVER in value:
        return _semver_key(value[SEMVER])
    return _number(value)


def _as_integer(value: Any) -> int:
    number = _number(value)
    if number != number.to_integral_value():
        raise ValueError("cannot convert value to integer")
    return int(number)


# --- URLs and addresses -----------------------------------------------------------------------


def _url(text: str) -> Object:
    if not _is_url(text):
        raise ValueError(f"URL parse error during conversion from string: parse {text!r}: invalid URI for request")
    return {URL: text}


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return bool(text) and (bool(parts.scheme) or text.startswith("/")) and " " not in text


def _url_part(part: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: part(urlsplit(_opaque(value, URL)))


def _hostname(parts: Any) -> str:
    return parts.hostname or ""


def _ip(text: str) -> Object:
    try:
        return {IP: str(ipaddress.ip_address(text))}
    except ValueError:
        raise ValueError(f"IP Address {text!r} parse error during conversion from string") from None


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _cidr(text: str) -> Object:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError("network address parse error during conversion from string") from None
    if "/" not in text:
        raise ValueError("network address parse error during conversion from string")
    return {CIDR: text}


def _is_cidr(text: str) -> bool:
    try:
        _cidr(text)
    except ValueError:
        return False
    return True


def _address(value: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    value = _raw(value)
    return ipaddress.ip_address(value[IP] if isinstance(value, dict) else value)


def _network(value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    value = _raw(value)
    return ipaddress.ip_network(value[CIDR] if isinstance(value, dict) else value, strict=False)


def _contains_ip(value: Any, address: Any) -> bool:
    return _address(address) in _network(value)


def _contains_cidr(value: Any, other: Any) -> bool:
    mine, theirs = _network(value), _network(other)
    return mine.version == theirs.version and theirs.subnet_of(mine)  # type: ignore[arg-type]


def _cidr_ip(value: Any) -> Object:
    return {IP: str(ipaddress.ip_interface(_opaque(value, CIDR)).ip)}


# --- semantic versions ------------------------------------------------------------------------

_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?\Z"
)


def _semver(text: str) -> Object:
    if _SEMVER.match(text) is None:
        raise ValueError(f"semver parse error during conversion from string: {text}")
    return {SEMVER: text}


def _semver_key(text: str) -> tuple[Any, ...]:
    match = _SEMVER.match(text)
    assert match is not None
    numbers = tuple(int(match[i]) for i in (1, 2, 3))
    if match[4] is None:
        return (numbers, (1,))
    words = tuple((0, int(word), "") if word.isdigit() else (1, 0, word) for word in match[4].split("."))
    return (numbers, (0, words))


def _semver_part(index: int) -> Callable[[Any], int]:
    return lambda value: int(_semver_key(_opaque(value, SEMVER))[0][index])


# --- the authorizer ---------------------------------------------------------------------------


def _narrow(field: str) -> Callable[[Any, str], Object]:
    def run(value: Any, text: str) -> Object:
        return {AUTHORIZER: {**_opaque(value, AUTHORIZER), field: text}}

    return run


def _service_account(value: Any, namespace: str, name: str) -> Object:
    return {AUTHORIZER: {**_opaque(value, AUTHORIZER), "account": f"system:serviceaccount:{namespace}:{name}"}}


def _check(value: Any, verb: str) -> Object:
    from actors.apiserver.cel._engine import ask_authorizer

    question = {**_opaque(value, AUTHORIZER), "verb": verb}
    return {AUTHORIZER: {"allowed": ask_authorizer(**question)}}


def _decision(value: Any) -> bool:
    return bool(_opaque(value, AUTHORIZER).get("allowed"))


# --- declaration ------------------------------------------------------------------------------


@cache
def extensions() -> list[Any]:
    """The engine's extensions and Kubernetes' functions as one more."""
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

    kinds = {
        "b": cel.Type.BOOL,
        "i": cel.Type.INT,
        "s": cel.Type.STRING,
        "d": cel.Type.DYN,
        "f": cel.Type.DOUBLE,
        "l": cel.Type.List(cel.Type.DYN),
        "t": cel.Type.List(cel.Type.STRING),
    }
    overloads: dict[str, list[Any]] = {}

    def declare(signature: str, act: Callable[..., Any]) -> None:
        """`l.sum()d` is a method of lists, `ip(s)d` a function; letters are types."""
        head, _, result = signature.rpartition(")")
        name, _, letters = head.partition("(")
        member = "." in name and len(name.partition(".")[0]) == 1 and name[0] in kinds
        parameters = letters
        if member:
            parameters, name = name[0] + letters, name[2:]

        def call(*values: Any) -> Any:
            return act(*(_raw(value) for value in values))

        overloads.setdefault(name, []).append(
            cel.Overload(
                f"k8s_{name.replace('.', '_')}_{parameters}",
                return_type=kinds[result],
                parameters=[kinds[letter] for letter in parameters],
                is_member=member,
                impl=call,
            )
        )

    for signature, act in _DECLARATIONS:
        declare(signature, act)
    functions = [cel.FunctionDecl(name, listed) for name, listed in overloads.items()]
    return [
        ext_strings.ExtStrings(),
        ext_optional.ExtOptional(),
        ext_math.ExtMath(),
        ext_encoders.ExtEncoders(),
        ext_bindings.ExtBindings(),
        cel.CelExtension("kubernetes", functions),
    ]


_DECLARATIONS: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("l.isSorted()b", is_sorted),
    ("l.sum()d", total),
    ("l.min()d", extreme(min, "min")),
    ("l.max()d", extreme(max, "max")),
    ("l.indexOf(d)i", index_of),
    ("l.lastIndexOf(d)i", last_index_of),
    ("lists.range(i)l", lambda count: list(range(count))),
    ("l.slice(ii)l", slice_of),
    ("l.flatten()l", lambda items: flat(items, 1)),
    ("l.flatten(i)l", flat),
    ("l.distinct()l", distinct),
    ("l.reverse()l", lambda items: items[::-1]),
    ("l.sort()l", sorted),
    ("s.find(s)s", find),
    ("s.findAll(s)t", find_all),
    ("s.findAll(si)t", find_all),
    ("quantity(s)d", _quantity),
    ("isQuantity(s)b", _is_quantity),
    ("d.asInteger()i", _as_integer),
    ("d.isInteger()b", lambda value: _number(value) == _number(value).to_integral_value()),
    ("d.asApproximateFloat()f", lambda value: float(_number(value))),
    ("d.sign()i", lambda value: int(_number(value) > 0) - int(_number(value) < 0)),
    ("d.add(d)d", _quantity_sum(1)),
    ("d.sub(d)d", _quantity_sum(-1)),
    ("d.compareTo(d)i", _compare),
    ("d.isGreaterThan(d)b", lambda a, b: _compare(a, b) > 0),
    ("d.isLessThan(d)b", lambda a, b: _compare(a, b) < 0),
    ("url(s)d", _url),
    ("isURL(s)b", _is_url),
    ("d.getScheme()s", _url_part(lambda parts: parts.scheme)),
    ("d.getHost()s", _url_part(lambda parts: parts.netloc.rpartition("@")[2])),
    ("d.getHostname()s", _url_part(_hostname)),
    ("d.getPort()s", _url_part(lambda parts: str(parts.port or ""))),
    ("d.getEscapedPath()s", _url_part(lambda parts: parts.path)),
    ("d.getQuery()d", _url_part(lambda parts: parse_qs(parts.query, keep_blank_values=True))),
    ("ip(s)d", _ip),
    ("isIP(s)b", _is_ip),
    ("ip.isCanonical(s)b", lambda text: str(ipaddress.ip_address(text)) == text),
    ("d.family()i", lambda value: _address(value).version),
    ("d.isUnspecified()b", lambda value: _address(value).is_unspecified),
    ("d.isLoopback()b", lambda value: _address(value).is_loopback),
    ("d.isLinkLocalMulticast()b", lambda value: _address(value).is_multicast and not _address(value).is_global),
    ("d.isLinkLocalUnicast()b", lambda value: _address(value).is_link_local),
    ("d.isGlobalUnicast()b", lambda value: not (_address(value).is_multicast or _address(value).is_loopback)),
    ("cidr(s)d", _cidr),
    ("isCIDR(s)b", _is_cidr),
    ("d.containsIP(d)b", _contains_ip),
    ("d.containsCIDR(d)b", _contains_cidr),
    ("d.ip()d", _cidr_ip),
    ("d.masked()d", lambda value: {CIDR: str(_network(value))}),
    ("d.prefixLength()i", lambda value: _network(value).prefixlen),
    ("semver(s)d", _semver),
    ("isSemver(s)b", lambda text: _SEMVER.match(text) is not None),
    ("d.major()i", _semver_part(0)),
    ("d.minor()i", _semver_part(1)),
    ("d.patch()i", _semver_part(2)),
    ("d.path(s)d", _narrow("path")),
    ("d.group(s)d", _narrow("group")),
    ("d.resource(s)d", _narrow("resource")),
    ("d.subresource(s)d", _narrow("subresource")),
    ("d.namespace(s)d", _narrow("namespace")),
    ("d.name(s)d", _narrow("name")),
    ("d.fieldSelector(s)d", _narrow("field_selector")),
    ("d.labelSelector(s)d", _narrow("label_selector")),
    ("d.serviceAccount(ss)d", _service_account),
    ("d.check(s)d", _check),
    ("d.allowed()b", _decision),
    ("d.reason()s", lambda value: ""),
    ("d.errored()b", lambda value: False),
    ("d.error()s", lambda value: ""),
    ("sets.contains(ll)b", lambda a, b: all(item in a for item in b)),
    ("sets.intersects(ll)b", lambda a, b: any(item in a for item in b)),
    *((f"format.{name}()d", partial(named_format, name)) for name in NAMES),
    ("format.named(s)d", named_format),
    ("format.isNamed(s)b", is_format),
    ("d.validate(s)d", validate),
    ("d.hasErrors(s)b", lambda found, text: validate(found, text) is not None),
    ("jsonpatch.escapeKey(s)s", lambda text: text.replace("~", "~0").replace("/", "~1")),
    ("sets.equivalent(ll)b", lambda a, b: all(i in a for i in b) and all(i in b for i in a)),
)
