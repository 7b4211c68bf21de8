"""Pod: the strategy.

Owns what happens to a pod between request and storage: preparation, generation, what an update may
change, the subresources `resize` and `ephemeralcontainers`, deletion's grace and selectable fields.
Validation of the parts is in the `pod_*` modules; the Table's row is in `pod_table`.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import Column, Context, Object, Strategy
from actors.apiserver.strategies._dump import diff
from actors.apiserver.strategies._errors import (
    FieldError,
    forbidden,
    invalid,
    required,
)
from actors.apiserver.strategies._names import dns1123_label
from actors.apiserver.strategies.pod_containers import validate_image_whitespace
from actors.apiserver.strategies.pod_defaults import default_pod, mirror_service_account
from actors.apiserver.strategies.pod_qos import qos_class
from actors.apiserver.strategies.pod_scheduling import (
    node_affinity_additions,
    node_selector_additions,
    only_added_tolerations,
    only_deleted_gates,
)
from actors.apiserver.strategies.pod_security import validate_profiles_match
from actors.apiserver.strategies.pod_status import validate_status
from actors.apiserver.strategies.pod_table import COLUMNS, pod_row
from actors.apiserver.strategies.pod_validation import (
    validate_pod_annotations,
    validate_pod_spec,
)
from actors.apiserver.strategies.pod_warnings import pod_warnings

__all__ = ["PodStrategy"]

_MAX_INT32 = 2**31 - 1
_MIRROR = "kubernetes.io/config.mirror"
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_UPDATABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_CONTAINER_LISTS = ("containers", "initContainers")


class PodStrategy(Strategy):
    """Pod."""

    has_status = True
    has_generation = True
    grace_deletion = True
    standard_finalizers_only = True

    def default(self, obj: Object) -> None:
        default_pod(obj)
        if obj["spec"]["terminationGracePeriodSeconds"] < 0:
            obj["spec"]["terminationGracePeriodSeconds"] = 1

    # --- create -----------------------------------------------------------------------------

    def reset_status(self, obj: Object) -> None:
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(obj["spec"])}

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        spec = new["spec"]
        mirror_service_account(spec)
        if old is None:
            if "affinity" in spec or "topologySpreadConstraints" in spec:
                _merge_label_keys(spec, new["metadata"].get("labels") or {})
            if spec.get("schedulingGates"):
                new["status"]["conditions"] = [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "lastProbeTime": None,
                        "lastTransitionTime": None,
                        "reason": "SchedulingGated",
                        "message": "Scheduling is blocked due to non-empty scheduling gates",
                    }
                ]

    def check(self, obj: Object) -> list[FieldError]:
        errors = _check_object(self, obj)
        spec = obj["spec"]
        if "ephemeralContainers" in spec:
            errors.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
        if spec.get("nodeName") and spec.get("schedulingGates"):
            detail = "cannot be set until all schedulingGates have been cleared"
            errors.append(forbidden("spec.nodeName", detail))
        annotations = obj["metadata"].get("annotations")
        return errors + validate_profiles_match(annotations, spec, "spec") if annotations else errors

    # --- update -----------------------------------------------------------------------------

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        errors += _check_object(self, new)
        errors += _annotation_updates(new, old)
        return errors + _check_spec_update(new["spec"], old["spec"])

    def reset_for_status(self, new: Object, old: Object) -> None:
        super().reset_for_status(new, old)
        new["metadata"].pop("deletionTimestamp", None)
        owners = old["metadata"].get("ownerReferences")
        if owners is None:
            new["metadata"].pop("ownerReferences", None)
        else:
            new["metadata"]["ownerReferences"] = owners

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old) + _annotation_updates(new, old)
        return errors + validate_status(new, old)

    # --- subresources -----------------------------------------------------------------------

    def prepare_for_subresource(self, name: str, new: Object, old: Object, ctx: Context) -> None:
        if name == "ephemeralcontainers":
            _only_ephemeral(new, old)
        elif name == "resize":
            _only_resources(new, old)
        else:
            super().prepare_for_subresource(name, new, old, ctx)
            return
        self._keep_generation(new, old)
        if new["spec"] != old["spec"]:
            new["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1
        self._keep_metadata(new, old)

    def validate_subresource(self, name: str, new: Object, old: Object) -> list[FieldError]:
        if name == "ephemeralcontainers":
            return self.common_update(new, old) + _check_ephemeral(self, new, old)
        if name == "resize":
            return self.common_update(new, old) + _check_resize(self, new, old)
        return super().validate_subresource(name, new, old)

    # --- the rest ---------------------------------------------------------------------------

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        if old is not None and new["spec"] == old["spec"]:
            return []
        out = []
        name = new["metadata"].get("name", "")
        if old is None and (problems := dns1123_label(name)):
            out.append(
                "metadata.name: this is used in the Pod's hostname, which can result in surprising "
                f"behavior; a DNS label is recommended: [{' '.join(problems)}]"
            )
        return out + pod_warnings(new)

    def default_grace_s(self, obj: Object, requested_s: int | None) -> int:
        period = requested_s
        spec, status = obj["spec"], obj.get("status") or {}
        if period is None:
            period = spec.get("terminationGracePeriodSeconds", 0)
        if not spec.get("nodeName") or status.get("phase") in ("Failed", "Succeeded"):
            return 0
        return 1 if period < 0 else period

    def columns(self) -> tuple[Column, ...]:
        return COLUMNS

    def row(self, obj: Object, now: float) -> list[Any]:
        return pod_row(obj, now)

    def fields(self, obj: Object) -> dict[str, str]:
        meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
        return {
            "metadata.name": meta.get("name", ""),
            "metadata.namespace": meta.get("namespace", ""),
            "spec.nodeName": spec.get("nodeName", ""),
            "spec.restartPolicy": spec.get("restartPolicy", ""),
            "spec.schedulerName": spec.get("schedulerName", ""),
            "spec.serviceAccountName": spec.get("serviceAccountName", ""),
            "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
            "status.phase": status.get("phase", ""),
            "status.podIP": status.get("podIP", ""),
            "status.podIPs": status.get("podIP", ""),
            "status.nominatedNodeName": status.get("nominatedNodeName", ""),
        }


# --- creation -----------------------------------------------------------------------------------


def _merge_label_keys(spec: Object, labels: dict[str, str]) -> None:
    """Turn `matchLabelKeys` and `mismatchLabelKeys` into expressions over the pod's own labels
    (KEP-3633, KEP-3243), so that schedulers need not know them."""
    for kind in ("podAffinity", "podAntiAffinity"):
        affinity = (spec.get("affinity") or {}).get(kind) or {}
        for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ():
            _merge_term(term, labels)
        for weighted in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            _merge_term(weighted.get("podAffinityTerm") or {}, labels)
    for constraint in spec.get("topologySpreadConstraints") or ():
        _merge_term(constraint, labels)


def _merge_term(term: Object, labels: dict[str, str]) -> None:
    selector = term.get("labelSelector")
    if selector is None:
        return
    for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        for key in term.get(field) or ():
            if key in labels:
                selector.setdefault("matchExpressions", []).append(
                    {"key": key, "operator": operator, "values": [labels[key]]}
                )


def _check_object(strategy: Strategy, pod: Object) -> list[FieldError]:
    """Metadata and spec, on create as on each update."""
    meta, spec = pod["metadata"], pod["spec"]
    errors = strategy.check_meta(pod)
    if annotations := meta.get("annotations"):
        errors += validate_pod_annotations(annotations, spec, "metadata.annotations")
    errors += validate_pod_spec(spec, "spec", meta)
    if not spec.get("serviceAccountName"):
        errors += _tokens_without_account(spec)
    for key in _CONTAINER_LISTS:
        for index, container in enumerate(spec.get(key) or ()):
            if container.get("image", "")[:1].isspace() or container.get("image", "")[-1:].isspace():
                errors += validate_image_whitespace(container, f"spec.{key}[{index}]")
    return errors


def _tokens_without_account(spec: Object) -> list[FieldError]:
    detail = "must not be specified when serviceAccountName is not set"
    return [
        forbidden(f"spec.volumes[{index}].projected.sources[{number}].serviceAccountToken", detail)
        for index, volume in enumerate(spec.get("volumes") or ())
        for number, source in enumerate((volume.get("projected") or {}).get("sources") or ())
        if "serviceAccountToken" in source
    ]


# --- update -------------------------------------------------------------------------------------


def _annotation_updates(new: Object, old: Object) -> list[FieldError]:
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
        if key == _MIRROR:
            errors.append(forbidden(at, "may not remove or update mirror pod annotation"))
    for key in now:
        if key in was:
            continue
        at = f"metadata.annotations[{key}]"
        if key.startswith(_APP_ARMOR):
            errors.append(forbidden(at, "may not add AppArmor annotations"))
        if key == _MIRROR:
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


def _check_spec_update(new: Object, old: Object) -> list[FieldError]:
    """What an update may change: images, the deadline, tolerations, gates."""
    errors: list[FieldError] = []
    for key in _CONTAINER_LISTS:
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


def _take(target: Object, source: Object, key: str) -> None:
    if key in source:
        target[key] = source[key]
    else:
        target.pop(key, None)


def _with_allowed_changes_undone(new: Object, old: Object) -> Object:
    munged = dict(new)
    for key in _CONTAINER_LISTS:
        if key in new:
            munged[key] = [
                {**container, "image": before.get("image", "")}
                for container, before in zip(new[key], old.get(key) or [], strict=False)
            ]
    for key in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        _take(munged, old, key)
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
        _take(munged, old, "nodeSelector")
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


# --- ephemeral containers and resize ------------------------------------------------------------


def _identity(new: Object, old: Object) -> None:
    """Everything as stored but name, uid and version, which the client may have set."""
    meta = dict(old["metadata"])
    for key in ("name", "namespace", "uid", "resourceVersion"):
        if new["metadata"].get(key):
            meta[key] = new["metadata"][key]
    _take(meta, new["metadata"], "managedFields")
    new["metadata"] = meta
    if "status" in old:
        new["status"] = old["status"]


def _only_ephemeral(new: Object, old: Object) -> None:
    containers = new["spec"].get("ephemeralContainers")
    spec = dict(old["spec"])
    if containers:
        spec["ephemeralContainers"] = containers
    else:
        spec.pop("ephemeralContainers", None)
    new["spec"] = spec
    _identity(new, old)


def _check_ephemeral(strategy: PodStrategy, new: Object, old: Object) -> list[FieldError]:
    errors = strategy.check_meta_update(new, old) + _check_object(strategy, new)
    errors += _annotation_updates(new, old)
    if _MIRROR in (old["metadata"].get("annotations") or {}):
        return [forbidden("", "static pods do not support ephemeral containers")]
    now = {c.get("name"): c for c in new["spec"].get("ephemeralContainers") or ()}
    at = "spec.ephemeralContainers"
    for container in old["spec"].get("ephemeralContainers") or ():
        name = container.get("name", "")
        if name not in now:
            detail = f'existing ephemeral containers "{name}" may not be removed\n'
            errors.append(forbidden(at, detail))
        elif now[name] != container:
            changes = diff("core.EphemeralContainer", container, now[name])
            detail = f'existing ephemeral containers "{name}" may not be changed\n{changes}'
            errors.append(forbidden(at, detail))
    return errors


def _only_resources(new: Object, old: Object) -> None:
    lists = {key: (new["spec"].get(key) or [], old["spec"].get(key) or []) for key in _CONTAINER_LISTS}
    if any(len(now) != len(was) for now, was in lists.values()):
        return
    spec = dict(old["spec"])
    for key, (now, was) in lists.items():
        if not was:
            continue
        if any(a.get("name") != b.get("name") for a, b in zip(now, was, strict=True)):
            spec[key] = now
            continue
        merged = []
        for container, before in zip(now, was, strict=True):
            out = dict(before)
            _take(out, container, "resources")
            _take(out, container, "resizePolicy")
            merged.append(out)
        spec[key] = merged
    if "resources" in new["spec"]:
        spec["resources"] = new["spec"]["resources"]
    new["spec"] = spec
    _identity(new, old)


def _check_order(new: Object, old: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in _CONTAINER_LISTS:
        now, was = new.get(key) or [], old.get(key) or []
        if len(now) != len(was):
            errors.append(forbidden(f"spec.{key}", f"{key} may not be added or removed on resize"))
            continue
        for index, container in enumerate(was):
            if now[index].get("name") != container.get("name"):
                detail = f"{key} may not be renamed or reordered on resize"
                errors.append(forbidden(f"spec.{key}[{index}].name", detail))
    return errors


def _check_removed(new: Object, old: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    now, was = new.get("resources") or {}, old.get("resources") or {}
    for kind in ("requests", "limits"):
        before, after = was.get(kind) or {}, now.get(kind) or {}
        if any(name not in after for name in before):
            errors.append(forbidden(f"{path}.resources.{kind}", f"resource {kind} cannot be removed"))
    return errors


def _without_cpu_memory(new: Object, old: Object) -> Object:
    """A container with the old one's cpu and memory, to see whether anything else changed."""
    out = dict(new)
    resources: Object = {}
    for kind in ("limits", "requests"):
        before = (old.get("resources") or {}).get(kind)
        if before is None:
            continue
        after = dict((new.get("resources") or {}).get(kind) or {})
        for name in ("cpu", "memory"):
            _take(after, before, name)
        resources[kind] = after
    out["resources"] = resources
    return out


