"""DefaultBinder: makes the binding, through the pod's `binding` subresource."""

from __future__ import annotations

from actors.scheduler._framework import Cycle, Plugin
from actors.scheduler._status import SKIP, SUCCESS, Code, Status
from protocol.api import StatusError

__all__ = ["DefaultBinder"]


class DefaultBinder(Plugin):
    name = "DefaultBinder"

    async def bind(self, cycle: Cycle, node_name: str) -> Status:
        client = self.handle.client
        if client is None:
            return SKIP
        pod = cycle.pod
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
            "target": {"kind": "Node", "name": node_name},
        }
        try:
            await client.create("pods", binding, pod.namespace, name=pod.name, subresource="binding")
        except StatusError as error:
            return Status(Code.ERROR, (error.message,), self.name)
        return SUCCESS
