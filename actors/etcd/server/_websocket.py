"""A streaming call over a web socket, one text message per JSON object each way, as etcd's own
gateway has it. Frames are the library wsproto's affair."""

from __future__ import annotations

from typing import Any, Protocol

import wsproto
from wsproto import events as ws_events

from actors.etcd.server._calls import INVALID_ARGUMENT, Call, Services
from actors.etcd.server._json import BadJson, decode_request, encode_reply, error_body

__all__ = ["WebSocketCall"]


class Socket(Protocol):
    """The connection underneath."""

    def write(self, data: bytes) -> None: ...
    def backlog(self) -> int: ...
    def shut_down(self) -> None: ...


class WebSocketCall:
    """A streaming call over a web socket; the sink of its call."""

    def __init__(
        self, services: Services, socket: Socket, headers: list[tuple[bytes, bytes]], path: str, method: str
    ) -> None:
        self._connection = socket
        self._socket = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        self._socket.initiate_upgrade_connection(headers, path)
        self._text = ""
        self._call: Call | None = None
        for event in self._socket.events():
            if isinstance(event, ws_events.Request):
                socket.write(self._socket.send(ws_events.AcceptConnection()))
                self._call = services.open(method, self)

    def data_received(self, data: bytes) -> None:
        """Take frames."""
        try:
            self._socket.receive_data(data)
            for event in self._socket.events():
                self._handle(event)
        except (wsproto.utilities.ProtocolError, BadJson) as error:
            self.finish(INVALID_ARGUMENT, str(error))

    def _handle(self, event: ws_events.Event) -> None:
        match event:
            case ws_events.TextMessage() | ws_events.BytesMessage():
                data = event.data
                self._text += data if isinstance(data, str) else bytes(data).decode()
                if event.message_finished and self._call is not None:
                    text, self._text = self._text, ""
                    self._call.receive(decode_request(text.encode(), self._call.request))
            case ws_events.Ping():
                self._connection.write(self._socket.send(event.response()))
            case ws_events.CloseConnection():
                self._connection.write(self._socket.send(event.response()))
                self.cancel()
                self._connection.shut_down()

    def cancel(self) -> None:
        """The client is gone."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def send(self, reply: Any) -> None:
        if self._call is not None:
            self._send_text(encode_reply(reply, streamed=True))

    def _send_text(self, line: bytes) -> None:
        self._connection.write(self._socket.send(ws_events.TextMessage(data=line.decode())))

    def finish(self, code: int = 0, message: str = "") -> None:
        if self._call is None:
            return
        if code:
            self._send_text(b'{"error":' + error_body(code, message) + b"}")
        self.cancel()
        self._connection.write(self._socket.send(ws_events.CloseConnection(code=1000)))
        self._connection.shut_down()

    def backlog(self) -> int:
        return self._connection.backlog()
