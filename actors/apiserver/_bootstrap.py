"""What every cluster has from its first second: namespaces, roles, priority classes and the like.

Owns the list of these objects. Each is created when it is missing and never overwritten, so what an
administrator changed stays changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.apiserver._request import Request
from actors.apiserver._write import create
from protocol.api import StatusError, UserInfo

if TYPE_CHECKING:
    from actors.apiserver._server import ApiServer

__all__ = ["SELF", "bootstrap"]

Object = dict[str, Any]
SELF = UserInfo("system:apiserver", ("system:masters", "system:authenticated"))
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


async def bootstrap(server: ApiServer) -> None:
    """Create what is missing."""
    for name in _NAMESPACES:
        await ensure(server, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def ensure(server: ApiServer, obj: Object, manager: str = "kube-apiserver") -> None:
    """Create one object unless there is one of its name."""
    core = server.core
    group, _, version = obj["apiVersion"].rpartition("/")
    served = core.resources.by_kind(group, version, obj["kind"])
    if served is None:
        return
    metadata = obj["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    if served.cache.get(namespace, name) is not None:
        return
    request = Request(
        "create", served, namespace, "", "", {"fieldManager": manager}, obj, "application/json", SELF, manager
    )
    try:
        await create(core, request)
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise
