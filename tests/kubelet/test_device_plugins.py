"""A device plugin of its own process' kind: gRPC over unix sockets, as real ones speak it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from actors.apiserver import ApiServer, ApiServerConfig
from actors.client import OutsideClient
from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Child, LiveSystem
from actors.kubelet import KubeletConfig, SimulatedNode
from actors.kubelet.devices._wire import message
from actors.runtime import Machine, SimulatedRuntime

grpc = pytest.importorskip("grpc")
GPU = "vendor.example/gpu"
Object = dict[str, Any]


class Plugin:
    """Lists devices, and wants its containers to have a variable, a mount and a device node."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "gpu.sock"
        self.devices = {"a": "Healthy", "b": "Healthy"}
        self.calls: list[tuple[str, Any]] = []
        self.version = 0
        self.over = False

    def serve(self) -> None:
        names = {
            "Allocate": ("AllocateRequest", "AllocateResponse", self.allocate),
            "GetPreferredAllocation": ("PreferredAllocationRequest", "PreferredAllocationResponse", self.prefer),
            "PreStartContainer": ("PreStartContainerRequest", "PreStartContainerResponse", self.pre_start),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                answer,
                request_deserializer=message(f"v1beta1.{asked}").FromString,
                response_serializer=message(f"v1beta1.{told}").SerializeToString,
            )
            for name, (asked, told, answer) in names.items()
        }
        handlers["ListAndWatch"] = grpc.unary_stream_rpc_method_handler(
            self.watch,
            request_deserializer=message("v1beta1.Empty").FromString,
            response_serializer=message("v1beta1.ListAndWatchResponse").SerializeToString,
        )
        self.server = grpc.server(ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1beta1.DevicePlugin", handlers),))
        self.server.add_insecure_port(f"unix://{self.socket}")
        self.server.start()

    def stop(self) -> None:
        self.over = True
        self.server.stop(0).wait()

    def watch(self, request: Any, context: Any) -> Iterator[Any]:
        told = None
        while context.is_active() and not self.over:
            if told != self.devices:
                told = dict(self.devices)
                kind = message("v1beta1.Device")
                yield message("v1beta1.ListAndWatchResponse")(devices=[kind(ID=i, health=h) for i, h in told.items()])
            time.sleep(0.02)

    def allocate(self, request: Any, context: Any) -> Any:
        ids = list(request.container_requests[0].devices_ids)
        self.calls.append(("allocate", ids))
        one = message("v1beta1.ContainerAllocateResponse")(
            envs={"GPUS": ",".join(ids)},
            mounts=[message("v1beta1.Mount")(container_path="/lib/gpu", host_path="/opt/gpu", read_only=True)],
            devices=[message("v1beta1.DeviceSpec")(container_path="/dev/gpu", host_path="/dev/null", permissions="rw")],
        )
        return message("v1beta1.AllocateResponse")(container_responses=[one])

    def prefer(self, request: Any, context: Any) -> Any:
        one = message("v1beta1.ContainerPreferredAllocationResponse")(deviceIDs=["b"])
        return message("v1beta1.PreferredAllocationResponse")(container_responses=[one])

    def pre_start(self, request: Any, context: Any) -> Any:
        self.calls.append(("pre-start", list(request.devices_ids)))
        return message("v1beta1.PreStartContainerResponse")()

    def register(self, folder: Path, version: str = "v1beta1") -> None:
        options = message("v1beta1.DevicePluginOptions")(
            pre_start_required=True, get_preferred_allocation_available=True
        )
        with grpc.insecure_channel(f"unix://{folder / 'kubelet.sock'}") as channel:
            grpc.channel_ready_future(channel).result(10)
            stub = channel.unary_unary(
                "/v1beta1.Registration/Register",
                request_serializer=message("v1beta1.RegisterRequest").SerializeToString,
                response_deserializer=message("v1beta1.Empty").FromString,
            )
            stub(
                message("v1beta1.RegisterRequest")(
                    version=version, endpoint="gpu.sock", resource_name=GPU, options=options
                ),
                timeout=5,
            )


class Node:
    """A live node with a directory for plugins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugins = folder / "device-plugins"
        self.machine = Machine()
        self.system = LiveSystem("plugins").start_thread()
        etcd = self.system.spawn(Child("etcd", lambda: Etcd(EtcdConfig())))
        server = self.system.spawn(Child("apiserver", lambda: ApiServer(ApiServerConfig(), etcd)))
        config = KubeletConfig(pod_cidr="10.244.0.0/24", state_directory=str(folder), device_plugins=True)
        self.node = self.system.spawn(
            Child("n", lambda: SimulatedNode("n", server, lambda: SimulatedRuntime(self.machine), config))
        )
        self.client = OutsideClient(self.system, server)

    def until(self, condition: Any, seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)

    def amounts(self) -> tuple[Any, Any]:
        try:
            status = self.client.get("nodes", "n").get("status") or {}
        except Exception:
            return None, None
        return status.get("capacity", {}).get(GPU), status.get("allocatable", {}).get(GPU)

    def pod(self, name: str, count: int) -> None:
        one = {"name": "c", "image": "i", "resources": {"limits": {GPU: str(count)}, "requests": {GPU: str(count)}}}
        spec = {"nodeName": "n", "automountServiceAccountToken": False, "containers": [one]}
        meta = {"name": name, "namespace": "default"}
        self.client.create("pods", {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}, "default")

    def phase(self, name: str) -> str:
        return str((self.client.get("pods", name, "default").get("status") or {}).get("phase"))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    try:
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": "default"},
        }
        made.client.create("serviceaccounts", account, "default")
        yield made
    finally:
        made.system.shutdown()


def pod_resources(node: Node, method: str, **fields: Any) -> Any:
    asked, told = {
        "List": ("ListPodResourcesRequest", "ListPodResourcesResponse"),
        "Get": ("GetPodResourcesRequest", "GetPodResourcesResponse"),
        "GetAllocatableResources": ("AllocatableResourcesRequest", "AllocatableResourcesResponse"),
    }[method]
    with grpc.insecure_channel(f"unix://{node.folder / 'pod-resources' / 'kubelet.sock'}") as channel:
        stub = channel.unary_unary(
            f"/v1.PodResourcesLister/{method}",
            request_serializer=message(f"v1.{asked}").SerializeToString,
            response_deserializer=message(f"v1.{told}").FromString,
        )
        return stub(message(f"v1.{asked}")(**fields), timeout=5)


def test_a_plugin_registers_gives_devices_and_goes(node: Node) -> None:
    node.until(lambda: (node.plugins / "kubelet.sock").exists())
    plugin = Plugin(node.plugins)
    plugin.serve()
    try:
        plugin.register(node.plugins)
        node.until(lambda: node.amounts() == ("2", "2"))
        node.pod("a", 1)
        node.until(lambda: node.phase("a") == "Running")
        record = next(iter(node.machine.containers.values()))
        assert dict(record.config.envs)["GPUS"] == "b", "the one that the plugin prefers"
        assert [(m.container_path, m.host_path, m.readonly) for m in record.config.mounts] == [
            ("/lib/gpu", "/opt/gpu", True)
        ]
        assert [(d.container_path, d.permissions) for d in record.config.devices] == [("/dev/gpu", "rw")]
        assert plugin.calls == [("allocate", ["b"]), ("pre-start", ["b"])]

        listed = pod_resources(node, "List").pod_resources
        assert [(p.name, p.containers[0].devices[0].device_ids) for p in listed] == [("a", ["b"])]
        assert pod_resources(node, "Get", pod_name="a", pod_namespace="default").pod_resources.name == "a"
        with pytest.raises(grpc.RpcError, match="not found"):
            pod_resources(node, "Get", pod_name="x", pod_namespace="default")
        assert list(pod_resources(node, "GetAllocatableResources").devices[0].device_ids) == ["a", "b"]

        plugin.devices = {"a": "Unhealthy", "b": "Healthy"}
        node.until(lambda: node.amounts() == ("2", "1"))
        node.pod("b", 1)
        node.until(lambda: node.phase("b") == "Failed")
    finally:
        plugin.stop()
    node.until(lambda: node.amounts() == ("2", "0"))
    assert (node.plugins / "kubelet_internal_checkpoint").exists()


def test_another_version_of_the_interface_is_refused(node: Node) -> None:
    node.until(lambda: (node.plugins / "kubelet.sock").exists())
    with pytest.raises(grpc.RpcError, match="is not supported"):
        Plugin(node.plugins).register(node.plugins, "v1alpha")
