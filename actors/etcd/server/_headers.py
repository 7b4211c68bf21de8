"""Header blocks of HTTP/2: decoded by the library hpack, encoded without compression.

https://www.rfc-editor.org/rfc/rfc7541
"""

from __future__ import annotations

import hpack

__all__ = ["HEADER_BLOCK_BYTES", "HeaderDecoder", "literal_headers"]

HEADER_BLOCK_BYTES = 65_536
CACHED_BLOCKS = 1_000


def literal_headers(*headers: tuple[bytes, bytes]) -> bytes:
    """A header block that compresses nothing and leaves the client's table alone."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)


def _text(data: bytes) -> bytes:
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest = len(data) - 127
    length = bytearray(b"\x7f")
    while rest > 127:
        length.append(rest & 127 | 128)
        rest >>= 7
    length.append(rest)
    return bytes(length) + data


class HeaderDecoder:
    """Decodes header blocks; one that only points into the tables, as most do, is remembered."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=HEADER_BLOCK_BYTES)
        self._known: dict[bytes, dict[bytes, bytes]] = {}

    def decode(self, block: bytes) -> dict[bytes, bytes]:
        """The headers of a block. Raises `hpack.HPACKError`."""
        headers = self._known.get(block)
        if headers is None:
            headers = dict(self._decoder.decode(block, raw=True))
            if all(0x80 <= byte < 0xFF for byte in block):
                if len(self._known) < CACHED_BLOCKS:
                    self._known[block] = headers
            else:
                self._known.clear()  # the table may have moved
        return headers
