"""HTTP/1.1 from a client's side, as much as the Kubernetes API needs of it.

Owns connections, their reuse, and the framing of answers (length, chunks, until close). It knows
nothing of Kubernetes. Runs on asyncio; one connection carries one exchange at a time.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping

__all__ = ["Connection", "Pool", "Response"]

HEADER_LIMIT = 64 * 1024
READ_SIZE = 256 * 1024
CONNECT_TIMEOUT_S = 10.0
IDLE_MAX = 32


class Response:
    """The head of an answer; its body is read from the connection."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers

    @property
    def keeps_alive(self) -> bool:
        return self.headers.get("connection", "").lower() != "close"


class Connection:
    """One connection to the server. Raises `OSError` or `EOFError` when it breaks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Response:
        """Send a request and read the head of its answer."""
        lines = [f"{method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        lines.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self.writer.drain()
        while True:
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *rest = head.decode("latin-1").split("\r\n")
            parts = first.split(" ", 2)
            if len(parts) < 2 or not parts[1].isdigit():
                raise EOFError(f"not an HTTP answer: {first[:80]!r}")
            status = int(parts[1])
            if status >= 200:  # 1xx only announces the answer
                break
        found = {}
        for line in rest:
            name, colon, value = line.partition(":")
            if colon:
                found[name.strip().lower()] = value.strip()
        return Response(status, found)

    async def body(self, response: Response) -> AsyncIterator[bytes]:
        """The body in the pieces in which it arrives."""
        if response.status in (204, 304):
            return
        if "chunked" in response.headers.get("transfer-encoding", "").lower():
            async for piece in self._chunks():
                yield piece
        elif "content-length" in response.headers:
            left = int(response.headers["content-length"])
            while left:
                piece = await self.reader.read(min(left, READ_SIZE))
                if not piece:
                    raise EOFError("the answer was cut short")
                left -= len(piece)
                yield piece
        else:
            while piece := await self.reader.read(READ_SIZE):
                yield piece

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            line = await self.reader.readuntil(b"\r\n")
            left = int(line.split(b";", 1)[0], 16)
            if left == 0:
                while (await self.reader.readuntil(b"\r\n")) != b"\r\n":
                    pass  # trailers
                return
            while left:
                piece = await self.reader.read(min(left, READ_SIZE))
                if not piece:
                    raise EOFError("the answer was cut short")
                left -= len(piece)
                yield piece
            await self.reader.readexactly(2)

    def close(self) -> None:
        self.writer.close()


class Pool:
    """Connections to one server; idle ones are kept for the next request."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, server_name: str) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.server_name = server_name
        self._idle: deque[Connection] = deque()

    async def open(self) -> Connection:
        """A new connection. Raises `OSError`."""
        name = self.server_name if self.tls is not None else None
        async with asyncio.timeout(CONNECT_TIMEOUT_S):  # wait_for swallows a cancellation that comes as it ends
            reader, writer = await asyncio.open_connection(
                self.host, self.port, ssl=self.tls, server_hostname=name, limit=HEADER_LIMIT
            )
        return Connection(reader, writer)

    def take_idle(self) -> Connection | None:
        """A connection that was given back, if there is one that still stands."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.reader.at_eof() and not connection.writer.is_closing():
                return connection
            connection.close()
        return None

    def give_back(self, connection: Connection) -> None:
        """The exchange is complete: keep the connection for another."""
        if len(self._idle) < IDLE_MAX:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
