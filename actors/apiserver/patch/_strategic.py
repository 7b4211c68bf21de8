"""Strategic merge patch: a merge that knows keys of lists and obeys directives.

Works on JSON values and a `Type`; changes the documents it is given. Directives: `$patch`
(replace, delete), `$retainKeys`, `$setElementOrder/<list>`, `$deleteFromPrimitiveList/<list>`.
Follows apimachinery's `strategicpatch`. Owns no HTTP errors: `Problem` carries a text, and
`Refused` says that it is the client's fault.

https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
"""

from __future__ import annotations

from functools import cmp_to_key
from typing import Any

from actors.apiserver.patch._gotext import go_quote, go_value
from protocol.schema import Field, Type

__all__ = ["Problem", "Refused", "Unprocessable", "merge_map"]

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_FROM = "$deleteFromPrimitiveList"
ORDER = "$setElementOrder"

Map = dict[str, Any]


class Problem(Exception):
    """The patch cannot be applied (500 upstream)."""


class Refused(Problem):
    """The patch is malformed (400)."""


class Unprocessable(Problem):
    """The patch asks for what is not supported (422)."""


def _go_kind(value: Any) -> str:
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64"
    if isinstance(value, float):
        return "float64"
    return "string" if isinstance(value, str) else "%!s(<nil>)"


def _bad_type(expected: str, actual: Any) -> Problem:
    return Problem(f"expected a {expected}, but received a {_go_kind(actual)}")


def _no_key(item: Map, key: str) -> Problem:
    return Problem(f"map: {go_value(item)} does not contain declared merge key: {key}")


def _lookup(type_: Type, name: str) -> Field:
    """The field of a struct, matched as Go's JSON does (exactly, else without case)."""
    if type_.kind != "object" or (not type_.fields and type_.elem is not None):
        kind = {"list": "slice", "map": "map", "any": "map", "boolean": "bool"}.get(type_.kind, type_.kind)
        raise Problem(f"merging an object in json but data type is not struct, instead is: {kind}")
    field = type_.fields.get(name)
    if field is None:
        folded = name.casefold()
        for candidate, found in type_.fields.items():
            if candidate.casefold() == folded:
                return found
        struct = type_.go.rsplit(".", 1)[-1]
        raise Problem(f"unable to find api field in struct {struct} for the json field {go_quote(name)}")
    return field


def _element(field: Field) -> Type:
    if field.type.kind != "list" or field.type.elem is None:
        raise Problem("expected slice or array type, but got: struct")
    return field.type.elem


def _strategy(field: Field) -> str:
    """The strategy that is not retainKeys."""
    for word in field.strategies:
        if word != "retainKeys":
            return word
    return ""


def merge_map(original: Map | None, patch: Map, type_: Type) -> Map:
    """`original` after `patch`; both may be changed. Raises `Problem`."""
    if DIRECTIVE in patch:
        directive = patch[DIRECTIVE]
        if directive == "replace":
            del patch[DIRECTIVE]
            return patch
        if directive == "delete":
            return {}
        raise Problem(f"unknown patch type: {go_value(directive)} in map: {go_value(patch)}")
    if original is None:
        original = {}
    _retain_keys(original, patch)
    _set_orders(original, patch, type_)
    for key, value in patch.items():
        delete_list = key.startswith(DELETE_FROM)
        if delete_list:
            key = _extract(key, DELETE_FROM)
        if value is None:
            original.pop(key, None)
            continue
        if key not in original or _go_kind(original[key]) != _go_kind(value):
            if not delete_list:
                _replace(original, key, value)
            continue
        current = original[key]
        if isinstance(value, dict):
            field = _lookup(type_, key)
            replace = _strategy(field) == "replace"
            original[key] = value if replace else merge_map(current, value, field.type)
        elif isinstance(value, list):
            field = _lookup(type_, key)
            original[key] = _merge_list(current, value, field, delete_list)
        else:
            original[key] = value
    return original


def _replace(original: Map, key: str, value: Any) -> None:
    clean, keep = _without_directives(_without_nulls(value))
    if keep:
        original[key] = clean
    else:
        original.pop(key, None)


