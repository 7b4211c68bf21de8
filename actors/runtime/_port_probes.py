"""Probes of ports as a kubelet makes them from its own machine: HTTP, TCP, gRPC health; and its words for what fails.

Owns one connection per probe, on a thread of its own. Upstream: `pkg/probe/{http,tcp,grpc}`.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
from typing import Any

from actors.kernel import Future
from protocol.cri import Probe, ProbeResponse

__all__ = ["probe_port"]

AGENT = "kube-probe/1.36"
BODY_MAX_BYTES = 10 << 10
HEALTH = "/grpc.health.v1.Health/Check"
SERVING, STATES = 1, ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")


def probe_port(message: Probe) -> Future[ProbeResponse]:
    """Connect to a port of a pod, at `message.host` or on the loopback."""
    future: Future[ProbeResponse] = Future()
    kinds = {"http": _http, "grpc": _grpc}

    def run() -> None:
        try:
            future.resolve(kinds.get(message.kind, _tcp)(message))
        except Exception as error:
            future.resolve(ProbeResponse(False, str(error)))

    threading.Thread(target=run, name="probe", daemon=True).start()
    return future


def _address(message: Probe) -> tuple[str, str]:
    """(host, host:port as Go writes it)."""
    host = message.host or "127.0.0.1"
    return host, f"[{host}]:{message.port}" if ":" in host else f"{host}:{message.port}"


def _dialled(error: OSError, address: str) -> str:
    """A connection that could not be made, in Go's words."""
    if isinstance(error, TimeoutError):
        return f"dial tcp {address}: i/o timeout"
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return f"dial tcp {address}: connect: {reason}"


def _tcp(message: Probe) -> ProbeResponse:
    host, address = _address(message)
    try:
        socket.create_connection((host, message.port), message.timeout_s).close()
    except OSError as error:
        return ProbeResponse(False, _dialled(error, address))
    return ProbeResponse(True)


def _http(message: Probe) -> ProbeResponse:
    host, address = _address(message)
    path = message.detail or "/"
    url = f"{message.scheme.lower()}://{address}{path if path.startswith('/') else '/' + path}"
    connection: http.client.HTTPConnection
    if message.scheme.lower() == "https":
        context = ssl._create_unverified_context()  # a probe does not verify, as upstream
        connection = http.client.HTTPSConnection(host, message.port, timeout=message.timeout_s, context=context)
    else:
        connection = http.client.HTTPConnection(host, message.port, timeout=message.timeout_s)
    try:
        try:
            connection.connect()
        except TimeoutError:
            return ProbeResponse(
                False, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
            )
        except OSError as error:
            return ProbeResponse(False, f'Get "{url}": {_dialled(error, address)}')
        return _asked(connection, message, url, path)
    finally:
        connection.close()


def _asked(connection: http.client.HTTPConnection, message: Probe, url: str, path: str) -> ProbeResponse:
    headers = {"User-Agent": AGENT, "Accept": "*/*", **dict(message.headers)}
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read(BODY_MAX_BYTES)
    except TimeoutError:
        return ProbeResponse(
            False, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        )
    except http.client.RemoteDisconnected:
        return ProbeResponse(False, f'Get "{url}": EOF')
    except (OSError, http.client.HTTPException) as error:
        return ProbeResponse(False, f'Get "{url}": {error}')
    good = 200 <= answer.status < 400
    return ProbeResponse(good, "" if good else f"HTTP probe failed with statuscode: {answer.status}")


def _grpc(message: Probe) -> ProbeResponse:
    """The health protocol: field 1 of the question is the service, of the answer its state."""
    import grpc

    _, address = _address(message)
    service = message.detail.encode()
    question = (b"\x0a" + _varint(len(service)) + service) if service else b""
    wait = f"{message.timeout_s:g}s"
    with contextlib.closing(grpc.insecure_channel(address, options=[("grpc.primary_user_agent", AGENT)])) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=message.timeout_s)
        except grpc.FutureTimeoutError:
            text = f'timeout: failed to connect service "{address}" within {wait}: context deadline exceeded'
            return ProbeResponse(False, text)
        try:
            answer: Any = channel.unary_unary(HEALTH)(question, timeout=message.timeout_s)
        except grpc.RpcError as error:
            code, details = error.code(), error.details()  # type: ignore[attr-defined]
            if code == grpc.StatusCode.UNIMPLEMENTED:
                text = (
                    f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {details}"
                )
            elif code == grpc.StatusCode.DEADLINE_EXCEEDED:
                text = f"timeout: health rpc did not complete within {wait}"
            else:
                name = "".join(word.capitalize() for word in code.name.split("_"))
                text = f"error: health rpc probe failed: rpc error: code = {name} desc = {details}"
            return ProbeResponse(False, text)
    state = answer[1] if len(answer) >= 2 and answer[0] == 0x08 else 0
    if state == SERVING:
        return ProbeResponse(True)
    return ProbeResponse(
        False, f'service unhealthy (responded with "{STATES[state] if state < len(STATES) else state}")'
    )


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))
