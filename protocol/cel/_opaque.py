"""Kubernetes' own values: quantities, URLs, addresses, networks, versions, named formats, the authorizer.

Owns what they are and the functions that take them. It must never know how functions are declared.

https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-cel-libraries
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

from protocol.cel._values import Failure, Opaque
from protocol.quantity import QuantityError, format_quantity, parse_quantity, quantity_format

__all__ = ["Authorizer", "Cidr", "Decision", "Ip", "Quantity", "ResourceCheck", "Semver", "Url"]

INT_MAX = 2**63 - 1


class Quantity(Opaque):
    """An amount, in the style in which it was written."""

    __slots__ = ("number", "style")
    kind = "kubernetes.Quantity"

    def __init__(self, number: Decimal, style: str) -> None:
        self.number = number
        self.style = style

    @property
    def key(self) -> Decimal:
        """Equal amounts are equal."""
        return self.number

    @property
    def text(self) -> str:
        """The canonical text."""
        return format_quantity(self.number, self.style)


def quantity(text: str) -> Quantity:
    """`quantity(text)`"""
    try:
        return Quantity(parse_quantity(text), quantity_format(text))
    except QuantityError as error:
        raise Failure(str(error)) from None


def is_quantity(text: str) -> bool:
    """`isQuantity(text)`"""
    try:
        parse_quantity(text)
    except QuantityError:
        return False
    return True


def is_integer(amount: Quantity) -> bool:
    """Whether an amount is whole and fits 64 bits."""
    return amount.number == amount.number.to_integral_value() and abs(amount.number) <= INT_MAX


def as_integer(amount: Quantity) -> int:
    """A whole amount as an integer."""
    if not is_integer(amount):
        raise Failure("cannot convert value to integer")
    return int(amount.number)


def quantity_sum(sign: int) -> Callable[[Quantity, Any], Quantity]:
    """`add` and `sub`, of an amount or an integer."""

    def run(amount: Quantity, other: Any) -> Quantity:
        number = other.number if isinstance(other, Quantity) else Decimal(int(other))
        return Quantity(amount.number + sign * number, amount.style)

    return run


# --- URLs -------------------------------------------------------------------------------------


class Url(Opaque):
    """A URL, absolute or with an absolute path."""

    __slots__ = ("parts", "text")
    kind = "kubernetes.URL"

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts = urlsplit(text)

    @property
    def key(self) -> str:
        """Equal texts are equal."""
        return self.text


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\[\]<>\"\s]*?)(?::(?P<port>[^:\]]*))?\Z")


def url_problem(text: str, absolute: bool = True) -> str:
    """Go's words for why a text is no URL (`absolute`: of a request); empty when it is one."""
    quoted = json.dumps(text, ensure_ascii=False)
    if not text:
        return f"parse {quoted}: empty url" if absolute else ""
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in text):
        return f"parse {quoted}: net/url: invalid control character in URL"
    scheme = _SCHEME.match(text)
    if scheme is None:
        if text[0] == ":":
            return f"parse {quoted}: missing protocol scheme"
        if not absolute:
            colon = ":" in re.split("[/?#]", text, maxsplit=1)[0]
            return f"parse {quoted}: first path segment in URL cannot contain colon" if colon else ""
        return "" if text[0] == "/" else f"parse {quoted}: invalid URI for request"
    rest = text[scheme.end() :]
    if not rest.startswith("/"):
        return f"parse {quoted}: invalid URI for request" if absolute and not rest else ""
    if rest.startswith("//") and not rest.startswith("///"):
        authority = re.split(r"[/?#]", rest[2:], maxsplit=1)[0].rpartition("@")[2]
        host = _HOST.match(authority)
        if " " in authority:
            return f'parse {quoted}: invalid character " " in host name'
        if host is None:
            return f"parse {quoted}: invalid host"
        if host["port"] and not host["port"].isdigit():
            return f'parse {quoted}: invalid port ":{host["port"]}" after host'
    escape = re.search(r"%(?![0-9A-Fa-f]{2}).{0,2}", text)
    if escape is not None:
        return f'parse {quoted}: invalid URL escape "{escape[0]}"'
    return ""