def _extract(key: str, prefix: str) -> str:
    head, slash, tail = key.partition("/")
    if not slash or head != prefix:
        if prefix == DELETE_FROM:
            raise Refused("invalid patch format of primitive list")
        raise Refused("invalid patch format of setElementOrder list")
    return tail


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _without_directives(value: Any) -> tuple[Any, bool]:
    """The value as it is stored, and whether it is stored at all."""
    if isinstance(value, dict):
        if DIRECTIVE in value:
            return None, False
        out: Map = {}
        for key, item in value.items():
            clean, keep = _without_directives(item)
            if keep:
                out[key] = clean
        return out, True
    if isinstance(value, list):
        pairs = [_without_directives(item) for item in value]
        return [item for item, keep in pairs if keep], True
    return value, True


def _retain_keys(original: Map, patch: Map) -> None:
    if RETAIN_KEYS not in patch:
        return
    keys = patch.pop(RETAIN_KEYS)
    if not isinstance(keys, list):
        raise Refused("invalid patch format of retainKeys")
    for key, value in patch.items():
        if value is None or key.startswith((DELETE_FROM, ORDER)):
            continue
        if key not in keys:
            raise Refused("invalid patch format of retainKeys")
    for key in list(original):
        if key not in keys:
            del original[key]


def _set_orders(original: Map, patch: Map, type_: Type) -> None:
    """Apply each `$setElementOrder` together with the list it speaks of."""
    for key in [key for key in patch if key.startswith(ORDER)]:
        order = patch.pop(key)
        if not isinstance(order, list):
            raise _bad_type("[]interface {}", order)
        name = _extract(key, ORDER)
        current, change = original.get(name), patch.get(name)
        for holder, items in ((original, current), (patch, change)):
            if name in holder and not isinstance(items, list):
                raise _bad_type("[]interface {}", items)
        field = _lookup(type_, name)
        merge_key = field.merge_key
        _check_order(change or [], order, merge_key)
        if name not in original and name not in patch:
            continue
        if name not in patch:
            merged = current or []
        elif name not in original:
            merged, _ = _without_directives(change)
        else:
            merged = _merge_list(current or [], change or [], field, False)
        listed, rest = _partition(merged, order, merge_key)
        maps = _holds_maps([*(current or []), *(change or [])])
        original[name] = _ordered(listed, rest, order, current or [], merge_key if maps else "")
        patch.pop(name, None)


def _check_order(items: list[Any], order: list[Any], merge_key: str) -> None:
    if not items or not order:
        return
    left = items
    if merge_key:
        for item in items:
            if not isinstance(item, dict):
                raise _bad_type("map[string]interface {}", item)
        left = [item for item in items if item.get(DIRECTIVE) != "delete"]
    at = place = 0
    while at < len(left) and place < len(order):
        if isinstance(left[at], dict) and DIRECTIVE in left[at]:
            at += 1
            continue
        if _same_key(left[at], order[place], merge_key):
            at += 1
        place += 1
    if at < len(left):
        raise Problem(
            f"The order in patch list:\n{go_value(items)}\n doesn't match {ORDER} list:\n{go_value(order)}\n"
        )


def _same_key(left: Any, right: Any, merge_key: str) -> bool:
    if not merge_key:
        return bool(left == right)
    for item in (left, right):
        if not isinstance(item, dict):
            raise _bad_type("map[string]interface {}", item)
        if merge_key not in item:
            raise _no_key(item, merge_key)
    return bool(left[merge_key] == right[merge_key])


def _holds_maps(items: list[Any]) -> bool:
    """Whether a list's elements are maps. All elements must be of one type."""
    kinds: set[str] = set()
    for item in items:
        if isinstance(item, list):
            raise Unprocessable("lists of lists are not supported")
        kinds.add(_go_kind(item))
    if len(kinds) > 1:
        raise Problem(f"list element types are not identical: {go_value([items])}")
    if not kinds:
        raise Problem("no elements in any of the given slices")
    return kinds == {"map[string]interface {}"}


