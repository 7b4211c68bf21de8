"""The functions that KWOK gives to its templates, beside Go's own. Pure, but for addresses once given."""

from __future__ import annotations

import ipaddress
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from actors.kubelet._node_status import PRESSURES

__all__ = ["NAMES", "Addresses", "functions"]

Object = dict[str, Any]
VERSION = "v0.7.0"
NAMES = (
    "Quote", "YAML", "Now", "Version", "StartTime", "NodeConditions", "NodeIP", "NodeName", "NodePort", "NodeIPWith",
    "NodeIPsWith", "PodIP", "PodIPWith", "PodIPsWith",
)  # fmt: skip
CONDITIONS = [
    {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"},
    *({"type": kind, "status": "False", "reason": good, "message": text} for kind, good, text, _, _ in PRESSURES),
    {
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": "RouteCreated",
        "message": "RouteController created a route",
    },
]


class Addresses:
    """The addresses of pods that stages run: the next free one of the pod's node."""

    def __init__(self) -> None:
        self._by_uid: dict[str, tuple[str, str]] = {}
        self._used: dict[str, set[str]] = {}

    def of_pod(self, node: Object | None, name: str, uid: str) -> str:
        """The pod's address, the same whenever it is asked for."""
        known = self._by_uid.get(uid)
        if known is not None:
            return known[1]
        cidr = ((node or {}).get("spec") or {}).get("podCIDR") or f"10.{96 + zlib.crc32(name.encode()) % 32}.0.0/16"
        used = self._used.setdefault(name, set())
        for host in ipaddress.ip_network(cidr, strict=False).hosts():
            if str(host) not in used:
                used.add(str(host))
                self._by_uid[uid] = (name, str(host))
                return str(host)
        return ""

    def release(self, uid: str) -> None:
        """The pod is gone."""
        name, address = self._by_uid.pop(uid, ("", ""))
        self._used.get(name, set()).discard(address)


def node_address(node: Object | None, name: str) -> str:
    """What the Node says, else one made from its name."""
    for entry in ((node or {}).get("status") or {}).get("addresses") or ():
        if entry.get("type") == "InternalIP":
            return str(entry["address"])
    mark = zlib.crc32(name.encode())
    return f"172.29.{mark // 250 % 250}.{mark % 250 + 2}"


def _yaml(value: Any, indent: int = 0) -> str:
    text = yaml.safe_dump(value, default_flow_style=False, sort_keys=True).rstrip("\n").removesuffix("\n...")
    return ("\n" + text).replace("\n", "\n" + "  " * indent) if indent else text


def _quote(value: Any) -> str:
    if value is None:
        return '""'
    return json.dumps(value if isinstance(value, str) else json.dumps(value))


def functions(
    obj: Object, now: str, nodes: Mapping[str, Object], addresses: Addresses, node_port: int = 10250
) -> dict[str, Callable[..., Any]]:
    """What templates of one object may call."""

    def node_ip(name: str) -> str:
        return node_address(nodes.get(name), name)

    def pod_ip(name: str, host_network: bool = False, uid: str = "", *_: Any) -> str:
        return node_ip(name) if host_network else addresses.of_pod(nodes.get(name), name, uid)

    own = obj["metadata"]["name"]
    spec = obj.get("spec") or {}

    def own_pod_ip() -> str:
        return pod_ip(spec.get("nodeName") or "", bool(spec.get("hostNetwork")), obj["metadata"].get("uid", ""))

    return {
        "Quote": _quote,
        "YAML": _yaml,
        "Now": lambda: now,
        "StartTime": lambda: now,
        "Version": lambda: VERSION,
        "NodeConditions": lambda: CONDITIONS,
        "NodeIP": lambda: node_ip(own),
        "NodeName": lambda: own,
        "NodePort": lambda: node_port,
        "NodeIPWith": node_ip,
        "NodeIPsWith": lambda name: [node_ip(name)],
        "PodIP": own_pod_ip,
        "PodIPWith": pod_ip,
        "PodIPsWith": lambda *arguments: [ip for ip in (pod_ip(*arguments),) if ip],
    }
