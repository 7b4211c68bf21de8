"""What calls of functions cost, and how large their results are.

Owns the rules for CEL's own functions (github.com/google/cel-go/checker/cost.go) and for Kubernetes'
(k8s.io/apiserver/pkg/cel/library/cost.go), by overload and by name. It must never walk expressions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from protocol.cel._cost import MAX, ONE, UNKNOWN, Coster, Entries, Node, Range
from protocol.cel._library import TYPE_NAMES

__all__ = ["call_cost"]

_TRAVERSAL, _REGEX = 0.1, 0.25
_NAME_FORMAT_REGEX_LENGTH = 128
_FORMAT_NAME_LENGTH = 64
_AUTHORIZER_CHECK = 350_000
_FREE = frozenset(
    ["serviceAccount", "path", "group", "resource", "subresource", "namespace", "name", "allowed", "reason", "error", "errored", "masked", "prefixLength", "family", "isUnspecified", "isLoopback", "isLinkLocalMulticast", "isLinkLocalUnicast", "isGlobalUnicast", "format.named", "sign", "asInteger", "isInteger", "asApproximateFloat", "isGreaterThan", "isLessThan", "compareTo", "add", "sub", "major", "minor", "patch", "getScheme", "getHostname", "getHost", "getPort", "getEscapedPath", "getQuery", "format.isNamed"]
)  # fmt: skip
_COMPARISONS = frozenset(
    ["less_string", "greater_string", "less_equals_string", "greater_equals_string", "less_bytes", "greater_bytes", "less_equals_bytes", "greater_equals_bytes", "equals", "not_equals"]
)  # fmt: skip
Answer = tuple[Range, "Range | None"]


def call_cost(
    coster: Coster, expr: Any, function: str, overload: str, target: Node | None, args: list[Node], costs: list[Range]
) -> Answer:
    """The cost of a call with its arguments, and the size of what it returns."""
    total = Range(0, 0)
    for one in costs:
        total = total.plus(one)
    rule = _OVERLOADS.get(overload) or _FUNCTIONS.get(function)
    found = rule(coster, overload, target, args) if rule is not None else (ONE, None) if function in _FREE else None
    if found is not None:
        return found[0].plus(total), found[1]
    logical = _logic(coster, expr, overload, args, costs)
    if logical is not None:
        return logical
    asked, made = _standard(coster, expr, overload, target, args)
    return asked.plus(total), made


def _logic(coster: Coster, expr: Any, overload: str, args: list[Node], costs: list[Range]) -> Answer | None:
    """Operators that may leave an operand out."""
    if overload in ("logical_or", "logical_and") and len(costs) == 2:
        return Range(costs[0].low, costs[0].plus(costs[1]).high), None
    if overload == "conditional" and len(costs) == 3:
        size = coster.size_or_unknown(args[1].expr).union(coster.size_or_unknown(args[2].expr))
        _unite(coster, expr, args[1], args[2])
        return costs[0].plus(costs[1].union(costs[2])), size
    return None


def _unite(coster: Coster, expr: Any, left: Node, right: Node) -> None:
    a, b = coster.entries(left.expr), coster.entries(right.expr)
    if a is not None and b is not None:
        coster.set_entries(expr, Entries(a.kind, a.key.union(b.key), a.value.union(b.value)))


def _known(node: Node) -> Range:
    return UNKNOWN if node.size is None else node.size


def _standard(coster: Coster, expr: Any, overload: str, target: Node | None, args: list[Node]) -> Answer:
    if overload in ("starts_with_string", "ends_with_string") and args:
        return _known(args[0]).scaled(_TRAVERSAL), None
    if overload == "in_list" and len(args) == 2:
        return _known(args[1]), None
    if overload == "matches_string" and target is not None and args:
        return _pattern(_known(target), _known(args[0])), None
    if overload == "contains_string" and target is not None and args:
        return _known(target).scaled(_TRAVERSAL).times(_known(args[0]).scaled(_TRAVERSAL)), None
    if overload in ("add_string", "add_bytes", "add_list") and len(args) == 2:
        size = _known(args[0]).plus(_known(args[1]))
        _unite(coster, expr, args[0], args[1])
        return (ONE if overload == "add_list" else size.scaled(_TRAVERSAL)), size
    if overload in _COMPARISONS and len(args) == 2:
        most = min(_known(args[0]).high, _known(args[1]).high)
        return Range(1 if most else 0, most).scaled(_TRAVERSAL), None
    if overload == "string_to_bytes" and args:
        size = _known(args[0])
        return size.scaled(_TRAVERSAL), Range(size.low, min(size.high * 4, MAX))
    if overload == "bytes_to_string" and args:
        size = _known(args[0])
        return size.scaled(_TRAVERSAL), Range(size.low // 4, size.high)
    if overload == "string_format" and target is not None:
        return _known(target).scaled(_TRAVERSAL), None
    return ONE, None


def _pattern(text: Range, pattern: Range) -> Range:
    """A regular expression's cost: both lengths count."""
    return text.plus(ONE).scaled(_TRAVERSAL).times(pattern.scaled(_REGEX))