def url(text: str) -> Url:
    """`url(text)`"""
    problem = url_problem(text)
    if problem:
        raise Failure(f"URL parse error during conversion from string: {problem}")
    return Url(text)


def url_host(value: Url) -> str:
    """Host and port as they are written."""
    return value.parts.netloc.rpartition("@")[2]


def url_hostname(value: Url) -> str:
    """The host without its port or brackets."""
    host = url_host(value)
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def url_port(value: Url) -> str:
    """The port; empty when there is none."""
    host = url_host(value)
    rest = host.rpartition("]")[2] if host.startswith("[") else host
    return rest.partition(":")[2]


def url_query(value: Url) -> dict[str, list[str]]:
    """The query's values by name."""
    return parse_qs(value.parts.query, keep_blank_values=True)


# --- addresses --------------------------------------------------------------------------------

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Ip(Opaque):
    """An address."""

    __slots__ = ("address",)
    kind = "net.IP"

    def __init__(self, address: Address) -> None:
        self.address = address

    @property
    def size(self) -> int:
        """Bytes."""
        return self.address.max_prefixlen // 8

    @property
    def key(self) -> Address:
        """Equal addresses are equal."""
        return self.address

    @property
    def text(self) -> str:
        """The canonical text."""
        return str(self.address)


def _address(text: str) -> Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Failure(
            f"IP Address {json.dumps(text)} parse error during conversion from string: {_address_problem(text)}"
        ) from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            raise Failure(f"IP address {json.dumps(text)} with zone value is not allowed")
        if address.ipv4_mapped is not None:
            raise Failure(f"IPv4-mapped IPv6 address {json.dumps(text)} is not allowed")
    return address


def _address_problem(text: str) -> str:
    """Go's words (net/netip) for why a text is no address."""
    quoted = json.dumps(text)
    head = f"ParseAddr({quoted}): "
    first = next((c for c in text if c in ".:%"), "")
    if first == "%":
        return head + "missing IPv6 address"
    if not first:
        return head + "unable to parse IP"
    if first == ":":
        return head + "unable to parse IP" if not re.fullmatch(r"[0-9A-Fa-f:.]*", text) else head + "unexpected character"
    return head + _ipv4_problem(text)


def _ipv4_problem(text: str) -> str:
    fields = text.split(".")
    for place, field in enumerate(fields):
        if not field:
            return f"IPv4 field must have at least one digit (at {json.dumps(chr(46).join(fields[place:]))})"
        if not field.isdigit():
            at = next(i for i, c in enumerate(field) if not c.isdigit())
            rest = ".".join([field[at:], *fields[place + 1 :]])
            return f"unexpected character (at {json.dumps(rest)})"
        if len(field) > 1 and field[0] == "0":
            return "IPv4 field has octet with leading zero"
        if int(field) > 255:
            return "IPv4 field has value >255"
    return "IPv4 address too long" if len(fields) > 4 else "IPv4 address too short"


def ip(text: str) -> Ip:
    """`ip(text)`"""
    return Ip(_address(text))


def is_ip(text: str) -> bool:
    """`isIP(text)`"""
    try:
        _address(text)
    except Failure:
        return False
    return True


def is_canonical(text: str) -> bool:
    """`ip.isCanonical(text)`"""
    return str(_address(text)) == text


def link_local_multicast(value: Ip) -> bool:
    """224.0.0.0/24, or ff02::/16 and its like."""
    packed = value.address.packed
    if len(packed) == 4:
        return packed[:3] == b"\xe0\x00\x00"
    return packed[0] == 0xFF and packed[1] & 0x0F == 0x02


def global_unicast(value: Ip) -> bool:
    """Neither unspecified, loopback, multicast, link-local nor broadcast."""
    address = value.address
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or address.packed == b"\xff\xff\xff\xff"
    )


