"""The JSON gateway on HTTP/1.1: the same services, spoken in JSON, and a few plain pages.

A unary call is one POST. A streaming call answers in chunks, one line of JSON per message, while
its body may still be coming in; `GET ...?method=POST` with an upgrade makes it a web socket, one
text message per JSON object, as etcd's own gateway has it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httptools

from actors.etcd.server._calls import (
    INVALID_ARGUMENT,
    MAX_MESSAGE_BYTES,
    NOT_FOUND,
    RESOURCE_EXHAUSTED,
    STREAMING,
    UNIMPLEMENTED,
    Call,
    Services,
)
from actors.etcd.server._json import BadJson, JsonStream, decode_request, encode_reply, error_body
from actors.etcd.server._pages import PAGES
from actors.etcd.server._websocket import WebSocketCall

__all__ = ["HttpConnection"]

HTTP_STATUS = {
    0: 200, 1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409,
    11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401,
}  # fmt: skip
"""gRPC codes as HTTP status, from grpc-gateway's `runtime/errors.go`."""

METHODS = {
    "/v3/kv/range": "/etcdserverpb.KV/Range",
    "/v3/kv/put": "/etcdserverpb.KV/Put",
    "/v3/kv/deleterange": "/etcdserverpb.KV/DeleteRange",
    "/v3/kv/txn": "/etcdserverpb.KV/Txn",
    "/v3/kv/compaction": "/etcdserverpb.KV/Compact",
    "/v3/kv/lease/revoke": "/etcdserverpb.Lease/LeaseRevoke",
    "/v3/kv/lease/timetolive": "/etcdserverpb.Lease/LeaseTimeToLive",
    "/v3/kv/lease/leases": "/etcdserverpb.Lease/LeaseLeases",
    "/v3/watch": "/etcdserverpb.Watch/Watch",
    "/v3/lease/grant": "/etcdserverpb.Lease/LeaseGrant",
    "/v3/lease/revoke": "/etcdserverpb.Lease/LeaseRevoke",
    "/v3/lease/keepalive": "/etcdserverpb.Lease/LeaseKeepAlive",
    "/v3/lease/timetolive": "/etcdserverpb.Lease/LeaseTimeToLive",
    "/v3/lease/leases": "/etcdserverpb.Lease/LeaseLeases",
    "/v3/cluster/member/list": "/etcdserverpb.Cluster/MemberList",
    "/v3/maintenance/alarm": "/etcdserverpb.Maintenance/Alarm",
    "/v3/maintenance/status": "/etcdserverpb.Maintenance/Status",
    "/v3/maintenance/defragment": "/etcdserverpb.Maintenance/Defragment",
    "/v3/maintenance/hash": "/etcdserverpb.Maintenance/Hash",
    "/v3/maintenance/hashkv": "/etcdserverpb.Maintenance/HashKV",
    "/v3/maintenance/snapshot": "/etcdserverpb.Maintenance/Snapshot",
    "/v3/auth/status": "/etcdserverpb.Auth/AuthStatus",
}
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_QUEUED_REQUESTS = 100


class _Request:
    """One request as far as it has come in."""

    __slots__ = ("body", "complete", "exchange", "headers", "keep_alive", "method", "url")

    def __init__(self) -> None:
        self.method = ""
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()
        self.complete = False
        self.keep_alive = True
        self.exchange: _Exchange | None = None


