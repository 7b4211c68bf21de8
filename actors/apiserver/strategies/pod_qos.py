"""The quality-of-service class of a pod.

https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
"""

from __future__ import annotations

from typing import Any

from protocol.quantity import parse_quantity

__all__ = ["qos_class"]

Object = dict[str, Any]
_COUNTED = ("cpu", "memory")


def qos_class(spec: Object) -> str:
    """BestEffort, Burstable or Guaranteed, from what the containers (or the pod) ask for."""
    own = spec.get("resources")
    if own and (own.get("requests") or own.get("limits")):
        parts = [own]
    else:
        parts = [
            container.get("resources") or {}
            for key in ("containers", "initContainers")
            for container in spec.get(key) or ()
        ]
    requests: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    guaranteed = True
    for resources in parts:
        _add(requests, resources.get("requests"))
        found = _add(limits, resources.get("limits"))
        guaranteed = guaranteed and found == 2
    if not requests and not limits:
        return "BestEffort"
    if guaranteed and requests == limits:
        return "Guaranteed"
    return "Burstable"


def _add(total: dict[str, Any], amounts: dict[str, str] | None) -> int:
    """How many of the counted resources were there, added to `total`."""
    found = 0
    if amounts:
        for name in _COUNTED:
            if name in amounts and (number := parse_quantity(amounts[name])) > 0:
                total[name] = total.get(name, 0) + number
                found += 1
    return found
