"""The messages of device plugins (v1beta1) and of podresources (v1), from a table of field numbers.

A line is a package, a message and its fields: name, number and type. A type is `s`(tring), `b`(oolean), `i`(nt32),
`l`(int64), `u`(int64, unsigned) or a message; `*` repeated, `%` a map from text to text.

https://github.com/kubernetes/kubelet/tree/master/pkg/apis
"""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import Any

__all__ = ["message"]

_TABLE = """
v1beta1 DevicePluginOptions pre_start_required:1:b get_preferred_allocation_available:2:b
v1beta1 RegisterRequest version:1:s endpoint:2:s resource_name:3:s options:4:DevicePluginOptions
v1beta1 Empty
v1beta1 NUMANode ID:1:l
v1beta1 TopologyInfo nodes:1:*NUMANode
v1beta1 Device ID:1:s health:2:s topology:3:TopologyInfo
v1beta1 ListAndWatchResponse devices:1:*Device
v1beta1 PreStartContainerRequest devices_ids:1:*s
v1beta1 PreStartContainerResponse
v1beta1 ContainerPreferredAllocationRequest available_deviceIDs:1:*s must_include_deviceIDs:2:*s allocation_size:3:i
v1beta1 PreferredAllocationRequest container_requests:1:*ContainerPreferredAllocationRequest
v1beta1 ContainerPreferredAllocationResponse deviceIDs:1:*s
v1beta1 PreferredAllocationResponse container_responses:1:*ContainerPreferredAllocationResponse
v1beta1 ContainerAllocateRequest devices_ids:1:*s
v1beta1 AllocateRequest container_requests:1:*ContainerAllocateRequest
v1beta1 CDIDevice name:1:s
v1beta1 Mount container_path:1:s host_path:2:s read_only:3:b
v1beta1 DeviceSpec container_path:1:s host_path:2:s permissions:3:s
v1beta1 ContainerAllocateResponse envs:1:% mounts:2:*Mount devices:3:*DeviceSpec annotations:4:% cdi_devices:5:*CDIDevice
v1beta1 AllocateResponse container_responses:1:*ContainerAllocateResponse
v1 AllocatableResourcesRequest
v1 ListPodResourcesRequest
v1 GetPodResourcesRequest pod_name:1:s pod_namespace:2:s
v1 NUMANode ID:1:l
v1 TopologyInfo nodes:1:*NUMANode
v1 ContainerDevices resource_name:1:s device_ids:2:*s topology:3:TopologyInfo
v1 ContainerMemory memory_type:1:s size:2:u topology:3:TopologyInfo
v1 CDIDevice name:1:s
v1 ClaimResource cdi_devices:1:*CDIDevice driver_name:2:s pool_name:3:s device_name:4:s
v1 DynamicResource claim_name:2:s claim_namespace:3:s claim_resources:4:*ClaimResource
v1 ContainerResources name:1:s devices:2:*ContainerDevices cpu_ids:3:*l memory:4:*ContainerMemory dynamic_resources:5:*DynamicResource
v1 PodResources name:1:s namespace:2:s containers:3:*ContainerResources cpu_ids:4:*l memory:5:*ContainerMemory
v1 ListPodResourcesResponse pod_resources:1:*PodResources
v1 GetPodResourcesResponse pod_resources:1:PodResources
v1 AllocatableResourcesResponse devices:1:*ContainerDevices cpu_ids:2:*l memory:3:*ContainerMemory
"""
_LOCK = Lock()
_SCALARS = {"s": 9, "b": 8, "i": 5, "l": 3, "u": 4}
"""FieldDescriptorProto.Type"""


def _map_entry(proto: Any, name: str) -> str:
    """A map is a repeated message of keys and values."""
    camel = "".join(part.capitalize() for part in name.split("_")) + "Entry"
    entry = proto.nested_type.add(name=camel)
    entry.options.map_entry = True
    for number, field in ((1, "key"), (2, "value")):
        entry.field.add(name=field, number=number, type=9, label=1)
    return camel


@cache
def _pool() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    files: dict[str, Any] = {}
    for line in _TABLE.strip().splitlines():
        package, name, *fields = line.split()
        file = files.get(package)
        if file is None:
            file = files[package] = descriptor_pb2.FileDescriptorProto(
                name=f"kubelet/{package}.proto", package=package, syntax="proto3"
            )
        proto = file.message_type.add(name=name)
        for text in fields:
            field, number, kind = text.split(":")
            repeated = kind[0] in "*%"
            kind = kind.lstrip("*")
            made = proto.field.add(name=field, number=int(number), label=3 if repeated else 1)
            if kind == "%":
                made.type, made.type_name = 11, f".{package}.{name}.{_map_entry(proto, field)}"
            elif kind in _SCALARS:
                made.type = _SCALARS[kind]
            else:
                made.type, made.type_name = 11, f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    for file in files.values():
        pool.Add(file)
    return pool


@cache
def _class(name: str) -> Any:
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))


def message(name: str) -> Any:
    """The class of a message, such as `v1beta1.Device`; on any thread."""
    with _LOCK:  # a cache alone may make a class twice
        return _class(name)
