"""Upgraded connections: once an endpoint switches protocols, bytes pass both ways as they are.

Owns one client's connection from its upgrade request on, whatever the protocol is (web sockets, SPDY).
An endpoint that declines answers as to any request. Must run on the system's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

__all__ = ["open_tunnel"]

HEAD_BYTES_MAX = 64 * 1024
CHUNK_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 60.0


async def open_tunnel(
    request: web.Request, place: tuple[str, int], headers: CIMultiDict[str], timeout_s: float
) -> web.StreamResponse:
    """Ask the endpoint at `place` to upgrade, and carry bytes until an end closes. Raises
    ConnectionRefusedError while nothing was sent, OSError and TimeoutError."""
    connecting = asyncio.open_connection(*place, limit=HEAD_BYTES_MAX)
    reader, writer = await asyncio.wait_for(connecting, timeout_s)
    try:
        lines = [f"{request.method} {request.raw_path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        writer.write("\r\n".join((*lines, "", "")).encode("latin-1"))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_TIMEOUT_S)
        status, answered = _parsed(head)
        if status != 101:
            return await _declined(request, reader, status, answered)
        await _carry(request, head, reader, writer)
        return _Gone()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise OSError(f"no answer to the upgrade: {error}") from error
    finally:
        writer.close()


def _parsed(head: bytes) -> tuple[int, list[tuple[str, str]]]:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    try:
        status = int(first.split(" ", 2)[1])
    except (IndexError, ValueError):
        raise OSError(f"no answer to the upgrade: {first[:80]!r}") from None
    return status, [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


async def _declined(
    request: web.Request, reader: asyncio.StreamReader, status: int, headers: Iterable[tuple[str, str]]
) -> web.StreamResponse:
    """The endpoint's own answer; its connection is read to the end that it names, or closes at."""
    kept = CIMultiDict((k, v) for k, v in headers if k.lower() not in ("connection", "transfer-encoding", "upgrade"))
    length = kept.get("Content-Length", "")
    body = await (reader.readexactly(int(length)) if length.isdigit() else reader.read(CHUNK_BYTES))
    return web.Response(status=status, headers=kept, body=body)


class _Client(asyncio.Protocol):
    """The client's side, taken over from the HTTP server."""

    def __init__(self, transport: Any, out: asyncio.StreamWriter) -> None:
        self.transport, self.out = transport, out
        self.ended = asyncio.get_running_loop().create_future()
        self.resuming: asyncio.Future[None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.out.write(data)
        if self.out.transport.get_write_buffer_size() > 4 * CHUNK_BYTES:
            self.transport.pause_reading()
            self.resuming = asyncio.ensure_future(self._resume())

    async def _resume(self) -> None:
        with contextlib.suppress(OSError):
            await self.out.drain()
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def eof_received(self) -> bool:
        with contextlib.suppress(OSError):
            if self.out.can_write_eof():
                self.out.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable.set()
        if not self.ended.done():
            self.ended.set_result(None)


async def _carry(request: web.Request, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    transport: Any = request.transport
    if transport is None or transport.is_closing():
        return
    client = _Client(transport, writer)
    early = getattr(request.protocol, "_message_tail", b"")  # what came behind the request's head
    transport.set_protocol(client)
    transport.write(head)
    if early:
        client.data_received(early)

    async def answers() -> None:
        while data := await reader.read(CHUNK_BYTES):
            transport.write(data)
            await client.writable.wait()

    task = asyncio.ensure_future(answers())
    try:
        await asyncio.wait((task, client.ended), return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()
        transport.close()


class _Gone(web.StreamResponse):
    """The answer to a request whose connection is no longer HTTP's: nothing is written."""

    async def prepare(self, request: Any) -> Any:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        pass
