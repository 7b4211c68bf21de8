"""WebSockets (RFC 6455) for exec, attach and port-forward: `v5.channel.k8s.io`, `v4.channel.k8s.io`
and `portforward.k8s.io`.

Owns frames and channels of one upgraded connection, and the handshake. The other end is a node's
kubelet, reached by the messages of `protocol.node`.

https://kubernetes.io/docs/reference/using-api/api-concepts/ and KEP-4006
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from actors.apiserver._messages import HttpCall, HttpReply, Tunnel
from actors.apiserver.http._spdy import SpdyError
from actors.apiserver.http._spdystreams import SpdyStreams, not_upgraded
from protocol import status
from protocol.api import StatusError
from protocol.node import ERROR, RESIZE, STDERR, STDIN, STDOUT, StreamClosed, StreamData, StreamOpened

if TYPE_CHECKING:
    from actors.apiserver.http._connection import Connection

__all__ = ["WebSocket"]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_MAX_FRAME_BYTES = 4 * 1024 * 1024
_MAX_BUFFER_BYTES = 8 * 1024 * 1024
_COMMAND = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_TUNNEL = "SPDY/3.1+portforward.k8s.io"
_FORWARD = (_TUNNEL, "v2.portforward.k8s.io", "v4.channel.k8s.io", "portforward.k8s.io")
_CLOSE_CHANNEL = 255


def frame(opcode: int, payload: bytes) -> bytes:
    """One unmasked frame."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")
    return head + payload


