"""The host of device plugins: the registration socket, and a connection to each plugin.

Owns gRPC over unix sockets in one directory (`device-plugins`), as upstream's
`pkg/kubelet/cm/devicemanager/plugin/v1beta1` does it. What devices there are and who gets them, it never decides.
https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from actors.kernel import Ref, ThreadActor, handles
from actors.kubelet.devices._book import Granted
from actors.kubelet.devices._messages import Allocate, DevicesListed, PluginError, PluginGone, Prefer, PreStart
from actors.kubelet.devices._wire import message

__all__ = ["PluginHost"]

VERSION = "v1beta1"
SOCKET = "kubelet.sock"
CONNECT_S = 10.0
CALL_S = 30.0
STOP_S = 1.0
_OPTIONS = [("grpc.default_authority", "localhost")]  # Go's server refuses a socket's path as a host


class _Plugin:
    """One plugin's connection."""

    def __init__(self, channel: Any, options: Any) -> None:
        self.channel = channel
        self.options = options
        self.calls: dict[str, Any] = {}
        self.stream: Any = None

    def call(self, method: str, request: Any, answer: str) -> Any:
        import grpc

        stub = self.calls.get(method)
        if stub is None:
            stub = self.calls[method] = self.channel.unary_unary(
                f"/v1beta1.DevicePlugin/{method}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=message(f"v1beta1.{answer}").FromString,
            )
        try:
            return stub(request, timeout=CALL_S)
        except grpc.RpcError as error:
            code = "".join(word.capitalize() for word in error.code().name.split("_"))
            raise PluginError(f"rpc error: code = {code} desc = {error.details()}") from error


class PluginHost(ThreadActor):
    """See the module. Tells `kubelet` what plugins list."""

    def __init__(self, directory: Path, kubelet: Ref) -> None:
        super().__init__()
        self.directory = directory
        self.kubelet = kubelet
        self.plugins: dict[str, _Plugin] = {}
        self.lock = threading.Lock()
        self.over = False

    def on_start(self) -> None:
        """Listen; plugins notice the new socket and register again. Raises: OSError."""
        import grpc

        self.directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        with contextlib.suppress(FileNotFoundError):
            (self.directory / SOCKET).unlink()
        empty = message("v1beta1.Empty")
        handler = grpc.unary_unary_rpc_method_handler(
            self._register,
            request_deserializer=message("v1beta1.RegisterRequest").FromString,
            response_serializer=empty.SerializeToString,
        )
        self.server = grpc.server(ThreadPoolExecutor(2, "device-plugins"))
        generic = grpc.method_handlers_generic_handler("v1beta1.Registration", {"Register": handler})
        self.server.add_generic_rpc_handlers((generic,))
        self.server.add_insecure_port(f"unix://{self.directory / SOCKET}")
        self.server.start()

    def on_stop(self) -> None:
        self.over = True
        self.server.stop(STOP_S).wait(STOP_S)
        for plugin in self.plugins.values():
            plugin.channel.close()
        with contextlib.suppress(OSError):
            (self.directory / SOCKET).unlink()

    # -- on gRPC's threads

    def _register(self, request: Any, context: Any) -> Any:
        import grpc

        if request.version != VERSION:
            context.abort(
                grpc.StatusCode.UNKNOWN,
                f'requested device plugin API version "{request.version}" is not supported. Supported versions: [{VERSION}]',
            )
        if "/" not in request.resource_name or request.resource_name.startswith(("kubernetes.io/", "requests.")):
            text = f'the ResourceName "{request.resource_name}" is invalid'
            context.abort(grpc.StatusCode.UNKNOWN, text)
        name = Path(request.endpoint).name
        threading.Thread(
            target=self._watch, args=(request.resource_name, self.directory / name, request.options), daemon=True
        ).start()
        return message("v1beta1.Empty")()

    def _watch(self, resource: str, socket: Path, options: Any) -> None:
        """Follow a plugin's list of devices until it ends."""
        import grpc

        channel = grpc.insecure_channel(f"unix://{socket}", options=_OPTIONS)
        plugin = _Plugin(channel, options)
        try:
            grpc.channel_ready_future(channel).result(CONNECT_S)
            with self.lock:
                before, self.plugins[resource] = self.plugins.get(resource), plugin
            if before is not None:
                before.channel.close()
            stub = channel.unary_stream(
                "/v1beta1.DevicePlugin/ListAndWatch",
                request_serializer=message("v1beta1.Empty").SerializeToString,
                response_deserializer=message("v1beta1.ListAndWatchResponse").FromString,
            )
            registered = True
            for answer in stub(message("v1beta1.Empty")()):
                devices = {d.ID: d.health == "Healthy" for d in answer.devices}
                self.kubelet.tell(DevicesListed(resource, devices, registered))
                registered = False
        except (grpc.RpcError, grpc.FutureTimeoutError, ValueError) as error:
            self.log.info("device_plugin_ended", resource=resource, error=str(error)[:200])
        with self.lock:
            current = self.plugins.get(resource) is plugin
            if current:
                del self.plugins[resource]
        channel.close()
        if current and not self.over:
            self.kubelet.tell(PluginGone(resource))

    # -- what the kubelet asks

    def _plugin(self, resource: str) -> _Plugin:
        with self.lock:
            plugin = self.plugins.get(resource)
        if plugin is None:
            raise PluginError(f"endpoint of resource {resource} is not connected")
        return plugin

    @handles(Prefer)
    def prefer(self, wish: Prefer) -> tuple[str, ...]:
        plugin = self._plugin(wish.resource)
        if not plugin.options.get_preferred_allocation_available:
            return ()
        one = message("v1beta1.ContainerPreferredAllocationRequest")(
            available_deviceIDs=wish.available, must_include_deviceIDs=wish.must_include, allocation_size=wish.size
        )
        request = message("v1beta1.PreferredAllocationRequest")(container_requests=[one])
        answer = plugin.call("GetPreferredAllocation", request, "PreferredAllocationResponse")
        return tuple(answer.container_responses[0].deviceIDs) if answer.container_responses else ()

    @handles(Allocate)
    def allocate(self, wish: Allocate) -> Granted:
        one = message("v1beta1.ContainerAllocateRequest")(devices_ids=wish.devices)
        request = message("v1beta1.AllocateRequest")(container_requests=[one])
        answer = self._plugin(wish.resource).call("Allocate", request, "AllocateResponse")
        if not answer.container_responses:
            raise PluginError("no containers return in allocation response")
        told = answer.container_responses[0]
        return Granted(
            dict(told.envs),
            tuple((m.container_path, m.host_path, m.read_only) for m in told.mounts),
            tuple((d.container_path, d.host_path, d.permissions or "mrw") for d in told.devices),
            dict(told.annotations),
        )

    @handles(PreStart)
    def pre_start(self, wish: PreStart) -> None:
        plugin = self._plugin(wish.resource)
        if plugin.options.pre_start_required:
            request = message("v1beta1.PreStartContainerRequest")(devices_ids=wish.devices)
            plugin.call("PreStartContainer", request, "PreStartContainerResponse")
