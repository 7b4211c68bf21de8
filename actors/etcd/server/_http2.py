"""HTTP/2, as far as a gRPC server needs it: frames, flow control, header blocks.

Written by hand because a library written in Python spends 100 microseconds on each call, more
than everything else together. Header compression is the library hpack's affair; what is sent back
is never compressed, so that most of it is constant. Knows nothing of gRPC.
https://www.rfc-editor.org/rfc/rfc9113
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Protocol

import hpack

from actors.etcd.server._headers import HEADER_BLOCK_BYTES, HeaderDecoder

__all__ = ["PREFACE", "Connection", "Stream"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, COMPRESSION_ERROR = 0x0, 0x1, 0x3, 0x6, 0x9
ENHANCE_YOUR_CALM = 0xB

OUR_FRAME_BYTES = 16_384
OUR_WINDOW_BYTES = 4 * 1024 * 1024
DEFAULT_WINDOW_BYTES = 65_535
LARGEST_WINDOW_BYTES = 2**31 - 1
MAX_STREAMS = 100_000
FLUSH_FRAMES = 24
"""So many frames are written at once rather than at the end of the loop's turn."""
_HEAD = struct.Struct(">BHBBI")


class Stream(Protocol):
    """What the user of a connection makes for each stream that a client opens."""

    @property
    def begun(self) -> bool:
        """Whether anything has been done for the client yet: a request has come in whole."""

    def data(self, data: bytes) -> None:
        """Bytes came in."""

    def remote_ended(self) -> None:
        """The client has sent everything."""

    def cancelled(self) -> None:
        """The client has reset the stream, or is gone."""

    def pump(self) -> None:
        """There may be room again for what waits to be sent."""


class BrokenProtocol(Exception):
    """The client broke the protocol; the connection ends with this code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame."""
    size = len(payload)
    return _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream_id) + payload


