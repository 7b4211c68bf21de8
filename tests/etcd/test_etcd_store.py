"""The multi-version store: revisions, generations, history, compaction."""

from __future__ import annotations

import pytest

from actors.etcd._store import Store
from protocol.etcd import EtcdError, KeyValue


def put(store: Store, key: bytes, value: bytes = b"v") -> None:
    store.put(key, value, 0)
    store.commit()


def delete(store: Store, key: bytes) -> None:
    old = store.get(key)
    assert old is not None
    store.delete(old)
    store.commit()


@pytest.fixture
def example() -> Store:
    """The worked example of the module: put a, put b, put a, delete a, put a."""
    store = Store()
    put(store, b"a", b"1")
    put(store, b"b", b"2")
    put(store, b"a", b"3")
    delete(store, b"a")
    put(store, b"a", b"4")
    return store


def seen(store: Store, key: bytes, revision: int) -> bytes | None:
    record = store.get_at(key, revision)
    return None if record is None else record.value


def log(store: Store) -> dict[int, list[tuple[bytes, int]]]:
    return {
        revision: [(r.key, r.version) for r in changes]
        for revision, changes in enumerate(store.history(store.log_start, store.revision), store.log_start)
    }


def test_a_fresh_store_is_at_revision_1_and_the_first_write_is_2() -> None:
    store = Store()
    assert store.revision == 1
    put(store, b"a")
    assert store.revision == 2


def test_each_revision_shows_the_keys_as_they_were(example: Store) -> None:
    assert [seen(example, b"a", revision) for revision in range(1, 7)] == [None, b"1", b"1", b"3", None, b"4"]
    assert [seen(example, b"b", revision) for revision in range(1, 7)] == [None, None, b"2", b"2", b"2", b"2"]


def test_a_key_that_is_made_again_starts_a_new_generation(example: Store) -> None:
    assert example.get(b"a") == KeyValue(b"a", b"4", 6, 6, 1)
    assert example.get_at(b"a", 4) == KeyValue(b"a", b"3", 2, 4, 2)


def test_compaction_keeps_what_was_living_at_its_revision(example: Store) -> None:
    example.compact(4)
    assert example.trim()
    assert [seen(example, b"a", revision) for revision in range(4, 7)] == [b"3", None, b"4"]
    assert seen(example, b"b", 4) == b"2"
    assert log(example) == {4: [(b"a", 2)], 5: [(b"a", 0)], 6: [(b"a", 1)]}


def test_compaction_keeps_a_deletion_made_at_its_revision_for_watchers(example: Store) -> None:
    example.compact(5)
    example.trim()
    assert log(example) == {5: [(b"a", 0)], 6: [(b"a", 1)]}
    assert seen(example, b"a", 5) is None


def test_a_deleted_key_leaves_no_trace_once_its_deletion_is_compacted() -> None:
    store = Store()
    put(store, b"a", b"x" * 100)
    delete(store, b"a")
    put(store, b"b")
    size_of_b_alone = Store()
    put(size_of_b_alone, b"b")
    store.compact(4)
    store.trim()
    assert store.size_in_use == size_of_b_alone.size_in_use
    assert store.scan(b"\0", b"\0", 4) == ([store.get(b"b")], 1)


def test_reads_below_the_compacted_revision_are_refused_at_once(example: Store) -> None:
    example.compact(4)
    with pytest.raises(EtcdError, match="required revision has been compacted"):
        example.resolve(3)
    assert example.resolve(4) == 4


def test_reads_above_the_newest_revision_are_refused(example: Store) -> None:
    with pytest.raises(EtcdError, match="required revision is a future revision") as refusal:
        example.resolve(7)
    assert refusal.value.code == 11


@pytest.mark.parametrize("revision", [-1, 0, 3, 4])
def test_compacting_what_is_compacted_is_refused(example: Store, revision: int) -> None:
    example.compact(4)
    with pytest.raises(EtcdError, match="has been compacted"):
        example.compact(revision)


def test_compacting_the_future_is_refused(example: Store) -> None:
    with pytest.raises(EtcdError, match="future revision"):
        example.compact(7)


def test_a_fresh_store_can_be_compacted_to_0_and_then_to_1() -> None:
    store = Store()
    store.compact(0)
    store.compact(1)
    assert store.trim()
    assert store.compact_revision == 1


def test_trimming_in_slices_ends_where_trimming_at_once_does(example: Store) -> None:
    for n in range(50):
        put(example, b"k%d" % (n % 7))
        if n % 5 == 0:
            delete(example, b"k%d" % (n % 7))
    example.compact(40)
    slices = 0
    while not example.trim(3):
        slices += 1
    assert slices > 5
    at_once = Store()
    at_once.restore_base(example.base(), example.log_start, example.compact_revision)
    for changes in example.history(example.log_start, example.revision):
        at_once.restore(changes)
    assert log(at_once) == log(example)
    assert at_once.size_in_use == example.size_in_use


def test_size_falls_to_what_is_in_use_only_when_defragmented(example: Store) -> None:
    before = example.size
    example.compact(6)
    example.trim()
    assert example.size == before > example.size_in_use
    example.defragment()
    assert example.size == example.size_in_use


def test_scanning_an_old_revision_finds_keys_that_were_deleted_since(example: Store) -> None:
    delete(example, b"a")
    records, count = example.scan(b"a", b"z", 3)
    assert [(r.key, r.value) for r in records] == [(b"a", b"1"), (b"b", b"2")]
    assert count == 2


def test_a_limit_cuts_the_records_and_not_the_count() -> None:
    store = Store()
    for n in range(10):
        put(store, b"k%d" % n)
    records, count = store.scan(b"k", b"l", store.revision, 3)
    assert [r.key for r in records] == [b"k0", b"k1", b"k2"]
    assert count == 10
    put(store, b"other")
    records, count = store.scan(b"k", b"l", 11, 3)
    assert ([r.key for r in records], count) == ([b"k0", b"k1", b"k2"], 10)


def test_a_range_that_ends_before_it_starts_is_empty(example: Store) -> None:
    assert example.scan(b"b", b"a", example.revision) == ([], 0)
    assert example.scan(b"b", b"a", 3) == ([], 0)
    assert example.count(b"b", b"a", example.revision) == 0


def test_a_deletion_and_a_put_of_one_key_in_one_revision_leave_the_put() -> None:
    store = Store()
    put(store, b"a", b"old")
    old = store.get(b"a")
    assert old is not None
    store.delete(old)
    store.put(b"a", b"new", 0)
    store.commit()
    assert store.get_at(b"a", 3) == KeyValue(b"a", b"new", 3, 3, 1)
    assert seen(store, b"a", 2) == b"old"
    store.compact(3)
    store.trim()
    assert log(store) == {3: [(b"a", 0), (b"a", 1)]}
