"""The functions that expressions may call: their signatures, and what they do.

Owns the declarations of CEL's standard functions, of cel-go's extensions that Kubernetes enables
(strings 2, sets, lists 3, optionals, two-variable comprehensions) and of Kubernetes' own libraries, with
cel-go's names of overloads, by which costs go.

Source: cel-spec doc/langdef.md; k8s.io/apiserver/pkg/cel/environment/base.go
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from protocol.cel import _lists as lists
from protocol.cel import _opaque as opaque
from protocol.cel import _strings as strings
from protocol.cel._formats import FORMATS, named, of_name, validate
from protocol.cel._operators import OPERATORS, convert, inside, select
from protocol.cel._times import SECOND, moment
from protocol.cel._types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    Type,
    list_of,
    map_of,
    optional_of,
    parameter,
    type_of_type,
)  # fmt: skip
from protocol.cel._types import opaque as opaque_type
from protocol.cel._values import NONE, Failure, Optional

__all__ = ["TYPE_NAMES", "Overload", "functions"]

_SHORT = {
    "Quantity": "kubernetes.Quantity", "URL": "kubernetes.URL", "Semver": "kubernetes.Semver",
    "Format": "kubernetes.NamedFormat", "Authorizer": "kubernetes.authorization.Authorizer",
    "Path": "kubernetes.authorization.PathCheck", "Group": "kubernetes.authorization.GroupCheck",
    "Resource": "kubernetes.authorization.ResourceCheck", "Decision": "kubernetes.authorization.Decision",
}  # fmt: skip
_WORDS: dict[str, Type] = {
    "bool": BOOL, "int": INT, "uint": UINT, "double": DOUBLE, "string": STRING, "bytes": BYTES, "null_type": NULL,
    "timestamp": TIMESTAMP, "duration": DURATION, "dyn": DYN, "type": TYPE,
    **{short: Type("struct", name) for short, name in _SHORT.items()},
    "IP": opaque_type("net.IP"), "CIDR": opaque_type("net.CIDR"),
}  # fmt: skip
TYPE_NAMES: dict[str, Type] = {
    **{word: _WORDS[word] for word in ("bool", "int", "uint", "double", "string", "bytes", "null_type", "type")},
    "list": list_of(DYN),
    "map": map_of(DYN, DYN),
    "google.protobuf.Timestamp": TIMESTAMP,
    "google.protobuf.Duration": DURATION,
    "optional_type": optional_of(DYN),
    **{name: _WORDS[short] for short, name in _SHORT.items()},
    "net.IP": _WORDS["IP"],
    "net.CIDR": _WORDS["CIDR"],
}
"""Types that expressions may name."""


class Overload(NamedTuple):
    """One signature of a function. The target of a method is its first parameter."""

    id: str
    parameters: tuple[Type, ...]
    result: Type
    method: bool
    act: Callable[..., Any]

    @property
    def signature(self) -> tuple[Type, ...]:
        """The result, then the parameters."""
        return (self.result, *self.parameters)


_TOKEN = re.compile(r"\s*([A-Za-z_]\w*|[(),])")


def _type(text: str) -> Type:
    tokens = _TOKEN.findall(text)

    def one(at: int) -> tuple[Type, int]:
        word, at = tokens[at], at + 1
        if at < len(tokens) and tokens[at] == "(":
            parts: list[Type] = []
            while tokens[at] != ")":
                part, at = one(at + 1)
                parts.append(part)
            at += 1
            return _generic(word, parts), at
        return (parameter(word), at) if len(word) == 1 else (_WORDS[word], at)

    return one(0)[0]


def _generic(word: str, parts: list[Type]) -> Type:
    if word == "list":
        return list_of(parts[0])
    if word == "map":
        return map_of(parts[0], parts[1])
    return optional_of(parts[0]) if word == "optional" else type_of_type(parts[0])


def _parts(text: str) -> list[str]:
    """Parameters between commas that are in no brackets."""
    found: list[str] = []
    depth = start = 0
    for i, character in enumerate(text + ","):
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            if text[start:i].strip():
                found.append(text[start:i].strip())
            start = i + 1
    return found


_DECLARATION = re.compile(r"(?:(?P<target>[^\s]+)\s+\.)?(?P<name>[^\s(]+)\((?P<args>.*)\) -> (?P<result>.+)\Z")


@cache
def functions() -> dict[str, tuple[Overload, ...]]:
    """All functions by name."""
    found: dict[str, list[Overload]] = {}
    for declared, identity, act in _declarations():
        match = _DECLARATION.match(declared)
        assert match is not None, declared
        parts = ([match["target"]] if match["target"] else []) + _parts(match["args"])
        overload = Overload(
            identity, tuple(_type(part) for part in parts), _type(match["result"]), bool(match["target"]), act
        )
        found.setdefault(match["name"], []).append(overload)
    return {name: tuple(overloads) for name, overloads in found.items()}


Declared = tuple[str, str, Callable[..., Any]]


def _declarations() -> Iterator[Declared]:
    yield from _operators()
    yield from _conversions()
    yield from _STANDARD
    yield from _time_parts()
    yield from _STRINGS
    yield from _list_functions()
    yield from _OPTIONALS
    yield from _KUBERNETES
    for name in FORMATS:
        yield f"format.{name}() -> Format", f"format.{name}", lambda name=name: of_name(name)


def _operators() -> Iterator[Declared]:
    yield "_?_:_(bool, A, A) -> A", "conditional", _unused
    yield "_&&_(bool, bool) -> bool", "logical_and", _unused
    yield "_||_(bool, bool) -> bool", "logical_or", _unused
    yield "!_(bool) -> bool", "logical_not", OPERATORS["!_"]
    yield "@not_strictly_false(bool) -> bool", "not_strictly_false", _unused
    yield "_==_(A, A) -> bool", "equals", OPERATORS["_==_"]
    yield "_!=_(A, A) -> bool", "not_equals", OPERATORS["_!=_"]
    for signature, identity in (
        ("_+_(bytes, bytes) -> bytes", "add_bytes"), ("_+_(double, double) -> double", "add_double"),
        ("_+_(duration, duration) -> duration", "add_duration_duration"),
        ("_+_(duration, timestamp) -> timestamp", "add_duration_timestamp"),
        ("_+_(timestamp, duration) -> timestamp", "add_timestamp_duration"), ("_+_(int, int) -> int", "add_int64"),
        ("_+_(list(A), list(A)) -> list(A)", "add_list"), ("_+_(string, string) -> string", "add_string"),
        ("_+_(uint, uint) -> uint", "add_uint64"), ("_/_(double, double) -> double", "divide_double"),
        ("_/_(int, int) -> int", "divide_int64"), ("_/_(uint, uint) -> uint", "divide_uint64"),
        ("_%_(int, int) -> int", "modulo_int64"), ("_%_(uint, uint) -> uint", "modulo_uint64"),
        ("_*_(double, double) -> double", "multiply_double"), ("_*_(int, int) -> int", "multiply_int64"),
        ("_*_(uint, uint) -> uint", "multiply_uint64"), ("-_(double) -> double", "negate_double"),
        ("-_(int) -> int", "negate_int64"), ("_-_(double, double) -> double", "subtract_double"),
        ("_-_(duration, duration) -> duration", "subtract_duration_duration"), ("_-_(int, int) -> int", "subtract_int64"),
        ("_-_(timestamp, duration) -> timestamp", "subtract_timestamp_duration"),
        ("_-_(timestamp, timestamp) -> duration", "subtract_timestamp_timestamp"),
        ("_-_(uint, uint) -> uint", "subtract_uint64"),
    ):  # fmt: skip
        yield signature, identity, OPERATORS[signature.partition("(")[0]]
    yield from _orders()
    yield "_[_](list(A), int) -> A", "index_list", select
    yield "_[_](map(A, B), A) -> B", "index_map", select
    yield "_[_](optional(list(A)), int) -> optional(A)", "optional_list_index_int", select
    yield "_[_](optional(map(A, B)), A) -> optional(B)", "optional_map_index_value", select
    yield "@in(A, list(A)) -> bool", "in_list", inside
    yield "@in(A, map(A, B)) -> bool", "in_map", inside


def _orders() -> Iterator[Declared]:
    numbers = (("int", "int64"), ("uint", "uint64"), ("double", "double"))
    for operator, word in (("_<_", "less"), ("_<=_", "less_equals"), ("_>_", "greater"), ("_>=_", "greater_equals")):
        act = OPERATORS[operator]
        yield f"{operator}(bool, bool) -> bool", f"{word}_bool", act
        for kind, name in numbers:
            yield f"{operator}({kind}, {kind}) -> bool", f"{word}_{name}", act
            for other, other_name in numbers:
                if other != kind:
                    yield f"{operator}({kind}, {other}) -> bool", f"{word}_{name}_{other_name}", act
        for kind in ("string", "bytes", "timestamp", "duration"):
            yield f"{operator}({kind}, {kind}) -> bool", f"{word}_{kind}", act


def _unused(*values: Any) -> Any:
    raise Failure("no such overload")


_CASTS = {
    "bool": (("bool", "bool_to_bool"), ("string", "string_to_bool")),
    "bytes": (("bytes", "bytes_to_bytes"), ("string", "string_to_bytes")),
    "double": (
        ("double", "double_to_double"), ("int", "int64_to_double"), ("string", "string_to_double"),
        ("uint", "uint64_to_double"),
    ),
    "duration": (("duration", "duration_to_duration"), ("string", "string_to_duration")),
    "int": (
        ("int", "int64_to_int64"), ("double", "double_to_int64"), ("duration", "duration_to_int64"),
        ("string", "string_to_int64"), ("timestamp", "timestamp_to_int64"), ("uint", "uint64_to_int64"),
    ),
    "string": (
        ("string", "string_to_string"), ("bool", "bool_to_string"), ("bytes", "bytes_to_string"),
        ("double", "double_to_string"), ("duration", "duration_to_string"), ("int", "int64_to_string"),
        ("timestamp", "timestamp_to_string"), ("uint", "uint64_to_string"), ("IP", "ip_to_string"),
        ("CIDR", "cidr_to_string"),
    ),
    "timestamp": (
        ("timestamp", "timestamp_to_timestamp"), ("int", "int64_to_timestamp"), ("string", "string_to_timestamp"),
    ),
    "uint": (
        ("uint", "uint64_to_uint64"), ("double", "double_to_uint64"), ("int", "int64_to_uint64"),
        ("string", "string_to_uint64"),
    ),
}  # fmt: skip


def _conversions() -> Iterator[Declared]:
    for target, sources in _CASTS.items():
        for source, identity in sources:
            yield f"{target}({source}) -> {target}", identity, convert[target]
    yield "dyn(A) -> dyn", "to_dyn", convert["dyn"]
    yield "type(A) -> type(A)", "type", convert["type"]


_STANDARD: tuple[Declared, ...] = (
    ("size(bytes) -> int", "size_bytes", len), ("bytes .size() -> int", "bytes_size", len),
    ("size(list(A)) -> int", "size_list", len), ("list(A) .size() -> int", "list_size", len),
    ("size(map(A,B)) -> int", "size_map", len), ("map(A,B) .size() -> int", "map_size", len),
    ("size(string) -> int", "size_string", len), ("string .size() -> int", "string_size", len),
    ("string .contains(string) -> bool", "contains_string", lambda text, part: part in text),
    ("string .endsWith(string) -> bool", "ends_with_string", str.endswith),
    ("string .startsWith(string) -> bool", "starts_with_string", str.startswith),
    ("matches(string, string) -> bool", "matches", strings.matches),
    ("string .matches(string) -> bool", "matches_string", strings.matches),
)  # fmt: skip
_TIME_PARTS: tuple[tuple[str, str, Callable[[Any, int], int]], ...] = (
    ("getFullYear", "timestamp_to_year", lambda t, ns: t.year),
    ("getMonth", "timestamp_to_month", lambda t, ns: t.month - 1),
    ("getDayOfYear", "timestamp_to_day_of_year", lambda t, ns: t.timetuple().tm_yday - 1),
    ("getDayOfMonth", "timestamp_to_day_of_month", lambda t, ns: t.day - 1),
    ("getDate", "timestamp_to_day_of_month_1_based", lambda t, ns: t.day),
    ("getDayOfWeek", "timestamp_to_day_of_week", lambda t, ns: t.isoweekday() % 7),
    ("getHours", "timestamp_to_hours", lambda t, ns: t.hour),
    ("getMinutes", "timestamp_to_minutes", lambda t, ns: t.minute),
    ("getSeconds", "timestamp_to_seconds", lambda t, ns: t.second),
    ("getMilliseconds", "timestamp_to_milliseconds", lambda t, ns: ns % SECOND // 1_000_000),
)
_SPAN_PARTS = (("getHours", "duration_to_hours", 3600 * SECOND), ("getMinutes", "duration_to_minutes", 60 * SECOND),
               ("getSeconds", "duration_to_seconds", SECOND))  # fmt: skip


def _time_parts() -> Iterator[Declared]:
    for name, identity, part in _TIME_PARTS:
        zoned = f"{identity}_tz" if name == "getSeconds" else f"{identity}_with_tz"
        yield f"timestamp .{name}() -> int", identity, lambda at, part=part: part(moment(at), int(at))
        yield f"timestamp .{name}(string) -> int", zoned, lambda at, zone, part=part: part(moment(at, zone), int(at))
    for name, identity, unit in _SPAN_PARTS:
        yield f"duration .{name}() -> int", identity, lambda span, unit=unit: _towards_zero(int(span), unit)
    yield "duration .getMilliseconds() -> int", "duration_to_milliseconds", lambda span: (
        _towards_zero(int(span), 1_000_000) % 1000 if span >= 0 else -(-_towards_zero(int(span), 1_000_000) % 1000)
    )


def _towards_zero(value: int, unit: int) -> int:
    return value // unit if value >= 0 else -(-value // unit)


_STRINGS: tuple[Declared, ...] = (
    ("string .charAt(int) -> string", "string_char_at_int", strings.char_at),
    ("string .indexOf(string) -> int", "string_index_of_string", strings.index_of),
    ("string .indexOf(string, int) -> int", "string_index_of_string_int", strings.index_of),
    ("string .lastIndexOf(string) -> int", "string_last_index_of_string", strings.last_index_of),
    ("string .lastIndexOf(string, int) -> int", "string_last_index_of_string_int", strings.last_index_of),
    ("string .lowerAscii() -> string", "string_lower_ascii", strings.lower),
    ("string .replace(string, string) -> string", "string_replace_string_string", strings.replace),
    ("string .replace(string, string, int) -> string", "string_replace_string_string_int", strings.replace),
    ("string .split(string) -> list(string)", "string_split_string", strings.split),
    ("string .split(string, int) -> list(string)", "string_split_string_int", strings.split),
    ("string .substring(int) -> string", "string_substring_int", strings.substring),
    ("string .substring(int, int) -> string", "string_substring_int_int", strings.substring),
    ("string .trim() -> string", "string_trim", strings.trim),
    ("string .upperAscii() -> string", "string_upper_ascii", strings.upper),
    ("string .format(list(dyn)) -> string", "string_format", strings.format_text),
    ("strings.quote(string) -> string", "strings_quote", strings.quote),
    ("list(string) .join() -> string", "list_join", strings.join),
    ("list(string) .join(string) -> string", "list_join_string", strings.join),
    ("string .find(string) -> string", "string_find_string", strings.find),
    ("string .findAll(string) -> list(string)", "string_find_all_string", strings.find_all),
    ("string .findAll(string, int) -> list(string)", "string_find_all_string_int", strings.find_all),
    ("jsonpatch.escapeKey(string) -> string", "string_jsonpatch_escapeKey_string",
     lambda text: text.replace("~", "~0").replace("/", "~1")),
)  # fmt: skip
_SUMMABLE = ("int", "uint", "double", "duration")
_COMPARABLE = ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")


def _list_functions() -> Iterator[Declared]:
    for kind in _COMPARABLE:
        yield f"list({kind}) .isSorted() -> bool", f"list_{kind}_is_sorted_bool", lists.is_sorted
    for kind in _SUMMABLE:
        yield f"list({kind}) .sum() -> {kind}", f"list_{kind}_sum_{kind}", lists.total(kind)
    for kind in _COMPARABLE:
        yield f"list({kind}) .max() -> {kind}", f"list_{kind}_max_{kind}", lists.extreme(1, "max")
        yield f"list({kind}) .min() -> {kind}", f"list_{kind}_min_{kind}", lists.extreme(-1, "min")
    yield "list(A) .indexOf(A) -> int", "list_a_index_of_int", lists.index_of
    yield "list(A) .lastIndexOf(A) -> int", "list_a_last_index_of_int", lists.last_index_of
    yield "list(A) .slice(int, int) -> list(A)", "list_slice", lists.slice_of
    yield "list(list(A)) .flatten() -> list(A)", "list_flatten", lists.flat
    yield "list(dyn) .flatten(int) -> list(dyn)", "list_flatten_int", lists.flat
    for kind in _COMPARABLE:
        name = _WORDS[kind].name
        yield f"list({kind}) .sort() -> list({kind})", f"list_{name}_sort", lists.sort
        signature = f"list(A) .@sortByAssociatedKeys(list({kind})) -> list(A)"
        yield signature, f"list_{name}_sortByAssociatedKeys", lists.sort_by_keys
    yield "lists.range(int) -> list(int)", "lists_range", lists.numbers
    yield "list(A) .reverse() -> list(A)", "list_reverse", lambda items: items[::-1]
    yield "list(A) .distinct() -> list(A)", "list_distinct", lists.distinct
    yield "sets.contains(list(A), list(A)) -> bool", "list_sets_contains_list", lists.set_contains
    yield "sets.intersects(list(A), list(A)) -> bool", "list_sets_intersects_list", lists.set_intersects
    yield "sets.equivalent(list(A), list(A)) -> bool", "list_sets_equivalent_list", lambda a, b: (
        lists.set_contains(a, b) and lists.set_contains(b, a)
    )
    yield "cel.@mapInsert(map(A,B), A, B) -> map(A,B)", "@mapInsert_map_key_value", lists.insert
    yield "cel.@mapInsert(map(A,B), map(A,B)) -> map(A,B)", "@mapInsert_map_map", lists.insert


def _value(found: Optional) -> Any:
    if not found.held:
        raise Failure("optional.none() dereference")
    return found.value


def _non_zero(value: Any) -> Optional:
    from protocol.cel._values import Opaque, Timestamp

    empty = not isinstance(value, (Opaque, Timestamp)) and not value
    return NONE if empty else Optional(True, value)


_OPTIONALS: tuple[Declared, ...] = (
    ("optional.of(A) -> optional(A)", "optional_of", lambda value: Optional(True, value)),
    ("optional.ofNonZeroValue(A) -> optional(A)", "optional_ofNonZeroValue", _non_zero),
    ("optional.none() -> optional(A)", "optional_none", lambda: NONE),
    ("optional(A) .value() -> A", "optional_value", _value),
    ("optional(A) .hasValue() -> bool", "optional_hasValue", lambda found: found.held),
    ("optional(A) .or(optional(A)) -> optional(A)", "optional_or_optional", _unused),
    ("optional(A) .orValue(A) -> A", "optional_orValue_value", _unused),
    ("_?._(dyn, string) -> optional(A)", "select_optional_field", _unused),
    ("_[?_](list(A), int) -> optional(A)", "list_optindex_optional_int", _unused),
    ("_[?_](optional(list(A)), int) -> optional(A)", "optional_list_optindex_optional_int", _unused),
    ("_[?_](map(A,B), A) -> optional(B)", "map_optindex_optional_value", _unused),
    ("_[?_](optional(map(A,B)), A) -> optional(B)", "optional_map_optindex_optional_value", _unused),
    ("list(A) .last() -> optional(A)", "list_last", lambda items: Optional(True, items[-1]) if items else NONE),
    ("list(A) .first() -> optional(A)", "list_first", lambda items: Optional(True, items[0]) if items else NONE),
    ("optional.unwrap(list(optional(A))) -> list(A)", "optional_unwrap",
     lambda found: [one.value for one in found if one.held]),
    ("list(optional(A)) .unwrapOpt() -> list(A)", "optional_unwrapOpt",
     lambda found: [one.value for one in found if one.held]),
)  # fmt: skip


def _order(a: Any, b: Any) -> int:
    return int(a.key > b.key) - int(a.key < b.key)


_KUBERNETES: tuple[Declared, ...] = (
    ("url(string) -> URL", "string_to_url", opaque.url),
    ("URL .getScheme() -> string", "url_get_scheme", lambda u: u.parts.scheme),
    ("URL .getHost() -> string", "url_get_host", opaque.url_host),
    ("URL .getHostname() -> string", "url_get_hostname", opaque.url_hostname),
    ("URL .getPort() -> string", "url_get_port", opaque.url_port),
    ("URL .getEscapedPath() -> string", "url_get_escaped_path", lambda u: u.parts.path),
    ("URL .getQuery() -> map(string, list(string))", "url_get_query", opaque.url_query),
    ("isURL(string) -> bool", "is_url_string", lambda text: not opaque.url_problem(text)),
    ("quantity(string) -> Quantity", "string_to_quantity", opaque.quantity),
    ("isQuantity(string) -> bool", "is_quantity_string", opaque.is_quantity),
    ("sign(Quantity) -> int", "quantity_sign", lambda q: int(q.number > 0) - int(q.number < 0)),
    ("Quantity .isGreaterThan(Quantity) -> bool", "quantity_is_greater_than", lambda a, b: _order(a, b) > 0),
    ("Quantity .isLessThan(Quantity) -> bool", "quantity_is_less_than", lambda a, b: _order(a, b) < 0),
    ("Quantity .compareTo(Quantity) -> int", "quantity_compare_to", _order),
    ("Quantity .asApproximateFloat() -> double", "quantity_get_float", lambda q: float(q.number)),
    ("Quantity .asInteger() -> int", "quantity_get_int", opaque.as_integer),
    ("Quantity .isInteger() -> bool", "quantity_is_integer", opaque.is_integer),
    ("Quantity .add(Quantity) -> Quantity", "quantity_add", opaque.quantity_sum(1)),
    ("Quantity .add(int) -> Quantity", "quantity_add_int", opaque.quantity_sum(1)),
    ("Quantity .sub(Quantity) -> Quantity", "quantity_sub", opaque.quantity_sum(-1)),
    ("Quantity .sub(int) -> Quantity", "quantity_sub_int", opaque.quantity_sum(-1)),
    ("ip(string) -> IP", "string_to_ip", opaque.ip),
    ("IP .family() -> int", "ip_family", lambda value: value.address.version),
    ("ip.isCanonical(string) -> bool", "ip_is_canonical", opaque.is_canonical),
    ("IP .isUnspecified() -> bool", "ip_is_unspecified", lambda value: value.address.is_unspecified),
    ("IP .isLoopback() -> bool", "ip_is_loopback", lambda value: value.address.is_loopback),
    ("IP .isLinkLocalMulticast() -> bool", "ip_is_link_local_multicast", opaque.link_local_multicast),
    ("IP .isLinkLocalUnicast() -> bool", "ip_is_link_local_unicast", lambda value: value.address.is_link_local),
    ("IP .isGlobalUnicast() -> bool", "ip_is_global_unicast", opaque.global_unicast),
    ("isIP(string) -> bool", "is_ip", opaque.is_ip),
    ("cidr(string) -> CIDR", "string_to_cidr", opaque.cidr),
    ("CIDR .containsIP(string) -> bool", "cidr_contains_ip_string", opaque.contains_ip),
    ("CIDR .containsIP(IP) -> bool", "cidr_contains_ip_ip", opaque.contains_ip),
    ("CIDR .containsCIDR(string) -> bool", "cidr_contains_cidr_string", opaque.contains_cidr),
    ("CIDR .containsCIDR(CIDR) -> bool", "cidr_contains_cidr", opaque.contains_cidr),
    ("CIDR .ip() -> IP", "cidr_ip", lambda value: opaque.Ip(value.address)),
    ("CIDR .prefixLength() -> int", "cidr_prefix_length", lambda value: value.length),
    ("CIDR .masked() -> CIDR", "cidr_masked", opaque.masked),
    ("isCIDR(string) -> bool", "is_cidr", opaque.is_cidr),
    ("semver(string) -> Semver", "string_to_semver", opaque.semver),
    ("semver(string, bool) -> Semver", "string_bool_to_semver", opaque.semver),
    ("isSemver(string) -> bool", "is_semver_string", opaque.is_semver),
    ("isSemver(string, bool) -> bool", "is_semver_string_bool", opaque.is_semver),
    ("Semver .isGreaterThan(Semver) -> bool", "semver_is_greater_than", lambda a, b: _order(a, b) > 0),
    ("Semver .isLessThan(Semver) -> bool", "semver_is_less_than", lambda a, b: _order(a, b) < 0),
    ("Semver .compareTo(Semver) -> int", "semver_compare_to", _order),
    ("Semver .major() -> int", "semver_major", lambda value: value.numbers[0]),
    ("Semver .minor() -> int", "semver_minor", lambda value: value.numbers[1]),
    ("Semver .patch() -> int", "semver_patch", lambda value: value.numbers[2]),
    ("Format .validate(string) -> optional(list(string))", "format-validate", validate),
    ("format.named(string) -> optional(Format)", "format-named", named),
    ("Authorizer .path(string) -> Path", "authorizer_path", opaque.path_check),
    ("Authorizer .group(string) -> Group", "authorizer_group", opaque.narrow("group", opaque.GroupCheck)),
    ("Authorizer .serviceAccount(string, string) -> Authorizer", "authorizer_serviceaccount", opaque.service_account),
    ("Group .resource(string) -> Resource", "groupcheck_resource", opaque.resource_check),
    ("Resource .subresource(string) -> Resource", "resourcecheck_subresource", opaque.narrow("subresource")),
    ("Resource .namespace(string) -> Resource", "resourcecheck_namespace", opaque.narrow("namespace")),
    ("Resource .name(string) -> Resource", "resourcecheck_name", opaque.narrow("name")),
    ("Resource .fieldSelector(string) -> Resource", "authorizer_fieldselector", opaque.narrow("field_selector")),
    ("Resource .labelSelector(string) -> Resource", "authorizer_labelselector", opaque.narrow("label_selector")),
    ("Path .check(string) -> Decision", "pathcheck_check", opaque.ask),
    ("Resource .check(string) -> Decision", "resourcecheck_check", opaque.ask),
    ("Decision .errored() -> bool", "decision_errored", lambda found: False),
    ("Decision .error() -> string", "decision_error", lambda found: ""),
    ("Decision .allowed() -> bool", "decision_allowed", lambda found: found.allowed),
    ("Decision .reason() -> string", "decision_reason", lambda found: found.reason),
)  # fmt: skip
