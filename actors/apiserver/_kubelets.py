"""Kubelets in other processes: their own HTTPS API, spoken to as upstream's API server does.

Owns where a joined node's kubelet is (its Node says so: an address and `daemonEndpoints`) and the
requests that logs, exec, attach, port-forward and proxy become there. A kubelet in this process is
asked by message and never comes here.

As upstream's API server without `--kubelet-certificate-authority`, this one shows its client
certificate and takes the kubelet's own, which is self-signed by default, unseen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from actors.apiserver._forward import Forward, ForwardFailure
from actors.apiserver._messages import HttpCall, HttpReply, Relay, Tunnel
from protocol import status
from protocol.node import PodAttach, PodExec, PodLogs, PodPortForward

if TYPE_CHECKING:
    from actors.apiserver._core import Core

__all__ = ["Kubelet", "kubelet_of", "log_target", "stream_target"]

_PREFERRED = ("InternalIP", "ExternalIP", "InternalDNS", "Hostname")
_PASSED = ("upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol",
           "sec-websocket-extensions", "user-agent")  # fmt: skip


class Kubelet(NamedTuple):
    """Where a kubelet listens, and how this server may ask it."""

    core: Core
    host: str
    port: int

    async def pass_on(self, method: str, target: str, call: HttpCall | None = None, streams: bool = False) -> HttpReply:
        """The answer to a request. With `streams` the body of a good one comes as `Frames`. Raises 500."""
        server: Any = self.core.server
        headers = [f"{method} {target} HTTP/1.0", f"Host: {self.host}:{self.port}"]
        body = b""
        if call is not None:
            kind = call.headers.get("content-type")
            accept = call.headers.get("accept")
            headers += [f"Content-Type: {kind}"] if kind else []
            headers += [f"Accept: {accept}"] if accept else []
            body = call.body
        headers += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        stream = call.stream if call is not None and streams else None
        message = Forward(
            self.host, self.port, self.host, b"", True, self.core.config.kubelet_client,
            "\r\n".join(headers).encode("utf-8", "replace") + body, stream, call.stream_id if call else 0,
        )  # fmt: skip
        try:
            reply, feeder = await server.aggregation.forwarders.send(message)
        except ForwardFailure as error:
            raise status.internal_error(f"error dialing backend: {error}") from None
        if reply.streaming and call is not None and call.stream is not None:
            server.follow(call.stream, call.stream_id, feeder)
        answered: HttpReply = reply
        return answered

    def tunnel(self, call: HttpCall, target: str) -> HttpReply:
        """Have the client's upgraded connection end there."""
        lines = [f"{call.method} {target} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        lines += [f"{name}: {call.headers[name]}" for name in _PASSED if name in call.headers]
        lines += [f"x-stream-protocol-version: {v}" for v in (call.lists or {}).get("x-stream-protocol-version") or ()]
        if call.method == "POST":
            lines.append("Content-Length: 0")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        relay = Relay(self.host, self.port, head, self.core.config.kubelet_client)
        return HttpReply(101, tunnel=Tunnel(None, relay, "relay"))


def kubelet_of(core: Core, node: str) -> Kubelet | None:
    """The kubelet of a node that another process runs; None when this server cannot ask it."""
    if node in core.nodes or not core.config.kubelet_client:
        return None
    found = core.get("", "nodes", "", node)
    told = (found or {}).get("status") or {}
    port = ((told.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
    addresses = {a.get("type"): a.get("address") for a in told.get("addresses") or ()}
    host = next((addresses[kind] for kind in _PREFERRED if addresses.get(kind)), "")
    return Kubelet(core, str(host), int(port)) if host and port else None


def log_target(message: PodLogs) -> str:
    """Path and query of a log at the kubelet."""
    options: dict[str, Any] = {}
    for name, value in (("follow", message.follow), ("previous", message.previous), ("timestamps", message.timestamps)):
        if value:
            options[name] = "true"
    numbers = {
        "sinceSeconds": message.since_seconds,
        "tailLines": message.tail_lines,
        "limitBytes": message.limit_bytes,
    }
    options.update({name: number for name, number in numbers.items() if number is not None})
    if message.since_time is not None:
        options["sinceTime"] = _stamp(message.since_time)
    path = f"/containerLogs/{quote(message.namespace)}/{quote(message.pod)}/{quote(message.container)}"
    return f"{path}?{urlencode(options)}" if options else path


def _stamp(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def stream_target(message: PodExec | PodAttach | PodPortForward) -> str:
    """Path and query of a stream at the kubelet."""
    where = f"{quote(message.namespace)}/{quote(message.pod)}"
    if isinstance(message, PodPortForward):
        query = urlencode([("port", port) for port in message.ports])
        return f"/portForward/{where}" + (f"?{query}" if query else "")
    flags = {"input": message.stdin, "output": message.stdout, "error": message.stderr, "tty": message.tty}
    options: list[tuple[str, Any]] = [(name, "1") for name, wanted in flags.items() if wanted]
    verb = "attach"
    if isinstance(message, PodExec):
        verb = "exec"
        options += [("command", word) for word in message.command]
    return f"/{verb}/{where}/{quote(message.container)}?{urlencode(options)}"
