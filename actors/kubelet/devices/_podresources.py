"""podresources: who has which devices and cores, over gRPC on a unix socket for monitoring agents.

https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/#monitoring-device-plugin-resources
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from actors.kernel import Ref, ThreadActor
from actors.kubelet.devices._messages import ListPodResources
from actors.kubelet.devices._wire import message

__all__ = ["PodResources"]

ASK_S = 10.0
STOP_S = 1.0


class PodResources(ThreadActor):
    """Serves `<directory>/kubelet.sock`."""

    def __init__(self, directory: Path, kubelet: Ref) -> None:
        super().__init__()
        self.socket = directory / "kubelet.sock"
        self.kubelet = kubelet

    def on_start(self) -> None:
        """Listen. Raises: OSError."""
        import grpc

        self.socket.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        with contextlib.suppress(FileNotFoundError):
            self.socket.unlink()
        methods = {
            "List": (self._list, "ListPodResourcesRequest", "ListPodResourcesResponse"),
            "Get": (self._get, "GetPodResourcesRequest", "GetPodResourcesResponse"),
            "GetAllocatableResources": (
                self._allocatable, "AllocatableResourcesRequest", "AllocatableResourcesResponse",
            ),
        }  # fmt: skip
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                answer,
                request_deserializer=message(f"v1.{asked}").FromString,
                response_serializer=message(f"v1.{told}").SerializeToString,
            )
            for name, (answer, asked, told) in methods.items()
        }
        self.server = grpc.server(ThreadPoolExecutor(2, "pod-resources"))
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1.PodResourcesLister", handlers),))
        self.server.add_insecure_port(f"unix://{self.socket}")
        self.server.start()

    def on_stop(self) -> None:
        self.server.stop(STOP_S).wait(STOP_S)
        with contextlib.suppress(OSError):
            self.socket.unlink()

    def _told(self) -> Any:
        return self.kubelet.ask(ListPodResources(), timeout=ASK_S)

    def _list(self, request: Any, context: Any) -> Any:
        pods = [_pod(*entry) for entry in self._told()["pods"]]
        return message("v1.ListPodResourcesResponse")(pod_resources=pods)

    def _get(self, request: Any, context: Any) -> Any:
        import grpc

        for namespace, name, containers in self._told()["pods"]:
            if (namespace, name) == (request.pod_namespace, request.pod_name):
                return message("v1.GetPodResourcesResponse")(pod_resources=_pod(namespace, name, containers))
        text = f"pod {request.pod_name} in namespace {request.pod_namespace} not found"
        context.abort(grpc.StatusCode.UNKNOWN, text)
        return None

    def _allocatable(self, request: Any, context: Any) -> Any:
        told = self._told()
        return message("v1.AllocatableResourcesResponse")(devices=_devices(told["devices"]), cpu_ids=told["cpus"])


def _devices(by_resource: Any) -> list[Any]:
    kind = message("v1.ContainerDevices")
    return [kind(resource_name=resource, device_ids=ids) for resource, ids in sorted(by_resource.items())]


def _pod(namespace: str, name: str, containers: Any) -> Any:
    kind, claim_kind = message("v1.ContainerResources"), message("v1.DynamicResource")
    one = message("v1.ClaimResource")
    shown = []
    for container, devices, cpus, claims in containers:
        dynamic = [
            claim_kind(
                claim_name=claim["metadata"]["name"],
                claim_namespace=claim["metadata"].get("namespace", ""),
                claim_resources=[
                    one(driver_name=r.get("driver", ""), pool_name=r.get("pool", ""), device_name=r.get("device", ""))
                    for r in (((claim.get("status") or {}).get("allocation") or {}).get("devices") or {}).get("results")
                    or ()
                ],
            )
            for claim in claims
        ]
        shown.append(kind(name=container, devices=_devices(devices), cpu_ids=cpus, dynamic_resources=dynamic))
    return message("v1.PodResources")(name=name, namespace=namespace, containers=shown)
