"""Claims for devices: who gets which, and who waits."""

from __future__ import annotations

from typing import Any

import pytest
from scheduler_api import World

from actors.scheduler._device_selectors import SelectorFailed, selects
from actors.scheduler._device_shares import consumption
from actors.scheduler._devices import Allocator
from actors.scheduler._objects import Objects

Object = dict[str, Any]


def device(name: str, model: str = "a100", memory: str = "40Gi", **more: Any) -> Object:
    attributes = {"model": {"string": model}, "cores": {"int": 8}, "example.com/numa": {"int": int(name[-1]) % 2}}
    return {"name": name, "attributes": attributes, "capacity": {"memory": {"value": memory}}, **more}


def slice_of(node: str, *devices: Object, generation: int = 1, name: str = "") -> Object:
    return {
        "metadata": {"name": name or f"{node}-gpus"},
        "spec": {"driver": "gpu.example.com", "nodeName": node, "pool": {"name": node, "generation": generation, "resourceSliceCount": 1}, "devices": list(devices)},
    }


def device_class(expression: str = "device.driver == 'gpu.example.com'") -> Object:
    return {"metadata": {"name": "gpu"}, "spec": {"selectors": [{"cel": {"expression": expression}}]}}


def claim(name: str, *requests: Object, **more: Any) -> Object:
    listed = requests or ({"name": "one", "exactly": {"deviceClassName": "gpu"}},)
    return {"metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"}, "spec": {"devices": {"requests": list(listed), **more}}, "status": {}}


def want(name: str, count: int = 1, expression: str = "", **more: Any) -> Object:
    exactly: Object = {"deviceClassName": "gpu", "count": count, **more}
    if expression:
        exactly["selectors"] = [{"cel": {"expression": expression}}]
    return {"name": name, "exactly": exactly}


def allocate(claims: list[Object], *slices: Object, node: str = "a", classes: tuple[Object, ...] = ()) -> list[list[str]] | None:
    objects = Objects()
    for piece in slices:
        objects.put("resourceslices", piece)
    for one in classes or (device_class(),):
        objects.put("deviceclasses", one)
    found = Allocator(claims, objects).allocate(node, {})
    return None if found is None else [[r["device"] for r in a.status["devices"]["results"]] for a in found]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("device.driver == 'gpu.example.com'", True),
        ("device.attributes['gpu.example.com'].model == 'a100'", True),
        ("device.attributes['gpu.example.com'].model.startsWith('h')", False),
        ("device.attributes['example.com'].numa == 1", True),
        ("'numa' in device.attributes['elsewhere.com']", False),
        ("device.capacity['gpu.example.com'].memory.compareTo(quantity('30Gi')) >= 0", True),
        ("device.capacity['gpu.example.com'].memory.isGreaterThan(quantity('40Gi'))", False),
        ("semver('1.10.0').isGreaterThan(semver('1.9.3'))", True),
        ("semver('1.0.0-rc.2').isLessThan(semver('1.0.0'))", True),
    ],
)
def test_a_selector_sees_driver_attributes_and_capacity(expression: str, expected: bool) -> None:
    assert selects(expression, device("gpu-1"), "gpu.example.com") is expected


@pytest.mark.parametrize("expression", ["device.", "device.attributes['gpu.example.com'].nope == 1"])
def test_a_broken_selector_says_so(expression: str) -> None:
    with pytest.raises(SelectorFailed, match="error"):
        selects(expression, device("gpu-1"), "gpu.example.com")


def shareable(name: str, memory: str = "40Gi", **policy: Any) -> Object:
    """A device that is given out in part."""
    made = device(name, memory=memory, allowMultipleAllocations=True)
    if policy:
        made["capacity"]["memory"]["requestPolicy"] = policy
    return made


def part(name: str, memory: str = "", count: int = 1) -> Object:
    return want(name, count, **({"capacity": {"requests": {"memory": memory}}} if memory else {}))


