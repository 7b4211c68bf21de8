"""Pods leave tainted devices, when and unless their claims say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Object = dict[str, Any]
CONTROLLERS = "device-taint-eviction-controller"
RULES = "devicetaintrules.v1.resource.k8s.io"
TAINT = {"key": "example.com/sick", "value": "yes", "effect": "NoExecute"}
DEVICES = {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu"}}]}}


class World:
    """A plane with pods that have devices; the test plays driver and scheduler."""

    def __init__(self, plane: Any) -> None:
        self.plane = plane

    def slice(self, *taints: Object, generation: int = 1, name: str = "s") -> None:
        devices = [{"name": "gpu-0", "taints": list(taints)}, {"name": "gpu-1"}]
        pool = {"name": "n", "generation": generation, "resourceSliceCount": 1}
        spec = {"driver": "d.example.com", "nodeName": "n", "pool": pool, "devices": devices}
        self.plane.create("resourceslices", {"metadata": {"name": name}, "spec": spec})

    def pod(self, name: str, device: str = "gpu-0", *tolerations: Object) -> None:
        claim = {"metadata": {"name": name}, "spec": DEVICES}
        self.plane.create("resourceclaims", claim)
        spec = {
            "containers": [{"name": "c", "image": "i", "resources": {"claims": [{"name": "g"}]}}],
            "resourceClaims": [{"name": "g", "resourceClaimName": name}],
        }
        uid = self.plane.create("pods", {"metadata": {"name": name}, "spec": spec})["metadata"]["uid"]
        finalizers = {"metadata": {"finalizers": ["resource.kubernetes.io/delete-protection"]}}
        self.plane.patch("resourceclaims", name, finalizers)
        result = {"request": "gpu", "driver": "d.example.com", "pool": "n", "device": device}
        results = [{**result, "tolerations": list(tolerations)}]
        reserved = [{"resource": "pods", "name": name, "uid": uid}]
        status = {"allocation": {"devices": {"results": results}}, "reservedFor": reserved}
        self.plane.set_status("resourceclaims", name, status)

    def there(self) -> list[str]:
        return [p["metadata"]["name"] for p in self.plane.list("pods") if not p["metadata"].get("deletionTimestamp")]

    def progress(self) -> tuple[str, str, str]:
        found = self.plane.client.get(RULES, "r").get("status") or {}
        entry = next(iter(found.get("conditions") or ()), {})
        return entry.get("status", ""), entry.get("reason", ""), entry.get("message", "")

    def rule(self, effect: str, **selector: str) -> None:
        taint = {"key": "example.com/sick", "effect": effect}
        body = {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceTaintRule", "metadata": {"name": "r"}}
        self.plane.client.create(RULES, {**body, "spec": {"deviceSelector": selector, "taint": taint}})


@pytest.fixture
def world(plane: Callable[..., Any]) -> Callable[..., World]:
    def make(minor: int = 36) -> World:
        return World(plane(CONTROLLERS, minor=minor))

    return make


def test_pods_leave_a_device_that_is_tainted_and_no_other(world: Any) -> None:
    w = world()
    w.pod("sick")
    w.pod("well", "gpu-1")
    w.slice(TAINT)
    w.plane.eventually(lambda: w.there() == ["well"])
    assert w.plane.events("DeviceTaintManagerEviction") == [
        "Normal DeviceTaintManagerEviction Pod/sick: Marking for deletion"
    ]


def test_a_toleration_puts_it_off_or_off_for_ever(world: Any) -> None:
    w = world()
    exists = {"key": "example.com/sick", "operator": "Exists", "effect": "NoExecute"}
    w.pod("ever", "gpu-0", exists)
    w.pod("while", "gpu-0", {**exists, "tolerationSeconds": 60})
    w.pod("other", "gpu-0", {**exists, "key": "example.com/other"})
    w.slice(TAINT)
    w.plane.eventually(lambda: w.there() == ["ever", "while"])
    w.plane.sim.advance(50)
    assert w.there() == ["ever", "while"]
    w.plane.sim.advance(15)
    assert w.there() == ["ever"]


def test_a_taint_that_goes_in_time_cancels_the_eviction(world: Any) -> None:
    w = world()
    w.pod("p", "gpu-0", {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60})
    w.slice(TAINT)
    w.plane.sim.advance(10)
    w.slice(generation=2, name="newer")
    w.plane.sim.advance(100)
    assert w.there() == ["p"]
    assert w.plane.events("DeviceTaintManagerEviction") == [
        "Normal DeviceTaintManagerEviction Pod/p: Cancelling deletion"
    ]


def test_a_rule_taints_what_it_selects_and_tells_how_far_it_is(world: Any) -> None:
    w = world(37)
    w.slice()
    w.pod("a")
    w.pod("b", "gpu-1")
    w.rule("NoExecute", driver="d.example.com", device="gpu-0")
    w.plane.eventually(lambda: w.there() == ["b"])
    w.plane.sim.advance(12)
    assert w.progress() == ("False", "Completed", "1 pod evicted since starting the controller.")
    rule = w.plane.client.get(RULES, "r")
    assert rule["spec"]["taint"]["timeAdded"]
    assert rule["metadata"]["generation"] == rule["status"]["conditions"][0]["observedGeneration"] == 1


def test_a_rule_without_effect_foretells_what_it_would_do(world: Any) -> None:
    w = world(37)
    w.slice()
    w.pod("a")
    w.pod("b", "gpu-1")
    w.rule("None", driver="d.example.com")
    w.plane.eventually(lambda: w.progress()[1] == "NoEffect")
    assert w.progress()[2] == (
        "2 published devices selected. 2 allocated devices selected. 2 pods would be evicted in 1 namespace if the "
        "effect was NoExecute. This information will not be updated again. Recreate the DeviceTaintRule to trigger an update."
    )
    assert w.there() == ["a", "b"]
