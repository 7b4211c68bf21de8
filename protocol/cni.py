"""What a runtime asks of the pod network: an interface with an address for a sandbox, and its end.

Owns the messages between runtimes and the network of a node. The verbs are those of the Container
Network Interface, https://www.cni.dev/docs/spec/, whoever carries them out: the built-in bridge or
plugins. Must never say how.
"""

from __future__ import annotations

from typing import Any

from protocol.message import Message

__all__ = [
    "AddPod",
    "CheckPod",
    "CniError",
    "CollectGarbage",
    "DelPod",
    "GetNetworkStatus",
    "NetworkStatus",
    "PodNetwork",
    "PortMapping",
    "SetPodCidr",
]

CODES = {
    "incompatible version": 1,
    "unsupported field": 2,
    "unknown container": 3,
    "invalid environment": 4,
    "io failure": 5,
    "decoding failure": 6,
    "invalid configuration": 7,
    "try again later": 11,
    "plugin not available": 50,
    "limited connectivity": 51,
}


class CniError(Exception):
    """A verb failed. `code` as the specification numbers them; from 100 on they are a plugin's own."""

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(msg if not details else f"{msg}: {details}")
        self.code, self.msg, self.details = code, msg, details


class PortMapping(Message, frozen=True):
    """A port of the node that leads to a port of the pod. `protocol`: tcp, udp or sctp."""

    host_port: int
    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""


class AddPod(Message, frozen=True):
    """Give the network namespace `netns` (a path) an interface. Answered by `PodNetwork`; asked again
    for the same container, the answer is the same. Raises CniError at the asker."""

    container_id: str
    netns: str
    namespace: str = ""
    name: str = ""
    uid: str = ""
    ifname: str = "eth0"
    port_mappings: tuple[PortMapping, ...] = ()


class PodNetwork(Message, frozen=True):
    """`addresses`: without prefix length, the first one is the pod's IP. `result`: the whole result as
    the specification has it."""

    addresses: tuple[str, ...]
    result: dict[str, Any]


class DelPod(Message, frozen=True):
    """Take the interface away and free its addresses; it is no error if there is none, or if the
    namespace (then `netns` may be empty) has gone. Answered by None. Raises CniError."""

    container_id: str
    netns: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    ifname: str = "eth0"
    port_mappings: tuple[PortMapping, ...] = ()


class CheckPod(Message, frozen=True):
    """Is the interface as it was made? Answered by None. Raises CniError with what differs."""

    container_id: str
    netns: str
    namespace: str = ""
    name: str = ""
    uid: str = ""
    ifname: str = "eth0"


class SetPodCidr(Message, frozen=True):
    """The node's range for pods, as `node.spec.podCIDR`. Answered by None. Raises CniError."""

    cidr: str


class CollectGarbage(Message, frozen=True):
    """Free what belongs to none of `valid` (container id, interface). Answered by None."""

    valid: tuple[tuple[str, str], ...] = ()


class GetNetworkStatus(Message, frozen=True):
    """Answered by `NetworkStatus`."""


class NetworkStatus(Message, frozen=True):
    """The runtime's condition NetworkReady. `reason` and `message` are empty when ready."""

    ready: bool
    reason: str = ""
    message: str = ""
    plugin: str = ""
