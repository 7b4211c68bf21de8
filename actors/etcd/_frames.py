"""Frames: how bytes lie in the files of a data directory.

    length  u32, little-endian    of the payload
    check   u32                   CRC32C of the payload
    header  u32                   CRC32C of the eight bytes before
    payload

One frame is one write and one fsync, so it is there as a whole or not at all. The header's own
checksum tells a frame that was never finished (the file ends inside it) from one whose length was
damaged; the first is dropped, the second refused. Knows nothing of what payloads mean.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import google_crc32c

__all__ = ["DamagedFrame", "frame", "read_frames", "torn_at"]

HEADER = struct.Struct("<II")
HEADER_BYTES = 12
SECTOR_BYTES = 512


class DamagedFrame(ValueError):
    """Bytes that were written once and are no longer what they were. `offset` in the file."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(f"{what} at byte {offset}")
        self.offset = offset


def frame(payload: bytes) -> bytes:
    """A payload with its header."""
    header = HEADER.pack(len(payload), google_crc32c.value(payload))
    return b"".join((header, struct.pack("<I", google_crc32c.value(header)), payload))


def read_frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The payloads of a file, each with the offset after it.

    Raises `DamagedFrame` at the first frame that is not whole; `torn_at` tells whether it is only
    the unfinished last write.
    """
    offset = 0
    while offset < len(data):
        problem = _problem(data, offset)
        if problem:
            raise DamagedFrame(offset, problem)
        length = HEADER.unpack_from(data, offset)[0]
        start = offset + HEADER_BYTES
        offset = start + length
        yield offset, data[start:offset]


def _header_is_good(data: bytes, offset: int) -> bool:
    header = data[offset : offset + HEADER.size]
    check = data[offset + HEADER.size : offset + HEADER_BYTES]
    return len(check) == 4 and google_crc32c.value(header) == struct.unpack("<I", check)[0]


def _problem(data: bytes, offset: int) -> str:
    if len(data) - offset < HEADER_BYTES:
        return "unfinished frame header"
    if not _header_is_good(data, offset):
        return "damaged frame header"
    length, check = HEADER.unpack_from(data, offset)
    payload = data[offset + HEADER_BYTES : offset + HEADER_BYTES + length]
    if len(payload) < length:
        return "unfinished frame"
    return "" if google_crc32c.value(payload) == check else "damaged frame"


def torn_at(data: bytes, offset: int) -> bool:
    """Whether the bad frame at `offset` is the unfinished last write of a log, which nobody was
    ever told of.

    It is when the file ends inside it, or when it is the last one and a whole sector of it, never
    written, reads as zeros (after a power failure). Otherwise it was complete once.
    """
    rest = data[offset:]
    if len(rest) < HEADER_BYTES:
        return True
    if not _header_is_good(data, offset):
        return not any(rest[:HEADER_BYTES]) and not _frame_after(data, offset + 1)
    length = HEADER.unpack_from(data, offset)[0]
    end = offset + HEADER_BYTES + length
    if end > len(data):
        return True
    return end == len(data) and _has_empty_sector(data, offset, end)


def _frame_after(data: bytes, start: int) -> bool:
    return any(
        data[at] | data[at + 1] | data[at + 2] | data[at + 3] and not _problem(data, at)
        for at in range(start, len(data) - HEADER_BYTES)
    )


def _has_empty_sector(data: bytes, start: int, end: int) -> bool:
    first = -(-start // SECTOR_BYTES) * SECTOR_BYTES
    empty = bytes(SECTOR_BYTES)
    for sector in range(first, end, SECTOR_BYTES):
        piece = data[sector : min(sector + SECTOR_BYTES, end)]
        if piece and piece == empty[: len(piece)]:
            return True
    return False