class WebSocket:
    """One upgraded connection and the node's stream behind it."""

    def __init__(self, connection: Connection, address: Any, tunnel: Tunnel, call: HttpCall) -> None:
        self.connection = connection
        self.address = address
        self.tunnel = tunnel
        self.call = call
        self.stream_id = call.stream_id
        self.protocol = ""
        self.node: Any = None
        self.closed = False
        self.spdy: SpdyStreams | None = None
        self._buffer = bytearray()
        self._message = bytearray()
        self._opcode = _BINARY
        self._early: deque[StreamData] = deque()
        self._output: deque[Any] = deque()
        self._accepted = False
        self._forwarded = set(range(len(tunnel.request.ports))) if tunnel.kind == "portforward" else set()

    # --- the handshake ----------------------------------------------------------------------

    def open(self) -> None:
        """Choose the sub-protocol and ask the node for the stream; the client hears when it stands."""
        offered = [word.strip() for word in self.call.headers.get("sec-websocket-protocol", "").split(",") if word.strip()]
        known = _FORWARD if self.tunnel.kind == "portforward" else _COMMAND
        chosen = [protocol for protocol in known if protocol in offered]
        key = self.call.headers.get("sec-websocket-key", "")
        if not key or (offered and not chosen):
            self._refuse(status.bad_request("unable to upgrade: unsupported sub-protocol"))
            return
        self.protocol = chosen[0] if chosen else ""
        if self.protocol == _TUNNEL:
            self.spdy = SpdyStreams(
                self.address, self.tunnel, self.stream_id, lambda data: self._write(frame(_BINARY, data)),
                lambda: self._end(1000),
            )
            self._accept()
            return
        request = msgspec.structs.replace(self.tunnel.request, peer=self.address, stream_id=self.stream_id)
        node: Any = self.tunnel.node
        node.ask(request, block=False).add_callback(self._opened)

    def _opened(self, future: Any) -> None:
        error = future.exception()
        if error is not None:
            self._node_refused(error)
            return
        opened: StreamOpened = future.result()
        self.node = opened.address
        if self.closed:
            self.node.tell(StreamClosed(self.stream_id))
            return
        self._accept()
        self._begin_channels()
        while self._output:
            self.told(self._output.popleft())
        while self._early:
            self.node.tell(self._early.popleft())

    def _node_refused(self, error: BaseException) -> None:
        """Streams that the API server translates (v5) stand before the node is asked, so its refusal
        is their end; older ones are the kubelet's own, and so is the answer to the handshake."""
        if not isinstance(error, StatusError):
            error = status.internal_error(f"error dialing backend: {error}")
        elif self.protocol == "v5.channel.k8s.io" and not self.closed:
            self._accept()
            self._send(ERROR, orjson.dumps(not_upgraded(error)))
            self._end(1000)
            return
        self._refuse(error)

    def _accept(self) -> None:
        """Answer the handshake."""
        key = self.call.headers["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Accept: {accept}"]
        if self.protocol:
            lines.append(f"Sec-WebSocket-Protocol: {self.protocol}")
        self._write(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._accepted = True

    def _begin_channels(self) -> None:
        if self.tunnel.kind == "portforward":
            for index, port in enumerate(self.tunnel.request.ports):
                for channel in (2 * index, 2 * index + 1):
                    self._send(channel, int(port).to_bytes(2, "little"))
            return
        wanted = self.tunnel.request  # an empty frame tells the client that the stream stands
        self._send(STDOUT if wanted.stdout else STDERR if wanted.stderr else ERROR, b"")

    def _refuse(self, error: StatusError) -> None:
        reply = HttpReply(error.code, "application/json", orjson.dumps(error.status))
        self.closed = True
        self.connection._write(reply, False, "GET")

    # --- from the client --------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._buffer += data
        if len(self._buffer) > _MAX_BUFFER_BYTES:
            self._end(1009)
            return
        while not self.closed and self._take_frame():
            pass

    def _take_frame(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        opcode, final, size, at = buffer[0] & 0x0F, bool(buffer[0] & 0x80), buffer[1] & 0x7F, 2
        masked = bool(buffer[1] & 0x80)
        extended = {126: 2, 127: 8}.get(size, 0)
        if len(buffer) < at + extended + (4 if masked else 0):
            return False
        if extended:
            size = int.from_bytes(buffer[at : at + extended], "big")
            at += extended
        if not masked or size > _MAX_FRAME_BYTES:
            self._end(1002 if not masked else 1009)
            return False
        if len(buffer) < at + 4 + size:
            return False
        mask, payload = bytes(buffer[at : at + 4]), bytes(buffer[at + 4 : at + 4 + size])
        del buffer[: at + 4 + size]
        self._frame(opcode, final, _unmask(payload, mask))
        return True

    def _frame(self, opcode: int, final: bool, payload: bytes) -> None:
        if opcode == _PING:
            self._write(frame(_PONG, payload))
        elif opcode == _CLOSE:
            self._end(1000)
        elif opcode in (_TEXT, _BINARY, _CONTINUATION):
            self._message += payload
            if len(self._message) > _MAX_FRAME_BYTES:
                self._end(1009)
            elif final:
                message, self._message = bytes(self._message), bytearray()
                self._from_client(message)

    def _from_client(self, message: bytes) -> None:
        if not message:
            return
        if self.spdy is not None:
            try:
                self.spdy.feed(message)
            except SpdyError:
                self._end(1002)
            return
        channel, data = message[0], message[1:]
        if channel == _CLOSE_CHANNEL:  # v5: the client closes one channel
            if data:
                self._forward(StreamData(self.stream_id, data[0], b"", True))
            return
        if self.tunnel.kind != "portforward" and channel not in (STDIN, RESIZE):
            return
        self._forward(StreamData(self.stream_id, channel, data))

    def _forward(self, message: StreamData) -> None:
        if self.node is None:
            self._early.append(message)
        else:
            self.node.tell(message)

    # --- from the node ----------------------------------------------------------------------

    def told(self, message: Any) -> None:
        """A message of the node's stream."""
        if self.closed:
            return
        if self.spdy is not None:
            self.spdy.told(message)
            return
        if not self._accepted:
            self._output.append(message)
            return
        if isinstance(message, StreamData):
            if message.data:
                self._send(message.channel, message.data)
            if message.eof:
                self._channel_ended(message.channel)
        elif isinstance(message, StreamClosed):
            if self.tunnel.kind != "portforward":
                end = message.status or {"metadata": {}, "status": "Success"}
                self._send(ERROR, orjson.dumps(end))
            self.node = None
            self._end(1000)

    def _channel_ended(self, channel: int) -> None:
        """The pod says no more on a channel. Forwarding has no way to say so of one port: as at a
        kubelet, the connection ends with the last of them."""
        if self.tunnel.kind == "portforward":
            self._forwarded.discard(channel // 2)
            if not self._forwarded:
                self._end(1000)
        elif self.protocol == "v5.channel.k8s.io":
            self._write(frame(_BINARY, bytes((_CLOSE_CHANNEL, channel))))

    def _send(self, channel: int, data: bytes) -> None:
        self._write(frame(_BINARY, bytes((channel,)) + data))

    def _write(self, data: bytes) -> None:
        self.connection.push(data)

    # --- the end ----------------------------------------------------------------------------

    def _end(self, code: int) -> None:
        if self.closed:
            return
        self._write(frame(_CLOSE, code.to_bytes(2, "big")))
        self.lost()
        self.connection.transport.close()

    def lost(self) -> None:
        """The connection is gone: tell the node."""
        if not self.closed:
            self.closed = True
            if self.spdy is not None:
                self.spdy.lost()
            if self.node is not None:
                self.node.tell(StreamClosed(self.stream_id))


def _unmask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    if not size:
        return payload
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
