"""gzip for answers, with the costly middle of a list compressed once.

Owns RFC 1952 framing. Deflate streams that end on a byte boundary (a sync flush) and do not look back
beyond their own start can be joined; so a list is a fresh head, the kept content and a fresh end in one
gzip member. Only the checksum runs over all of it each time.
"""

from __future__ import annotations

import zlib

__all__ = ["deflate", "gzip", "gzip_list"]

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
_LEVEL = 1  # upstream's: fast rather than small


def gzip(data: bytes) -> bytes:
    """One gzip member."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def deflate(data: bytes) -> bytes:
    """Raw deflate blocks, none of them the last, ending on a byte boundary."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)


def gzip_list(head: bytes, content: bytes, packed: bytes, tail: bytes) -> bytes:
    """The gzip member of `head + content + tail`, where `packed` is `deflate(content)`."""
    last = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    end = last.compress(tail) + last.flush()
    checksum = zlib.crc32(tail, zlib.crc32(content, zlib.crc32(head)))
    size = len(head) + len(content) + len(tail)
    trailer = checksum.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")
    return b"".join((_HEADER, deflate(head), packed, end, trailer))