@pytest.mark.parametrize(
    ("wanted", "policy", "expected"),
    [
        ("", {}, "40Gi"),  # all of it
        ("", {"default": "2Gi"}, "2Gi"),
        ("3Gi", {}, "3Gi"),
        ("50Gi", {}, None),
        ("3Gi", {"default": "1Gi", "validValues": ["1Gi", "4Gi", "8Gi"]}, "4Gi"),
        ("9Gi", {"default": "1Gi", "validValues": ["1Gi", "4Gi", "8Gi"]}, None),
        ("1Gi", {"default": "2Gi", "validRange": {"min": "2Gi", "max": "10Gi", "step": "2Gi"}}, "2Gi"),
        ("5Gi", {"default": "2Gi", "validRange": {"min": "2Gi", "max": "10Gi", "step": "2Gi"}}, "6Gi"),
        ("11Gi", {"default": "2Gi", "validRange": {"min": "2Gi", "max": "10Gi"}}, None),
        ("5Gi", {"default": "2Gi", "validRange": {"min": "2Gi", "max": "10Gi"}}, "5Gi"),
    ],
)
def test_a_request_takes_what_the_policy_of_a_capacity_makes_of_it(wanted: str, policy: Object, expected: str | None) -> None:
    found = consumption(part("one", wanted)["exactly"], shareable("gpu-0", **policy))
    assert (found and found["memory"]) == expected


def test_a_capacity_that_a_device_has_not_cannot_be_asked_of_it() -> None:
    wanted = want("one", capacity={"requests": {"bandwidth": "1"}})
    assert allocate([claim("c", wanted)], slice_of("a", device("gpu-0"), shareable("gpu-1"))) is None


def test_a_device_is_shared_until_its_capacity_is_used_up() -> None:
    pool = slice_of("a", shareable("gpu-0"), shareable("gpu-1"))
    claims = [claim(f"c{n}", part("one", "15Gi")) for n in range(4)]
    assert allocate(claims, pool) == [["gpu-0"], ["gpu-0"], ["gpu-1"], ["gpu-1"]]
    assert allocate([*claims, claim("c4", part("one", "15Gi"))], pool) is None


def test_one_request_may_have_several_shares_of_a_device_unless_it_wants_different_ones() -> None:
    pool = slice_of("a", shareable("gpu-0"), shareable("gpu-1"))
    assert allocate([claim("c", part("one", "10Gi", 2))], pool) == [["gpu-0", "gpu-0"]]
    apart = [{"distinctAttribute": "example.com/numa"}]
    assert allocate([claim("c", part("one", "10Gi", 2), constraints=apart)], pool) == [["gpu-0", "gpu-1"]]


def test_an_exclusive_device_is_given_whole_to_who_asks_for_less_and_to_nobody_who_asks_for_more() -> None:
    pool = slice_of("a", device("gpu-0"), device("gpu-1", memory="80Gi"))
    assert allocate([claim("c", part("one", "60Gi"))], pool) == [["gpu-1"]]
    assert allocate([claim("c", part("one", "10Gi")), claim("d", part("one", "10Gi"))], pool) == [["gpu-0"], ["gpu-1"]]


def test_shares_that_others_hold_are_counted_and_told() -> None:
    objects = Objects()
    objects.put("resourceslices", slice_of("a", shareable("gpu-0")))
    objects.put("deviceclasses", device_class())
    other = {"driver": "gpu.example.com", "pool": "a", "device": "gpu-0", "shareID": "s", "consumedCapacity": {"memory": "25Gi"}}
    assert Allocator([claim("c", part("one", "16Gi"))], objects, [other]).allocate("a", {}) is None
    found = Allocator([claim("c", part("one", "15Gi"))], objects, [other]).allocate("a", {})
    assert found is not None
    found[0].name_shares(lambda: "new")
    [result] = found[0].status["devices"]["results"]
    assert (result["shareID"], result["consumedCapacity"]) == ("new", {"memory": "15Gi"})


def test_where_the_gate_is_off_devices_that_are_given_out_in_part_are_nobodys() -> None:
    objects = Objects()
    objects.put("resourceslices", slice_of("a", shareable("gpu-0"), device("gpu-1")))
    objects.put("deviceclasses", device_class())
    found = Allocator([claim("c")], objects, shares=False).allocate("a", {})
    assert found is not None
    assert [r["device"] for r in found[0].status["devices"]["results"]] == ["gpu-1"]


