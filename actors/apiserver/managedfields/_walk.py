"""Walking objects by type: what changed between two, what one holds, one merged with another.

Follows structured-merge-diff: maps and objects merge key by key unless atomic, lists by their keys
(`map`), by their values (`set`), or as a whole (`atomic`); what has no declared type is deduced from
the value. Null is a value; `ABSENT` is none. Owns no managers.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from actors.apiserver.managedfields._sets import Set, subset, union
from protocol.schema import ANY, Type

__all__ = ["ABSENT", "Comparison", "TypedProblem", "compare", "element_key", "everything", "field_set", "merge", "remove_items"]

ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "ABSENT"})()
LEAF: Set = {}


class TypedProblem(Exception):
    """An object does not fit its schema; the text is structured-merge-diff's."""


class Comparison(NamedTuple):
    """What differs from an old object to a new one, as sets."""

    added: Set
    modified: Set
    removed: Set

    def changed(self) -> Set:
        """Added or modified."""
        return union(self.added, self.modified)


NOTHING = Comparison({}, {}, {})


def shape(type_: Type, value: Any) -> str:
    """How a value of this type is owned: `map`, `list` (granular both), or `leaf`."""
    kind = type_.kind
    if kind == "object" or kind == "map":
        return "leaf" if type_.atomic or (not isinstance(value, dict) and value is not None) else "map"
    if kind == "list":
        return "leaf" if type_.list_type == "atomic" or (not isinstance(value, list) and value is not None) else "list"
    if kind == "any" and isinstance(value, dict):
        return "map"
    return "leaf"


def below(type_: Type, key: str) -> Type:
    """The type of a key of a map or object."""
    if type_.kind == "object":
        field = type_.fields.get(key)
        if field is not None:
            return field.type
    return type_.elem or ANY


def element_key(type_: Type, item: Any) -> str:
    """The path element of an item of a granular list. Raises `TypedProblem`."""
    if type_.list_type == "set":
        if isinstance(item, dict):
            raise TypedProblem("associative list without keys has an element that's a map type")
        if isinstance(item, list):
            raise TypedProblem("not supported: associative list with lists as elements")
        if item is None:
            raise TypedProblem("associative list without keys has an element that's an explicit null")
        return "v:" + json.dumps(item, ensure_ascii=False, separators=(",", ":"))
    if item is None:
        raise TypedProblem("associative list with keys may not have a null element")
    if not isinstance(item, dict):
        raise TypedProblem("associative list with keys may not have non-map elements")
    keys = type_.cache.get("sorted_keys")
    if keys is None:
        keys = type_.cache["sorted_keys"] = tuple(sorted(type_.map_keys))
    if len(keys) == 1:
        value = item.get(keys[0], ABSENT)
        if value.__class__ is str and value.isalnum() and value.isascii():
            return f'k:{{"{keys[0]}":"{value}"}}'
    fields: dict[str, Any] = {}
    for key in keys:
        if key in item:
            fields[key] = item[key]
        elif key in type_.key_defaults:
            fields[key] = type_.key_defaults[key]
    if not fields:
        names = " ".join(f'"{key}"' for key in type_.map_keys)
        raise TypedProblem(
            f"associative list with keys has an element that omits all key fields [{names}]"
            " (and doesn't have default values for any key fields)"
        )
    return "k:" + json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def everything(type_: Type, value: Any) -> Set:
    """The set below and including a value that was not there before."""
    how = shape(type_, value)
    if how == "leaf" or not value:
        return LEAF
    out: Set = {".": LEAF}
    if how == "map":
        if type_.kind == "map":
            elem = type_.elem or ANY
            if elem.kind == "string":
                for key in value:
                    out["f:" + key] = LEAF
                return out
        for key, item in value.items():
            out["f:" + key] = everything(below(type_, key), item)
        return out
    elem = type_.elem or ANY
    if type_.list_type == "set":
        for item in value:
            out[element_key(type_, item)] = LEAF
        return out
    for item in value:
        key = element_key(type_, item)
        # An element that repeats a key is owned as a whole.
        out[key] = LEAF if key in out else everything(elem, item) or LEAF
    return out


