"""The scale subresource: a replica count as an object of its own.

Owns the translation between an object and its Scale, for the built-in workloads and for custom
resources that declare the paths.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver import _write, managedfields
from actors.apiserver._core import Answer, Core, copy
from actors.apiserver._options import APPLY, check_write_options
from actors.apiserver._request import Request, truthy
from actors.apiserver._resources import Served
from actors.apiserver.fieldvalidation import decode
from actors.apiserver.patch import apply_patch
from actors.apiserver.strategies import FieldError
from protocol import status
from protocol.selectors import selector_of

__all__ = ["scale", "scale_of"]

Object = dict[str, Any]
_GVK = ("autoscaling", "v1", "Scale")


class Paths:
    """Where a resource keeps what its Scale shows."""

    def __init__(self, spec: tuple[str, ...], count: tuple[str, ...], selector: tuple[str, ...]) -> None:
        self.spec = spec
        self.count = count
        self.selector = selector


_BUILTIN = Paths(("spec", "replicas"), ("status", "replicas"), ("spec", "selector"))


def paths_of(served: Served) -> Paths:
    """The paths of a resource."""
    if served.custom is None:
        return _BUILTIN
    found = served.custom.scale(served)
    return Paths(*(tuple(path.strip(".").split(".")) if path else () for path in found))


def _dig(obj: Object, path: tuple[str, ...]) -> Any:
    value: Any = obj
    for word in path:
        if not isinstance(value, dict):
            return None
        value = value.get(word)
    return value


def _selector_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    if value and not ({"matchLabels", "matchExpressions"} & set(value)):  # a replication controller's map
        return ",".join(f"{k}={v}" for k, v in sorted(value.items()))
    return str(selector_of(value)) if value else ""


def scale_of(served: Served, obj: Object) -> Object:
    """The Scale of an object."""
    paths = paths_of(served)
    metadata = obj["metadata"]
    shown = {
        key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp") if key in metadata
    }
    wanted = _dig(obj, paths.spec)
    spec = {"replicas": wanted} if wanted else {}
    found: Object = {"replicas": _dig(obj, paths.count) or 0}
    selector = _selector_text(_dig(obj, paths.selector)) if paths.selector else ""
    if selector:
        found["selector"] = selector
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": shown, "spec": spec, "status": found}


async def scale(core: Core, request: Request) -> Answer:
    """GET, PUT and PATCH of a Scale."""
    served: Served = request.served
    namespace = request.namespace if served.kind.namespaced else ""
    if request.verb == "get":
        entry = served.cache.get(namespace, request.name)
        if entry is None:
            raise status.not_found(served.kind.group, served.kind.resource, request.name)
        await served.prepare([entry])
        return _answer(core, served, entry.view(served.kind.api_version, served.from_storage).object)
    kind = "UpdateOptions" if request.verb == "update" else "PatchOptions"
    check_write_options(kind, request.options, request.content_type if request.verb == "patch" else "")
    body = _decoded(core, request, request.body) if request.verb == "update" else None

    async def transform(old: Object | None) -> Object:
        assert old is not None
        wanted = body if body is not None else _patched(core, request, scale_of(served, old))
        return _with_scale(core, request, old, wanted)

    answer = await _write.update_loop(core, request, transform, own=False)
    if answer.entry is not None:
        await served.prepare([answer.entry])
    return _answer(core, served, answer.value())


def _answer(core: Core, served: Served, obj: Object) -> Answer:
    from actors.apiserver._resources import Served as Table
    from protocol.kinds import Kind

    kind = Kind("autoscaling", "v1", "Scale", "scales", "scale", served.kind.namespaced, stored=False)
    return Answer(Table(kind, served.cache, strategy=_strategy(kind)), obj=scale_of(served, obj))


def _strategy(kind: Any) -> Any:
    from actors.apiserver.strategies import Column, Strategy

    class ScaleStrategy(Strategy):
        """Only the columns of a Scale."""

        def columns(self) -> tuple[Column, ...]:
            """Name, desired, available, age."""
            return (
                Column("Name", "string", "", "The name of the scaled object."),
                Column("Desired", "integer", "", "The number of replicas that are wanted."),
                Column("Available", "integer", "", "The number of replicas that were seen."),
                Column("Age", "string", "", "The age of the scaled object."),
            )

        def row(self, obj: Object, now: float) -> list[Any]:
            """One row."""
            return [
                obj["metadata"].get("name", ""), obj["spec"].get("replicas", 0), obj["status"]["replicas"],
                self.age(obj, now),
            ]

    return ScaleStrategy(kind)


def _decoded(core: Core, request: Request, body: Any) -> Object:
    directive = request.options.get("fieldValidation") or "Warn"
    obj, warnings = decode(core.schema, _GVK, body, directive, request.content_type)
    request.warnings += warnings
    return obj


def _patched(core: Core, request: Request, current: Object) -> Object:
    directive = request.options.get("fieldValidation") or "Warn"
    if request.content_type == APPLY:
        config, warnings = managedfields.read_config(request.body, directive)
        request.warnings += warnings
        return {**current, "spec": {**current["spec"], **(config.get("spec") or {})}}
    obj, warnings = apply_patch(
        request.content_type, core.schema.by_gvk(*_GVK), current, request.body, directive
    )
    request.warnings += warnings
    return obj


def _with_scale(core: Core, request: Request, old: Object, wanted: Object) -> Object:
    served: Served = request.served
    replicas = (wanted.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        error = FieldError(
            "FieldValueInvalid", "spec.replicas", f"Invalid value: {replicas}: must be greater than or equal to 0"
        )
        raise status.invalid("autoscaling", "Scale", request.name, [error])
    metadata = wanted.get("metadata") or {}
    if metadata.get("uid") and metadata["uid"] != old["metadata"].get("uid"):
        raise status.conflict(
            served.kind.group, served.kind.resource, request.name,
            f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {old['metadata'].get('uid')}",
        )
    paths = paths_of(served)
    new = copy(old)
    target = new
    for word in paths.spec[:-1]:
        target = target.setdefault(word, {})
    changed = target.get(paths.spec[-1]) != replicas
    target[paths.spec[-1]] = replicas
    new["metadata"]["resourceVersion"] = metadata.get("resourceVersion") or ""
    applying = request.content_type == APPLY
    owners = old["metadata"].get("managedFields") or []
    fields = [f"f:{word}" for word in paths.spec]
    if not applying and not any(_owns(entry.get("fieldsV1"), fields) for entry in owners):
        return new  # nobody's count: a Scale that nobody has tracked stays untracked
    if not replicas and changed:  # a Scale of zero has no count that could be owned
        new["metadata"]["managedFields"] = [e for e in (_disowned(entry, fields) for entry in copy({"e": owners})["e"]) if e]
        return new
    entries = managedfields.scale_entries(
        old,
        request.manager,
        api_version=served.kind.api_version,
        changed=changed,
        operation="Apply" if applying else "Update",
        force=truthy(request.options.get("force")),
        path=paths.spec,
    )
    if entries is not None:
        new["metadata"]["managedFields"] = entries
    return new


def _owns(fields: Object | None, path: list[str]) -> bool:
    for word in path:
        if not isinstance(fields, dict) or word not in fields:
            return False
        fields = fields[word]
    return True


def _disowned(entry: Object, path: list[str]) -> Object | None:
    """A manager's entry without a field; None when nothing is left of it."""
    trail = [entry.get("fieldsV1") or {}]
    for word in path:
        if word not in trail[-1]:
            return entry
        trail.append(trail[-1][word])
    for parent, word in zip(reversed(trail[:-1]), reversed(path), strict=True):
        del parent[word]
        if parent:
            break
    return entry if entry.get("fieldsV1") else None
