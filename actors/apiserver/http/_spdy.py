"""SPDY/3.1 framing: what kubectl's port-forward, and the exec of older clients, speak after an upgrade.

Owns frames and header compression of one connection. What the streams are for is `_spdystreams`'. Flow
control windows are not kept, as in the library that Kubernetes uses.

https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Protocol

__all__ = ["DICTIONARY", "Session", "SpdyError"]

SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY, HEADERS = 1, 2, 3, 6, 7, 8
_VERSION = 3
_FIN = 1
_CANCEL = 5
_MAX_FRAME_BYTES = 4 * 1024 * 1024
_MAX_HEADER_BYTES = 64 * 1024
_PIECE_BYTES = 32 * 1024

DICTIONARY = zlib.decompress(base64.b85decode(
    "c-"
    "m!D+j84B5Y^POlu47cNqzv&Eg6F(=s2D6gL`r7blhYbclr#0D+)0PARwqqzP`Jl<SOlqBpw{><?Mx;OeS;Zqjt8ROeWJ6$cCQY^%0*Ze"
    "xS#!0Rs^boyH&)ftgeaJY7B;QLa`p^gzrvdj_m>jkfI(Wu$Ef*;0h3dnzCWl>B7mPo*(#lMIHqazTHVB##Is)e3UuYz)pI@fe{6wZDEs"
    "7hq$)kUa(Z_HaJZ@xUDkdG^48ZR6?-E2j?0zdmqXQztF^W0HTIJ?=c6r;SV<n?jV7c?MgLQW4D&>5xjEE`#e*-^YGG(#yP)QIUw}gi-"
    "fWLzDN~rnWyt(mD$dR^)Mz@DlN0|L<dDA0I-I&rw-VI=Ri4E^K6INYTs(*>)1q3m@Eem(viiEUm_JUjEA-kLL8CVIE)!0RnX_Kn!TQjO"
    "jS*A*>VnDn**(Dru95=Ll_&e#fJl555huA=AeL`sO$-"
    "OHG=tW!TZatTpMJqjbBU?q;+3ui#k+D3!`SY14Mj`Y7X&YArcu?|!EkD6AhVdGy=e-"
    "TSlRRY4v@FsUcQ!e~W8aKUl^+`Ue+?g4x*jb5ij*pF7*g7bnGC4I`0*Cju%IInnF@v7pY;&nyLYr#vwYr)S2;S0gvh=Plv5Jf49N)$pA"
    "wJ6R-@w(<^%|%V2D)xu7`PJBatO66W8;jHH(i}=I(186kE@H(CcI(#Au=jul7Adn6Sn-dtVSmD>0s1J=<}Z5~CNu(5T)VK)O#@b>a1n{"
    "YHZ?llVBBD(VIR^Y*)JiuP-6(Py6L=u4wC@dR>?#wpy+EHvs@T>D=oW*1-"
    "q4jUHO2|9eX=i{2F#OwCLg^d#56XTeF`*G0uNTA1uRW>~4UJ{S6JG)sV64pfmPCM*JD@_Sf4xwHoX_-"
    "bdKRvsLU&raRo3GjH2H`sfd+)yqtJZ}j*goNdwii!=FuPi%_jjnsC8AF-"
    "ZZ1?^)tu7wYJjjKlQ5k|gjKWm>gur$bJeWO<U|HaE8F7u1SLH91dxTxRcMMiw~T?Y2kC4cn~<Ho1L"
))
"""The dictionary that the specification gives for the compression of headers."""


class SpdyError(ValueError):
    """The peer does not speak SPDY/3.1."""


class Handler(Protocol):
    """Who hears of streams, and sends bytes."""

    def send(self, data: bytes) -> None:
        """Bytes for the peer."""

    def opened(self, stream: int, headers: dict[str, str], finished: bool) -> None:
        """The peer has opened a stream."""

    def data(self, stream: int, data: bytes, finished: bool) -> None:
        """Data on a stream."""

    def reset(self, stream: int) -> None:
        """The peer wants no more of a stream."""


class Session:
    """One connection, the server's side."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self._buffer = bytearray()
        self._unpacker = zlib.decompressobj(zdict=DICTIONARY)
        self._packer = zlib.compressobj(zdict=DICTIONARY)

    # --- from the peer ----------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Bytes from the peer. Raises `SpdyError`."""
        self._buffer += data
        while len(self._buffer) >= 8:
            size = int.from_bytes(self._buffer[5:8], "big")
            if size > _MAX_FRAME_BYTES:
                raise SpdyError("a frame is too large")
            if len(self._buffer) < 8 + size:
                return
            head, payload = bytes(self._buffer[:8]), bytes(self._buffer[8 : 8 + size])
            del self._buffer[: 8 + size]
            if head[0] & 0x80:
                self._control(head, payload)
            else:
                stream = int.from_bytes(head[:4], "big")
                self.handler.data(stream, payload, bool(head[4] & _FIN))

    def _control(self, head: bytes, payload: bytes) -> None:
        version, kind = int.from_bytes(head[:2], "big") & 0x7FFF, int.from_bytes(head[2:4], "big")
        if version != _VERSION:
            raise SpdyError(f"version {version} is not spoken")
        try:
            if kind == SYN_STREAM:
                stream = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
                headers = self._headers(payload[10:])
                self._reply(stream)
                self.handler.opened(stream, headers, bool(head[4] & _FIN))
            elif kind == HEADERS:
                self._headers(payload[4:])
            elif kind == RST_STREAM:
                self.handler.reset(int.from_bytes(payload[:4], "big") & 0x7FFFFFFF)
            elif kind == PING and payload[3] & 1:  # odd ones are the client's
                self.handler.send(head + payload)
        except (struct.error, IndexError, zlib.error, UnicodeDecodeError) as error:
            raise SpdyError(f"a frame does not parse: {error}") from None

    def _headers(self, block: bytes) -> dict[str, str]:
        data = self._unpacker.decompress(block, _MAX_HEADER_BYTES)
        if self._unpacker.unconsumed_tail:
            raise SpdyError("headers are too large")
        (count,), at = struct.unpack_from(">I", data), 4
        found: dict[str, str] = {}
        for _ in range(count):
            words = []
            for _ in range(2):
                (size,) = struct.unpack_from(">I", data, at)
                words.append(data[at + 4 : at + 4 + size].decode())
                at += 4 + size
            found[words[0].lower()] = words[1]
        return found

    # --- to the peer ------------------------------------------------------------------------

    def _frame(self, kind: int, flags: int, payload: bytes) -> None:
        head = struct.pack(">HHI", 0x8000 | _VERSION, kind, flags << 24 | len(payload))
        self.handler.send(head + payload)

    def _reply(self, stream: int) -> None:
        block = self._packer.compress(struct.pack(">I", 0)) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        self._frame(SYN_REPLY, 0, struct.pack(">I", stream) + block)

    def send_data(self, stream: int, data: bytes, finished: bool = False) -> None:
        """Send data on a stream; `finished` ends this side of it."""
        pieces = [data[at : at + _PIECE_BYTES] for at in range(0, len(data), _PIECE_BYTES)] or [b""]
        for number, piece in enumerate(pieces):
            flags = _FIN if finished and number == len(pieces) - 1 else 0
            self.handler.send(struct.pack(">II", stream, flags << 24 | len(piece)) + piece)

    def send_reset(self, stream: int) -> None:
        """End a stream at once."""
        self._frame(RST_STREAM, 0, struct.pack(">II", stream, _CANCEL))
