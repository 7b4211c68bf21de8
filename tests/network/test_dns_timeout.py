"""The five seconds that a name look-up can lose, and what cures them."""

from __future__ import annotations

import pytest

from actors.network.dns.timeout import CURES, Case, run

AS_IT_IS = Case("as it is")
CASES = {case.name: case for case in CURES}


def test_some_lookups_lose_five_seconds_each_with_a_failed_insert() -> None:
    result = run(AS_IT_IS, lookups=500, seed=1)
    assert result.slow > 0
    assert result.counters["insert_failed"] == result.slow
    assert all(s < 0.01 or 5.0 <= s < 5.01 for s in result.seconds)


def test_the_same_seed_gives_the_same_lookups() -> None:
    assert run(AS_IT_IS, lookups=100, seed=7) == run(AS_IT_IS, lookups=100, seed=7)
    assert run(AS_IT_IS, lookups=300, seed=7).seconds != run(AS_IT_IS, lookups=300, seed=8).seconds


def test_questions_further_apart_than_a_packets_way_do_not_meet() -> None:
    apart = Case("apart", gap_s=(0.001, 0.002))
    assert run(apart, lookups=300).slow == 0


def test_a_newer_kernel_helps_only_where_both_packets_go_the_same_way() -> None:
    assert run(CASES["kernel 5.0, two DNS pods"], lookups=1000).slow > 0
    one = run(CASES["kernel 5.0, one DNS pod"], lookups=1000)
    assert one.slow == 0
    assert one.counters["clash_resolve"] > 0


@pytest.mark.parametrize("name", [c.name for c in CURES if c.options or c.node_local])
def test_a_cure_leaves_no_lookup_slow(name: str) -> None:
    result = run(CASES[name], lookups=1000)
    assert result.slow == 0
    assert result.counters["insert_failed"] == 0