def compare(type_: Type, old: Any, new: Any) -> Comparison:
    """What changed between two objects of a type."""
    if old == new:
        return NOTHING
    added, modified, removed = _compare(type_, old, new)
    return Comparison(_below(added), _below(modified), _below(removed))


def _below(node: Set | None) -> Set:
    if not node:
        return {}
    return {key: value for key, value in node.items() if key != "."}


_Triple = tuple["Set | None", "Set | None", "Set | None"]


def _compare(type_: Type, old: Any, new: Any) -> _Triple:
    if old is ABSENT:
        return everything(type_, new), None, None
    if new is ABSENT:
        return None, None, everything(type_, old)
    if old == new and (old or new.__class__ is old.__class__):
        return None, None, None
    how, other = shape(type_, new), shape(type_, old)
    if how == "leaf" or other != how or (not old and not new):
        if how != other and (new or old) and new is not None and old is not None:
            return everything(type_, new), None, everything(type_, old)
        return None, LEAF, None
    if how == "map":
        return _compare_maps(type_, old or {}, new or {})
    return _compare_lists(type_, old or [], new or [])


def _compare_maps(type_: Type, old: dict[str, Any], new: dict[str, Any]) -> _Triple:
    added: Set = {}
    modified: Set = {}
    removed: Set = {}
    for key, value in new.items():
        before = old.get(key, ABSENT)
        if before is ABSENT:
            added["f:" + key] = everything(below(type_, key), value)
        elif before is not value:
            _file("f:" + key, _compare(below(type_, key), before, value), added, modified, removed)
    for key, value in old.items():
        if key not in new:
            removed["f:" + key] = everything(below(type_, key), value)
    return added or None, modified or None, removed or None


def _file(key: str, triple: _Triple, added: Set, modified: Set, removed: Set) -> None:
    a, m, r = triple
    if a is not None:
        added[key] = a
    if m is not None:
        modified[key] = m
    if r is not None:
        removed[key] = r


def _index(type_: Type, items: list[Any]) -> dict[str, list[Any]]:
    out: dict[str, list[Any]] = {}
    for item in items:
        out.setdefault(element_key(type_, item), []).append(item)
    return out


def _compare_lists(type_: Type, old: list[Any], new: list[Any]) -> _Triple:
    elem = type_.elem or ANY
    before, after = _index(type_, old), _index(type_, new)
    added: Set = {}
    modified: Set = {}
    removed: Set = {}
    for key, items in after.items():
        others = before.get(key)
        if others is None:
            added[key] = everything(elem, items[0]) if len(items) == 1 else LEAF
        elif len(items) == 1 and len(others) == 1:
            _file(key, _compare(elem, others[0], items[0]), added, modified, removed)
        elif len(items) > 1 and len(others) > 1:
            if items != others:
                modified[key] = LEAF
        elif len(items) > 1:
            removed[key] = everything(elem, others[0])
            added[key] = LEAF
        else:
            added[key] = everything(elem, items[0])
            removed[key] = LEAF
    for key, items in before.items():
        if key not in after:
            removed[key] = everything(elem, items[0]) if len(items) == 1 else LEAF
    return added or None, modified or None, removed or None


def field_set(type_: Type, value: Any) -> Set:
    """The fields that a configuration names (`ToFieldSet`): leaves, and all items of lists."""
    return _below(_named(type_, value))


def _named(type_: Type, value: Any) -> Set | None:
    """The set below a value; `{}` when the value itself is a leaf, None when it names nothing."""
    how = shape(type_, value)
    if how == "leaf":
        return LEAF
    if value is None:
        return None
    out: Set = {}
    if how == "map":
        for key, item in value.items():
            node = _named(below(type_, key), item)
            declared = type_.kind == "object" and key in type_.fields
            if item is None or (isinstance(item, dict) and not item) or (not declared and node is None):
                node = LEAF
            elif not declared and node:
                node = {".": LEAF, **node}
            if node is not None:
                out["f:" + key] = node
        return out or None
    elem = type_.elem or ANY
    for key, items in _index(type_, value).items():
        node = _named(elem, items[0]) if len(items) == 1 else None
        out[key] = {".": LEAF, **node} if node else LEAF
    return out or None


