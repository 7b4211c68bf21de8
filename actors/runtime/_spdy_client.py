"""The client's side of SPDY/3.1, as far as a CRI runtime's streaming URLs need it: exec, attach, port-forward.

Owns one connection and its streams. Headers are sent compressed without the dictionary, which the
format allows, and those of the peer are not looked at. Blocks; for threads.
"""

from __future__ import annotations

import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from urllib.parse import urlsplit

__all__ = ["SpdyConnection"]

VERSION, FIN = 3, 1
SYN_STREAM, RST_STREAM, PING, GOAWAY = 1, 3, 6, 7
MAX_HEAD_BYTES = 64 << 10
PIECE_BYTES = 32 << 10
CONNECT_S = 10.0


class SpdyConnection:
    """An upgraded connection. Raises: OSError when the peer refuses."""

    def __init__(self, url: str, protocol: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), CONNECT_S)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        request = (
            f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
            f"X-Stream-Protocol-Version: {protocol}\r\nContent-Length: 0\r\n\r\n"
        )
        self.socket.sendall(request.encode())
        self.file = self.socket.makefile("rb")
        status = self.file.readline(MAX_HEAD_BYTES)
        while self.file.readline(MAX_HEAD_BYTES) not in (b"\r\n", b"\n", b""):
            pass
        if b" 101 " not in status:
            self.close()
            raise OSError(f"the runtime's streaming server answers: {status.decode(errors='replace').strip()}")
        self.socket.settimeout(None)
        self._packer = zlib.compressobj()
        self._lock = threading.Lock()
        self._next = 1

    def open(self, finished: bool = False, **headers: str) -> int:
        """Open a stream; answers its number. With `finished` we send nothing on it."""
        block = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                block += struct.pack(">I", len(text)) + text
        with self._lock:
            stream, self._next = self._next, self._next + 2
            packed = self._packer.compress(block) + self._packer.flush(zlib.Z_SYNC_FLUSH)
            payload = struct.pack(">IIBB", stream, 0, 0, 0) + packed
            self.socket.sendall(_control(SYN_STREAM, FIN if finished else 0, payload))
        return stream

    def send(self, stream: int, data: bytes, finished: bool = False) -> None:
        """Data on a stream. Raises: OSError."""
        with self._lock:
            for start in range(0, len(data), PIECE_BYTES):
                piece = data[start : start + PIECE_BYTES]
                self.socket.sendall(struct.pack(">II", stream, len(piece)) + piece)
            if finished:
                self.socket.sendall(struct.pack(">IB3x", stream, FIN))

    def frames(self) -> Iterator[tuple[int, bytes, bool]]:
        """(stream, data, whether it was the last) until the connection ends."""
        while len(head := self.file.read(8)) == 8:
            length = int.from_bytes(head[5:8], "big")
            payload = self.file.read(length)
            if not head[0] & 0x80:
                yield int.from_bytes(head[:4], "big"), payload, bool(head[4] & FIN)
                continue
            kind = int.from_bytes(head[2:4], "big")
            if kind == PING:
                with self._lock:
                    self.socket.sendall(head + payload)
            elif kind == RST_STREAM:
                yield int.from_bytes(payload[:4], "big"), b"", True
            elif kind == GOAWAY:
                return

    def close(self) -> None:
        """End the connection; who reads it is woken."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


def _control(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">HH", 0x8000 | VERSION, kind) + bytes([flags]) + len(payload).to_bytes(3, "big") + payload
