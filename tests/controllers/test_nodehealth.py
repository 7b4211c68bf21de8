"""Zones in trouble, rates, and pod ranges: the arithmetic of the node controllers."""

from __future__ import annotations

import pytest

from actors.controllers._nodehealth import FULL, NORMAL, PARTIAL, Rates, ZoneQueue, zone_state
from actors.controllers._taints import matching_tolerations, tolerates
from actors.controllers.nodeipam import RangeAllocator


@pytest.mark.parametrize(
    ("ready", "bad", "state"),
    [
        (3, 0, NORMAL),
        (0, 1, FULL),
        (2, 1, NORMAL),
        (2, 3, PARTIAL),
        (4, 3, NORMAL),
        (1, 2, NORMAL),
        (0, 5, FULL),
        (0, 0, NORMAL),
    ],
)
def test_a_zone_is_judged_by_its_share_of_bad_nodes(ready: int, bad: int, state: str) -> None:
    assert zone_state([True] * ready + [False] * bad) == state


def test_small_zones_stop_and_large_ones_slow_down_in_partial_disruption() -> None:
    rates = Rates()
    assert rates.of(PARTIAL, 50) == 0.0
    assert rates.of(PARTIAL, 51) == 0.01
    assert rates.of(FULL, 3) == 0.1


def test_a_zone_lets_one_node_through_and_then_one_in_ten_seconds() -> None:
    zone = ZoneQueue(0.1, now=0.0)
    zone.nodes.update(dict.fromkeys("abc"))
    assert [zone.take(t) for t in (0.0, 1.0, 9.0, 10.0, 15.0, 20.0, 99.0)] == ["a", None, None, "b", None, "c", None]


def test_a_zone_without_rate_lets_nobody_through() -> None:
    zone = ZoneQueue(0.1, now=0.0)
    zone.nodes["a"] = None
    zone.set_rate(0.0, 0.0)
    assert zone.take(1000.0) is None
    assert zone.wait_s(1000.0) is None


def test_ranges_are_cut_in_order_and_reused_when_released() -> None:
    allocator = RangeAllocator("10.244.0.0/22", 24)
    allocator.occupy("10.244.1.0/24")
    assert [allocator.take() for _ in range(4)] == ["10.244.0.0/24", "10.244.2.0/24", "10.244.3.0/24", None]
    allocator.release("10.244.2.0/24")
    assert allocator.take() == "10.244.2.0/24"


@pytest.mark.parametrize(
    ("toleration", "matches"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists", "effect": "NoSchedule"}, False),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "value": "w"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations_match_by_key_effect_and_value(toleration: dict[str, str], matches: bool) -> None:
    assert tolerates(toleration, {"key": "k", "value": "v", "effect": "NoExecute"}) is matches


def test_one_untolerated_taint_is_enough_to_go() -> None:
    taints = [{"key": "a", "effect": "NoExecute"}, {"key": "b", "effect": "NoExecute"}]
    assert matching_tolerations(taints, [{"key": "a", "operator": "Exists"}]) is None
