"""The default FlowSchemas and PriorityLevelConfigurations are kept as they should be.

The mandatory ones (`exempt`, `catch-all`) always are; the suggested ones come back when they are
deleted, and follow their defaults until an administrator takes the annotation away. Also owns the
condition `Dangling` of schemas.

https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#maintenance-of-the-mandatory-and-suggested-configuration-objects
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.apiserver._bootstrap_flow import flow_objects
from protocol.api import StatusError

if TYPE_CHECKING:
    from actors.apiserver._core import Core

__all__ = ["keep_defaults"]

Object = dict[str, Any]
GROUP = "flowcontrol.apiserver.k8s.io"
_RESOURCES = {"FlowSchema": "flowschemas", "PriorityLevelConfiguration": "prioritylevelconfigurations"}
_MANDATORY = ("exempt", "catch-all")
_AUTO = "apf.kubernetes.io/autoupdate-spec"


async def keep_defaults(core: Core) -> None:
    """Create what is missing, mend what was changed, say which schemas dangle."""
    if not core.config.bootstrap:
        return
    now = core.clock.rfc3339()
    try:
        for wanted in flow_objects(now):
            name, resource = wanted["metadata"]["name"], _RESOURCES[wanted["kind"]]
            found = core.get(GROUP, resource, "", name)
            if found is None:
                await _create(core, resource, wanted, now)
            elif found.get("spec") != wanted["spec"] and _ours(found, name):
                await core.update(GROUP, resource, "", name, _mending(wanted["spec"]))
        for schema in list(core.list(GROUP, "flowschemas")):
            await _tell_dangling(core, schema, now)
    except StatusError:
        return  # storage is away; the next round tries again


def _ours(found: Object, name: str) -> bool:
    if name in _MANDATORY:
        return True
    auto = (found["metadata"].get("annotations") or {}).get(_AUTO)
    return auto == "true" or (auto is None and found["metadata"].get("generation") == 1)


def _mending(spec: Object) -> Any:
    def mend(obj: Object) -> Object:
        obj["spec"] = spec
        obj["metadata"]["generation"] = int(obj["metadata"].get("generation") or 1) + 1
        return obj

    return mend


async def _create(core: Core, resource: str, wanted: Object, now: str) -> None:
    from actors.apiserver._bootstrap import owned_flow_object
    from actors.apiserver._store import Superseded

    served = core.resources.get(GROUP, "v1", resource)
    if served is None:
        return
    obj = owned_flow_object(core, wanted)
    obj["metadata"]["uid"], obj["metadata"]["creationTimestamp"] = core.uid(), now
    try:
        await core.store.create(served.cache, served.key("", obj["metadata"]["name"]), served.stored(obj), 0)
    except Superseded:
        return


async def _tell_dangling(core: Core, schema: Object, now: str) -> None:
    level = ((schema.get("spec") or {}).get("priorityLevelConfiguration") or {}).get("name", "")
    there = core.get(GROUP, "prioritylevelconfigurations", "", level) is not None
    said = 'and it exists' if there else 'but there is no such object'
    message = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}" {said}'
    wanted = {"type": "Dangling", "status": "False" if there else "True", "reason": "Found" if there else "NotFound",
              "message": message}
    conditions = (schema.get("status") or {}).get("conditions") or []
    current: Object = next((one for one in conditions if one.get("type") == "Dangling"), {})
    if all(current.get(key) == value for key, value in wanted.items()):
        return

    def tell(obj: Object) -> Object:
        others = [c for c in (obj.get("status") or {}).get("conditions") or [] if c.get("type") != "Dangling"]
        moved = now if current.get("status") != wanted["status"] else current.get("lastTransitionTime", now)
        made = {"type": "Dangling", "status": wanted["status"], "lastTransitionTime": moved,
                "reason": wanted["reason"], "message": message}
        obj["status"] = {**(obj.get("status") or {}), "conditions": [*others, made]}
        return obj

    await core.update(GROUP, "flowschemas", "", schema["metadata"]["name"], tell)