class HttpConnection:
    """One HTTP/1.1 connection; requests are answered one after another."""

    def __init__(self, services: Services, transport: asyncio.Transport) -> None:
        self.services = services
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self._incoming = _Request()
        self._queue: deque[_Request] = deque()
        self._current: _Request | None = None
        self._socket: WebSocketCall | None = None
        self._paused = False

    # From the socket

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._socket is not None:
            self._socket.data_received(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._socket is not None and (rest := data[upgrade.args[0] :]):
                self._socket.data_received(rest)
        except httptools.HttpParserError:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            self._transport.close()

    def connection_lost(self) -> None:
        """The socket is gone: the calls on it are cancelled."""
        if self._socket is not None:
            self._socket.cancel()
        if self._current is not None and self._current.exchange is not None:
            self._current.exchange.cancel()
        self._queue.clear()

    def pause_writing(self) -> None:
        """The socket's buffer is full."""
        self._paused = True

    def resume_writing(self) -> None:
        """The socket's buffer has room again."""
        self._paused = False

    def shut_down(self) -> None:
        """Close once the request that runs is answered."""
        self._queue.clear()
        if self._current is None:
            self._transport.close()
        else:
            self._current.keep_alive = False

    def flush(self) -> None:
        """Everything is written at once anyway."""

    # The parser's callbacks

    def on_message_begin(self) -> None:
        self._incoming = _Request()

    def on_url(self, url: bytes) -> None:
        self._incoming.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._incoming.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        request = self._incoming
        request.method = self._parser.get_method().decode("latin-1")
        request.keep_alive = self._parser.should_keep_alive()
        if request.headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.headers.get(b"upgrade", b"").lower() == b"websocket":
            self._upgrade(request)
            return
        self._queue.append(request)
        if len(self._queue) > MAX_QUEUED_REQUESTS:
            self._transport.close()
        self._next()

    def on_body(self, body: bytes) -> None:
        request = self._incoming
        request.body += body
        if request.exchange is not None and request.exchange.streaming:
            request.exchange.body_grew()
        elif len(request.body) > MAX_BODY_BYTES:
            self._transport.write(_head(413, "text/plain", "Content-Length: 0", "Connection: close"))
            self._transport.close()

    def on_message_complete(self) -> None:
        request = self._incoming
        request.complete = True
        if request.exchange is not None:
            request.exchange.body_grew()

    # Answering

    def _next(self) -> None:
        if self._current is not None or not self._queue:
            return
        request = self._current = self._queue.popleft()
        request.exchange = _Exchange(self, request)
        request.exchange.body_grew()

    def done(self) -> None:
        """The current request has been answered."""
        request, self._current = self._current, None
        if request is not None and not request.keep_alive:
            self._transport.close()
        else:
            self._next()

    def write(self, data: bytes) -> None:
        """Write to the client."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def backlog(self) -> int:
        """A large number while the client does not read."""
        return 1_000_000 if self._paused else 0

    def respond(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        """Answer the current request with one body."""
        head = _head(status, content_type, f"Content-Length: {len(body)}")
        bodiless = self._current is not None and self._current.method == "HEAD"
        self.write(head if bodiless else head + body)
        self.done()

    def _upgrade(self, request: _Request) -> None:
        path, method = _target(request)
        if method not in STREAMING:
            self._current = request
            self.respond(404, error_body(NOT_FOUND, "Not Found"))
            return
        self._socket = WebSocketCall(self.services, self, list(request.headers.items()), path, method)


def _head(status: int, content_type: str, *more: str) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Client Closed Request"
    lines = (f"HTTP/1.1 {status} {phrase}", f"Content-Type: {content_type}", *more, "", "")
    return "\r\n".join(lines).encode("latin-1")


def _target(request: _Request) -> tuple[str, str]:
    """The path of a request and the gRPC method that it names, or ""."""
    path = urlsplit(request.url.decode("latin-1")).path
    return path, METHODS.get(path, "")


class _Exchange:
    """One request over plain HTTP and its answer; the sink of its call."""

    def __init__(self, connection: HttpConnection, request: _Request) -> None:
        self._connection = connection
        self._request = request
        self._path, self._method = _target(request)
        self.streaming = self._method in STREAMING
        self._call: Call | None = None
        self._stream = JsonStream()
        self._started = False
        self._reply: Any = None
        self._finished = False

    def body_grew(self) -> None:
        """More of the body is there, or all of it."""
        if self._finished:
            return
        if self.streaming and self._request.method == "POST":
            self._feed_stream()
        elif self._request.complete:
            self._answer_unary()

    def cancel(self) -> None:
        """The client is gone."""
        self._finished = True
        if self._call is not None:
            self._call.cancel()

    def _answer_unary(self) -> None:
        if not self._method:
            self._page()
            return
        if self._request.method != "POST":
            self._fail(UNIMPLEMENTED, "Method Not Allowed")
            return
        self._call = self._connection.services.open(self._method, self)
        assert self._call is not None
        try:
            request = decode_request(bytes(self._request.body), self._call.request)
        except BadJson as error:
            self._fail(INVALID_ARGUMENT, str(error))
            return
        size = request.ByteSize()
        if size > MAX_MESSAGE_BYTES:
            text = f"grpc: received message larger than max ({size} vs. {MAX_MESSAGE_BYTES})"
            self._fail(RESOURCE_EXHAUSTED, text)
            return
        self._call.receive(request)

    def _page(self) -> None:
        page = PAGES.get(self._path)
        if page is None:
            self._fail(NOT_FOUND, "Not Found")
        elif self._request.method not in ("GET", "HEAD"):
            self._connection.respond(405, b"Method Not Allowed\n", "text/plain")
        else:
            page(self._connection.services, self._connection.respond)
        self._finished = True

    def _feed_stream(self) -> None:
        if self._call is None:
            self._call = self._connection.services.open(self._method, self)
            assert self._call is not None
        self._stream.feed(bytes(self._request.body))
        self._request.body.clear()
        try:
            for item in self._stream.take(self._call.request, final=self._request.complete):
                self._call.receive(item)
        except BadJson as error:
            self._call.cancel()
            self.finish(INVALID_ARGUMENT, str(error))
            return
        if self._request.complete:
            self._call.half_close()

    # The sink

    def send(self, reply: Any) -> None:
        if self._finished:
            return
        if not self.streaming:
            self._reply = reply
            return
        if not self._started:
            self._started = True
            head = _head(200, "application/json", "Transfer-Encoding: chunked")
            self._connection.write(head)
        self._chunk(encode_reply(reply, streamed=True))

    def _chunk(self, line: bytes) -> None:
        self._connection.write(b"%x\r\n%b\n\r\n" % (len(line) + 1, line))

    def finish(self, code: int = 0, message: str = "") -> None:
        if self._finished:
            return
        if not self.streaming or not self._started:
            if code:
                self._fail(code, message)
            else:
                self._finished = True
                self._connection.respond(200, encode_reply(self._reply))
            return
        self._finished = True
        if code:
            self._chunk(b'{"error":' + error_body(code, message) + b"}")
        self._connection.write(b"0\r\n\r\n")
        self._connection.done()

    def _fail(self, code: int, message: str) -> None:
        self._finished = True
        body = error_body(code, message)
        if self.streaming:
            body = b'{"error":' + body + b"}"
        self._connection.respond(HTTP_STATUS.get(code, 500), body)

    def backlog(self) -> int:
        return self._connection.backlog()