class Cidr(Opaque):
    """An address and the length of its network's prefix."""

    __slots__ = ("address", "length")
    kind = "net.CIDR"

    def __init__(self, address: Address, length: int) -> None:
        self.address = address
        self.length = length

    @property
    def size(self) -> int:
        """Bytes of the prefix."""
        return (self.length + 7) // 8

    @property
    def key(self) -> tuple[Address, int]:
        """Equal addresses with equal prefixes are equal."""
        return self.address, self.length

    @property
    def text(self) -> str:
        """As it is written."""
        return f"{self.address}/{self.length}"

    @property
    def network(self) -> Any:
        """The network."""
        return ipaddress.ip_network(self.text, strict=False)


def cidr(text: str) -> Cidr:
    """`cidr(text)`"""
    words = "network address parse error during conversion from string: "
    try:
        return _cidr(text)
    except ValueError as problem:
        raise Failure(f"{words}{problem}") from None


def _cidr(text: str) -> Cidr:
    quoted = json.dumps(text)
    words = f"network address parse error during conversion from string: netip.ParsePrefix({quoted}): "
    head, slash, bits = text.rpartition("/")
    if not slash:
        raise ValueError(words + "no '/'")
    try:
        address = ipaddress.ip_address(head)
    except ValueError:
        raise ValueError(words + _address_problem(head)) from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise ValueError(words + "IPv6 zones cannot be present in a prefix")
    if not bits.isdigit() or (len(bits) > 1 and bits[0] == "0"):
        raise ValueError(f'{words}bad bits after slash: {json.dumps(bits)}')
    if int(bits) > address.max_prefixlen:
        raise ValueError(words + "prefix length out of range")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise ValueError(f"IPv4-mapped IPv6 address {quoted} is not allowed")
    return Cidr(address, int(bits))


def is_cidr(text: str) -> bool:
    """`isCIDR(text)`"""
    try:
        _cidr(text)
    except ValueError:
        return False
    return True


def contains_ip(value: Cidr, other: Any) -> bool:
    """Whether a network has an address."""
    if isinstance(other, Ip):
        return other.address in value.network
    try:
        return _address(other) in value.network
    except Failure:  # upstream takes the failure for a value of another type
        raise Failure("no such overload") from None


def contains_cidr(value: Cidr, other: Any) -> bool:
    """Whether a network has all of another."""
    inner = other if isinstance(other, Cidr) else cidr(other)
    mine, theirs = value.network, inner.network
    return bool(mine.version == theirs.version and theirs.subnet_of(mine))


def masked(value: Cidr) -> Cidr:
    """The network's first address."""
    return Cidr(value.network.network_address, value.length)


# --- semantic versions ------------------------------------------------------------------------

_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
    r"(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?\Z"
)


class Semver(Opaque):
    """A semantic version; what is behind `+` does not count."""

    __slots__ = ("numbers", "text", "words")
    kind = "kubernetes.Semver"

    def __init__(self, text: str) -> None:
        found = _SEMVER.match(text)
        if found is None:
            raise Failure(_semver_problem(text))
        self.text = text
        self.numbers = tuple(int(found[i]) for i in (1, 2, 3))
        parts = (found[4] or "").split(".") if found[4] else []
        self.words = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)

    @property
    def key(self) -> tuple[Any, ...]:
        """What orders versions: a pre-release comes before its release."""
        return (self.numbers, not self.words, self.words)


def _semver_problem(text: str) -> str:
    if not text:
        return "Version string empty"
    parts = text.split(".", 2)
    if len(parts) != 3:
        return "No Major.Minor.Patch elements found"
    for name, part in zip(("major", "minor", "patch"), (*parts[:2], re.split("[-+]", parts[2])[0]), strict=True):
        if not part.isdigit():
            return f'Invalid character(s) found in {name} number {json.dumps(part)}'
        if len(part) > 1 and part[0] == "0":
            word = name.capitalize()
            return f"{word} number must not contain leading zeroes {json.dumps(part)}"
    return f"Invalid character(s) found in prerelease or build metadata {json.dumps(text)}"


