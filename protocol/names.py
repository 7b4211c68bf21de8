"""Rules for names, label keys and values, ports and addresses.

Owns the text rules of `k8s.io/apimachinery/pkg/util/validation`: each function returns the messages
of what is wrong, an empty tuple when nothing is. Nothing here knows a kind or a field path.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

__all__ = ["Messages", "config_map_key", "dns1035_label", "dns1035_name", "dns1123_label", "dns1123_subdomain", "dns1123_subdomain_underscore", "dns_label_name", "dns_subdomain_name", "env_var_name", "http_header_name", "label_value", "max_length", "path_segment_name", "percent", "port_name", "port_number", "qualified_name", "regex_error", "relaxed_env_var_name", "wildcard_dns1123_subdomain"]

Messages = tuple[str, ...]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + "(\\." + _LABEL + ")*"
_LABEL_UNDERSCORE = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_UNDERSCORE = _LABEL_UNDERSCORE + "(\\." + _LABEL_UNDERSCORE + ")*"
_DNS1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = "(" + _QUALIFIED + ")?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_ENV_NAME = "[-._a-zA-Z][-._a-zA-Z0-9]*"
_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"
_WILDCARD = "\\*\\." + _SUBDOMAIN


def _full(pattern: str) -> Callable[[str], object]:
    """A matcher of the whole text. Atomic by construction: `\\Z`, because `$` allows a newline."""
    return re.compile(f"(?:{pattern})\\Z").match


_is_label = _full(_LABEL)
_is_subdomain = _full(_SUBDOMAIN)
_is_subdomain_underscore = _full(_SUBDOMAIN_UNDERSCORE)
_is_dns1035 = _full(_DNS1035)
_is_qualified = _full(_QUALIFIED)
_is_label_value = _full(_LABEL_VALUE)
_is_config_key = _full(_CONFIG_KEY)
_is_env_name = _full(_ENV_NAME)
_is_header = _full(_HEADER)
_is_percent = _full(_PERCENT)
_is_wildcard = _full(_WILDCARD)
_is_port_charset = _full("[-a-z0-9]+")
_has_letter = re.compile("[a-z]").search

OK: Messages = ()


def max_length(limit: int) -> str:
    """The text for something too long."""
    return f"must be no more than {limit} characters"


def max_bytes(limit: int) -> str:
    """The same where upstream counts bytes, in label keys and values."""
    return f"must be no more than {limit} bytes"


def regex_error(text: str, pattern: str, *examples: str) -> str:
    """The text for something that misses a pattern."""
    if not examples:
        return f"{text} (regex used for validation is '{pattern}')"
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {listed}regex used for validation is '{pattern}')"


_LABEL_ERROR = regex_error(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
_SUBDOMAIN_ERROR = regex_error(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_SUBDOMAIN_UNDERSCORE_ERROR = regex_error(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' "
    "or '.', and must start and end with an alphanumeric character",
    _SUBDOMAIN_UNDERSCORE,
    "example.com",
)
_DNS1035_ERROR = regex_error(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character",
    _DNS1035,
    "my-name",
    "abc-123",
)
_QUALIFIED_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character"
)
_QUALIFIED_ERROR = regex_error(_QUALIFIED_TEXT, _QUALIFIED, "MyName", "my.name", "123-abc")
_QUALIFIED_FORM = regex_error(
    "a valid label key " + _QUALIFIED_TEXT, _QUALIFIED, "MyName", "my.name", "123-abc"
) + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
_LABEL_VALUE_ERROR = regex_error(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character",
    _LABEL_VALUE,
    "MyValue",
    "my_value",
    "12345",
)
_CONFIG_KEY_ERROR = regex_error(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)
_ENV_NAME_ERROR = regex_error(
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', "
    "or '.', and must not start with a digit",
    _ENV_NAME,
    "my.env-name",
    "MY_ENV.NAME",
    "MyEnvName1",
)
_RELAXED_ENV_ERROR = (
    "a valid environment variable name must consist only of printable ASCII characters other "
    "than '='"
)
_HEADER_ERROR = regex_error(
    "a valid HTTP header must consist of alphanumeric characters or '-'", _HEADER, "X-Header-Name"
)
_PERCENT_ERROR = regex_error(
    "a valid percent string must be a numeric string followed by an ending '%'",
    _PERCENT,
    "1%",
    "93%",
)
_WILDCARD_ERROR = regex_error(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which "
    "must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric "
    "character",
    _WILDCARD,
    "*.example.com",
)


def _length(value: str) -> int:
    """Bytes, as Go counts."""
    return len(value) if value.isascii() else len(value.encode())


@lru_cache(maxsize=8192)
def dns1123_label(value: str) -> Messages:
    """A DNS label: `my-name`, at most 63 characters."""
    out = [max_length(63)] if _length(value) > 63 else []
    if not _is_label(value):
        out.append("must not contain dots" if _is_subdomain(value) else _LABEL_ERROR)
    return tuple(out)


@lru_cache(maxsize=8192)
def dns1123_subdomain(value: str) -> Messages:
    """A DNS subdomain: `example.com`, at most 253 characters."""
    out = [max_length(253)] if _length(value) > 253 else []
    if not _is_subdomain(value):
        out.append(_SUBDOMAIN_ERROR)
    return tuple(out)


def dns1123_subdomain_underscore(value: str) -> Messages:
    """A DNS subdomain whose labels may have underscores."""
    out = [max_length(253)] if _length(value) > 253 else []
    if not _is_subdomain_underscore(value):
        out.append(_SUBDOMAIN_UNDERSCORE_ERROR)
    return tuple(out)


def wildcard_dns1123_subdomain(value: str) -> Messages:
    """`*.example.com`."""
    out = [max_length(253)] if _length(value) > 253 else []
    if not _is_wildcard(value):
        out.append(_WILDCARD_ERROR)
    return tuple(out)


def dns1035_label(value: str) -> Messages:
    """A DNS label that starts with a letter."""
    out = [max_length(63)] if _length(value) > 63 else []
    if not _is_dns1035(value):
        out.append(_DNS1035_ERROR)
    return tuple(out)


@lru_cache(maxsize=8192)
def qualified_name(value: str) -> Messages:
    """A label key: a name with an optional DNS subdomain and `/` before it."""
    parts = value.split("/")
    out: list[str] = []
    if len(parts) == 1:
        name = parts[0]
    elif len(parts) == 2:
        prefix, name = parts
        if not prefix:
            out.append("prefix part must be non-empty")
        else:
            limit = max_length(253)
            problems = dns1123_subdomain(prefix)
            out += ["prefix part " + (max_bytes(253) if message == limit else message) for message in problems]
    else:
        return (_QUALIFIED_FORM,)
    if not name:
        out.append("name part must be non-empty")
    elif _length(name) > 63:
        out.append("name part " + max_bytes(63))
    if not _is_qualified(name):
        out.append("name part " + _QUALIFIED_ERROR)
    return tuple(out)


@lru_cache(maxsize=8192)
def label_value(value: str) -> Messages:
    """A label's value: at most 63 bytes, may be empty."""
    out = [max_bytes(63)] if _length(value) > 63 else []
    if not _is_label_value(value):
        out.append(_LABEL_VALUE_ERROR)
    return tuple(out)


