"""DNS on real sockets: UDP and TCP, in dnspython's wire format.

Owns the conversion between messages on the wire and `Query` and `Answer`, and forwarding to other
servers. It decides nothing about names. Must run on the system's loop.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import Any

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from actors.kernel import Future, LiveSystem, Ref
from protocol.dns import Answer, Query, Record

__all__ = ["Server", "forwarder", "serve"]

UDP_SIZE = 512
PORT_ATTEMPTS = 16


def answer_message(request: dns.message.Message, answer: Answer) -> dns.message.Message:
    """The response that carries an answer."""
    response = dns.message.make_response(request, recursion_available=True)
    response.set_rcode(dns.rcode.from_text(answer.code))
    if answer.code != "REFUSED":
        response.flags |= dns.flags.AA
    parts = (
        (answer.records, response.answer),
        (answer.authority, response.authority),
        (answer.additional, response.additional),
    )
    for records, section in parts:
        for record in records:
            section.append(dns.rrset.from_text(record.name, record.ttl_s, "IN", record.type, record.data))
    return response


def _wire(request: dns.message.Message, answer: Answer, limit: int) -> bytes:
    """The response in at most `limit` bytes; one that does not fit is cut and says so."""
    try:
        return answer_message(request, answer).to_wire(max_size=limit)
    except dns.exception.TooBig:
        cut = answer_message(request, Answer(answer.code))
        cut.flags |= dns.flags.TC
        return cut.to_wire()


def answer_of(response: dns.message.Message) -> Answer:
    """What a response from another server says."""
    records = tuple(
        Record(rrset.name.to_text().lower(), dns.rdatatype.to_text(rrset.rdtype), rdata.to_text(), rrset.ttl)
        for rrset in response.answer
        for rdata in rrset
    )
    return Answer(dns.rcode.to_text(response.rcode()), records)


def forwarder(system: LiveSystem, servers: Sequence[tuple[str, int]], timeout_s: float = 2.0) -> Any:
    """A `forward` function that asks `servers` (address, port) in turn, from the system's loop."""

    dns.asyncbackend.get_backend("asyncio")  # load it now: the loop must not wait for an import

    async def ask(name: str, kind: str) -> Answer:
        query = dns.message.make_query(name, kind)
        failure: Exception = OSError("no upstream server")
        for address, port in servers:
            try:
                response, _ = await dns.asyncquery.udp_with_fallback(query, address, timeout_s, port)
                return answer_of(response)
            except (OSError, dns.exception.DNSException) as error:
                failure = error
        raise OSError(str(failure))

    def forward(name: str, kind: str) -> Future[Answer]:
        """An actor cannot await what asyncio runs, but a future of its own kernel."""
        answer: Future[Answer] = Future()

        def done(task: asyncio.Task[Answer]) -> None:
            error = task.exception()
            if error is None:
                answer.resolve(task.result())
            else:
                answer.fail(error)

        system.loop.create_task(ask(name, kind)).add_done_callback(done)
        return answer

    return forward


class Server(asyncio.DatagramProtocol):
    """Both transports of one address. `close()` ends them."""

    def __init__(self, ref: Ref) -> None:
        self.ref = ref
        self.address: tuple[str, int] = ("", 0)
        self._transport: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        def send(wire: bytes) -> None:
            if self._transport is not None:
                self._transport.sendto(wire, addr)

        self._answer(data, send, UDP_SIZE)

    def _answer(self, data: bytes, send: Any, limit: int) -> None:
        try:
            request = dns.message.from_wire(data)
        except (dns.exception.DNSException, ValueError, struct.error):
            return  # what is no DNS message gets no answer
        if request.flags & dns.flags.QR or len(request.question) != 1:
            return
        question = request.question[0]
        query = Query(question.name.to_text(), dns.rdatatype.to_text(question.rdtype))
        limit = max(limit, request.payload) if limit == UDP_SIZE and request.edns >= 0 else limit

        def done(future: Any) -> None:
            try:
                answer = future.result()
            except Exception:
                answer = Answer("SERVFAIL")
            try:
                send(_wire(request, answer, limit))
            except (OSError, RuntimeError):
                pass  # the client has gone

        future: Any = self.ref.ask(query, block=False)
        future.add_callback(done)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                data = await reader.readexactly(size)
                self._answer(data, lambda wire: writer.write(struct.pack("!H", len(wire)) + wire), 65535)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def start(self, host: str, port: int) -> None:
        """Listen on both transports of one port; with port 0, on one that is free for both. Raises
        OSError."""
        loop = asyncio.get_running_loop()
        for attempt in range(PORT_ATTEMPTS):
            tcp = await asyncio.start_server(self._stream, host, port)
            chosen = tcp.sockets[0].getsockname()[1]
            try:
                await loop.create_datagram_endpoint(lambda: self, local_addr=(host, chosen))
            except OSError:
                tcp.close()
                if port or attempt == PORT_ATTEMPTS - 1:
                    raise
                continue
            self._tcp, self.address = tcp, (host, chosen)
            return

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._tcp is not None:
            self._tcp.close()


def serve(system: LiveSystem, ref: Ref, host: str = "127.0.0.1", port: int = 0) -> Server:
    """Serve the DNS actor `ref` at an address (port 0 picks one). Raises OSError."""
    server = Server(ref)
    asyncio.run_coroutine_threadsafe(server.start(host, port), system.loop).result(5.0)
    return server
