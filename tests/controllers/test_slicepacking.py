"""Endpoints packed into slices: nothing lost, nothing twice, few writes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.controllers._slicepacking import identity, new_slice, pack
from actors.controllers._subsets import truncated

Object = dict[str, Any]
SERVICE = {"metadata": {"name": "s", "namespace": "d", "uid": "u"}, "spec": {"clusterIP": "10.0.0.9"}}
TEMPLATE = new_slice(SERVICE, [{"name": "", "port": 80, "protocol": "TCP"}], "IPv4")


def endpoint(number: int, ready: bool = True) -> Object:
    target = {"kind": "Pod", "namespace": "d", "name": f"p{number}", "uid": f"u{number}"}
    return {"addresses": [f"10.0.0.{number}"], "conditions": {"ready": ready}, "targetRef": target}


def existing(name: str, numbers: list[int]) -> Object:
    meta = {"name": name, "labels": TEMPLATE["metadata"]["labels"]}
    return {**TEMPLATE, "metadata": meta, "endpoints": [endpoint(n) for n in numbers]}


def desired(numbers: list[int], unready: frozenset[int] = frozenset()) -> dict[Any, Object]:
    wanted = [endpoint(n, n not in unready) for n in numbers]
    return {identity(e): e for e in wanted}


def numbers(slices: list[Object]) -> list[int]:
    return sorted(int(e["targetRef"]["name"][1:]) for s in slices for e in s["endpoints"])


def test_a_slice_that_is_written_anyway_takes_what_is_new() -> None:
    plan = pack([existing("a", [1, 2, 3, 4]), existing("b", [5, 6])], desired([1, 3, 4, 5, 6, 7, 8]), TEMPLATE, 4)
    assert [(s["metadata"]["name"], numbers([s])) for s in plan.update] == [("a", [1, 3, 4, 7]), ("b", [5, 6, 8])]
    assert not plan.create
    assert not plan.delete


def test_a_slice_left_empty_is_deleted() -> None:
    plan = pack([existing("a", [1, 2]), existing("b", [3])], desired([3]), TEMPLATE, 4)
    assert [s["metadata"]["name"] for s in plan.delete] == ["a"]
    assert [s["metadata"]["name"] for s in plan.unchanged] == ["b"]


def test_a_changed_condition_writes_only_the_slice_that_holds_it() -> None:
    plan = pack([existing("a", [1]), existing("b", [2])], desired([1, 2], frozenset([2])), TEMPLATE, 1)
    assert [s["metadata"]["name"] for s in plan.update] == ["b"]
    assert plan.update[0]["endpoints"][0]["conditions"] == {"ready": False}


def test_hints_survive_a_change_of_conditions() -> None:
    old = existing("a", [1])
    old["endpoints"][0]["hints"] = {"forZones": [{"name": "z"}]}
    plan = pack([old], desired([1], frozenset([1])), TEMPLATE)
    assert plan.update[0]["endpoints"][0]["hints"] == {"forZones": [{"name": "z"}]}


@given(
    st.lists(st.sets(st.integers(0, 30), max_size=5), max_size=5),
    st.sets(st.integers(0, 30), max_size=20),
    st.frozensets(st.integers(0, 30)),
)
def test_packing_gives_exactly_what_is_desired_within_the_limit(
    groups: list[set[int]], wanted: set[int], unready: frozenset[int]
) -> None:
    held: set[int] = set()
    slices = []
    for i, group in enumerate(groups):
        mine = sorted(group - held)
        held |= group
        slices.append(existing(f"s{i}", mine))
    plan = pack(slices, desired(sorted(wanted), unready), TEMPLATE, 5)
    after = [*plan.create, *plan.update, *plan.unchanged]
    assert numbers(after) == sorted(wanted)
    assert all(len(s["endpoints"]) <= 5 for s in after)
    states = {e["targetRef"]["name"]: e["conditions"]["ready"] for s in after for e in s["endpoints"]}
    assert all(states[f"p{n}"] == (n not in unready) for n in wanted)
    kept = {s["metadata"]["name"] for s in (*plan.update, *plan.unchanged, *plan.delete)}
    assert kept == {s["metadata"]["name"] for s in slices}


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=5))
def test_truncation_keeps_ready_addresses_first_and_never_more_than_the_limit(sizes: list[tuple[int, int]]) -> None:
    subsets = [
        {"addresses": [f"r{i}.{n}" for n in range(ready)], "notReadyAddresses": [f"u{i}.{n}" for n in range(unready)]}
        for i, (ready, unready) in enumerate(sizes)
    ]
    cut, truncating = truncated(subsets, 30)
    total = sum(r + u for r, u in sizes)
    ready = sum(len(s.get("addresses") or ()) for s in cut)
    unready = sum(len(s.get("notReadyAddresses") or ()) for s in cut)
    assert truncating == (total > 30)
    assert ready + unready == min(total, 30)
    assert ready == min(sum(r for r, _ in sizes), 30)
