"""Ranges, puts, deletes and transactions: what etcd answers, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.etcd import (
    Compare,
    DeleteRange,
    EtcdError,
    KeyValue,
    Op,
    Put,
    Range,
    Txn,
)


def refused(call: Any, request: Any) -> tuple[int, str]:
    with pytest.raises(EtcdError) as refusal:
        call(request)
    return refusal.value.code, refusal.value.message


def names(response: Any) -> list[bytes]:
    return [record.key for record in response.kvs]


@pytest.fixture
def four(keys: Any) -> Any:
    for key, value in ((b"k0", b"f"), (b"k1", b"c"), (b"k2", b"d"), (b"k3", b"a")):
        keys.put(Put(key, value))
    return keys


# Put


def test_put_counts_versions_and_keeps_the_create_revision(keys: Any) -> None:
    keys.put(Put(b"a", b"1"))
    response = keys.put(Put(b"a", b"2", prev_kv=True))
    assert response.revision == 3
    assert response.prev_kv == KeyValue(b"a", b"1", 2, 2, 1)
    assert keys.range(Range(b"a")).kvs == (KeyValue(b"a", b"2", 2, 3, 2),)


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (Put(b""), 3, "etcdserver: key is not provided"),
        (Put(b"a", b"v", ignore_value=True), 3, "etcdserver: value is provided"),
        (Put(b"a", lease=1, ignore_lease=True), 3, "etcdserver: lease is provided"),
        (Put(b"a", ignore_value=True), 3, "etcdserver: key not found"),
        (Put(b"a", ignore_lease=True), 3, "etcdserver: key not found"),
        (Put(b"a", lease=77), 5, "etcdserver: requested lease not found"),
    ],
)
def test_put_refuses_and_then_nothing_has_changed(keys: Any, request_: Put, code: int, message: str) -> None:
    assert refused(keys.put, request_) == (code, message)
    assert keys.store.revision == 1
    assert keys.commits == []


def test_ignore_value_changes_the_lease_alone_and_ignore_lease_the_value(keys: Any) -> None:
    keys.leases.grant(7, 60, 0.0)
    keys.put(Put(b"a", b"1"))
    keys.put(Put(b"a", lease=7, ignore_value=True))
    assert keys.store.get(b"a") == KeyValue(b"a", b"1", 2, 3, 2, 7)
    keys.put(Put(b"a", b"2", ignore_lease=True))
    assert keys.store.get(b"a") == KeyValue(b"a", b"2", 2, 4, 3, 7)


# Range


def test_from_key_and_prefix_ranges(four: Any) -> None:
    assert names(four.range(Range(b"k2", b"\0"))) == [b"k2", b"k3"]
    assert names(four.range(Range(b"\0", b"\0"))) == [b"k0", b"k1", b"k2", b"k3"]
    assert names(four.range(Range(b"k", b"l"))) == [b"k0", b"k1", b"k2", b"k3"]
    assert names(four.range(Range(b"k1", b"k3"))) == [b"k1", b"k2"]


@pytest.mark.parametrize(
    ("order", "target", "expected"),
    [
        ("ASCEND", "KEY", "0123"),
        ("DESCEND", "KEY", "3210"),
        ("ASCEND", "VALUE", "3120"),
        ("DESCEND", "VALUE", "0213"),
        ("NONE", "VALUE", "3120"),
        ("DESCEND", "MOD", "3210"),
        ("ASCEND", "CREATE", "0123"),
    ],
)
def test_sorting(four: Any, order: str, target: str, expected: str) -> None:
    response = four.range(Range(b"k", b"l", sort_order=order, sort_target=target))
    assert names(response) == [b"k" + bytes([n]) for n in expected.encode()]


def test_a_limit_without_an_order_cuts_before_it_sorts(four: Any) -> None:
    # One more than the limit is fetched in key order, then sorted by value, then cut.
    response = four.range(Range(b"k", b"l", limit=2, sort_target="VALUE"))
    assert names(response) == [b"k1", b"k2"]
    assert response.more
    assert response.count == 4


def test_a_limit_with_an_order_sorts_everything_first(four: Any) -> None:
    response = four.range(Range(b"k", b"l", limit=2, sort_order="ASCEND", sort_target="VALUE"))
    assert names(response) == [b"k3", b"k1"]
    assert response.more


def test_revision_filters_apply_after_the_count(four: Any) -> None:
    response = four.range(Range(b"k", b"l", limit=1, min_mod_revision=5))
    assert (names(response), response.count, response.more) == ([b"k3"], 4, False)


def test_keys_only_and_count_only(four: Any) -> None:
    assert {record.value for record in four.range(Range(b"k", b"l", keys_only=True)).kvs} == {b""}
    response = four.range(Range(b"k", b"l", count_only=True))
    assert (response.kvs, response.count) == ((), 4)


def test_sort_settings_that_do_not_exist_are_refused(four: Any) -> None:
    wrong = (3, "etcdserver: invalid sort option")
    assert refused(four.range, Range(b"k", sort_order="?")) == wrong
    assert refused(four.range, Range(b"k", sort_target="?")) == wrong


# Delete


def test_a_delete_of_nothing_takes_no_revision(keys: Any) -> None:
    assert keys.delete_range(DeleteRange(b"a")).revision == 1
    assert keys.commits == []


def test_deletes_come_in_key_order_under_one_revision(four: Any) -> None:
    response = four.delete_range(DeleteRange(b"k1", b"\0", prev_kv=True))
    assert (response.revision, response.deleted) == (6, 3)
    assert [record.key for record in response.prev_kvs] == [b"k1", b"k2", b"k3"]
    assert four.commits[-1] == tuple(KeyValue(k, b"", 0, 6) for k in (b"k1", b"k2", b"k3"))


# Transactions


def test_a_transaction_takes_one_revision_and_reads_its_own_writes(keys: Any) -> None:
    response = keys.txn(Txn(success=(Range(b"a"), Put(b"a", b"1"), Range(b"a"))))
    before, put, after = response.responses
    assert (before.revision, before.count) == (1, 0)
    assert put.revision == 2
    assert (after.revision, after.kvs) == (2, (KeyValue(b"a", b"1", 2, 2, 1),))
    assert response.revision == 2


@pytest.mark.parametrize(
    ("compare", "holds"),
    [
        (Compare(b"a", "VERSION", "EQUAL", 1), True),
        (Compare(b"a", "VERSION", "GREATER", 1), False),
        (Compare(b"a", "MOD", "LESS", 3), True),
        (Compare(b"a", "CREATE", "NOT_EQUAL", 2), False),
        (Compare(b"a", "VALUE", "EQUAL", b"1"), True),
        (Compare(b"a", "VALUE", "GREATER", b"0"), True),
        (Compare(b"a", "LEASE", "EQUAL", 0), True),
        (Compare(b"none", "VERSION", "EQUAL", 0), True),
        (Compare(b"none", "MOD", "LESS", 1), True),
        (Compare(b"none", "VALUE", "EQUAL", b""), False),
        (Compare(b"none", "VALUE", "NOT_EQUAL", b"x"), False),
        (Compare(b"a", "VERSION", "EQUAL", 1, b"c"), True),
        (Compare(b"a", "MOD", "EQUAL", 2, b"c"), False),
        (Compare(b"x", "VERSION", "EQUAL", 0, b"z"), True),
    ],
)
def test_comparisons(keys: Any, compare: Compare, holds: bool) -> None:
    keys.put(Put(b"a", b"1"))
    keys.put(Put(b"b", b"2"))
    assert keys.txn(Txn((compare,))).succeeded is holds


def test_nested_compares_are_decided_before_anything_is_written(keys: Any) -> None:
    inner = Txn((Compare(b"a", "VERSION", "EQUAL", 0),), (Put(b"b", b"unseen"),), (Put(b"b", b"seen"),))
    response = keys.txn(Txn(success=(Put(b"a", b"1"), inner)))
    assert keys.store.get(b"b").value == b"unseen"
    assert response.responses[1].revision == 0  # a nested reply has an empty header


DUPLICATE = (3, "etcdserver: duplicate key given in txn request")


@pytest.mark.parametrize(
    "ops",
    [
        (Put(b"a"), Put(b"a")),
        (Put(b"a"), DeleteRange(b"a")),
        (DeleteRange(b"a", b"c"), Put(b"b")),
        (Put(b"a"), Txn(success=(Put(b"a"),))),
        (Put(b"a"), Txn(failure=(Put(b"a"),))),
        (Txn(success=(Put(b"a"),)), Txn(success=(Put(b"a"),))),
        (Txn(success=(DeleteRange(b"a"),)), Put(b"a")),
        (Txn(success=(Txn(success=(Put(b"a"),)),)), Put(b"a")),
    ],
)
def test_a_key_written_twice_on_one_path_is_refused(keys: Any, ops: tuple[Op, ...]) -> None:
    assert refused(keys.txn, Txn(success=ops)) == DUPLICATE
    assert refused(keys.txn, Txn(failure=ops)) == DUPLICATE


@pytest.mark.parametrize(
    "ops",
    [
        (DeleteRange(b"a"), DeleteRange(b"a")),
        (DeleteRange(b"a", b"b"), Put(b"b")),
        (Txn(success=(Put(b"a"),), failure=(Put(b"a"),)),),
        (DeleteRange(b"a", b"\0"), Put(b"c")),  # etcd does not see that "from a on" covers c
    ],
)
def test_writes_that_only_look_like_duplicates_are_accepted(keys: Any, ops: tuple[Op, ...]) -> None:
    keys.txn(Txn(success=ops))


def test_at_most_128_operations_and_what_is_left_of_them_for_nested_ones(keys: Any) -> None:
    too_many = (3, "etcdserver: too many operations in txn request")
    puts = tuple(Put(b"k%d" % n) for n in range(129))
    assert refused(keys.txn, Txn(success=puts)) == too_many
    keys.txn(Txn(success=puts[:128]))
    assert refused(keys.txn, Txn(compare=tuple(Compare(b"a") for _ in range(129)))) == too_many
    keys.txn(Txn(success=(Txn(success=puts[:127]),)))
    assert refused(keys.txn, Txn(success=(Txn(success=puts[:128]),))) == too_many


def test_an_operation_without_content_is_refused(keys: Any) -> None:
    assert refused(keys.txn, Txn(success=(None,))) == (3, "etcdserver: key not found")


@pytest.mark.parametrize(
    ("last", "code"),
    [(Put(b"z", lease=9), 5), (Put(b"z", ignore_value=True), 3), (Range(b"a", revision=9), 11)],
)
def test_a_transaction_that_fails_leaves_nothing_behind(keys: Any, last: Op, code: int) -> None:
    keys.put(Put(b"a"))
    assert refused(keys.txn, Txn(success=(Put(b"b"), last)))[0] == code
    assert keys.store.get(b"b") is None
    assert keys.store.revision == 2


def test_a_put_that_wants_the_value_of_a_key_deleted_before_it_changes_nothing(keys: Any) -> None:
    keys.put(Put(b"b", b"1"))
    everything = DeleteRange(b"a", b"\0")
    for ops in (
        (everything, Put(b"b", ignore_value=True)),
        (Txn(success=(everything,)), Put(b"b", ignore_lease=True)),
        (everything, Txn(success=(Put(b"b", ignore_value=True),))),
    ):
        assert refused(keys.txn, Txn(success=ops)) == (3, "etcdserver: key not found")
    assert keys.store.get(b"b") == KeyValue(b"b", b"1", 2, 2, 1)
    assert keys.store.revision == 2
    keys.put(Put(b"c"))
    assert keys.commits[-1] == (KeyValue(b"c", b"", 3, 3, 1),)
    keys.txn(Txn(success=(Put(b"b", ignore_value=True), DeleteRange(b"a", b"\0"))))
    assert keys.store.get(b"b") is None


# Leases and keys


def test_revoking_deletes_the_keys_under_one_revision_in_key_order(keys: Any) -> None:
    keys.leases.grant(1, 60, 0.0)
    for key in (b"b", b"a", b"c"):
        keys.put(Put(key, lease=1))
    keys.put(Put(b"c"))  # without the lease: detached
    keys.revoke(1)
    assert keys.commits[-1] == (KeyValue(b"a", b"", 0, 6), KeyValue(b"b", b"", 0, 6))
    assert keys.store.get(b"c") is not None
    assert refused(keys.revoke, 1) == (5, "etcdserver: requested lease not found")


def test_a_key_moves_from_lease_to_lease(keys: Any) -> None:
    keys.leases.grant(1, 60, 0.0)
    keys.leases.grant(2, 60, 0.0)
    keys.put(Put(b"a", lease=1))
    keys.put(Put(b"a", lease=2))
    assert keys.leases.get(1).keys == set()
    keys.delete_range(DeleteRange(b"a"))
    assert keys.leases.get(2).keys == set()
