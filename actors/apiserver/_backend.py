"""HTTP to a port of a pod, through the door that port-forward uses.

Owns which pod and port a proxy path means, and one exchange with it. It opens no socket: bytes go to
the pod's node as `PodPortForward` and come back as `StreamData`, whatever runs the pod.

https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import httptools

from actors.apiserver._core import Core
from actors.apiserver._doors import open_door, unreachable
from actors.apiserver._messages import Frames, FramesClosed, HttpCall, HttpReply, Tunnel
from actors.kernel import Future
from protocol import status
from protocol.node import StreamClosed, StreamData

__all__ = ["Backend", "Pipe", "exchange", "node_of", "pod_backend", "request_bytes", "service_backend", "upgrade"]

Object = dict[str, Any]
_ANSWER_TIMEOUT_S = 60.0
_PATIENCE_S = 0.5
"""A body that is not whole after so long is passed on as it comes."""
_MAX_BODY_BYTES = 64 << 20
_NOT_PASSED = {
    "authorization", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip
_NOT_RETURNED = {"connection", "content-length", "content-type", "keep-alive", "transfer-encoding", "upgrade"}
_LONG = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_stream_ids = itertools.count(1 << 40)  # apart from those of connections, which name their streams themselves


class Backend(NamedTuple):
    """Where a request goes."""

    pod: Object
    ip: str
    port: int
    tls: bool = False


def _split(text: str, what: str) -> tuple[str, str, str]:
    """(scheme, name, port) of `[scheme:]name[:port]`. Raises 400."""
    words = text.split(":")
    scheme, name, port = ("", *words, "")[:3] if len(words) < 3 else words[:3]
    if len(words) > 3 or scheme not in ("", "http", "https") or not _LONG.fullmatch(name):
        raise status.bad_request(f'invalid {what} request "{text}"')
    return scheme, name, port


def node_of(text: str) -> str:
    """The node of `[scheme:]node[:port]`: a kubelet has one port only. Raises 400."""
    return _split(text, "node")[1]


def pod_backend(core: Core, namespace: str, text: str) -> Backend:
    """The pod and port of `[scheme:]pod[:port]`: without a port the first that a container names, else
    80. Raises `StatusError`."""
    scheme, name, port = _split(text, "pod")
    pod = core.get("", "pods", namespace, name)
    if pod is None:
        raise status.not_found("", "pods", name)
    ip = (pod.get("status") or {}).get("podIP")
    if not ip:
        raise status.bad_request("address not allowed")
    if not port:
        containers = (pod.get("spec") or {}).get("containers") or ()
        port = next((str(c["ports"][0]["containerPort"]) for c in containers if c.get("ports")), "80")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise unreachable(f"dial tcp: lookup tcp/{port}: unknown port")
    return Backend(pod, ip, int(port), scheme == "https")


def service_backend(core: Core, namespace: str, text: str) -> Backend:
    """A ready endpoint of `[scheme:]service[:port]`, where the port is a number or a name of the
    Service, and none is the port without a name. Raises `StatusError`."""
    scheme, name, port = _split(text, "service")
    service = core.get("", "services", namespace, name)
    if service is None:
        raise status.not_found("", "services", name)
    if port.isdigit():
        ports = [p for p in (service.get("spec") or {}).get("ports") or () if p.get("port") == int(port)]
        if not ports:
            raise status.service_unavailable(f'no service port {int(port)} found for service "{name}"')
        port = ports[0].get("name") or ""
    found: list[Backend] = []
    for piece in core.list("discovery.k8s.io", "endpointslices", namespace):
        labels = piece["metadata"].get("labels") or {}
        if labels.get("kubernetes.io/service-name") != name:
            continue
        numbers = [p["port"] for p in piece.get("ports") or () if (p.get("name") or "") == port and p.get("port")]
        for endpoint in piece.get("endpoints") or () if numbers else ():
            target = endpoint.get("targetRef") or {}
            if (endpoint.get("conditions") or {}).get("ready") is False or target.get("kind") != "Pod":
                continue
            pod = core.get("", "pods", target.get("namespace") or namespace, target.get("name", ""))
            if pod is not None:
                found.append(Backend(pod, endpoint["addresses"][0], numbers[0], scheme == "https"))
    if not found:
        raise status.service_unavailable(f'no endpoints available for service "{text}"')
    return core.actor.random.choice(found)  # type: ignore[no-any-return]


def request_bytes(call: HttpCall, target: str, backend: Backend) -> bytes:
    """The request as the pod gets it: without what is between the client and this server."""
    host = f"[{backend.ip}]" if ":" in backend.ip else backend.ip
    lines = [f"{call.method} {target} HTTP/1.1", f"Host: {host}:{backend.port}"]
    lines += [
        f"{name}: {value}"
        for name, value in call.headers.items()
        if name not in _NOT_PASSED and not name.startswith("impersonate-")
    ]
    lines.append(f"X-Forwarded-Uri: {call.path}")
    if call.headers.get("upgrade"):
        lines += [f"Upgrade: {call.headers['upgrade']}", "Connection: Upgrade"]
        lines += [f"Content-Length: {len(call.body)}"] if call.body else []
    else:
        lines += [f"Content-Length: {len(call.body)}", "Connection: close"]
    lines += ["", ""]
    return "\r\n".join(lines).encode("latin-1", "replace") + call.body


class _Exchange:
    """The client's end of the stream: bytes become an `HttpReply`, and what does not end soon becomes
    `Frames` for the client's connection."""

    __slots__ = ("_body", "_call", "_head", "_headers", "_parser", "_size", "_streams", "actor_urn", "ended", "reply")

    def __init__(self, stream_id: int, call: HttpCall) -> None:
        self.actor_urn = f"backend-{stream_id}"
        self.reply: Future[HttpReply] = Future()
        self.ended: Future[None] = Future()
        self._call = call
        self._head = call.method == "HEAD"
        self._streams = False
        self._restart()

    def _restart(self) -> None:
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._parser = httptools.HttpResponseParser(self)

    def tell(self, message: Any) -> None:
        """Bytes of the pod, a failure to reach it, or the end."""
        if self.ended.done:
            return
        if isinstance(message, StreamClosed):
            self._closed()
        elif isinstance(message, StreamData) and message.channel == 1:
            if message.data:
                self.fail(message.data.decode("utf-8", "replace"))
        elif isinstance(message, StreamData):
            try:
                self._parser.feed_data(message.data)
            except httptools.HttpParserError as error:
                self.fail(f"malformed HTTP response: {error}")
            if message.eof and not self.ended.done:
                self._closed()

    def fail(self, why: str) -> None:
        """Nothing more is to be expected."""
        if not self.reply.done:
            self.reply.set_exception(unreachable(why))
        self._end()

    def _end(self) -> None:
        if not self.ended.done:
            self.ended.set(None)
            if self._streams:
                stream: Any = self._call.stream
                stream.tell(FramesClosed(self._call.stream_id))

    def _closed(self) -> None:
        framed = any(name.lower() in ("content-length", "transfer-encoding") for name, _ in self._headers)
        if self._headers and not framed:
            self.on_message_complete()  # its body reaches to the end of the connection
        else:
            self.fail("EOF")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if self._head and self._parser.get_status_code() >= 200:
            self.on_message_complete()

    def on_body(self, data: bytes) -> None:
        if self._streams:
            self._pass_on(data)
            return
        self._size += len(data)
        self._body.append(data)
        if self._size > _MAX_BODY_BYTES:
            self.fail("the response is too large")

    def _pass_on(self, data: bytes) -> None:
        stream: Any = self._call.stream
        stream.tell(Frames(self._call.stream_id, data))

    def stream(self) -> None:
        """Wait no longer: what has come and what will come is passed on."""
        if self._call.stream is None or self.reply.done or not self._headers or self._parser.get_status_code() < 200:
            return
        self._streams = True
        for data in self._body:
            self._pass_on(data)
        self._body = []
        self.reply.set(self._made(b"", True))

    def _made(self, body: bytes, streaming: bool) -> HttpReply:
        kind = next((v for n, v in self._headers if n.lower() == "content-type"), "")
        kept = tuple((n, v) for n, v in self._headers if n.lower() not in _NOT_RETURNED)
        return HttpReply(self._parser.get_status_code(), kind, body, kept, streaming=streaming)

    def on_message_complete(self) -> None:
        if self.ended.done:
            return
        if 100 <= self._parser.get_status_code() < 200:
            self._headers, self._body = [], []
            return
        if not self.reply.done:
            self.reply.set(self._made(b"".join(self._body), False))
        self._end()


