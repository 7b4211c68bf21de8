"""A snapshot in the file format of etcd's own: a bbolt database.

`etcdutl snapshot status` and `restore` read it, so that what is kept here can move into a real
etcd. Writes complete, packed files only; nothing here reads or changes one.
Format: https://github.com/etcd-io/bbolt, `internal/common/page.go` and `meta.go`; buckets:
`server/storage/schema` of etcd 3.6.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable

from actors.etcd._hash import history_pairs, revision_key
from actors.etcd._pb import encode_lease
from actors.etcd._records import LeaseSet
from actors.etcd._recovery import Captured
from protocol.etcd import Member

__all__ = ["snapshot_file"]

PAGE_BYTES = 4096
HEADER = struct.Struct("<QHHI")  # page id, flags, count, overflow pages
LEAF_ELEMENT = struct.Struct("<IIII")  # flags, position, key size, value size
BRANCH_ELEMENT = struct.Struct("<IIQ")  # position, key size, page id
BRANCH, LEAF, META, FREELIST = 0x01, 0x02, 0x04, 0x10
BUCKET = 0x01
MAGIC, VERSION = 0xED0CDAED, 2
FIRST_DATA_PAGE = 3

Pair = tuple[bytes, bytes]


class _File:
    """Pages in the order of their ids, from the first one after metas and free list."""

    def __init__(self) -> None:
        self.pages: list[bytes] = []
        self.next_id = FIRST_DATA_PAGE

    def add(self, flags: int, count: int, body: bytes) -> int:
        """Write one page, with as many overflow pages as it needs. Returns its id."""
        total = HEADER.size + len(body)
        overflow = -(-total // PAGE_BYTES) - 1
        page_id = self.next_id
        page = HEADER.pack(page_id, flags, count, overflow) + body
        self.pages.append(page.ljust((overflow + 1) * PAGE_BYTES, b"\0"))
        self.next_id += overflow + 1
        return page_id

    def tree(self, pairs: Iterable[Pair], flags: int = 0) -> int:
        """Write a B+ tree of sorted pairs. Returns the id of its root page."""
        level = [
            (chunk[0][0] if chunk else b"", self.add(LEAF, len(chunk), _leaf(chunk, flags))) for chunk in _chunks(pairs)
        ]
        while len(level) > 1:
            level = [(chunk[0][0], self.add(BRANCH, len(chunk), _branch(chunk))) for chunk in _branch_chunks(level)]
        return level[0][1]


def _chunks(pairs: Iterable[Pair]) -> Iterable[list[Pair]]:
    """Pairs in lists that fill a page each; one that is larger than a page stands alone."""
    chunk: list[Pair] = []
    used = HEADER.size
    any_yet = False
    for key, value in pairs:
        size = LEAF_ELEMENT.size + len(key) + len(value)
        if chunk and used + size > PAGE_BYTES:
            yield chunk
            any_yet = True
            chunk, used = [], HEADER.size
        chunk.append((key, value))
        used += size
    if chunk or not any_yet:
        yield chunk


def _branch_chunks(level: list[tuple[bytes, int]]) -> Iterable[list[tuple[bytes, int]]]:
    chunk: list[tuple[bytes, int]] = []
    used = HEADER.size
    for key, page_id in level:
        size = BRANCH_ELEMENT.size + len(key)
        # A branch has two children at least, or the tree would not get narrower.
        if len(chunk) > 1 and used + size > PAGE_BYTES:
            yield chunk
            chunk, used = [], HEADER.size
        chunk.append((key, page_id))
        used += size
    yield chunk


def _leaf(pairs: list[Pair], flags: int) -> bytes:
    elements, data = [], []
    position = LEAF_ELEMENT.size * len(pairs)
    for index, (key, value) in enumerate(pairs):
        at = position - index * LEAF_ELEMENT.size
        elements.append(LEAF_ELEMENT.pack(flags, at, len(key), len(value)))
        data.append(key + value)
        position += len(key) + len(value)
    return b"".join(elements + data)


def _branch(children: list[tuple[bytes, int]]) -> bytes:
    elements, data = [], []
    position = BRANCH_ELEMENT.size * len(children)
    for index, (key, page_id) in enumerate(children):
        at = position - index * BRANCH_ELEMENT.size
        elements.append(BRANCH_ELEMENT.pack(at, len(key), page_id))
        data.append(key)
        position += len(key)
    return b"".join(elements + data)


def _fnv1a(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFF_FFFF_FFFF_FFFF
    return value


def _meta(page_id: int, root: int, high_water: int) -> bytes:
    """One of the two pages that say where everything is; the one of the higher id is newer."""
    body = struct.pack("<IIIIQQQQQ", MAGIC, VERSION, PAGE_BYTES, 0, root, 0, 2, high_water, page_id)
    page = HEADER.pack(page_id, META, 0, 0) + body + struct.pack("<Q", _fnv1a(body))
    return page.ljust(PAGE_BYTES, b"\0")


def _buckets(captured: Captured, member: Member, cluster_id: int) -> dict[bytes, list[Pair]]:
    leases = [
        (struct.pack(">q", each.id), encode_lease(each.id, each.ttl, max(1, int(each.left_s))))
        for each in captured.leases
        if isinstance(each, LeaseSet)
    ]
    meta = [
        (b"consistent_index", struct.pack(">Q", captured.revision + 3)),
        (b"term", struct.pack(">Q", 2)),
    ]
    if captured.compact_revision > 0:
        compacted = revision_key(captured.compact_revision, 0, False)
        meta += [(b"finishedCompactRev", compacted), (b"scheduledCompactRev", compacted)]
    about = {
        "id": member.id,
        "peerURLs": list(member.peer_urls),
        "name": member.name,
        "clientURLs": list(member.client_urls),
    }
    members = [(f"{member.id:x}".encode(), json.dumps(about).encode())]
    return {
        b"alarm": [],
        b"auth": [],
        b"authRoles": [],
        b"authUsers": [],
        b"cluster": [(b"clusterVersion", b"3.5.0")],
        b"key": history_pairs(captured.base, captured.history, captured.start),
        b"lease": sorted(leases),
        b"members": members,
        b"members_removed": [],
        b"meta": sorted(meta),
    }


def snapshot_file(captured: Captured, member: Member, cluster_id: int) -> bytes:
    """The whole database."""
    file = _File()
    roots = []
    for name, pairs in sorted(_buckets(captured, member, cluster_id).items()):
        roots.append((name, struct.pack("<QQ", file.tree(pairs), 0)))
    root = file.tree(roots, BUCKET)
    free_list = HEADER.pack(2, FREELIST, 0, 0).ljust(PAGE_BYTES, b"\0")
    metas = [_meta(0, root, file.next_id), _meta(1, root, file.next_id)]
    return b"".join([*metas, free_list, *file.pages])
