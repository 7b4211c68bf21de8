"""HTTP to a port of a pod, through the door that port-forward uses.

Owns which pod and port a proxy path means, and one exchange with it. It opens no socket: bytes go to
the pod's node as `PodPortForward` and come back as `StreamData`, whatever runs the pod.

https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/
"""

from __future__ import annotations

import itertools
import re
from typing import Any, NamedTuple

import httptools

from actors.apiserver._core import Core
from actors.apiserver._messages import HttpCall, HttpReply
from actors.kernel import ActorDead, AskTimeout, Future
from protocol import status
from protocol.node import PodPortForward, StreamClosed, StreamData

__all__ = ["Backend", "exchange", "pod_backend", "request_bytes", "service_backend"]

Object = dict[str, Any]
_OPEN_TIMEOUT_S, _ANSWER_TIMEOUT_S = 30.0, 60.0
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


def _split(text: str, what: str) -> tuple[str, str, str]:
    """(scheme, name, port) of `[scheme:]name[:port]`. Raises 400."""
    words = text.split(":")
    scheme, name, port = ("", *words, "")[:3] if len(words) < 3 else words[:3]
    if len(words) > 3 or scheme not in ("", "http", "https") or not _LONG.fullmatch(name):
        raise status.bad_request(f'invalid {what} request "{text}"')
    return scheme, name, port


def _unreachable(why: str) -> status.StatusError:
    return status.service_unavailable(f"error trying to reach service: {why}")


def _no_tls(scheme: str) -> None:
    if scheme == "https":
        raise _unreachable("TLS to pods is not spoken by this server")


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
    _no_tls(scheme)
    if not port:
        containers = (pod.get("spec") or {}).get("containers") or ()
        port = next((str(c["ports"][0]["containerPort"]) for c in containers if c.get("ports")), "80")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise _unreachable(f"dial tcp: lookup tcp/{port}: unknown port")
    return Backend(pod, ip, int(port))


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
                found.append(Backend(pod, endpoint["addresses"][0], numbers[0]))
    if not found:
        raise status.service_unavailable(f'no endpoints available for service "{text}"')
    _no_tls(scheme)
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
    lines += [f"X-Forwarded-Uri: {call.path}", f"Content-Length: {len(call.body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace") + call.body


class _Exchange:
    """The client's end of the stream: bytes become an `HttpReply`."""

    __slots__ = ("_body", "_head", "_headers", "_parser", "_size", "actor_urn", "reply")

    def __init__(self, stream_id: int, head: bool) -> None:
        self.actor_urn = f"backend-{stream_id}"
        self.reply: Future[HttpReply] = Future()
        self._head = head
        self._restart()

    def _restart(self) -> None:
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._parser = httptools.HttpResponseParser(self)

    def tell(self, message: Any) -> None:
        """Bytes of the pod, a failure to reach it, or the end."""
        if self.reply.done:
            return
        if isinstance(message, StreamClosed):
            self._ended()
        elif isinstance(message, StreamData) and message.channel == 1:
            if message.data:
                self.fail(message.data.decode("utf-8", "replace"))
        elif isinstance(message, StreamData):
            try:
                self._parser.feed_data(message.data)
            except httptools.HttpParserError as error:
                self.fail(f"malformed HTTP response: {error}")
            if message.eof and not self.reply.done:
                self._ended()

    def fail(self, why: str) -> None:
        """Nothing more is to be expected."""
        if not self.reply.done:
            self.reply.set_exception(_unreachable(why))

    def _ended(self) -> None:
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
        self._size += len(data)
        if self._size > _MAX_BODY_BYTES:
            self.fail("the response is too large")
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        code = self._parser.get_status_code()
        if self.reply.done:
            return
        if 100 <= code < 200:
            self._headers, self._body = [], []
            return
        kind = next((v for n, v in self._headers if n.lower() == "content-type"), "")
        kept = tuple((n, v) for n, v in self._headers if n.lower() not in _NOT_RETURNED)
        self.reply.set(HttpReply(code, kind, b"".join(self._body), kept))


async def exchange(core: Core, node: Any, backend: Backend, data: bytes, head: bool = False) -> HttpReply:
    """Send `data`, a whole request, and give what is answered. Raises 503 when the pod cannot be reached."""
    stream_id = next(_stream_ids)
    peer: Any = _Exchange(stream_id, head)
    meta = backend.pod["metadata"]
    message = PodPortForward(meta["namespace"], meta["name"], (backend.port,), peer, stream_id)
    try:
        opened = await core.actor.ask(node, message, timeout=_OPEN_TIMEOUT_S)
    except (ActorDead, AskTimeout) as error:
        raise _unreachable(str(error)) from None
    timer = core.actor.system.after(_ANSWER_TIMEOUT_S, lambda: peer.fail("timeout awaiting response headers"))
    try:
        opened.address.tell(StreamData(stream_id, 0, data))
        reply: HttpReply = await peer.reply
        return reply
    finally:
        timer.cancel()
        opened.address.tell(StreamClosed(stream_id))
