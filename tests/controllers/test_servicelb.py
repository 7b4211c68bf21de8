"""Addresses for Services of type LoadBalancer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec}}


def address(plane: Any, name: str) -> str:
    balancer = plane.get("services", name)["status"]["loadBalancer"]
    return str((balancer.get("ingress") or [{"ip": ""}])[0]["ip"])


@pytest.fixture
def pool(plane: Callable[..., Any]) -> Any:
    return plane("service-lb-controller", extra={"load_balancer_pool": "198.51.100.0/30"})


def test_each_service_gets_an_address_of_its_own(pool: Any) -> None:
    for name in ("a", "b"):
        pool.create("services", service(name))
    pool.sim.advance(1.0)
    assert {address(pool, "a"), address(pool, "b")} == {"198.51.100.1", "198.51.100.2"}
    assert [e.split(": ")[1] for e in pool.events("EnsuredLoadBalancer")] == ["Ensured load balancer"] * 2


def test_an_address_is_free_again_when_its_service_goes(pool: Any) -> None:
    for name in ("a", "b", "c"):
        pool.create("services", service(name))
        pool.sim.advance(0.5)
    assert address(pool, "c") == ""
    assert pool.events("SyncLoadBalancerFailed")
    pool.delete("services", "a")
    pool.sim.advance(12.0)
    assert pool.get("services", "a") is None
    assert address(pool, "c") == "198.51.100.1"


def test_a_service_that_is_balanced_no_more_loses_its_address(pool: Any) -> None:
    pool.create("services", service("a"))
    pool.sim.advance(1.0)
    pool.patch("services", "a", {"spec": {"type": "ClusterIP"}})
    pool.sim.advance(1.0)
    assert address(pool, "a") == ""
    assert "finalizers" not in pool.get("services", "a")["metadata"]


def test_without_a_pool_a_service_waits(plane: Callable[..., Any]) -> None:
    alone = plane("service-lb-controller")
    alone.create("services", service("a"))
    alone.sim.advance(5.0)
    assert address(alone, "a") == ""
    assert "finalizers" not in alone.get("services", "a")["metadata"]
