"""ObjectMeta: validation of names, labels, annotations, owners, finalizers and managed fields.

Owns what all kinds have in common (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go`). Knows no
kind: the rule for names comes from the strategy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.apiserver.strategies._errors import (
    FieldError,
    forbidden,
    invalid,
    quote,
    required,
    too_long,
)
from protocol.names import (
    Messages,
    dns1123_label,
    label_value,
    path_segment_name,
    qualified_name,
)

__all__ = [
    "FIELD_IS_IMMUTABLE",
    "NEGATIVE",
    "NameRule",
    "immutable",
    "nonnegative",
    "validate_annotations",
    "validate_field_manager",
    "validate_label_name",
    "validate_labels",
    "validate_meta",
    "validate_meta_update",
]

Object = dict[str, Any]
NameRule = Callable[[str, bool], Messages]

FIELD_IS_IMMUTABLE = "field is immutable"
NEGATIVE = "must be greater than or equal to 0"
_ANNOTATIONS_MAX_BYTES = 256 * 1024
_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


def nonnegative(value: int | None, path: str) -> list[FieldError]:
    """A count must not be negative; None is no value."""
    return [invalid(path, value, NEGATIVE)] if value is not None and value < 0 else []


def immutable(new: Any, old: Any, path: str) -> list[FieldError]:
    """A value that must stay as it is. Empty lists and maps equal none, as Go's comparison has it."""
    if new == old or (not new and not old and _container(new) and _container(old)):
        return []
    return [invalid(path, new, FIELD_IS_IMMUTABLE)]


def _container(value: Any) -> bool:
    return value is None or isinstance(value, (dict, list))


def validate_label_name(name: str, path: str) -> list[FieldError]:
    """A label key."""
    return [invalid(path, name, message) for message in qualified_name(name)]


def validate_labels(labels: dict[str, str] | None, path: str) -> list[FieldError]:
    """Keys and values of labels; errors name the map, not the key."""
    if not labels:
        return []
    errors: list[FieldError] = []
    for key, value in labels.items():
        for message in qualified_name(key):
            errors.append(invalid(path, key, message))
        for message in label_value(value or ""):
            errors.append(invalid(path, value or "", message))
    return errors


def validate_annotations(annotations: dict[str, str] | None, path: str) -> list[FieldError]:
    """Keys like label keys without regard to case; at most 256 KiB in all."""
    if not annotations:
        return []
    errors: list[FieldError] = []
    size = 0
    for key, value in annotations.items():
        for message in qualified_name(key.lower()):
            errors.append(invalid(path, key, message))
        size += len(key.encode()) + len((value or "").encode())
    if size > _ANNOTATIONS_MAX_BYTES:
        errors.append(too_long(path, _ANNOTATIONS_MAX_BYTES))
    return errors