class _Closer:
    """Told when the client of a stream has gone."""

    def __init__(self, door: Any, stream_id: int) -> None:
        self.actor_urn = f"closer-{stream_id}"
        self.door, self.stream_id = door, stream_id

    def tell(self, message: Any) -> None:
        """Close the door."""
        self.door.tell(StreamClosed(self.stream_id))


async def exchange(core: Core, backend: Backend, data: bytes, call: HttpCall) -> HttpReply:
    """Send `data`, a whole request, and give what is answered: whole when it ends soon, else as a stream.
    Raises 503 when the pod cannot be reached."""
    stream_id = next(_stream_ids)
    peer = _Exchange(stream_id, call)
    door = await open_door(core, backend.pod, backend.port, backend.tls, peer, stream_id)
    after = core.actor.system.after
    timers = [
        after(_ANSWER_TIMEOUT_S, lambda: None if peer.reply.done else peer.fail("timeout awaiting response headers")),
        after(_PATIENCE_S, lambda: _look(core, peer)),
    ]
    reply = None
    try:
        door.tell(StreamData(stream_id, 0, data))
        reply = await peer.reply
        if reply.streaming and call.stream is not None:
            closer: Any = _Closer(door, stream_id)
            core.server.follow(call.stream, call.stream_id, closer)
        return reply
    finally:
        for timer in timers:
            timer.cancel()
        if reply is None or not reply.streaming:
            door.tell(StreamClosed(stream_id))
        else:
            peer.ended.add_callback(lambda _: door.tell(StreamClosed(stream_id)))


