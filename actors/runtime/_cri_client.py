"""The CRI over gRPC: messages from compiled descriptors, calls, and their errors as `CriError`.

`cri.binpb` is the FileDescriptorSet of runtime/v1/api.proto (Apache 2.0), made with

    python -m grpc_tools.protoc --descriptor_set_out=cri.binpb api.proto

https://github.com/kubernetes/cri-api
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from protocol.cri import CriError

__all__ = ["CriClient", "message"]

IMAGE_METHODS = ("ListImages", "ImageStatus", "PullImage", "RemoveImage", "ImageFsInfo")
TIMEOUT_S = 60.0
MAX_MESSAGE_BYTES = 16 << 20


@cache
def _pool() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    data = resources.files("actors.runtime").joinpath("cri.binpb").read_bytes()
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.Add(file)
    return pool


@cache
def message(name: str) -> Any:
    """The class of a message, such as `PodSandboxConfig`."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"runtime.v1.{name}"))


class CriClient:
    """A connection to a runtime; `call` may be used from any thread."""

    def __init__(self, endpoint: str) -> None:
        import grpc

        self.errors = grpc.RpcError
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.default_authority", "localhost"),  # Go's server refuses a socket's path as a host
        ]
        self.channel = grpc.insecure_channel(endpoint, options=options)
        self._methods: dict[str, Any] = {}

    def call(self, method: str, timeout_s: float = TIMEOUT_S, **fields: Any) -> Any:
        """Ask the runtime. Raises: CriError, with the code's name as Go has it."""
        stub = self._methods.get(method)
        if stub is None:
            service = "ImageService" if method in IMAGE_METHODS else "RuntimeService"
            stub = self._methods[method] = self.channel.unary_unary(
                f"/runtime.v1.{service}/{method}",
                request_serializer=message(f"{method}Request").SerializeToString,
                response_deserializer=message(f"{method}Response").FromString,
            )
        try:
            return stub(message(f"{method}Request")(**fields), timeout=timeout_s)
        except self.errors as error:
            code = "".join(word.capitalize() for word in error.code().name.split("_"))  # type: ignore[attr-defined]
            raise CriError(code, error.details() or code) from error  # type: ignore[attr-defined]

    def close(self) -> None:
        """End the connection."""
        self.channel.close()
