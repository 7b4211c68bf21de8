"""Passing requests on to servers of other API groups, without keeping anybody waiting.

Owns the actors that talk HTTP/1.0 (one request per connection, bodies end with the connection) to an
extension API server, each on a thread of its own, and the parts of a watch that comes from there. It
knows nothing of APIServices.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any

from actors.apiserver._messages import Frames, FramesClosed, HttpReply
from actors.kernel import ActorDead, AskTimeout, Child, Restart, ThreadActor, handles
from protocol.message import Address, Message
from protocol.node import StreamClosed

__all__ = ["Forward", "ForwardFailure", "Forwarders"]

_TIMEOUT_S = 60.0
_LOOK_UP_S = 0.5
"""How long a stream waits for data before it looks whether its client is still there."""
_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 128 * 1024 * 1024
_SPARE = 8
_OWN_HEADERS = ("connection", "content-length", "content-type", "date", "keep-alive", "transfer-encoding", "upgrade")


class ForwardFailure(Exception):
    """The other server could not be asked; the text says why."""


class Forward(Message, frozen=True):
    """Pass on a request. Answered by `HttpReply`. Raises `ForwardFailure`."""

    host: str
    port: int
    server_name: str
    ca: bytes
    insecure: bool
    """Whether the other server's certificate is taken unseen."""
    identity: bytes
    """This server's certificate and key (PEM) towards the other; empty: none."""
    request: bytes
    """All of it, ready to send."""
    stream: Address | None = None
    """Who is told the body in parts as they come; None: the body is in the reply."""
    stream_id: int = 0
    timeout_s: float = _TIMEOUT_S


class Pump(Message, frozen=True):
    """Pass on more of the stream."""


class Retire(Message, frozen=True):
    """Stop: nobody waits any more."""


class Forwarder(ThreadActor):
    """Passes on one request at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._connection: socket.socket | None = None
        self._stream: Address
        self._stream_id = 0

    @handles(Forward)
    def forward(self, message: Forward) -> HttpReply:
        """Send, and read the answer, or its head when the body is a stream."""
        try:
            connection = _connect(message)
            try:
                connection.sendall(message.request)
                code, headers, begun = _head(connection)
                if message.stream is not None and code < 300:
                    self._begin(connection, message, begun)
                    return HttpReply(code, _type(headers), headers=_passed(headers), streaming=True)
                bare = code in (204, 304) or message.request.startswith(b"HEAD ")
                body = b"" if bare else _body(connection, headers, begun)
            finally:
                if self._connection is not connection:
                    connection.close()
        except (OSError, ValueError) as error:
            raise ForwardFailure(_words(error, message)) from None
        return HttpReply(code, _type(headers), body, _passed(headers))

    def _begin(self, connection: socket.socket, message: Forward, begun: bytes) -> None:
        assert message.stream is not None
        self._connection, self._stream, self._stream_id = connection, message.stream, message.stream_id
        connection.settimeout(_LOOK_UP_S)
        if begun:
            self._stream.tell(Frames(self._stream_id, begun))
        self.ref.tell(Pump())

    @handles(Pump)
    def pump(self, message: Pump) -> None:
        """Pass on what has come; the end of the connection ends the stream."""
        if self._connection is None:
            return
        try:
            data = self._connection.recv(65536)
        except TimeoutError:
            self.ref.tell(Pump())
            return
        except OSError:
            data = b""
        if data:
            self._stream.tell(Frames(self._stream_id, data))
            self.ref.tell(Pump())
        else:
            self._stream.tell(FramesClosed(self._stream_id))
            self.stop()

    @handles(StreamClosed)
    def closed(self, message: StreamClosed) -> None:
        """The client is gone."""
        self.stop()

    @handles(Retire)
    def retire(self, message: Retire) -> None:
        """End this actor."""
        self.stop()

    def on_stop(self) -> None:
        """Close what is open."""
        if self._connection is not None:
            self._connection.close()


class Forwarders:
    """The forwarding actors of one API server: as many as there are requests at a time."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._idle: list[Any] = []
        self._made = 0

    async def send(self, message: Forward) -> tuple[HttpReply, Any]:
        """Pass on a request; answers the reply, and who feeds its stream. Raises `ForwardFailure`."""
        while True:
            forwarder = self._idle.pop() if self._idle else self._spawn()
            try:
                reply: HttpReply = await self._actor.ask(forwarder, message, timeout=message.timeout_s)
            except ActorDead:
                if self._idle:
                    continue
                raise ForwardFailure("the server is shutting down") from None
            except AskTimeout:
                forwarder.tell(Retire())
                raise ForwardFailure("context deadline exceeded") from None
            except ForwardFailure:
                self._keep(forwarder)
                raise
            if not reply.streaming:
                self._keep(forwarder)
            return reply, forwarder

    def _spawn(self) -> Any:
        self._made += 1
        return self._actor.spawn(Child(f"forwarder-{self._made}", Forwarder, restart=Restart.TEMPORARY))

    def _keep(self, forwarder: Any) -> None:
        if len(self._idle) < _SPARE:
            self._idle.append(forwarder)
        else:
            forwarder.tell(Retire())


def _connect(message: Forward) -> socket.socket:
    plain = socket.create_connection((message.host, message.port), min(message.timeout_s, 10.0))
    try:
        plain.settimeout(message.timeout_s)
        context = ssl.create_default_context(cadata=message.ca.decode("ascii", "replace") if message.ca else None)
        if message.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if message.identity:
            with tempfile.NamedTemporaryFile() as file:  # for its owner's eyes; the ssl module loads keys only from files
                file.write(message.identity)
                file.flush()
                context.load_cert_chain(Path(file.name))
        return context.wrap_socket(plain, server_hostname=message.server_name)
    except BaseException:
        plain.close()
        raise


def _head(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The status, the headers (names in lower case), and what has come of the body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(16384)
        if not more or len(data) > _MAX_HEAD_BYTES:
            raise ValueError("malformed HTTP response")
        data += more
    head, _, begun = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise ValueError("malformed HTTP response")
    pairs = (line.partition(":") for line in lines)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}, begun


def _body(connection: socket.socket, headers: dict[str, str], begun: bytes) -> bytes:
    length = headers.get("content-length", "")
    wanted = min(int(length), _MAX_BODY_BYTES) if length.isdigit() else _MAX_BODY_BYTES
    parts, have = [begun], len(begun)
    while have < wanted:
        more = connection.recv(262144)
        if not more:
            break
        parts.append(more)
        have += len(more)
    if have >= _MAX_BODY_BYTES or (length.isdigit() and have < wanted):
        raise ValueError("unexpected EOF" if have < wanted else "the response is too large")
    return b"".join(parts)


def _type(headers: dict[str, str]) -> str:
    return headers.get("content-type", "")


def _passed(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name.title(), value) for name, value in headers.items() if name not in _OWN_HEADERS)


def _words(error: Exception, message: Forward) -> str:
    """A network error as Go's client puts it."""
    where = f"{message.host}:{message.port}"
    if isinstance(error, TimeoutError):
        return f"dial tcp {where}: i/o timeout"
    if isinstance(error, ConnectionRefusedError):
        return f"dial tcp {where}: connect: connection refused"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {error.verify_message}"
    return str(error)
