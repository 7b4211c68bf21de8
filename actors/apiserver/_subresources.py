"""Subresources: which one is handled where, and the small ones.

Owns `status`, `ephemeralcontainers`, `resize`, `approval` and `finalize` (writes of the object
itself under other rules) and `binding`. The larger ones have modules of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.apiserver import _read, _write
from actors.apiserver._core import Answer, Core
from actors.apiserver._options import check_write_options
from actors.apiserver._request import Request
from actors.apiserver._resources import Served
from actors.apiserver._store import Superseded
from actors.apiserver.admission import CREATE, Attributes
from actors.apiserver.fieldvalidation import decode
from actors.apiserver.strategies import FieldError
from protocol import status
from protocol.api import StatusError
from protocol.kinds import Kind

__all__ = ["admitted", "bind", "subresource"]

Object = dict[str, Any]


async def subresource(core: Core, request: Request) -> Answer:
    """Run a request to a subresource."""
    name = request.subresource
    if name == "scale":
        from actors.apiserver._scale import scale

        return await scale(core, request)
    if name == "binding":
        return await bind(core, request)
    if name == "eviction":
        from actors.apiserver._eviction import evict

        return await evict(core, request)
    if name == "token":
        from actors.apiserver._tokens import token_request

        return await token_request(core, request)
    if name in ("log", "exec", "attach", "portforward", "proxy"):
        from actors.apiserver._podproxy import in_process

        return await in_process(core, request)
    if request.verb == "get":
        return await _read.get(core, request)
    if request.verb == "update":
        return await _write.update(core, request)
    return await _write.patch(core, request)


async def admitted(
    core: Core, request: Request, kind: Kind, name: str, subresource: str, obj: Object, operation: str = CREATE
) -> None:
    """Ask admission about an object that is sent to a subresource and never stored. Raises `StatusError`."""
    attributes = Attributes(
        operation, kind, request.namespace, name, subresource, obj, None, request.user, core, request.dry_run,
        request.options,
    )
    attributes.report_to(request)
    await core.chain.admit(attributes)
    await core.chain.validate(attributes)


# --- binding ------------------------------------------------------------------------------------


async def bind(core: Core, request: Request) -> Answer:
    """POST of a Binding: give a pod its node."""
    check_write_options("CreateOptions", request.options)
    binding, warnings = decode(
        core.schema, ("", "v1", "Binding"), request.body, request.options.get("fieldValidation") or "Warn",
        request.content_type,
    )
    request.warnings += warnings
    metadata, target = binding.get("metadata") or {}, binding.get("target") or {}
    name = request.name or metadata.get("name", "")
    if metadata.get("name") and metadata["name"] != name:
        raise status.bad_request("name in URL does not match name in Binding object")
    _check_target(name, target)
    pods = core.resources.get("", "v1", "pods")
    assert pods is not None
    await admitted(core, request, pods.kind, name, "binding", binding)
    while True:
        entry = pods.cache.get(request.namespace, name)
        if entry is None:
            raise status.not_found("", "pods", name)
        bound = _assigned(core, pods, entry.object, target["name"], metadata)
        if request.dry_run:
            break
        try:
            await core.store.update(pods.cache, entry, bound)
            break
        except Superseded:
            continue
    return Answer(obj=status.success(code=201), code=201)


def _check_target(name: str, target: Object) -> None:
    errors = []
    if target.get("kind") not in (None, "", "Node"):
        errors.append(
            FieldError(
                "FieldValueNotSupported", "target.kind",
                f'Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"',
            )
        )
    if not target.get("name"):
        errors.append(FieldError("FieldValueRequired", "target.name", "Required value"))
    if errors:
        raise status.invalid("", "Binding", name, errors)


def _assigned(core: Core, pods: Served, old: Object, node: str, wanted: Object) -> Object:
    metadata, spec = old["metadata"], old.get("spec") or {}
    name = metadata["name"]
    if wanted.get("uid") and wanted["uid"] != metadata["uid"]:
        raise _refused(
            name, f"Precondition failed: UID in precondition: {wanted['uid']}, UID in object meta: {metadata['uid']}"
        )
    if wanted.get("resourceVersion") and wanted["resourceVersion"] != metadata["resourceVersion"]:
        raise _refused(
            name,
            f"Precondition failed: ResourceVersion in precondition: {wanted['resourceVersion']}, "
            f"ResourceVersion in object meta: {metadata['resourceVersion']}",
        )
    if metadata.get("deletionTimestamp"):
        raise _refused(name, f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise _refused(name, f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    if spec.get("schedulingGates"):
        raise _refused(name, f"pod {name} has non-empty .spec.schedulingGates")
    # Only what changes is new; the rest is shared with the revision before.
    meta = dict(metadata)
    state = dict(old.get("status") or {})
    if core.config.minor >= 35:
        # What a pod hoped for is over once it has a node (KEP-5278, on by default since 1.35).
        state.pop("nominatedNodeName", None)
    if wanted.get("annotations"):
        meta["annotations"] = {**(meta.get("annotations") or {}), **wanted["annotations"]}
    if wanted.get("labels"):
        topology = {k: v for k, v in wanted["labels"].items() if k in _TOPOLOGY}
        meta["labels"] = {**(meta.get("labels") or {}), **topology}
    state["conditions"] = _scheduled(core, state.get("conditions") or (), metadata.get("generation", 1))
    return {**old, "metadata": meta, "spec": {**spec, "nodeName": node}, "status": state}


_TOPOLOGY = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


def _scheduled(core: Core, conditions: Sequence[Object], generation: int) -> list[Object]:
    """A pod's conditions with `PodScheduled` true."""
    now = core.clock.rfc3339()
    found = next((c for c in conditions if c.get("type") == "PodScheduled"), None)
    if found is None:
        made = {
            "type": "PodScheduled",
            "observedGeneration": generation,
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": now,
        }
        return [*conditions, made]
    kept = {key: value for key, value in found.items() if key not in ("reason", "message")}
    if found.get("status") != "True":
        kept["lastTransitionTime"] = now
    kept["status"] = "True"
    kept["observedGeneration"] = generation
    return [kept if c is found else c for c in conditions]


def _refused(name: str, why: str) -> StatusError:
    return status.conflict("", "pods/binding", name, why)