def _check_resize(strategy: PodStrategy, new: Object, old: Object) -> list[FieldError]:
    """In-place resize of cpu and memory (KEP-1287)."""
    errors = strategy.check_meta_update(new, old) + _check_object(strategy, new)
    if _MIRROR in (old["metadata"].get("annotations") or {}):
        return [forbidden("", "static pods cannot be resized")]
    spec, before = new["spec"], old["spec"]
    if (before.get("os") or {}).get("name") == "windows":
        return [forbidden("", "windows pods cannot be resized")]
    status = old.get("status") or {}
    was = status.get("qosClass") or qos_class(before)
    if was != qos_class(spec):
        detail = "Pod QOS Class may not change as a result of resizing"
        errors.append(invalid("spec", was, detail))
    for container in status.get("containerStatuses") or ():
        if "running" in (container.get("state") or {}):
            if "resources" not in container:
                detail = "Pod running on node without support for resize"
                errors.append(forbidden("spec", detail))
            break
    if order := _check_order(spec, before):
        return errors + order
    for index, container in enumerate(before.get("initContainers") or ()):
        if container.get("restartPolicy") == "Always":
            now = spec["initContainers"][index]
            errors += _check_removed(now, container, f"spec.initContainers[{index}]")
    for index, container in enumerate(before.get("containers") or ()):
        errors += _check_removed(spec["containers"][index], container, f"spec.containers[{index}]")
    errors += _check_other_changes(spec, before)
    return errors


def _check_other_changes(spec: Object, before: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    for now, was in zip(spec.get("containers") or (), before.get("containers") or (), strict=False):
        if not _same(_without_cpu_memory(now, was), was):
            errors.append(forbidden("spec", "only cpu and memory resources are mutable"))
    inits = zip(spec.get("initContainers") or (), before.get("initContainers") or (), strict=False)
    for now, was in inits:
        if was.get("restartPolicy") == "Always":
            if not _same(_without_cpu_memory(now, was), was):
                detail = "only cpu and memory resources for sidecar containers are mutable"
                errors.append(forbidden("spec", detail))
        elif now != was:
            detail = "resources for non-sidecar init containers are immutable"
            errors.append(forbidden("spec", detail))
    return errors


def _same(one: Object, two: Object) -> bool:
    def tidy(container: Object) -> Object:
        resources = {k: v for k, v in (container.get("resources") or {}).items() if v}
        return {**container, "resources": resources}

    return one == two or tidy(one) == tidy(two)
