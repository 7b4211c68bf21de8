"""gRPC on top of HTTP/2: requests become calls, replies become length-prefixed messages, the
outcome becomes trailers.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import asyncio
import gzip
import struct
from collections import deque
from typing import Any
from urllib.parse import quote

from actors.etcd.server._calls import INTERNAL, MAX_MESSAGE_BYTES, RESOURCE_EXHAUSTED, UNIMPLEMENTED, Call, Services
from actors.etcd.server._headers import literal_headers
from actors.etcd.server._http2 import Connection

__all__ = ["grpc_connection"]

PREFIX = struct.Struct(">BI")
HEAD = literal_headers((b":status", b"200"), (b"content-type", b"application/grpc"))
SUCCESS = literal_headers((b"grpc-status", b"0"))
WRONG_CONTENT = literal_headers((b":status", b"415"))
# What a percent-encoded grpc-message may hold as it is: printable ASCII but for the percent sign.
PLAIN = "".join(chr(n) for n in range(0x20, 0x7F) if chr(n) != "%")


def grpc_connection(services: Services, transport: asyncio.Transport) -> Connection:
    """A connection whose streams are calls on `services`."""

    def open_stream(connection: Connection, stream_id: int, headers: dict[bytes, bytes]) -> _Stream | None:
        content_type = headers.get(b"content-type", b"")
        if headers.get(b":method") != b"POST" or not content_type.startswith(b"application/grpc"):
            connection.send_headers(stream_id, WRONG_CONTENT, end=True)
            return None
        stream = _Stream(connection, stream_id)
        path = headers.get(b":path", b"").decode("latin-1")
        stream.call = services.open(path, stream)
        if stream.call is None:
            service, _, method = path.lstrip("/").partition("/")
            stream.finish(UNIMPLEMENTED, f"unknown method {method} for service {service}")
        return stream

    return Connection(transport, open_stream)


class _Stream:
    """One call on a connection: an HTTP/2 stream on the one side, the call's sink on the other."""

    __slots__ = (
        "_buffer", "_connection", "_finished", "_headed", "_id", "_out", "_remote_ended", "_trailers", "begun", "call"
    )

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self._connection = connection
        self._id = stream_id
        self._buffer = b""
        self._out: deque[bytes] = deque()
        self._trailers: bytes | None = None
        self._headed = False
        self._remote_ended = False
        self._finished = False
        self.begun = False
        self.call: Call | None = None

    # What the client sends

    def data(self, data: bytes) -> None:
        """Take bytes of request messages."""
        buffer = self._buffer + data if self._buffer else data
        while len(buffer) >= 5 and self.call is not None and not self._finished:
            compressed, length = struct.unpack_from(">?I", buffer)
            if length > MAX_MESSAGE_BYTES:
                text = f"grpc: received message larger than max ({length} vs. {MAX_MESSAGE_BYTES})"
                self._refuse(RESOURCE_EXHAUSTED, text)
                return
            if len(buffer) < 5 + length:
                break
            self._message(buffer[5 : 5 + length], compressed)
            buffer = buffer[5 + length :]
        self._buffer = buffer

    def _message(self, body: bytes, compressed: bool) -> None:
        assert self.call is not None
        try:
            request = self.call.request.FromString(gzip.decompress(body) if compressed else body)
        except Exception as error:  # protobuf's DecodeError, or one of several of gzip's
            self._refuse(INTERNAL, f"grpc: error unmarshalling request: {error}")
            return
        self.begun = True
        self.call.receive(request)

    def _refuse(self, code: int, text: str) -> None:
        if self.call is not None:
            self.call.cancel()
        self._out.clear()
        self.finish(code, text)

    def remote_ended(self) -> None:
        """The client has sent everything."""
        self._remote_ended = self.begun = True
        if self.call is not None and not self._finished:
            self.call.half_close()

    def cancelled(self) -> None:
        """The client has reset the stream, or is gone."""
        self._finished = True
        self._out.clear()
        if self.call is not None:
            self.call.cancel()

    # What the client gets

    def send(self, reply: Any) -> None:
        """Queue one reply message."""
        if self._finished:
            return
        body = reply.SerializeToString()
        message = PREFIX.pack(0, len(body)) + body
        if not self._headed:
            self._headed = True
            self._connection.send_headers(self._id, HEAD, end=False)
        if not self._out:
            sent = self._connection.send_data(self._id, message)
            if sent == len(message):
                return
            message = message[sent:]
        self._out.append(message)

    def finish(self, code: int = 0, message: str = "") -> None:
        """Queue the call's status after all replies."""
        if self._finished:
            return
        self._finished = True
        trailers = SUCCESS
        if code:
            text = quote(message, safe=PLAIN).encode()
            trailers = literal_headers((b"grpc-status", b"%d" % code), (b"grpc-message", text))
        self._trailers = trailers if self._headed else HEAD + trailers
        self.pump()

    def backlog(self) -> int:
        """Replies that flow control holds back."""
        return len(self._out)

    def pump(self) -> None:
        """Send what flow control allows."""
        while self._out:
            message = self._out[0]
            sent = self._connection.send_data(self._id, message)
            if sent < len(message):
                self._out[0] = message[sent:]
                return
            self._out.popleft()
        if self._trailers is not None:
            trailers, self._trailers = self._trailers, None
            self._connection.send_headers(self._id, trailers, end=True)
            self._connection.closed(self._id, not self._remote_ended)
