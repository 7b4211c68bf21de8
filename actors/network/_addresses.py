"""The addresses that pods and nodes have of their own.

Owns the reading of their status, nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["node_ips", "pod_ips"]

Object = Mapping[str, Any]


def pod_ips(pod: Object) -> list[str]:
    state = pod.get("status") or {}
    if (pod.get("spec") or {}).get("hostNetwork"):
        return []
    return [p["ip"] for p in state.get("podIPs") or ()] or ([state["podIP"]] if state.get("podIP") else [])


def node_ips(node: Object) -> list[str]:
    addresses = (node.get("status") or {}).get("addresses") or ()
    return [a["address"] for a in addresses if a.get("type") == "InternalIP"]
