"""Calling a webhook over HTTPS, without keeping anybody waiting.

Owns the actors that make the calls (each blocks on a thread of its own, so a webhook that hangs
delays only the write that waits for it), where a service's webhook is reached, and the words of
failures. It must never judge what a webhook answers.
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from actors.apiserver.admission._base import Lookup
from actors.apiserver.patch import go_quote
from actors.kernel import ActorDead, AskTimeout, Child, Restart, ThreadActor, handles
from protocol.message import Message

__all__ = ["CallFailure", "Caller", "Callers", "Endpoint", "Post", "endpoint_of"]

Object = dict[str, Any]
HTTPS_PORT = 443
_SPARE = 8
_HTTP_ERROR = 400
_NO_ISSUER = (18, 19, 20, 21)
_EXPIRED = (9, 10)
_STATUS_TEXTS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}
_OWN_WORDS = (403, 406, 415)
"""Statuses for which a client repeats the server's text."""


class CallFailure(Exception):
    """A webhook could not be asked; the text says why."""


class Endpoint(NamedTuple):
    """Where a webhook listens: its URL, the address to connect to, and whose certificate is trusted."""

    url: str
    host: str
    port: int
    server_name: str
    ca: bytes


class Post(Message, frozen=True):
    """Ask a webhook. Answered by the body of its response. Raises `CallFailure`."""

    endpoint: Endpoint
    body: bytes
    timeout_s: float


class Retire(Message, frozen=True):
    """Stop: the answer came too late for whoever asked."""


class Caller(ThreadActor):
    """Makes one call at a time."""

    @handles(Post)
    def post(self, message: Post) -> bytes:
        """POST and wait for the response."""
        endpoint = message.endpoint
        parts = urlsplit(endpoint.url)
        try:
            connection = _connect(endpoint, parts.scheme, message.timeout_s)
            try:
                target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
                headers = {
                    "Host": parts.netloc,
                    "Content-Type": "application/json",
                    "Accept": "application/json, */*",
                    "User-Agent": "kube-apiserver-admission",
                }
                connection.request("POST", target, message.body, headers)
                response = connection.getresponse()
                body = response.read()
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise CallFailure(f"Post {go_quote(endpoint.url)}: {_words(error, endpoint)}") from None
        if response.status >= _HTTP_ERROR:
            raise CallFailure(_status_words(response.status, body, response.headers.get("Content-Type") or ""))
        return body

    @handles(Retire)
    def retire(self, message: Retire) -> None:
        """End this actor."""
        self.stop()


def _connect(endpoint: Endpoint, scheme: str, timeout_s: float) -> http.client.HTTPConnection:
    plain = socket.create_connection((endpoint.host, endpoint.port), timeout_s)
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=timeout_s)
    if scheme != "https":
        connection.sock = plain
        return connection
    try:
        context = ssl.create_default_context(cadata=endpoint.ca.decode("ascii", "replace") if endpoint.ca else None)
        connection.sock = context.wrap_socket(plain, server_hostname=endpoint.server_name)
    except BaseException:
        plain.close()
        raise
    return connection


