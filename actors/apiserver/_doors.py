"""A way to a port of a pod: bytes in both directions, wherever the pod's kubelet is.

Owns how the door that port-forward uses is opened: by message to a kubelet of this process, by WebSocket
to one of another, and TLS on top of either. A door and its peer take `StreamData` and `StreamClosed` by
`tell`; channel 0 carries bytes, channel 1 says why there are none.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import TYPE_CHECKING, Any

from actors.apiserver._kubelets import Kubelet, kubelet_of, stream_target
from actors.apiserver._messages import Relay
from actors.kernel import ActorDead, AskTimeout, Future
from protocol import status
from protocol.node import PodPortForward, StreamClosed, StreamData

if TYPE_CHECKING:
    from actors.apiserver._core import Core

__all__ = ["open_door", "unreachable"]

_OPEN_TIMEOUT_S = 30.0
_PROTOCOL = "v4.channel.k8s.io"
_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10
_MAX_HEAD_BYTES = 64 * 1024


def unreachable(why: str) -> status.StatusError:
    """503 in the words of upstream's proxies."""
    return status.service_unavailable(f"error trying to reach service: {why}")


async def open_door(core: Core, pod: dict[str, Any], port: int, tls: bool, peer: Any, stream_id: int) -> Any:
    """A door to a pod's port, told of by `tell`; what comes from there is told to `peer`. Raises 503."""
    layer = _Tls(peer, stream_id) if tls else None
    meta = pod["metadata"]
    inner: Any = layer.inner if layer is not None else peer
    message = PodPortForward(meta["namespace"], meta["name"], (port,), inner, stream_id)
    name = (pod.get("spec") or {}).get("nodeName") or ""
    node: Any = core.nodes.get(name)
    try:
        if node is not None:
            opened = await core.actor.ask(node, message, timeout=_OPEN_TIMEOUT_S)
            door = opened.address
        else:
            kubelet = kubelet_of(core, name)
            if kubelet is None:
                raise unreachable(f"the kubelet of node {name} is not connected")
            door = await _KubeletDoor(kubelet, message).opened
    except (ActorDead, AskTimeout, OSError) as error:
        raise unreachable(str(error)) from None
    if layer is None:
        return door
    layer.begin(door)
    return layer


class _Inner:
    """What the door behind TLS talks to."""

    def __init__(self, layer: _Tls) -> None:
        self.actor_urn = f"tls-{layer.stream_id}"
        self.tell = layer.received


class _Tls:
    """The client's side of TLS over a door. As upstream's proxies it takes any certificate."""

    def __init__(self, peer: Any, stream_id: int) -> None:
        self.peer = peer
        self.stream_id = stream_id
        self.inner = _Inner(self)
        self._door: Any = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._tls = context.wrap_bio(self._in, self._out)
        self._shaken = False
        self._waiting = bytearray()

    def begin(self, door: Any) -> None:
        """The door stands: shake hands."""
        self._door = door
        self._step()

    def tell(self, message: Any) -> None:
        """Bytes for the pod, or the end."""
        if isinstance(message, StreamClosed):
            self._door.tell(message)
        elif message.data:
            self._waiting += message.data
            self._step()

    def received(self, message: Any) -> None:
        """Bytes of the pod, a failure, or the end."""
        if isinstance(message, StreamData) and message.channel == 0 and message.data:
            self._in.write(message.data)
            self._step()
        if not isinstance(message, StreamData) or message.channel != 0:
            self.peer.tell(message)
        elif message.eof:
            self.peer.tell(StreamData(self.stream_id, 0, b"", True))

    def _step(self) -> None:
        found = bytearray()
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
            if self._waiting:
                self._tls.write(bytes(self._waiting))
                self._waiting.clear()
            while data := self._tls.read(65536):
                found += data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.peer.tell(StreamData(self.stream_id, 1, f"remote error: tls: {error.reason or error}".encode()))
        data = self._out.read()
        if data and self._door is not None:
            self._door.tell(StreamData(self.stream_id, 0, data))
        if found:
            self.peer.tell(StreamData(self.stream_id, 0, bytes(found)))


