"""Ranges of cluster IPs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def plane_with_ranges(plane: Callable[..., Any]) -> Any:
    return plane("service-cidr-controller")


def ready(plane: Any, name: str) -> tuple[str, str]:
    found = plane.get("servicecidrs", name)
    (condition,) = found["status"]["conditions"]
    return condition["status"], condition["message"]


def test_a_range_is_ready_and_guarded(plane_with_ranges: Any) -> None:
    plane_with_ranges.create("servicecidrs", {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/24"]}})
    plane_with_ranges.sim.advance(1.0)
    assert ready(plane_with_ranges, "more") == ("True", "Kubernetes Service CIDR is ready")
    assert plane_with_ranges.get("servicecidrs", "more")["metadata"]["finalizers"] == [
        "networking.k8s.io/service-cidr-finalizer"
    ]


def test_a_range_in_use_waits_for_its_addresses(plane_with_ranges: Any) -> None:
    plane = plane_with_ranges
    plane.create("servicecidrs", {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/24"]}})
    reference = {"parentRef": {"group": "", "resource": "services", "namespace": "default", "name": "s"}}
    plane.create(
        "ipaddresses",
        {
            "metadata": {
                "name": "10.97.0.9",
                "labels": {"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "x"},
            },
            "spec": reference,
        },
    )
    plane.sim.advance(1.0)
    plane.delete("servicecidrs", "more")
    plane.sim.advance(1.0)
    assert ready(plane, "more")[0] == "False"
    plane.delete("ipaddresses", "10.97.0.9")
    plane.sim.advance(1.0)
    assert plane.get("servicecidrs", "more") is None
