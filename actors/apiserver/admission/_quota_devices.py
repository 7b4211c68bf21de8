"""How many devices a resource claim counts for in a quota, by device class.

https://kubernetes.io/docs/concepts/policy/resource-quotas/#quota-for-dra
"""

from __future__ import annotations

from typing import Any

__all__ = ["CLASS_SUFFIX", "claim_usage"]

Object = dict[str, Any]
CLASS_SUFFIX = ".deviceclass.resource.k8s.io/devices"
ALL_DEVICES = 32
"""What a request for all devices counts for: an allocation has no more results."""


def claim_usage(claim: Object) -> dict[str, str]:
    """Devices by the names that quotas use. Of alternatives the most that one of them needs counts."""
    counts: dict[str, int] = {}
    for request in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
        choices = request.get("firstAvailable") or ()
        if not choices:
            wanted = _one(request.get("exactly") or request)  # before 1.34 a request is its own only choice
        else:
            wanted = {}
            for choice in choices:
                for name, number in _one(choice).items():
                    wanted[name] = max(wanted.get(name, 0), number)
        for name, number in wanted.items():
            counts[name] = counts.get(name, 0) + number
    return {f"{name}{CLASS_SUFFIX}": str(number) for name, number in counts.items()}


def _one(request: Object) -> dict[str, int]:
    mode = request.get("allocationMode") or "ExactCount"
    number = {"ExactCount": int(request.get("count") or 1), "All": ALL_DEVICES}.get(mode, 0)
    name = request.get("deviceClassName")
    return {str(name): number} if name and number else {}