def _dot_dot(value: str) -> list[str]:
    if value == ".":
        return ["must not be '.'"]
    if value == "..":
        return ["must not be '..'"]
    return ["must not start with '..'"] if value.startswith("..") else []


def config_map_key(value: str) -> Messages:
    """A key of a ConfigMap or Secret, a file name in a volume."""
    out = [max_length(253)] if _length(value) > 253 else []
    if not _is_config_key(value):
        out.append(_CONFIG_KEY_ERROR)
    return tuple(out + _dot_dot(value))


def env_var_name(value: str) -> Messages:
    """A strict name of an environment variable."""
    out = [] if _is_env_name(value) else [_ENV_NAME_ERROR]
    return tuple(out + _dot_dot(value))


def relaxed_env_var_name(value: str) -> Messages:
    """A name of an environment variable: printable ASCII without `=` (KEP-4369)."""
    if not value:
        return ("environment variable name must be non-empty",)
    if not value.isascii() or not value.isprintable() or "=" in value:
        return (_RELAXED_ENV_ERROR,)
    return OK


def http_header_name(value: str) -> Messages:
    """A header's name in a probe."""
    return OK if _is_header(value) else (_HEADER_ERROR,)


def percent(value: str) -> Messages:
    """`25%`."""
    return OK if _is_percent(value) else (_PERCENT_ERROR,)


def port_number(value: int) -> Messages:
    """1 to 65535."""
    return OK if 1 <= value <= 65535 else ("must be between 1 and 65535, inclusive",)


@lru_cache(maxsize=1024)
def port_name(value: str) -> Messages:
    """An IANA service name: at most 15 characters with a letter among them."""
    out = [max_length(15)] if _length(value) > 15 else []
    if not _is_port_charset(value):
        out.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _has_letter(value):
        out.append("must contain at least one letter (a-z)")
    if "--" in value:
        out.append("must not contain consecutive hyphens")
    if value and (value[0] == "-" or value[-1] == "-"):
        out.append("must not begin or end with a hyphen")
    return tuple(out)


def _masked(name: str) -> str:
    """A generateName ends in a dash that a suffix will follow."""
    return name[:-2] + "a" if len(name) > 1 and name.endswith("-") else name


def dns_subdomain_name(name: str, prefix: bool) -> Messages:
    """Rule of most object names."""
    return dns1123_subdomain(_masked(name) if prefix else name)


def dns_label_name(name: str, prefix: bool) -> Messages:
    """Rule of names that become a DNS label, e.g. namespaces."""
    return dns1123_label(_masked(name) if prefix else name)


def dns1035_name(name: str, prefix: bool) -> Messages:
    """Rule of Service names before 1.34's relaxed one."""
    return dns1035_label(_masked(name) if prefix else name)


@lru_cache(maxsize=8192)
def path_segment_name(name: str, prefix: bool) -> Messages:
    """What every name must satisfy, because URLs carry it."""
    if not prefix and name in (".", ".."):
        return (f"may not be '{name}'",)
    return tuple(f"may not contain '{char}'" for char in "/%" if char in name)