def _look(core: Core, peer: _Exchange) -> None:
    """Have a body streamed that is under way; look again while its head has not come."""
    peer.stream()
    if not peer.reply.done and not peer.ended.done:
        core.actor.system.after(_PATIENCE_S, lambda: _look(core, peer))


class Pipe:
    """A connection to a pod that goes on in another protocol: bytes pass both ways, unread."""

    def __init__(self, stream_id: int) -> None:
        self.actor_urn = f"pipe-{stream_id}"
        self.stream_id = stream_id
        self.door: Any = None
        self._early: list[bytes] = []
        self._over = False
        self._write: Callable[[bytes], None] | None = None
        self._end: Callable[[], None] | None = None

    def tell(self, message: Any) -> None:
        """Bytes of the pod, or the end."""
        if isinstance(message, StreamData) and message.channel == 0 and message.data:
            if self._write is not None:
                self._write(message.data)
            else:
                self._early.append(message.data)
        ended = isinstance(message, StreamClosed) or (isinstance(message, StreamData) and (message.eof or message.channel == 1))
        if ended:
            self._over = True
            if self._end is not None:
                self._end()

    def attach(self, write: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """The client's connection is ready for what has come."""
        self._write, self._end = write, end
        for data in self._early:
            write(data)
        self._early.clear()
        if self._over:
            end()

    def send(self, data: bytes) -> None:
        """Bytes of the client."""
        self.door.tell(StreamData(self.stream_id, 0, data))

    def close(self) -> None:
        """The client is gone."""
        self.door.tell(StreamClosed(self.stream_id))


async def upgrade(core: Core, backend: Backend, data: bytes) -> HttpReply:
    """Have the client's connection go on to the pod. Raises 503 when it cannot be reached."""
    stream_id = next(_stream_ids)
    pipe = Pipe(stream_id)
    pipe.door = await open_door(core, backend.pod, backend.port, backend.tls, pipe, stream_id)
    pipe.send(data)
    return HttpReply(101, tunnel=Tunnel(None, pipe, "pipe"))
