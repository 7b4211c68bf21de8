"""Reading and copying API objects, which are plain JSON-like dicts.

Owns: fast deep copies, freezing for the debug mode, accessors for metadata, owner references and
conditions. It knows the shape of `ObjectMeta` and of nothing else, and it never changes an object
it was given, except in the `set_*` functions, whose argument the caller has copied before.
Label and field selectors are `protocol.selectors`, quantities `protocol.quantity`.
"""

from collections.abc import Iterable
from typing import Any, NoReturn

import orjson

from protocol.fieldselectors import FieldSelector, parse_field_selector
from protocol.selectors import (
    EVERYTHING,
    NOTHING,
    Selector,
    SelectorError,
    parse_selector,
    selector_of,
)

__all__ = [
    "EVERYTHING",
    "NOTHING",
    "FieldSelector",
    "FrozenDict",
    "FrozenList",
    "Object",
    "Selector",
    "SelectorError",
    "annotations",
    "condition",
    "condition_status",
    "controller_of",
    "controller_uid",
    "deleting",
    "find_condition",
    "freeze",
    "is_controlled_by",
    "key",
    "labels",
    "metadata",
    "mutable",
    "name",
    "namespace",
    "owner_reference",
    "owner_references",
    "parse_field_selector",
    "parse_selector",
    "remove_condition",
    "resource_version",
    "selector_of",
    "set_condition",
    "spec",
    "split_key",
    "status",
    "uid",
    "with_metadata",
    "with_status",
]

Object = dict[str, Any]

_NO_FIELDS: Object = {}
_NO_LIST: list[Any] = []


# --- copying ------------------------------------------------------------------------------------


def mutable(obj: Any) -> Any:
    """A deep copy of a JSON tree that its owner may change.

    Goes through the encoder, which is twice as fast as a recursion in Python; numbers that it
    does not take (beyond 64 bits) are copied by the slow road.
    """
    try:
        return orjson.loads(orjson.dumps(obj))
    except (TypeError, orjson.JSONEncodeError, RecursionError):
        return _copy(obj)