class _KubeletDoor(asyncio.Protocol):
    """Port-forward by WebSocket through the HTTPS API of a kubelet in another process."""

    def __init__(self, kubelet: Kubelet, message: PodPortForward) -> None:
        self.opened: Future[_KubeletDoor] = Future()
        self._kubelet = kubelet
        self._random = kubelet.core.random
        self._message = message
        self._transport: Any = None
        self._accepted = False
        self._buffer = bytearray()
        self._begun: set[int] = set()
        system: Any = kubelet.core.actor.system  # a live one: nodes of other processes join no simulation
        loop = system.loop
        self._task = loop.create_task(self._connect(loop))

    async def _connect(self, loop: Any) -> None:
        from actors.apiserver.http._relay import tls_context

        kubelet = self._kubelet
        relay = Relay(kubelet.host, kubelet.port, b"", kubelet.core.config.kubelet_client)
        try:
            made = loop.create_connection(lambda: self, kubelet.host, kubelet.port, ssl=tls_context(relay))
            await asyncio.wait_for(made, _OPEN_TIMEOUT_S)
        except (OSError, ValueError, TimeoutError) as error:
            self._failed(f"dial tcp {kubelet.host}:{kubelet.port}: {error or 'i/o timeout'}")

    def _failed(self, why: str) -> None:
        if not self.opened.done:
            self.opened.set_exception(OSError(why))

    def connection_made(self, transport: Any) -> None:
        """Ask for the upgrade."""
        self._transport = transport
        key = base64.b64encode(self._random.randbytes(16)).decode()
        lines = [
            f"GET {stream_target(self._message)} HTTP/1.1", f"Host: {self._kubelet.host}:{self._kubelet.port}",
            "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {_PROTOCOL}", "", "",
        ]  # fmt: skip
        transport.write("\r\n".join(lines).encode())

    def data_received(self, data: bytes) -> None:
        """The answer to the upgrade, then frames."""
        self._buffer += data
        if not self._accepted:
            head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not found:
                if len(self._buffer) > _MAX_HEAD_BYTES:
                    self._transport.abort()
                return
            line = head.split(b"\r\n", 1)[0].decode("latin-1")
            if " 101 " not in f"{line} ":
                self._failed(f"the kubelet answered {line.partition(' ')[2]}: {rest[:500].decode('utf-8', 'replace')}")
                self._transport.close()
                return
            self._accepted = True
            self._buffer = bytearray(rest)
            self.opened.set(self)
        while self._frame():
            pass

    def _frame(self) -> bool:
        """Take one frame off the buffer, if it is there whole."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        size, start = buffer[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            start += width
            if len(buffer) < start:
                return False
            size = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + size:
            return False
        opcode, payload = buffer[0] & 0x0F, bytes(buffer[start : start + size])
        del buffer[: start + size]
        if opcode == _PING:
            self._send(_PONG, payload)
        elif opcode == _CLOSE:
            self._transport.close()
        elif opcode <= _BINARY and payload:
            channel, data = payload[0], payload[1:]
            if channel in self._begun:
                self._message.peer.tell(StreamData(self._message.stream_id, channel, data))
            self._begun.add(channel)  # a channel begins with its port's number
        return True

    def _send(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes((0x80 | opcode,))
        if size < 126:
            head += bytes((0x80 | size,))
        else:
            head += b"\xfe" + size.to_bytes(2, "big") if size < 65536 else b"\xff" + size.to_bytes(8, "big")
        mask = self._random.randbytes(4)
        key = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
        self._transport.write(head + mask + masked)

    def tell(self, message: Any) -> None:
        """Bytes for the pod, or the end."""
        if isinstance(message, StreamClosed):
            self._transport.close()
        elif message.data and not self._transport.is_closing():
            self._send(_BINARY, b"\x00" + message.data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The kubelet has closed."""
        self._failed("the kubelet closed the connection")
        if self._accepted:
            self._message.peer.tell(StreamClosed(self._message.stream_id))
