"""Resources that are computed, not stored: component statuses, bindings, and reviews, which are next
door (`_reviews`).
"""

from __future__ import annotations

from typing import Any

from actors.apiserver import _parts as parts
from actors.apiserver._core import Answer, Core
from actors.apiserver._options import check_write_options
from actors.apiserver._request import Request
from protocol import status

__all__ = ["virtual"]

Object = dict[str, Any]
_COMPONENTS = (("scheduler", "ok"), ("controller-manager", "ok"), ("etcd-0", "ok"))


async def virtual(core: Core, request: Request) -> Answer:
    """Answer a request for something that is computed."""
    kind = request.served.kind
    if kind.kind == "ComponentStatus":
        return _component_statuses(request)
    if kind.kind == "Binding":
        from actors.apiserver._subresources import bind

        return await bind(core, request)
    check_write_options("CreateOptions", request.options)
    obj = parts.decode(core, request, request.body)
    if kind.namespaced:
        found = obj["metadata"].get("namespace")
        if found and found != request.namespace:
            raise status.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        obj["metadata"]["namespace"] = request.namespace
    parts.own(core, request, obj, None)
    from actors.apiserver._reviews import review

    return Answer(request.served, obj=await review(core, request, kind.kind, obj), code=201)


def _component_statuses(request: Request) -> Answer:
    items = [_component(name, message) for name, message in _COMPONENTS]
    if request.verb == "get":
        for item in items:
            if item["metadata"]["name"] == request.name:
                return Answer(request.served, obj=item)
        raise status.not_found("", "componentstatus", request.name)
    bare = [{k: v for k, v in item.items() if k not in ("kind", "apiVersion")} for item in items]
    obj = {"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": bare}
    return Answer(request.served, obj=obj)


def _component(name: str, message: str) -> Object:
    condition = {"type": "Healthy", "status": "True", "message": message}
    return {"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [condition]}