def semver(text: str, tolerant: bool = False) -> Semver:
    """`semver(text)`; `tolerant` takes `v1` and leading zeroes."""
    return Semver(_normal(text) if tolerant else text)


def is_semver(text: str, tolerant: bool = False) -> bool:
    """`isSemver(text)`"""
    try:
        semver(text, tolerant)
    except Failure:
        return False
    return True


def _normal(text: str) -> str:
    parts = text.removeprefix("v").split(".", 2)
    for i, part in enumerate(parts):
        if len(part) > 1:
            short = part.lstrip("0")
            parts[i] = short if short[:1].isdigit() else "0" + short
    if len(parts) < 3:
        if re.search("[+-]", parts[-1]):
            raise Failure("Short version cannot contain PreRelease/Build meta data")
        parts += ["0"] * (3 - len(parts))
    return ".".join(parts)


# --- named formats ----------------------------------------------------------------------------


class Format(Opaque):
    """A format of texts. `length` stands for how dear its pattern is."""

    __slots__ = ("check", "length", "name")
    kind = "kubernetes.NamedFormat"

    def __init__(self, name: str, check: Callable[[str], list[str]], length: int) -> None:
        self.name = name
        self.check = check
        self.length = length

    @property
    def key(self) -> str:
        """Its name."""
        return self.name


# --- the authorizer ---------------------------------------------------------------------------


class Decision(Opaque):
    """What the authorizer said."""

    __slots__ = ("allowed", "reason")
    kind = "kubernetes.authorization.Decision"

    def __init__(self, allowed: bool, reason: str = "") -> None:
        self.allowed = allowed
        self.reason = reason


Asked = Callable[..., bool]


class Authorizer(Opaque):
    """Who may do what. `ask` answers questions of verb, path or group, resource, subresource, namespace,
    name, selectors, and the `account` that is asked about if it is another than the requester."""

    __slots__ = ("ask", "question")
    kind = "kubernetes.authorization.Authorizer"

    def __init__(self, ask: Asked, question: dict[str, str] | None = None) -> None:
        self.ask = ask
        self.question = question or {}

    def narrowed(self, to: type[Authorizer], **more: str) -> Authorizer:
        """The question with more said, as another value."""
        return to(self.ask, {**self.question, **more})


class PathCheck(Authorizer):
    """A question about a path."""

    __slots__ = ()
    kind = "kubernetes.authorization.PathCheck"


class GroupCheck(Authorizer):
    """A question about a group."""

    __slots__ = ()
    kind = "kubernetes.authorization.GroupCheck"


class ResourceCheck(Authorizer):
    """A question about a resource."""

    __slots__ = ()
    kind = "kubernetes.authorization.ResourceCheck"


def path_check(value: Authorizer, path: str) -> Authorizer:
    """`authorizer.path(path)`"""
    if not path.strip():
        raise Failure("path must not be empty")
    return value.narrowed(PathCheck, path=path)


def resource_check(value: Authorizer, resource: str) -> Authorizer:
    """`.resource(resource)`"""
    if not resource.strip():
        raise Failure("resource must not be empty")
    return value.narrowed(ResourceCheck, resource=resource)


def narrow(field: str, to: type[Authorizer] = ResourceCheck) -> Callable[[Authorizer, str], Authorizer]:
    """A method that says one more field of the question."""
    return lambda value, text: value.narrowed(to, **{field: text})


def service_account(value: Authorizer, namespace: str, name: str) -> Authorizer:
    """`authorizer.serviceAccount(namespace, name)`"""
    from protocol.names import dns_label_name, dns_subdomain_name

    if dns_subdomain_name(name, False):
        raise Failure("Invalid service account name")
    if dns_label_name(namespace, False):
        raise Failure("Invalid service account namespace")
    return value.narrowed(Authorizer, account=f"system:serviceaccount:{namespace}:{name}")


def ask(value: Authorizer, verb: str) -> Decision:
    """`.check(verb)`"""
    return Decision(bool(value.ask(**value.question, verb=verb)))
