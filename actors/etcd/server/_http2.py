"""gRPC on HTTP/2: frames in, calls out. The frames themselves are the library h2's affair.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import asyncio
import gzip
import struct
from collections import deque
from typing import Any
from urllib.parse import quote

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from actors.etcd.server._calls import UNIMPLEMENTED, Call, Services

__all__ = ["MAX_MESSAGE_BYTES", "GrpcConnection"]

MAX_MESSAGE_BYTES = 1_572_864 + 512 * 1024
"""The largest message that a client may send: etcd's request limit and its overhead."""
WINDOW_BYTES = 4 * 1024 * 1024
MAX_STREAMS = 100_000
WRITE_HIGH_WATER_BYTES = 1024 * 1024

INTERNAL, RESOURCE_EXHAUSTED, UNAUTHENTICATED_CONTENT = 13, 8, 415
RESPONSE_HEADERS = [(b":status", b"200"), (b"content-type", b"application/grpc")]
OK_TRAILERS = [(b"grpc-status", b"0"), (b"grpc-message", b"")]

_CONFIG = h2.config.H2Configuration(
    client_side=False,
    header_encoding=None,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)


class GrpcConnection:
    """One HTTP/2 connection: what `data_received` gets is answered by writes to the transport."""

    def __init__(self, services: Services, transport: asyncio.Transport) -> None:
        self._services = services
        self._transport = transport
        self._http = h2.connection.H2Connection(_CONFIG)
        self._streams: dict[int, _Stream] = {}
        self._flush_scheduled = False
        self._loop = asyncio.get_running_loop()
        self._paused = False
        self._closing = False
        self._http.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 65_536,
            },
        )
        self._http.initiate_connection()
        self._http.increment_flow_control_window(WINDOW_BYTES)
        self.flush()

    # From the socket

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        try:
            events = self._http.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._write()  # h2 has a GOAWAY ready
            self._transport.close()
            return
        for event in events:
            self._handle(event)
        self.flush()

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.DataReceived():
                self._data(event)
            case h2.events.RequestReceived():
                self._open_stream(event)
            case h2.events.StreamEnded():
                stream = self._streams.get(event.stream_id)
                if stream is not None:
                    stream.remote_ended()
            case h2.events.StreamReset():
                stream = self._streams.pop(event.stream_id, None)
                if stream is not None:
                    stream.cancelled()
            case h2.events.WindowUpdated():
                if event.stream_id:
                    stream = self._streams.get(event.stream_id)
                    if stream is not None:
                        stream.pump()
                else:
                    self._pump_all()
            case h2.events.RemoteSettingsChanged():
                self._pump_all()
            case h2.events.ConnectionTerminated():
                if not self._streams:
                    self._transport.close()

    def _data(self, event: h2.events.DataReceived) -> None:
        length = event.flow_controlled_length
        if length:
            self._http.acknowledge_received_data(length, event.stream_id)
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.data(event.data)

    def _open_stream(self, event: h2.events.RequestReceived) -> None:
        headers = dict(event.headers)
        stream = _Stream(self, event.stream_id)
        content_type = headers.get(b"content-type", b"")
        if headers.get(b":method") != b"POST" or not content_type.startswith(b"application/grpc"):
            self._http.send_headers(event.stream_id, [(b":status", b"415")], end_stream=True)
            return
        self._streams[event.stream_id] = stream
        path = headers[b":path"].decode("latin-1")
        call = self._services.open(path, stream)
        if call is None:
            service, _, method = path.lstrip("/").partition("/")
            stream.finish(UNIMPLEMENTED, f"unknown method {method} for service {service}")
        else:
            stream.call = call

    def connection_lost(self) -> None:
        """The socket is gone: all calls are cancelled."""
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.cancelled()

    def pause_writing(self) -> None:
        """The socket's buffer is full."""
        self._paused = True

    def resume_writing(self) -> None:
        """The socket's buffer has room again."""
        self._paused = False
        self._pump_all()
        self.flush()

    def shut_down(self) -> None:
        """Ask the client to go: no new calls; calls that run are ended by their owners."""
        if not self._closing:
            self._closing = True
            self._http.close_connection()
            self._write()

    # To the socket

    def flush(self) -> None:
        """Write what h2 has ready once this turn of the loop is over."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._flush_scheduled = False
        data = self._http.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _pump_all(self) -> None:
        for stream in list(self._streams.values()):
            stream.pump()

    def send_headers(self, stream_id: int, headers: list[tuple[bytes, bytes]], end: bool) -> None:
        """Send a header block, unless the stream is gone."""
        try:
            self._http.send_headers(stream_id, headers, end_stream=end)
        except h2.exceptions.ProtocolError:
            self._streams.pop(stream_id, None)
        self.flush()

    def room(self, stream_id: int) -> int:
        """How many bytes of data may be sent on a stream now."""
        if self._paused:
            return 0
        try:
            window = self._http.local_flow_control_window(stream_id)
        except h2.exceptions.ProtocolError:
            return 0
        return min(window, self._http.max_outbound_frame_size)

    def send_data(self, stream_id: int, data: bytes) -> None:
        """Send data that `room` allows."""
        self._http.send_data(stream_id, data)
        self.flush()

    def closed(self, stream_id: int, remote_open: bool) -> None:
        """A stream has been answered. A client that still sends is told to stop."""
        self._streams.pop(stream_id, None)
        if remote_open:
            try:
                self._http.reset_stream(stream_id, h2.errors.ErrorCodes.NO_ERROR)
            except h2.exceptions.ProtocolError:
                return
            self.flush()


class _Stream:
    """One call on a connection; it is the call's sink."""

    __slots__ = (
        "_buffer", "_connection", "_finished", "_headers_sent", "_id", "_out", "_remote_ended",
        "_trailers", "call",
    )  # fmt: skip

    def __init__(self, connection: GrpcConnection, stream_id: int) -> None:
        self._connection = connection
        self._id = stream_id
        self._buffer = b""
        self._out: deque[bytes] = deque()
        self._trailers: list[tuple[bytes, bytes]] | None = None
        self._headers_sent = False
        self._remote_ended = False
        self._finished = False
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
            self._message(bytes(buffer[5 : 5 + length]), compressed)
            buffer = buffer[5 + length :]
        self._buffer = bytes(buffer)

    def _message(self, body: bytes, compressed: bool) -> None:
        assert self.call is not None
        try:
            request = self.call.request.FromString(gzip.decompress(body) if compressed else body)
        except Exception as error:  # protobuf's own DecodeError, or gzip's
            self._refuse(INTERNAL, f"grpc: error unmarshalling request: {error}")
            return
        self.call.receive(request)

    def _refuse(self, code: int, text: str) -> None:
        if self.call is not None:
            self.call.cancel()
        self._out.clear()
        self.finish(code, text)

    def remote_ended(self) -> None:
        """The client has sent everything."""
        self._remote_ended = True
        if self.call is not None and not self._finished:
            self.call.half_close()

    def cancelled(self) -> None:
        """The client has reset the stream, or is gone."""
        self._finished = True
        if self.call is not None:
            self.call.cancel()

    # What the client gets

    def send(self, reply: Any) -> None:
        """Queue one reply message."""
        if self._finished:
            return
        body = reply.SerializeToString()
        self._out.append(struct.pack(">BI", 0, len(body)) + body)
        if not self._headers_sent:
            self._headers_sent = True
            self._connection.send_headers(self._id, RESPONSE_HEADERS, end=False)
        self.pump()

    def finish(self, code: int = 0, message: str = "") -> None:
        """Queue the call's status after all replies."""
        if self._finished:
            return
        self._finished = True
        trailers = OK_TRAILERS
        if code:
            text = quote(message, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode()
            trailers = [(b"grpc-status", str(code).encode()), (b"grpc-message", text)]
        if not self._headers_sent:
            trailers = RESPONSE_HEADERS + trailers
        self._trailers = trailers
        self.pump()

    def backlog(self) -> int:
        """Replies that flow control holds back."""
        return len(self._out)

    def pump(self) -> None:
        """Send what flow control allows."""
        while self._out:
            room = self._connection.room(self._id)
            if room <= 0:
                return
            message = self._out[0]
            if len(message) <= room:
                self._out.popleft()
                self._connection.send_data(self._id, message)
            else:
                self._out[0] = message[room:]
                self._connection.send_data(self._id, message[:room])
        if self._trailers is not None:
            trailers, self._trailers = self._trailers, None
            self._connection.send_headers(self._id, trailers, end=True)
            self._connection.closed(self._id, not self._remote_ended)
