"""What SPDY streams mean: pairs for port-forward, one per channel for exec and attach.

Owns the way from streams to the messages of `protocol.node` and back. Used over a raw upgraded
connection and inside a WebSocket (KEP-4006's tunnel) alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from actors.apiserver._messages import Tunnel
from actors.apiserver.http._spdy import Session
from protocol import status
from protocol.api import StatusError
from protocol.node import (
    ERROR,
    RESIZE,
    STDERR,
    STDIN,
    STDOUT,
    PodPortForward,
    StreamClosed,
    StreamData,
    StreamOpened,
)

__all__ = ["SpdyStreams", "not_upgraded"]

_CHANNELS = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": ERROR, "resize": RESIZE}
_DATA, _PROBLEM = 0, 1
_MAX_STREAMS = 1000


def not_upgraded(error: BaseException) -> dict[str, Any]:
    """The Status with which exec and attach end when the kubelet refuses them: an API server that
    translates streams wraps the plain text of its refusal so (KEP-4006)."""
    text = str(error).removeprefix("Internal error occurred: ")
    if isinstance(error, StatusError):
        text = f"unable to upgrade connection: {text}"
    return status.internal_error(text).status


class _Joined:
    """One stream of the node and the SPDY streams that carry its channels."""

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.by_channel: dict[int, int] = {}
        self.node: Any = None
        self.early: list[StreamData] = []
        self.asked = False
        self.closed = False


class SpdyStreams:
    """The streams of one connection. `send` takes bytes for the client, `end` closes it."""

    def __init__(
        self, address: Any, tunnel: Tunnel, first_id: int, send: Callable[[bytes], None], end: Callable[[], None]
    ) -> None:
        self.address = address
        self.tunnel = tunnel
        self._send = send
        self._end = end
        self._next_id = first_id << 20
        self._session = Session(self)
        self._joined: dict[int, _Joined] = {}
        self._by_request: dict[str, _Joined] = {}
        self._by_stream: dict[int, tuple[_Joined, int]] = {}

    def feed(self, data: bytes) -> None:
        """Bytes from the client. Raises `SpdyError`."""
        self._session.feed(data)

    # --- from the session -------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Bytes for the client."""
        self._send(data)

    def opened(self, stream: int, headers: dict[str, str], finished: bool) -> None:
        """The client has opened a stream."""
        if len(self._by_stream) >= _MAX_STREAMS:
            self._session.send_reset(stream)
            return
        if self.tunnel.kind == "portforward":
            joined = self._of_request(headers.get("requestid") or headers.get("port", ""))
            channel = _PROBLEM if headers.get("streamtype") == "error" else _DATA
        else:
            joined = self._of_request("")
            channel = _CHANNELS.get(headers.get("streamtype", ""), -1)
        if channel < 0:
            self._session.send_reset(stream)
            return
        joined.by_channel[channel] = stream
        self._by_stream[stream] = (joined, channel)
        if not joined.asked and self._complete(joined):
            self._ask(joined, headers)

    def _of_request(self, key: str) -> _Joined:
        joined = self._by_request.get(key)
        if joined is None:
            self._next_id += 1
            joined = self._by_request[key] = self._joined[self._next_id] = _Joined(self._next_id)
        return joined

    def _complete(self, joined: _Joined) -> bool:
        """Whether all streams are here that the request needs."""
        if self.tunnel.kind == "portforward":
            return _DATA in joined.by_channel and _PROBLEM in joined.by_channel
        wanted = self.tunnel.request
        needed = [ERROR, *([STDIN] if wanted.stdin else ()), *([STDOUT] if wanted.stdout else ()),
                  *([STDERR] if wanted.stderr else ())]
        return all(channel in joined.by_channel for channel in needed)

    def _ask(self, joined: _Joined, headers: dict[str, str]) -> None:
        joined.asked = True
        changes: dict[str, Any] = {"peer": self.address, "stream_id": joined.stream_id}
        if isinstance(self.tunnel.request, PodPortForward):
            port = headers.get("port", "")
            changes["ports"] = (int(port) if port.isdigit() else 0,)
        request = msgspec.structs.replace(self.tunnel.request, **changes)
        node: Any = self.tunnel.node
        node.ask(request, block=False).add_callback(lambda future: self._answered(joined, future))

    def _answered(self, joined: _Joined, future: Any) -> None:
        error = future.exception()
        if error is not None:
            if self.tunnel.kind == "portforward":
                self._to_client(joined, _PROBLEM, str(error).encode())
                self._finish(joined, None)
            else:
                self._finish(joined, not_upgraded(error))
            return
        opened: StreamOpened = future.result()
        joined.node = opened.address
        if joined.closed:
            joined.node.tell(StreamClosed(joined.stream_id))
            return
        for message in joined.early:
            joined.node.tell(message)
        joined.early = []

    def data(self, stream: int, data: bytes, finished: bool) -> None:
        """Data from the client."""
        found = self._by_stream.get(stream)
        if found is None or found[0].closed:
            return
        joined, channel = found
        if channel in (ERROR, STDOUT, STDERR) and self.tunnel.kind != "portforward":
            return
        if channel == _PROBLEM and self.tunnel.kind == "portforward":
            return
        message = StreamData(joined.stream_id, channel, data, finished)
        if joined.node is None:
            joined.early.append(message)
        else:
            joined.node.tell(message)

    def reset(self, stream: int) -> None:
        """The client wants no more of a stream."""
        found = self._by_stream.get(stream)
        if found is not None:
            self._drop(found[0])

    # --- from the node ----------------------------------------------------------------------

    def told(self, message: Any) -> None:
        """A message of one of the node's streams."""
        joined = self._joined.get(message.stream_id)
        if joined is None or joined.closed:
            return
        if isinstance(message, StreamData):
            self._to_client(joined, message.channel, message.data, message.eof)
        elif isinstance(message, StreamClosed):
            self._finish(joined, message.status)

    def _to_client(self, joined: _Joined, channel: int, data: bytes, eof: bool = False) -> None:
        """With `eof` the other side of a forwarded connection has closed it: nothing more comes."""
        stream = joined.by_channel.get(channel)
        if stream is not None and (data or eof):
            self._session.send_data(stream, data, finished=eof)
            if eof:
                joined.by_channel.pop(channel)

    def _finish(self, joined: _Joined, ended: dict[str, Any] | None) -> None:
        """The node's stream is over: end its SPDY streams; a command's status goes first."""
        if self.tunnel.kind != "portforward":
            final = ended or {"metadata": {}, "status": "Success"}
            self._to_client(joined, ERROR, orjson.dumps(final))
        joined.node = None
        self._drop(joined)
        if self.tunnel.kind != "portforward":
            self._end()

    def _drop(self, joined: _Joined) -> None:
        if joined.closed:
            return
        joined.closed = True
        for stream in joined.by_channel.values():
            self._session.send_data(stream, b"", finished=True)
            self._by_stream.pop(stream, None)
        if joined.node is not None:
            joined.node.tell(StreamClosed(joined.stream_id))
        self._joined.pop(joined.stream_id, None)
        for key, known in list(self._by_request.items()):
            if known is joined:
                del self._by_request[key]

    def lost(self) -> None:
        """The connection is gone: tell the node of every stream."""
        for joined in list(self._joined.values()):
            joined.closed = True
            if joined.node is not None:
                joined.node.tell(StreamClosed(joined.stream_id))
        self._joined = {}