def _validate_owner(owner: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    version = owner.get("apiVersion") or ""
    if not version or version.count("/") > 1:
        errors.append(invalid(path + ".apiVersion", version, "version must not be empty"))
    for field in ("kind", "name", "uid"):
        if not owner.get(field):
            errors.append(invalid(f"{path}.{field}", "", "must not be empty"))
    if version == "v1" and owner.get("kind") == "Event":
        detail = "/v1, Kind=Event is disallowed from being an owner"
        errors.append(invalid(path, _owner_json(owner), detail))
    return errors


def _owner_json(owner: Object) -> Object:
    """An owner reference with its keys in Go's order."""
    order = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
    always = {"apiVersion": "", "kind": "", "name": "", "uid": ""}
    return {k: owner.get(k, always.get(k)) for k in order if k in owner or k in always}


def _validate_owners(owners: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    controller = ""
    for owner in owners:
        errors += _validate_owner(owner, path)
        if owner.get("controller"):
            current = f"{owner.get('kind', '')}/{owner.get('name', '')}"
            if controller:
                detail = (
                    "Only one reference can have Controller set to true. Found "
                    f'"true" in references for {controller} and {current}'
                )
                errors.append(invalid(path, [_owner_json(o) for o in owners], detail))
            else:
                controller = current
    return errors


def _validate_finalizers(finalizers: list[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for name in finalizers:
        for message in qualified_name(name):
            errors.append(invalid(path, name, message))
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        detail = "finalizer orphan and foregroundDeletion cannot be both set"
        errors.append(invalid(path, finalizers, detail))
    return errors


def validate_field_manager(manager: str, path: str) -> list[FieldError]:
    """A field manager's name: at most 128 printable bytes."""
    errors: list[FieldError] = []
    if len(manager.encode()) > 128:
        errors.append(too_long(path, 128))
    if not manager.isprintable():
        for position, char in enumerate(manager):
            if not char.isprintable():
                detail = f"invalid character U+{ord(char):04X} (at position {position})"
                errors.append(invalid(path, manager, detail))
    return errors


def _validate_managed_fields(entries: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, entry in enumerate(entries):
        at = f"{path}[{index}]"
        operation = entry.get("operation", "")
        if operation not in ("Apply", "Update"):
            errors.append(invalid(at + ".operation", operation, "must be `Apply` or `Update`"))
        if entry.get("fieldsType") and entry["fieldsType"] != "FieldsV1":
            errors.append(invalid(at + ".fieldsType", entry["fieldsType"], "must be `FieldsV1`"))
        errors += validate_field_manager(entry.get("manager") or "", at + ".manager")
        if len(entry.get("subresource") or "") > 256:
            errors.append(too_long(at + ".subresource", 256))
    return errors


def _validate_common(meta: Object, path: str) -> list[FieldError]:
    """What creation and update check alike, without finalizers."""
    errors: list[FieldError] = []
    if meta.get("labels"):
        errors += validate_labels(meta["labels"], path + ".labels")
    if meta.get("annotations"):
        errors += validate_annotations(meta["annotations"], path + ".annotations")
    if meta.get("ownerReferences"):
        errors += _validate_owners(meta["ownerReferences"], path + ".ownerReferences")
    return errors


def validate_meta(
    meta: Object, namespaced: bool, name_rule: NameRule, path: str = "metadata"
) -> list[FieldError]:
    """Metadata of an object to be created; names have been generated already."""
    errors: list[FieldError] = []
    if prefix := meta.get("generateName"):
        for message in name_rule(prefix, True):
            errors.append(invalid(path + ".generateName", prefix, message))
    if not (name := meta.get("name")):
        errors.append(required(path + ".name", "name or generateName is required"))
    else:
        for message in name_rule(name, False):
            errors.append(invalid(path + ".name", name, message))
    namespace = meta.get("namespace")
    if namespaced:
        if not namespace:
            errors.append(required(path + ".namespace"))
        else:
            for message in dns1123_label(namespace):
                errors.append(invalid(path + ".namespace", namespace, message))
    elif namespace:
        errors.append(forbidden(path + ".namespace", "not allowed on this type"))
    errors += nonnegative(meta.get("generation"), path + ".generation")
    errors += _validate_common(meta, path)
    if meta.get("finalizers"):
        errors += _validate_finalizers(meta["finalizers"], path + ".finalizers")
    if meta.get("managedFields"):
        errors += _validate_managed_fields(meta["managedFields"], path + ".managedFields")
    return errors


_IMMUTABLE = (
    ("name", ""),
    ("namespace", ""),
    ("uid", ""),
    ("creationTimestamp", None),
    ("deletionTimestamp", None),
    ("deletionGracePeriodSeconds", None),
)


def validate_meta_update(new: Object, old: Object, path: str = "metadata") -> list[FieldError]:
    """Metadata of an update against what is stored."""
    errors: list[FieldError] = []
    if old.get("deletionTimestamp") is not None:
        known = old.get("finalizers") or []
        if extra := sorted(set(new.get("finalizers") or []) - set(known)):
            listed = ", ".join(quote(name) for name in extra)
            detail = (
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{listed}}}"
            )
            errors.append(forbidden(path + ".finalizers", detail))
    if not new.get("resourceVersion"):
        errors.append(invalid(path + ".resourceVersion", "", "must be specified for an update"))
    if (new.get("generation") or 0) < (old.get("generation") or 0):
        detail = "must not be decremented"
        errors.append(invalid(path + ".generation", new.get("generation") or 0, detail))
    for field, nothing in _IMMUTABLE:
        value = new.get(field, nothing)
        if value != old.get(field, nothing):
            errors.append(invalid(f"{path}.{field}", value, FIELD_IS_IMMUTABLE))
    errors += _validate_common(new, path)
    if new.get("managedFields"):
        errors += _validate_managed_fields(new["managedFields"], path + ".managedFields")
    return errors


def validate_common(meta: Object, namespaced: bool) -> list[FieldError]:
    """What the API server itself checks for every object, after the strategy."""
    return validate_meta(meta, namespaced, path_segment_name)