def merge(type_: Type, old: Any, new: Any) -> Any:
    """`old` with what `new` says; ABSENT when nothing is left. The result may share parts with both."""
    if new is ABSENT:
        return old
    if old is ABSENT:
        return _kept(type_, new)
    how = shape(type_, new)
    if how == "leaf" or shape(type_, old) != how or (not old and not new):
        return new
    if how == "map":
        out: dict[str, Any] = {}
        mine, theirs = old or {}, new or {}
        for key, value in mine.items():
            merged = merge(below(type_, key), value, theirs.get(key, ABSENT))
            if merged is not ABSENT:
                out[key] = merged
        for key, value in theirs.items():
            if key not in mine:
                merged = _kept(below(type_, key), value)
                if merged is not ABSENT:
                    out[key] = merged
        return out if out else ABSENT
    items = _merge_lists(type_, old or [], new or [])
    return items if items else ABSENT


def _kept(type_: Type, value: Any) -> Any:
    """A value that has no counterpart; repeated keys of lists are refused."""
    if shape(type_, value) == "list" and value:
        return _merge_lists(type_, [], value)
    return value


def _merge_lists(type_: Type, old: list[Any], new: list[Any]) -> list[Any]:
    """Items of `new` in their order, those only in `old` at the places where they stood."""
    elem = type_.elem or ANY
    right: dict[str, Any] = {}
    for item in new:
        key = element_key(type_, item)
        if key in right:
            raise TypedProblem(f"duplicate entries for key {_element_text(key)}")
        right[key] = item
    left_keys = [element_key(type_, item) for item in old]
    left: dict[str, Any] = {}
    for key, item in zip(left_keys, old, strict=True):
        left[key] = None if key in left else item
    right_keys = list(right)
    shared = [key for key in right_keys if key in left]
    place = 0
    done: set[str] = set()
    out: list[Any] = []

    def take(key: str) -> None:
        mine = left.get(key, ABSENT)
        merged = merge(elem, ABSENT if mine is None else mine, right[key])
        done.add(key)
        if merged is not ABSENT:
            out.append(merged)

    i = j = 0
    while i < len(left_keys) or j < len(right_keys):
        if i < len(left_keys) and j < len(right_keys):
            key = left_keys[i]
            if key == right_keys[j]:
                take(key)
                i += 1
                j += 1
                place += 1
                continue
            wanted = shared[place] if place < len(shared) else None
            if key in right and wanted is not None and wanted != key:
                i += 1
                continue
        if i < len(left_keys):
            key = left_keys[i]
            if key not in right:
                out.append(old[i])
                i += 1
                continue
            if key in done:
                i += 1
        if j < len(right_keys):
            key = right_keys[j]
            take(key)
            j += 1
            if place < len(shared) and shared[place] == key:
                place += 1
    return out


def _element_text(key: str) -> str:
    from actors.apiserver.managedfields._sets import path_text

    return path_text((key,))


def remove_items(type_: Type, value: Any, gone: Set) -> Any:
    """`value` without the members of a set; None when nothing is left of a container."""
    how = shape(type_, value)
    if how == "leaf":
        return value if not isinstance(value, (dict, list)) else None
    if not value:
        return None
    if how == "map":
        out: dict[str, Any] = {}
        for key, item in value.items():
            node = gone.get("f:" + key)
            if node is None:
                out[key] = item
            elif node and "." not in node:
                out[key] = remove_items(below(type_, key), item, node)
        return out or None
    elem = type_.elem or ANY
    items: list[Any] = []
    for item in value:
        name = element_key(type_, item)
        node = gone.get(name)
        if node is None:
            items.append(item)
        elif node and "." not in node:
            items.append(remove_items(elem, item, subset(gone, name)))
    return items or None
