"""The string formats that custom resource schemas may name (others are not checked).

Source: the formats of k8s.io/apiextensions-apiserver/pkg/apiserver/validation/formats.go.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import unicodedata
import uuid
from collections.abc import Callable
from datetime import date, datetime
from urllib.parse import urlsplit

__all__ = ["FORMATS", "check_format"]

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\Z")
_HOSTNAME = re.compile(r"[ads]((-?[ads]{0,62})?)\Z|([ads]([ads-]{0,61}[ads])?\.)+a{2,63}\Z")
"""By kinds of characters (letters, digits, symbols): one label, or several with a last one of letters."""
_MAC = re.compile(r"([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\Z|([0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}\Z")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:?\d\d)\Z")
_DURATION = re.compile(r"[-+]?((\d+(\.\d*)?|\.\d+)\s*(ns|us|µs|ms|s|m|h|d|w|[a-z]+)\s*)+\Z")
_BSON = re.compile(r"[0-9a-fA-F]{24}\Z")
_SSN = re.compile(r"\d{3}[- ]?\d{2}[- ]?\d{4}\Z")
_HEX_COLOR = re.compile(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})\Z")
_RGB_COLOR = re.compile(r"rgb\(\s*\d{1,3}\s*,\s*\d{1,3}\s*,\s*\d{1,3}\s*\)\Z")
_CREDIT_CARD = re.compile(r"[\d -]{13,23}\Z")


def _address(version: int) -> Callable[[str], bool]:
    def test(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version
        except ValueError:
            return False

    return test


def _cidr(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return "/" in text


def _uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme) or text.startswith("/")


def _uuid(version: int = 0) -> Callable[[str], bool]:
    def test(text: str) -> bool:
        try:
            found = uuid.UUID(text)
        except ValueError:
            return False
        return not version or found.version == version

    return test


def _byte(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10


def _date_time(text: str) -> bool:
    if _DATE_TIME.match(text) is None:
        return False
    try:
        datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
    except ValueError:
        return False
    return True


def _kind(char: str) -> str:
    if char in "-.":
        return char
    if char.isascii():
        return "a" if char.isalpha() else "d" if char.isdigit() else "s" if char in "$+<=>^`|~" else " "
    return {"L": "a", "S": "s"}.get(unicodedata.category(char)[0], " ")


def _hostname(text: str) -> bool:
    """As kube-openapi judges it: stricter than DNS in the last label, laxer about letters."""
    if len(text.encode()) > 255 or any(len(label.encode()) > 63 for label in text.split(".")):
        return False
    return _HOSTNAME.match("".join(map(_kind, text))) is not None


def _isbn10(text: str) -> bool:
    digits = re.sub(r"[\s-]+", "", text)
    if re.fullmatch(r"[0-9]{9}[0-9X]", digits) is None:
        return False
    values = [10 if digit == "X" else int(digit) for digit in digits]
    return sum((i + 1) * value for i, value in enumerate(values)) % 11 == 0


def _isbn13(text: str) -> bool:
    digits = re.sub(r"[\s-]+", "", text)
    if re.fullmatch(r"[0-9]{13}", digits) is None:
        return False
    return sum((3 if i % 2 else 1) * int(digit) for i, digit in enumerate(digits)) % 10 == 0


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.match(text) is not None


FORMATS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _matches(_BSON),
    "uri": _uri,
    "email": _matches(_EMAIL),
    "hostname": _hostname,
    "ipv4": _address(4),
    "ipv6": _address(6),
    "cidr": _cidr,
    "mac": _matches(_MAC),
    "uuid": _uuid(),
    "uuid3": _uuid(3),
    "uuid4": _uuid(4),
    "uuid5": _uuid(5),
    "isbn": lambda text: _isbn10(text) or _isbn13(text),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "creditcard": _matches(_CREDIT_CARD),
    "ssn": _matches(_SSN),
    "hexcolor": _matches(_HEX_COLOR),
    "rgbcolor": _matches(_RGB_COLOR),
    "byte": _byte,
    "password": lambda text: True,
    "date": _date,
    "duration": _matches(_DURATION),
    "datetime": _date_time,
    "date-time": _date_time,
}


def check_format(name: str, text: str) -> bool:
    """Whether a text has a format; unknown formats hold always."""
    test = FORMATS.get(name)
    return test is None or test(text)
