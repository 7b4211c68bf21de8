"""What may change of a pod: images, deadlines, tolerations, and gated pods' constraints.

Owns the comparison behind the update of the main resource (`pkg/apis/core/validation`). Ephemeral
containers and resizing have their own module.
"""

from __future__ import annotations

from actors.apiserver.strategies._base import Object
from actors.apiserver.strategies._dump import diff
from actors.apiserver.strategies._errors import FieldError, forbidden, invalid, required
from actors.apiserver.strategies.pod_containers import validate_image_whitespace
from actors.apiserver.strategies.pod_object import CONTAINER_LISTS, MIRROR
from actors.apiserver.strategies.pod_scheduling import (
    node_affinity_additions,
    node_selector_additions,
    only_added_tolerations,
    only_deleted_gates,
)
from actors.apiserver.strategies.pod_validation import validate_pod_annotations

__all__ = ["annotation_updates", "check_spec_update", "take"]

_MAX_INT32 = 2**31 - 1
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_UPDATABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def annotation_updates(new: Object, old: Object) -> list[FieldError]:
    """Annotations that never change."""
    now = new["metadata"].get("annotations") or {}
    was = old["metadata"].get("annotations") or {}
    if not now and not was:
        return []
    errors: list[FieldError] = []
    for key, value in was.items():
        if now.get(key) == value:
            continue
        at = f"metadata.annotations[{key}]"
        if key.startswith(_APP_ARMOR):
            errors.append(forbidden(at, "may not remove or update AppArmor annotations"))
        if key == MIRROR:
            errors.append(forbidden(at, "may not remove or update mirror pod annotation"))
    for key in now:
        if key in was:
            continue
        at = f"metadata.annotations[{key}]"
        if key.startswith(_APP_ARMOR):
            errors.append(forbidden(at, "may not add AppArmor annotations"))
        if key == MIRROR:
            errors.append(forbidden(at, "may not add mirror pod annotation"))
    return errors + validate_pod_annotations(now, new["spec"], "metadata.annotations")


def _container_updates(new: list[Object], old: list[Object], path: str) -> tuple[list[FieldError], bool]:
    if len(new) != len(old):
        return [forbidden(path, "pod updates may not add or remove containers")], True
    errors: list[FieldError] = []
    for index, container in enumerate(new):
        if not container.get("image"):
            errors.append(required(f"{path}[{index}].image"))
        errors += validate_image_whitespace(container, f"{path}[{index}]")
    return errors, False


def _check_deadline(new: int | None, old: int | None) -> tuple[list[FieldError], bool]:
    """Errors, and whether to look no further."""
    at = "spec.activeDeadlineSeconds"
    if new is None:
        if old is None:
            return [], False
        return [invalid(at, None, "must not update from a positive integer to nil value")], False
    if not 0 <= new <= _MAX_INT32:
        return [invalid(at, new, f"must be between 0 and {_MAX_INT32}, inclusive")], True
    if old is not None and old < new:
        return [invalid(at, new, "must be less than or equal to previous value")], True
    return [], False


def check_spec_update(new: Object, old: Object) -> list[FieldError]:
    """What an update may change: images, the deadline, tolerations, gates."""
    errors: list[FieldError] = []
    for key in CONTAINER_LISTS:
        found, stop = _container_updates(new.get(key) or [], old.get(key) or [], f"spec.{key}")
        errors += found
        if stop:
            return errors
    found, stop = _check_deadline(new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds"))
    errors += found
    if stop:
        return errors
    tolerations = (new.get("tolerations") or [], old.get("tolerations") or [])
    errors += only_added_tolerations(*tolerations, "spec.tolerations")
    gates = (new.get("schedulingGates") or [], old.get("schedulingGates") or [])
    errors += only_deleted_gates(*gates, "spec.schedulingGates")
    if new == old:
        return errors
    munged = _with_allowed_changes_undone(new, old)
    if old.get("schedulingGates"):
        errors += _check_gated(munged, old)
    if munged != old:
        changes = diff("core.PodSpec", old, munged)
        detail = f"pod updates may not change fields other than {_UPDATABLE}\n{changes}"
        errors.append(forbidden("spec", detail))
    return errors


def take(target: Object, source: Object, key: str) -> None:
    """Give the target the value that the source has, or none."""
    if key in source:
        target[key] = source[key]
    else:
        target.pop(key, None)


def _with_allowed_changes_undone(new: Object, old: Object) -> Object:
    munged = dict(new)
    for key in CONTAINER_LISTS:
        if key in new:
            munged[key] = [
                {**container, "image": before.get("image", "")}
                for container, before in zip(new[key], old.get(key) or [], strict=False)
            ]
    for key in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        take(munged, old, key)
    grace = old.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0 and munged.get("terminationGracePeriodSeconds") == 1:
        munged["terminationGracePeriodSeconds"] = grace
    return munged


def _check_gated(munged: Object, old: Object) -> list[FieldError]:
    """A gated pod's node selector and node affinity may be narrowed (KEP-3838)."""
    errors: list[FieldError] = []
    now, was = munged.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    if now != was:
        errors += node_selector_additions(now, was, "spec.nodeSelector")
        take(munged, old, "nodeSelector")
    affinity = munged.get("affinity") or {}
    before = (old.get("affinity") or {}).get("nodeAffinity")
    if affinity.get("nodeAffinity") != before:
        path = "spec.affinity.nodeAffinity"
        errors += node_affinity_additions(affinity.get("nodeAffinity") or {}, before or {}, path)
        rest = {key: value for key, value in affinity.items() if key != "nodeAffinity"}
        if before is not None:
            rest["nodeAffinity"] = before
        if rest or "affinity" in old:
            munged["affinity"] = rest
        else:
            munged.pop("affinity", None)
    return errors