def _merge_list(current: list[Any], patch: list[Any], field: Field, delete_list: bool) -> list[Any]:
    if _strategy(field) != "merge" and not delete_list:
        return patch
    if not current and not patch:
        return current
    merge_key = field.merge_key
    if not _holds_maps([*current, *patch]):
        if delete_list:
            return [item for item in current if item not in patch]
        merged = list(dict.fromkeys([*current, *patch]))
        listed, rest = _partition(merged, patch, "")
        return _ordered(listed, rest, patch, current, "")
    if not merge_key:
        raise Problem(f"cannot merge lists without merge key for {_element(field).kind}")
    current, patch = _special_elements(current, patch, merge_key)
    merged = _merge_elements(current, patch, merge_key, _element(field))
    listed, rest = _partition(merged, patch, merge_key)
    return _ordered(listed, rest, patch, current, merge_key)


def _special_elements(current: list[Any], patch: list[Any], merge_key: str) -> tuple[list[Any], list[Any]]:
    """Obey the elements that carry `$patch`."""
    plain: list[Any] = []
    replace = False
    for item in patch:
        if DIRECTIVE not in item:
            plain.append(item)
            continue
        directive = item[DIRECTIVE]
        if directive == "delete":
            if merge_key not in item:
                raise _no_key(item, merge_key)
            current = [other for other in current if other.get(merge_key) != item[merge_key]]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise Problem("merging lists cannot yet be specified in the patch")
        else:
            raise Problem(f"unknown patch type: {go_value(directive)} in map: {go_value(item)}")
    return (plain, []) if replace else (current, plain)


def _merge_elements(current: list[Any], patch: list[Any], merge_key: str, element: Type) -> list[Any]:
    merged = list(current)
    for item in patch:
        if merge_key not in item:
            raise _no_key(item, merge_key)
        for i, other in enumerate(merged):
            if other.get(merge_key) == item[merge_key] and merge_key in other:
                merged[i] = merge_map(other, dict(item), element)
                break
        else:
            merged.append(item)
    return merged


def _partition(merged: list[Any], by: list[Any], merge_key: str) -> tuple[list[Any], list[Any]]:
    """The items that `by` names, and the others."""
    listed: list[Any] = []
    rest: list[Any] = []
    for item in merged:
        if not merge_key:
            named = item in by
        else:
            if merge_key not in item:
                raise _no_key(item, merge_key)
            named = any(isinstance(o, dict) and o.get(merge_key) == item[merge_key] for o in by)
        (listed if named else rest).append(item)
    return listed, rest


def _index(items: list[Any], item: Any, merge_key: str) -> int:
    for i, other in enumerate(items):
        if merge_key:
            if isinstance(other, dict) and other.get(merge_key) == item.get(merge_key):
                return i
        elif other == item:
            return i
    return -1


def _sorted(items: list[Any], order: list[Any], merge_key: str) -> list[Any]:
    if merge_key:
        for item in order:
            if not isinstance(item, dict):
                raise _bad_type("map[string]interface {}", item)
            if merge_key not in item:
                raise _no_key(item, merge_key)

    def compare(left: Any, right: Any) -> int:
        a, b = _index(order, left, merge_key), _index(order, right, merge_key)
        return a - b if a >= 0 and b >= 0 else 0

    return sorted(items, key=cmp_to_key(compare))


def _ordered(listed: list[Any], rest: list[Any], order: list[Any], live: list[Any], merge_key: str) -> list[Any]:
    """Both lists in one: the patch's order wins, the others keep their place as well as they can."""
    right = _sorted(listed, order, merge_key)
    left = _sorted(rest, live, merge_key)
    out: list[Any] = []
    i = j = 0
    while i < len(left) and j < len(right):
        a, b = _index(live, left[i], merge_key), _index(live, right[j], merge_key)
        if a >= 0 and b >= 0 and a < b:
            out.append(left[i])
            i += 1
        else:
            out.append(right[j])
            j += 1
    return out + left[i:] + right[j:]