def test_all_claims_of_a_pod_get_devices_of_their_own_or_none_does() -> None:
    two = slice_of("a", device("gpu-0"), device("gpu-1"))
    assert allocate([claim("x"), claim("y")], two) == [["gpu-0"], ["gpu-1"]]
    assert allocate([claim("x"), claim("y"), claim("z")], two) is None
    assert allocate([claim("x")], two, node="b") is None


def test_a_choice_that_leaves_nothing_for_a_later_request_is_taken_back() -> None:
    pieces = slice_of("a", device("gpu-0", model="h100"), device("gpu-1"))
    picky = want("picky", expression="device.attributes['gpu.example.com'].model == 'h100'")
    assert allocate([claim("x", want("any"), picky)], pieces) == [["gpu-1", "gpu-0"]]


def test_constraints_hold_over_the_requests_they_name() -> None:
    four = slice_of("a", *(device(f"gpu-{i}") for i in range(4)))
    same = {"matchAttribute": "example.com/numa"}
    assert allocate([claim("x", want("pair", 2), constraints=[same])], four) == [["gpu-0", "gpu-2"]]
    assert allocate([claim("x", want("three", 3), constraints=[same])], four) is None
    distinct = {"distinctAttribute": "example.com/numa"}
    assert allocate([claim("x", want("pair", 2), constraints=[distinct])], four) == [["gpu-0", "gpu-1"]]


def test_alternatives_are_tried_in_order_of_preference() -> None:
    big = {"name": "big", "deviceClassName": "gpu", "selectors": [{"cel": {"expression": "device.capacity['gpu.example.com'].memory.isGreaterThan(quantity('60Gi'))"}}]}
    small = {"name": "small", "deviceClassName": "gpu", "count": 2}
    request = {"name": "one", "firstAvailable": [big, small]}
    assert allocate([claim("x", request)], slice_of("a", device("gpu-0"), device("gpu-1"))) == [["gpu-0", "gpu-1"]]
    assert allocate([claim("x", request)], slice_of("a", device("gpu-0"), device("gpu-1", memory="80Gi"))) == [["gpu-1"]]


def test_all_means_every_device_that_suits_and_tainted_ones_need_a_toleration() -> None:
    tainted = device("gpu-1", taints=[{"key": "broken", "effect": "NoSchedule"}])
    pieces = slice_of("a", device("gpu-0"), tainted)
    assert allocate([claim("x", want("all", allocationMode="All"))], pieces) == [["gpu-0"]]
    tolerant = want("all", allocationMode="All", tolerations=[{"key": "broken", "operator": "Exists"}])
    assert allocate([claim("x", tolerant)], pieces) == [["gpu-0", "gpu-1"]]


def test_only_the_newest_complete_generation_of_a_pool_counts() -> None:
    old, new = slice_of("a", device("gpu-0")), slice_of("a", device("gpu-7"), generation=2, name="new")
    assert allocate([claim("x")], old, new) == [["gpu-7"]]
    new["spec"]["pool"]["resourceSliceCount"] = 2
    assert allocate([claim("x")], old, new) is None


def world_with_gpus() -> World:
    world = World()
    world.node("a")
    world.node("b")
    world.state.put("deviceclasses", device_class(), "ADDED")
    world.state.put("resourceslices", slice_of("b", device("gpu-0"), device("gpu-1")), "ADDED")
    return world


def claims(name: str) -> list[Object]:
    return [{"name": "gpu", "resourceClaimName": name}]


def test_a_pod_goes_where_its_claim_can_be_allocated_and_the_claim_says_so() -> None:
    world = world_with_gpus()
    world.state.put("resourceclaims", claim("x"), "ADDED")
    pod = world.pod("train", resourceClaims=claims("x"))
    world.settle(2)
    assert world.where("train") == ["b"]
    found = world.state.of("resourceclaims")["default/x"]
    assert found["status"]["allocation"]["devices"]["results"] == [{"request": "one", "driver": "gpu.example.com", "pool": "b", "device": "gpu-0"}]
    assert found["status"]["allocation"]["nodeSelector"] == {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]}
    assert found["status"]["reservedFor"] == [{"resource": "pods", "name": "train", "uid": pod["metadata"]["uid"]}]
    assert found["metadata"]["finalizers"] == ["resource.kubernetes.io/delete-protection"]


