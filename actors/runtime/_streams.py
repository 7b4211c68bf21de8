"""Ends of streams: the status of a command, and what answers on a simulated pod's ports.

A forwarded port that a container declares answers HTTP requests with the pod's name and echoes
anything else; a port that none declares refuses, as a real pod would.
"""

from __future__ import annotations

from typing import Any

from actors.kernel import Actor, Child, Restart, handles
from actors.runtime._container import SandboxRecord
from protocol.cri import CONTAINER_RUNNING, PortForward
from protocol.message import Address
from protocol.node import StreamClosed, StreamData

__all__ = ["exit_status", "forward_child", "http_answer"]

METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"PATCH ", b"OPTIONS ")
MAX_REQUEST_BYTES = 1 << 20


def exit_status(code: int) -> dict[str, Any]:
    """The Status that ends a remote command, as protocol v4 has it."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def http_answer(request: bytes, name: str) -> tuple[bytes, bytes, bool]:
    """(the response to the first complete request, what follows it, whether the connection is
    closed after it); empty while incomplete."""
    head, separator, rest = request.partition(b"\r\n\r\n")
    if not separator:
        return b"", request, False
    length = 0
    first, *lines = head.split(b"\r\n")
    close = first.endswith(b"HTTP/1.0")
    for line in lines:
        key, _, value = (word.strip().lower() for word in line.partition(b":"))
        if key == b"content-length" and value.isdigit():
            length = int(value)
        elif key == b"connection":
            close = value == b"close" or (close and value != b"keep-alive")
    if len(rest) < length:
        return b"", request, False
    body = name.encode() + b"\n"
    shown = b"" if head.startswith(b"HEAD ") else body
    more = b"Connection: close\r\n" if close else b""
    lead = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n" % len(body)
    return lead + more + b"\r\n" + shown, rest[length:], close


def forward_child(message: PortForward, record: SandboxRecord) -> Child:
    """The specification of the actor that serves one port-forward."""
    return Child(f"forward-{message.stream_id}", lambda: _Forward(message, record), restart=Restart.TEMPORARY)


class _Forward(Actor):
    """The pod's end of forwarded ports."""

    def __init__(self, message: PortForward, record: SandboxRecord) -> None:
        super().__init__()
        self.ports = message.ports
        self.peer: Address = message.peer
        self.stream_id = message.stream_id
        self.record = record
        self.buffers: dict[int, bytes] = {}

    def _listens(self, port: int) -> bool:
        return any(port in c.config.ports for c in self.record.containers.values() if c.state == CONTAINER_RUNNING)

    @handles(StreamData)
    def data(self, message: StreamData) -> None:
        index = message.channel // 2
        if index >= len(self.ports) or message.channel % 2:
            return
        port = self.ports[index]
        if not self._listens(port):
            text = (
                f"error forwarding port {port} to pod {self.record.id}, uid : failed to connect to localhost:{port} inside "
                f'namespace "cni-{self.record.pid}": dial tcp4 127.0.0.1:{port}: connect: connection refused'
            )
            self.peer.tell(StreamData(self.stream_id, message.channel + 1, text.encode(), eof=True))
            return
        pending = self.buffers.get(index, b"") + message.data
        if len(pending) <= MAX_REQUEST_BYTES and pending.startswith(METHODS):
            while True:
                answer, pending, close = http_answer(pending, self.record.config.name)
                if not answer:
                    break
                self.peer.tell(StreamData(self.stream_id, message.channel, answer, eof=close))
                if close:
                    return
            self.buffers[index] = pending
        elif pending:
            self.peer.tell(StreamData(self.stream_id, message.channel, pending))
            self.buffers[index] = b""
        if message.eof:
            self.peer.tell(StreamData(self.stream_id, message.channel, b"", eof=True))

    @handles(StreamClosed)
    def closed(self, message: StreamClosed) -> None:
        self.stop()
