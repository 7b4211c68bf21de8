"""One HTTP/1.1 connection: parsing, answering in order, streaming.

Owns the bytes of a connection. Requests of one connection are answered one after another, in
order; a client that sends more while one is under way is read no further than a bound. A stream
whose client does not read is ended, not buffered without end.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections import deque
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

import httptools
import orjson

from actors.apiserver._messages import Frames, FramesClosed, HttpCall, HttpReply, StopFrames
from actors.apiserver.pki import user_of
from protocol import status
from protocol.api import StatusError, UserInfo

if TYPE_CHECKING:
    from actors.apiserver.http._pipesocket import PipeSocket
    from actors.apiserver.http._rawspdy import RawSpdy
    from actors.apiserver.http._relay import RelaySocket
    from actors.apiserver.http._websocket import WebSocket
    from actors.kernel import Activity, Clock, Ref

__all__ = ["Connection"]

_MAX_HEADER_BYTES = 64 * 1024
_MAX_WAITING = 64
_STREAM_BUFFER_BYTES = 8 * 1024 * 1024
_PHRASES = {
    101: "Switching Protocols", 200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 304: "Not Modified",
    307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 406: "Not Acceptable", 409: "Conflict", 410: "Gone", 413: "Request Entity Too Large",
    415: "Unsupported Media Type", 422: "Unprocessable Entity", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout",
}
_serial = count(1)


_NO_CACHE = b"Cache-Control: no-cache, private\r\n"


@lru_cache(256)
def _head(code: int, content_type: str) -> bytes:
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    return (
        f"HTTP/1.1 {code} {_PHRASES.get(code, 'Unknown')}\r\n".encode() + _NO_CACHE + kind.encode()
    )


class _Stream:
    """Where the API server sends the parts of a streaming answer: an address of `Frames`."""

    __slots__ = ("actor_urn", "connection", "thread")

    def __init__(self, connection: Connection, urn: str) -> None:
        self.connection = connection
        self.actor_urn = urn
        self.thread = threading.get_ident()

    def tell(self, message: Any) -> None:
        """Frames, in order. Actors on threads of their own tell as well: a transport is the loop's."""
        if threading.get_ident() == self.thread:
            self.connection.on_stream(message)
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the connection with it
            self.connection.loop.call_soon_threadsafe(self.connection.on_stream, message)


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, loop: Any, apiserver: Ref, connections: set[Connection], max_body_bytes: int) -> None:
        self.loop = loop
        self.apiserver = apiserver
        self.connections = connections
        self.max_body_bytes = max_body_bytes
        self.transport: Any = None
        self.peer: UserInfo | None = None
        self.peer_until = float("inf")
        """When the client's certificate expires, in seconds since the epoch."""
        system: Any = apiserver.system  # type: ignore[attr-defined]
        self.clock: Clock = system.clock
        self.activity: Activity = system.activity
        self.peer_address = ""
        self.socket: WebSocket | RawSpdy | RelaySocket | PipeSocket | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._stream = _Stream(self, f"http/{next(_serial)}")
        self._waiting: deque[tuple[HttpCall, bool]] = deque()
        self._busy = False
        self._streaming = False
        self._stream_id = 0
        self._early: list[bytes] = []
        self._early_end = False
        self._keep_alive = True
        self._plain = False
        """The client speaks HTTP/1.0: streams are not chunked, their end is the connection's."""
        self._paused_reading = False
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._lists: dict[str, list[str]] | None = None
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._refused: StatusError | None = None

    # --- asyncio ----------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """A client has connected (and finished the TLS handshake)."""
        self.transport = transport
        self.connections.add(self)
        self.activity.connections += 1
        address = transport.get_extra_info("peername")
        self.peer_address = address[0] if address else ""
        certificate = transport.get_extra_info("peercert")
        if certificate:
            name, groups, uid = user_of(certificate)
            if name:
                self.peer = UserInfo(name, groups, uid)
                self.peer_until = float(ssl.cert_time_to_seconds(certificate["notAfter"]))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self.connections.discard(self)
        self.activity.connections -= 1
        self._stop_stream()
        if self.socket is not None:
            self.socket.lost()

    def push(self, data: bytes) -> None:
        """Write for the upgraded connection; a client that does not read is cut off, not buffered for."""
        if self.transport.is_closing():
            return
        self.transport.write(data)
        if self.transport.get_write_buffer_size() > _STREAM_BUFFER_BYTES:
            if self.socket is not None:
                self.socket.lost()
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self.activity.moves += 1
        if self.socket is not None:
            self.socket.received(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._after_upgrade = data[upgrade.args[0] :]
        except httptools.HttpParserError:
            self._fail(400, "Bad Request")

    def eof_received(self) -> bool:
        """The client sends no more; answers still go out."""
        return False

    def pause_writing(self) -> None:
        """The client reads slowly; streams are bounded in `on_stream`."""

    def resume_writing(self) -> None:
        """The client has caught up."""

    # --- httptools --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._reset()

    def on_url(self, url: bytes) -> None:
        """The request's target, maybe in pieces."""
        self._url += url
        self._header_bytes += len(url)
        if self._header_bytes > _MAX_HEADER_BYTES:
            self._fail(431, "Request Header Fields Too Large")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > _MAX_HEADER_BYTES:
            self._fail(431, "Request Header Fields Too Large")
            return
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self._headers[key] = text
        if key.startswith("impersonate-") or key == "x-stream-protocol-version":
            if self._lists is None:
                self._lists = {}
            self._lists.setdefault(key, []).append(text)

    def on_headers_complete(self) -> None:
        """The body follows, if there is one."""
        if self._headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self.max_body_bytes:
            self._body.clear()
            if self._refused is None:
                self._refused = status.request_entity_too_large(f"limit is {self.max_body_bytes}")
            if self._body_bytes > 8 * self.max_body_bytes:
                self._fail(413, "Request Entity Too Large")
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is here."""
        parser = self._parser
        keep_alive = parser.should_keep_alive()
        self._plain = parser.get_http_version() == "1.0"
        path, _, query = self._url.decode("latin-1").partition("?")
        if path.startswith("http"):
            path = "/" + path.split("/", 3)[3] if path.count("/") >= 3 else "/"
        self._stream_id += 1
        call = HttpCall(
            parser.get_method().decode(), path, query, self._headers,
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
            self.peer, self.peer_address, self._stream, self._stream_id, self._lists,
        )
        if self.peer is not None and self._refused is None and self.clock.now() > self.peer_until:
            self._refused = status.unauthorized()  # valid when it connected, by a clock that has moved since
        if self._refused is not None:
            body = orjson.dumps(self._refused.status)
            self._write(HttpReply(self._refused.code, "application/json", body), False, call.method)
            return
        if self._busy:
            self._waiting.append((call, keep_alive))
            if len(self._waiting) >= _MAX_WAITING and not self._paused_reading:
                self._paused_reading = True
                self.transport.pause_reading()
            return
        self._dispatch(call, keep_alive)

    # --- answering --------------------------------------------------------------------------

    def _dispatch(self, call: HttpCall, keep_alive: bool) -> None:
        self._busy = True
        self.activity.pending += 1
        self._early, self._early_end = [], False
        future: Any = self.apiserver.ask(call, block=False)
        future.add_callback(lambda done: self._answered(done, call, keep_alive))

    def _answered(self, future: Any, call: HttpCall, keep_alive: bool) -> None:
        self.activity.pending -= 1
        self.activity.moves += 1
        if self.transport.is_closing():
            if not future.exception() and future.result().streaming:
                self.apiserver.tell(StopFrames(self._stream, call.stream_id))
            return
        error = future.exception()
        if error is not None:
            failed = status.internal_error(f"{type(error).__name__}: {error}")
            reply = HttpReply(500, "application/json", orjson.dumps(failed.status))
        else:
            reply = future.result()
        if reply.tunnel is not None:
            self._upgrade(reply, call)
        elif reply.streaming:
            self._begin_stream(reply)
        else:
            self._write(reply, keep_alive, call.method)
            self._next(keep_alive)

    def _write(self, reply: HttpReply, keep_alive: bool, method: str) -> None:
        body = reply.body
        parts = [_head(reply.status, reply.content_type), reply.flow]
        for key, value in reply.headers:
            if key == "Cache-Control":  # this answer says itself how long it lasts
                parts[0] = parts[0].replace(_NO_CACHE, b"")
            parts.append(f"{key}: {value}\r\n".encode("utf-8", "replace"))
        if reply.status not in (204, 304):
            parts.append(b"Content-Length: %d\r\n" % (len(body) + sum(map(len, reply.more))))
        parts.append(b"\r\n" if keep_alive else b"Connection: close\r\n\r\n")
        if method != "HEAD":
            parts.append(body)
        self.transport.write(b"".join(parts))
        if reply.more and method != "HEAD":
            self.transport.writelines(reply.more)
        if not keep_alive:
            self.transport.close()

    def _next(self, keep_alive: bool) -> None:
        self._busy = False
        if not keep_alive:
            return
        if self._waiting:
            self._dispatch(*self._waiting.popleft())
        if self._paused_reading and len(self._waiting) < _MAX_WAITING // 2:
            self._paused_reading = False
            self.transport.resume_reading()

    def _fail(self, code: int, phrase: str) -> None:
        if self.transport.is_closing():
            return
        text = f"{code} {phrase}".encode()
        self._write(HttpReply(code, "text/plain; charset=utf-8", text), False, "GET")

    # --- streams ----------------------------------------------------------------------------

    def _begin_stream(self, reply: HttpReply) -> None:
        parts = [_head(reply.status, reply.content_type), reply.flow]
        for key, value in reply.headers:
            parts.append(f"{key}: {value}\r\n".encode())
        parts.append(b"Connection: close\r\n\r\n" if self._plain else b"Transfer-Encoding: chunked\r\n\r\n")
        self._streaming = True
        parts += [data if self._plain else _chunk(data) for data in self._early if data]
        self.transport.write(b"".join(parts))
        if self._early_end:
            self._finish_stream()
        self._early = []

    def on_stream(self, message: Any) -> None:
        """A part of the streaming answer, from the API server (or of a tunnel, from the node)."""
        self.activity.moves += 1
        if type(message) is Frames:
            if message.stream_id != self._stream_id and not self._streaming:
                return
            if not self._streaming:
                self._early.append(message.data)
                return
            if message.data:
                self.transport.write(message.data if self._plain else _chunk(message.data))
                if self.transport.get_write_buffer_size() > _STREAM_BUFFER_BYTES:
                    self._stop_stream()
                    self.transport.abort()
        elif type(message) is FramesClosed:
            if self._streaming:
                self._finish_stream()
            else:
                self._early_end = True
        elif self.socket is not None:
            self.socket.told(message)

    def _finish_stream(self) -> None:
        self._streaming = False
        if self._plain:
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.write(b"0\r\n\r\n")
            self._next(True)

    def _stop_stream(self) -> None:
        if self._streaming:
            self._streaming = False
            self.apiserver.tell(StopFrames(self._stream, self._stream_id))

    def end_stream(self) -> None:
        """The API server has forgotten this stream: end it, so that the client asks again."""
        if self._streaming:
            self._finish_stream()

    def close(self) -> None:
        """Close the connection; a stream ends properly first."""
        self.end_stream()
        if self.transport is not None:
            self.transport.close()

    # --- upgrades ---------------------------------------------------------------------------

    _after_upgrade: bytes = b""

    def _upgrade(self, reply: HttpReply, call: HttpCall) -> None:
        from actors.apiserver.http._rawspdy import RawSpdy
        from actors.apiserver.http._websocket import WebSocket

        assert reply.tunnel is not None
        from actors.apiserver.http._relay import RelaySocket

        made: Any = WebSocket if call.headers.get("upgrade", "").lower() == "websocket" else RawSpdy
        if reply.tunnel.kind == "relay":
            made = RelaySocket
        elif reply.tunnel.kind == "pipe":
            from actors.apiserver.http._pipesocket import PipeSocket

            made = PipeSocket
        self.socket = made(self, self._stream, reply.tunnel, call)
        assert self.socket is not None
        self.socket.open()
        if self._after_upgrade:
            self.socket.received(self._after_upgrade)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