def test_pods_beyond_the_last_device_wait_until_one_is_given_back() -> None:
    world = world_with_gpus()
    for name in ("x", "y", "z"):
        world.state.put("resourceclaims", claim(name), "ADDED")
        world.pod(f"pod-{name}", resourceClaims=claims(name))
    world.settle(3)
    nodes = world.where("pod-x", "pod-y", "pod-z")
    assert sorted(n or "" for n in nodes) == ["", "b", "b"]
    waiting = "xyz"[nodes.index(None)]
    message = world.scheduled(f"pod-{waiting}")["message"]
    assert message.startswith("0/2 nodes are available: 2 cannot allocate all claims. no new claims to deallocate, preemption: ")
    done = next(n for n in "xyz" if n != waiting)
    freed = claim(done)
    freed["status"] = {}
    world.state.put("resourceclaims", freed)
    world.settle(15)
    assert world.where(f"pod-{waiting}") == ["b"]


def test_pods_may_share_an_allocated_claim_but_only_on_its_node() -> None:
    world = world_with_gpus()
    world.state.put("resourceclaims", claim("x"), "ADDED")
    world.pod("one", resourceClaims=claims("x"))
    world.settle(2)
    world.pod("two", resourceClaims=claims("x"))
    world.settle(2)
    assert world.where("one", "two") == ["b", "b"]
    assert len(world.state.of("resourceclaims")["default/x"]["status"]["reservedFor"]) == 2


def test_a_pod_whose_claim_is_not_made_yet_is_held_back() -> None:
    world = world_with_gpus()
    world.pod("train", resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "t"}])
    world.settle(5)
    assert world.statistics()["queue"]["gated"] == 1
    world.state.put("resourceclaims", claim("train-gpu"), "ADDED")
    pod = world.seen("train")
    world.state.put("pods", {**pod, "status": {"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "train-gpu"}]}})
    world.settle(2)
    assert world.where("train") == ["b"]


def partition(name: str, memory: str) -> Object:
    return device(name, consumesCounters=[{"counterSet": "card", "counters": {"memory": {"value": memory}}}])


def partitioned(*devices: Object, memory: str = "40Gi") -> list[Object]:
    """A pool of two slices: a card's counters, and its partitions."""
    shared = slice_of("a", name="a-counters")
    shared["spec"]["sharedCounters"] = [{"name": "card", "counters": {"memory": {"value": memory}}}]
    pieces = [shared, slice_of("a", *devices)]
    for piece in pieces:
        piece["spec"]["pool"]["resourceSliceCount"] = 2
    return pieces


def test_partitions_of_a_device_are_given_out_until_it_is_used_up() -> None:
    pieces = partitioned(partition("whole-0", "40Gi"), partition("half-1", "20Gi"), partition("half-2", "20Gi"))
    assert allocate([claim("c", want("one"))], *pieces) == [["whole-0"]]
    assert allocate([claim("c", want("two", 2))], *pieces) == [["half-1", "half-2"]]
    assert allocate([claim("c", want("three", 3))], *pieces) is None


def test_what_others_hold_counts_and_a_search_leaves_nothing_behind() -> None:
    objects = Objects()
    for piece in partitioned(partition("whole-0", "40Gi"), partition("half-1", "20Gi"), partition("half-2", "20Gi")):
        objects.put("resourceslices", piece)
    objects.put("deviceclasses", device_class())
    allocator = Allocator([claim("c", want("one"))], objects, [{"driver": "gpu.example.com", "pool": "a", "device": "half-2"}])
    for _ in range(3):
        found = allocator.allocate("a", {})
        assert found is not None
        assert [r["device"] for r in found[0].status["devices"]["results"]] == ["half-1"]


def test_a_counter_that_nobody_publishes_is_empty() -> None:
    stray = device("gpu-0", consumesCounters=[{"counterSet": "nowhere", "counters": {"memory": {"value": "1Gi"}}}])
    assert allocate([claim("c")], slice_of("a", stray)) is None


def test_an_administrators_access_consumes_no_counter() -> None:
    pieces = partitioned(partition("whole-0", "40Gi"), partition("half-1", "20Gi"))
    requests = (want("all", adminAccess=True, allocationMode="All", count=0), want("one"))
    assert allocate([claim("c", *requests)], *pieces) == [["whole-0", "half-1", "whole-0"]]
