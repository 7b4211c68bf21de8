"""Ephemeral containers and resizing: the subresources that change a pod's containers.

Owns what such a request may touch and the rules for it.
"""

from __future__ import annotations

from actors.apiserver.strategies._base import Object, Strategy
from actors.apiserver.strategies._dump import diff
from actors.apiserver.strategies._errors import FieldError, forbidden, invalid
from actors.apiserver.strategies.pod_object import CONTAINER_LISTS, MIRROR, check_object
from actors.apiserver.strategies.pod_qos import qos_class
from actors.apiserver.strategies.pod_updates import annotation_updates, take

__all__ = ["check_ephemeral", "check_resize", "only_ephemeral", "only_resources"]



def _identity(new: Object, old: Object) -> None:
    """Everything as stored but name, uid and version, which the client may have set."""
    meta = dict(old["metadata"])
    for key in ("name", "namespace", "uid", "resourceVersion"):
        if new["metadata"].get(key):
            meta[key] = new["metadata"][key]
    take(meta, new["metadata"], "managedFields")
    new["metadata"] = meta
    if "status" in old:
        new["status"] = old["status"]


def only_ephemeral(new: Object, old: Object) -> None:
    """Keep nothing of a request but its ephemeral containers, in place."""
    containers = new["spec"].get("ephemeralContainers")
    spec = dict(old["spec"])
    if containers:
        spec["ephemeralContainers"] = containers
    else:
        spec.pop("ephemeralContainers", None)
    new["spec"] = spec
    _identity(new, old)


def check_ephemeral(strategy: Strategy, new: Object, old: Object) -> list[FieldError]:
    """All errors of a request to `ephemeralcontainers`."""
    errors = strategy.check_meta_update(new, old) + check_object(strategy, new)
    errors += annotation_updates(new, old)
    if MIRROR in (old["metadata"].get("annotations") or {}):
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


def only_resources(new: Object, old: Object) -> None:
    """Keep nothing of a request but resources and resize policies, in place."""
    lists = {key: (new["spec"].get(key) or [], old["spec"].get(key) or []) for key in CONTAINER_LISTS}
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
            take(out, container, "resources")
            take(out, container, "resizePolicy")
            merged.append(out)
        spec[key] = merged
    if "resources" in new["spec"]:
        spec["resources"] = new["spec"]["resources"]
    new["spec"] = spec
    _identity(new, old)


def _check_order(new: Object, old: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in CONTAINER_LISTS:
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
            take(after, before, name)
        resources[kind] = after
    out["resources"] = resources
    return out


def check_resize(strategy: Strategy, new: Object, old: Object) -> list[FieldError]:
    """In-place resize of cpu and memory (KEP-1287)."""
    errors = strategy.check_meta_update(new, old) + check_object(strategy, new)
    if MIRROR in (old["metadata"].get("annotations") or {}):
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