# --- Kubernetes' functions --------------------------------------------------------------------


def _item(coster: Coster, holder: Node) -> tuple[str, Range] | None:
    """The type and size of a list's items; None when the type has no items."""
    if not holder.type.parameters:
        return None
    kind = holder.type.parameters[0].kind
    place = coster.places([*holder.path, "@items"]) if holder.path else None
    return kind, UNKNOWN if place is None else Range(0, place.most)


def _check(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    return Range(_AUTHORIZER_CHECK, _AUTHORIZER_CHECK), None


def _selector(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    if len(args) != 1:
        return None
    size = _known(args[0])
    return Range(10, 10).plus(size.scaled(_TRAVERSAL)).plus(size.scaled(0.5).scaled(50)), None


def _over_list(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    if target is None:
        return None
    size = _known(target)
    item = _item(coster, target)
    if item is None:
        return size.scaled(_TRAVERSAL), None
    each = ONE
    if item[0] in ("string", "bytes"):
        each = each.plus(item[1].scaled(_TRAVERSAL))
    return size.times(each), None


def _includes(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    if target is not None and not target.type.parameters:
        return _known(target).times(ONE), None
    return _over_list(coster, overload, target, args)


def _first_argument(keep: bool, factor: float = _TRAVERSAL) -> Callable[..., Answer | None]:
    def rule(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
        if not args:
            return None
        size = _known(args[0])
        return size.scaled(factor), size if keep else None

    return rule


def _target(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    if target is None:
        return None
    size = _known(target)
    return size.scaled(_TRAVERSAL), size


def _replace(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    if target is None or len(args) < 2:
        return None
    size, old, new = _known(target), _known(args[0]), _known(args[1])
    most_kept = most = least_kept = least = 0
    if old.low == 0:
        most, most_kept = min(size.high + 1, MAX), size.high
    elif new.high <= old.low:
        most_kept = size.high
    else:
        most = math.ceil(size.high / old.low)
    if old.high == 0:
        least, least_kept = min(size.low + 1, MAX), size.low
    elif old.high <= new.low:
        least_kept = size.low
    else:
        least = math.ceil(size.low / old.high)
    return size.scaled(2 * _TRAVERSAL), Range(least, min(most, MAX)).times(new).plus(Range(least_kept, most_kept))


def _split(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    if target is None:
        return None
    size = _known(target)
    most = size.high
    if len(args) > 1 and args[1].expr.kind == "const":
        most = int(args[1].expr.value or 0) & MAX
    return size.scaled(2 * _TRAVERSAL), Range(0, most)


def _join(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    if target is None:
        return None
    count = _known(target)
    item = _item(coster, target)
    size = count.times(item[1]) if item is not None else Range(0, 0)
    if args:
        size = size.plus(_known(args[0]).times(Range(max(count.low - 1, 0), max(count.high - 1, 0))))
    return size.scaled(_TRAVERSAL), size


def _find(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    if target is None or not args:
        return None
    size = _known(target)
    return _pattern(size, _known(args[0])), Range(0, size.high)


def _ip(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    if overload == "cidr_ip" or not args:
        return ONE, None
    return _known(args[0]).scaled(_TRAVERSAL), None


def _contains(cidr: bool) -> Callable[..., Answer | None]:
    def rule(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
        if not args:
            return None
        address = Range(4, 16)
        total = address.plus(address).scaled(_TRAVERSAL)
        if cidr:
            total = total.plus(address.scaled(_TRAVERSAL)).plus(ONE)
        if args[0].type.kind == "string":
            total = total.plus(_known(args[0]).scaled(_TRAVERSAL))
        return total, None

    return rule


def _same_type(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    """Comparing two of Kubernetes' own values is one step, whatever they hold."""
    if len(args) != 2 or not args[0].type.same(args[1].type):
        return None
    name = args[0].type.name
    if name in ("net.IP", "net.CIDR") or (name in TYPE_NAMES and name.startswith("kubernetes.")):
        if name == "kubernetes.NamedFormat":
            return Range(1, _FORMAT_NAME_LENGTH).scaled(_TRAVERSAL), None
        return ONE, None
    return None


def _validate(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    if not args:
        return None
    return _known(args[-1]).scaled(_TRAVERSAL).scaled(_NAME_FORMAT_REGEX_LENGTH * _REGEX), None


_FUNCTIONS: dict[str, Callable[..., Answer | None]] = {
    "check": _check,
    **dict.fromkeys(("fieldSelector", "labelSelector"), _selector),
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _over_list),
    "includes": _includes,
    **dict.fromkeys(("url", "jsonpatch.escapeKey"), _first_argument(True)),
    **dict.fromkeys(("lowerAscii", "upperAscii", "substring", "trim"), _target),
    "replace": _replace,
    "split": _split,
    "join": _join,
    **dict.fromkeys(("find", "findAll"), _find),
    **dict.fromkeys(("cidr", "isIP", "isCIDR", "quantity", "isQuantity", "semver", "isSemver"), _first_argument(False)),
    "ip": _ip,
    "ip.isCanonical": _first_argument(False, 2 * _TRAVERSAL),
    "containsIP": _contains(False),
    "containsCIDR": _contains(True),
    "validate": _validate,
    "_==_": _same_type,
}


# --- cel-go's lists and sets ------------------------------------------------------------------

_CALL, _ALLOCATION = Range(1, 1), Range(10, 10)


def _allocating(size: Range, factor: float = 1) -> Answer:
    return size.scaled(factor).plus(_CALL).plus(_ALLOCATION), size


def _literal(node: Node, default: int) -> int:
    """An integer literal; another value for all else."""
    value = node.expr.value if node.expr.kind == "const" else None
    return max(value, 0) if isinstance(value, int) and not isinstance(value, bool) else default


def _slice(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    if target is None or len(args) != 2:
        return None
    size = _known(target)
    length = max(_literal(args[1], size.high) - _literal(args[0], 0), 0)
    return _allocating(Range(length, length))


def _range(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    length = _literal(args[0], MAX)
    return _allocating(Range(length, length))


def _reverse(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    return _allocating(_known(target)) if target is not None else None


def _flatten(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
    return _allocating(_known(target), _literal(args[0], MAX) if args else 1) if target is not None else None


def _with_each(factor: float, place: int = -1) -> Callable[..., Answer | None]:
    def rule(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
        node = target if place < 0 else args[place]
        if node is None:
            return None
        size = _known(node)
        return _allocating(size.times(size), factor)

    return rule


def _sets(factor: float) -> Callable[..., Answer | None]:
    def rule(coster: Coster, overload: str, target: Node | None, args: list[Node]) -> Answer | None:
        if len(args) != 2:
            return None
        return _known(args[0]).times(_known(args[1])).scaled(factor).plus(_CALL), None

    return rule


_SORTED = ("bool", "int", "uint", "double", "string", "bytes", "google.protobuf.Timestamp", "google.protobuf.Duration")
_TEXTS = ("string", "bytes")
_OVERLOADS: dict[str, Callable[..., Answer | None]] = {
    "list_slice": _slice,
    "lists_range": _range,
    "list_reverse": _reverse,
    "list_flatten": _flatten,
    "list_flatten_int": _flatten,
    "list_distinct": _with_each(2),
    **{f"list_{kind}_sort": _with_each(2 + _TRAVERSAL * (kind in _TEXTS)) for kind in _SORTED},
    **{f"list_{kind}_sortByAssociatedKeys": _with_each(2 + _TRAVERSAL * (kind in _TEXTS), 0) for kind in _SORTED},
    "list_sets_contains_list": _sets(1),
    "list_sets_intersects_list": _sets(1),
    "list_sets_equivalent_list": _sets(2),
}