def _words(error: Exception, endpoint: Endpoint) -> str:
    """A network error as Go's client puts it."""
    where = f"{endpoint.host}:{endpoint.port}"
    if isinstance(error, TimeoutError):
        return "context deadline exceeded"
    if isinstance(error, ConnectionRefusedError):
        return f"dial tcp {where}: connect: connection refused"
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {endpoint.host}: no such host"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: {_certificate_words(error, endpoint)}"
    if isinstance(error, ConnectionResetError):
        return f"read tcp {where}: read: connection reset by peer"
    if isinstance(error, (http.client.RemoteDisconnected, ssl.SSLEOFError)):
        return "EOF"
    if isinstance(error, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(error):
        return "http: server gave HTTP response to HTTPS client"
    if isinstance(error, OSError) and error.strerror:
        return f"dial tcp {where}: connect: {error.strerror.lower()}"
    return str(error)


def _certificate_words(error: ssl.SSLCertVerificationError, endpoint: Endpoint) -> str:
    if error.verify_code in _NO_ISSUER:
        return "x509: certificate signed by unknown authority"
    if error.verify_code in _EXPIRED:
        return "x509: certificate has expired or is not yet valid"
    if "mismatch" in error.verify_message.lower():
        return f"x509: certificate is not valid for any names, but wanted to match {endpoint.server_name}"
    return f"x509: {error.verify_message}"


def _status_words(code: int, body: bytes, media: str) -> str:
    """A response that is an error, as client-go puts it (`apierrors.NewGenericServerResponse`)."""
    text = body.decode("utf-8", "replace").strip() if not media or media.startswith("text/") else "unknown"
    known = _STATUS_TEXTS.get(code) or (text if code in _OWN_WORDS else "")
    if known:
        return known
    if code >= http.client.INTERNAL_SERVER_ERROR:
        return f"an error on the server ({go_quote(text)}) has prevented the request from succeeding"
    return f"the server responded with the status code {code} but did not return more information"


class Callers:
    """The calling actors of one sort of webhook: as many as there are calls at a time."""

    def __init__(self, sort: str) -> None:
        self._sort = sort
        self._idle: list[Any] = []
        self._made = 0

    async def post(self, lookup: Lookup, message: Post) -> bytes:
        """Ask a webhook; raises `CallFailure`, after `timeout_s` at the latest."""
        actor = lookup.actor
        while True:
            caller = self._idle.pop() if self._idle else self._spawn(actor)
            try:
                body: bytes = await actor.ask(caller, message, timeout=message.timeout_s)
            except ActorDead:
                if self._idle:
                    continue
                raise CallFailure(f"Post {go_quote(message.endpoint.url)}: the server is shutting down") from None
            except AskTimeout:
                caller.tell(Retire())
                words = f"Post {go_quote(message.endpoint.url)}: context deadline exceeded"
                raise CallFailure(words) from None
            except CallFailure:
                self._keep(caller)
                raise
            self._keep(caller)
            return body

    def _spawn(self, actor: Any) -> Any:
        self._made += 1
        return actor.spawn(Child(f"{self._sort}-webhook-{self._made}", Caller, restart=Restart.TEMPORARY))

    def _keep(self, caller: Any) -> None:
        if len(self._idle) < _SPARE:
            self._idle.append(caller)
        else:
            caller.tell(Retire())


# --- where a webhook is -----------------------------------------------------------------------


def endpoint_of(lookup: Lookup, config: Object, timeout_s: int) -> Endpoint:
    """Where `clientConfig` says that a webhook is. Raises `CallFailure`."""
    ca = base64.b64decode(config.get("caBundle") or "")
    query = f"timeout={timeout_s}s"
    service = config.get("service")
    if not service:
        parts = urlsplit(config.get("url") or "")
        port = parts.port or (HTTPS_PORT if parts.scheme == "https" else 80)
        url = f"{parts.scheme}://{parts.netloc}{parts.path}?{query}"
        return Endpoint(url, parts.hostname or "", port, parts.hostname or "", ca)
    name, namespace, port = service["name"], service["namespace"], service.get("port") or HTTPS_PORT
    server_name = f"{name}.{namespace}.svc"
    path = "/" + (service.get("path") or "").lstrip("/")
    url = f"https://{server_name}:{port}{path}?{query}"
    try:
        host, real_port = _resolve(lookup, namespace, name, port)
    except CallFailure as failure:
        raise CallFailure(f"Post {go_quote(url)}: {failure}") from None
    return Endpoint(url, host, real_port, server_name, ca)


def _resolve(lookup: Lookup, namespace: str, name: str, port: int) -> tuple[str, int]:
    """The address behind a service's port: an endpoint's, as kube-proxy would choose."""
    service = lookup.get("", "services", namespace, name)
    if service is None:
        raise CallFailure(f"service {go_quote(name)} not found")
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName")), port
    wanted = next((p for p in spec.get("ports") or () if p.get("port") == port), None)
    if wanted is None:
        raise CallFailure(f"no service port {port} found for service {go_quote(name)}")
    ready: list[tuple[str, int]] = []
    for slice_ in lookup.list("discovery.k8s.io", "endpointslices", namespace):
        if (slice_["metadata"].get("labels") or {}).get("kubernetes.io/service-name") != name:
            continue
        ports = [p["port"] for p in slice_.get("ports") or () if (p.get("name") or "") == (wanted.get("name") or "")]
        for endpoint in slice_.get("endpoints") or ():
            if ports and (endpoint.get("conditions") or {}).get("ready") is not False:
                ready += [(address, ports[0]) for address in endpoint["addresses"]]
    if not ready:
        raise CallFailure(f"dial tcp {spec.get('clusterIP')}:{port}: connect: connection refused")
    return lookup.random.choice(ready)
