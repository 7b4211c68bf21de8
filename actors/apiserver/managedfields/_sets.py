"""Sets of field paths, in the very form in which they are stored (FieldsV1).

A set is a dict: keys are path elements (`f:name`, `k:{"name":"a"}`, `v:"x"`, `i:0`), values are the sets
below. An element is a member when its value is empty or holds `.`:

    {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}}   members: metadata.labels, metadata.labels.app

No operation changes its arguments; results may share parts with them, so sets count as frozen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from actors.apiserver.patch._gotext import go_quote, go_value
from protocol.schema import Type

__all__ = [
    "Set",
    "difference",
    "ensure_named",
    "intersection",
    "path_text",
    "paths",
    "remove_recursively",
    "subset",
    "union",
]

Set = dict[str, Any]


def _member(node: Set) -> bool:
    return not node or "." in node


def union(a: Set, b: Set) -> Set:
    """Everything in either set."""
    if not b or a is b:
        return a
    if not a:
        return b
    out = dict(a)
    for key, node in b.items():
        mine = out.get(key)
        out[key] = node if mine is None else _union_nodes(mine, node)
    return out


def _union_nodes(a: Set, b: Set) -> Set:
    if a is b or a == b:
        return a
    if not a:
        return b if "." in b else {".": {}, **b}
    if not b:
        return a if "." in a else {".": {}, **a}
    return union(a, b)


def difference(a: Set, b: Set) -> Set:
    """The members of `a` that are not members of `b`. What lies below a member of `b` stays."""
    if not a or not b:
        return a
    out: Set = {}
    for key, node in a.items():
        other = b.get(key)
        if other is None:
            out[key] = node
            continue
        left = _difference_nodes(node, other)
        if left is not None:
            out[key] = left
    return out


def _difference_nodes(a: Set, b: Set) -> Set | None:
    member = _member(a) and not _member(b)
    below = difference({k: v for k, v in a.items() if k != "."}, {k: v for k, v in b.items() if k != "."})
    if below:
        return {".": {}, **below} if member else below
    return {} if member else None


def intersection(a: Set, b: Set) -> Set:
    """The members of both sets."""
    out: Set = {}
    for key, node in a.items():
        other = b.get(key)
        if other is None or key == ".":
            continue
        member = _member(node) and _member(other)
        below = intersection(node, other)
        if below:
            out[key] = {".": {}, **below} if member else below
        elif member:
            out[key] = {}
    return out


def remove_recursively(a: Set, b: Set) -> Set:
    """`a` without the members of `b` and all that lies below them."""
    if not a or not b:
        return a
    out: Set = {}
    for key, node in a.items():
        other = b.get(key)
        if other is None:
            out[key] = node
        elif not _member(other):
            member = _member(node)
            below = remove_recursively({k: v for k, v in node.items() if k != "."}, other)
            if below:
                out[key] = {".": {}, **below} if member else below
            elif member:
                out[key] = {}
    return out


def subset(a: Set, key: str) -> Set:
    """The set below a path element, without the element's own membership."""
    node = a.get(key)
    if not node:
        return {}
    return {k: v for k, v in node.items() if k != "."} if "." in node else node


def ensure_named(a: Set, type_: Type | None) -> Set:
    """`a` with each declared field on the way to a member made a member itself."""
    out: Set = {}
    for key, node in a.items():
        if key == ".":
            out[key] = node
            continue
        below = ensure_named(node, step(type_, key)) if node else node
        if below and "." not in below and key[:2] == "f:" and type_ is not None and key[2:] in type_.fields:
            below = {".": {}, **below}
        out[key] = below
    return out


def step(type_: Type | None, key: str) -> Type | None:
    """The type below a path element."""
    if type_ is None:
        return None
    if key[:2] == "f:":
        field = type_.fields.get(key[2:])
        if field is not None:
            return field.type
    return type_.elem


_ORDER = {"f": 0, "k": 1, "v": 2, "i": 3}
_RANKS: tuple[tuple[Any, int], ...] = ((bool, 2), ((int, float), 0), (str, 1))  # a bool is an int to Python


def _place(key: str) -> tuple[Any, ...]:
    """Where a path element stands among its siblings: numbers in keys and values count as numbers
    (structured-merge-diff's `PathElement.Less`)."""
    kind, rest = key[0], key[2:]
    if kind == "k":
        return 1, [(name, _rank(value)) for name, value in json.loads(rest).items()], key
    if kind == "v":
        return 2, [("", _rank(json.loads(rest)))], key
    if kind == "i":
        return 3, [("", _rank(int(rest)))], key
    return _ORDER.get(kind, 4), [], key


def _rank(value: Any) -> tuple[int, Any]:
    for types, rank in _RANKS:
        if isinstance(value, types):
            return rank, value
    return len(_RANKS), ""


def paths(a: Set, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All members: at each level first its own, then those below, each sorted."""
    keys = sorted((key for key in a if key != "."), key=_place)
    for key in keys:
        if _member(a[key]):
            yield (*prefix, key)
    for key in keys:
        if a[key]:
            yield from paths(a[key], (*prefix, key))


def path_text(path: tuple[str, ...]) -> str:
    """A path as conflicts print it: `.spec.ports[port=80,protocol="TCP"].name`."""
    out = []
    for key in path:
        kind, rest = key[0], key[2:]
        if kind == "f":
            out.append(f".{rest}")
        elif kind == "k":
            fields = json.loads(rest)
            out.append("[" + ",".join(f"{name}={_scalar(value)}" for name, value in fields.items()) + "]")
        elif kind == "v":
            out.append(f"[={_scalar(json.loads(rest))}]")
        else:
            out.append(f"[{rest}]")
    return "".join(out)


def _scalar(value: Any) -> str:
    return go_quote(value) if isinstance(value, str) else go_value(value)
