"""The watch cache: order, indexes, history, and JSON made once per revision."""

from __future__ import annotations

import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.apiserver._cache import Bucket, Entry, ResourceCache, encode, splice_revision
from actors.apiserver._gzip import deflate, gzip_list
from actors.apiserver._memo import Memo


def put(cache: ResourceCache, key: str, revision: int, **spec: Any) -> Entry:
    namespace, _, name = key.rpartition("/")
    obj = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace}, "spec": spec}
    entry = cache.entry(key, obj, encode(obj), revision)
    cache.put(entry)
    return entry


def test_the_history_starts_a_watch_in_the_past_until_it_is_cut() -> None:
    cache = ResourceCache("", "pods", 4, history=2)
    put(cache, "x/a", 5)
    put(cache, "x/b", 6)
    assert (cache.floor, [c.revision for c in cache.since(4)]) == (4, [5, 6])
    put(cache, "x/a", 8)
    assert cache.floor == 5
    cache.delete("x/b", 9)
    assert (cache.floor, [c.revision for c in cache.since(6)]) == (6, [8, 9])
    assert cache.since(9) == []


def test_a_deletion_carries_the_last_content_under_its_own_revision() -> None:
    cache = ResourceCache("", "pods", 0, history=10)
    put(cache, "x/a", 5, nodeName="n")
    change = cache.delete("x/a", 9)
    assert change is not None
    assert change.gone.object["metadata"]["resourceVersion"] == "9"
    assert change.gone.object["spec"] == {"nodeName": "n"}
    assert orjson.loads(change.line("DELETED", "v1", None))["object"]["metadata"]["resourceVersion"] == "9"


def test_pods_move_between_nodes_in_the_index() -> None:
    cache = ResourceCache("", "pods", 0, history=10)
    put(cache, "x/a", 1)
    assert cache.by_node is not None
    assert list(cache.by_node) == [""]
    put(cache, "x/a", 2, nodeName="n1")
    assert {node: list(bucket.entries) for node, bucket in cache.by_node.items()} == {"n1": ["x/a"]}
    cache.delete("x/a", 3)
    assert cache.by_node == {}
    assert cache.by_namespace == {}


def test_json_is_made_once_and_shared_by_lists_until_something_changes() -> None:
    cache = ResourceCache("", "pods", 0, history=10)
    put(cache, "x/a", 1)
    bucket = cache.by_namespace["x"]
    first = bucket.joined("v1", None, True)
    assert bucket.joined("v1", None, True) is first
    assert first.startswith(b'{"metadata":{"resourceVersion":"1"')
    put(cache, "x/b", 2)
    assert bucket.joined("v1", None, True) is not first


@given(st.dictionaries(st.text(max_size=6), st.text(max_size=6), max_size=3), st.integers(1, 1 << 62))
def test_the_version_is_spliced_into_any_object(labels: dict[str, str], revision: int) -> None:
    obj = {"spec": {"metadata": {}}, "metadata": {"labels": labels} if labels else {}, "apiVersion": "v1", "kind": "X"}
    decoded = orjson.loads(splice_revision(encode(obj), revision))
    assert decoded["metadata"].pop("resourceVersion") == str(revision)
    assert decoded == obj


KEYS = st.text("ab/-.", min_size=1, max_size=3)


@given(st.lists(st.tuples(st.booleans(), KEYS, st.booleans()), max_size=40))
def test_a_bucket_lists_in_the_order_of_its_keys_whatever_happened(steps: list[tuple[bool, str, bool]]) -> None:
    bucket, model = Bucket(), set()
    for add, key, look in steps:
        if add:
            bucket.put(Entry(key, "", key, {}, b"", 1))
            model.add(key)
        else:
            bucket.remove(key)
            model.discard(key)
        if look:
            assert bucket.keys() == sorted(model)
    assert [entry.key for entry in bucket.ordered()] == sorted(model)


@given(st.binary(max_size=99), st.binary(max_size=5000), st.binary(max_size=9))
def test_a_list_joined_from_compressed_pieces_is_one_gzip_member(head: bytes, content: bytes, tail: bytes) -> None:
    packed = gzip_list(head, content, deflate(content), tail)
    unpacker = zlib.decompressobj(31)
    assert unpacker.decompress(packed) == head + content + tail
    assert unpacker.eof
    assert unpacker.unused_data == b""


def test_a_memo_forgets_but_keeps_what_is_used() -> None:
    memo = Memo(bound=2)
    memo.put("a", 1)
    memo.put("b", 2)
    memo.put("c", 3)
    assert memo.get("a") == 1
    memo.put("d", 4)
    memo.put("e", 5)
    assert memo.get("b") is None
    assert memo.get("a") == 1


@pytest.mark.parametrize("bound", [1, 3])
def test_a_memo_is_bounded(bound: int) -> None:
    memo = Memo(bound)
    for number in range(100):
        memo.put(number, number)
    assert sum(memo.get(number) is not None for number in range(100)) <= 3 * bound