def _copy(obj: Any) -> Any:
    if isinstance(obj, dict):
        return {k: _copy(v) for k, v in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [_copy(v) for v in obj]
    return obj


def _refuse(self: Any, *_args: Any, **_kwargs: Any) -> NoReturn:
    raise TypeError("this object is shared and frozen: copy it with protocol.objects.mutable()")


class FrozenDict(dict[str, Any]):
    """A dict whose writing methods raise `TypeError`."""

    __slots__ = ()

    __setitem__ = _refuse
    __delitem__ = _refuse
    __ior__ = _refuse  # type: ignore[assignment]
    def __deepcopy__(self, memo: Any) -> Any:
        return mutable(self)

    clear = _refuse
    pop = _refuse  # type: ignore[assignment]
    popitem = _refuse
    setdefault = _refuse  # type: ignore[assignment]
    update = _refuse  # type: ignore[assignment]


class FrozenList(list[Any]):
    """A list whose writing methods raise `TypeError`."""

    __slots__ = ()

    __setitem__ = _refuse
    __delitem__ = _refuse
    __iadd__ = _refuse  # type: ignore[assignment]
    __imul__ = _refuse  # type: ignore[assignment]
    def __deepcopy__(self, memo: Any) -> Any:
        return mutable(self)

    append = _refuse
    clear = _refuse
    extend = _refuse
    insert = _refuse
    pop = _refuse
    remove = _refuse
    reverse = _refuse
    sort = _refuse


def freeze(obj: Any) -> Any:
    """A deep copy that refuses to be changed: `FrozenDict` and `FrozenList` all the way down.

    For the debug mode that finds who writes to a shared object; not for the hot path.
    """
    if isinstance(obj, dict):
        return FrozenDict((k, freeze(v)) for k, v in obj.items())
    if isinstance(obj, (list, tuple)):
        return FrozenList(freeze(v) for v in obj)
    return obj


def with_status(obj: Object, new_status: Object) -> Object:
    """`obj` with another status; the rest is shared with `obj`, so treat the result as frozen."""
    return {**obj, "status": new_status}


def with_metadata(obj: Object, **changes: Any) -> Object:
    """`obj` with metadata fields replaced (a value of None removes the field); the rest is shared
    with `obj`, so treat the result as frozen."""
    meta = {**metadata(obj), **changes}
    return {**obj, "metadata": {k: v for k, v in meta.items() if v is not None}}


# --- metadata -----------------------------------------------------------------------------------


def metadata(obj: Object) -> Object:
    """`.metadata`, or an empty dict."""
    return obj.get("metadata") or _NO_FIELDS


def spec(obj: Object) -> Object:
    """`.spec`, or an empty dict."""
    return obj.get("spec") or _NO_FIELDS


def status(obj: Object) -> Object:
    """`.status`, or an empty dict."""
    return obj.get("status") or _NO_FIELDS


def name(obj: Object) -> str:
    return metadata(obj).get("name") or ""


def namespace(obj: Object) -> str:
    return metadata(obj).get("namespace") or ""


def uid(obj: Object) -> str:
    return metadata(obj).get("uid") or ""


def resource_version(obj: Object) -> str:
    return metadata(obj).get("resourceVersion") or ""


def labels(obj: Object) -> dict[str, str]:
    return metadata(obj).get("labels") or _NO_FIELDS


def annotations(obj: Object) -> dict[str, str]:
    return metadata(obj).get("annotations") or _NO_FIELDS


def deleting(obj: Object) -> bool:
    """Whether the object has a deletion timestamp."""
    return bool(metadata(obj).get("deletionTimestamp"))


def key(obj: Object) -> str:
    """`namespace/name`, or `name` for an object without namespace: what work queues hold."""
    meta = obj["metadata"]
    in_namespace = meta.get("namespace")
    return f"{in_namespace}/{meta['name']}" if in_namespace else meta["name"]


def split_key(object_key: str) -> tuple[str, str]:
    """`(namespace, name)` of a `key`; the namespace is empty for a cluster-scoped object."""
    in_namespace, slash, object_name = object_key.partition("/")
    return (in_namespace, object_name) if slash else ("", in_namespace)


# --- owners -------------------------------------------------------------------------------------


def owner_references(obj: Object) -> list[Object]:
    return metadata(obj).get("ownerReferences") or _NO_LIST


def controller_of(obj: Object) -> Object | None:
    """The owner reference that has `controller: true`, if there is one."""
    for reference in owner_references(obj):
        if reference.get("controller"):
            return reference
    return None


def controller_uid(obj: Object) -> str:
    """The uid of the managing owner, or an empty string."""
    reference = controller_of(obj)
    return reference.get("uid", "") if reference else ""


def is_controlled_by(obj: Object, owner: Object) -> bool:
    """Whether `owner` is the managing owner of `obj`, by uid."""
    return controller_uid(obj) == uid(owner) != ""


def owner_reference(owner: Object, *, controller: bool = True, block: bool = True) -> Object:
    """A reference to `owner`, which must carry `apiVersion` and `kind`."""
    reference: Object = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name(owner),
        "uid": uid(owner),
    }
    if controller:
        reference["controller"] = True
    if block:
        reference["blockOwnerDeletion"] = True
    return reference


# --- conditions ---------------------------------------------------------------------------------


def condition(obj: Object, condition_type: str) -> Object | None:
    """The entry of `.status.conditions` with this type."""
    return find_condition(status(obj).get("conditions"), condition_type)


def find_condition(conditions: Iterable[Object] | None, condition_type: str) -> Object | None:
    for entry in conditions or ():
        if entry.get("type") == condition_type:
            return entry
    return None


def condition_status(obj: Object, condition_type: str) -> str:
    """"True", "False", "Unknown", or an empty string where there is no such condition."""
    entry = condition(obj, condition_type)
    return entry.get("status", "") if entry else ""


def set_condition(conditions: list[Object], entry: Object, now: str) -> bool:
    """Put `entry` in a list of conditions that the caller owns; say whether anything changed.

    `lastTransitionTime` becomes `now` (RFC 3339) when the condition is new or its status changes,
    and is kept otherwise.
    """
    for i, old in enumerate(conditions):
        if old.get("type") != entry["type"]:
            continue
        kept = now if old.get("status") != entry["status"] else old.get("lastTransitionTime", now)
        new = {**entry, "lastTransitionTime": kept}
        conditions[i] = new
        return new != old
    conditions.append({**entry, "lastTransitionTime": now})
    return True


def remove_condition(conditions: list[Object], condition_type: str) -> bool:
    """Take a condition out of a list that the caller owns; say whether it was there."""
    before = len(conditions)
    conditions[:] = [c for c in conditions if c.get("type") != condition_type]
    return len(conditions) != before