class Connection:
    """One connection of a client. `open_stream(connection, id, headers)` answers a request with
    a `Stream`, or with None when it has been answered already."""

    def __init__(
        self,
        transport: asyncio.Transport,
        open_stream: Callable[[Connection, int, dict[bytes, bytes]], Stream | None],
    ) -> None:
        self._transport = transport
        self._open_stream = open_stream
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, Stream] = {}
        self._windows: dict[int, int] = {}  # what may be sent on each stream
        self._waiting: dict[int, None] = {}  # streams with more to send than flow control allows
        self._window = DEFAULT_WINDOW_BYTES
        self._initial_window = DEFAULT_WINDOW_BYTES
        self._frame_bytes = OUR_FRAME_BYTES
        self._received = 0
        self._stream_received: dict[int, int] = {}
        self._decoder = HeaderDecoder()
        self._buffer = b""
        self._greeted = False
        self._last_stream = 0
        self._block: tuple[int, int, bytes] | None = None  # headers that go on in the next frame
        self._out: list[bytes] = []
        self._flushing = False
        self._paused = False
        self._closing = False
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            DATA: self._data,
            HEADERS: self._headers,
            RST_STREAM: self._reset,
            SETTINGS: self._settings,
            PUSH_PROMISE: self._push_promise,
            PING: self._ping,
            GOAWAY: self._goaway,
            WINDOW_UPDATE: self._window_update,
            CONTINUATION: self._continuation,
        }
        ours = {
            MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            INITIAL_WINDOW_SIZE: OUR_WINDOW_BYTES,
            MAX_HEADER_LIST_SIZE: HEADER_BLOCK_BYTES,
        }
        self._write(frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *item) for item in ours.items())))
        extra = struct.pack(">I", OUR_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)
        self._write(frame(WINDOW_UPDATE, 0, 0, extra))

    # From the socket

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        buffer = self._buffer + data if self._buffer else data
        try:
            position = self._frames(buffer)
        except BrokenProtocol as error:
            self._fail(error.code, str(error))
            return
        self._buffer = buffer[position:]

    def _frames(self, buffer: bytes) -> int:
        """Handle all complete frames; how many bytes they took."""
        position, end = 0, len(buffer)
        if not self._greeted:
            if end < len(PREFACE):
                return 0
            if not buffer.startswith(PREFACE):
                raise BrokenProtocol(PROTOCOL_ERROR, "no preface")
            self._greeted = True
            position = len(PREFACE)
        while end - position >= 9:
            high, low, kind, flags, stream_id = _HEAD.unpack_from(buffer, position)
            length = high << 16 | low
            if length > OUR_FRAME_BYTES:
                raise BrokenProtocol(FRAME_SIZE_ERROR, "frame too large")
            if end - position < 9 + length:
                break
            payload = buffer[position + 9 : position + 9 + length]
            position += 9 + length
            if self._block is not None and kind != CONTINUATION:
                raise BrokenProtocol(PROTOCOL_ERROR, "header block not continued")
            handler = self._handlers.get(kind)
            if handler is not None:  # unknown kinds, and priorities, are passed over
                handler(flags, stream_id & LARGEST_WINDOW_BYTES, payload)
        return position

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0 or stream_id > self._last_stream:
            raise BrokenProtocol(PROTOCOL_ERROR, "data without a stream")
        size = len(payload)
        self._received += size
        if self._received >= OUR_WINDOW_BYTES // 2:
            self._write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received)))
            self._received = 0
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if flags & END_STREAM == 0:
            received = self._stream_received.get(stream_id, 0) + size
            if received >= OUR_WINDOW_BYTES // 2:
                self._write(frame(WINDOW_UPDATE, 0, stream_id, struct.pack(">I", received)))
                received = 0
            self._stream_received[stream_id] = received
        if flags & PADDED:
            payload = _unpadded(payload)
        stream.data(payload)
        if flags & END_STREAM:
            stream.remote_ended()

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id % 2 == 0:
            raise BrokenProtocol(PROTOCOL_ERROR, "not a stream of a client")
        if flags & PADDED:
            payload = _unpadded(payload)
        if flags & WITH_PRIORITY:
            payload = payload[5:]
        if flags & END_HEADERS:
            self._header_block(flags, stream_id, payload)
        else:
            self._block = (flags, stream_id, payload)

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None or self._block[1] != stream_id:
            raise BrokenProtocol(PROTOCOL_ERROR, "nothing to continue")
        first_flags, _, block = self._block
        block += payload
        if len(block) > HEADER_BLOCK_BYTES:
            raise BrokenProtocol(ENHANCE_YOUR_CALM, "headers too large")
        self._block = (first_flags, stream_id, block)
        if flags & END_HEADERS:
            self._block = None
            self._header_block(first_flags, stream_id, block)

    def _header_block(self, flags: int, stream_id: int, block: bytes) -> None:
        try:
            headers = self._decoder.decode(block)
        except (hpack.HPACKError, ValueError) as error:
            raise BrokenProtocol(COMPRESSION_ERROR, str(error)) from None
        if stream_id > self._last_stream:
            self._last_stream = stream_id
            if self._closing:
                return
            self._windows[stream_id] = self._initial_window
            stream = self._open_stream(self, stream_id, headers)
            if stream is None:
                self._windows.pop(stream_id, None)
                return
            if stream_id in self._windows:  # it may have been answered already
                self._streams[stream_id] = stream
        if flags & END_STREAM and stream_id in self._streams:
            self._streams[stream_id].remote_ended()

    def _reset(self, _: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0 or len(payload) != 4:
            raise BrokenProtocol(PROTOCOL_ERROR, "bad reset")
        stream = self._streams.get(stream_id)
        self._forget(stream_id)
        if stream is not None:
            stream.cancelled()

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) % 6:
            raise BrokenProtocol(FRAME_SIZE_ERROR, "bad settings")
        if flags & ACK:
            return
        for setting, value in struct.iter_unpack(">HI", payload):
            if setting == INITIAL_WINDOW_SIZE:
                if value > LARGEST_WINDOW_BYTES:
                    raise BrokenProtocol(FLOW_CONTROL_ERROR, "window too large")
                change = value - self._initial_window
                self._initial_window = value
                for each in self._windows:
                    self._windows[each] += change
            elif setting == MAX_FRAME_SIZE:
                if not OUR_FRAME_BYTES <= value < 1 << 24:
                    raise BrokenProtocol(PROTOCOL_ERROR, "bad frame size")
                self._frame_bytes = value
        self._write(frame(SETTINGS, ACK, 0))
        self._pump_all()

    def _push_promise(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        raise BrokenProtocol(PROTOCOL_ERROR, "a client cannot push")

    def _ping(self, flags: int, _: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise BrokenProtocol(FRAME_SIZE_ERROR, "bad ping")
        if not flags & ACK:
            self._write(frame(PING, ACK, 0, payload))

    def _goaway(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        self._closing = True
        self._close_if_idle()

    def _window_update(self, _: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise BrokenProtocol(FRAME_SIZE_ERROR, "bad window update")
        more = struct.unpack(">I", payload)[0] & LARGEST_WINDOW_BYTES
        if stream_id == 0:
            self._window += more
            if self._window > LARGEST_WINDOW_BYTES or not more:
                raise BrokenProtocol(FLOW_CONTROL_ERROR, "window too large")
            self._pump_all()
        elif stream_id in self._windows:
            self._windows[stream_id] += more
            if stream_id in self._streams:
                self._streams[stream_id].pump()

    def _fail(self, code: int, text: str) -> None:
        """End the connection because the client broke the rules."""
        last = struct.pack(">II", self._last_stream, code)
        self._out.append(frame(GOAWAY, 0, 0, last + text.encode()))
        self.flush()
        self._transport.close()

    # The transport's callbacks

    def connection_lost(self) -> None:
        """The socket is gone: all streams are cancelled."""
        streams, self._streams = self._streams, {}
        self._windows.clear()
        for stream in streams.values():
            stream.cancelled()

    def pause_writing(self) -> None:
        """The socket's buffer is full."""
        self._paused = True

    def resume_writing(self) -> None:
        """The socket's buffer has room again."""
        self._paused = False
        self._pump_all()

    def shut_down(self) -> None:
        """Tell the client to go. The last streams, of which no whole request has come yet, are not
        taken: the client may safely repeat them elsewhere (RFC 9113, 6.8)."""
        self._closing = True
        last = self._last_stream
        while last in self._streams and not self._streams[last].begun:
            self._streams[last].cancelled()
            self._forget(last)
            last -= 2
        self._out.append(frame(GOAWAY, 0, 0, struct.pack(">II", max(last, 0), NO_ERROR)))
        self.flush()

    # What streams send

    def send_headers(self, stream_id: int, block: bytes, end: bool) -> None:
        """Send a header block; with `end` the stream is over on our side."""
        if stream_id in self._windows:
            flags = END_HEADERS | END_STREAM if end else END_HEADERS
            self._write(frame(HEADERS, flags, stream_id, block))

    def send_data(self, stream_id: int, data: bytes) -> int:
        """Send as much of `data` as flow control allows; how many bytes that was."""
        size, window = len(data), self._windows.get(stream_id, 0)
        if size <= window and size <= self._window and size <= self._frame_bytes and not self._paused:
            self._window -= size
            self._windows[stream_id] = window - size
            self._write(_HEAD.pack(size >> 16, size & 0xFFFF, DATA, 0, stream_id) + data)
            return size
        return self._send_part(stream_id, data)

    def _send_part(self, stream_id: int, data: bytes) -> int:
        room = 0 if self._paused else min(self._window, self._windows.get(stream_id, 0))
        total = min(len(data), max(room, 0))
        if total < len(data):
            self._waiting[stream_id] = None
            if not total:
                return 0
        self._window -= total
        self._windows[stream_id] -= total
        for start in range(0, total, self._frame_bytes):
            self._write(frame(DATA, 0, stream_id, data[start : min(start + self._frame_bytes, total)]))
        return total

    def closed(self, stream_id: int, remote_open: bool) -> None:
        """A stream has been answered. A client that still sends is told to stop."""
        if stream_id in self._windows and remote_open:
            self._write(frame(RST_STREAM, 0, stream_id, struct.pack(">I", NO_ERROR)))
        self._forget(stream_id)
        self._close_if_idle()

    def _forget(self, stream_id: int) -> None:
        self._streams.pop(stream_id, None)
        self._windows.pop(stream_id, None)
        self._waiting.pop(stream_id, None)
        self._stream_received.pop(stream_id, None)

    def _close_if_idle(self) -> None:
        if self._closing and not self._streams:
            self.flush()
            self._transport.close()

    def _pump_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for stream_id in waiting:
            if stream_id in self._streams:
                self._streams[stream_id].pump()

    def _write(self, data: bytes) -> None:
        """Queue bytes; all of one turn of the loop go out together."""
        out = self._out
        out.append(data)
        if len(out) >= FLUSH_FRAMES:
            self.flush()  # let the client begin to read
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what has gathered."""
        self._flushing = False
        out = self._out
        if out and not self._transport.is_closing():
            self._transport.write(b"".join(out))
        out.clear()


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise BrokenProtocol(PROTOCOL_ERROR, "bad padding")
    return payload[1 : len(payload) - payload[0]]
